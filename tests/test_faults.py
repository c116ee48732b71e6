"""What a kill -9 and a full disk leave of each kind of artefact: nothing wrong taken for whole, nothing for good."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import environ_of

from helpers.base.profile import ROOT

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
