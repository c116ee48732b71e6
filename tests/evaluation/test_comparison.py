"""Significance against published or exact values, tables and pictures against values counted by hand."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.base.trec import DEPTH
from helpers.evaluation import pictures, tables
from helpers.evaluation.metrics import average, score_queries
from helpers.evaluation.significance import bootstrap_interval, paired_difference
from helpers.sampling.eval_set import EvalSet

EVAL_SET = EvalSet(
    queries={f"q{i}": f"query {i}" for i in range(4)},
    corpus={f"d{i}": f"passage {i}" for i in range(6)},
    qrels={"q0": {"d0": 1}, "q1": {"d1": 1}, "q2": {"d2": 1, "d5": 1}, "q3": {"d3": 1}},
)
RUNS = {
    "raw": {
        "q0": {"d1": 0.9, "d0": 0.8},
        "q1": {"d1": 0.9},
        "q2": {"d0": 0.9, "d1": 0.8, "d2": 0.7},
        "q3": {"d0": 0.9},
    },
    "neg10": {"q0": {"d0": 0.9}, "q1": {"d0": 0.9, "d1": 0.8}, "q2": {"d2": 0.9, "d5": 0.8}, "q3": {"d0": 0.9}},
}
RESULTS = {
    name: {"metrics": average(per_query), "per_query": per_query}
    for name, per_query in ((name, score_queries(EVAL_SET.qrels, run)) for name, run in RUNS.items())
}


def test_the_bootstrap_covers_the_mean_of_hits_as_the_binomial_says():
    """Of 100 queries with 30 hits, the resampled means are binomial: their quantiles are known."""
    hits = [1.0] * 30 + [0.0] * 70
    probability = [comb(100, k) * 0.3**k * 0.7 ** (100 - k) for k in range(101)]
    cumulative = np.cumsum(probability)
    expected = [np.searchsorted(cumulative, share) / 100 for share in (0.025, 0.975)]
    assert bootstrap_interval(hits, seed=1) == pytest.approx(expected, abs=0.011)
    assert bootstrap_interval(hits, seed=1) == bootstrap_interval(hits, seed=1)
    assert bootstrap_interval([0.0] * 9, seed=1) == (0, 0)


def test_the_paired_t_test_on_students_own_data():
    """Student 1908, "The Probable Error of a Mean": hours of sleep with two drugs; t = 4.0621, p = 0.00283 (R)."""
    a = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    b = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    found = paired_difference(a, b)
    assert found.mean == pytest.approx(1.58)
    assert found.margin == pytest.approx((2.459886 - 0.7001142) / 2, abs=1e-6)
    assert found.p == pytest.approx(0.00283289, abs=1e-7)
    assert paired_difference(b, a).mean == pytest.approx(-1.58)


def test_models_that_differ_nowhere():
    found = paired_difference([0.5, 1.0, 0.0], [0.5, 1.0, 0.0])
    assert (found.mean, found.margin, found.p) == (0, 0, 1)
    assert paired_difference([0.5, 0.75], [0.25, 0.5]).p == 0


def test_several_pairs_widen_the_interval_by_hand():
    """Student's data as one of ten pairs: p is 0.0283, and the interval that of 99.5 % of the t with 9 degrees (R)."""
    a = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4]
    b = [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]
    found = paired_difference(a, b, pairs=10)
    assert found.p == pytest.approx(0.0283289, abs=1e-6)
    assert found.margin == pytest.approx(3.689662 * 1.229995 / 10**0.5, abs=1e-5)
    assert paired_difference(a, b, pairs=1000).p == 1


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=3, max_size=30),
    st.integers(min_value=1, max_value=15),
)
def test_the_interval_is_without_zero_where_a_difference_is_shown(values, pairs):
    found = paired_difference(*zip(*values, strict=True), pairs)
    if found.margin > 1e-9 and abs(found.p - tables.ALPHA) > 1e-6:
        assert (abs(found.mean) > found.margin) == (found.p < tables.ALPHA)


def test_the_words():
    assert tables.in_words("neg10", "neg50", 0.0004, 0.006, 0.8) == "no difference shown: 0.0004 ± 0.0060"
    assert tables.in_words("raw", "neg10", 0.377, 0.03, 1e-9) == "neg10 is better than raw, by 0.377 ± 0.030"
    assert tables.in_words("neg10", "raw", -0.377, 0.03, 1e-9) == "neg10 is better than raw, by 0.377 ± 0.030"


def test_the_tables():
    table = tables.intervals_table(RESULTS, seed=1)
    assert list(table.index) == ["raw", "neg10"]
    assert table.loc["neg10", "hit@1"].startswith("0.500 [0.000, 1.000")
    pairs = tables.pairs_table(RESULTS, "recall@10")
    assert list(pairs.index) == ["neg10 - raw"]
    assert pairs.iloc[0]["difference"].startswith("+0.1250 ± ")  # q2: both found, not one
    assert pairs.iloc[0]["in words"].startswith("no difference shown: 0.1250 ± ")


def test_recall_curves_are_the_measures():
    curves = tables.recall_curves(EVAL_SET.qrels, RUNS)
    assert list(curves.index) == list(range(1, DEPTH + 1))
    for name, result in RESULTS.items():
        for k in (1, 10, 100):
            assert curves.loc[k, name] == pytest.approx(result["metrics"][f"recall@{k}"])
    assert list(curves["neg10"][:3]) == pytest.approx([(1 + 0 + 0.5 + 0) / 4, (1 + 1 + 1 + 0) / 4, 3 / 4])


def test_outcomes_and_losses_query_by_query():
    assert tables.outcomes_table(RESULTS, "neg10").loc["neg10 against raw"].to_dict() == {
        "wins": 2,
        "ties": 1,
        "losses": 1,
    }
    assert tables.first_ranks(EVAL_SET, RUNS["raw"]) == {"q0": 2, "q1": 1, "q2": 3, "q3": DEPTH + 1}
    [loss] = tables.losses_table(EVAL_SET, RUNS, "neg10", "raw").to_dict("records")
    assert loss == {
        "query": "query 1",
        "wanted": "passage 1",
        "neg10 found first": "passage 0",
        "rank with raw": 1,
        "rank with neg10": "2",
    }
    nothing = RUNS | {"neg10": RUNS["neg10"] | {"q1": {}}}
    assert tables.losses_table(EVAL_SET, nothing, "neg10", "raw").loc[0, "neg10 found first"] == "(nothing)"


def test_the_pictures_show_what_was_counted():
    import matplotlib.pyplot as plt

    axes = pictures.plot_outcomes(tables.outcomes_table(RESULTS, "neg10"))
    assert [bars[0].get_width() for bars in axes.containers] == [2, 1, 1]
    before, after = (tables.first_ranks(EVAL_SET, run) for run in RUNS.values())
    axes = pictures.plot_rank_moves(before, after, ("raw", "neg10"))
    shown = {(text.get_position(), text.get_text()) for text in axes.texts}
    # column: rank before, row: rank after; q0 2 -> 1, q1 1 -> 2, q2 3 -> 1, q3 not found by either
    assert shown == {((1, 0), "1"), ((0, 1), "1"), ((2, 0), "1"), ((7, 7), "1")}
    axes = pictures.plot_recall_curves(tables.recall_curves(EVAL_SET.qrels, RUNS))
    assert [line.get_label() for line in axes.lines] == ["raw", "neg10"]
    plt.close("all")


def test_cosines_of_gold_and_random_passages():
    rng = np.random.default_rng(0)
    corpus = rng.standard_normal((50, 8)).astype(np.float32)
    corpus /= np.linalg.norm(corpus, axis=1, keepdims=True)
    gold = [3, 7, 9]
    found, others = pictures.gold_and_random(corpus[gold].astype(np.float16), corpus.astype(np.float16), gold, seed=1)
    assert found == pytest.approx(1, abs=2e-3)
    assert np.all(others < 1.01)
    figure = pictures.plot_similarities({"raw": (found, others), "neg10": (others, found)})
    assert [axes.get_title() for axes in figure.axes] == ["raw", "neg10"]
    labels = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
    assert labels == [f"random, mean {others.mean():.2f}", f"gold, mean {found.mean():.2f}"]
    figure = pictures.plot_map({"raw": (corpus[:3], corpus[3:6], corpus)})
    assert len(figure.axes[0].lines) == 3  # one a query, to its positive
