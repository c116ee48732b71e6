"""Tell by the exit status whether this Python has all that requirements.txt, or its GPU twin, pins."""

import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def installed(requirements: Path) -> bool:
    """Return whether every `name==version` line, and this project itself, is installed."""
    pins = [line.split()[0] for line in requirements.read_text().splitlines() if "==" in line]
    try:
        version("bert-to-embedder")
        return all(version(name).partition("+")[0] == pinned for name, pinned in (pin.split("==") for pin in pins))
    except PackageNotFoundError:
        return False


if __name__ == "__main__":
    sys.exit(not (installed(ROOT / "requirements.txt") or installed(ROOT / "requirements-gpu.txt")))
