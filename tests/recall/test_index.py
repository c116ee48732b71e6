import re

import faiss
import numpy as np
import pytest

from helpers.base.errors import UserError
from helpers.encoding.encoder import BLOCK, write_vectors
from helpers.recall.index import build_index, index_line, search


def unit(rng, *shape):
    vectors = rng.normal(size=shape)
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def brute_force(passages, queries):
    """Return the cosine of each query with each passage, (queries, passages), in float64."""
    return queries.astype(np.float64) @ passages.T.astype(np.float64)


@pytest.mark.parametrize("kind", ["random", "near duplicates", "on disk"])
def test_search_equals_brute_force(tmp_path, kind):
    """Set and order of the best hundred, wherever scores differ by more than 1e-6."""
    rng = np.random.default_rng(0)
    passages, queries = unit(rng, BLOCK + 500, 16), unit(rng, 20, 16)  # two blocks
    if kind == "near duplicates":
        passages = unit(rng, 40, 16)[rng.integers(40, size=3000)] + 1e-7 * rng.normal(size=(3000, 16))
        passages = passages.astype(np.float32)
    stored = passages
    if kind == "on disk":
        write_vectors(tmp_path / "v.npy", [passages], passages.shape, "float32")
        stored = np.load(tmp_path / "v.npy", mmap_mode="r")
    docids = [f"d{i}" for i in range(len(passages))]
    run = search(build_index(stored), queries, [f"q{i}" for i in range(20)], docids)
    for i, scores in enumerate(brute_force(passages, queries)):
        found = [int(docid[1:]) for docid in run[f"q{i}"]]
        assert len(set(found)) == 100
        assert np.allclose(list(run[f"q{i}"].values()), scores[found], atol=1e-6)
        assert np.all(np.diff(scores[found]) <= 1e-6)  # the order
        last = np.sort(scores)[-100]
        assert set(np.flatnonzero(scores > last + 1e-6)) <= set(found)  # the set
        assert scores[found].min() >= last - 1e-6


def test_half_precision_vectors_are_scored_in_float32():
    rng = np.random.default_rng(0)
    passages = unit(rng, 50, 16).astype(np.float16)
    run = search(build_index(passages), passages[:3], ["a", "b", "c"], [str(i) for i in range(50)])
    assert [next(iter(scores)) for scores in run.values()] == ["0", "1", "2"]
    exact = float(passages[0].astype(np.float32) @ passages[0].astype(np.float32))
    assert abs(run["a"]["0"] - exact) < 1e-6


@pytest.mark.parametrize("factory", ["Flat", "HNSW8"])
def test_a_small_corpus_gives_a_short_run(factory):
    vectors = np.eye(3, dtype=np.float32)
    run = search(build_index(vectors, factory), vectors[:1], ["q"], ["d1", "d2", "d3"])
    assert run["q"].keys() == {"d1", "d2", "d3"}


def test_faisss_own_flat_index_finds_the_same():
    rng = np.random.default_rng(1)
    passages, queries = unit(rng, 1000, 16), unit(rng, 5, 16)
    flat = faiss.IndexFlatIP(16)
    flat.add(passages)
    scores, rows = build_index(passages).search(queries, 100)
    assert np.array_equal(rows, flat.search(queries, 100)[1])
    assert np.allclose(scores, flat.search(queries, 100)[0], atol=1e-6)


@pytest.mark.parametrize(
    ("factory", "recall", "size"),
    [("HNSW32", 0.8, 2.2), ("IVF16,Flat", 0.3, 1.2), ("IVF16,PQ16x4", 0.05, 0.5), ("SQ8", 0.9, 0.5)],
)
def test_approximate_indexes_are_measured_against_exact_search(tmp_path, factory, recall, size):
    rng = np.random.default_rng(0)
    passages, queries = unit(rng, 5000, 64), unit(rng, 50, 64)
    write_vectors(tmp_path / "v.npy", [passages], passages.shape, "float32")
    vectors = np.load(tmp_path / "v.npy", mmap_mode="r")
    index = build_index(vectors, factory)
    line = index_line(index, vectors, queries, factory).removeprefix(f"{factory}: ")
    found, megabytes, exact_megabytes, speed, exact_speed = map(float, re.findall(r"[\d.]+", line.replace(",", "")))
    best = [set(np.argsort(-scores)[:100]) for scores in brute_force(passages, queries)]
    rows = index.search(queries, 100)[1]
    expected = np.mean([len(a & set(b)) / 100 for a, b in zip(best, rows, strict=True)])
    assert found / 100 == pytest.approx(expected, abs=1e-3)
    assert recall < found / 100 < 1
    assert megabytes == pytest.approx(len(faiss.serialize_index(index)) / 1e6, abs=0.06)
    assert megabytes < size * exact_megabytes + 0.1
    assert exact_megabytes == pytest.approx(5000 * 64 * 4 / 1e6, abs=0.06)
    assert min(speed, exact_speed) > 0


def test_exact_search_says_so():
    vectors = unit(np.random.default_rng(0), 500, 16)
    assert index_line(build_index(vectors), vectors, vectors[:10], "Flat") == "exact, over 0.0 MB of vectors"


@pytest.mark.parametrize("factory", ["IVF16,PQ4x4", "IVF16,Flat", "PQ4x4"])
def test_few_training_vectors_are_no_flood_of_warnings(capfd, factory):
    build_index(unit(np.random.default_rng(0), 400, 16), factory)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("factory", "sentence"),
    [("Fast", "could not parse"), ("IVF4096,Flat", "INDEX=IVF4096,Flat: .* over 500 vectors"), ("PQ7", "INDEX=PQ7")],
)
def test_an_index_that_cannot_be_built_is_one_sentence(factory, sentence):
    with pytest.raises(UserError, match=sentence) as error:
        build_index(unit(np.random.default_rng(0), 500, 16), factory)
    assert "use Flat, or a factory string" in str(error.value)
    assert "\n" not in str(error.value)
