"""Poll for a condition with a time limit."""

import time
from collections.abc import Callable
from typing import TypeVar

from lab.harness.errors import LabError

T = TypeVar("T")

INTERVAL_S = 0.02


def wait_until(
    condition: Callable[[], T], what: str | Callable[[], str], timeout: float, *, interval: float = INTERVAL_S
) -> T:
    """Ask ``condition`` every ``interval`` seconds until it is true.

    Return what it said.

    Raises LabError after ``timeout`` seconds. ``what`` names the condition in its text, or is called for that
    name.
    """
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise LabError(f"not within {timeout:.0f} s: {what if isinstance(what, str) else what()}")
        time.sleep(interval)
    return answer
