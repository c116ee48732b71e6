"""hit@k, recall@k, MRR@k and nDCG@k as trec_eval computes them, and as the article does, to check its table."""

from pathlib import Path
from statistics import fmean

import numpy as np
from ir_measures import RR, R, Success, iter_calc, nDCG

from helpers.base import DEPTH, Qrels, Run, UserError, positives, ranking, read_qrels, read_run

CUTOFFS = (1, 10, DEPTH)
MEASURES = [f"{name}@{k}" for name in ("hit", "recall", "mrr", "ndcg") for k in CUTOFFS]


def score_queries(qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    """Return measure -> query id -> value, for every query of `qrels`; one without results counts 0.

    The values are trec_eval's, by ir-measures (https://ir-measur.es). Its `RR@k` breaks ties otherwise than trec_eval,
    so MRR@k is taken from `RR`, 1 over the rank of the first positive, which is 0 where that rank is beyond k.
    """
    families = {"hit": Success, "recall": R, "ndcg": nDCG}
    names = {measure @ k: f"{name}@{k}" for name, measure in families.items() for k in CUTOFFS}
    values = {name: dict.fromkeys(qrels, 0.0) for name in MEASURES}
    for query_id, measure, value in iter_calc([*names, RR], qrels, run):
        if measure == RR:
            for k in CUTOFFS:
                values[f"mrr@{k}"][query_id] = value if value * k >= 1 else 0.0
        else:
            values[names[measure]][query_id] = value
    return values


def average(per_query: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return measure -> mean over all queries."""
    return {name: fmean(values.values()) for name, values in per_query.items()}


def article_metrics(qrels: Qrels, run: Run) -> dict[str, float]:
    """Return the article's `recall@k`, `mrr@k` and `ndcg@k` for k = 1 and 10; `07_compare_models` shows what differs.

    Its recall@k is min(hits, 1) / min(k, positives). Its nDCG is scikit-learn's over the ten retrieved passages alone:
    the best order of what was found is ideal, a positive that was missed costs nothing, equal scores are averaged.
    Means are over the queries of the run. Source: https://github.com/JieShenAI/csdn/tree/main/25/04/embedding_finetune,
    `eval_train_neg10.ipynb`, whose corpus has four passages twice; both copies count there, which ids cannot tell.
    """
    from sklearn.metrics import ndcg_score

    cutoffs, depth = (1, 10), 10  # the article retrieves no more
    totals = {f"{name}@{k}": 0.0 for name in ("recall", "mrr", "ndcg") for k in cutoffs}
    for query_id, scores in run.items():
        found, gold = ranking(scores)[:depth], positives(qrels.get(query_id, {}))
        gains, values = np.zeros((2, depth))  # what was not found is worth nothing, and below all that was
        gains[: len(found)] = [docid in gold for docid in found]
        values[: len(found)] = np.unique([scores[d] for d in found], return_inverse=True)[1] + 1  # they may be infinite
        for k in cutoffs:
            totals[f"recall@{k}"] += gains[:k].max() / max(min(k, len(gold)), 1)
            totals[f"mrr@{k}"] += gains[:k].max() / (gains.argmax() + 1)
            totals[f"ndcg@{k}"] += ndcg_score([gains], [values], k=k)
    return {name: float(total / max(1, len(run))) for name, total in totals.items()}


def score_files(qrels_path: Path, run_path: Path, article: bool = False) -> str:
    """Return the mean measures of a TREC run, one measure<TAB>value a line; with `article`, by its own definitions.

    Raises UserError: a file is not in TREC format or empty, or they have no query in common.
    """
    qrels, run = read_qrels(qrels_path), read_run(run_path)
    if not run:
        raise UserError(f"{run_path} is empty; write a line for each passage found.")
    if qrels.keys().isdisjoint(run):
        raise UserError(f"{run_path} has no query in common with the qrels; give those of the run.")
    means = article_metrics(qrels, run) if article else average(score_queries(qrels, run))
    return "\n".join(f"{name}\t{value:.4f}" for name, value in means.items())
