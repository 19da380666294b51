"""The messages of a gateway that the platform has not answered yet."""

from itertools import islice
from typing import NamedTuple

MEMORY = 1_000  # messages that a simulated gateway keeps; more are not measured
WINDOW = 100  # of these, how many are under way at the same time
RESEND_S, LONGEST_RESEND_S = 15.0, 600.0


class _Wait(NamedTuple):
    """The moment at which a message is sent again, and the wait before it.

    ``due`` is a monotonic time, ``seconds`` the time since it was sent last.
    """

    due: float
    seconds: float


class Outbox:
    """Messages by their number, oldest first, in memory.

    The reference gateway in ``examples/`` keeps them on disk.

    An answer comes after the commit. Until then a message is sent again after :data:`RESEND_S`, then after
    twice that time and so on, up to :data:`LONGEST_RESEND_S`, and on every new connection.
    """

    def __init__(self) -> None:
        self._messages: dict[int, bytes] = {}
        self._under_way: dict[int, _Wait] = {}
        self._connection = -1

    def __len__(self) -> int:
        return len(self._messages)

    @property
    def full(self) -> bool:
        """Whether there is no room for another message."""
        return len(self._messages) >= MEMORY

    def put(self, seq: int, payload: bytes) -> None:
        """Keep a message until it is answered."""
        self._messages[seq] = payload

    def answered(self, seq: int) -> bool:
        """Forget a message that the platform has stored, or refused for good.

        Returns False if it is none of ours, or was answered before.
        """
        self._under_way.pop(seq, None)
        return self._messages.pop(seq, None) is not None

    def dequeue_due(self, now: float, connection: int) -> list[bytes]:
        """Return the payloads to send now (monotonic time) on this connection.

        They count as sent.
        """
        if connection != self._connection:
            self._connection = connection
            self._under_way.clear()
        again = [seq for seq, wait in self._under_way.items() if wait.due <= now]
        waiting = (seq for seq in self._messages if seq not in self._under_way)
        sent = [*again, *islice(waiting, WINDOW - len(self._under_way))]
        for seq in sent:
            last = self._under_way.get(seq)
            seconds = min(last.seconds * 2, LONGEST_RESEND_S) if last else RESEND_S
            self._under_way[seq] = _Wait(now + seconds, seconds)
        return [self._messages[seq] for seq in sent]
