from math import inf

import pytest

from helpers.recall.mining import mine, mining_task, with_negatives

POOL = ["gold one", "near one", "gold two", "What is one?", "far", "other gold one"]
TRAIN = [
    {"id": "q1", "query": "what is ONE?", "positive": ["gold one", "other gold  ONE"]},
    {"id": "q2", "query": "two?", "positive": ["gold two"]},
    {"id": "q3", "query": "three?", "positive": ["not in the pool"]},
]
RUN = {
    "q1": {"p3": 0.99, "p1": 0.9, "p0": 0.8, "p5": 0.6, "p2": 0.4, "p4": 0.1},
    "q2": {"p1": 0.5, "p4": 0.4},  # without the positive
    "q3": {},
}


def test_the_task_has_all_that_is_no_negative():
    task = mining_task(TRAIN, POOL)
    assert task.qrels == {"q1": {"p3": 0, "p0": 1, "p5": 1}, "q2": {"p2": 1}, "q3": {}}
    assert list(task.corpus.values()) == POOL
    assert task.queries["q1"] == "what is ONE?"


@pytest.mark.parametrize(
    ("ranks", "limit", "kept", "thrown"),
    [
        (range(100), inf, {"q1": ["p1", "p2", "p4"], "q2": ["p1", "p4"]}, {"q1": [], "q2": []}),
        (range(100), 0.95, {"q1": ["p2", "p4"], "q2": []}, {"q1": ["p1"], "q2": ["p1", "p4"]}),  # below 0.76; 0.38
        (range(100), 0.5, {"q1": ["p4"], "q2": []}, {"q1": ["p1", "p2"], "q2": ["p1", "p4"]}),  # 0.4 is not below 0.4
        (range(100), 0.0, {"q1": [], "q2": []}, {"q1": ["p1", "p2", "p4"], "q2": ["p1", "p4"]}),
        (range(1, 4), inf, {"q1": ["p1"], "q2": ["p4"]}, {"q1": [], "q2": []}),  # ranks count positives, too
    ],
)
def test_what_scores_nearly_as_the_positive_is_thrown_out(ranks, limit, kept, thrown):
    found = mine(mining_task(TRAIN, POOL), RUN, ranks, limit)
    assert found == (kept | {"q3": []}, thrown | {"q3": []})


def test_negatives_are_drawn_from_all_searches_by_the_seed():
    task = mining_task(TRAIN, POOL)
    words, vectors = {"q1": ["p1", "p2"], "q2": [], "q3": []}, {"q1": ["p2", "p4"], "q2": ["p0"], "q3": []}
    first = with_negatives(TRAIN, task.corpus, [words, vectors], 2, seed=1)
    assert [len(pair["negative"]) for pair in first] == [2, 1, 0]
    assert set(first[0]["negative"]) < {"near one", "gold two", "far"}
    assert first == with_negatives(TRAIN, task.corpus, [words, vectors], 2, seed=1)
    drawn = {tuple(with_negatives(TRAIN, task.corpus, [words, vectors], 2, seed)[0]["negative"]) for seed in range(30)}
    assert len(drawn) == 6  # each two of three, in any order
    assert "negative" not in TRAIN[0]
