"""How sure a mean and a difference are, over the queries at hand."""

from collections.abc import Sequence
from statistics import fmean
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap, ttest_rel

LEVEL = 0.95


def bootstrap_interval(values: Sequence[float], seed: int) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean over queries (Efron and Tibshirani 1993, chapter 13)."""
    low, high = bootstrap(
        (values,), np.mean, n_resamples=4_999, batch=500, confidence_level=LEVEL, method="percentile", rng=seed
    ).confidence_interval
    return float(low), float(high)


class Difference(NamedTuple):
    """The mean of `a - b` over queries, half the width of its interval, and the p of the paired t-test."""

    mean: float
    margin: float
    p: float


def paired_difference(a: Sequence[float], b: Sequence[float], pairs: int = 1) -> Difference:
    """Compare two models query by query with the paired t-test, as one of several `pairs` of models.

    `a` and `b` are their values for the same queries, in the same order; at least two. Without any difference p is 1.

    On means over queries of retrieval measures the test errs as often as it claims to (Urbano, Lima and Hanjalic 2019,
    "Statistical Significance Testing in Information Retrieval", SIGIR). Bonferroni's correction (Dunn 1961, "Multiple
    Comparisons Among Means") multiplies p by the number of pairs and widens the intervals until all of them hold at
    once in 95 % of cases, so that an interval is without 0 where its p is below 0.05.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    if len(set(differences)) == 1:  # no variance; the test would divide by it
        return Difference(differences[0], 0.0, 1.0 if differences[0] == 0 else 0.0)
    result = ttest_rel(a, b)
    interval = result.confidence_interval(1 - (1 - LEVEL) / pairs)
    return Difference(fmean(differences), float(interval.high - interval.low) / 2, min(1.0, pairs * result.pvalue))
