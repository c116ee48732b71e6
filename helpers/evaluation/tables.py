"""Results as tables."""

from itertools import combinations

import pandas as pd

from helpers.base import DEPTH, Profile, Qrels, Run, UserError, ranking
from helpers.evaluation.article import article_metrics
from helpers.evaluation.results import comparable_results
from helpers.evaluation.significance import LEVEL, bootstrap_interval, paired_difference
from helpers.sampling.eval_set import EvalSet, load_eval_set
from helpers.sampling.texts import excerpt

ALPHA = 1 - LEVEL  # below it, a corrected p counts as a difference shown
COLUMNS = ["hit@1", "recall@10", "recall@100", "mrr@10", "ndcg@10"]


def top_passages(eval_set: EvalSet, run: Run, query_id: str, depth: int = 5) -> pd.DataFrame:
    """Return one query's best passages by rank, with score and a star at each positive."""
    scores, gold = run[query_id], eval_set.qrels[query_id]
    rows = [
        {"gold": "★" if docid in gold else "", "score": scores[docid], "passage": excerpt(eval_set.corpus[docid])}
        for docid in ranking(scores)[:depth]
    ]
    return pd.DataFrame(rows, index=pd.RangeIndex(1, len(rows) + 1, name="rank"))


def positive_rank(eval_set: EvalSet, run: Run, query_id: str) -> int | None:
    """Return the rank of the query's first positive, or None if the run does not have it."""
    order, gold = ranking(run.get(query_id, {})), eval_set.qrels[query_id]
    return next((rank for rank, docid in enumerate(order, start=1) if docid in gold), None)


def failures(eval_set: EvalSet, run: Run, count: int = 3) -> pd.DataFrame:
    """Return the first `count` queries whose best passage is no positive: what was asked, found first, and wanted."""
    rows = []
    for query_id, query in eval_set.queries.items():
        rank = positive_rank(eval_set, run, query_id)
        if rank == 1:
            continue
        rows.append(
            {
                "query": excerpt(query),
                "found first": excerpt(eval_set.corpus[ranking(run[query_id])[0]]),
                "wanted": excerpt(eval_set.corpus[next(iter(eval_set.qrels[query_id]))]),
                "at rank": rank or f"> {len(run[query_id])}",
            }
        )
        if len(rows) == count:
            break
    return pd.DataFrame(rows)


def metrics_table(means: dict[str, float]) -> pd.DataFrame:
    """Return one model's means with a row a cut-off and a column a measure."""
    parts = [name.split("@") + [value] for name, value in means.items()]
    table = pd.DataFrame(parts, columns=["measure", "k", "mean"]).pivot(index="k", columns="measure", values="mean")
    return table.loc[table.index.sort_values(key=lambda k: k.astype(int)), list(dict.fromkeys(p[0] for p in parts))]


def results_table(results: dict[str, dict]) -> pd.DataFrame:
    """Return one row a model, the measures of `COLUMNS` in the columns."""
    metrics = {name: result["metrics"] for name, result in results.items()}
    return pd.DataFrame.from_dict(metrics, orient="index")[COLUMNS]


def intervals_table(results: dict[str, dict], seed: int) -> pd.DataFrame:
    """Return a row a model, a column a measure: the mean with its 95 % bootstrap interval over queries."""
    rows = {}
    for name, result in results.items():
        cells = {}
        for measure in COLUMNS:
            low, high = bootstrap_interval(list(result["per_query"][measure].values()), seed)
            cells[measure] = f"{result['metrics'][measure]:.3f} [{low:.3f}, {high:.3f}]"
        rows[name] = cells
    return pd.DataFrame.from_dict(rows, orient="index")


def pairs_table(results: dict[str, dict], measure: str = "ndcg@10") -> pd.DataFrame:
    """Return a row a pair of models: the difference with its interval, its p, and what both say in words.

    Intervals and p are corrected for the number of pairs.
    """
    pairs = list(combinations(results, 2))
    values = {name: result["per_query"][measure] for name, result in results.items()}
    rows = []
    for a, b in pairs:
        found = paired_difference(list(values[b].values()), [values[a][q] for q in values[b]], len(pairs))
        rows.append(
            {
                "pair": f"{b} - {a}",
                "difference": f"{found.mean:+.4f} ± {found.margin:.4f}",
                "p": f"{found.p:.2g}" if found.p >= 1e-4 else "< 0.0001",
                "in words": in_words(a, b, found.mean, found.margin, found.p),
            }
        )
    return pd.DataFrame(rows).set_index("pair")


def in_words(a: str, b: str, mean: float, margin: float, p: float) -> str:
    """Say what a difference `b - a` shows."""
    if p >= ALPHA:
        return f"no difference shown: {mean:.4f} ± {margin:.4f}"
    better, worse = (b, a) if mean > 0 else (a, b)
    return f"{better} is better than {worse}, by {abs(mean):.3f} ± {margin:.3f}"


def recall_curves(qrels: Qrels, runs: dict[str, Run], depth: int = DEPTH) -> pd.DataFrame:
    """Return mean recall@k for k = 1 to `depth`, a row a k, a column a model."""
    curves = {}
    for name, run in runs.items():
        gains = [0.0] * (depth + 1)
        for query_id, judged in qrels.items():
            for rank, docid in enumerate(ranking(run.get(query_id, {}))[:depth], start=1):
                if docid in judged:
                    gains[rank] += 1 / len(judged) / len(qrels)
        curves[name] = pd.Series(gains).cumsum()[1:]
    return pd.DataFrame(curves).rename_axis("k")


def outcomes_table(results: dict[str, dict], after: str, measure: str = "ndcg@10") -> pd.DataFrame:
    """Return, for each other model, how many queries `after` wins, ties and loses against it."""
    mine = results[after]["per_query"][measure]
    rows = {}
    for name, result in results.items():
        if name != after:
            gaps = [mine[query_id] - value for query_id, value in result["per_query"][measure].items()]
            counts = sum(gap > 0 for gap in gaps), sum(gap == 0 for gap in gaps), sum(gap < 0 for gap in gaps)
            rows[f"{after} against {name}"] = dict(zip(("wins", "ties", "losses"), counts, strict=True))
    return pd.DataFrame.from_dict(rows, orient="index")


def losses_table(eval_set: EvalSet, runs: dict[str, Run], after: str, other: str, count: int = 3) -> pd.DataFrame:
    """Return the queries on which `after` falls furthest behind `other`, with the passages wanted and found."""
    ranks = {name: first_ranks(eval_set, runs[name]) for name in (after, other)}
    behind = [query_id for query_id in eval_set.queries if ranks[after][query_id] > ranks[other][query_id]]
    behind.sort(key=lambda query_id: 1 / ranks[after][query_id] - 1 / ranks[other][query_id])
    rows = [
        {
            "query": excerpt(eval_set.queries[query_id]),
            "wanted": excerpt(eval_set.corpus[next(iter(eval_set.qrels[query_id]))]),
            f"{after} found first": _found_first(eval_set, runs[after].get(query_id, {})),
            f"rank with {other}": ranks[other][query_id],
            f"rank with {after}": _rank(ranks[after][query_id]),
        }
        for query_id in behind[:count]
    ]
    return pd.DataFrame(rows)


def _found_first(eval_set: EvalSet, scores: dict[str, float]) -> str:
    return excerpt(eval_set.corpus[ranking(scores)[0]]) if scores else "(nothing)"


def first_ranks(eval_set: EvalSet, run: Run) -> dict[str, int]:
    """Return the rank of each query's first positive; `DEPTH + 1` where it was not found."""
    return {query_id: positive_rank(eval_set, run, query_id) or DEPTH + 1 for query_id in eval_set.queries}


def _rank(rank: int) -> str:
    return str(rank) if rank <= DEPTH else f"> {DEPTH}"


def article_table(qrels: Qrels, runs: dict[str, Run]) -> pd.DataFrame:
    """Return the article's measures, a row a model; `helpers.evaluation.article` says how they differ from ours."""
    table = pd.DataFrame({name: article_metrics(qrels, run) for name, run in runs.items()}).T
    return table[["recall@1", "recall@10", "mrr@10", "ndcg@10"]]


def report(profile: Profile) -> str:
    """Return the results table with the model behind each name.

    Raises:
        UserError: there are no results.
    """
    eval_set = load_eval_set(profile.data_dir)
    results = comparable_results(profile, eval_set)
    if not results:
        raise UserError(f"There are no results in {profile.output_dir}; run notebooks 03 to 06 first.")
    table = results_table(results)
    table.insert(0, "model", [result["model"].rpartition("/")[2] for result in results.values()])
    heading = f"profile {profile.run_name}: {len(eval_set.queries)} queries, {len(eval_set.corpus)} passages"
    return f"{heading}\n\n{table.to_string(float_format='{:.4f}'.format)}"
