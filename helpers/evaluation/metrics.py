"""hit@k, recall@k, MRR@k and nDCG@k as trec_eval computes them."""

from pathlib import Path
from statistics import fmean

from ir_measures import RR, R, Success, iter_calc, nDCG

from helpers.base import DEPTH, Profile, Qrels, Run, UserError, read_qrels, read_run
from helpers.evaluation.article import article_metrics

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


def score_files(qrels_path: Path, run_path: Path, article: bool = False) -> str:
    """Return the mean measures of a TREC run, one measure<TAB>value a line; with `article`, by its own definitions.

    Raises UserError: a file is not in TREC format, or they have no query in common.
    """
    qrels, run = read_qrels(qrels_path), read_run(run_path)
    if qrels.keys().isdisjoint(run):
        raise UserError(f"{run_path} has no query in common with the qrels; give those of the run.")
    means = article_metrics(qrels, run) if article else average(score_queries(qrels, run))
    return "\n".join(f"{name}\t{value:.4f}" for name, value in means.items())


def article_report(profile: Profile) -> str:
    """Return the article's measures of all saved runs, as `score_files`, with the model before each line.

    Raises UserError: there are no runs, or they are of another evaluation set.
    """
    runs = sorted((profile.output_dir / "runs").glob("*.trec"))
    if not runs:
        raise UserError(f"There are no runs in {profile.output_dir / 'runs'}; run notebooks 03 to 06 first.")
    reports = {path.stem: score_files(profile.data_dir / "qrels.trec", path, article=True) for path in runs}
    return "\n".join(f"{name}\t{line}" for name, report in reports.items() for line in report.splitlines())
