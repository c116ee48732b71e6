"""Values computed by hand; nDCG's discounts are 1/log2(rank + 1): 1, 0.63093, 0.5, 0.43068, ..."""

from math import log2

import numpy as np
import pytest
import pytrec_eval
from hypothesis import given
from hypothesis import strategies as st

from helpers.base.trec import ranking, read_run, write_run
from helpers.evaluation.metrics import MEASURES, article_metrics, average, score_files, score_queries

QRELS = {
    "several": {"d1": 1, "d2": 1, "d3": 1},  # one of three found, at rank 1
    "second": {"d4": 1},  # found at rank 2
    "tie": {"d5": 1},  # as good as d6 and d7: trec_eval puts the larger docids first
    "missed": {"d8": 1},  # not among those found
    "silent": {"d9": 1},  # no result at all
    "deep": {"d0": 1},  # at rank 11
}
RUN = {
    "several": {"d1": 0.9, "x1": 0.8, "x2": 0.7},
    "second": {"x1": 0.9, "d4": 0.8},
    "tie": {"d5": 0.5, "d6": 0.5, "d7": 0.5, "x1": 0.1},
    "missed": {"x1": 0.9, "x2": 0.8},
    "deep": {f"x{i}": 1.0 - i / 100 for i in range(10)} | {"d0": 0.1},
}
BY_HAND = {
    "hit@1": [1, 0, 0, 0, 0, 0],
    "hit@10": [1, 1, 1, 0, 0, 0],
    "hit@100": [1, 1, 1, 0, 0, 1],
    "recall@1": [1 / 3, 0, 0, 0, 0, 0],
    "recall@10": [1 / 3, 1, 1, 0, 0, 0],
    "recall@100": [1 / 3, 1, 1, 0, 0, 1],
    "mrr@1": [1, 0, 0, 0, 0, 0],
    "mrr@10": [1, 1 / 2, 1 / 3, 0, 0, 0],
    "mrr@100": [1, 1 / 2, 1 / 3, 0, 0, 1 / 11],
    "ndcg@1": [1, 0, 0, 0, 0, 0],
    "ndcg@10": [1 / 2.1309298, 0.6309298, 0.5, 0, 0, 0],
    "ndcg@100": [1 / 2.1309298, 0.6309298, 0.5, 0, 0, 0.2789429],
}


@pytest.mark.parametrize("measure", MEASURES)
def test_by_hand(measure):
    values = score_queries(QRELS, RUN)[measure]
    assert [values[query_id] for query_id in QRELS] == pytest.approx(BY_HAND[measure], abs=1e-6)


def test_means_are_over_all_queries():
    means = average(score_queries(QRELS, RUN))
    assert list(means) == MEASURES
    assert means["hit@10"] == pytest.approx(3 / 6)


docids = st.sampled_from([f"d{i}" for i in range(30)])
any_qrels = st.dictionaries(
    st.sampled_from("abcd"), st.dictionaries(docids, st.integers(-1, 3), min_size=1, max_size=12), min_size=1
)
some_scores = st.one_of(
    st.sampled_from([0.0, 0.25, 0.5, 1.0, -1.0]),  # ties
    st.floats(-1, 1, width=32),
    st.floats(0.5, 0.5 + 1e-9),  # different in float64, the same in the float32 of trec_eval
)
any_run = st.dictionaries(st.sampled_from("abcde"), st.dictionaries(docids, some_scores, max_size=30))


@given(any_qrels, any_run)
def test_trec_eval_says_the_same_of_any_qrels_and_run(qrels, run):
    """Ties, unjudged passages, graded and negative judgements, queries without result or without a positive."""
    names = {"hit": "success", "recall": "recall", "ndcg": "ndcg_cut"}
    evaluator = pytrec_eval.RelevanceEvaluator(qrels, {f"{name}.1,10,100" for name in names.values()} | {"recip_rank"})
    theirs = evaluator.evaluate(run)
    ours = score_queries(qrels, run)
    for measure, values in ours.items():
        name, k = measure.split("@")
        assert values.keys() == qrels.keys()
        for query_id, value in values.items():
            found = theirs.get(query_id, {})
            if name == "mrr":
                expected = found.get("recip_rank", 0.0)
                expected = expected if expected >= 1 / int(k) else 0.0
            else:
                expected = found.get(f"{names[name]}_{k}", 0.0)
            assert value == pytest.approx(expected, abs=1e-4), (measure, query_id)


def brute_force(judged, scores, name, k):
    """A second implementation, from the definitions."""
    order = sorted(scores, key=lambda docid: (np.float32(scores[docid]), docid), reverse=True)
    gains = [max(judged.get(docid, 0), 0) for docid in order[:k]]
    positives = sum(value > 0 for value in judged.values())
    if not positives:
        return 0.0
    if name == "hit":
        return float(any(gains))
    if name == "recall":
        return sum(gain > 0 for gain in gains) / positives
    if name == "mrr":
        return max((1 / rank for rank, gain in enumerate(gains, start=1) if gain), default=0.0)
    ideal = sorted((value for value in judged.values() if value > 0), reverse=True)[:k]
    return sum(g / log2(i + 2) for i, g in enumerate(gains)) / sum(g / log2(i + 2) for i, g in enumerate(ideal))


@given(any_qrels, any_run)
def test_a_second_implementation_says_the_same(qrels, run):
    for measure, values in score_queries(qrels, run).items():
        name, k = measure.split("@")
        expected = [brute_force(judged, run.get(q, {}), name, int(k)) for q, judged in qrels.items()]
        assert [values[query_id] for query_id in qrels] == pytest.approx(expected, abs=1e-6), measure


@given(any_run)
def test_ranks_are_those_of_trec_eval(run):
    """A passage judged alone has the reciprocal of its rank as its score."""
    for query_id, scores in run.items():
        for rank, docid in enumerate(ranking(scores), start=1):
            found = pytrec_eval.RelevanceEvaluator({query_id: {docid: 1}}, {"recip_rank"}).evaluate({query_id: scores})
            assert found[query_id]["recip_rank"] == pytest.approx(1 / rank)


def test_files_say_the_same(tmp_path):
    write_run(tmp_path / "run.trec", RUN, "name")
    assert read_run(tmp_path / "run.trec") == {query_id: pytest.approx(scores) for query_id, scores in RUN.items()}
    first = (tmp_path / "run.trec").read_text().splitlines()[0]
    assert first == "several Q0 d1 1 0.9 name"


def test_float32_scores_survive_the_file(tmp_path):
    close = np.float32(0.7), np.nextafter(np.float32(0.7), np.float32(1))
    write_run(tmp_path / "run.trec", {"q": {"a": float(close[0]), "b": float(close[1])}}, "name")
    scores = read_run(tmp_path / "run.trec")["q"]
    assert np.float32(scores["a"]) == close[0]
    assert np.float32(scores["b"]) == close[1]


def test_a_file_is_scored(tmp_path):
    (tmp_path / "qrels").write_text("".join(f"{q} 0 {d} {r}\n" for q, docs in QRELS.items() for d, r in docs.items()))
    write_run(tmp_path / "run", RUN, "name")
    means = average(score_queries(QRELS, RUN))
    lines = [f"{name}\t{value:.4f}" for name, value in means.items()]
    assert score_files(tmp_path / "qrels", tmp_path / "run").splitlines() == lines


def test_the_articles_measures_by_hand():
    """Two of two positives count half, one of three at rank 1 is perfect, ranks beyond 10 do not exist."""
    qrels = {"two": {"d1": 1, "d2": 1}, "one": {"d1": 1, "d2": 1, "d3": 1}, "deep": {"d0": 1}, "unasked": {"d1": 1}}
    run = {
        "two": {"d1": 0.9, "d2": 0.8, "x1": 0.7},
        "one": {"d1": 0.9, "x1": 0.8, "x2": 0.7},
        "deep": {f"x{i}": 1.0 - i / 100 for i in range(10)} | {"d0": 0.1},
    }
    expected = {"recall@1": 2, "recall@10": 1 / 2 + 1 / 3, "mrr@1": 2, "mrr@10": 2, "ndcg@1": 2, "ndcg@10": 2}
    assert article_metrics(qrels, run) == pytest.approx({name: value / 3 for name, value in expected.items()})


@given(st.lists(st.lists(st.booleans(), min_size=10, max_size=10), min_size=1, max_size=4), st.integers(0, 3))
def test_the_articles_measures_are_those_of_its_code(hits, missed):
    """Against the article's steps: texts, its recall with hits cut to one, scikit-learn over all queries at once."""
    from sklearn.metrics import ndcg_score

    qrels = {
        str(q): {f"d{i}": 1 for i, hit in enumerate(row) if hit} | {f"m{i}": 1 for i in range(missed)} | {"m": 1}
        for q, row in enumerate(hits)
    }
    run = {str(q): {f"d{i}": 1 - i / 10 for i in range(10)} for q in range(len(hits))}
    found = article_metrics(qrels, run)
    for k in (1, 10):
        recalls = [min(len(np.intersect1d(list(run[q])[:k], list(qrels[q]))), 1) / min(k, len(qrels[q])) for q in qrels]
        assert found[f"recall@{k}"] == pytest.approx(np.mean(recalls))
        ndcg = ndcg_score(np.array(hits, int), [list(scores.values()) for scores in run.values()], k=k)
        assert found[f"ndcg@{k}"] == pytest.approx(ndcg)


def test_the_article_ranks_what_is_infinite_or_huge():
    run = {"q": {"a": float("inf"), "b": 1e300, "c": float("-inf")}}
    assert article_metrics({"q": {"b": 1}}, run)["ndcg@10"] == pytest.approx(1 / log2(3))
    assert article_metrics({"q": {"c": 1}}, run)["ndcg@10"] == pytest.approx(1 / log2(4))
    assert set(article_metrics({"q": {"c": 1}}, {}).values()) == {0.0}
