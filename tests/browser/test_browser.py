"""The series in JupyterLab as a person uses it: a real browser, real kernels, a terminal.

One test goes on from another. In each, no saved notebook may show an error, and no console of the browser say one.
"""

import json
import os
from pathlib import Path

import pytest
from lab import Lab, Notebook, find_browser, until
from playwright.sync_api import expect, sync_playwright

from helpers.base.profile import ROOT

PICTURES = ROOT / "output" / "browser"  # the README's, to be copied to docs/
LOOK = ("font-size", "font-family", "padding", "text-align", "color", "background-color", "border-bottom-width")

pytestmark = pytest.mark.slow


# Docstrings and MiniLM as in `demo`, but few of them, and long enough to be watched.
SETTINGS = {"PROFILE": "test", "POOLING": "mean", "LEARNING_RATE": 3e-4, "EPOCHS": 4}


@pytest.fixture(scope="module")
def lab(project, tmp_path_factory):
    lab = Lab(project, tmp_path_factory.mktemp("home"), SETTINGS)
    yield lab
    lab.stop()


@pytest.fixture(scope="module")
def chromium():
    if not (path := find_browser()):
        missing = "there is no Chromium; install Debian's package `chromium`"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    with sync_playwright() as started:
        found = started.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield found
        found.close()


@pytest.fixture
def open_notebook(lab, chromium):
    """Return a function that opens a notebook in a window of its own; at the end no console may have said anything."""
    pages, said = [], []

    def open_(name: str) -> Notebook:
        page = chromium.new_page(viewport={"width": 1250, "height": 900})
        pages.append(page)
        page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
        page.on("pageerror", lambda error: said.append(str(error)))
        return Notebook(lab, page, name)

    yield open_
    for page in pages:
        page.close()
    assert not said


@pytest.fixture(scope="module")
def pictures() -> Path:
    PICTURES.mkdir(parents=True, exist_ok=True)
    return PICTURES


def test_another_number_of_negatives(open_notebook, lab):
    notebook = open_notebook("01_build_train_dataset")
    notebook.edit("neg_num = 10", "neg_num = 25")
    assert all(cell.execution_count for cell in notebook.run_all())
    assert (lab.project / "ft_data/test/training_neg_25.json").exists()
    assert not notebook.page.locator(".Toastify").get_by_role("button").count()  # nothing is asked


def test_a_terminal_trains_while_a_notebook_follows(open_notebook, lab, pictures):
    script = (lab.project / "finetune_neg10.sh").read_text(encoding="utf8")
    (lab.project / "finetune_neg25.sh").write_text(script.replace("neg_num=10", "neg_num=25"), encoding="utf8")
    notebook = open_notebook("01_build_train_dataset")
    seen, log = lab.project / "seen", lab.project / "neg25.log"
    notebook.terminal(
        f"bash finetune_neg25.sh > {log.name} 2>&1 &", f"tail -F {log.name} 2> /dev/null | tee {seen.name}"
    )
    until(lambda: seen.exists() and "\nstep" in seen.read_text(), "the first step in the terminal")
    notebook.show()
    notebook.add('from helpers.training.curve import follow\nfollow("neg25")')
    shown = notebook.page.locator(".jp-OutputArea-output img").last
    curves = set()
    until(lambda: "step  90" in log.read_text(), "two thirds of the training")
    shown.scroll_into_view_if_needed()
    notebook.page.screenshot(path=pictures / "training.png")
    until(lambda: curves.add(shown.get_attribute("src")) or notebook.state() == "idle", "the training's end")
    assert len(curves) > 3
    assert "\nfinished: " in log.read_text()
    *_, last = notebook.saved()
    assert [output.output_type for output in last.outputs] == ["display_data"]  # it did not die


def test_two_notebooks_at_once_and_one_that_is_interrupted(open_notebook, lab):
    open_notebook("02_build_eval_dataset").run_all()
    raw, tuned = open_notebook("03_eval_raw_bert"), open_notebook("04_eval_neg10")
    tuned.edit('name = "neg10"', 'name = "neg25"')
    raw.menu("Run", "Run All Cells")
    tuned.add("import time\ntime.sleep(600)")
    tuned.menu("Kernel", "Interrupt Kernel")
    with pytest.raises(AssertionError, match="KeyboardInterrupt"):
        tuned.finish()
    tuned.edit("time.sleep(600)", "time.sleep(0)")
    tuned.run_all()
    raw.finish()
    results = lab.project / "output/test/results"
    assert sorted(path.stem for path in results.glob("*.json")) == ["neg25", "raw"]


def test_questions_of_all_kinds(open_notebook, lab, pictures):
    open_notebook("06_eval_bge_m3").run_all()
    notebook = open_notebook("07_compare_models")
    notebook.edit('"neg10"', '"neg25"')
    notebook.run_all()
    box = notebook.page.locator(".jp-OutputArea-output .widget-text input").last
    answer = notebook.page.locator(".widget-html-content").last
    box.scroll_into_view_if_needed()
    *_, row = (lab.project / "ft_data/test/eval_dataset.json").read_text(encoding="utf8").splitlines()
    for question in ("怎么重置密码？", "", "kernel " * 715, json.loads(row)["query"]):
        before = answer.inner_html()
        box.fill(question)
        box.press("Enter")
        until(lambda before=before: answer.inner_html() != before, f"an answer to {question[:20]!r}", 60)
        expect(answer.locator("tbody tr")).to_have_count(5)
    assert "★" in answer.inner_text()
    box.evaluate("element => element.scrollIntoView()")
    notebook.page.screenshot(path=pictures / "search_box.png")
    for theme in ("JupyterLab Light", "JupyterLab Dark"):
        notebook.theme(theme)
        ours, theirs = (
            [place.evaluate("(e, name) => getComputedStyle(e)[name]", name) for name in LOOK]
            for place in (answer.locator("tbody tr").first.locator("td").first, notebook.table_cell())
        )
        assert ours == theirs
