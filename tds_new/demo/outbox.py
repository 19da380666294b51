"""What a gateway has measured and the platform has not answered yet: kept, sent, and sent again."""

from itertools import islice

MEMORY = 1_000  # messages that a simulated gateway keeps; more are not measured
WINDOW = 100  # of these, how many are under way at the same time
RESEND_S, LONGEST_RESEND_S = 15.0, 600.0


class Outbox:
    """Messages by their number, oldest first, in memory (the reference gateway in ``examples/`` keeps them on disk).

    An answer comes after the commit. Until then a message is sent again after :data:`RESEND_S`, then after twice that time and so on,
    and on every new connection.
    """

    def __init__(self) -> None:
        self._messages: dict[int, bytes] = {}
        self._under_way: dict[
            int, tuple[float, float]
        ] = {}  # number -> when it is sent again, and how long it waited for that
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
        """Forget a message that the platform has stored; False where it is none of ours, or was answered before."""
        self._under_way.pop(seq, None)
        return self._messages.pop(seq, None) is not None

    def take(self, now: float, connection: int) -> list[bytes]:
        """What is to be sent now (monotonic time) on this connection; it counts as sent."""
        if connection != self._connection:
            self._connection = connection
            self._under_way.clear()
        again = [seq for seq, (due, _) in self._under_way.items() if due <= now]
        waiting = (seq for seq in self._messages if seq not in self._under_way)
        sent = [*again, *islice(waiting, WINDOW - len(self._under_way))]
        for seq in sent:
            wait = min(self._under_way[seq][1] * 2, LONGEST_RESEND_S) if seq in self._under_way else RESEND_S
            self._under_way[seq] = now + wait, wait
        return [self._messages[seq] for seq in sent]
