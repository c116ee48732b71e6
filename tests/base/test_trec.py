"""What anyone can write into a TREC file is scored as trec_eval scores it, or refused in one sentence."""

import random
import re

import ir_measures
import pytest
import pytrec_eval

from helpers.base.errors import UserError
from helpers.base.trec import positives, ranking, read_qrels, read_run
from helpers.evaluation.metrics import MEASURES, score_files

QRELS = "q1 0 d1 1\nq1 0 d2 0\nq2 0 d3 2\n"
RUN = "q1 Q0 d2 1 0.9 me\nq1 Q0 d1 2 0.8 me\nq2 Q0 d3 1 7 me\n"


def written(tmp_path, qrels, run):
    paths = tmp_path / "qrels", tmp_path / "run"
    for path, content in zip(paths, (qrels, run), strict=True):
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return paths


def scored(tmp_path, qrels=QRELS, run=RUN, **how):
    """Return the measures of two files, or the sentence that refuses them."""
    try:
        lines = score_files(*written(tmp_path, qrels, run), **how).splitlines()
    except UserError as error:
        assert re.fullmatch(r".+\.", str(error)), str(error)
        assert len(str(error)) < 500
        return str(error)
    return {name: float(value) for name, value in (line.split("\t") for line in lines)}


@pytest.mark.parametrize(
    ("reader", "content", "sentence"),
    [
        (read_qrels, "q 0 d 1\nq 0 d\n", "line 2: 3 columns; write 'query_id iteration docid relevance'."),
        (read_qrels, "q 0 d 1 2\n", "line 1: 5 columns; write"),
        (read_qrels, "q 0 d good\n", "line 1: relevance 'good' is not a whole number up to 1,000,000; the columns may"),
        (read_qrels, "\n \n", "is empty; write 'query_id iteration docid relevance' a line."),
        (read_qrels, "q 0 d 1\nq 0 e 1\nq 1 d 1\n", "line 3: d stands twice for query q; remove one of the lines."),
        (read_run, "q Q0 d 1 0.5\n", "line 1: 5 columns; write 'query_id Q0 docid rank score name'."),
        (read_run, "q Q0 d 1 high name\n", "line 1: score 'high' is not a number; the columns may be out of order."),
        (read_run, "q Q0 d 1 0.5 n\nq Q0 d 2 0.4 n\n", "line 2: d stands twice for query q"),
        (read_run, "q Q0 d\0 1 0.5 n\n", "line 1: a NUL byte; write text."),
        (read_run, b"q Q0 d\xff 1 0.5 n\n", "is not text in UTF-8"),
        (read_run, b"q Q0 d\xed\xa0\x80 1 0.5 n\n", "is not text in UTF-8"),  # half of a surrogate pair
    ],
)
def test_bad_trec_files_are_one_sentence(tmp_path, reader, content, sentence):
    path, _ = written(tmp_path, content, "")
    with pytest.raises(UserError) as error:
        reader(path)
    assert sentence in str(error.value)


@pytest.mark.parametrize("text", ["nan", "-NaN", "abc", "1_000", "٣", "0,5", "--1", "0x10", "1e", "1.2.3"])
def test_a_score_that_is_no_number_is_none(tmp_path, text):
    said = scored(tmp_path, run=RUN.replace(" 7 ", f" {text} "))
    assert said == f"{tmp_path}/run, line 3: score {text!r} is not a number; the columns may be out of order."


@pytest.mark.parametrize(
    "text", ["nan", "inf", "1e3", "1_0", "٣", "0x1", "1000001", "2000000000", "9" * 30, "9" * 9999, "."]
)
def test_a_relevance_that_is_no_level_is_none(tmp_path, text):
    said = scored(tmp_path, qrels=QRELS.replace(" 2\n", f" {text}\n"))
    assert said.startswith(f"{tmp_path}/qrels, line 3: relevance {text[:50]!r} is not a whole number up to 1,000,000; ")


@pytest.mark.parametrize(
    ("text", "level"), [("1.0", 1), ("+2", 2), ("2.9", 2), ("-1", -1), ("-7", -1), ("007", 7), ("1000000", 1000000)]
)
def test_relevance_as_trec_eval_reads_it(tmp_path, text, level):
    path, _ = written(tmp_path, f"q 0 d {text}\nq 0 e 0\n", "")
    qrels = read_qrels(path)
    assert qrels == {"q": {"d": level, "e": 0}}
    assert positives(qrels["q"]) == (["d"] if level > 0 else [])


def test_levels_below_and_up_to_the_largest_are_scored(tmp_path):
    found = scored(tmp_path, qrels="q1 0 d1 1000000\nq2 0 d3 -5\n")  # q2: nothing is right
    assert (found["hit@1"], found["hit@10"], found["mrr@10"]) == (0, 0.5, 0.25)


@pytest.mark.parametrize(
    "content",
    [
        RUN.replace("\n", "\r\n"),
        RUN.replace(" ", "\t"),
        RUN.replace(" ", " \t \v"),
        "\ufeff" + RUN,
        "\n" + RUN.replace("\n", "\n \n"),
        RUN.rstrip("\n"),
        RUN.replace(" me", " me and more"),
        "# a comment\n# another comment that is longer than a line\n" + RUN,
        RUN + "q9 Q0 d1 1 0.5 a_query_that_is_not_in_the_qrels\n",
        RUN.replace(" 7 ", " 1e400 "),
        RUN.replace(" 7 ", " -inf "),
    ],
)
@pytest.mark.parametrize("article", [False, True])
def test_what_trec_eval_reads_is_read(tmp_path, content, article):
    expected = scored(tmp_path, article=article)
    if article and "q9" in content:  # its means are over the queries of the run
        expected = {name: pytest.approx(value * 2 / 3, abs=1e-4) for name, value in expected.items()}
    assert scored(tmp_path, run=content, article=article) == expected


@pytest.mark.parametrize("char", ["\u00a0", "\u3000", "\x1c", "\u2028", "😀", "#", "long" * 50_000])
def test_an_id_may_have_what_is_no_white_space_to_c(tmp_path, char):
    swap = {"q1": f"{char}q", "d1": f"d{char}1"}
    qrels, run = (re.sub("q1|d1", lambda match: swap[match[0]], text) for text in (QRELS, RUN))
    assert scored(tmp_path, qrels, run) == scored(tmp_path)


def test_scores_tie_in_float32_and_go_by_docid(tmp_path):
    for better, worse in (("16777217", "16777216"), ("2e39", "1e39"), ("1e-50", "1e-60"), ("0.50000000001", "0.5")):
        run = f"q Q0 a 1 {better} me\nq Q0 b 2 {worse} me\n"
        assert scored(tmp_path, "q 0 a 1\n", run)["mrr@10"] == 0.5
        assert ranking({"a": float(better), "b": float(worse)}) == ["b", "a"]


def test_a_user_gets_a_sentence_where_nothing_was_found(tmp_path):
    assert scored(tmp_path, run="") == f"{tmp_path}/run is empty; write a line for each passage found."
    assert read_run(written(tmp_path, "", "")[1]) == {}
    assert scored(tmp_path, qrels=QRELS.replace("q", "x")).endswith(
        "no query in common with the qrels; give those of the run."
    )


def test_random_files_are_scored_as_ir_measures_scores_them(tmp_path):
    rng = random.Random(0)
    names = {"hit": "Success", "recall": "R", "ndcg": "nDCG"}
    wanted = {ir_measures.parse_measure(f"{names[m]}@{k}"): f"{m}@{k}" for m in names for k in (1, 10, 100)}
    for _ in range(30):
        asked, passages = range(rng.randint(1, 5)), range(rng.randint(1, 30))
        judged = [
            f"q{q} 0 d{d} {rng.choice([-1, 0, 0, 1, 2, 3])}\n" for q in asked for d in passages if rng.random() < 0.4
        ]
        scores = [0.5, 0.25, 1.0, 1e-9, 16777216, 16777217, -3, rng.random(), rng.random()]
        lines = [f"q{q} Q0 d{d} 1 {rng.choice(scores)} me\n" for q in asked for d in passages if rng.random() < 0.6]
        found = scored(tmp_path, "".join(judged) or QRELS, "".join(lines) or RUN)
        if isinstance(found, str):  # no query in common
            continue
        qrels, run = (
            list(read(str(tmp_path / name)))
            for read, name in ((ir_measures.read_trec_qrels, "qrels"), (ir_measures.read_trec_run, "run"))
        )
        queries = {row.query_id for row in qrels}
        values = dict.fromkeys(wanted.values(), 0.0)
        for row in ir_measures.iter_calc(list(wanted), qrels, run):
            values[wanted[row.measure]] += row.value / len(queries)
        evaluator = pytrec_eval.RelevanceEvaluator(read_qrels(tmp_path / "qrels"), {"recip_rank"})
        ranks = [row["recip_rank"] for row in evaluator.evaluate(read_run(tmp_path / "run")).values()]
        for k in (1, 10, 100):
            values[f"mrr@{k}"] = sum(rank for rank in ranks if rank >= 1 / k) / len(queries)
        assert found == pytest.approx({name: values[name] for name in MEASURES}, abs=1e-4)


def test_mutated_files_and_noise_give_numbers_or_a_sentence(tmp_path):
    rng = random.Random(13)
    qrels = "".join(f"q{i} 0 d{j} {rng.choice([0, 1, 2])}\n" for i in range(4) for j in range(5)).encode()
    run = "".join(f"q{i} Q0 d{j} {j} {rng.random()} me\n" for i in range(4) for j in range(9)).encode()
    pieces = [
        b"\0",
        b"\xff",
        b"\xed\xa0\x80",
        b" ",
        b"\n",
        b"\r",
        b"\t",
        b"-",
        b"#",
        b"nan",
        b"inf",
        b"1e999",
        b"9" * 25,
        b"_",
    ]

    def mutated(content):
        content = bytearray(content)
        for _ in range(rng.randint(1, 3)):
            place = rng.randrange(len(content))
            if rng.random() < 0.5:
                content[place : place + rng.randint(0, 3)] = rng.choice(pieces)
            else:
                content[place] = rng.randrange(256)
        return bytes(content)

    kinds = [
        type(scored(tmp_path, mutated(qrels) if i % 2 else qrels, run if i % 2 else mutated(run), article=i % 3 == 0))
        for i in range(200)
    ]
    assert kinds.count(dict) > 20
    assert kinds.count(str) > 20
    noise = rng.randbytes(100_000)
    assert isinstance(scored(tmp_path, run=noise), str)
    assert isinstance(scored(tmp_path, qrels=noise), str)
