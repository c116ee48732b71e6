"""hit@k, recall@k, MRR@k and nDCG@k as trec_eval computes them.

`python -m helpers.metrics QRELS RUN` scores two TREC files, one measure<TAB>value a line.
"""

import sys
from pathlib import Path
from statistics import fmean

from helpers.errors import UserError, run_command
from helpers.trec import Qrels, Run, read_qrels, read_run

CUTOFFS = (1, 10, 100)
DEPTH = max(CUTOFFS)  # of a run

MEASURES = [f"{name}@{k}" for name in ("hit", "recall", "mrr", "ndcg") for k in CUTOFFS]


def score_queries(qrels: Qrels, run: Run) -> dict[str, dict[str, float]]:
    """Return measure -> query id -> value, for every query of `qrels`; one without results counts 0.

    The values are trec_eval's, by ir-measures (https://ir-measur.es). Its `RR@k` breaks ties otherwise than trec_eval,
    so MRR@k is taken from `RR`, 1 over the rank of the first positive, which is 0 where that rank is beyond k.
    """
    from ir_measures import RR, R, Success, iter_calc, nDCG

    names = {
        measure @ k: f"{name}@{k}"
        for name, measure in (("hit", Success), ("recall", R), ("ndcg", nDCG))
        for k in CUTOFFS
    }
    values = {name: dict.fromkeys(qrels, 0.0) for name in MEASURES}
    for score in iter_calc([*names, RR], qrels, run):
        if score.measure == RR:
            for k in CUTOFFS:
                values[f"mrr@{k}"][score.query_id] = score.value if score.value * k >= 1 else 0.0
        else:
            values[names[score.measure]][score.query_id] = score.value
    return values


def average(per_query: dict[str, dict[str, float]]) -> dict[str, float]:
    """Return measure -> mean over all queries."""
    return {name: fmean(values.values()) for name, values in per_query.items()}


def main() -> None:
    """Score a run against qrels and print the means."""
    if len(sys.argv) != 3:
        raise UserError("usage: python -m helpers.metrics QRELS RUN, two files in TREC format.")
    qrels, run = read_qrels(Path(sys.argv[1])), read_run(Path(sys.argv[2]))
    if qrels.keys().isdisjoint(run):
        raise UserError(f"{sys.argv[1]} and {sys.argv[2]} have no query in common; give the run's qrels.")
    for name, value in average(score_queries(qrels, run)).items():
        print(f"{name}\t{value:.4f}")


if __name__ == "__main__":
    run_command(main)
