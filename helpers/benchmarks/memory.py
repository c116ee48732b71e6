"""What the data notebooks, the preparation and the start of a training take of memory, with many queries."""

import os
import random
import shutil
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from subprocess import Popen
from tempfile import TemporaryDirectory

import psutil
from tqdm import tqdm

from helpers.base import ROOT, UserError, load_profile, write_jsonl

HELPERS = (sys.executable, "-m", "helpers", "notebook")
STEPS = {
    "01 with neg_num = 50": (*HELPERS, "01_build_train_dataset", "neg_num=50"),
    "02 with its audit": (*HELPERS, "02_build_eval_dataset"),
    "preparation and first steps": ("bash", str(ROOT / "finetune_neg50.sh")),
}


def make_pairs(queries: int, path: Path) -> None:
    """Write pairs of random words: passages of 280 characters, of which `queries` train in the demo's split."""
    rng = random.Random(0)
    words = ["".join(rng.choices("abcdefghijklmnopqrstuvwxyz", k=rng.randint(2, 9))) for _ in range(30_000)]
    texts = (rng.choices(words, k=43) for _ in range(round(queries / 0.8)))
    write_jsonl(path, ({"query": " ".join(text[:8]), "positive": " ".join(text)} for text in texts))


def measure(command: tuple[str, ...], environ: dict[str, str], said: Path) -> tuple[int, float]:
    """Run a command up to its first line that begins with `step`; return its peak of memory in bytes, and its seconds.

    The memory is that of the process and of all that it has started, together; what it prints goes to `said`.
    Raises UserError: it failed.
    """
    start, peak = time.perf_counter(), 0
    with said.open("w") as file, Popen(command, env=environ, stdout=file, start_new_session=True) as main:
        while main.poll() is None and "\nstep" not in said.read_text():
            with suppress(psutil.NoSuchProcess):  # gone between two looks
                process = psutil.Process(main.pid)
                peak = max(peak, sum(p.memory_info().rss for p in (process, *process.children(recursive=True))))
            time.sleep(0.2)
        with suppress(ProcessLookupError):
            os.killpg(main.pid, signal.SIGKILL)
    if main.returncode > 0:
        raise UserError(f"{' '.join(command)} failed; see what it says above.")
    return peak, time.perf_counter() - start


def benchmark(queries: int) -> None:
    """Measure each of `STEPS` over pairs of random words; print memory and time. What they write is removed."""
    with TemporaryDirectory() as folder:
        make_pairs(queries, path := Path(folder) / "pairs.jsonl")
        environ = os.environ | {"PROFILE": "demo", "DATASET": str(path), "FORCE": "1"}
        profile = load_profile(environ=environ)
        try:
            for name, command in STEPS.items():
                peak, seconds = measure(command, environ, Path(folder) / "said")
                print(f"{name:28} {peak / 1e9:5.2f} GB  {tqdm.format_interval(seconds):>8}", flush=True)
            print(f"{queries:,} queries, {profile.training_file(50).stat().st_size / 1e9:.2f} GB of rows")
        finally:
            for made in (profile.data_dir, profile.output_dir):
                shutil.rmtree(made, ignore_errors=True)
