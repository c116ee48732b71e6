"""Exact nearest-passage search over the whole corpus with FAISS."""

from typing import TYPE_CHECKING

import numpy as np

from helpers.metrics import DEPTH

if TYPE_CHECKING:
    import faiss


def build_index(vectors: np.ndarray) -> "faiss.Index":
    """Build an exact inner-product index; on all GPUs where faiss sees any.

    Args:
        vectors: (passages, dim), of length 1, so that the inner product is the cosine. Kept in float32: in half
            precision close passages would tie.
    """
    import faiss

    index = faiss.IndexFlatIP(vectors.shape[1])
    if faiss.get_num_gpus():
        index = faiss.index_cpu_to_all_gpus(index)
    index.add(np.ascontiguousarray(vectors, dtype=np.float32))
    return index


def search(
    index: "faiss.Index", query_vectors: np.ndarray, query_ids: list[str], docids: list[str], depth: int = DEPTH
) -> dict[str, dict[str, float]]:
    """Find the `depth` nearest passages of each query.

    Args:
        query_vectors: (queries, dim).
        query_ids: the id of each row of `query_vectors`.
        docids: the id of each vector in the index, in the order in which they were added.

    Returns:
        The run: query id -> docid -> score.
    """
    depth = min(depth, index.ntotal)  # FAISS fills a longer list with -1
    scores, rows = index.search(np.ascontiguousarray(query_vectors, dtype=np.float32), depth)  # (queries, depth) each
    return {
        query_id: {docids[row]: float(score) for row, score in zip(found, values, strict=True)}
        for query_id, found, values in zip(query_ids, rows, scores, strict=True)
    }
