"""The delay before another try of an operation that failed."""

import random
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """A delay that doubles with every failure in a row.

    It grows from ``first`` to ``longest`` seconds. ``jitter`` is the share of each delay that is left to
    chance, so that many clients that failed together do not try again together: 0.5 for a delay between half
    and all of its length, 1.0 ("full jitter") for one between nothing and all of it.
    """

    first: float
    longest: float
    jitter: float

    def delay_before(self, attempt: int, chance: Callable[[], float] = random.random) -> float:
        """Return the seconds to wait before the ``attempt``-th retry in a row (from 1).

        ``chance`` returns a number from 0 to 1; 1 gives the longest delay.
        """
        delay = min(self.longest, self.first * 2.0 ** min(attempt - 1, 30))
        return delay * (1 - self.jitter + self.jitter * chance())
