"""Messages to the process's supervisor: ready, stopping, making progress.

The supervisor is systemd or another that understands sd_notify(3); without one nothing is sent.
"""

import logging
import os
import socket
import time
from collections.abc import Callable

from tds_new.logs import printable

logger = logging.getLogger(__name__)

WATCHDOG_INTERVAL = 5.0  # seconds between two signs of progress
STUCK_AFTER = 20.0  # seconds without progress of the network thread; a connect may take two times 5 seconds


def notify(state: str) -> None:
    """Send a state such as ``READY=1`` to the supervisor, if there is one."""
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
    """Tells the supervisor that the consumer is ready, and that it makes progress.

    While the network thread makes no progress, it sends nothing: the supervisor then restarts the process.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._ready = False
        self._sent_at = -WATCHDOG_INTERVAL

    def report_progress(self, subscribed: bool, last_iteration: float) -> None:
        """Report an iteration of the caller's loop.

        ``subscribed`` is whether the broker delivers messages; ``last_iteration`` is when the network thread
        last made progress (monotonic seconds).
        """
        now = self._clock()
        if subscribed and not self._ready:
            self._ready = True
            notify("READY=1\nSTATUS=consuming")
        if now - self._sent_at >= WATCHDOG_INTERVAL and now - last_iteration < STUCK_AFTER:
            self._sent_at = now
            notify("WATCHDOG=1")
