"""A gateway that floods is limited, so that it costs the others nothing."""

import time
from collections.abc import Callable

BURST_SECONDS = 60  # what a gateway may send at once after a silence: a minute's allowance
MAX_BUCKETS = 50_000


class GatewayRate:
    """A token bucket for each gateway: ``rate`` messages/s, a burst of a minute's worth; 0 does not limit."""

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._burst = rate * BURST_SECONDS
        self._clock = clock
        self._buckets: dict[int, tuple[float, float]] = {}

    def allows(self, gateway_id: int) -> bool:
        """Whether one more message of this gateway is within its rate; counts it if so."""
        if not self.rate:
            return True
        now = self._clock()
        tokens, since = self._buckets.get(gateway_id, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self.rate)
        allowed = tokens >= 1
        if len(self._buckets) >= MAX_BUCKETS:
            self._buckets.clear()  # everybody starts anew: rather too generous than without bounds
        self._buckets[gateway_id] = (tokens - allowed, now)
        return allowed
