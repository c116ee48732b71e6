import os
import re
import shutil
import subprocess
import sys

import pytest

from helpers.installed import installed
from helpers.profile import ROOT


def lines(name):
    return [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]


def test_every_line_is_pinned_and_explained():
    for line in lines("requirements.txt"):
        assert re.match(r"(-e \.|[\w-]+==[\w.]+) +# .+$", line), line


def test_the_gpu_differs_in_faiss_alone():
    assert lines("requirements-gpu.txt") == [
        line.replace("faiss-cpu", "faiss-gpu") for line in lines("requirements.txt")
    ]


def test_installed(tmp_path):
    assert installed(ROOT / "requirements.txt") or installed(ROOT / "requirements-gpu.txt")
    for pin in ("numpy==0.0.1", "no-such-package==1.0"):
        (tmp_path / "requirements.txt").write_text(f"pytest==0\n{pin}  # why\n")
        assert not installed(tmp_path / "requirements.txt")


def test_another_clone_in_the_same_environment_is_noticed(tmp_path):
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers")
    for name in ("requirements.txt", "requirements-gpu.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    status = [
        subprocess.run([sys.executable, root / "helpers/installed.py"], cwd="/", check=False).returncode
        for root in (ROOT, tmp_path)
    ]
    assert status == [0, 1]


@pytest.fixture
def elsewhere(tmp_path):
    """Return a function that sources environment.sh in a copy of the project, with a `python` that notes its calls.

    That python has no packages, so the pins are missing; `python3 -m venv` makes an environment with another such one.
    """
    project, stub = tmp_path / "pro ject", tmp_path / "bin"
    for name in ("helpers/environment.sh", "helpers/installed.py", "requirements.txt"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    stub.mkdir()
    (stub / "python").write_text(f'#!/bin/bash\necho "$PWD: $*" >> "{tmp_path}/calls"\n[[ $1 != *installed.py ]]\n')
    (stub / "python3").write_text(
        f'#!/bin/bash\necho "python3 $*" >> "{tmp_path}/calls"\n[[ $2 != venv ]] && exit "${{OLD:-0}}"\n'
        f'mkdir -p "$3/bin" && cp "{stub}/python" "$3/bin" && printf VIRTUAL_ENV=%q "$3" > "$3/bin/activate"\n'
    )
    for path in stub.iterdir():
        path.chmod(0o755)

    def source(**variables):
        environ = {"PATH": f"{stub}:{os.environ['PATH']}", **variables}
        command = ["bash", "-euc", 'source "$0"', str(project / "helpers/environment.sh")]
        done = subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False)
        return done, (tmp_path / "calls").read_text()

    return project, source


@pytest.mark.parametrize("kind", ["VIRTUAL_ENV", "CONDA_PREFIX"])
def test_an_active_environment_is_used(elsewhere, kind):
    project, source = elsewhere
    done, calls = source(**{kind: "/mine"})
    assert done.returncode == 0
    assert "Installing requirements.txt into /mine" in done.stdout
    assert calls.endswith(f"{project}: -m pip install -r requirements.txt\n")
    assert "venv" not in calls


def test_without_one_a_venv_is_made(elsewhere):
    project, source = elsewhere
    done, calls = source()
    assert done.returncode == 0
    assert f"python3 -m venv {project}/.venv\n" in calls
    assert f"Installing requirements.txt into {project}/.venv" in done.stdout
    assert source()[1].count("-m venv") == 1


def test_an_old_python_is_one_sentence(elsewhere):
    done, _ = elsewhere[1](OLD="1")
    assert done.returncode == 2
    assert done.stderr == "error: Python 3.11 or newer is needed; install it, or activate an environment that has it.\n"
