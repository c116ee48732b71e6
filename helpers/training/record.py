"""Which process fills a model's folder, and on what: for those who follow it, and for a resume."""

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

from helpers.base import UserError, file_fingerprint, read_json, switch
from helpers.encoding.settings import is_embedder

RECORD = "run.json"  # in a model's folder, as `make_record`
# Flags that change what is said or kept on the way and not the weights, and paths, whose files have fingerprints.
FREE = {"resume_from_checkpoint", "logging_steps", "report_to", "save_steps"}
FREE |= {"model_name_or_path", "train_data", "output_dir"}
HEARTBEAT = 300  # seconds without a sign of life after which a training on another host counts as ended


def make_record(base: str, train_data: list[str], processes: int) -> dict:
    """Return this process, its flags and the fingerprints of the base model's weights and the training files."""
    weights = sorted(Path(base).glob("*.safetensors")) or sorted(Path(base).glob("*.bin"))
    return {
        "host": socket.gethostname(),
        "pid": os.getpid(),
        "processes": processes,
        "base": [file_fingerprint(path) for path in weights],
        "data": [file_fingerprint(Path(path)) for path in train_data],
        "flags": sys.argv[1:],
    }


def keep_alive(folder: Path, seconds: float = 30) -> None:
    """Touch the record every so often until this process ends: a sign of life for other hosts."""

    def beat() -> None:
        while True:
            time.sleep(seconds)
            with suppress(OSError):  # a file system that is away for a moment
                os.utime(folder / RECORD)

    threading.Thread(target=beat, daemon=True).start()


def is_running(folder: Path, held: bool = False) -> bool:
    """Tell whether a training fills `folder`; `held` says that this process has its lock.

    On this host the lock goes with its process. For another, which may not share locks, the age of the record tells.
    """
    if is_embedder(folder) or not (folder / RECORD).exists():
        return False
    record, young = read_json(folder / RECORD), time.time() - (folder / RECORD).stat().st_mtime < HEARTBEAT
    if held or record["host"] != socket.gethostname():
        return young and record["host"] != socket.gethostname()
    try:
        with _lock(folder).acquire(blocking=False):
            return False
    except Timeout:  # a container may have this host's name and numbers of its own
        return young or psutil.pid_exists(record["pid"])
    except (OSError, NotImplementedError):  # no locks on this file system
        return young and psutil.pid_exists(record["pid"])


def _lock(folder: Path) -> FileLock:
    # One for all base models: their trainings on one training set share a log.
    return FileLock(folder.with_name(f".{folder.name.rpartition('_')[2]}.lock"), fallback_to_soft=False)


def check_place(folder: Path, held: bool = False) -> None:
    """Check that a new model can go into a folder, or that the user has said what to do with the one that is there.

    Raises UserError: it is being filled, as `is_running` says; or not empty, and not one of FORCE and RESUME is 1.
    """
    if is_running(folder, held):
        record = read_json(folder / RECORD)
        died = "" if record["host"] == socket.gethostname() else "; if it has died there, try again in five minutes"
        who = "process {pid} on {host}".format(**record)
        raise UserError(f"{folder} is being trained by {who}; wait until it has ended, or end it{died}.")
    force, resume = switch("FORCE"), switch("RESUME")
    if force and resume:
        raise UserError("FORCE=1 and RESUME=1 contradict each other; give one of them.")
    if not (force or resume) and folder.exists() and any(folder.iterdir()):
        raise UserError(f"{folder} holds the model of an earlier run; FORCE=1 replaces it, RESUME=1 goes on with it.")


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
    """Check that a resumed training has the base, the data, the flags and the number of processes it began with.

    Raises UserError: it has not; going on would give the weights of neither.
    """
    before = read_json(folder / RECORD)
    begun, remedy = f"{folder} was begun", "restore that, or start again with FORCE=1"
    processes = f"with {before['processes']} processes, not {record['processes']}"
    parts = {"base": "from another base model", "data": "on other training data", "processes": processes}
    for part, said in parts.items():
        if before.get(part, record[part]) != record[part]:  # a record may be of an older version
            raise UserError(f"{begun} {said}; {remedy}.")
    old, new = flags(before["flags"]), flags(record["flags"])
    for name in sorted((old.keys() | new.keys()) - FREE):
        if old.get(name) != new.get(name):
            was, now = (found.get(name, "not given") or "given" for found in (old, new))
            raise UserError(f"{begun} with --{name} {was}, now it is {now}; {remedy}.")


def flags(words: list[str]) -> dict[str, str]:
    """Return flag -> value of a command line `--flag value ...`; a flag on its own has an empty value."""
    found: dict[str, str] = {}
    for word in words:
        if word.startswith("--"):
            found[name := word.removeprefix("--")] = ""
        else:
            found[name] = f"{found[name]} {word}" if found[name] else word
    return found
