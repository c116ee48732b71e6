"""How sure a mean and a difference are, over the queries at hand."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

LEVEL = 0.95
RESAMPLES = 4_999


def bootstrap_interval(values: Sequence[float], seed: int) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean over queries (Efron and Tibshirani 1993, chapter 13)."""
    import numpy as np
    from scipy.stats import bootstrap

    result = bootstrap(
        (np.asarray(values),),
        np.mean,
        n_resamples=RESAMPLES,
        batch=500,
        confidence_level=LEVEL,
        method="percentile",
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


@dataclass(frozen=True)
class Difference:
    """The mean of `a - b` over queries: its value, half the width of its 95 % interval, and the p of the paired t."""

    mean: float
    margin: float
    p: float


def paired_difference(a: Sequence[float], b: Sequence[float]) -> Difference:
    """Compare two models query by query with the paired t-test.

    On means over queries of retrieval measures it errs as often as it claims to (Urbano, Lima and Hanjalic 2019,
    "Statistical Significance Testing in Information Retrieval", SIGIR). Values that differ nowhere have p = 1.

    Args:
        a, b: the values of the two models for the same queries, in the same order; at least two.
    """
    from scipy.stats import ttest_rel

    differences = [x - y for x, y in zip(a, b, strict=True)]
    if len(set(differences)) == 1:  # no variance; the test would divide by it
        return Difference(differences[0], 0.0, 1.0 if differences[0] == 0 else 0.0)
    result = ttest_rel(a, b)
    interval = result.confidence_interval(LEVEL)
    return Difference(fmean(differences), float(interval.high - interval.low) / 2, float(result.pvalue))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct for testing several pairs: Holm 1979, "A Simple Sequentially Rejective Multiple Test Procedure".

    The i-th smallest of m values is multiplied by m - i + 1, and none may fall below a smaller one's.
    """
    corrected, largest = [0.0] * len(p_values), 0.0
    for done, place in enumerate(sorted(range(len(p_values)), key=lambda i: p_values[i])):
        largest = max(largest, min(1.0, p_values[place] * (len(p_values) - done)))
        corrected[place] = largest
    return corrected
