import pytest

from helpers.recall.fusion import fuse


def test_ranks_count_and_scores_do_not():
    """Of the paper's formula by hand: 1 / (60 + rank), over the runs that have the passage."""
    words = {"q1": {"d1": 31.0, "d2": 30.0, "d3": 2.0}, "q2": {}}
    vectors = {"q1": {"d3": 0.9, "d2": 0.8}, "q3": {"d9": 0.1}}
    fused = fuse(words, vectors)
    assert list(fused["q1"]) == ["d3", "d2", "d1"]
    assert fused["q1"] == pytest.approx({"d2": 1 / 62 + 1 / 62, "d3": 1 / 63 + 1 / 61, "d1": 1 / 61})
    assert fused["q2"] == {} and fused["q3"] == {"d9": 1 / 61}
    assert list(fuse(words, vectors, depth=1)["q1"]) == ["d3"]
    assert fuse(words)["q1"].keys() == words["q1"].keys()
