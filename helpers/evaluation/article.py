"""The measures exactly as the article computes them, so that its table can be checked; not for anything else.

`helpers.evaluation.metrics` has the standard ones. What differs is told and shown in `07_compare_models`.
"""

from sklearn.metrics import ndcg_score

from helpers.base import Qrels, Run, ranking

CUTOFFS = (1, 10)
DEPTH = max(CUTOFFS)  # the article retrieves no more


def article_metrics(qrels: Qrels, run: Run) -> dict[str, float]:
    """Return the article's `recall@k`, `mrr@k` and `ndcg@k` for k = 1 and 10.

    Its recall@k is min(hits, 1) / min(k, positives). Its nDCG is scikit-learn's over the ten retrieved passages alone:
    the best order of what was found counts as ideal, so a positive that was missed costs nothing; equal scores are
    averaged. Means are over the queries of the run, not over those asked.

    Source: https://github.com/JieShenAI/csdn/tree/main/25/04/embedding_finetune, `eval_train_neg10.ipynb`. One thing
    cannot be had from ids: there the corpus keeps four passages twice, and matching by text lets both copies count.
    """
    totals = {f"{name}@{k}": 0.0 for name in ("recall", "mrr", "ndcg") for k in CUTOFFS}
    for query_id, scores in run.items():
        found = ranking(scores)[:DEPTH]
        positives = {docid for docid, relevance in qrels.get(query_id, {}).items() if relevance > 0}
        gains = [int(docid in positives) for docid in found] + [0] * (DEPTH - len(found))
        values = [scores[docid] for docid in found]
        values += [min(values, default=0.0) - 1] * (DEPTH - len(values))  # below all that was found, and worth nothing
        for k in CUTOFFS:
            totals[f"recall@{k}"] += min(sum(gains[:k]), 1) / max(min(k, len(positives)), 1)
            totals[f"mrr@{k}"] += next((1 / rank for rank, gain in enumerate(gains[:k], start=1) if gain), 0.0)
            totals[f"ndcg@{k}"] += ndcg_score([gains], [values], k=k)
    return {name: total / len(run) for name, total in totals.items()}
