"""Checkpoints that are whole, and going on from one of them."""

import shutil
from pathlib import Path

from helpers.base import MANIFEST, read_json, read_manifest, write_manifest

GO_ON = "RESUME=1 goes on from the last whole checkpoint, if there is one"
REMEDY = f"free some space, then {GO_ON}"


def mark_whole(checkpoint: Path) -> None:
    """Write the manifest that tells a finished checkpoint from one whose writing was cut short: the training's own."""
    write_manifest(checkpoint / MANIFEST, read_json(checkpoint.parent / MANIFEST)["made_from"])


def is_whole(checkpoint: Path) -> bool:
    """Tell whether a checkpoint has its manifest, and its files the sizes that are given there."""
    return read_manifest(checkpoint / MANIFEST) is not None


def last_whole(folder: Path) -> Path | None:
    """Return the whole checkpoint with the most steps in a model's folder, or None."""
    whole = filter(is_whole, folder.glob("checkpoint-*"))
    return max(whole, key=lambda path: int(path.name.removeprefix("checkpoint-")), default=None)


def remove_broken(folder: Path) -> None:
    """Delete what a write that was cut short has left: checkpoints, and the folders that the last write fills."""
    broken = [checkpoint for checkpoint in folder.glob("checkpoint-*") if not is_whole(checkpoint)]
    for path in (*broken, *folder.glob(".plain-*"), *folder.glob(".model-*")):
        shutil.rmtree(path)
