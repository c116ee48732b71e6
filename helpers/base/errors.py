"""What a user reads when their input is at fault: one sentence, no traceback."""

import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any


class UserError(Exception):
    """Bad input, told in one sentence that names the file, the line and the remedy."""

    def _render_traceback_(self) -> list[str]:
        """Return the sentence alone, which IPython then shows in place of a traceback."""
        return [f"Error: {self}"]


def run_command(main: Callable[[], Any]) -> Any:
    """Call a command line's `main` and return what it does; a `UserError` becomes one line and exit status 2.

    What a terminal, a pipe or UTF-8 has no character for is shown by its number.
    """
    streams: tuple[Any, ...] = sys.stdin, sys.stdout, sys.stderr
    for stream in streams:
        with suppress(AttributeError):  # closed, or another program's
            stream.reconfigure(errors="backslashreplace")
    try:
        return main()
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
