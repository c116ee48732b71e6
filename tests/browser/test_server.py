"""JupyterLab's server as the README starts it: what its root shows, what it opens, and where a terminal begins."""

import json
import re
import urllib.request

import psutil
import pytest
from lab import TOKEN, Lab

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def lab(project, tmp_path_factory):
    lab = Lab(project, tmp_path_factory.mktemp("home"), {})
    yield lab.address, lab.process
    lab.stop()


def get(address, path, method="GET"):
    with urllib.request.urlopen(urllib.request.Request(f"{address}{path}?token={TOKEN}", method=method)) as answer:
        return answer.url, answer.read().decode()


def test_the_root_shows_scripts_notebooks_and_data(lab):
    names = {entry["name"] for entry in json.loads(get(lab[0], "/api/contents")[1])["content"]}
    assert {"notebooks", "ft_data", "output", "finetune_neg10.sh", "run_all.sh", "README.md"} <= names


def test_the_first_notebook_is_open_and_no_news_are_fetched(lab):
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
