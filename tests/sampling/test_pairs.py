import json
import os

import pandas as pd
import pytest
from conftest import make_pairs, write_jsonl

from helpers.base.errors import UserError
from helpers.sampling.pairs import load_pairs, merge_queries, read_distractors
from helpers.sampling.texts import distinct, normalise

ROWS = [{"query": "a b", "positive": ["x", "y"], "id": "1"}, {"query": "c", "positive": ["z"], "id": "2"}]


def write(path, rows):
    if path.suffix == ".jsonl":
        write_jsonl(path, rows)
    elif path.suffix == ".json":
        path.write_text(json.dumps(rows, indent=2))
    elif path.suffix == ".csv":
        one_a_row = [row | {"positive": text} for row in rows for text in row["positive"]]
        pd.DataFrame(one_a_row).drop(columns="id").to_csv(path, index=False)
    else:
        pd.DataFrame(rows).to_parquet(path)
    return path


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet"])
def test_formats_agree(make_profile, tmp_path, ending):
    path = write(tmp_path / f"my pairs{ending}", ROWS)
    pairs = load_pairs(make_profile(DATASET=path))
    assert [(pair["query"], pair["positive"]) for pair in pairs] == [("a b", ["x", "y"]), ("c", ["z"])]
    assert list(read_distractors([path], False)) == ["x", "y", "z"]


def test_accepted_shapes(make_profile, tmp_path):
    path = tmp_path / "a.json"  # JSON lines under .json, as the training files are
    path.write_bytes(
        b'\xef\xbb\xbf{"query": " q1 ", "pos": "x"}\n\n{"query": "q2", "positive": ["y", "Y "], "id": 7}\n'
    )
    assert load_pairs(make_profile(DATASET=path)) == [
        {"id": "q1", "query": "q1", "positive": ["x"]},
        {"id": "7", "query": "q2", "positive": ["y"]},
    ]


def test_csv_keeps_line_breaks_in_a_field(make_profile, tmp_path):
    path = tmp_path / "a.csv"
    path.write_text('query,positive\nq,"one\n\ntwo"\n')
    assert load_pairs(make_profile(DATASET=path))[0]["positive"] == ["one\n\ntwo"]


def test_max_pairs_is_a_seeded_sample(make_profile, tmp_path):
    path = write_jsonl(tmp_path / "a.jsonl", make_pairs(50))
    some = load_pairs(make_profile(DATASET=path, MAX_PAIRS=10))
    assert len(some) == 10
    assert some == load_pairs(make_profile(DATASET=path, MAX_PAIRS=10))
    assert some != load_pairs(make_profile(DATASET=path, MAX_PAIRS=10, SPLIT_SEED=1))
    numbers = [int(pair["id"][1:]) for pair in some]
    assert numbers == sorted(numbers)


def test_a_folder_loads_like_the_hub(make_profile, tmp_path):
    folder = tmp_path / "msmarco"
    write_jsonl(folder / "dev.json", make_pairs(5))
    (folder / "README.md").write_text("---\nconfigs:\n- config_name: default\n  data_files:\n  - split: dev\n"
                                      "    path: dev.json\n---\n")  # fmt: skip
    pairs = load_pairs(make_profile("msmarco", DATASET=folder))
    assert [pair["query"] for pair in pairs] == [pair["query"] for pair in make_pairs(5)]


def test_a_folder_is_read_as_it_is_now(make_profile, tmp_path):
    write_jsonl(tmp_path / "pairs" / "train.jsonl", make_pairs(3))
    assert len(load_pairs(make_profile(DATASET=tmp_path / "pairs", DATASET_SPLIT=""))) == 3
    write_jsonl(tmp_path / "pairs" / "train.jsonl", make_pairs(5))
    assert len(load_pairs(make_profile(DATASET=tmp_path / "pairs", DATASET_SPLIT=""))) == 5


def test_a_split_that_is_not_there_is_one_sentence(make_profile, tmp_path):
    write_jsonl(tmp_path / "pairs" / "train.jsonl", make_pairs(3))
    with pytest.raises(UserError, match="DATASET_SPLIT=dev: .*pairs has the splits train; set it to one of them"):
        load_pairs(make_profile(DATASET=tmp_path / "pairs"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="empty is no data set"):
        load_pairs(make_profile(DATASET=tmp_path / "empty"))


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.jsonl", b'{"query": "q", "positive": "p"}\n{"query": "q2", "pos', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", b'["q", "p"]\n', "a.json"),
        ("a.jsonl", b'{"query": "q", "positive": "p"}\n[1]\n', "a.jsonl, line 2: not a JSON object"),
        ("a.jsonl", b'{"positive": "p"}\n', "a.jsonl, line 1: no column 'query' among 'positive'; rename one"),
        ("a.jsonl", b'{"query": 3, "positive": "p"}\n', "a.jsonl, line 1: 'query' has 3 where a text should be"),
        ("a.jsonl", b'{"query": "q", "positive": []}\n', "a.jsonl, line 1: 'positive' is empty"),
        ("a.jsonl", b"", "a.jsonl has no rows"),
        ("a.jsonl", b"\xff\xfe\x00binary", "a.jsonl is not text in UTF-8"),
        ("a.json", b'[{"query": "q", "positive": "p"},\n', "a.json, line 2: not JSON"),
        ("a.json", b"[1]", "a.json, row 1: not an object"),
        ("a.csv", b'query,positive\nq,"p\nr,s\n', "a.csv, after line 1: not CSV (unexpected end of data)"),
        ("a.parquet", b"not parquet", "a.parquet is not a readable Parquet file"),
    ],
)
def test_bad_files_are_one_sentence(make_profile, tmp_path, name, content, sentence):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError) as error:
        load_pairs(make_profile(DATASET=tmp_path / name))
    assert sentence in str(error.value)
    assert "\n" not in str(error.value)


def test_same_text():
    assert normalise(" A  b\n") == "a b"
    assert distinct(["A b", "c", "a  B", "C", "d"]) == ["A b", "c", "d"]


def test_rows_of_one_query_are_united():
    pairs = [{"id": "1", "query": "Q", "positive": ["a"]}, {"id": "2", "query": "q ", "positive": ["A", "b"]}]
    assert merge_queries(pairs) == [{"id": "1", "query": "Q", "positive": ["a", "b"]}]
    assert pairs[0]["positive"] == ["a"]


def test_pairs_are_read_once_and_again_when_the_source_or_a_setting_is_another(
    make_profile, tmp_path, capsys, monkeypatch
):
    source = write_jsonl(tmp_path / "a.jsonl", make_pairs(50))
    profile = make_profile(DATASET=source, MAX_PAIRS=0, SPLIT_SEED=1)
    pairs, path = load_pairs(profile), profile.data_dir / "pairs.jsonl"
    time = path.stat().st_mtime_ns
    os.utime(source, (0, 0))
    assert load_pairs(make_profile(DATASET=source, MAX_PAIRS=0)) == pairs  # the seed draws nothing without MAX_PAIRS
    assert (path.stat().st_mtime_ns, capsys.readouterr().out) == (time, "")
    load_pairs(make_profile(DATASET=source, MAX_PAIRS=10))
    place = f"ft_data/{profile.run_name}/pairs.jsonl is made again: it was made from other"
    assert capsys.readouterr().out == f"{place} MAX_PAIRS.\n"
    load_pairs(make_profile(DATASET=source, MAX_PAIRS=0, FIX_TEXT=1))
    assert capsys.readouterr().out == f"{place} FIX_TEXT, MAX_PAIRS.\n"
    assert load_pairs(profile) == pairs
    capsys.readouterr()
    write_jsonl(source, make_pairs(51))
    assert len(load_pairs(profile)) == 51
    assert capsys.readouterr().out == f"{place} content.\n"
    monkeypatch.setattr("helpers.sampling.pairs.code_of", lambda file: "another")
    load_pairs(profile)
    assert capsys.readouterr().out == f"{place} code.\n"


def test_a_bad_row_leaves_no_pairs(make_profile, tmp_path):
    source = write_jsonl(tmp_path / "a.jsonl", make_pairs(5))
    profile = make_profile(DATASET=source)
    load_pairs(profile)
    write_jsonl(source, [*make_pairs(5), {"query": "q"}])
    for _ in range(2):
        with pytest.raises(UserError, match="line 6"):
            load_pairs(profile)


def test_the_same_name_in_two_folders_is_not_the_same_data(make_profile, tmp_path):
    sources = [write_jsonl(tmp_path / folder / "pairs.jsonl", make_pairs(5)[n:]) for n, folder in enumerate("ab")]
    one, other = (make_profile(DATASET=source) for source in sources)
    assert one.data_dir != other.data_dir
    assert (len(load_pairs(one)), len(load_pairs(other)), len(load_pairs(one))) == (5, 4, 5)


def test_docstrings_of_other_versions_are_read_again(make_profile, capsys, monkeypatch):
    from importlib.metadata import version

    from helpers.sampling import pairs
    from helpers.sampling.docstrings import PACKAGES, package_versions

    found = package_versions()
    assert f"numpy-{version('numpy')}" in found.split()
    assert f"sklearn-{version('scikit-learn')}" in found.split()
    assert len(found.split()) == len(PACKAGES)
    rows = [{"query": f"q {i}", "positive": [f"p {i}"]} for i in range(3)]
    monkeypatch.setattr(pairs, "docstring_pairs", lambda: rows)
    assert len(load_pairs(make_profile())) == 3
    rows.pop()
    assert len(load_pairs(make_profile())) == 3
    monkeypatch.setattr(pairs, "package_versions", lambda: found.replace("numpy-", "numpy-9"))
    assert len(load_pairs(make_profile())) == 2
    assert capsys.readouterr().out == "ft_data/test/pairs.jsonl is made again: it was made from other source.\n"


def test_distractors_are_repaired(tmp_path):
    path = write_jsonl(tmp_path / "more.jsonl", [{"text": "one more"}, {"text": "it\u00e2\u20ac\u2122s another"}])
    assert list(read_distractors([path], True)) == ["one more", "it\u2019s another"]


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
