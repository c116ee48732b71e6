"""What torchrun prints, kept in a file and shown, less torchrun's own traceback when a process fails."""

import re
import signal
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TextIO

from helpers.training.checkpoints import GO_ON

NOTICE = re.compile(
    r"[EWI]\d{4} .*torch/distributed/|\[[EWI]\d+ .*(socket|ProcessGroup|TCPStore)|\*{30,}$|Setting OMP_NUM"
)
FAILED = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+)")
BEGAN = re.compile("begins|goes on from")  # first words of `Runner.run`


class Log:
    """Lines come in, those for people go out, and the exit status is told by what torchrun said."""

    def __init__(self) -> None:
        self.held = ""
        self.told = self.over = False
        self.status = 0

    def shown(self, line: str) -> str:
        """Return what to show once `line` has come in."""
        told = self.told  # by a process itself; the others were ended since the first one failed
        if match := FAILED.search(line):
            code, self.told, self.status = int(match[1]), True, 2 if told else 1
            how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
            return "" if told else f"error: Process {match[2]} of the training {how}; {GO_ON}.\n"
        if self.over or NOTICE.match(line):
            return ""
        if line.startswith("Traceback (most recent call last)"):
            self.held = line
            return ""
        if self.held and "torchrun" in line:  # the first frame of its own traceback
            self.over = True  # nothing but the traceback and torchrun's table follow
            self.status = self.status or 1
            return ""
        held, self.held = self.held, ""
        self.told = told or line.startswith("error: ")
        return held if told and line.startswith("error: ") else held + line


def keep_log(path: Path) -> int:
    """Copy standard input to a file and to standard output, errors to standard error; return the exit status.

    The file is written from the line on with which a training says that it begins, or that it goes on. One that is
    refused leaves it alone.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for torchrun; what it says then is to be kept
    log, files = Log(), list[TextIO]()
    with ExitStack() as stack:
        for line in sys.stdin:
            text = log.shown(line)
            if not files and (began := BEGAN.match(text)):
                path.parent.mkdir(parents=True, exist_ok=True)
                files.append(stack.enter_context(path.open("w" if began[0] == "begins" else "a", encoding="utf8")))
            for out in (sys.stderr if text.startswith("error: ") else sys.stdout, *files):
                with suppress(OSError):  # neither a full disk nor a closed terminal may silence the other
                    print(text, end="", flush=True, file=out)
    return log.status
