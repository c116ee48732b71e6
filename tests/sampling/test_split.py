import json
from collections import Counter
from itertools import chain

import datasets
import pytest
from conftest import make_pairs
from hypothesis import given
from hypothesis import strategies as st

from helpers.base.clock import timed
from helpers.base.errors import UserError
from helpers.sampling.split import connected, held_rows, negative_pool, sample_negatives, split_pairs
from helpers.sampling.texts import normalise, text_id
from helpers.sampling.training_set import TrainingSet, save_training_set, training_rows

texts = st.text(alphabet="abAB \t", min_size=1, max_size=3).filter(str.strip)
positives = st.lists(st.lists(texts, min_size=1, max_size=3), min_size=1, max_size=20)


def pairs_of(positive_lists):
    return [{"id": f"q{i}", "query": str(i), "positive": texts} for i, texts in enumerate(positive_lists)]


def ids_of(positive_lists):
    return [[text_id(text) for text in texts] for texts in positive_lists]


@given(positives, st.integers(1, 8), st.integers(0, 3))
def test_negatives_are_distinct_and_never_a_positive(positive_lists, neg_num, seed):
    pool = negative_pool(pairs_of(positive_lists), [])
    sampled = list(sample_negatives(ids_of(positive_lists), ids_of([pool])[0], neg_num, seed))
    assert sampled == list(sample_negatives(ids_of(positive_lists), ids_of([pool])[0], neg_num, seed))
    for own, places in zip(positive_lists, sampled, strict=True):
        keys = [normalise(pool[place]) for place in places]
        others = {normalise(text) for text in pool} - {normalise(text) for text in own}
        assert len(set(keys)) == len(keys) == min(neg_num, len(others))
        assert set(keys) <= others


@given(positives, st.floats(0.05, 0.95), st.integers(0, 3))
def test_passage_split_separates_passages(positive_lists, share, seed):
    pairs = pairs_of(positive_lists)
    try:
        train, evaluation = split_pairs(pairs, "passage", share, seed)
    except UserError:
        return
    assert sorted(pair["id"] for pair in train + evaluation) == sorted(pair["id"] for pair in pairs)
    assert len(evaluation) <= round(share * len(pairs))
    sides = [{normalise(text) for pair in side for text in pair["positive"]} for side in (train, evaluation)]
    assert sides[0].isdisjoint(sides[1])


def test_negatives_are_uniform():
    counts = Counter(chain.from_iterable(sample_negatives([[10]] * 8000, range(10, 15), 2, seed=0)))
    assert sorted(counts) == [1, 2, 3, 4]
    assert all(abs(count - 4000) < 200 for count in counts.values()), counts  # four standard deviations are 179


def test_groups_join_through_shared_passages():
    rows = connected(ids_of([["a", "b"], ["c"], ["B "], ["d"], ["c", "a"]]))
    assert [held_rows(rows, count, seed=0) for count in (0, 1, 3, 5)] == [set(), {3}, {3}, {0, 1, 2, 3, 4}]
    assert sorted(map(sorted, (held_rows(rows, 4, seed) for seed in (0, 1)))) == [[0, 1, 2, 4], [3]]


def test_query_split_is_the_articles(make_profile):
    profile = make_profile("msmarco")
    pairs = pairs_of([[str(i)] for i in range(6980)])
    train, evaluation = split_pairs(pairs, profile.split_key, profile.eval_share, profile.split_seed)
    expected = datasets.Dataset.from_list(pairs).train_test_split(0.2, 0.8, seed=42)
    assert (len(train), len(evaluation)) == (5584, 1396)
    assert [pair["id"] for pair in train] == expected["train"]["id"]
    assert [pair["id"] for pair in evaluation] == expected["test"]["id"]


def test_pool_holds_no_evaluation_passage():
    train = pairs_of([["a", "Shared"], ["b"], ["A "]])
    assert negative_pool(train, pairs_of([["shared", "c"]])) == ["a", "b"]


def test_a_split_that_leaves_a_side_empty_is_one_sentence():
    with pytest.raises(UserError, match="cannot be split by passage"):
        split_pairs(pairs_of([["same"], ["same"], ["SAME"]]), "passage", 0.2, 42)
    with pytest.raises(UserError, match="cannot be split by query"):
        split_pairs(pairs_of([["one"]]), "query", 0.2, 42)
    with pytest.raises(UserError, match="EVAL_SHARE=0.95"):
        split_pairs(pairs_of([["one"], ["two"], ["three"]]), "query", 0.95, 42)


@pytest.mark.parametrize("key", ["query", "passage"])
def test_all_pairs_may_evaluate(key):
    pairs = pairs_of([["one"], ["two"], ["three"]])
    train, evaluation = split_pairs(pairs, key, 1, 42)
    assert train == []
    assert sorted(pair["positive"] for pair in evaluation) == [["one"], ["three"], ["two"]]
    with pytest.raises(UserError, match="all pairs evaluate, so there is nothing to train"):
        negative_pool(train, evaluation)


def test_fifty_negatives_for_the_articles_queries_take_under_two_seconds():
    positive_lists = [[f"passage {i} " * 50] for i in range(6980)]
    pool = negative_pool(pairs_of(positive_lists), [])
    rows, seconds = timed(lambda: list(training_rows(pairs_of(positive_lists), pool, 50, "", 42)))
    assert {len(row["neg"]) for row in rows} == {50}
    assert seconds < 2


@pytest.fixture
def pairs():
    return [pair | {"id": f"q{i}"} for i, pair in enumerate(make_pairs(12))]


def test_training_file(make_profile, pairs):
    profile = make_profile()
    said = save_training_set(pairs, negative_pool(pairs, []), 5, profile)
    saved = [json.loads(line) for line in profile.training_file("neg5").read_text().splitlines()]
    assert saved == list(training_rows(pairs, negative_pool(pairs, []), 5, profile.instruction, profile.negatives_seed))
    assert list(saved[0]) == ["query", "pos", "neg", "id", "prompt"]
    assert saved[0]["prompt"] == profile.instruction
    assert said == "ft_data/test/training_neg_5.json: 12 queries with 5 negatives each, 0.0 MB"
    read = TrainingSet(profile.training_file("neg5"), profile.instruction, 6)
    assert list(read) == saved
    for number, row in enumerate(saved):
        query, positives, negatives = read.ids(number)
        assert [query, *positives, *negatives] == ids_of([[row["query"], *row["pos"], *row["neg"]]])[0]
    part = read.chosen([3, 1], {1: {"neg": ["another"]}})
    assert list(part) == [saved[3], saved[1] | {"neg": ["another"]}]
    assert (len(part), part.ids(0), len(read)) == (2, read.ids(3), 12)


def test_a_training_file_is_made_again_when_something_else_is_asked_for(make_profile, pairs, capsys, monkeypatch):
    pool = negative_pool(pairs, [])
    said = save_training_set(pairs, pool, 5, make_profile())
    path = make_profile().training_file("neg5")
    before, time = path.read_bytes(), path.stat().st_mtime_ns
    assert save_training_set(pairs, pool, 5, make_profile(BATCH_SIZE=3)) == said
    assert path.stat().st_mtime_ns == time
    assert capsys.readouterr().out == ""
    for names, (train, passages, settings) in {
        "NEGATIVES_SEED": (pairs, pool, {"NEGATIVES_SEED": 1}),
        "INSTRUCTION, NEGATIVES_SEED": (pairs, pool, {"INSTRUCTION": "ask: "}),
        "passages, INSTRUCTION": (pairs, pool[:-1], {}),
        "queries, passages": (pairs[:-1], pool, {}),
    }.items():
        save_training_set(train, passages, 5, make_profile(**settings))
        line = f"ft_data/test/training_neg_5.json is made again: it was made from other {names}.\n"
        assert capsys.readouterr().out == line
        assert path.read_bytes() != before
    save_training_set(pairs, pool, 5, make_profile())
    assert path.read_bytes() == before
    capsys.readouterr()
    monkeypatch.setattr("helpers.sampling.training_set.code_of", lambda file: "another")
    save_training_set(pairs, pool, 5, make_profile())
    assert capsys.readouterr().out.endswith("it was made from other code.\n")


def test_a_short_list_is_said_not_filled(make_profile):
    pairs = pairs_of([["a"], ["b", "c"], ["d"]])
    profile = make_profile(NEGATIVES_SEED=1)
    said = save_training_set(pairs, negative_pool(pairs, []), 3, profile)
    assert [len(row["neg"]) for row in TrainingSet(profile.training_file("neg3"), profile.instruction)] == [3, 2, 3]
    assert "1 of them have fewer than 3 negatives, the fewest 2" in said
