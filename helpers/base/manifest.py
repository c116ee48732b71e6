"""What things on disk are made from: a manifest is written last, so that a thing is whole or absent."""

import json
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from helpers.base.files import write_json, writing
from helpers.base.fingerprint import fingerprint

MANIFEST = "made.json"  # of a folder, in it; that of a file stands beside it


def manifest_of(file: Path) -> Path:
    """Return where the manifest of a file is."""
    return file.with_suffix(f".{MANIFEST}")


def read_manifest(path: Path) -> dict[str, Any] | None:
    """Return what a manifest says; None if there is none, or one of its files is gone or has another size."""
    try:
        made = json.loads(path.read_text(encoding="utf8"))
        whole = all((path.parent / name).stat().st_size == size for name, size in made["files"].items())
        return made if whole and "made_from" in made else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def write_manifest(path: Path, made_from: dict, files: Iterable[Path] | None = None, **more: Any) -> dict[str, Any]:
    """Write and return the manifest of files, by default its folder's: `made_from`, sizes in bytes, and `more`."""
    others = (file for file in path.parent.glob("[!.]*") if file != path and file.is_file())
    sizes = {os.path.relpath(file, path.parent): file.stat().st_size for file in (others if files is None else files)}
    write_json(path, made := {"made_from": made_from, "files": sizes, **more})
    return made


def differing(before: dict, now: dict) -> str:
    """Return the names whose values differ, with commas; nothing if none does."""
    return ", ".join(name for name in before | now if before.get(name) != now.get(name))


def make(
    path: Path, made_from: dict, write: Callable[[], dict | None], files: Iterable[Path] | None = None
) -> dict[str, Any]:
    """Return the manifest at `path` of what is there, made by `write` unless it is whole and made from the same.

    One process makes it at a time. What `write` returns is kept in the manifest; what it raises leaves none. That
    something is made again, and why, is printed.
    """
    with locked(path) as alone:
        made = read_manifest(path)
        if made and not (others := differing(made["made_from"], made_from)):
            return made
        if made:
            name = Path(*(path.parent if files is None else next(iter(files), path)).parts[-3:])
            print(f"{name.as_posix()} is made again: it was made from other {others}.")
        with writing(path):
            path.unlink(missing_ok=True)
            for file in (*(files or ()), path) if alone else ():  # what a process that was killed has left
                for left in file.parent.glob(f".{escape(file.name)}.*.tmp"):
                    left.unlink(missing_ok=True)
        return write_manifest(path, made_from, files, **(write() or {}))


def busy(path: Path) -> bool:
    """Tell whether another process is making what `path` is the manifest of."""
    try:
        with lock_of(path).acquire(blocking=False):
            return False
    except (OSError, NotImplementedError) as error:  # without locks nobody knows
        return isinstance(error, Timeout)


def lock_of(path: Path) -> FileLock:
    """Return the lock of what `path` is the manifest of, which goes with the process that holds it."""
    return FileLock(path.with_name(f".{path.name}.lock"), fallback_to_soft=False)


@contextmanager
def locked(path: Path) -> Iterator[bool]:
    """Keep other processes from what `path` is the manifest of; they wait. On a disk without locks it yields False."""
    lock = lock_of(path)
    with suppress(OSError, NotImplementedError):  # a full disk or a wrong folder is told where files are written
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=1)
        except Timeout:
            what = path.name.removesuffix(f".{MANIFEST}")
            print(f"Another process is making {what}; waiting for it.", file=sys.stderr)
            lock.acquire()
    try:
        yield lock.is_locked
    finally:
        lock.release()


def code_of(file: str) -> str:
    """Return a fingerprint of the modules beside a module, `__file__`: what they make changes with them."""
    return fingerprint(path.read_text(encoding="utf8") for path in sorted(Path(file).parent.glob("*.py")))
