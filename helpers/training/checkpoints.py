"""Checkpoints that are whole, and going on from one of them."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError

from helpers.base import UserError, write_json

MARK = "whole.json"  # written last; the size of every other file
GO_ON = "RESUME=1 goes on from the last whole checkpoint, if there is one"


def mark_whole(checkpoint: Path) -> None:
    """Write the mark that tells a finished checkpoint from one whose writing was cut short."""
    sizes = {path.name: path.stat().st_size for path in checkpoint.iterdir() if path.name != MARK}
    write_json(checkpoint / MARK, sizes)


def is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint bears the mark and its files have the sizes that the mark says."""
    try:
        sizes = json.loads((checkpoint / MARK).read_text(encoding="utf8"))
        return all((checkpoint / name).stat().st_size == size for name, size in sizes.items())
    except (OSError, ValueError):
        return False


def last_whole(folder: Path) -> Path | None:
    """Return the whole checkpoint with the most steps in a model's folder, or None."""
    steps = {int(path.name.removeprefix("checkpoint-")): path for path in folder.glob("checkpoint-*") if is_whole(path)}
    return steps[max(steps)] if steps else None


def remove_broken(folder: Path) -> None:
    """Delete what a write that was cut short has left: checkpoints, and the folders that the last write fills."""
    broken = [checkpoint for checkpoint in folder.glob("checkpoint-*") if not is_whole(checkpoint)]
    for path in (*broken, *folder.glob(".plain-*"), *folder.glob(".model-*")):
        shutil.rmtree(path)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Raise one sentence, a UserError, where the disk is full or the folder of a model cannot be written."""
    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
            raise  # not torch.save's
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"{folder} was not written: {reason}; free some space, then {GO_ON}.") from error
