"""Results as tables."""

from itertools import combinations
from math import isnan
from statistics import fmean

import pandas as pd
from ir_measures import R, calc_aggregate

from helpers.base import DEPTH, Profile, Qrels, Run, UserError, positives, ranking
from helpers.evaluation.metrics import article_metrics
from helpers.evaluation.results import comparable_results, load_runs
from helpers.evaluation.significance import FEWEST, LEVEL, bootstrap_interval, paired_difference
from helpers.sampling.eval_set import EvalSet, load_eval_set
from helpers.sampling.texts import excerpt

ALPHA = 1 - LEVEL  # below it, a corrected p counts as a difference shown
COLUMNS = ["hit@1", "recall@10", "recall@100", "mrr@10", "ndcg@10"]


def top_passages(eval_set: EvalSet, run: Run, query_id: str, depth: int = 5) -> pd.DataFrame:
    """Return one query's best passages by rank, with score and a star at each positive."""
    scores, gold = run.get(query_id, {}), positives(eval_set.qrels.get(query_id, {}))
    rows = [("★" if d in gold else "", scores[d], excerpt(eval_set.corpus[d])) for d in ranking(scores)[:depth]]
    return pd.DataFrame(rows, pd.RangeIndex(1, len(rows) + 1, name="rank"), ["gold", "score", "passage"])


def positive_rank(eval_set: EvalSet, run: Run, query_id: str) -> int | None:
    """Return the rank of the query's first positive, or None if the run does not have it."""
    order, gold = ranking(run.get(query_id, {})), positives(eval_set.qrels[query_id])
    return next((rank for rank, docid in enumerate(order, start=1) if docid in gold), None)


def first_ranks(eval_set: EvalSet, run: Run) -> dict[str, int]:
    """Return the rank of each query's first positive; `DEPTH + 1` where it was not found."""
    return {query_id: positive_rank(eval_set, run, query_id) or DEPTH + 1 for query_id in eval_set.queries}


def failures(eval_set: EvalSet, run: Run, count: int = 3) -> pd.DataFrame:
    """Return the first `count` queries whose best passage is no positive: what was asked, found first, and wanted."""
    ranks = {query_id: positive_rank(eval_set, run, query_id) for query_id in eval_set.queries}
    missed = [query_id for query_id, rank in ranks.items() if rank != 1][:count]
    rows = [(*_excerpts(eval_set, run, q), ranks[q] or f"> {len(run.get(q, {}))}") for q in missed]
    return pd.DataFrame(rows, columns=["query", "found first", "wanted", "at rank"])


def losses_table(eval_set: EvalSet, runs: dict[str, Run], after: str, other: str, count: int = 3) -> pd.DataFrame:
    """Return the queries on which `after` falls furthest behind `other`, with the passages wanted and found."""
    mine, theirs = (first_ranks(eval_set, runs[name]) for name in (after, other))
    behind = sorted(eval_set.queries, key=lambda q: 1 / mine[q] - 1 / theirs[q])[:count]
    ranks = {q: str(mine[q]) if mine[q] <= DEPTH else f"> {DEPTH}" for q in behind if mine[q] > theirs[q]}
    rows = [(*_excerpts(eval_set, runs[after], q), theirs[q], rank) for q, rank in ranks.items()]
    columns = ["query", f"{after} found first", "wanted", f"rank with {other}", f"rank with {after}"]
    return pd.DataFrame(rows, columns=columns)


def _excerpts(eval_set: EvalSet, run: Run, query_id: str) -> tuple[str, str, str]:
    """Return a query, the passage found first, and one that was wanted."""
    docids = ranking(run.get(query_id, {})), positives(eval_set.qrels[query_id])
    found, wanted = (excerpt(eval_set.corpus[found[0]]) if found else "(nothing)" for found in docids)
    return excerpt(eval_set.queries[query_id]), found, wanted


def metrics_table(means: dict[str, float]) -> pd.DataFrame:
    """Return one model's means with a row a cut-off and a column a measure."""
    names = pd.MultiIndex.from_tuples([name.split("@") for name in means], names=["measure", "k"])
    return pd.Series(means.values(), names).unstack("measure", sort=False)


def results_table(results: dict[str, dict]) -> pd.DataFrame:
    """Return one row a model, the measures of `COLUMNS` in the columns."""
    return pd.DataFrame({name: result["metrics"] for name, result in results.items()}).T[COLUMNS]


def intervals_table(results: dict[str, dict], seed: int = 42) -> pd.DataFrame:
    """Return a row a model, a column a measure: the mean and, of enough queries, its 95 % bootstrap interval."""

    def cell(values: pd.Series) -> str:
        low, high = bootstrap_interval(values, seed)
        return f"{fmean(values):.3f} " + (f"(n = {len(values)})" if isnan(low) else f"[{low:.3f}, {high:.3f}]")

    return pd.DataFrame({measure: _per_query(results, measure).apply(cell) for measure in COLUMNS})


def pairs_table(results: dict[str, dict], measure: str = "ndcg@10") -> pd.DataFrame:
    """Return a row a pair of models: difference, interval and p, corrected for the number of pairs, and in words."""
    values, pairs, rows = _per_query(results, measure), list(combinations(results, 2)), {}
    for a, b in pairs:
        found = paired_difference(values[b], values[a], len(pairs))
        rows[f"{b} - {a}"] = {
            "difference": f"{found.mean:+.4f} ± {found.margin:.4f}".removesuffix(" ± nan"),
            "p": "< 0.0001" if found.p < 1e-4 else f"{found.p:.2g}".replace("nan", ""),
            "in words": in_words(a, b, *found),
        }
    return pd.DataFrame(rows).T.rename_axis("pair")


def in_words(a: str, b: str, mean: float, margin: float, p: float) -> str:
    """Say what a difference `b - a` shows."""
    if isnan(p):
        return f"nothing can be told from fewer than {FEWEST} queries"
    if p >= ALPHA:
        return f"no difference shown: {mean:.4f} ± {margin:.4f}"
    better, worse = (b, a) if mean > 0 else (a, b)
    return f"{better} is better than {worse}, by {abs(mean):.3f} ± {margin:.3f}"


def outcomes_table(results: dict[str, dict], after: str, measure: str = "ndcg@10") -> pd.DataFrame:
    """Return, for each other model, how many queries `after` wins, ties and loses against it."""
    values = _per_query(results, measure)
    gaps = values.drop(columns=after).rsub(values[after], axis=0)
    counts = pd.DataFrame({"wins": (gaps > 0).sum(), "ties": (gaps == 0).sum(), "losses": (gaps < 0).sum()})
    return counts.rename(lambda name: f"{after} against {name}")


def _per_query(results: dict[str, dict], measure: str) -> pd.DataFrame:
    return pd.DataFrame({name: result["per_query"][measure] for name, result in results.items()})


def recall_curves(qrels: Qrels, runs: dict[str, Run]) -> pd.DataFrame:
    """Return mean recall@k for k = 1 to `DEPTH`, a row a k, a column a model."""
    ks = pd.RangeIndex(1, DEPTH + 1, name="k")
    means = {name: calc_aggregate([R @ k for k in ks], qrels, run) for name, run in runs.items()}
    return pd.DataFrame({name: [found[R @ k] for k in ks] for name, found in means.items()}, ks)


def report(profile: Profile, article: bool = False) -> str:
    """Return the results table with the model behind each name.

    With `article` it is the article's measures of all runs, model<TAB>measure<TAB>value a line.
    Raises UserError: there are no results.
    """
    eval_set = load_eval_set(profile.data_dir)
    if not (results := comparable_results(profile, eval_set)):
        raise UserError(f"There are no results in {profile.output_dir}; run notebooks 03 to 06 first.")
    if article:
        means = {name: article_metrics(eval_set.qrels, run) for name, run in load_runs(profile, results).items()}
        return "\n".join(f"{name}\t{key}\t{value:.4f}" for name, found in means.items() for key, value in found.items())
    table = results_table(results)
    table.insert(0, "model", [result["model"].rpartition("/")[2] for result in results.values()])
    heading = f"profile {profile.run_name}: {len(eval_set.queries)} queries, {len(eval_set.corpus)} passages"
    return f"{heading}\n\n{table.to_string(float_format='{:.4f}'.format)}"
