"""The queue between the network thread and the batches."""

import threading
import time
from collections import deque

from tds_new.ingestion.message import Message

MAX_BATCH_BYTES = 2 * 1024 * 1024
MAX_SHARE_BYTES = 256 * 1024  # of one gateway in a batch, while more than this waits
MAX_WAITING = 20_000  # messages
MAX_WAITING_BYTES = 16 * 1024 * 1024  # of their payloads


class Inbox:
    """Messages that wait to be stored, bounded in number and in bytes.

    While it is ``full``, the network thread reads nothing, and further messages wait at the broker. The
    broker's in-flight window is not such a bound: Mosquitto 2.0.11 does not keep to it after the first PUBACK
    while messages are queued. Messages with QoS 0 carry no delivery guarantee, and no queue of the broker
    keeps them: while this is half full they are dropped and counted in ``dropped``, so that they take no room
    from the others.

    Of one gateway a batch has a share only: the rest of its messages is deferred, in their order, and those
    of others that came later go first.
    """

    def __init__(self) -> None:
        self._queue: deque[Message] = deque()
        # By the topics' levels above the last, so of a gateway all kinds. Only the thread that takes uses it.
        self._deferred: dict[str, deque[Message]] = {}
        self._deferred_count = 0
        self._oldest_deferred: float | None = None
        self._bytes_put = self._bytes_taken = 0  # each written by one thread only
        self._full = False
        self._arrived = threading.Event()
        self._waiting = False
        self.dropped = 0

    def __len__(self) -> int:
        return len(self._queue) + self._deferred_count

    @property
    def full(self) -> bool:
        """Whether the network thread should stop reading for now.

        True from either bound on, until half of it is free again. Only the network thread asks.
        """
        self._full = self._share() >= (0.5 if self._full else 1.0)
        return self._full

    def _share(self) -> float:
        """The used share of the nearer bound: 0 if empty, 1 at the bound."""
        return max(len(self) / MAX_WAITING, (self._bytes_put - self._bytes_taken) / MAX_WAITING_BYTES)

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
        if not self._queue and not self._deferred:
            self._waiting = True
            self._arrived.clear()
            if not self._queue:
                self._arrived.wait(timeout)
            self._waiting = False
        if self._queue and len(self) < limit and max_age:
            time.sleep(max_age)
        if self._deferred or self._bytes_put - self._bytes_taken > min(MAX_SHARE_BYTES, MAX_BATCH_BYTES):
            batch = self._take_shares(limit)
        else:
            batch = [self._queue.popleft() for _ in range(min(limit, len(self._queue)))]
        self._bytes_taken += sum([len(message.payload) for message in batch])
        return batch

    def _take_shares(self, limit: int) -> list[Message]:
        """Return a batch in which no gateway has more than its share.

        All that was deferred has one share together, and half of the messages at most.
        """
        shares: dict[str, int] = {}
        batch = self._take_deferred(max(1, limit // 2), shares)
        room = MAX_BATCH_BYTES - sum(shares.values())
        while self._queue and len(batch) < limit and room > 0:
            message = self._queue.popleft()
            gateway = message.topic.rpartition("/")[0]
            share = shares.get(gateway, 0)
            if gateway in self._deferred or share >= MAX_SHARE_BYTES:
                self._deferred.setdefault(gateway, deque()).append(message)
                self._deferred_count += 1
                continue
            shares[gateway] = share + len(message.payload)
            room -= len(message.payload)
            batch.append(message)
        self._oldest_deferred = min(
            (messages[0].received_at.timestamp() for messages in self._deferred.values()), default=None
        )
        return batch

    def _take_deferred(self, limit: int, shares: dict[str, int]) -> list[Message]:
        """Return deferred messages, one of each gateway in turn.

        ``shares`` gets their bytes.
        """
        batch: list[Message] = []
        room = min(MAX_SHARE_BYTES, MAX_BATCH_BYTES)
        while self._deferred and len(batch) < limit and room > 0:
            gateway, messages = next(iter(self._deferred.items()))
            message = messages.popleft()
            self._deferred_count -= 1
            shares[gateway] = shares.get(gateway, 0) + len(message.payload)
            room -= len(message.payload)
            batch.append(message)
            del self._deferred[gateway]
            if messages:
                self._deferred[gateway] = messages  # the last in turn
        return batch

    def oldest_age(self, now: float) -> float:
        """Return the seconds that the next message has waited; ``now`` is a POSIX time."""
        oldest = self._oldest_deferred
        if oldest is None and self._queue:
            oldest = self._queue[0].received_at.timestamp()
        return now - oldest if oldest is not None else 0.0
