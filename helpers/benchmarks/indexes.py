"""What indexes find, weigh and take, over the number of vectors."""

from collections.abc import Iterable, Iterator
from math import log2, sqrt
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd

from helpers.base import Profile, timed
from helpers.benchmarks.memory import DIMENSION
from helpers.encoding.encoder import BLOCK, write_vectors
from helpers.recall.index import build_index, index_costs

SIZES = (10_000, 100_000, 1_000_000)  # vectors
QUERIES = 1000
# "np": without the training for polysemous codes, which takes a minute and is not used here.
KINDS = ("HNSW32", "IVF{lists},Flat", "IVF{lists},PQ48np")
TOPIC = 100  # vectors that are about one thing, on average
SPREAD = 0.8  # of them around their centre, whose length is 1


def clustered_blocks(count: int, seed: int, vectors: int) -> Iterator[np.ndarray]:
    """Yield `count` unit vectors, (rows, DIMENSION) a block, in as many clusters as `vectors` texts have topics.

    Vectors of texts are near each other by what they are about; uniformly random ones are all equally far, and no
    approximate index finds its way among them. The centres are the same for every `seed`.
    """
    centres = np.random.default_rng(0).standard_normal((max(1, vectors // TOPIC), DIMENSION), dtype=np.float32)
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    rng = np.random.default_rng(seed)
    for start in range(0, count, BLOCK):
        rows = min(BLOCK, count - start)
        noise = rng.standard_normal((rows, DIMENSION), dtype=np.float32) * (SPREAD / sqrt(DIMENSION))
        block = centres[rng.integers(len(centres), size=rows)] + noise
        yield block / np.linalg.norm(block, axis=1, keepdims=True)


def indexes(sizes: Iterable[int], profile: Profile) -> None:
    """Build each kind of index over ever more vectors; print a table, and write it and a picture of it."""
    rows = []
    for size in sizes:
        [queries] = clustered_blocks(QUERIES, seed=1, vectors=size)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "vectors.npy"
            write_vectors(path, clustered_blocks(size, 2, size), (size, DIMENSION), "float32")
            vectors = np.load(path, mmap_mode="r")
            for kind in KINDS:
                lists = 2 ** round(log2(4 * sqrt(size)))  # FAISS's guidelines: 4 to 16 times the root
                index, seconds = timed(build_index, vectors, factory := kind.format(lists=lists))
                own, exact = index_costs(index, vectors, queries)
                found = {"Flat": (exact, 0.0)} if kind == KINDS[0] else {}
                for name, (costs, built) in (found | {factory: (own, seconds)}).items():
                    rows.append({"vectors": size, "index": name, **costs._asdict(), "built": built})
                    what = f"finds {costs.found:6.1%}  {costs.size / 1e6:8.1f} MB  {costs.speed:8,.0f} queries/s"
                    print(f"{size:10,}  {name:16} {what}  built in {built:.1f} s", flush=True)
    table = pd.DataFrame(rows)
    profile.output_dir.mkdir(parents=True, exist_ok=True)
    table.to_csv(profile.output_dir / "indexes.csv", index=False)
    table["kind"] = table["index"].str.replace(r"IVF\d+", "IVF", regex=True)
    _, panels = plt.subplots(1, 3, figsize=(11, 3.2), layout="constrained", dpi=110)
    labels = {"speed": "queries/s", "size": "bytes", "found": "share found"}
    for axes, (column, label) in zip(panels, labels.items(), strict=True):
        table.pivot(index="vectors", columns="kind", values=column).plot(ax=axes, marker="o", logx=True, ylabel=label)
        axes.set_yscale("linear" if column == "found" else "log")
    plt.savefig(profile.output_dir / "indexes.png")
