from math import log

import pytest

from helpers.recall.bm25 import Bm25Settings, bm25_run
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
