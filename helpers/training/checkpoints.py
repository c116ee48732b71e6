"""Checkpoints that are whole, and going on from one of them."""

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from helpers.base import UserError, write_json

if TYPE_CHECKING:
    from torch import nn

MARK = "whole.json"  # written last; the size of every other file
GO_ON = "RESUME=1 goes on from the last whole checkpoint"


def step_of(checkpoint: Path) -> int:
    """Return the number of steps after which a checkpoint was written."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


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
    return max(filter(is_whole, folder.glob("checkpoint-*")), key=step_of, default=None)


def remove_broken(folder: Path) -> None:
    """Delete the checkpoints whose writing was cut short."""
    for checkpoint in folder.glob("checkpoint-*"):
        if not is_whole(checkpoint):
            shutil.rmtree(checkpoint)


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn a failure to write a model into one sentence.

    Raises:
        UserError: the disk is full, or the folder cannot be written.
    """
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError, RuntimeError) as error:
        if isinstance(error, RuntimeError) and "PytorchStreamWriter" not in str(error):
            raise  # not torch.save's
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(f"{folder} was not written: {reason}; free some space, then {GO_ON}.") from error


def load_weights(encoder: "nn.Module", checkpoint: Path) -> None:
    """Put a checkpoint's weights into the encoder.

    FlagEmbedding saves the encoder inside its model, so the names are the encoder's own; a loader that matched them
    with the outer model's and was not strict would restore nothing.

    Raises:
        UserError: a weight is missing, is not the encoder's, or has another shape.
    """
    from safetensors.torch import load_file

    try:
        encoder.load_state_dict(load_file(checkpoint / "model.safetensors"), strict=True)
    except RuntimeError as error:
        reason = " ".join(line.strip() for line in str(error).splitlines()[1:])
        raise UserError(
            f"{checkpoint} is not a checkpoint of this model: {reason} Start again with FORCE=1."
        ) from error
