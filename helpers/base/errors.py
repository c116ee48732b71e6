"""What a user reads when their input is at fault: one sentence, no traceback."""

import sys
from collections.abc import Callable
from io import TextIOWrapper
from typing import Any


class UserError(Exception):
    """Bad input, told in one sentence that names the file, the line and the remedy."""

    def _render_traceback_(self) -> list[str]:
        """Return the sentence alone, which IPython then shows in place of a traceback."""
        return [f"Error: {self}"]


def run_command(main: Callable[[], Any]) -> Any:
    """Call a command line's `main` and return what it does; a `UserError` becomes one line and exit status 2."""
    for stream in (sys.stdin, sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # what it has no character for is shown by its number
    try:
        return main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
