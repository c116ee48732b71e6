"""JupyterLab's server as the README starts it: who may use it, what it shows and opens, where a terminal begins."""

import json
import re
import urllib.error
import urllib.request

import psutil
import pytest
from lab import Lab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(project, tmp_path_factory):
    lab = Lab(project, tmp_path_factory.mktemp("home"), {})
    yield lab
    lab.stop()


def get(lab, path, method="GET"):
    address = f"{lab.address}{path}?token={lab.token}"
    with urllib.request.urlopen(urllib.request.Request(address, method=method)) as answer:
        return answer.url, answer.read().decode()


def test_no_one_else_gets_in(lab):
    """Neither from another machine, nor from this one without the token."""
    places = [c.laddr.ip for c in psutil.Process(lab.process.pid).net_connections("inet") if c.status == "LISTEN"]
    assert places and set(places) <= {"127.0.0.1", "::1"}
    assert len(lab.token) >= 32
    for token in ("", "?token=", f"?token={lab.token[:-1]}"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            urllib.request.urlopen(f"{lab.address}/api/contents{token}")


def test_the_root_shows_scripts_notebooks_and_data(lab):
    names = {entry["name"] for entry in json.loads(get(lab, "/api/contents")[1])["content"]}
    assert {"notebooks", "ft_data", "output", "finetune_neg10.sh", "run_all.sh", "README.md"} <= names


def test_the_first_notebook_is_open_and_no_news_are_fetched(lab):
    url, page = get(lab, "/")
    assert "/lab/tree/notebooks/01_build_train_dataset.ipynb" in url
    assert re.search(r'"news": \{"disabled": true\}', page)


def test_a_terminal_starts_where_the_scripts_are(lab, project):
    get(lab, "/api/terminals", method="POST")
    shells = psutil.Process(lab.process.pid).children(recursive=True)
    assert str(project) in {shell.cwd() for shell in shells}


def test_links_inside_the_notebooks_lead_somewhere(lab, project):
    """Relative links are resolved from the notebook's folder, inside the root: none may climb out of it."""
    for path in (project / "notebooks").glob("*.ipynb"):
        for target in re.findall(r"\]\(([^)#:\s]+)\)", path.read_text(encoding="utf8")):
            file = (path.parent / target).resolve()
            assert file.is_relative_to(project)
            entry = json.loads(get(lab, f"/api/contents/{file.relative_to(project).as_posix()}")[1])
            assert entry["name"] == file.name
