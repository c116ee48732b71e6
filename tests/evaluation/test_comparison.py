"""Significance against published or exact values, tables and pictures against values counted by hand."""

from math import comb

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from helpers.base.trec import DEPTH
from helpers.evaluation import pictures, tables
from helpers.evaluation.metrics import article_metrics, average, score_queries
from helpers.evaluation.significance import bootstrap_interval, paired_difference, recipe_difference
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
# Student 1908, "The Probable Error of a Mean": hours of sleep that ten patients gained with two drugs.
SLEEP = [1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4], [0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0]


def results_of(qrels, runs):
    per_query = {name: score_queries(qrels, run) for name, run in runs.items()}
    return {name: {"metrics": average(values), "per_query": values} for name, values in per_query.items()}


RESULTS = results_of(EVAL_SET.qrels, RUNS)


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
    """t = 4.0621, p = 0.00283 (R)."""
    found = paired_difference(*SLEEP)
    assert found.mean == pytest.approx(1.58)
    assert found.margin == pytest.approx((2.459886 - 0.7001142) / 2, abs=1e-6)
    assert found.p == pytest.approx(0.00283289, abs=1e-7)
    assert paired_difference(*SLEEP[::-1]).mean == pytest.approx(-1.58)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(
    ("of_queries", "of_seeds", "of_both"), [(0.3, 0.01, 0.2), (0.1, 0.02, 0.1), (0.02, 0.03, 0.02), (0.3, 0.0, 0.3)]
)
def test_the_interval_over_queries_and_seeds_covers_the_true_difference(of_queries, of_seeds, of_both, seeds):
    """Simulated recipes that differ by 0.02: of the intervals at least 95 % must hold that, but for chance."""
    rng = np.random.default_rng(seeds)
    runs, queries = 1000, 200
    covered = alarms = over_queries = 0
    for _ in range(runs):
        easy, gain = rng.normal(0.45, 0.3, queries), rng.normal(0.02, of_queries, queries)

        def values(mean, count):
            return mean + rng.normal(0, of_seeds, (count, 1)) + rng.normal(0, of_both, (count, queries))

        a, b = values(easy + gain, seeds), values(easy, seeds)
        found = recipe_difference(a, b)
        assert found.mean == pytest.approx(a.mean() - b.mean())
        covered += abs(found.mean - 0.02) <= found.margin
        alarms += (abs(found.mean) > found.margin) != (found.p < 0.05)
        single = paired_difference(a[0], b[0])
        over_queries += abs(single.mean - 0.02) <= single.margin
    assert covered / runs > 0.936  # 2 standard deviations of chance below 0.95
    assert alarms == 0
    assert of_seeds < 0.02 or over_queries / runs < 0.85  # which is what the test over queries alone would say


def test_recipes_without_any_spread():
    same = np.full((3, 8), 0.5)
    assert recipe_difference(same, same) == (0, 0, 1)


def test_models_that_differ_nowhere_or_everywhere_alike():
    """The sign test's p, exactly: all of n queries for the one or the other."""
    assert paired_difference([0.5, 1.0, 0.0] * 2, [0.5, 1.0, 0.0] * 2) == (0, 0, 1)
    better, worse = [0.1, 0.3, 0.7] * 3, [0.0, 0.2, 0.6] * 3  # by 0.1 in nine roundings
    found = paired_difference(better, worse)
    assert (found.mean, found.margin, found.p) == (pytest.approx(0.1), 0, 2 / 2**9)
    assert paired_difference(better, worse, pairs=10).p == 20 / 2**9
    assert paired_difference(better[:6], worse[:6], pairs=99).p == 1


@pytest.mark.parametrize("count", [1, 2, 5])
def test_too_few_queries_tell_nothing(count):
    found = paired_difference([1.0, 0.5, 0.9, 0.6, 0.7][:count], [0.0] * count)
    assert np.isnan([found.margin, found.p]).all()
    assert tables.in_words("raw", "neg10", *found) == "nothing can be told from fewer than 6 queries"
    assert np.isnan(bootstrap_interval([0.5] * count, seed=1)).all()


def test_several_pairs_widen_the_interval_by_hand():
    """Student's data as one of ten pairs: p is 0.0283, and the interval that of 99.5 % of the t with 9 degrees (R)."""
    found = paired_difference(*SLEEP, pairs=10)
    assert found.p == pytest.approx(0.0283289, abs=1e-6)
    assert found.margin == pytest.approx(3.689662 * 1.229995 / 10**0.5, abs=1e-5)
    assert paired_difference(*SLEEP, pairs=1000).p == 1


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(0, 1)), min_size=6, max_size=30),
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


def repeated(times):
    """The results when each query is asked several times."""
    runs = {name: {f"{q}{i}": found for q, found in run.items() for i in range(times)} for name, run in RUNS.items()}
    qrels = {f"{q}{i}": judged for q, judged in EVAL_SET.qrels.items() for i in range(times)}
    return results_of(qrels, runs)


def test_the_tables():
    table = tables.intervals_table(repeated(2), seed=1)
    assert list(table.index) == ["raw", "neg10"]
    assert table.loc["neg10", "hit@1"].startswith("0.500 [0.125, 0.875")
    pairs = tables.pairs_table(repeated(2), "recall@10")
    assert list(pairs.index) == ["neg10 - raw"]
    assert pairs.iloc[0]["difference"].startswith("+0.1250 ± ")  # q2: both found, not one
    assert pairs.iloc[0]["in words"].startswith("no difference shown: 0.1250 ± ")


def test_the_tables_of_four_queries():
    assert tables.intervals_table(RESULTS).loc["neg10", "hit@1"] == "0.500 (n = 4)"
    [row] = tables.pairs_table(RESULTS, "recall@10").to_dict("records")
    assert row == {"difference": "+0.1250", "p": "", "in words": "nothing can be told from fewer than 6 queries"}


def test_recall_curves_are_the_measures():
    curves = tables.recall_curves(EVAL_SET.qrels, RUNS)
    assert list(curves.index) == list(range(1, DEPTH + 1))
    for name, result in RESULTS.items():
        for k in (1, 10, 100):
            assert curves.loc[k, name] == pytest.approx(result["metrics"][f"recall@{k}"])
    assert list(curves["neg10"][:3]) == pytest.approx([(1 + 0 + 0.5 + 0) / 4, (1 + 1 + 1 + 0) / 4, 3 / 4])


def test_outcomes_and_losses_query_by_query():
    assert tables.outcomes_table(RESULTS, "neg10").to_dict("index") == {
        "neg10 against raw": {"wins": 2, "ties": 1, "losses": 1}
    }
    assert tables.first_ranks(EVAL_SET, RUNS["raw"]) == {"q0": 2, "q1": 1, "q2": 3, "q3": DEPTH + 1}
    losses = tables.losses_table(EVAL_SET, RUNS, "neg10", "raw")
    assert list(losses) == ["query", "neg10 found first", "wanted", "rank with raw", "rank with neg10"]
    assert losses.values.tolist() == [["query 1", "passage 0", "passage 1", 1, "2"]]
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


GRADED = EvalSet(
    queries={"q": "query", "none": "nothing is right"},
    corpus=EVAL_SET.corpus,
    qrels={"q": {"d0": 0, "d1": 2, "d2": -1, "d3": 1}, "none": {"d0": 0}},
)
FOUND = {"q": {"d0": 0.9, "d2": 0.8, "d3": 0.7, "d1": 0.6}, "none": {"d0": 0.5}}


def test_what_is_judged_not_relevant_is_no_positive():
    assert tables.first_ranks(GRADED, FOUND) == {"q": 3, "none": DEPTH + 1}
    assert list(tables.top_passages(GRADED, FOUND, "q")["gold"]) == ["", "", "★", "★"]
    assert list(tables.failures(GRADED, FOUND)["wanted"]) == ["passage 1", "(nothing)"]
    curve = tables.recall_curves(GRADED.qrels, {"a": FOUND})["a"]
    means = average(score_queries(GRADED.qrels, FOUND))
    assert [curve[k] for k in (1, 10, 100)] == pytest.approx([means[f"recall@{k}"] for k in (1, 10, 100)])
    assert list(curve[:4]) == [0, 0, 0.25, 0.5]


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # PCA of a single point
@pytest.mark.parametrize("queries", [1, 2, 5])
@pytest.mark.parametrize("passages", [1, 3])
def test_a_run_that_found_nothing_and_few_passages_are_rows_of_zeros_and_pictures(queries, passages):
    import matplotlib.pyplot as plt

    texts, corpus = ({f"{x}{i}": f"text {i}" for i in range(n)} for x, n in (("q", queries), ("d", passages)))
    eval_set = EvalSet(texts, corpus, {query_id: {"d0": 1} for query_id in texts})
    runs = {"bm25": {}, "raw": {query_id: {"d0": 0.5} for query_id in texts}}
    results = results_of(eval_set.qrels, runs)
    assert tables.results_table(results).loc["bm25"].eq(0).all()
    assert set(article_metrics(eval_set.qrels, runs["bm25"]).values()) == {0}
    assert tables.intervals_table(results).loc["bm25", "hit@1"].startswith("0.000 (")
    assert tables.pairs_table(results).iloc[0]["in words"].startswith("nothing can be told")
    assert tables.outcomes_table(results, "raw").loc["raw against bm25", "wins"] == queries
    assert tables.top_passages(eval_set, runs["bm25"], "q0").empty
    assert tables.failures(eval_set, runs["bm25"]).loc[0, "at rank"] == "> 0"
    assert len(tables.losses_table(eval_set, runs, "bm25", "raw")) == min(3, queries)
    assert tables.losses_table(eval_set, runs, "raw", "bm25").empty
    assert tables.recall_curves(eval_set.qrels, runs)["bm25"].eq(0).all()

    pictures.plot_results(results)
    pictures.plot_recall_curves(tables.recall_curves(eval_set.qrels, runs))
    pictures.plot_outcomes(tables.outcomes_table(results, "raw"))
    before, after = (tables.first_ranks(eval_set, run) for run in runs.values())
    pictures.plot_rank_moves(before, after, ("bm25", "raw"))
    same = np.ones((max(queries, passages), 4), np.float32) / 2
    gold = [0] * queries
    pictures.plot_similarities({"raw": pictures.gold_and_random(same[:queries], same[:passages], gold)})
    pictures.plot_map({"raw": (same[:queries], same[gold], same[:passages])})
    plt.close("all")
