import re

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
