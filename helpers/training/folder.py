"""A model's folder: which process fills it, and on what, its whole checkpoints, and what a resume goes on from."""

import os
import shutil
import socket
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from helpers.base import UserError, model_fingerprint, read_json, switch
from helpers.base.manifest import MANIFEST, differing, lock_of, read_manifest, write_manifest
from helpers.encoding.settings import is_embedder

# Flags that change what is said or kept on the way and not the weights, and paths, whose files have fingerprints.
FREE = {"resume_from_checkpoint", "logging_steps", "report_to", "save_steps"}
FREE |= {"model_name_or_path", "train_data", "output_dir"}
HEARTBEAT = 300  # seconds without a sign of life after which a training on another host counts as ended
GO_ON = "RESUME=1 goes on from the last whole checkpoint, if there is one"
REMEDY = f"free some space, then {GO_ON}"


def make_record(base: str, training_set: str, processes: int) -> dict:
    """Return what stands in the manifest of a model from its first step on: what it is made from, and by whom.

    The training set is given by its sha256. Whole the model is with the last file of its embedder.
    """
    made_from = {
        "base model": model_fingerprint(Path(base)),
        "training set": training_set,
        "processes": processes,
        **{f"--{name}": value for name, value in flags(sys.argv[1:]).items() if name not in FREE},
    }
    return {"made_from": made_from, "flags": sys.argv[1:], "host": socket.gethostname(), "pid": os.getpid()}


def keep_alive(folder: Path, seconds: float = 30) -> None:
    """Touch the record every so often until this process ends: a sign of life for other hosts."""

    def beat() -> None:
        while True:
            time.sleep(seconds)
            with suppress(OSError):  # a file system that is away for a moment
                os.utime(folder / MANIFEST)

    threading.Thread(target=beat, daemon=True).start()


def is_running(folder: Path, held: bool = False) -> bool:
    """Tell whether a training fills `folder`; `held` says that this process has its lock.

    On this host the lock goes with its process. For another, which may not share locks, the age of the record tells.
    """
    if is_embedder(folder) or not (folder / MANIFEST).exists():
        return False
    record, young = read_json(folder / MANIFEST), time.time() - (folder / MANIFEST).stat().st_mtime < HEARTBEAT
    here = record["host"] == socket.gethostname()
    if held or not here:
        return young and not here
    try:
        with _lock(folder).acquire(blocking=False):
            return False
    except Timeout:  # a container may have this host's name and numbers of its own
        return young or psutil.pid_exists(record["pid"])
    except (OSError, NotImplementedError):  # no locks on this file system
        return young and psutil.pid_exists(record["pid"])


def _lock(folder: Path) -> FileLock:
    return lock_of(folder.with_name(folder.name.rpartition("_")[2]))  # of all base models: their trainings share a log


def check_place(folder: Path, held: bool = False) -> None:
    """Check that a new model can go into a folder, or that the user has said what to do with the one that is there.

    Raises UserError: it is being filled, as `is_running` says; or not empty, and not one of FORCE and RESUME is 1.
    """
    if is_running(folder, held):
        record = read_json(folder / MANIFEST)
        died = "" if record["host"] == socket.gethostname() else "; if it has died there, try again in five minutes"
        who = "process {pid} on {host}".format(**record)
        raise UserError(f"{folder} is being trained by {who}; wait until it has ended, or end it{died}.")
    force, resume = switch("FORCE"), switch("RESUME")
    if force and resume:
        raise UserError("FORCE=1 and RESUME=1 contradict each other; give one of them.")
    if not (force or resume) and folder.exists() and any(folder.iterdir()):
        resume_it = ", RESUME=1 goes on with it" if last_whole(folder) else ""
        raise UserError(f"{folder} holds the model of an earlier run; FORCE=1 replaces it{resume_it}.")


def take_place(folder: Path) -> FileLock:
    """Keep other trainings from a model's folder until this process ends, and with FORCE=1 remove what is there.

    Raises UserError: another process has the lock, or as `check_place`.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    lock = _lock(folder)
    try:
        lock.acquire(timeout=1)  # `is_running` may have it for a moment
    except Timeout as error:
        raise UserError(f"{folder} is being trained by another process; wait until it has ended, or end it.") from error
    except (OSError, NotImplementedError) as error:
        print(f"warning: no lock on this file system ({error}); do not start a script twice.", file=sys.stderr)
    check_place(folder, held=lock.is_locked)
    if switch("FORCE"):
        shutil.rmtree(folder, ignore_errors=True)
    return lock


def check_same(folder: Path, record: dict) -> None:
    """Check that a resumed training is made from what it began with; else going on would give the weights of neither.

    Raises UserError: the base model, the training set, the processes or a flag is another.
    """
    before, now = (made["made_from"] for made in (read_json(folder / MANIFEST), record))
    if others := differing(before, now):
        name = others.partition(",")[0]
        was, is_now = (found.get(name, "not given") or "given without a value" for found in (before, now))
        raise UserError(
            f"{folder} was begun with other {others} ({name} was {was}, now it is {is_now}); "
            "restore that, or start again with FORCE=1."
        )


def flags(words: list[str]) -> dict[str, str]:
    """Return flag -> value of a command line `--flag value ...`; a flag on its own has an empty value."""
    found: dict[str, str] = {}
    for word in words:
        if word.startswith("--"):
            found[name := word.removeprefix("--")] = ""
        else:
            found[name] = f"{found[name]} {word}" if found[name] else word
    return found


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
