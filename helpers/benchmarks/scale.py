"""What a Ray cluster costs on one machine, beside encoding and search by a single process."""

import time
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from helpers.base import DEPTH, manifest_of, timed, write_jsonl
from helpers.benchmarks import passing_profile
from helpers.benchmarks.memory import DIMENSION, random_blocks, random_pairs
from helpers.encoding import Embedder, embedder_settings
from helpers.encoding.encoder import write_vectors
from helpers.recall.index import ExactIndex
from helpers.sampling.eval_set import Corpus
from helpers.scale.cluster import cluster
from helpers.scale.encode import encode
from helpers.scale.search import SpreadIndex

SIZES = (3_290, 100_000, 1_000_000)  # passages
QUERIES = 1000
# The less of a text is computed, the more of the time is Ray's.
SETTINGS = {"PROFILE": "demo", "BASE_LAYERS": 1, "PASSAGE_MAX_LEN": 8}


def scale(sizes: Iterable[int]) -> None:
    """Encode random passages and search random vectors, both ways, each after the other; print seconds and ratios."""
    queries = next(random_blocks(QUERIES, seed=1))
    for size in sizes:
        with passing_profile([], **SETTINGS) as (profile, _):
            texts = enumerate((pair["positive"] for pair in random_pairs(round(0.8 * size))), start=1)
            write_jsonl(path := profile.data_dir / "corpus.jsonl", ({"id": f"d{n}", "text": text} for n, text in texts))
            corpus, settings = Corpus(path), embedder_settings(profile, "raw")
            alone, spread = (Embedder(settings, profile) for _ in range(2))
            expected = np.array(found := alone.encode_corpus(corpus.values()))
            manifest_of(Path(str(found.filename))).unlink()
            write_vectors(path := profile.output_dir / "some.npy", random_blocks(size, 0), (size, DIMENSION), "float32")
            vectors = np.load(path, mmap_mode="r")
            (_, nearest), searched = timed(ExactIndex(vectors).search, queries, min(DEPTH, size))
            start = time.perf_counter()
            with cluster() as share:
                began = time.perf_counter() - start
                off = np.abs(encode(spread, corpus, share) - expected).max()
                (_, found), by_ray = timed(SpreadIndex(vectors, share).search, queries, min(DEPTH, size))
        print(f"{size:,} passages; the cluster began in {began:.1f} s, {share.workers} x {share.cores} cores")
        times = {"encoding": (alone.seconds["encode_corpus"], spread.seconds["encode_corpus"])}
        for name, (before, after) in (times | {f"{QUERIES:,} queries": (searched, by_ray)}).items():
            print(f"  {name:13} {before:8.2f} s alone  {after:8.2f} s by Ray  {after / before:6.2f}")
        print(
            f"  vectors differ by at most {off:.0e}; {np.mean(nearest == found):.2%} of what is found is the same",
            flush=True,
        )
