"""Files that are either whole or absent, and JSON that says where it is wrong."""

import hashlib
import json
import os
import re
import uuid
from array import array
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from safetensors import SafetensorError

from helpers.base.errors import UserError

TORCH_SAVE = re.compile("PytorchStreamWriter|inline_container|iostream")  # in what it says of a full disk


@contextmanager
def whole_file(path: Path, *, binary: bool = False) -> Iterator[IO[Any]]:
    """Open a file that appears only when the block has ended well; raises UserError: it cannot be written."""
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")  # no other process has it, on any host
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            text: dict = {} if binary else {"encoding": "utf8", "errors": "backslashreplace", "newline": "\n"}
            with temporary.open("wb" if binary else "w", **text) as file:  # what is no character is escaped as in JSON
                yield file
            temporary.replace(path)
    finally:
        with suppress(OSError):
            temporary.unlink()


@contextmanager
def writing(path: Path, remedy: str = "free some space or check the folder") -> Iterator[None]:
    """Raise one sentence, a UserError, where the disk is full, or a file or a model's folder cannot be written."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and not TORCH_SAVE.search(str(error)):
            raise
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"{path} was not written: {reason}; {remedy}.") from error


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
        # A line break within a text stays what it is.
        with path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
            for number, line in enumerate(file, start=1):
                if not line.isascii():
                    line.encode()
                yield number, line
    except UnicodeEncodeError as error:
        raise UserError(f"{path} is not text in UTF-8 (see line {number}); save it as UTF-8.") from error
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {remedy}.") from error


def read_jsonl(path: Path, remedy: str) -> Iterator[tuple[int, dict]]:
    """Yield number and object of each line that is not blank; raises UserError: as `read_lines`, or not one object."""
    for number, line in read_lines(path, remedy):
        if line.strip():
            yield number, _object(f"{path}, line {number}", line)


def _object(where: str, line: str | bytes) -> dict:
    try:
        row = json.loads(line if isinstance(line, str) else line.decode("utf-8-sig"))
    except UnicodeDecodeError as error:
        raise UserError(f"{where}: not text in UTF-8 ({error.reason}); save the file as UTF-8.") from error
    except (ValueError, RecursionError) as error:  # brackets or digits without end are no JSONDecodeError
        raise UserError(f"{where}: not JSON ({getattr(error, 'msg', 'too deep')}); write one object a line.") from error
    if not isinstance(row, dict):
        raise UserError(f"{where}: not a JSON object; write one object a line.")
    return row


class Rows(Sequence[dict]):
    """The objects of a file, one a line that is not blank, parsed when they are asked for; 16 bytes a row in memory."""

    def __init__(self, path: Path, remedy: str, note: Callable[[str, dict], None]):
        """Call `note` with where each row stands and the row. Raises UserError: as `read_jsonl`, or there is none."""
        self.places, start, digest = array("q"), 0, hashlib.sha256()
        try:
            self.file = path.open("rb")  # it stays open: one that takes its place is not seen
            for number, line in enumerate(self.file, start=1):
                digest.update(line)
                if line.strip():
                    note(f"{path}, line {number}", _object(f"{path}, line {number}", line))
                    self.places.extend((start, len(line)))
                start += len(line)
        except OSError as error:
            raise UserError(f"{path} cannot be read ({error.strerror}); {remedy}.") from error
        if not self.places:
            raise UserError(f"{path} is empty; {remedy}.")
        self.digest = digest.hexdigest()  # the sha256 of what was read, whatever is at `path` later

    def __len__(self) -> int:
        return len(self.places) // 2

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return where in the file the lines of rows `start` to `stop` - 1 begin, and how many bytes they take."""
        begin, (last, length) = self.places[2 * start], self.places[2 * stop - 2 : 2 * stop]
        return begin, last + length - begin

    def __getitem__(self, row):
        """Return the object in a row, counted from 0."""
        start, length = self.places[2 * row], self.places[2 * row + 1]
        return json.loads(os.pread(self.file.fileno(), length, start))  # a map of the file would count as memory
