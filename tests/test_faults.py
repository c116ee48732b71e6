"""What a kill -9 and a full disk leave of each kind of artefact: nothing wrong taken for whole, nothing for good."""

import os
import random
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from conftest import environ_of, make_pairs, run_bash, write_jsonl

from helpers.base.manifest import read_manifest
from helpers.base.profile import ROOT, load_profile

KINDS = ("pairs", "base", "training_set", "eval_set", "vectors", "audit", "result", "model")


def attempts(kind: str, fault: str, folder: Path, tiny_bert: Path, scratch: Path) -> str:
    scratch.mkdir()
    command = [sys.executable, ROOT / "tests" / "faults.py", kind, fault, folder, tiny_bert, scratch]
    environ = environ_of(ROOT, {"HF_HUB_OFFLINE": 1, "OMP_NUM_THREADS": 1})
    environ["PYTHONPATH"] += f":{ROOT / 'tests'}"  # run_tests.sh keeps a script's own folder out of the path
    done = subprocess.run(command, cwd="/", env=environ, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_after_a_kill_nothing_wrong_is_taken_for_whole_and_a_rerun_makes_it(kind, tmp_path, certain_bert):
    folder = tmp_path / "project"
    folder.mkdir()
    assert ", kill: 8 of " in attempts(kind, "kill", folder, certain_bert, tmp_path / "scratch")


@pytest.fixture
def small_disk(tmp_path, kind):
    """A folder that is a disk of a megabyte; a model with its checkpoints needs some more."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=4m" if kind == "model" else "size=1m", "tmpfs", folder]
    if os.geteuid() != 0 or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("a small disk can only be mounted by root")
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_one_sentence_and_a_rerun_makes_it(kind, small_disk, tmp_path, certain_bert):
    assert ", full: 8 of " in attempts(kind, "full", small_disk, certain_bert, tmp_path / "scratch")


@pytest.mark.slow
def test_a_series_that_is_killed_goes_on_to_its_end(project, certain_bert, tiny_embedder, tmp_path):
    pairs = write_jsonl(tmp_path / "killed.jsonl", make_pairs(100))
    settings = {"PROFILE": "test", "DATASET": pairs, "BASE_MODEL": certain_bert, "BASE_LAYERS": 1, "MAX_PAIRS": 0}
    settings |= {"REFERENCE_MODEL": tiny_embedder, "SAVE_STEPS": 3, "EVAL_STEPS": 0, "LOGGING_STEPS": 1}
    profile = load_profile("test", {key: str(value) for key, value in settings.items()})
    output, data = (project / kind / profile.run_name for kind in ("output", "ft_data"))
    rng = random.Random(12)
    command, environ = ["bash", project / "run_all.sh"], environ_of(project, settings)
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as series:
        for _ in range(rng.randrange(10, 30)):  # lines, of which the trainings print most
            assert series.stdout.readline()
        time.sleep(rng.random())
        for process in (psutil.Process(series.pid), *psutil.Process(series.pid).children(recursive=True)):
            process.kill()
    assert not (output / "results" / "neg50.json").exists()
    done = run_bash(project / "run_all.sh", **settings, RESUME=1)
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line.split()[0] for line in done.stdout.splitlines()[-5:]] == ["bm25", "raw", "neg10", "neg50", "reference"]
    assert "Left out" not in done.stdout
    assert not [path for folder in (output, data) for path in folder.rglob("*") if ".tmp" in path.name]
    manifests = [*data.glob("*.made.json"), *output.rglob("*.made.json"), *output.glob("*first1/made.json")]
    manifests += [*output.glob("results/*.json"), *output.glob("*_neg*/checkpoint-*/made.json")]
    assert len(manifests) > 20
    assert all(map(read_manifest, manifests))
