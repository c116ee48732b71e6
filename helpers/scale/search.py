"""Exact search on a cluster: each block of vectors meets all queries in a task of its own."""

from math import ceil
from typing import cast

import numpy as np
from tqdm.auto import tqdm

from helpers.base import Profile, UserError, timed
from helpers.encoding import Embedder, embedder_settings
from helpers.encoding.encoder import BLOCK
from helpers.evaluation import save_result
from helpers.recall import search
from helpers.recall.index import EXACT, ExactIndex
from helpers.sampling import load_eval_set
from helpers.sampling.eval_set import Corpus
from helpers.scale.cluster import Share, cluster
from helpers.scale.encode import encode

TASKS = 1000  # at most: a task hands back the best of each query, of however many blocks


class SpreadIndex:
    """As `ExactIndex` over vectors on disk, (passages, dim), searched by many processes."""

    def __init__(self, vectors: np.memmap, share: Share):
        self.vectors, self.share = vectors, share
        self.ntotal = len(vectors)

    def search(self, queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """Return scores and rows of the nearest vectors, (queries, depth) each, best first; say how many are ties.

        Lists are merged by FAISS in the order of the blocks; with a block a part, up to `TASKS` of them, that is what
        `ExactIndex` does, equal scores included. A task that a node takes with it is done again by another.
        """
        import faiss
        import ray

        how = {"num_cpus": self.share.cores, "num_gpus": self.share.cards}
        task = ray.remote(max_retries=-1, max_calls=0, **how)(_search_part)  # a process for all, with a card, too
        asked, rows = ray.put(queries), BLOCK * ceil(self.ntotal / BLOCK / TASKS)
        starts = range(0, self.ntotal, rows)
        parts = [task.remote(self.vectors.filename, slice(start, start + rows), asked, depth) for start in starts]
        heap = faiss.ResultHeap(len(queries), depth, keep_max=True)
        left_out = np.full(len(queries), -np.inf)  # the best score that is not kept, of all parts so far
        for part in tqdm(parts, "search", unit="part", leave=False):
            scores, found = ray.get(part)
            both = np.concatenate([heap.D, scores], axis=1)  # (queries, 2 * depth)
            left_out = np.maximum(left_out, np.partition(both, depth - 1, axis=1)[:, depth - 1])
            heap.add_result(scores, found)
        heap.finalize()
        if ties := int((left_out == heap.D[:, -1]).sum()):
            print(f"In {ties:,} queries a passage of another part has the score of the last that is kept.")
        return heap.D, heap.I


def _search_part(path: str, rows: slice, queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
    scores, found = ExactIndex(np.load(path, mmap_mode="r")[rows]).search(queries, depth)
    return scores, found + rows.start


def scale(name: str, profile: Profile, searches: bool) -> None:
    """Encode the corpus by `raw`, `neg10`, ..., `reference` on a cluster; search it, too, and save that as 04 does.

    Raises UserError: as `cluster` and `encode`, or the profile asks for another index than the exact one.
    """
    if searches and profile.index != EXACT:
        raise UserError(f"INDEX={profile.index}: on a cluster search is exact; set INDEX={EXACT}.")
    eval_set, settings = load_eval_set(profile.data_dir), embedder_settings(profile, name)
    model = Embedder(settings, profile)
    with cluster() as share:
        print(f"at most {share.workers} workers, each with {'a card' if share.cards else f'{share.cores} cores'}")
        vectors = encode(model, cast(Corpus, eval_set.corpus), share)
        print(f"{vectors.shape[0]:,} passages in {model.seconds['encode_corpus']:.1f} s: {vectors.filename}")
        if searches:
            queries = model.encode_queries(eval_set.queries.values())
            index = SpreadIndex(vectors, share)
            run, seconds = timed(search, index, queries, list(eval_set.queries), list(eval_set.corpus))
            path = save_result(name, profile, settings, eval_set, run, model.seconds | {"search": seconds})
            print(f"{len(run):,} queries in {seconds:.1f} s: {path}")
