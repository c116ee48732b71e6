"""Memory and speed of exact search over vectors on disk that need not fit into memory."""

import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import faiss  # noqa: F401  before the first look at the memory
import numpy as np

from helpers.base import DEPTH, timed
from helpers.encoding.vectors import BLOCK, write_vectors
from helpers.recall.index import ExactIndex

DIMENSION = 384
QUERIES = 100


def random_blocks(count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield `count` random unit vectors in blocks, (rows, DIMENSION) each."""
    rng = np.random.default_rng(seed)
    for start in range(0, count, BLOCK):
        block = rng.standard_normal((min(BLOCK, count - start), DIMENSION), dtype=np.float32)
        yield block / np.linalg.norm(block, axis=1, keepdims=True)


def peak_memory() -> int:
    """Return the bytes that this process has had in memory at its fullest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def measure(count: int, folder: Path) -> dict[str, float]:
    """Write, search; return seconds of both, bytes on disk, peak memory before and after in bytes."""
    queries, path = next(random_blocks(QUERIES, seed=1)), folder / "vectors.npy"
    before = peak_memory()
    _, write = timed(write_vectors, path, random_blocks(count, seed=0), (count, DIMENSION), "float32")
    _, search = timed(ExactIndex(np.load(path, mmap_mode="r")).search, queries, DEPTH)
    return {"write": write, "search": search, "bytes": path.stat().st_size, "before": before, "peak": peak_memory()}


def benchmark(count: int) -> None:
    """Write `count` random vectors into a temporary folder, search them, print seconds and the peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(count, Path(folder))
    size, before, peak = (f"{found[key] / 1e6:,.0f} MB" for key in ("bytes", "before", "peak"))
    print(f"{count:,} vectors of {DIMENSION}, {size} on disk, written in {found['write']:.0f} s")
    print(f"{QUERIES} queries, the nearest {DEPTH} of each, exact: {found['search']:.1f} s")
    print(f"peak memory {peak}, of which {before} before it began")
