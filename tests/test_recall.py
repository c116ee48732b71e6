import numpy as np

from helpers.recall import build_index, search


def unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def test_search_equals_brute_force():
    rng = np.random.default_rng(0)
    passages, queries = unit(rng, 500, 16), unit(rng, 20, 16)
    docids = [f"d{i}" for i in range(500)]
    run = search(build_index(passages), queries, [f"q{i}" for i in range(20)], docids)
    scores = queries.astype(np.float64) @ passages.T.astype(np.float64)  # (queries, passages)
    for i in range(20):
        best = np.argsort(-scores[i])[:100]
        assert list(run[f"q{i}"]) == [docids[j] for j in best]
        assert np.allclose(list(run[f"q{i}"].values()), scores[i][best], atol=1e-6)


def test_half_precision_vectors_are_scored_in_float32():
    rng = np.random.default_rng(0)
    passages = unit(rng, 50, 16).astype(np.float16)
    run = search(build_index(passages), passages[:3], ["a", "b", "c"], [str(i) for i in range(50)])
    assert [next(iter(scores)) for scores in run.values()] == ["0", "1", "2"]
    exact = float(passages[0].astype(np.float32) @ passages[0].astype(np.float32))
    assert abs(run["a"]["0"] - exact) < 1e-6


def test_a_small_corpus_gives_a_short_run():
    vectors = np.eye(3, dtype=np.float32)
    run = search(build_index(vectors), vectors[:1], ["q"], ["d1", "d2", "d3"])
    assert run["q"].keys() == {"d1", "d2", "d3"}
