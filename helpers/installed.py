"""Tell by the exit status whether this Python has all that the project runs on; print the file that names it."""

import sys
from importlib.metadata import distributions
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def lacking(requirements: Path) -> list[str]:
    """Return what each `name==version` line asks for that is missing or installed in another version, and in which."""
    found = []
    for line in requirements.read_text().splitlines():
        if "==" in line:
            name, pin = line.split()[0].split("==")
            here = next((part.version.partition("+")[0] for part in distributions(name=name)), "missing")
            found += [f"{name} {here} for {pin}"] if here != pin else []
    return found


def in_force() -> Path:
    """Return the file that names what is to be installed; both FAISS own the package `faiss`, so there is one."""
    return ROOT / ("requirements-gpu.txt" if any(distributions(name="faiss-gpu")) else "requirements.txt")


if __name__ == "__main__":
    print(in_force().name)
    found = getattr(find_spec("helpers"), "origin", None)  # of this folder, or of another clone that pip installed
    ours = found is not None and Path(found).resolve().parent == ROOT / "helpers"
    sys.exit(bool(lacking(in_force())) or not ours)
