"""Which process trains, and on what: for those who follow it, and for a resume."""

import hashlib
import socket
import sys
from pathlib import Path

import psutil

from helpers.base.errors import UserError
from helpers.base.files import read_json

# Flags that change what is said or kept on the way and not the weights, and the one that asks for the resume.
FREE = {"resume_from_checkpoint", "logging_steps", "report_to", "save_steps"}


def record_file(folder: Path) -> Path:
    """The record of the training that fills `folder`."""
    return folder / "run.json"


def make_record(train_data: list[str], processes: int) -> dict:
    """Return this process, its flags and the fingerprints of the training files."""
    process = psutil.Process()
    return {
        "host": socket.gethostname(),
        "pid": process.pid,
        "started": process.create_time(),
        "processes": processes,
        "data": [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in train_data],
        "flags": sys.argv[1:],
    }


def is_running(record: dict) -> bool:
    """Tell whether the process of a record still runs; one of another machine cannot be seen and counts as ended."""
    if record["host"] != socket.gethostname():
        return False
    try:
        process = psutil.Process(record["pid"])
        return process.create_time() == record["started"] and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def check_same(folder: Path, record: dict) -> None:
    """Check that a resumed training has the data, the flags and the number of processes with which it began.

    Raises:
        UserError: it has not; going on would give the weights of neither.
    """
    before = read_json(record_file(folder))
    remedy = "restore that, or start again with FORCE=1"
    if before["data"] != record["data"]:
        raise UserError(f"{folder} was begun on other training data; {remedy}.")
    if before["processes"] != record["processes"]:
        raise UserError(
            f"{folder} was begun with {before['processes']} processes, not {record['processes']}; {remedy}."
        )
    old, new = flags(before["flags"]), flags(record["flags"])
    for name in sorted((old.keys() | new.keys()) - FREE):
        if old.get(name) != new.get(name):
            was, now = (found.get(name, "not given") or "given" for found in (old, new))
            raise UserError(f"{folder} was begun with --{name} {was}, now it is {now}; {remedy}.")


def flags(words: list[str]) -> dict[str, str]:
    """Return flag -> value of a command line `--flag value ...`; a flag on its own has an empty value."""
    found: dict[str, str] = {}
    for word in words:
        if word.startswith("--"):
            found[name := word.removeprefix("--")] = ""
        else:
            found[name] = f"{found[name]} {word}" if found[name] else word
    return found
