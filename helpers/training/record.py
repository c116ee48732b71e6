"""Which process fills a model's folder, and on what: for those who follow it, and for a resume."""

import hashlib
import shutil
import socket
import sys
from pathlib import Path

import psutil
from filelock import FileLock, Timeout

from helpers.base import UserError, read_json, switch

# Flags that change what is said or kept on the way and not the weights, and the one that asks for the resume.
FREE = {"resume_from_checkpoint", "logging_steps", "report_to", "save_steps"}


def record_file(folder: Path) -> Path:
    """The record of the training that fills `folder`, as `make_record`."""
    return folder / "run.json"


def make_record(train_data: list[str], processes: int) -> dict:
    """Return this process, its flags and the fingerprints of the training files."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "pid": process.pid,
        "started": process.create_time(),
        "processes": processes,
        "data": [_digest(Path(path)) for path in train_data],
        "flags": sys.argv[1:],
    }


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_running(folder: Path) -> bool:
    """Tell whether the process that fills a folder still runs; one of another machine counts as ended."""
    if not record_file(folder).exists() or (record := read_json(record_file(folder)))["host"] != socket.gethostname():
        return False
    try:
        process = psutil.Process(record["pid"])
        return process.create_time() == record["started"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def check_place(folder: Path) -> None:
    """Check that a new model can go into a folder, or that the user has said what to do with the one that is there.

    Raises UserError: the folder is not empty and neither FORCE nor RESUME is 1, or both are; or it is being filled.
    """
    if is_running(folder):
        pid = read_json(record_file(folder))["pid"]
        raise UserError(f"{folder} is being trained by process {pid}; wait until it has ended, or end it.")
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
    # One for all base models: their trainings on one training set share a log.
    lock = FileLock(folder.with_name(f".{folder.name.rpartition('_')[2]}.lock"), fallback_to_soft=False)
    try:
        lock.acquire(blocking=False)
    except Timeout as error:
        raise UserError(f"{folder} is being trained by another process; wait until it has ended, or end it.") from error
    except (OSError, NotImplementedError) as error:
        print(f"warning: no lock on this file system ({error}); do not start a script twice.", file=sys.stderr)
    check_place(folder)
    if switch("FORCE"):
        shutil.rmtree(folder, ignore_errors=True)
    return lock


def check_same(folder: Path, record: dict) -> None:
    """Check that a resumed training has the data, the flags and the number of processes with which it began.

    Raises UserError: it has not; going on would give the weights of neither.
    """
    before = read_json(record_file(folder))
    begun, remedy = f"{folder} was begun", "restore that, or start again with FORCE=1"
    if before["data"] != record["data"]:
        raise UserError(f"{begun} on other training data; {remedy}.")
    if before["processes"] != record["processes"]:
        raise UserError(f"{begun} with {before['processes']} processes, not {record['processes']}; {remedy}.")
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
