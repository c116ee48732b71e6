import subprocess
import sys

import numpy as np
import pytest

from helpers.base.errors import UserError
from helpers.base.fingerprint import fingerprint
from helpers.encoding.encoder import vector_blocks, write_vectors


def test_what_is_written_in_blocks_is_read_back(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((25, 7)).astype(np.float32)
    path = tmp_path / "vectors.npy"
    write_vectors(path, (vectors[start : start + 10] for start in range(0, 25, 10)), vectors.shape, "float32")
    assert np.array_equal(np.load(path), vectors)
    for part in (slice(5, 20), slice(None, None, 2)):  # a part of a mapped file says of itself that it is the whole
        assert np.array_equal(np.concatenate(list(vector_blocks(np.load(path, mmap_mode="r")[part], 8))), vectors[part])
    assert np.array_equal(next(vector_blocks(np.load(path, mmap_mode="r").astype(np.float64))), vectors)
    for source in (np.load(path, mmap_mode="r"), vectors):
        blocks = list(vector_blocks(source, 8))
        assert [len(block) for block in blocks] == [8, 8, 8, 1]
        assert np.array_equal(np.concatenate(blocks), vectors)


def test_half_precision_takes_half_the_space_and_comes_back_in_float32(tmp_path):
    vectors = np.random.default_rng(0).standard_normal((100, 64)).astype(np.float32)
    for dtype in ("float32", "float16"):
        write_vectors(tmp_path / f"{dtype}.npy", [vectors], vectors.shape, dtype)
    whole, half = ((tmp_path / f"{dtype}.npy").stat().st_size - 128 for dtype in ("float32", "float16"))
    assert whole == 2 * half
    [block] = vector_blocks(np.load(tmp_path / "float16.npy", mmap_mode="r"))
    assert block.dtype == np.float32
    assert np.array_equal(block, vectors.astype(np.float16).astype(np.float32))


def test_the_fingerprint_sees_every_change():
    parts = (
        [["a", "b"], ["c"]],
        [["a"], ["b", "c"]],
        [["ab"], ["c"]],
        [["a", "b", "c"]],
        [["b", "a"], ["c"]],
        [["a", "b"]],
    )
    assert len({fingerprint(*part) for part in parts}) == len(parts)
    assert fingerprint(iter(["a", "b"]), ("c",)) == fingerprint(*parts[0])


def test_a_failure_leaves_no_file(tmp_path):
    def blocks():
        yield np.ones((2, 3), np.float32)
        raise OSError(28, "No space left on device")

    with pytest.raises(UserError):
        write_vectors(tmp_path / "vectors.npy", blocks(), (4, 3), "float32")
    assert not list(tmp_path.iterdir())


def test_search_on_disk_needs_the_memory_of_a_block():
    """200,000 vectors are 307 MB; the process that writes and searches them grows by less than half of that."""
    script = "from helpers.benchmarks.memory import search; print(*search(200_000))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    size, growth = map(int, done.stdout.split()[-2:])
    assert size > 300e6
    assert growth < size / 2
