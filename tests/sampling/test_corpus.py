import json

import pytest
from conftest import write_jsonl

from helpers.base.errors import UserError
from helpers.sampling.eval_set import Corpus, corpus_rows
from helpers.sampling.pairs import read_distractors

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


@pytest.mark.parametrize("ending", ["jsonl", "json", "csv", "parquet"])
def test_distractors_come_from_any_file_of_pairs(tmp_path, make_profile, ending):
    import pandas as pd

    texts = ["one more", "it\u00e2\u20ac\u2122s another"]
    path = tmp_path / f"more.{ending}"
    if ending == "parquet":
        pd.DataFrame({"text": texts}).to_parquet(path)
    elif ending == "csv":
        pd.DataFrame({"text": texts}).to_csv(path, index=False)
    elif ending == "json":
        path.write_text(json.dumps([{"text": text} for text in texts]))
    else:
        write_jsonl(path, [{"text": text} for text in texts])
    assert list(read_distractors([path], False)) == texts
    repaired = list(read_distractors([path], True))
    assert repaired == ["one more", "it\u2019s another"]


def test_bad_distractors_are_one_sentence(tmp_path, make_profile):
    assert list(read_distractors([], False)) == []
    with pytest.raises(UserError, match="DISTRACTORS="):
        make_profile(DISTRACTORS="/no/such.jsonl")
    (tmp_path / "more.docx").touch()
    with pytest.raises(UserError, match="more.docx"):
        make_profile(DISTRACTORS=tmp_path / "more.docx")
    path = write_jsonl(tmp_path / "more.jsonl", [{"text": "a"}, {"name": "b"}])
    with pytest.raises(UserError, match="more.jsonl, line 2: no column 'text'"):
        list(read_distractors([path], False))
