"""A training's script: started from Python; what its torchrun prints, kept and shown, less torchrun's own traceback."""

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TextIO

from helpers.base import ROOT, UserError, check_name
from helpers.training.folder import GO_ON

NOTICE = re.compile(
    r"[EWI]\d{4} .*torch/distributed/|\[[EWI]\d+ .*(socket|ProcessGroup|TCPStore)|\*{30,}$|Setting OMP_NUM"
)
FAILED = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+)")
BEGAN = re.compile("begins|goes on from")  # first words of `Runner.run`


def for_people(lines: Iterable[str]) -> Iterator[tuple[str, int]]:
    """Yield what to show once a line has come in, and the exit status that torchrun has told so far."""
    held, status, told, over = "", 0, False, False
    for line in lines:
        text, is_error = "", line.startswith("error: ")
        if match := FAILED.search(line):
            code = int(match[1])
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            text = "" if told else f"error: Process {match[2]} of the training {how}; {GO_ON}.\n"
            told, status = True, 2 if told else 1  # what failed has said why itself, or now it is said
        elif over or NOTICE.match(line):
            pass
        elif line.startswith("Traceback (most recent call last)"):
            held = line
        elif held and "torchrun" in line:  # the first frame of its own traceback
            over, status = True, status or 1  # nothing but the traceback and torchrun's table follow
        else:
            text = held if told and is_error else held + line  # the others were ended since the first one failed
            held, told = "", told or is_error
        yield text, status


def keep_log(path: Path) -> int:
    """Copy standard input to a file and to standard output, errors to standard error; return the exit status.

    The file is written from the line on with which a training says that it begins, or that it goes on. One that is
    refused leaves it alone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for torchrun; what it says then is to be kept
    files, status = list[TextIO](), 0
    with ExitStack() as stack:
        for text, told in for_people(sys.stdin):
            status = told
            if not files and (began := BEGAN.match(text)):
                path.parent.mkdir(parents=True, exist_ok=True)
                files.append(stack.enter_context(path.open("w" if began[0] == "begins" else "a", encoding="utf8")))
            for out in (sys.stderr if text.startswith("error: ") else sys.stdout, *files):
                with suppress(OSError):  # neither a full disk nor a closed terminal may silence the other
                    print(text, end="", flush=True, file=out)
    return status


def run_script(name: str, environ: Mapping[str, str] = os.environ) -> None:
    """Train `neg10`, `hard`, ... by its script, under an environment, and show what it prints, as it comes.

    Raises UserError: it has ended otherwise than well, with the last that it said.
    """
    words, said = ["bash", str(ROOT / "finetune_neg10.sh"), check_name(name)], ""
    with subprocess.Popen(words, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        for line in process.stdout or ():
            print(line, end="", file=sys.stderr, flush=True)  # which is not kept with a notebook
            said = line.strip() or said
    if process.returncode:
        raise UserError(f"The training of {name} failed: {said.removeprefix('error: ')}")
