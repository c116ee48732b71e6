import json
from dataclasses import replace

import pytest

from helpers.base.errors import UserError
from helpers.sampling.eval_set import build_eval_rows, corpus_rows, load_eval_set, save_eval_set

TRAIN = [{"id": "q1", "query": "one", "positive": ["Alpha beta", "gamma delta epsilon"]}]
EVALUATION = [
    {"id": "q2", "query": "two", "positive": ["alpha  beta", "zeta eta theta"]},
    {"id": "q3", "query": "three", "positive": ["iota kappa lambda"]},
]


def save(profile):
    return save_eval_set(
        build_eval_rows(EVALUATION, profile.instruction), corpus_rows(TRAIN + EVALUATION), profile.data_dir
    )


def test_each_distinct_passage_stands_once(make_profile):
    eval_set = save(make_profile())
    assert list(eval_set.corpus.values()) == [
        "Alpha beta",
        "gamma delta epsilon",
        "zeta eta theta",
        "iota kappa lambda",
    ]
    assert eval_set.qrels == {"q2": {"d1": 1, "d3": 1}, "q3": {"d4": 1}}
    assert eval_set.queries == {"q2": "two", "q3": "three"}


def test_files(make_profile):
    profile = make_profile()
    eval_set = save(profile)
    rows = [json.loads(line) for line in (profile.data_dir / "eval_dataset.json").read_text().splitlines()]
    assert list(rows[0]) == ["query", "pos", "id", "prompt"]
    assert rows[0]["pos"] == ["alpha  beta", "zeta eta theta"]
    assert (profile.data_dir / "qrels.trec").read_text() == "q2 0 d1 1\nq2 0 d3 1\nq3 0 d4 1\n"
    again = load_eval_set(profile.data_dir)
    assert (again.queries, dict(again.corpus), again.qrels) == (eval_set.queries, dict(eval_set.corpus), eval_set.qrels)


def test_fingerprint_sees_every_change(make_profile):
    eval_set = save(make_profile())
    assert load_eval_set(make_profile().data_dir).fingerprint == eval_set.fingerprint
    for part in ("queries", "corpus", "qrels"):
        changed = dict(getattr(eval_set, part))
        changed.pop(next(iter(changed)))
        assert replace(eval_set, **{part: changed}).fingerprint != eval_set.fingerprint


def test_missing_and_broken_files_are_one_sentence(make_profile):
    profile = make_profile()
    with pytest.raises(
        UserError, match="eval_dataset.json cannot be read .*; run notebooks/02_build_eval_dataset.ipynb first"
    ):
        load_eval_set(profile.data_dir)
    save(profile)
    path = profile.data_dir / "eval_dataset.json"
    path.write_text('{"id": "q9", "query": "q", "pos": ["elsewhere"]}\n')
    with pytest.raises(UserError, match="queries, corpus and qrels.trec are not of one build; run notebooks/02"):
        load_eval_set(profile.data_dir)
    path.write_text('{"id": "q9"}\n')
    with pytest.raises(UserError, match="line 1: 'id' or 'query' is missing"):
        load_eval_set(profile.data_dir)
    save(profile)
    (profile.data_dir / "qrels.trec").write_text("q2 0 d1 1\nq3 0 d99 1\n")
    with pytest.raises(UserError, match="not of one build"):
        load_eval_set(profile.data_dir)


def test_a_positive_outside_the_corpus_is_one_sentence_and_writes_no_qrels(make_profile):
    profile = make_profile()
    with pytest.raises(UserError, match="A positive of query q2 is not in the corpus"):
        save_eval_set(build_eval_rows(EVALUATION, profile.instruction), corpus_rows(TRAIN), profile.data_dir)
    assert not (profile.data_dir / "qrels.trec").exists()


def test_distractors_change_the_fingerprint_and_nothing_else(make_profile):
    profile = make_profile()
    before = save(profile)
    fingerprint = before.fingerprint
    rows = corpus_rows(TRAIN + EVALUATION, ["nu xi omicron", "ALPHA beta"])
    after = save_eval_set(build_eval_rows(EVALUATION, profile.instruction), rows, profile.data_dir)
    assert (len(after.corpus), after.qrels) == (5, before.qrels)
    assert after.fingerprint != fingerprint
