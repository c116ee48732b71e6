"""Vectors on disk: written block by block, kept under a fingerprint, read without being loaded."""

from collections.abc import Iterable, Iterator
from mmap import mmap
from pathlib import Path

import numpy as np

from helpers.base import read_json, whole_file, write_json

BLOCK = 16_384  # vectors in memory at a time: 25 MB of 384 float32


def write_vectors(path: Path, blocks: Iterable[np.ndarray], shape: tuple[int, int], dtype: str) -> None:
    """Write blocks of rows, one after the other, as one `.npy` file; no more than a block is in memory.

    Args:
        blocks: (rows, dim) each.
        shape: of all blocks together.

    Raises:
        UserError: the disk is full or the folder cannot be written.
    """
    header = {"descr": np.lib.format.dtype_to_descr(np.dtype(dtype)), "fortran_order": False, "shape": shape}
    with whole_file(path, binary=True) as file:
        np.lib.format.write_array_header_1_0(file, header)
        for block in blocks:
            file.write(np.ascontiguousarray(block, dtype=dtype).data)


def open_vectors(path: Path) -> np.memmap:
    """Map a file of vectors, (texts, dim), read-only; what is not touched stays on disk."""
    return np.load(path, mmap_mode="r")


def vector_blocks(vectors: np.ndarray, size: int = BLOCK) -> Iterator[np.ndarray]:
    """Yield the vectors in float32, `size` rows at a time.

    A block of a mapped file is mapped anew each time: with its map goes what was read, and memory does not fill up.
    """
    mapped = isinstance(vectors, np.memmap) and isinstance(vectors.base, mmap)  # a whole file, and no part of one
    for start in range(0, len(vectors), size):
        if mapped:
            rows = min(size, len(vectors) - start)
            offset = vectors.offset + start * vectors.strides[0]
            part = np.memmap(vectors.filename, vectors.dtype, "r", offset, (rows, vectors.shape[1]))
        else:
            part = vectors[start : start + size]
        yield np.array(part, dtype=np.float32)


def kept_vectors(path: Path) -> tuple[np.memmap, float] | None:
    """Return the vectors kept at `path` and the seconds their encoding took, or None if they are not there, whole."""
    note = path.with_suffix(".json")
    if not (path.exists() and note.exists()):
        return None
    return open_vectors(path), read_json(note)["seconds"]


def note_seconds(path: Path, seconds: float) -> None:
    """Say beside the vectors how long their encoding took; from then on they count as kept."""
    write_json(path.with_suffix(".json"), {"seconds": round(seconds, 3)})
