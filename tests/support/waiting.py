"""Wait for a condition, bounded: the one place where tests poll."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

LIMIT_S = 60.0
INTERVAL_S = 0.02


def until(condition: Callable[[], T], what: str = "the condition", limit: float = LIMIT_S) -> T:
    """Ask ``condition`` until it is true, and return what it said. Raises AssertionError after ``limit`` seconds."""
    deadline = time.monotonic() + limit
    while not (answer := condition()):
        assert time.monotonic() < deadline, f"not within {limit:.0f} s: {what}"
        time.sleep(INTERVAL_S)
    return answer
