"""Memory and speed of exact search over vectors on disk that need not fit into memory."""

import resource
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from helpers.base import DEPTH
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
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def measure(count: int, folder: Path) -> dict[str, float]:
    """Write, search; return seconds of both, bytes on disk, peak memory before and after in bytes."""
    import faiss  # noqa: F401  before the first look at the memory

    queries = next(random_blocks(QUERIES, seed=1))
    before = peak_memory()
    start = time.perf_counter()
    path = folder / "vectors.npy"
    write_vectors(path, random_blocks(count, seed=0), (count, DIMENSION), "float32")
    written = time.perf_counter()
    ExactIndex(np.load(path, mmap_mode="r")).search(queries, DEPTH)
    return {
        "write": written - start,
        "search": time.perf_counter() - written,
        "bytes": path.stat().st_size,
        "before": before,
        "peak": peak_memory(),
    }


def benchmark(count: int) -> None:
    """Write `count` random vectors into a temporary folder, search them, print seconds and the peak memory."""
    with tempfile.TemporaryDirectory() as folder:
        found = measure(count, Path(folder))
    print(
        f"{count:,} vectors of {DIMENSION}, {found['bytes'] / 1e6:,.0f} MB on disk, written in {found['write']:.0f} s"
    )
    print(f"{QUERIES} queries, the nearest {DEPTH} of each, exact: {found['search']:.1f} s")
    print(f"peak memory {found['peak'] / 1e6:,.0f} MB, of which {found['before'] / 1e6:,.0f} MB before it began")
