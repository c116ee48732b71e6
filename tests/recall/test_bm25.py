from math import log

import pytest

from helpers.recall.bm25 import Bm25Settings, bm25_run, bm25_settings
from helpers.sampling.eval_set import EvalSet

CORPUS = {"d1": "sorting arrays quickly", "d2": "arrays arrays reversed", "d3": "plotting lines", "d4": "plotting bars"}


def test_scores_by_hand():
    """Lucene's: ln(1 + (N - df + 0.5) / (df + 0.5)) tf / (tf + k1 (1 - b + b length / mean length))."""
    eval_set = EvalSet({"q1": "sorting the arrays", "q2": "of the", "q3": "nothing known"}, CORPUS, {})
    run = bm25_run(eval_set, Bm25Settings(k1=1.5, b=0.75))
    assert run["q2"] == run["q3"] == {}

    def part(tf, df, length):
        mean = (3 + 3 + 2 + 2) / 4
        return log(1 + (4 - df + 0.5) / (df + 0.5)) * tf / (tf + 1.5 * (1 - 0.75 + 0.75 * length / mean))

    assert run["q1"] == pytest.approx({"d1": part(1, 1, 3) + part(1, 2, 3), "d2": part(2, 2, 3)}, abs=1e-5)


def test_no_more_than_depth():
    eval_set = EvalSet({"q1": "plotting arrays"}, CORPUS, {})
    assert len(bm25_run(eval_set, Bm25Settings())["q1"]) == 4
    assert len(bm25_run(eval_set, Bm25Settings(), depth=2)["q1"]) == 2


def bm25s_itself(eval_set):
    """The scores of bm25s with its own words: two letters and more, without English stop words."""
    import bm25s

    retriever = bm25s.BM25(k1=1.5, b=0.75)
    retriever.index(bm25s.tokenize(list(eval_set.corpus.values()), show_progress=False), show_progress=False)
    asked = bm25s.tokenize(list(eval_set.queries.values()), show_progress=False)
    rows, scores = retriever.retrieve(asked, k=len(eval_set.corpus), show_progress=False)
    docids = list(eval_set.corpus)
    return [
        {docids[row]: score for row, score in zip(*found, strict=True) if score > 0}
        for found in zip(rows.tolist(), scores.tolist(), strict=True)
    ]


def test_english_is_split_as_bm25s_splits_it():
    texts = [
        "The cat's x_axis, in 3 steps: a B c; naïve, 42nd ÉTÉ.",
        "A naïve étÉ of the_cat 42",
        "X b c 3",
        "axis of evil",
    ]
    eval_set = EvalSet({f"q{i}": text for i, text in enumerate(texts)}, dict(zip("abcd", texts, strict=True)), {})
    run = bm25_run(eval_set, Bm25Settings())
    assert list(run.values()) == [pytest.approx(scores, abs=1e-6) for scores in bm25s_itself(eval_set)]
    assert run["q2"] == {}  # words of one letter or digit are left out
    assert bm25_settings(eval_set) == Bm25Settings()


@pytest.mark.parametrize(
    ("corpus", "query", "found"),
    [
        (["退货需要几天", "如何修改密码", "运费是多少"], "退货 要多久", {"d0"}),
        (["猫", "狗", "鱼和鸟"], "狗", {"d1"}),  # a character that stands alone
        (["猫 和 狗", "鸟 和 鱼"], "狗", {"d0"}),  # cut into characters
        (["สวัสดีครับ", "ขอบคุณมาก"], "ขอบคุณ", {"d1"}),
        (["ねこがすき", "犬が好き"], "ねこ", {"d0"}),
        (["pandas 数据框合并", "numpy 数组排序"], "How do I sort numpy 数组", {"d1"}),
    ],
)
def test_scripts_without_spaces_are_found_by_bigrams(corpus, query, found):
    eval_set = EvalSet({"q": query}, {f"d{i}": text for i, text in enumerate(corpus)}, {})
    assert bm25_run(eval_set, Bm25Settings())["q"].keys() == found
    assert bm25_settings(eval_set).model == "BM25 (character bigrams)"


def test_one_text_of_many_is_not_called_bigrams():
    corpus = {f"d{i}": "plain words" for i in range(200)} | {"d": "数据框"}
    assert bm25_settings(EvalSet({"q": "words"}, corpus, {})).model == "BM25"


@pytest.mark.parametrize(
    "corpus", [["alpha beta"], ["!!!", "?"], ["the of", "a b"]], ids=["one", "no word", "left out"]
)
@pytest.mark.parametrize("query", ["gamma", "?!", "the"])
def test_what_finds_nothing_finds_nothing(corpus, query):
    eval_set = EvalSet({"q": query, "r": query}, {f"d{i}": text for i, text in enumerate(corpus)}, {})
    assert bm25_run(eval_set, Bm25Settings()) == {"q": {}, "r": {}}
