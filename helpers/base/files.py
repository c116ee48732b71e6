"""Files that are either whole or absent, and JSON that says where it is wrong."""

import json
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from helpers.base.errors import UserError


@contextmanager
def whole_file(path: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file that appears only when the block has ended well; raises UserError: it cannot be written."""
    temporary = _beside(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") if binary else temporary.open("w", encoding="utf8", newline="\n") as file:
            yield file
        temporary.replace(path)
    except OSError as error:
        raise UserError(f"{path} was not written: {error.strerror}; free some space or check the folder.") from error
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """Make a folder, named `path` when the block has ended well, unless another process has made it; raises OSError."""
    temporary = _beside(path)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        try:
            temporary.rename(path)
        except OSError:  # a folder that is not empty is not replaced
            if not path.is_dir():
                raise
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _beside(path: Path) -> Path:
    """Return a hidden name in the same folder that no other process has, on this host or another."""
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")


def write_json(path: Path, value: object) -> None:
    """Write one JSON document, indented."""
    with whole_file(path) as file:
        file.write(json.dumps(value, ensure_ascii=False, indent=1) + "\n")


def read_json(path: Path, remedy: str = "delete it and run again what wrote it") -> Any:
    """Read one JSON document; raises UserError: it is missing or not JSON."""
    try:
        return json.loads(path.read_text(encoding="utf8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path} cannot be read ({error}); {remedy}.") from error


def write_jsonl(path: Path, rows: Iterable[dict]) -> None:
    """Write one JSON object a line."""
    with whole_file(path) as file:
        file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def read_lines(path: Path, remedy: str) -> Iterator[tuple[int, str]]:
    """Yield the number and text of each line; raises UserError: no such file, which `remedy` mends, or not in UTF-8."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            yield from enumerate(file, start=1)
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not text in UTF-8 ({error.reason}); save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {remedy}.") from error


def read_jsonl(path: Path, remedy: str) -> Iterator[tuple[int, dict]]:
    """Yield number and object of each line that is not blank; raises UserError: as `read_lines`, or not one object."""
    for number, line in read_lines(path, remedy):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{path}, line {number}: not JSON ({error.msg}); write one object a line.") from error
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {number}: not a JSON object; write one object a line.")
        yield number, row
