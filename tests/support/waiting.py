"""Wait for a condition, bounded: the one place where tests poll."""

from collections.abc import Callable
from typing import TypeVar

from lab.harness.errors import LabError
from lab.harness.waiting import wait_until

T = TypeVar("T")

LIMIT_S = 60.0


def until(condition: Callable[[], T], what: str = "the condition", limit: float = LIMIT_S) -> T:
    """Ask ``condition`` until it is true, and return what it said.

    Raises AssertionError after ``limit`` seconds.
    """
    try:
        return wait_until(condition, what, limit)
    except LabError as error:
        raise AssertionError(str(error)) from None
