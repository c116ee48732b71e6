"""What people bring: each input is read as it is meant, or refused in one sentence that says where and what to do."""

import json
import random

import pyarrow
import pyarrow.parquet
import pytest
from conftest import make_pairs, write_jsonl

from helpers.base.errors import UserError
from helpers.sampling import (
    TrainingSet,
    load_eval_set,
    load_pairs,
    negative_pool,
    save_eval_set,
    save_training_set,
    split_pairs,
)
from helpers.sampling.pairs import read_distractors
from helpers.sampling.texts import distinct, text_id
from helpers.training.held_out import split_held_out

A, B = {"query": "how long is a day?", "positive": "24 hours"}, {"query": "and a week?", "positive": "seven days"}
BOTH = [("how long is a day?", ["24 hours"]), ("and a week?", ["seven days"])]


def lines(*rows, ascii=False):
    return "".join(json.dumps(row, ensure_ascii=ascii) + "\n" for row in rows)


READ = {
    "plain.jsonl": (lines(A, B), BOTH),
    "bom_crlf.jsonl": ("\ufeff" + lines(A, B).replace("\n", "\r\n"), BOTH),
    "semicolon.csv": ("\ufeffquery;positive\r\nhow long is a day?;24 hours\r\nand a week?;seven days\r\n", BOTH),
    "tabs.csv": ("query\tpositive\nhow long is a day?\t24 hours\nand a week?\tseven days\n", BOTH),
    "bars.csv": ("query|positive\nhow long is a day?|24 hours\nand a week?|seven days\n", BOTH),
    "header_spaces.csv": ('Query, Positive\n"how long is a day?", "24 hours"\n"and a week?", "seven days"\n', BOTH),
    "blank_lines.csv": ("\n\nquestion,answer\nhow long is a day?,24 hours\n\nand a week?,seven days\n", BOTH),
    "list_as_string.csv": (
        'query,positive\nhow long is a day?,"[\'24 hours\', \'a turn\']"\nand a week?,"[""seven days""]"\n',
        [("how long is a day?", ["24 hours", "a turn"]), ("and a week?", ["seven days"])],
    ),
    "list_of_other_forms.csv": (
        "query,positive,neg\nq,\"[ 'x', 'y' ]\",[]\nr,\"['z',]\",\n",
        [("q", ["x", "y"]), ("r", ["z"])],
    ),
    "brackets.csv": ("query,positive\n[1] what?,[sic] this [2]\n", [("[1] what?", ["[sic] this [2]"])]),
    "no_conversion.csv": (
        "query,positive\n2024-01-31,007\nnull,NaN\ntrue,1e5\n",
        [("2024-01-31", ["007"]), ("null", ["NaN"]), ("true", ["1e5"])],
    ),
    "no_conversion.jsonl": (
        lines({"query": "2024-01-31", "positive": "2024-01-31T00:00:00Z"}, {"query": "null", "positive": "NaN"}),
        [("2024-01-31", ["2024-01-31T00:00:00Z"]), ("null", ["NaN"])],
    ),
    "line_breaks.csv": ('query,positive\nq,"one\r\n\r\ntwo"\n', [("q", ["one\r\n\r\ntwo"])]),
    "separators.jsonl": (lines({"query": "q\x00", "positive": "a\u2028b\u0085c"}), [("q\x00", ["a\u2028b\u0085c"])]),
    "anchor.jsonl": (lines({"anchor": "q", "positive": "p"}), [("q", ["p"])]),
    "question_answer.jsonl": (lines({"Question": "q", " Answer ": "p"}), [("q", ["p"])]),
    "question_passage.json": ('[{"question": "q", "passage": "p"}]', [("q", ["p"])]),
    "nested.jsonl": (
        lines(
            {"query": {"text": "q"}, "positive": [{"docid": 1, "title": "T", "text": "p"}, {"title": "", "text": "r"}]}
        ),
        [("q", ["T p", "r"])],
    ),
    "repeated.jsonl": (
        lines({"id": 0, **A}, {"id": 0, "query": A["query"], "positive": "a turn of the earth"}, {"id": 1, **B}),
        [("how long is a day?", ["24 hours", "a turn of the earth"]), BOTH[1]],
    ),
    "pairs[v2].jsonl": (lines(A, B), BOTH),
    "zh_faq.jsonl": (lines({"query": "怎么重置密码", "positive": "长按按钮。"}), [("怎么重置密码", ["长按按钮。"])]),
}

REFUSED = {
    "unquoted.csv": ("query,positive\nq,one, two\n", "line 2: 3 fields under 2 columns; put quotes around texts"),
    "twice.csv": ("query,positive,Positive\nq,a,b\n", "line 1: two columns are called 'positive'; rename or remove"),
    "numpy_list.csv": (
        "query,positive\nq,['a' 'b']\n",
        "line 2: a list that is neither JSON's nor Python's; write one",
    ),
    "half_a_list.csv": ("query,positive\nq,\"['a', 'b]\"\n", "line 2: a list that is neither"),
    "unknown.csv": (
        "title,body\nq,p\n",
        "line 2: no column 'query' among 'title', 'body'; rename one, or set COLUMNS=",
    ),
    "two_answers.csv": ("query,answer,context\nq,a,c\n", "line 2: answer or context could be 'positive'; set COLUMNS="),
    "empty.csv": ("query,positive\n", "empty.csv has no rows"),
    "nothing.csv": ("", "nothing.csv has no rows"),
    "short.csv": ("query,positive\nq,p\nr\n", "line 3: no column 'positive'"),
    "no_answer.csv": ("query,positive\nq,p\nr,\n", "line 3: 'positive' is empty; mend or remove the row"),
    "surrogate.jsonl": (lines(A, {**B, "positive": "cut \ud83d"}, ascii=True), "line 2: 'positive' has half of a"),
    "invisible.jsonl": (lines(A, {**B, "positive": "\u200b\u200b"}), "line 2: 'positive' is empty"),
    "null.jsonl": (lines(A, {**B, "query": None}), "line 2: 'query' has None where a text should be"),
    "nan.jsonl": (lines(A, {**B, "query": float("nan")}), "line 2: 'query' has nan where a text should be"),
    "list_query.jsonl": (lines({**A, "query": ["a", "b"]}), "line 1: 'query' is a list"),
    "number.jsonl": (lines({**A, "positive": ["a sound passage", 7]}), "line 1: 'positive' has 7 where a text"),
    "negatives.jsonl": (lines({**A, "neg": ["x", 7]}), "line 1: 'neg' has 7 where a text should be"),
    "folded.jsonl": (lines({**A, "Positive": "lost"}), "line 1: two of the columns query, positive, Positive are one"),
    "no_list.csv": ("query,positive\nq,[]\n", "line 2: 'positive' is empty"),
    "id_nul.jsonl": (lines({"id": "a\x00b", **A}), "line 1: id 'a\\x00b' is empty or has a space"),
    "id_mark.jsonl": (lines({"id": "\ufeffa", **A}), "line 1: id '\\ufeffa' is empty or has a space"),
    "id_twice.jsonl": (lines({"id": 0, **A}, {"id": 0, **B}), "line 2: id '0' is another query's above"),
    "id_spaces.jsonl": (lines({"id": "a b", **A}), "line 1: id 'a b' is empty or has a space"),
    "deep.jsonl": (lines(A) + "[" * 100_000, "line 2: not JSON (too deep)"),
    "deep.json": ("[" * 100_000, "line 1: not JSON (too deep)"),
    "digits.jsonl": (lines(A) + '{"query": ' + "1" * 5000 + "}\n", "line 2: not JSON"),
    "utf16.csv": ("query,positive\r\nq,问\r\n".encode("utf-16"), "is not text in UTF-8"),
    "gbk.csv": ("query,positive\r\nq,怎么办\r\n".encode("gbk"), "is not text in UTF-8"),
    "open_quote.csv": ('query,positive\nq,p\nr,"s\nt,u\n', "after line 2: not CSV"),
}


@pytest.mark.parametrize("name", READ)
def test_read_as_it_is_meant(make_profile, tmp_path, name):
    text, expected = READ[name]
    (tmp_path / name).write_bytes(text.encode())
    pairs = load_pairs(make_profile(DATASET=tmp_path / name, MAX_PAIRS=0))
    assert [(pair["query"], pair["positive"]) for pair in pairs] == expected
    assert len({pair["id"] for pair in pairs}) == len(pairs)


@pytest.mark.parametrize("name", REFUSED)
def test_refused_in_one_sentence(make_profile, tmp_path, name):
    content, sentence = REFUSED[name]
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError) as error:
        load_pairs(make_profile(DATASET=tmp_path / name))
    assert sentence in str(error.value)
    assert name in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(make_profile(DATASET=tmp_path / name).data_dir.glob("pairs*"))


def test_columns_can_be_named(make_profile, tmp_path):
    path = tmp_path / "squad.csv"
    path.write_text("question,answer,context,Ticket No\nq,a,c,7\nr,b,d,8\n")
    columns = "query = question, positive=Context, id=ticket no"
    pairs = load_pairs(make_profile(DATASET=path, COLUMNS=columns))
    assert pairs == [{"id": "7", "query": "q", "positive": ["c"]}, {"id": "8", "query": "r", "positive": ["d"]}]
    for wrong in ("question", "ask=question", "query="):
        with pytest.raises(UserError, match="COLUMNS=.*: write FIELD=COLUMN"):
            load_pairs(make_profile(DATASET=path, COLUMNS=wrong))
    with pytest.raises(UserError, match="squad.csv, line 2: no column 'text' among 'question'"):
        load_pairs(make_profile(DATASET=path, COLUMNS="positive=text"))


def test_what_is_not_used_is_said(make_profile, tmp_path, capsys):
    row = {**A, "neg": ["x"], "prompt": "Answer: ", "type": "normal"}
    path = write_jsonl(tmp_path / "mined.jsonl", [row])
    for _ in range(2):  # the second time nothing is read
        load_pairs(make_profile(DATASET=path))
        expected = "Not used of mined.jsonl: columns prompt, type; negatives of its own, which OWN_NEGATIVES=1 uses.\n"
        assert capsys.readouterr().out == expected
    load_pairs(make_profile(DATASET=path, OWN_NEGATIVES=1))
    assert capsys.readouterr().out == "Not used of mined.jsonl: columns prompt, type.\n"


def test_ids_that_are_made_up_are_no_ids_that_are_given(make_profile, tmp_path):
    rows = [
        {"id": "q2", **A},
        B,
        {"id": "q2.2", "query": "x", "positive": "y"},
        {"id": None, "query": "z", "positive": "w"},
    ]
    pairs = load_pairs(make_profile(DATASET=write_jsonl(tmp_path / "ids.jsonl", rows)))
    assert [pair["id"] for pair in pairs] == ["q2", "q2.3", "q2.2", "q4"]


def test_parquet_of_other_types_names_the_row(make_profile, tmp_path):
    path = tmp_path / "pairs.parquet"
    queries = pyarrow.array(["q", "r"])
    bad = [pyarrow.py_buffer(b"\0\0\0\0\1\0\0\0\3\0\0\0"), pyarrow.py_buffer(b"p\xff\xfe")]
    columns = {
        "row 1: 'positive' has b'p' where a text": pyarrow.array([b"p", b"s"], pyarrow.binary()),
        "row 2: 'positive' has None where a text": pyarrow.array(["p", None]),
        "row 2: not text in UTF-8": pyarrow.Array.from_buffers(pyarrow.string(), 2, [None, *bad]),
    }
    for sentence, positives in columns.items():
        pyarrow.parquet.write_table(pyarrow.table({"query": queries, "positive": positives}), path)
        with pytest.raises(UserError, match=f"pairs.parquet, {sentence}"):
            load_pairs(make_profile(DATASET=path))
    ids = pyarrow.array([None, 3.0])
    table = pyarrow.table({"query": queries, "positive": pyarrow.array([["p", "s"], ["t"]]), "id": ids})
    pyarrow.parquet.write_table(table, path)
    assert [(pair["id"], pair["positive"]) for pair in load_pairs(make_profile(DATASET=path))] == [
        ("q1", ["p", "s"]),
        ("3.0", ["t"]),
    ]


def test_a_folder_is_treated_like_a_file(make_profile, tmp_path):
    write_jsonl(tmp_path / "pairs" / "train.jsonl", [A, {**A, "positive": "a turn"}, {**B, "neg": ["x"]}])
    profile = make_profile(DATASET=tmp_path / "pairs", DATASET_SPLIT="")
    assert [pair["positive"] for pair in load_pairs(profile)] == [["24 hours", "a turn"], ["seven days"]]
    write_jsonl(tmp_path / "pairs" / "train.jsonl", [A, {**B, "positive": ""}])
    with pytest.raises(UserError, match="train.jsonl, line 2: 'positive' is empty"):
        load_pairs(profile)


def test_a_query_is_never_its_own_negative(make_profile, tmp_path):
    rows = [{"query": f"one {i}", "positive": f"other {i}"} for i in range(30)]
    rows += [{"query": row["positive"], "positive": row["query"].upper()} for row in rows]
    profile = make_profile(DATASET=write_jsonl(tmp_path / "symmetric.jsonl", rows))
    train, evaluation = split_pairs(load_pairs(profile), "passage", 0.25, 1)
    sides = [
        {text_id(text) for pair in side for text in (pair["query"], *pair["positive"])} for side in (train, evaluation)
    ]
    assert sides[0].isdisjoint(sides[1])
    save_training_set(train, negative_pool(train, evaluation), 60, profile)
    for line in profile.training_file("neg60").read_text().splitlines():
        row = json.loads(line)
        assert text_id(row["query"]) not in map(text_id, row["neg"])
        assert len(row["neg"]) == len(train) - 2
    rows, _ = split_held_out(TrainingSet(profile.training_file("neg60")), 0)
    assert rows.replaced
    for row in range(len(rows)):
        assert rows.ids(row)[0] not in map(text_id, rows[row]["neg"])


def test_one_large_group_is_said(make_profile, tmp_path, capsys):
    rows = [{"query": f"q {i}", "positive": "the one answer" if i < 30 else f"p {i}"} for i in range(40)]
    split_pairs(load_pairs(make_profile(DATASET=write_jsonl(tmp_path / "faq.jsonl", rows))), "passage", 0.2, 1)
    assert capsys.readouterr().out.startswith("30 of 40 pairs are connected through texts that they share")


def mined(count):
    return [
        {"query": f"q {i}", "pos": [f"p {i}"], "neg": [f"hard {i}", f"p {i}", f"q {i}", f"harder {i}"],
         "pos_scores": [0.9], "neg_scores": [0.4, 0.9, 0.1, 0.3]}
        for i in range(count)
    ]  # fmt: skip


def rows_of(profile, neg_num):
    pairs = load_pairs(profile)
    train, evaluation = split_pairs(pairs, profile.split_key, profile.eval_share, profile.split_seed)
    save_training_set(train, negative_pool(train, evaluation), neg_num, profile)
    return [json.loads(line) for line in profile.training_file(f"neg{neg_num}").read_text().splitlines()], evaluation


def test_negatives_of_ones_own_come_first_and_scores_stay_with_the_pairs(make_profile, tmp_path):
    path = write_jsonl(tmp_path / "mined.jsonl", mined(40))
    rows, _ = rows_of(make_profile(DATASET=path), 5)
    assert all(text.startswith("p ") for row in rows for text in row["neg"])
    rows, _ = rows_of(make_profile(DATASET=path, OWN_NEGATIVES=1), 5)
    for row in rows:
        number = row["query"][2:]
        assert row["neg"][:2] == [f"hard {number}", f"harder {number}"]  # neither its positive nor itself
        assert len(row["neg"]) == len(distinct(row["neg"] + row["pos"])) - 1 == 5
    [kept] = {len(pair["scores"]) for pair in load_pairs(make_profile(DATASET=path))}
    assert kept == 4  # of "hard", its own positive, itself and "harder", by text
    _, evaluation = rows_of(make_profile(DATASET=path, OWN_NEGATIVES=1), 5)
    held_out = evaluation[0]["positive"][0]
    write_jsonl(
        path,
        [
            row | {"neg": [held_out, "hard"]}
            for row in mined(40)
            for row in [{"query": row["query"], "pos": row["pos"]}]
        ],
    )
    rows, again = rows_of(make_profile(DATASET=path, OWN_NEGATIVES=1), 1)
    assert again[0]["positive"] == [held_out]
    assert {tuple(row["neg"]) for row in rows} == {("hard",)}  # what is asked for in the evaluation is none


@pytest.fixture
def beir(tmp_path):
    folder = tmp_path / "scifact"
    corpus = [{"_id": f"d{i}", "title": f"Note {i}" if i % 2 else "", "text": f"text {i}"} for i in range(12)]
    corpus[5]["text"] = ""
    corpus += [{"_id": "none", "title": "", "text": " "}]
    write_jsonl(folder / "corpus.jsonl", corpus)
    write_jsonl(folder / "queries.jsonl", [{"_id": f"t{i}", "text": f"question {i}"} for i in range(8)])
    (folder / "qrels").mkdir()
    header = "query-id\tcorpus-id\tscore\n"
    (folder / "qrels/train.tsv").write_text(header + "t0\td0\t1\nt1\td1\t2\nt1\td2\t0\nt6\td9\t1\nt7\tgone\t1\n")
    (folder / "qrels/test.tsv").write_text(header + "t2\td3\t2\nt2\td4\t1\nt2\td0\t0\nt3\td5\t1\nt6\td6\t1\n")
    return folder


def test_a_beir_folder_trains_and_evaluates_as_it_is_split(make_profile, beir, capsys):
    profile = make_profile(DATASET=beir)
    pairs = load_pairs(profile)
    assert "2 judged queries" in capsys.readouterr().out  # t7 has no passage, t6 evaluates
    train, evaluation = split_pairs(pairs, profile.split_key, profile.eval_share, profile.split_seed)
    assert [(pair["query"], pair["positive"]) for pair in train] == [
        ("question 0", ["text 0"]),
        ("question 1", ["Note 1 text 1"]),
    ]
    eval_set = save_eval_set(evaluation, pairs, profile)
    assert "corpus.jsonl: 1 rows without a text are passed over" in capsys.readouterr().out
    assert set(eval_set.corpus.values()) >= {"text 4", "Note 5", "Note 11 text 11"}
    assert len(eval_set.corpus) == 12
    judged = {q: {eval_set.corpus[d]: grade for d, grade in found.items()} for q, found in eval_set.qrels.items()}
    assert judged == {"t2": {"Note 3 text 3": 2, "text 4": 1}, "t3": {"Note 5": 1}, "t6": {"text 6": 1}}
    assert eval_set == load_eval_set(profile.data_dir)


def test_a_beir_folder_that_only_evaluates(make_profile, beir):
    (beir / "qrels/test.tsv").rename(beir / "qrels/dev.tsv")
    (beir / "qrels/train.tsv").unlink()
    profile = make_profile(DATASET=beir)
    pairs = load_pairs(profile)
    train, evaluation = split_pairs(pairs, profile.split_key, profile.eval_share, profile.split_seed)
    assert train == []
    assert len(save_eval_set(evaluation, pairs, profile).queries) == 3
    with pytest.raises(UserError, match="nothing to train"):
        negative_pool(train, evaluation)
    (beir / "qrels/dev.tsv").write_text("query-id\tcorpus-id\tscore\nt2\td3\n")
    for wrong in ("t2\td3", "t2\td3\t--1", "t2\td3\t" + "1" * 5000, "t2\td3\t1.5"):
        (beir / "qrels/dev.tsv").write_text(f"query-id\tcorpus-id\tscore\n{wrong}\n")
        with pytest.raises(UserError, match="dev.tsv, line 2: not query-id, corpus-id and a whole score"):
            load_pairs(profile)
    (beir / "qrels/dev.tsv").write_text("t2\td3\t1\nt2\td3\t0\n")  # without a header
    with pytest.raises(UserError, match="dev.tsv, line 2: d3 is judged twice for query t2"):
        load_pairs(profile)
    with (beir / "queries.jsonl").open("a") as file:
        file.write('{"_id": "t2", "text": "another"}\n')
    (beir / "qrels/dev.tsv").write_text("t2\td3\t1\n")
    with pytest.raises(UserError, match="queries.jsonl, line 9: '_id' is missing or another row's"):
        load_pairs(profile)
    (beir / "qrels/dev.tsv").unlink()
    with pytest.raises(UserError, match="qrels has no train.tsv, test.tsv or dev.tsv"):
        load_pairs(profile)


def test_distractors_with_titles_and_without_texts(tmp_path, capsys):
    rows = [
        {"_id": "1", "title": "T", "text": "x"},
        {"title": "U", "text": ""},
        {"title": "", "text": " "},
        {"text": None},
    ]
    assert list(read_distractors([write_jsonl(tmp_path / "corpus.jsonl", rows)], False)) == ["T x", "U"]
    assert capsys.readouterr().out == "corpus.jsonl: 2 rows without a text are passed over.\n"
    for row, found in (({"text": ["a", "b"]}, ["a", "b"]), ({"passage": "p"}, ["p"])):
        assert list(read_distractors([write_jsonl(tmp_path / "more.jsonl", [row])], False)) == found
    with pytest.raises(UserError, match="more.jsonl, line 1: 'text' has 7 where a text should be"):
        list(read_distractors([write_jsonl(tmp_path / "more.jsonl", [{"text": 7}])], False))


def mutated(content: bytes, rng: random.Random) -> bytes:
    """Return a copy with some bytes overwritten, doubled, cut out or moved."""
    data = bytearray(content)
    for _ in range(rng.randint(1, 8)):
        start, size = rng.randrange(len(data)), rng.choice((1, 1, 2, 40))
        part = bytes(data[start : start + size])
        data[start : start + size] = rng.choice(
            (b"", rng.randbytes(size), part * 2, rng.choice((b'"', b"\n", b",", b"\x00")))
        )
    return bytes(data) or b"\n"


@pytest.mark.parametrize("ending", [".jsonl", ".json", ".csv", ".parquet"])
def test_whatever_is_in_a_file_gives_pairs_or_one_sentence(make_profile, tmp_path, ending):
    good, path, rng = tmp_path / f"good{ending}", tmp_path / f"bad{ending}", random.Random(ending)
    rows = make_pairs(12)
    if ending == ".parquet":
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), good)
    elif ending == ".csv":
        good.write_text("query,positive\n" + "".join(f'"{row["query"]}","{row["positive"][0]}"\n' for row in rows))
    else:
        good.write_text(lines(*rows) if ending == ".jsonl" else json.dumps(rows))
    read = 0
    for content in [rng.randbytes(1_000_000), *(mutated(good.read_bytes(), rng) for _ in range(200))]:
        path.write_bytes(content)
        try:
            pairs = load_pairs(make_profile(DATASET=path, FIX_TEXT=1))
        except UserError as error:
            assert "\n" not in str(error)
            assert path.name in str(error)
        else:
            read += 1
            assert all(pair["query"] and pair["positive"] for pair in pairs)
    assert 0 < read < 200
