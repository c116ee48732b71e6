"""The rooms of `helpers/` and what importing them costs."""

import re
import subprocess
import sys

import helpers
from helpers.base.profile import ROOT

ROOMS = re.findall(r"^(\w+)  +\S", helpers.__doc__, re.M)
HEAVY = {"torch", "transformers", "datasets", "faiss", "sentence_transformers", "FlagEmbedding"}


def test_imports_run_one_way():
    assert sorted(ROOMS) == sorted(
        path.name for path in (ROOT / "helpers").iterdir() if (path / "__init__.py").exists()
    )
    for number, room in enumerate(ROOMS):
        for path in (ROOT / "helpers" / room).glob("*.py"):
            used = re.findall(r"^\s*(?:from|import) helpers\.(\w+)", path.read_text(), re.M)
            assert set(used) <= set(ROOMS[: number + 1]), path


def test_few_modules_lie_flat():
    assert len([path for path in (ROOT / "helpers").glob("*.py") if path.stem != "__init__"]) <= 6


def test_whoever_makes_tables_waits_for_no_torch():
    """Of the rooms up to the evaluation, the faces and all modules."""
    modules = [
        f"helpers.{room}.{path.stem}"
        for room in ROOMS[: ROOMS.index("evaluation") + 1]
        for path in (ROOT / "helpers" / room).glob("*.py")
    ]
    script = f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=True)
    assert HEAVY.isdisjoint(done.stdout.split())


def test_the_map_names_every_module():
    """In the table of rooms, one row each."""
    text = (ROOT / "CONTRIBUTING.md").read_text()
    for room in ROOMS:
        [row] = [line for line in text.splitlines() if line.startswith(f"| `{room}/`")]
        for path in (ROOT / "helpers" / room).glob("*.py"):
            assert path.stem == "__init__" or f"`{path.stem}`" in row, path
