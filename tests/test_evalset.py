import json

import pytest

from helpers.audit import audit
from helpers.errors import UserError
from helpers.evalset import build_corpus, build_eval_rows, load_eval_set, save_eval_set

TRAIN = [{"id": "q1", "query": "one", "positive": ["Alpha beta", "gamma delta epsilon"]}]
EVALUATION = [
    {"id": "q2", "query": "two", "positive": ["alpha  beta", "zeta eta theta"]},
    {"id": "q3", "query": "three", "positive": ["iota kappa lambda"]},
]


def save(profile):
    return save_eval_set(build_eval_rows(EVALUATION, profile), build_corpus(TRAIN + EVALUATION), profile)


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
    assert load_eval_set(profile) == eval_set


def test_fingerprint_sees_every_change(make_profile):
    eval_set = save(make_profile())
    assert load_eval_set(make_profile()).fingerprint == eval_set.fingerprint
    for part in ("queries", "corpus", "qrels"):
        changed = dict(getattr(eval_set, part))
        changed.pop(next(iter(changed)))
        assert type(eval_set)(**{**vars(eval_set), part: changed}).fingerprint != eval_set.fingerprint


def test_missing_and_broken_files_are_one_sentence(make_profile):
    profile = make_profile()
    with pytest.raises(
        UserError, match="corpus.jsonl cannot be read .*; run notebooks/02_build_eval_dataset.ipynb first"
    ):
        load_eval_set(profile)
    save(profile)
    path = profile.data_dir / "eval_dataset.json"
    path.write_text('{"id": "q9", "query": "q", "pos": ["elsewhere"]}\n')
    with pytest.raises(UserError, match="a positive of q9 is not in corpus.jsonl"):
        load_eval_set(profile)
    path.write_text('{"id": "q9", "query": "q"}\n')
    with pytest.raises(UserError, match="line 1: id or query or pos is missing"):
        load_eval_set(profile)


def test_audit(make_profile):
    corpus = save(make_profile()).corpus
    table = audit(TRAIN, EVALUATION, corpus, [4, 5, 9, 5], limit=8)
    assert table["count"].to_dict() == {
        "positives merged into one passage": 1,
        "passages that train and evaluate": 1,
        "passages of less than 3 words": 1,
        "passages cut at 8 tokens": 1,
    }
    assert table.loc["passages cut at 8 tokens", "example"] == "zeta eta theta"
