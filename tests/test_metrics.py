"""Values computed by hand; nDCG's discounts are 1/log2(rank + 1): 1, 0.63093, 0.5, 0.43068, ..."""

import subprocess
import sys

import pytest

from helpers.errors import UserError
from helpers.metrics import MEASURES, average, score_queries
from helpers.trec import ranking, read_qrels, read_run, write_run

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


def test_ties_rank_by_docid():
    assert ranking({"d5": 0.5, "d6": 0.5, "a": 0.9, "d7": 0.5}) == ["a", "d7", "d6", "d5"]


def test_files_say_the_same(tmp_path):
    write_run(tmp_path / "run.trec", RUN, "name")
    assert read_run(tmp_path / "run.trec") == {query_id: pytest.approx(scores) for query_id, scores in RUN.items()}
    first = (tmp_path / "run.trec").read_text().splitlines()[0]
    assert first == "several Q0 d1 1 0.9 name"


def test_float32_scores_survive_the_file(tmp_path):
    import numpy as np

    close = np.float32(0.7), np.nextafter(np.float32(0.7), np.float32(1))
    write_run(tmp_path / "run.trec", {"q": {"a": float(close[0]), "b": float(close[1])}}, "name")
    scores = read_run(tmp_path / "run.trec")["q"]
    assert np.float32(scores["a"]) == close[0]
    assert np.float32(scores["b"]) == close[1]


def command(*words):
    return subprocess.run(
        [sys.executable, "-m", "helpers.metrics", *words], capture_output=True, text=True, check=False
    )


def test_command_line(tmp_path):
    (tmp_path / "qrels").write_text("".join(f"{q} 0 {d} {r}\n" for q, docs in QRELS.items() for d, r in docs.items()))
    write_run(tmp_path / "run", RUN, "name")
    done = command(str(tmp_path / "qrels"), str(tmp_path / "run"))
    means = average(score_queries(QRELS, RUN))
    assert done.stdout == "".join(f"{name}\t{value:.4f}\n" for name, value in means.items())
    assert done.stderr == ""


def test_command_line_says_what_is_wrong(tmp_path):
    (tmp_path / "qrels").write_text("q 0 d 1\n")
    done = command(str(tmp_path / "qrels"), str(tmp_path / "none"))
    assert done.returncode == 2
    assert done.stdout == ""
    assert (
        done.stderr
        == f"error: {tmp_path}/none cannot be read (No such file or directory); give the path of a TREC file.\n"
    )
    assert "usage:" in command().stderr


@pytest.mark.parametrize(
    ("reader", "content", "sentence"),
    [
        (read_qrels, "q 0 d 1\nq 0 d\n", "line 2: 3 columns; write 'query_id iteration docid relevance'"),
        (read_qrels, "q 0 d good\n", "line 1: 'good' is not a number"),
        (read_qrels, "\n", "is empty"),
        (read_run, "q Q0 d 1 0.5\n", "line 1: 5 columns; write 'query_id Q0 docid rank score name'"),
        (read_run, "q Q0 d 1 high name\n", "line 1: 'high' is not a number"),
        (read_run, "q Q0 d 1 0.5 n\nq Q0 d 2 0.4 n\n", "line 2: d stands twice for query q"),
    ],
)
def test_bad_trec_files_are_one_sentence(tmp_path, reader, content, sentence):
    (tmp_path / "file").write_text(content)
    with pytest.raises(UserError) as error:
        reader(tmp_path / "file")
    assert sentence in str(error.value)
