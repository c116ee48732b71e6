"""What the notebooks show in the repository is what their code prints: those that need no training run under `demo`.

In a copy of the project, so that nobody's own results are touched. For 04, 05 and 07, which need one, test_notebooks.py
holds their tables against each other.
"""

import re

import nbformat
import pytest
from conftest import run_python

from helpers.base.profile import ROOT

pytestmark = pytest.mark.slow

SECONDS = re.compile(r"\d+\.\d+ s\b")
NUMBER = re.compile(r"-?\d+\.\d+")
ELSEWHERE = "results_table"  # its rows are all results so far, of which the copy has fewer


def lines(cell):
    """Return what a cell has put out as plain lines, less blank ones, without the seconds that something took."""
    texts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
    return [SECONDS.sub("s", line).strip() for text in texts for line in text.splitlines() if line.strip()]


def same(a, b):
    """Tell whether two lines have the same words and, in the same places, nearly the same numbers."""
    if NUMBER.sub("#", a).split() != NUMBER.sub("#", b).split():
        return False
    return all(abs(float(x) - float(y)) < 2e-3 for x, y in zip(NUMBER.findall(a), NUMBER.findall(b), strict=True))


@pytest.mark.parametrize(
    "words", ["01_build_train_dataset neg_num=10", "02_build_eval_dataset", "03_eval_raw_bert", "06_eval_bge_m3"]
)
def test_the_tables_are_what_the_code_prints(project, words):
    stem, *_ = words.split()
    if stem.startswith("02"):  # it shows an audit of each training set that is there
        run_python(project, "-m", "helpers", "notebook", "01_build_train_dataset", "neg_num=50", PROFILE="demo")
    done = run_python(project, "-m", "helpers", "notebook", *words.split(), PROFILE="demo")
    assert done.returncode == 0, done.stderr
    [executed] = (project / "output" / "demo" / "notebooks").glob(f"{stem}*.ipynb")
    cells = [c for c in nbformat.read(executed, 4).cells if "injected-parameters" not in c.metadata.get("tags", [])]
    stored = nbformat.read(ROOT / "notebooks" / f"{stem}.ipynb", 4).cells
    compared = 0
    for cell, before in zip(cells, stored, strict=True):
        assert cell.source == before.source
        if cell.cell_type != "code":
            continue
        if ELSEWHERE in cell.source:
            assert all(any(same(line, other) for other in lines(before)) for line in lines(cell)), cell.source
        else:
            assert len(lines(cell)) == len(lines(before)), cell.source
            for line, other in zip(lines(cell), lines(before), strict=True):
                assert same(line, other), f"printed now: {line}\nstored: {other}"
        compared += len(lines(cell))
    assert compared > 10


def now_and_stored(line):
    now, before = re.search(r"ndcg@10 now ([\d.]+), stored ([\d.]+)$", line).groups()
    return float(now) == pytest.approx(float(before), abs=0.02)


def test_the_quickest_of_the_recipes(project):
    done = run_python(project, "-m", "helpers", "benchmark", "recipes", "--smallest", PROFILE="demo")
    assert done.returncode == 0, done.stderr
    assert now_and_stored(done.stdout.splitlines()[-1])
    assert not list((project / "output").glob("demo-part*"))


def test_pairs_of_ones_own_and_the_learning_curve(project):
    """09 with shorter trainings: what stands above them is what is stored, and the quickest point of the curve, too.

    On another machine sums are of another order, after a few steps the weights a little other ones, and some of 658
    queries find their passage a rank higher or lower: one more or fewer at rank 1 is 0.0015.
    """
    done = run_python(project, "-m", "helpers", "notebook", "09_your_own_pairs", "epochs=1", PROFILE="demo")
    assert done.returncode == 0, done.stderr
    [executed] = (project / "output" / "demo" / "notebooks").glob("09*.ipynb")
    cells = [c for c in nbformat.read(executed, 4).cells if "injected-parameters" not in c.metadata.get("tags", [])]
    stored = nbformat.read(ROOT / "notebooks" / "09_your_own_pairs.ipynb", 4).cells
    trainings = next(number for number, cell in enumerate(cells) if "train_on" in cell.source)
    for cell, before in zip(cells[:trainings], stored[:trainings], strict=True):
        assert len(lines(cell)) == len(lines(before)), cell.source
        for line, other in zip(lines(cell), lines(before), strict=True):
            steps = line.startswith("steps at learning rate 0")  # of how many is another matter with other `epochs`
            assert steps or same(line, other), f"printed now: {line}\nstored: {other}"
    *_, last = lines([cell for cell in cells if cell.cell_type == "code"][-1])
    assert now_and_stored(last)
    assert not list((project / "output").glob("demo-part*"))  # what the point has written is gone
