"""Tell by the exit status whether this Python has all that the project runs on; print the file that names it.

That is requirements-gpu.txt where FAISS for a GPU is installed, and requirements.txt elsewhere: both own the package
`faiss`, and one installed over the other would be neither.
"""

import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def in_force() -> str:
    """Return the name of the requirements that this Python follows."""
    try:
        version("faiss-gpu")
    except PackageNotFoundError:
        return "requirements.txt"
    return "requirements-gpu.txt"


def installed(requirements: Path) -> bool:
    """Return whether every `name==version` line is installed."""
    pins = [line.split()[0] for line in requirements.read_text().splitlines() if "==" in line]
    try:
        return all(version(name).partition("+")[0] == pinned for name, pinned in (pin.split("==") for pin in pins))
    except PackageNotFoundError:
        return False


def helpers_are_ours() -> bool:
    """Return whether `import helpers` finds this folder, and not that of another clone installed into this Python."""
    spec = find_spec("helpers")
    return spec is not None and spec.origin is not None and Path(spec.origin).resolve().parent == ROOT / "helpers"


if __name__ == "__main__":
    print(in_force())
    sys.exit(not (installed(ROOT / in_force()) and helpers_are_ours()))
