"""The queue between the network thread and the batches."""

import threading
import time
from collections import deque

from tds_new.ingestion.message import Message

MAX_BATCH_BYTES = 8 * 1024 * 1024
MAX_UNCONFIRMED = 20_000


class Inbox:
    """Messages waiting to be stored.

    Messages with QoS 1 are bounded by the broker's in-flight window. Nothing bounds those with QoS 0, which carry no delivery guarantee:
    past ``MAX_UNCONFIRMED`` waiting messages they are dropped and counted in ``dropped``.
    """

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._arrived = threading.Event()
        self._waiting = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._queue)

    def put(self, message: Message) -> None:
        """Add a message; called on the network thread, so it never waits."""
        if message.qos == 0 and len(self._queue) >= MAX_UNCONFIRMED:
            self.dropped += 1
            return
        self._queue.append(message)
        if self._waiting:
            self._arrived.set()

    def wake(self) -> None:
        """End a wait for messages at once."""
        self._arrived.set()

    def take(self, limit: int, max_age: float, timeout: float) -> list[Message]:
        """The next batch: whatever is there, after waiting up to ``timeout`` s for the first message and ``max_age`` s for company.

        A backlog is taken without waiting; batches so grow with the load by themselves.
        """
        if not self._queue:
            self._waiting = True
            self._arrived.clear()
            if not self._queue:
                self._arrived.wait(timeout)
            self._waiting = False
        if self._queue and len(self._queue) < limit and max_age:
            time.sleep(max_age)
        batch: list[Message] = []
        size = 0
        while self._queue and len(batch) < limit and size < MAX_BATCH_BYTES:
            message = self._queue.popleft()
            size += len(message.payload)
            batch.append(message)
        return batch

    def oldest_age(self, now: float) -> float:
        """Seconds that the next message has been waiting; ``now`` is a POSIX time."""
        return now - self._queue[0].received_at.timestamp() if self._queue else 0.0
