"""JupyterLab as the README starts it: what its root shows, what it opens, and where a terminal begins."""

import json
import re
import socket
import subprocess
import time
import urllib.error
import urllib.request

import psutil
import pytest
from conftest import environ_of

from helpers.base.profile import ROOT

COMMAND = "jupyter lab --config jupyter_lab_config.py"
TOKEN = "token=loopback"

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(project, tmp_path_factory):
    """The address of a JupyterLab over a copy of the project, with settings of nobody, and its process."""
    assert f"\n{COMMAND}\n" in (ROOT / "README.md").read_text()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = tmp_path_factory.mktemp("home")
    environ = environ_of(
        project, {"HOME": home, "JUPYTER_CONFIG_DIR": home / "config", "JUPYTER_DATA_DIR": home / "data"}
    )
    more = f"--no-browser --allow-root --port {port} --IdentityProvider.token=loopback"
    process = subprocess.Popen(
        [*COMMAND.split(), *more.split()],
        cwd=project,
        env=environ,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    address = f"http://127.0.0.1:{port}"
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/api?{TOKEN}")
            break
        except urllib.error.URLError:
            time.sleep(0.2)
    yield address, process
    process.terminate()
    process.wait(timeout=30)


def get(address, path, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(f"{address}{path}?{TOKEN}", method=method)) as answer:
        return answer.url, answer.read().decode()


def test_the_root_shows_scripts_notebooks_and_data(lab):
    names = {entry["name"] for entry in json.loads(get(lab[0], "/api/contents")[1])["content"]}
    assert {"notebooks", "ft_data", "output", "finetune_neg10.sh", "run_all.sh", "README.md"} <= names


def test_the_first_notebook_is_open_and_nothing_asks_about_news(lab):
    url, page = get(lab[0], "/")
    assert "/lab/tree/notebooks/01_build_train_dataset.ipynb" in url
    assert re.search(r'"news": \{"disabled": true\}', page)


def test_a_terminal_starts_where_the_scripts_are(lab, project):
    address, process = lab
    get(address, "/api/terminals", method="POST")
    shells = psutil.Process(process.pid).children(recursive=True)
    assert str(project) in {shell.cwd() for shell in shells}


def test_links_inside_the_notebooks_lead_somewhere(lab, project):
    """Relative links are resolved from the notebook's folder, inside the root: none may climb out of it."""
    for path in (project / "notebooks").glob("*.ipynb"):
        for target in re.findall(r"\]\(([^)#:\s]+)\)", path.read_text(encoding="utf8")):
            file = (path.parent / target).resolve()
            assert file.is_relative_to(project)
            assert (
                json.loads(get(lab[0], f"/api/contents/{file.relative_to(project).as_posix()}")[1])["name"] == file.name
            )
