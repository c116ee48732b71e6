"""Vectors on disk: written block by block, read without being loaded."""

from collections.abc import Iterable, Iterator
from mmap import mmap
from pathlib import Path

import numpy as np

from helpers.base import whole_file

BLOCK = 16_384  # vectors in memory at a time: 25 MB of 384 float32


def write_vectors(path: Path, blocks: Iterable[np.ndarray], shape: tuple[int, int], dtype: str) -> None:
    """Write blocks, (rows, dim) each, as one `.npy` of `shape`; raises as `whole_file`."""
    header = {"descr": np.dtype(dtype).str, "fortran_order": False, "shape": shape}
    with whole_file(path, binary=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=dtype).data)


def vector_blocks(vectors: np.ndarray, size: int = BLOCK) -> Iterator[np.ndarray]:
    """Yield the vectors in float32, `size` rows at a time."""
    # A file is mapped anew for each block, so that what was read leaves the memory with its map.
    # A part of a mapped file has the name of the whole, but only the whole has the map as its base.
    file = vectors.filename if isinstance(vectors, np.memmap) and isinstance(vectors.base, mmap) else None
    for start in range(0, len(vectors), size):
        whole = np.load(file, mmap_mode="r") if file else vectors
        yield np.array(whole[start : start + size], dtype=np.float32)


def cut(vectors: np.ndarray, dim: int) -> np.ndarray:
    """Return vectors, (texts, more), cut to their first numbers, (texts, dim), and made of length 1 again.

    Kusupati et al. 2022, "Matryoshka Representation Learning", arXiv:2205.13147.
    """
    part = np.array(vectors[:, :dim], dtype=np.float32)
    return part / np.linalg.norm(part, axis=1, keepdims=True)
