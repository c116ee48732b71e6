"""Seconds, measured."""

import time
from collections.abc import Callable
from typing import Any


def timed(function: Callable[..., Any], *args: Any) -> tuple[Any, float]:
    """Call `function(*args)`; return its value and the seconds it took."""
    start = time.perf_counter()
    value = function(*args)
    return value, time.perf_counter() - start
