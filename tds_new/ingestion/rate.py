"""A limit for each gateway, so that a flood costs the other gateways nothing."""

import time
from collections.abc import Callable

BURST_SECONDS = 60  # the allowance that a silent gateway saves up
MAX_BUCKETS = 50_000


class GatewayRate:
    """A token bucket for each gateway.

    A gateway may send ``rate`` messages/s, and after a silence a minute's worth at once. 0 sets no limit.
    """

    def __init__(self, rate: float, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._burst = rate * BURST_SECONDS
        self._clock = clock
        self._buckets: dict[int, tuple[float, float]] = {}

    def allows(self, gateway_id: int) -> bool:
        """Whether one more message is within the gateway's rate; if so, count it."""
        if not self.rate:
            return True
        now = self._clock()
        tokens, since = self._buckets.get(gateway_id, (self._burst, now))
        tokens = min(self._burst, tokens + (now - since) * self.rate)
        allowed = tokens >= 1
        if len(self._buckets) >= MAX_BUCKETS:
            self._buckets.clear()  # every gateway starts again with a full bucket: memory stays bounded
        self._buckets[gateway_id] = (tokens - allowed, now)
        return allowed
