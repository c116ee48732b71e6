"""What is made once, made again when what it is made from is another, and never half there."""

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from helpers.base.errors import UserError
from helpers.base.files import whole_file
from helpers.base.fingerprint import model_fingerprint
from helpers.base.manifest import MANIFEST, code_of, differing, make, manifest_of, read_manifest, write_manifest
from helpers.base.profile import ROOT


class Maker:
    """Makes `one.txt` and `two.txt`, and counts how often."""

    def __init__(self, folder):
        self.files = [folder / "one.txt", folder / "two.txt"]
        self.manifest = manifest_of(self.files[0])
        self.count = 0

    def __call__(self, **made_from):
        return make(self.manifest, made_from, self.write, self.files)

    def write(self):
        self.count += 1
        for file in self.files:
            with whole_file(file) as opened:
                opened.write(f"made {self.count} times")
        return {"count": self.count}


@pytest.fixture
def maker(tmp_path):
    return Maker(tmp_path / "some" / "folder")


def visible(folder):
    """Return what is in a folder, less the locks, which stay."""
    return sorted(path.name for path in folder.iterdir() if not path.name.endswith(".lock"))


def test_what_is_made_from_the_same_is_not_made_again(maker, capsys):
    made = maker(seed=1, texts=["a", "b"])
    assert made == {"made_from": {"seed": 1, "texts": ["a", "b"]}, "files": {"one.txt": 12, "two.txt": 12}, "count": 1}
    assert maker(texts=["a", "b"], seed=1) == made == read_manifest(maker.manifest)
    assert maker.count == 1
    assert capsys.readouterr().out == ""
    assert visible(maker.manifest.parent) == ["one.made.json", "one.txt", "two.txt"]


@pytest.mark.parametrize(
    ("now", "named"),
    [
        ({"seed": 2, "texts": "a"}, "seed"),
        ({"seed": 2, "texts": "b"}, "seed, texts"),
        ({"seed": 1}, "texts"),
        ({"seed": 1, "texts": "a", "code": "x"}, "code"),
    ],
)
def test_what_is_made_from_something_else_is_made_again_and_says_so(maker, capsys, now, named):
    maker(seed=1, texts="a")
    assert maker(**now)["made_from"] == now
    assert maker.files[0].read_text() == "made 2 times"
    said = f"some/folder/one.txt is made again: it was made from other {named}.\n"
    assert capsys.readouterr().out == said
    maker(**now)
    assert maker.count == 2


@pytest.mark.parametrize("part", [0, 1, "manifest"])
@pytest.mark.parametrize("how", ["gone", "longer", "empty"])
def test_what_is_not_whole_is_made_again(maker, part, how, capsys):
    maker(seed=1)
    path = maker.manifest if part == "manifest" else maker.files[part]
    if how == "gone":
        path.unlink()
    else:
        path.write_text(path.read_text() + "x" if how == "longer" else "")
    assert read_manifest(maker.manifest) is None
    maker(seed=1)
    assert (maker.count, [file.read_text() for file in maker.files]) == (2, ["made 2 times"] * 2)
    assert capsys.readouterr().out == ""  # it was not made from anything else


@pytest.mark.parametrize(
    "content", ["", "null", "[]", "{}", '{"files": []}', '{"made_from": {}, "files": null}', "\xff"]
)
def test_what_is_no_manifest_counts_as_none(tmp_path, content):
    (tmp_path / "x.made.json").write_text(content, encoding="latin1")
    assert read_manifest(tmp_path / "x.made.json") is None


def test_a_folder_has_its_manifest_in_it(tmp_path, capsys):
    folder = tmp_path / "models" / "small"

    def write():
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "weights.bin").write_bytes(b"12345")
        (folder / ".hidden").touch()

    assert make(folder / MANIFEST, {"base": "a"}, write)["files"] == {"weights.bin": 5}
    make(folder / MANIFEST, {"base": "a"}, lambda: pytest.fail("made again"))
    before = model_fingerprint(folder)
    make(folder / MANIFEST, {"base": "b"}, write)
    assert capsys.readouterr().out.endswith("/models/small is made again: it was made from other base.\n")
    assert model_fingerprint(folder) == before  # the manifest is no part of the model


def test_a_manifest_stands_wherever_its_files_are(tmp_path):
    for name in ("results", "runs"):
        (tmp_path / name).mkdir()
    run = tmp_path / "runs" / "raw.trec"
    run.write_text("1234")
    made = write_manifest(tmp_path / "results" / "raw.json", {"model": "a"}, [run], more=1)
    assert made == {"made_from": {"model": "a"}, "files": {"../runs/raw.trec": 4}, "more": 1}
    shutil.move(tmp_path / "results", tmp_path / "moved")
    assert read_manifest(tmp_path / "moved" / "raw.json") == made
    run.write_text("123")
    assert read_manifest(tmp_path / "moved" / "raw.json") is None


@pytest.mark.parametrize("before", [False, True])
def test_a_write_that_fails_leaves_no_manifest(maker, before):
    """Also not that of what stood there before, of which a file may already be another."""
    if before:
        maker(seed=1)

    def failing():
        with whole_file(maker.files[0]) as file:
            file.write("made 9 times")
        raise UserError("no room")

    with pytest.raises(UserError, match="no room"):
        make(maker.manifest, {"seed": 2}, failing, maker.files)
    assert not maker.manifest.exists()
    maker(seed=1)
    assert maker.files[0].read_text() == f"made {maker.count} times"


def test_a_folder_that_cannot_be_written_is_the_writers_sentence(tmp_path):
    (tmp_path / "file").touch()
    maker = Maker(tmp_path / "file" / "folder")
    with pytest.raises(UserError, match="one.made.json was not written: "):
        maker(seed=1)


# A process that makes a file in the folder that it is given, of which two can be run at once.
PROCESS = """
import os, sys, time
from pathlib import Path
from helpers.base import make, manifest_of, whole_file

name, folder = sys.argv[1], Path(sys.argv[2])
path = folder / "thing [1].txt"

def write():
    with whole_file(path) as file:
        file.write(name)
        file.flush()
        (folder / f"writing.{name}").touch()
        while name == "killed" or len(list(folder.glob("there.*"))) < 2:
            time.sleep(0.02)
        time.sleep(1.5)  # longer than the other waits in silence
    return {"maker": name}

(folder / f"there.{name}").touch()
print(make(manifest_of(path), {"seed": 1}, write, [path])["maker"])
"""


def start(name, folder):
    command = [sys.executable, "-c", PROCESS, name, folder]
    return subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=os.environ
    )


def test_two_processes_at_once_make_it_once(tmp_path):
    both = [start(name, tmp_path) for name in ("a", "b")]
    said = [process.communicate(timeout=60)[0].splitlines() for process in both]
    assert [process.returncode for process in both] == [0, 0]
    [maker] = [path.suffix[1:] for path in tmp_path.glob("writing.*")]
    waited = "Another process is making thing [1]; waiting for it."
    assert sorted(said, key=len) == [[maker], [waited, maker]]
    assert (tmp_path / "thing [1].txt").read_text() == maker


def test_what_a_killed_process_leaves_is_removed_and_made_again(tmp_path, capsys):
    process = start("killed", tmp_path)
    begun = time.monotonic()
    while not (tmp_path / "writing.killed").exists():
        assert time.monotonic() - begun < 60
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    path, other = tmp_path / "thing [1].txt", tmp_path / ".thing 1.txt.0123.tmp"
    other.touch()  # of another file
    [left] = (file for file in tmp_path.glob(".*.tmp") if file != other)
    assert left.read_text() == "killed"
    assert not path.exists()
    make(manifest_of(path), {"seed": 1}, lambda: path.write_text("made") and None, [path])
    assert list(tmp_path.glob(".*.tmp")) == [other]
    assert read_manifest(manifest_of(path))["files"] == {path.name: 4}
    assert capsys.readouterr().out == ""  # the lock went with its process


def test_the_names_that_differ():
    assert differing({"a": 1, "b": [1, 2]}, {"b": [1, 2], "a": 1}) == ""
    assert differing({"a": 1, "b": 2, "c": 3}, {"b": 3, "c": 3, "d": 4}) == "a, b, d"


def test_the_fingerprint_of_code_is_that_of_all_modules_beside_it(tmp_path):
    for name in ("one.py", "two.py"):
        (tmp_path / name).write_text("x = 1\n")
    module = str(tmp_path / "one.py")
    found = [code_of(module), code_of(str(tmp_path / "two.py"))]
    (tmp_path / "notes.txt").touch()
    found.append(code_of(module))
    assert len(set(found)) == 1
    for name, text in (("two.py", "x = 2\n"), ("one.py", "x = 2\n"), ("three.py", "")):
        (tmp_path / name).write_text(text)
        found.append(code_of(module))
    assert len(set(found)) == 4
