"""Keep figures that are costly to compute for a while.

Only months that are over, on plain PostgreSQL, which stores no sums of them, are kept.
"""

import time
from collections.abc import Callable
from typing import TypeVar

from django.core.cache import cache

T = TypeVar("T")

# Figures that take less than this are computed for every answer. Slower ones are kept for 20 times as long as
# they took, so that open dashboards take at most a twentieth of a process's time, and for at most a minute,
# so that late data is seen.
COSTLY_S = 0.25
TIMES = 20
LONGEST_S = 60


def remember(key: str, compute: Callable[[], T]) -> T:
    """Return ``compute()``, or its result under this ``key`` of at most a minute ago."""
    remembered: T | None = cache.get(key)
    if remembered is not None:
        return remembered
    start = time.monotonic()
    computed = compute()
    took = time.monotonic() - start
    if took >= COSTLY_S:
        cache.set(key, computed, min(TIMES * took, LONGEST_S))
    return computed
