"""Nearest-passage search over the whole corpus with FAISS, exact unless asked otherwise."""

from math import ceil, sqrt
from typing import Any, NamedTuple

import numpy as np

from helpers.base import DEPTH, Profile, Run, UserError, timed
from helpers.encoding import Embedder, embedder_settings
from helpers.encoding.encoder import vector_blocks
from helpers.recall.bm25 import bm25_run, bm25_settings
from helpers.sampling import EvalSet

EXACT = "Flat"
TRAINING = 65_536  # vectors, at most, to train an index on
Index = Any  # what can be searched: FAISS's own indexes, and `ExactIndex`


class ExactIndex:
    """Every query against every vector, (passages, dim), block by block, for those on disk may not fit into memory.

    FAISS takes all GPUs that it sees. Inner products are of float32; in half precision close passages would tie.
    """

    def __init__(self, vectors: np.ndarray):
        self.vectors = vectors
        self.ntotal = len(vectors)

    def search(self, queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and rows of the nearest vectors, (queries, depth) each, best first."""
        import faiss
        from faiss.contrib.exhaustive_search import knn_ground_truth

        return knn_ground_truth(queries, vector_blocks(self.vectors), depth, metric_type=faiss.METRIC_INNER_PRODUCT)


def build_index(vectors: np.ndarray, factory: str = EXACT) -> Index:
    """Build an inner-product index of vectors, (passages, dim), of length 1, so that scores are cosines.

    `factory` is `Flat`, or an approximate one of https://github.com/facebookresearch/faiss/wiki/The-index-factory.
    Raises UserError: FAISS does not know the string, or it asks for more training vectors than there are.
    """
    if factory == EXACT:
        return ExactIndex(vectors)
    import faiss

    try:
        index = faiss.index_factory(vectors.shape[1], factory, faiss.METRIC_INNER_PRODUCT)
        inverted = faiss.try_extract_index_ivf(index)
        if not index.is_trained:
            for part in (index, getattr(index, "pq", None), inverted, getattr(inverted, "pq", None)):
                if clustering := getattr(part, "cp", None):
                    clustering.min_points_per_centroid = 1  # no warning of few vectors; the measured recall tells more
            step = max(1, len(vectors) // TRAINING)
            index.train(np.ascontiguousarray(vectors[::step][:TRAINING], dtype=np.float32))
    except RuntimeError as error:
        reason = str(error).rpartition("Error: ")[2].strip()
        raise UserError(
            f"INDEX={factory}: FAISS cannot build it over {len(vectors)} vectors of {vectors.shape[1]} numbers "
            f"({reason}); use Flat, or a factory string such as HNSW32 or IVF64,Flat."
        ) from error
    for block in vector_blocks(vectors):
        index.add(block)
    if inverted:
        inverted.nprobe = ceil(sqrt(inverted.nlist))  # lists that a query visits
    if hasattr(index, "hnsw"):
        index.hnsw.efSearch = 2 * DEPTH  # candidates that a query keeps
    return index


def search(index: Index, query_vectors: np.ndarray, query_ids: list[str], docids: list[str], depth: int = DEPTH) -> Run:
    """Find the `depth` nearest passages of each query, (queries, dim); `docids` are in the order of the index."""
    depth = min(depth, index.ntotal)
    scores, rows = index.search(np.array(query_vectors, dtype=np.float32), depth)  # (queries, depth) each
    return {
        query_id: {docids[row]: float(score) for row, score in zip(found, values, strict=True) if row >= 0}
        for query_id, found, values in zip(query_ids, rows, scores, strict=True)  # row -1: no more was found
    }


def search_with(name: str, task: EvalSet, profile: Profile, depth: int = DEPTH) -> Run:
    """Search a task by `bm25`, or by a model of the profile: `raw`, `neg10`, ..., `reference`."""
    if name == "bm25":
        return bm25_run(task, bm25_settings(task), depth)
    model = Embedder(embedder_settings(profile, name), profile)
    index = build_index(model.encode_corpus(task.corpus.values()), profile.index)
    return search(index, model.encode_queries(task.queries.values()), list(task.queries), list(task.corpus), depth)


class Costs(NamedTuple):
    """What an index finds of what exact search finds, the bytes that it takes, and queries a second."""

    found: float
    size: int
    speed: float


def index_costs(index: Index, vectors: np.ndarray, query_vectors: np.ndarray) -> tuple[Costs, Costs]:
    """Return what a FAISS index of vectors, (passages, dim), costs for queries, (queries, dim); and the exact one."""
    import faiss

    queries, depth = np.array(query_vectors, dtype=np.float32), min(DEPTH, len(vectors))
    (_, found), seconds = timed(index.search, queries, depth)
    (_, exact), exact_seconds = timed(ExactIndex(vectors).search, queries, depth)
    shared = sum(len(np.intersect1d(a, b)) for a, b in zip(found, exact, strict=True)) / exact.size
    sizes: list[int] = []  # of the pieces in which FAISS would write the index; they are counted, not kept
    faiss.write_index(index, faiss.PyCallbackIOWriter(lambda data: sizes.append(len(data))))  # type: ignore
    own, other = (len(queries) / spent for spent in (seconds, exact_seconds))
    return Costs(shared, sum(sizes), own), Costs(1, 4 * vectors.size, other)


def index_line(index: Index, vectors: np.ndarray, query_vectors: np.ndarray, factory: str) -> str:
    """Say that an index of vectors, (passages, dim), is exact, or what share of that it finds, its size, its speed."""
    if factory == EXACT:
        return f"exact, over {4 * vectors.size / 1e6:.1f} MB of vectors"
    own, exact = index_costs(index, vectors, query_vectors)
    return (
        f"{factory}: finds {own.found:.1%} of what exact search finds, {own.size / 1e6:.1f} MB "
        f"(exact {exact.size / 1e6:.1f} MB), {own.speed:,.0f} queries/s (exact {exact.speed:,.0f})"
    )
