"""What systemd is told: ready, stopping, and that there is progress (sd_notify(3)). Silent where nobody listens."""

import logging
import os
import socket
import time
from collections.abc import Callable

from tds_new.logs import printable

logger = logging.getLogger(__name__)

WATCHDOG_INTERVAL = 5.0
STUCK_AFTER = 20.0  # a connect may take two times 5 seconds


def notify(state: str) -> None:
    """Send a state such as ``READY=1`` to the supervisor, where there is one."""
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address:
        return
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as channel:
            channel.connect("\0" + address[1:] if address.startswith("@") else address)
            channel.send(state.encode())
    except OSError as error:
        logger.warning(
            "the supervisor at %s cannot be told %s: %s", printable(address), printable(state), error
        )


class Watchdog:
    """Says ready once, and alive as long as there is progress: nothing is said where the network thread does not turn."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ready = False
        self._said_at = -WATCHDOG_INTERVAL

    def turn(self, subscribed: bool, last_network_turn: float) -> None:
        """A loop that must go on has turned; ``last_network_turn`` is when the network thread last did (monotonic seconds)."""
        now = self._clock()
        if subscribed and not self._ready:
            self._ready = True
            notify("READY=1\nSTATUS=consuming")
        if now - self._said_at >= WATCHDOG_INTERVAL and now - last_network_turn < STUCK_AFTER:
            self._said_at = now
            notify("WATCHDOG=1")
