import json
import os
from dataclasses import replace

import pytest
from conftest import write_jsonl

from helpers.base.errors import UserError
from helpers.sampling.eval_set import EVAL_MANIFEST, Corpus, corpus_rows, load_eval_set, save_eval_set

TRAIN = [{"id": "q1", "query": "one", "positive": ["Alpha beta", "gamma delta epsilon"]}]
EVALUATION = [
    {"id": "q2", "query": "two", "positive": ["alpha  beta", "zeta eta theta"]},
    {"id": "q3", "query": "three", "positive": ["iota kappa lambda"]},
]


def save(profile):
    return save_eval_set(EVALUATION, TRAIN + EVALUATION, profile)


def test_each_distinct_passage_stands_once(make_profile):
    eval_set = save(make_profile())
    passages = ["Alpha beta", "gamma delta epsilon", "zeta eta theta", "iota kappa lambda"]
    assert list(eval_set.corpus.values()) == passages
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
    none = "There is no whole evaluation set in .*; run notebooks/02_build_eval_dataset.ipynb first"
    with pytest.raises(UserError, match=none):
        load_eval_set(profile.data_dir)
    for name in ("eval_dataset.json", "corpus.jsonl", "qrels.trec"):
        path = save(profile) and profile.data_dir / name
        whole = path.read_bytes()
        path.write_bytes(whole[:-1])
        with pytest.raises(UserError, match=none):
            load_eval_set(profile.data_dir)
        path.unlink()
        with pytest.raises(UserError, match=none):
            load_eval_set(profile.data_dir)
        save(profile)
        assert path.read_bytes() == whole
    path = profile.data_dir / "eval_dataset.json"
    rest = '{"id": "q9"}'
    path.write_text(rest + " " * (path.stat().st_size - len(rest)))  # of the size that it should have
    with pytest.raises(UserError, match="line 1: 'id' or 'query' is missing"):
        load_eval_set(profile.data_dir)


def test_it_is_made_again_when_something_else_is_asked_for(make_profile, capsys, monkeypatch):
    profile = make_profile()
    save(profile)
    times = [path.stat().st_mtime_ns for path in sorted(profile.data_dir.glob("[!.]*"))]
    save(profile)
    assert [path.stat().st_mtime_ns for path in sorted(profile.data_dir.glob("[!.]*"))] == times
    assert capsys.readouterr().out == ""
    save_eval_set(EVALUATION[:1], TRAIN + EVALUATION, profile)
    assert capsys.readouterr().out == "ft_data/test/eval_dataset.json is made again: it was made from other queries.\n"
    save_eval_set(EVALUATION[:1], EVALUATION, profile)
    assert "it was made from other passages.\n" in capsys.readouterr().out
    save_eval_set(EVALUATION[:1], EVALUATION, make_profile(INSTRUCTION="ask: "))
    assert "it was made from other INSTRUCTION.\n" in capsys.readouterr().out
    save_eval_set(EVALUATION[:1], EVALUATION[::-1], make_profile(INSTRUCTION="ask: "))
    assert "it was made from other passages.\n" in capsys.readouterr().out
    monkeypatch.setattr("helpers.sampling.eval_set.code_of", lambda file: "another")
    save_eval_set(EVALUATION[:1], EVALUATION[::-1], make_profile(INSTRUCTION="ask: "))
    assert "it was made from other code.\n" in capsys.readouterr().out
    os.unlink(profile.data_dir / EVAL_MANIFEST)
    save(profile)
    assert capsys.readouterr().out == ""  # nothing whole was there


def test_a_positive_outside_the_corpus_is_one_sentence_and_writes_no_qrels(make_profile):
    profile = make_profile()
    with pytest.raises(UserError, match="A positive of query q2 is not in the corpus"):
        save_eval_set(EVALUATION, TRAIN, profile)
    assert not (profile.data_dir / "qrels.trec").exists()
    assert not (profile.data_dir / EVAL_MANIFEST).exists()


def test_distractors_change_the_fingerprint_and_nothing_else(make_profile, tmp_path, capsys):
    profile = make_profile()
    before = save(profile)
    fingerprint = before.fingerprint
    more = write_jsonl(tmp_path / "more.jsonl", [{"text": "nu xi omicron"}, {"text": "ALPHA beta"}])
    after = save(make_profile(DISTRACTORS=more))
    assert "it was made from other DISTRACTORS.\n" in capsys.readouterr().out
    assert (len(after.corpus), after.qrels) == (5, before.qrels)
    assert after.fingerprint != fingerprint
    write_jsonl(more, [{"text": "nu xi omicron"}, {"text": "pi rho"}])
    assert save(make_profile(DISTRACTORS=more)).corpus["d6"] == "pi rho"
    assert save(profile).fingerprint == fingerprint
    assert capsys.readouterr().out.count("it was made from other DISTRACTORS.\n") == 2


def test_files_that_do_not_fit_together_are_one_sentence(make_profile):
    """Edited by hand, to the size that they had."""
    profile = make_profile()
    save(profile)
    qrels, queries = profile.data_dir / "qrels.trec", profile.data_dir / "eval_dataset.json"
    for path, before, after in ((qrels, "q3 0", "q2 0"), (queries, '"q3"', '"q9"'), (qrels, "d4", "d9")):
        text = path.read_text()
        path.write_text(text.replace(before, after))
        assert path.read_text() != text
        with pytest.raises(UserError, match="run notebooks/02"):
            load_eval_set(profile.data_dir)
        path.write_text(text)


PAIRS = [{"positive": ["Alpha  beta", "gämma \u2028 delta"]}, {"positive": ["alpha beta", "eins\nzwei"]}]


@pytest.fixture
def corpus(tmp_path):
    return Corpus(write_jsonl(tmp_path / "corpus.jsonl", corpus_rows(PAIRS, ["zeta", "GÄMMA delta"])))


def test_it_is_a_mapping_that_stays_on_disk(corpus):
    texts = ["Alpha  beta", "gämma \u2028 delta", "eins\nzwei", "zeta"]
    assert dict(corpus) == dict(zip(["d1", "d2", "d3", "d4"], texts, strict=True))
    assert list(corpus) == ["d1", "d2", "d3", "d4"]
    assert list(corpus.values()) == list(corpus.values()) == texts
    assert list(corpus.items()) == list(dict(corpus).items())
    assert (len(corpus), len(corpus.values()), len(corpus.items())) == (4, 4, 4)
    assert "zeta" in corpus.values()
    assert corpus["d2"] == texts[1]
    assert not any(text in value for value in vars(corpus).values() for text in texts if isinstance(value, dict | list))


@pytest.mark.parametrize("docid", ["d0", "d5", "d01", "d", "1", "x1", "d-1", "d²", 1, None])
def test_ids_that_are_not_there(corpus, docid):
    assert docid not in corpus
    with pytest.raises(KeyError):
        corpus[docid]


@pytest.mark.parametrize("row", [{"id": "d3", "text": "x"}, {"id": "d2"}, {"id": "d2", "text": 3}, {"text": "x"}])
def test_a_line_that_is_not_sound_is_named(tmp_path, row):
    path = write_jsonl(tmp_path / "corpus.jsonl", [{"id": "d1", "text": "a"}, row])
    with pytest.raises(UserError, match=r"corpus.jsonl, line 2: not the passage d2 with its text; run notebooks/02"):
        Corpus(path)
