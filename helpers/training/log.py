"""What torchrun prints, kept in a file and shown, less torchrun's own traceback when a process fails.

`torchrun ... 2>&1 | python -m helpers.training.log FILE [a]`; `a` appends to the file.
"""

import re
import signal
import sys
from contextlib import suppress
from pathlib import Path

from helpers.training.checkpoints import GO_ON

NOTICE = re.compile(
    r"[EWI]\d{4} .*torch/distributed/|\[[EWI]\d+ .*(socket|ProcessGroup|TCPStore)|\*{30,}$|Setting OMP_NUM"
)
FAILED = re.compile(r"failed \(exitcode: (-?\d+)\) local_rank: (\d+)")
AGENT = "torchrun"  # in the first frame of its traceback


class Log:
    """Lines come in, those for people go out, and the exit status is told by what torchrun said."""

    def __init__(self):
        """Begin with nothing held back."""
        self.held: list[str] = []
        self.told = self.over = False
        self.status = 0

    def lines(self, line: str) -> list[str]:
        """Return the lines to show once `line` has come in."""
        if match := FAILED.search(line):
            return self.failure(int(match[1]), int(match[2]))
        if self.over or NOTICE.match(line):
            return []
        if line.startswith("Traceback (most recent call last)"):
            self.held = [line]
            return []
        if self.held:
            held, self.held = self.held, []
            if AGENT in line:
                self.over = True  # nothing but the traceback and torchrun's table follow
                self.status = self.status or 1
                return []
            return [*held, line]
        self.told = self.told or line.startswith("error: ")
        return [line]

    def failure(self, code: int, rank: int) -> list[str]:
        """Return the sentence about the process that failed first, unless it has said one itself."""
        self.status = 2 if self.told else 1
        if self.told:
            return []
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        self.told = True
        return [f"error: Process {rank} of the training {how}; {GO_ON}.\n"]


def main() -> None:
    """Copy standard input to the file and to standard output, errors to standard error."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for torchrun; what it says then is to be kept
    log = Log()
    with Path(sys.argv[1]).open(sys.argv[2] if len(sys.argv) > 2 else "w", encoding="utf8") as file:
        for line in sys.stdin:
            for text in log.lines(line):
                for out in (sys.stderr if text.startswith("error: ") else sys.stdout, file):
                    with suppress(OSError):  # neither a full disk nor a closed terminal may silence the other
                        print(text, end="", flush=True, file=out)
    sys.exit(log.status)


if __name__ == "__main__":
    main()
