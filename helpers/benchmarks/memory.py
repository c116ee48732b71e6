"""What exact search takes of memory, and data notebooks, preparation and start of a training, at size."""

import os
import random
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import faiss  # noqa: F401  before the first look at the memory
import numpy as np
import psutil
from tqdm import tqdm

from helpers.base import DEPTH, ROOT, UserError, timed
from helpers.benchmarks import passing_profile
from helpers.encoding.encoder import BLOCK, write_vectors
from helpers.recall.index import ExactIndex

DIMENSION, QUERIES = 384, 100
NOTEBOOK = (sys.executable, "-m", "helpers", "notebook")
STEPS = {
    "01 with neg_num = 50": (*NOTEBOOK, "01_build_train_dataset", "neg_num=50"),
    "02 with its audit": (*NOTEBOOK, "02_build_eval_dataset"),
    "preparation and first steps": ("bash", str(ROOT / "finetune_neg50.sh")),
}


def random_blocks(count: int, seed: int) -> Iterator[np.ndarray]:
    """Yield `count` random unit vectors in blocks, (rows, DIMENSION) each."""
    rng = np.random.default_rng(seed)
    for start in range(0, count, BLOCK):
        block = rng.standard_normal((min(BLOCK, count - start), DIMENSION), dtype=np.float32)
        yield block / np.linalg.norm(block, axis=1, keepdims=True)


def peak_memory() -> int:
    """Return the bytes that this process has had in memory at its fullest."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def search(count: int) -> tuple[int, int]:
    """Search `count` random vectors on disk and print how; return their bytes, and by how many the peak has grown."""
    queries, before = next(random_blocks(QUERIES, seed=1)), peak_memory()
    with TemporaryDirectory() as folder:
        path = Path(folder) / "vectors.npy"
        _, written = timed(write_vectors, path, random_blocks(count, seed=0), (count, DIMENSION), "float32")
        _, searched = timed(ExactIndex(np.load(path, mmap_mode="r")).search, queries, DEPTH)
        size, peak = path.stat().st_size, peak_memory()
    print(f"{count:,} vectors of {DIMENSION}, {size / 1e6:,.0f} MB on disk, written in {written:.0f} s")
    print(f"{QUERIES} queries, the nearest {DEPTH} of each, exact: {searched:.1f} s")
    print(f"peak memory {peak / 1e6:,.0f} MB, of which {before / 1e6:,.0f} MB before it began")
    return size, peak - before


def random_pairs(queries: int) -> Iterator[dict[str, str]]:
    """Yield pairs of random words: passages of 280 characters, of which `queries` train in the demo's split."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(30_000)]
    for _ in range(round(queries / 0.8)):
        text = rng.choices(words, k=43)
        yield {"query": " ".join(text[:8]), "positive": " ".join(text)}


def measure(command: tuple[str, ...], environ: dict[str, str], said: Path) -> tuple[int, float]:
    """Run a command up to its first line that begins with `step`; return its peak of memory in bytes, and its seconds.

    The memory is that of the process and of all that it has started, together; what it prints goes to `said`.
    Raises UserError: it failed.
    """
    start, peak = time.perf_counter(), 0
    with said.open("w") as file, psutil.Popen(command, env=environ, stdout=file, start_new_session=True) as main:
        while main.poll() is None and "\nstep" not in said.read_text():
            with suppress(psutil.NoSuchProcess):  # gone between two looks
                peak = max(peak, sum(p.memory_info().rss for p in (main, *main.children(recursive=True))))
            time.sleep(0.2)
        with suppress(ProcessLookupError):
            os.killpg(main.pid, signal.SIGKILL)
    if main.returncode > 0:
        raise UserError(f"{' '.join(command)} failed; see what it says above.")
    return peak, time.perf_counter() - start


def training(queries: int) -> None:
    """Measure each of `STEPS` over pairs of random words; print memory and time. What they write is removed."""
    with passing_profile(random_pairs(queries), PROFILE="demo", FORCE=1) as (profile, environ):
        for name, command in STEPS.items():
            peak, seconds = measure(command, environ, Path(profile.dataset).with_name("said"))
            print(f"{name:28} {peak / 1e9:5.2f} GB  {tqdm.format_interval(seconds):>8}", flush=True)
        print(f"{queries:,} queries, {profile.training_file('neg50').stat().st_size / 1e9:.2f} GB of rows")
