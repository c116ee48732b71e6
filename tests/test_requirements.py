import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import run_python

from helpers.base.profile import ROOT
from helpers.installed import lacking


def lines(name):
    return [line for line in (ROOT / name).read_text().splitlines() if line and not line.startswith("#")]


def test_every_line_is_pinned_and_explained():
    for line in lines("requirements.txt") + lines("requirements-ray.txt"):
        assert re.match(r"(-e \.|[\w-]+(\[data\])?==[\w.]+) +# .+$", line), line


def test_the_gpu_differs_in_faiss_alone():
    assert lines("requirements-gpu.txt") == [
        line.replace("faiss-cpu", "faiss-gpu") for line in lines("requirements.txt")
    ]


def test_installed(tmp_path):
    assert [] in (lacking(ROOT / "requirements.txt"), lacking(ROOT / "requirements-gpu.txt"))
    (tmp_path / "requirements.txt").write_text("pytest==0\nno-such-package==1.0  # why\n")
    assert lacking(tmp_path / "requirements.txt") == [
        f"pytest {pytest.__version__} for 0",
        "no-such-package missing for 1.0",
    ]


@pytest.mark.parametrize(
    ("settings", "line"),
    [
        ({}, r"^demo +PROFILE=demo works, without the Hub$"),
        ({}, r"^msmarco +PROFILE=msmarco will not work: it has to fetch bert-base-uncased, "),
        ({"DATASET": "nowhere.csv"}, r"^zh +PROFILE=zh will not work: DATASET=nowhere.csv: no such file"),
        ({"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HUB_OFFLINE": 0}, r"^hub +http://127.0.0.1:9 does not answer"),
    ],
)
def test_the_doctor_says_what_will_work(tmp_path, settings, line):
    done = run_python(ROOT, "-m", "helpers", "doctor", **{"HF_HOME": tmp_path} | settings)
    assert (done.returncode, done.stderr) == (0, "")
    assert re.search(line, done.stdout, re.M), done.stdout
    assert len(done.stdout.splitlines()) < 15


def test_another_clone_in_the_same_environment_is_noticed(tmp_path):
    shutil.copytree(ROOT / "helpers", tmp_path / "helpers")
    for name in ("requirements.txt", "requirements-gpu.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    status = [
        subprocess.run([sys.executable, root / "helpers/installed.py"], cwd="/", check=False).returncode
        for root in (ROOT, tmp_path)
    ]
    assert status == [0, 1]


@pytest.mark.skipif(not (ROOT / ".git").exists(), reason="not a clone")
def test_a_clone_of_windows_settings_runs(tmp_path):
    clone = tmp_path / "clone"
    git = ["git", "-c", "core.autocrlf=true", "-c", "core.eol=crlf"]
    subprocess.run([*git, "clone", "--quiet", ROOT, clone], check=True)
    names = subprocess.run([*git, "ls-files", "-z"], cwd=clone, capture_output=True, text=True, check=True).stdout
    files = [clone / name for name in names.split("\0") if name]
    assert not [path for path in files if path.suffix != ".png" and b"\r" in path.read_bytes()]
    for script in (path for path in files if path.suffix == ".sh"):
        subprocess.run(["bash", "-n", script], check=True)
    done = run_python(clone, "-m", "helpers", "settings")
    assert (done.returncode, done.stdout.splitlines()[0]) == (0, "PROFILE=demo"), done.stderr


@pytest.fixture
def elsewhere(tmp_path):
    """Return a function that sources environment.sh in a copy of the project, with a `python` that notes its calls.

    `python3 -m venv` makes an environment with another such python, to which pip brings the requirements after a while.
    """
    project, stub = tmp_path / "pro ject", tmp_path / "bin"
    for name in ("helpers/environment.sh", "helpers/installed.py", "requirements.txt", "requirements-gpu.txt"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, project / name)
    stub.mkdir()
    (stub / "python").write_text(
        f"""#!/bin/bash
echo "$PWD: $*" >> "{tmp_path}/calls"
case "$*" in
  *installed.py) echo "${{IN_FORCE:-requirements.txt}}"; [[ -e "{tmp_path}/installed" ]] ;;
  *pip*) sleep 1; touch "{tmp_path}/installed" ;;
  *) exit 1 ;;
esac
"""
    )
    (stub / "python3").write_text(
        f"""#!/bin/bash
if [[ $2 != venv ]]; then exec {sys.executable} "$@"; fi
echo "python3 $*" >> "{tmp_path}/calls"
mkdir -p "$3/bin" && cp "{stub}/python" "$3/bin"
printf "VIRTUAL_ENV=%q; PATH=%q:$PATH" "$3" "$3/bin" > "$3/bin/activate"
"""
    )
    (stub / "uname").write_text("#!/bin/bash\necho Linux\n")
    for path in stub.iterdir():
        path.chmod(0o755)

    def start(**variables):
        environ = {"PATH": f"{stub}:/usr/bin:/bin", **variables}
        command = ["bash", "-euc", 'source "$0"; echo "ready: $VIRTUAL_ENV"', str(project / "helpers/environment.sh")]
        return subprocess.Popen(
            command, env=environ, cwd="/", stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    def source(**variables):
        process = start(**variables)
        out, errors = process.communicate(timeout=60)
        calls = tmp_path / "calls"
        return process.returncode, out, errors, calls.read_text() if calls.exists() else ""

    source.start = start
    return project, source


@pytest.mark.parametrize(
    "active",
    [{"VIRTUAL_ENV": "/mine"}, {"CONDA_PREFIX": "/mine", "CONDA_DEFAULT_ENV": "work"}],
    ids=lambda v: next(iter(v)),
)
def test_an_environment_of_someones_own_is_not_filled_without_a_word(elsewhere, active):
    project, source = elsewhere
    status, out, errors, calls = source(**active)
    assert (status, out) == (2, "")
    assert errors == (
        f"error: /mine lacks some of requirements.txt; in {project} run pip install -r requirements.txt, "
        "or deactivate it to have a .venv made.\n"
    )
    assert "pip" not in calls
    (project.parent / "installed").touch()
    assert source(**active | {"VIRTUAL_ENV": "/mine"})[:3] == (0, "ready: /mine\n", "")


def test_the_active_environment_is_used_where_a_login_shell_has_forgotten_the_path(elsewhere, tmp_path):
    project, source = elsewhere
    (tmp_path / "installed").touch()
    (tmp_path / "mine").mkdir()
    (tmp_path / "bin").rename(tmp_path / "mine/bin")
    assert source(VIRTUAL_ENV=tmp_path / "mine")[:3] == (0, f"ready: {tmp_path}/mine\n", "")


@pytest.mark.parametrize("base", [{"CONDA_DEFAULT_ENV": "base"}, {}])
def test_condas_base_is_left_alone(elsewhere, tmp_path, base):
    project, source = elsewhere
    (tmp_path / "conda" / "condabin").mkdir(parents=True)
    status, out, _, calls = source(CONDA_PREFIX=str(tmp_path / "conda"), **base)
    assert status == 0
    assert out.endswith(f"ready: {project}/.venv\n")
    assert f"python3 -m venv {project}/.venv\n" in calls


def test_without_one_a_venv_is_made_once(elsewhere):
    project, source = elsewhere
    status, out, errors, calls = source()
    assert (status, errors) == (0, "")
    assert f"python3 -m venv {project}/.venv\n" in calls
    advice, installing, ready = out.splitlines()
    [pin] = [line.split()[0] for line in lines("requirements.txt") if line.startswith("torch==")]
    assert advice == (
        "No CUDA card: to spare gigabytes, stop this (Ctrl-C) and take the CPU build of PyTorch first: "
        f"{project}/.venv/bin/pip install {pin} --index-url https://download.pytorch.org/whl/cpu"
    )
    assert installing == f"Installing requirements.txt into {project}/.venv; this takes some minutes, once."
    assert ready == f"ready: {project}/.venv"
    assert calls.endswith(f"{project}: -m pip install -r requirements.txt\n")
    again = source()
    assert again[1] == f"ready: {project}/.venv\n"
    assert again[3].count("-m venv") == again[3].count("-m pip") == 1


def test_two_scripts_at_once_fill_it_once(elsewhere):
    project, source = elsewhere
    both = [source.start() for _ in range(2)]
    said = [process.communicate(timeout=60)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert sum("Installing requirements.txt" in out for out in said) == 1
    assert sum(f"Another script is checking or filling {project}/.venv; waiting for it." in out for out in said) == 1
    assert all(out.endswith(f"ready: {project}/.venv\n") for out in said)
    assert source()[3].count("-m venv") == 1


def test_what_is_in_force_stays_in_force(elsewhere):
    project, source = elsewhere
    *_, calls = source(IN_FORCE="requirements-gpu.txt")
    assert calls.endswith(f"{project}: -m pip install -r requirements-gpu.txt\n")


def test_faiss_for_a_gpu_decides_what_is_in_force(tmp_path):
    """By the metadata that pip writes, in a folder of a stand-in for the package."""
    info = tmp_path / "faiss_gpu-1.15.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: faiss-gpu\nVersion: 1.15.1\n")
    found = [
        subprocess.run(
            [sys.executable, ROOT / "helpers/installed.py"],
            env=os.environ | {"PYTHONPATH": path},
            cwd="/",
            capture_output=True,
            text=True,
            check=False,
        ).stdout
        for path in ("", str(tmp_path))
    ]
    assert found[1] == "requirements-gpu.txt\n"
    assert found[0] == ("requirements.txt\n" if not lacking(ROOT / "requirements.txt") else "requirements-gpu.txt\n")


def test_an_old_python_is_one_sentence(elsewhere):
    project, source = elsewhere
    (project.parent / "bin" / "python3").write_text("#!/bin/bash\nexit 1\n")
    status, _, errors, _ = source()
    assert status == 2
    assert errors == "error: Python 3.11 or newer is needed; install it, or activate an environment that has it.\n"


def test_the_readme_gives_the_same_advice():
    [pin] = [line.split()[0] for line in lines("requirements.txt") if line.startswith("torch==")]
    assert f"pip install {pin} --index-url https://download.pytorch.org/whl/cpu" in (ROOT / "README.md").read_text()
