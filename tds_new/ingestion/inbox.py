"""The queue between the network thread and the batches."""

import threading
import time
from collections import deque

from tds_new.ingestion.message import Message

MAX_BATCH_BYTES = 2 * 1024 * 1024
MAX_WAITING = 20_000  # messages
MAX_WAITING_BYTES = 16 * 1024 * 1024  # of their payloads


class Inbox:
    """Messages that wait to be stored, bounded in number and in bytes.

    While it is ``full``, the network thread reads nothing, and further messages wait at the broker. The
    broker's in-flight window is not such a bound: Mosquitto 2.0.11 does not keep to it after the first PUBACK
    while messages are queued. Messages with QoS 0 carry no delivery guarantee, and no queue of the broker
    keeps them: while this is half full they are dropped and counted in ``dropped``, so that they take no room
    from the others.
    """

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        self._bytes_put = self._bytes_taken = 0  # each written by one thread only
        self._full = False
        self._arrived = threading.Event()
        self._waiting = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._queue)

    @property
    def full(self) -> bool:
        """Whether the network thread should stop reading for now.

        True from either bound on, until half of it is free again. Only the network thread asks.
        """
        self._full = self._share() >= (0.5 if self._full else 1.0)
        return self._full

    def _share(self) -> float:
        """The used share of the nearer bound: 0 if empty, 1 at the bound."""
        return max(len(self._queue) / MAX_WAITING, (self._bytes_put - self._bytes_taken) / MAX_WAITING_BYTES)

    def put(self, message: Message) -> None:
        """Add a message. The network thread calls this, so it never waits."""
        if message.qos == 0 and self._share() >= 0.5:
            self.dropped += 1
            return
        self._bytes_put += len(message.payload)
        self._queue.append(message)
        if self._waiting:
            self._arrived.set()

    def wake(self) -> None:
        """End a wait for messages."""
        self._arrived.set()

    def take(self, limit: int, max_age: float, timeout: float) -> list[Message]:
        """Remove and return the next batch, of at most ``limit`` messages.

        Waits up to ``timeout`` seconds for the first message, and then ``max_age`` seconds for more. A batch
        that can be filled is taken without waiting, so batches grow with the load. Empty if no message came.
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
        self._bytes_taken += size
        return batch

    def oldest_age(self, now: float) -> float:
        """Return the seconds that the next message has waited; ``now`` is a POSIX time."""
        return now - self._queue[0].received_at.timestamp() if self._queue else 0.0
