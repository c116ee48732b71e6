"""How sure a mean and a difference are, over the queries at hand."""

from collections.abc import Sequence
from math import nan
from statistics import fmean
from typing import NamedTuple

import numpy as np
from scipy.stats import bootstrap, t, ttest_rel

LEVEL = 0.95
FEWEST = 6  # queries; of five, even if all speak for one model, the sign test says p = 2 * 0.5**5 = 0.06


def bootstrap_interval(values: Sequence[float], seed: int = 42) -> tuple[float, float]:
    """Return the 95 % percentile bootstrap interval of a mean (Efron and Tibshirani 1993, chapter 13), NaN of few."""
    if len(values) < FEWEST:
        return nan, nan
    how = {"n_resamples": 4_999, "batch": 500, "confidence_level": LEVEL, "method": "percentile", "rng": seed}
    low, high = bootstrap((values,), np.mean, **how).confidence_interval
    return float(low), float(high)


class Difference(NamedTuple):
    """The mean of `a - b`, half the width of its interval and a p; these are NaN for too few queries."""

    mean: float
    margin: float
    p: float


def paired_difference(a: Sequence[float], b: Sequence[float], pairs: int = 1) -> Difference:
    """Compare two models query by query with the paired t-test, as one of several `pairs` of models.

    `a` and `b` are their values for the same queries, in the same order. Where the difference is the same for all
    queries, the t-test would divide by 0, and p is the sign test's (Conover 1999, "Practical Nonparametric Statistics",
    section 3.4); of fewer than `FEWEST` queries nothing is told.

    On retrieval measures the test errs as often as it claims to (Urbano, Lima and Hanjalic 2019, "Statistical
    Significance Testing in Information Retrieval", SIGIR). Bonferroni's correction (Dunn 1961, "Multiple Comparisons
    Among Means") multiplies p by the number of pairs and widens the intervals until all hold at once in 95 % of cases,
    so that an interval is without 0 where its p is below 0.05.
    """
    differences = [x - y for x, y in zip(a, b, strict=True)]
    mean = fmean(differences)
    if len(differences) < FEWEST:
        return Difference(mean, nan, nan)
    if max(differences) - min(differences) < 1e-9:  # but for rounding
        return Difference(mean, 0.0, min(1.0, pairs * 2 * 0.5 ** len(differences)) if abs(mean) > 1e-9 else 1.0)
    result = ttest_rel(a, b)
    interval = result.confidence_interval(1 - (1 - LEVEL) / pairs)
    return Difference(mean, float(interval.high - interval.low) / 2, min(1.0, pairs * result.pvalue))


def recipe_difference(a: np.ndarray, b: np.ndarray) -> Difference:
    """Compare two recipes, (seeds, queries) each, on the same queries, over other queries *and* other seeds.

    The variance of the difference is that of the queries, of the means over seeds, and that of each recipe's seeds, of
    the means over queries; added up they are, in the mean, never too small, since what seeds do to single queries is in
    all of them. The t distribution has the degrees of freedom of Satterthwaite 1946, "An Approximate Distribution of
    Estimates of Variance Components", Biometrics 2(6). Queries and seeds as crossed factors: Owen 2007, "The pigeonhole
    bootstrap", Annals of Applied Statistics 1(2).
    """
    queries = a.mean(axis=0) - b.mean(axis=0)
    samples = [queries, a.mean(axis=1), b.mean(axis=1)]
    mean, parts = float(queries.mean()), np.array([sample.var(ddof=1) / len(sample) for sample in samples])
    if not parts.any():
        return Difference(mean, 0.0, 1.0 if abs(mean) < 1e-9 else nan)
    freedom = parts.sum() ** 2 / sum(parts**2 / [len(sample) - 1 for sample in samples])
    error = float(np.sqrt(parts.sum()))
    margin = float(t.ppf((1 + LEVEL) / 2, freedom)) * error
    return Difference(mean, margin, float(2 * t.sf(abs(mean) / error, freedom)))
