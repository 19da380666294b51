"""The fate of each message between publisher, broker and consumer."""

import threading
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from lab.torture.messages import Plan, message_of


class Counts(NamedTuple):
    """Messages published, and acknowledged by the broker."""

    published: int
    acknowledged: int


class DeliveryLog:
    """The fate of each message. Every method may be called on any thread.

    The publisher's reader and the packet recorder write it, the run reads it. ``attempts`` counts by message
    number how often each was published; ``first_order`` has the numbers in the order of their first publish;
    ``acknowledged`` and ``answered`` are the numbers that the broker, and the platform, have answered.
    """

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self._lock = threading.Lock()
        self.attempts: Counter[int] = Counter()
        self.first_order: list[int] = []
        self.acknowledged: set[int] = set()
        self.answered: set[int] = set()
        self._confirmed: set[int] = set()
        self._delivered: set[int] = set()
        self._outstanding: set[int] = set()

    def note(self, event: str, numbers: Iterable[int]) -> None:
        """Note an event of the publisher about messages of these numbers.

        P: published, R: published again, A: acknowledged by the broker, D: answered by the platform.
        """
        with self._lock:
            for number in numbers:
                if event in "PR":
                    if not self.attempts[number]:
                        self.first_order.append(number)
                    self.attempts[number] += 1
                elif event == "A":
                    self.acknowledged.add(number)
                    identity = message_of(self.plan, number).identity
                    if identity not in self._confirmed:
                        self._outstanding.add(identity)
                else:
                    self.answered.add(number)

    def deliver(self, identity: int) -> None:
        """Note that the broker has sent this message to a consumer."""
        with self._lock:
            self._delivered.add(identity)

    def confirm(self, identities: Iterable[int]) -> None:
        """Note that a consumer has acknowledged these messages.

        Messages that need no acknowledgement any more are confirmed too.
        """
        with self._lock:
            for identity in identities:
                self._confirmed.add(identity)
                self._outstanding.discard(identity)

    def outstanding(self) -> set[int]:
        """Return the identities that no consumer has acknowledged to the broker yet."""
        with self._lock:
            return set(self._outstanding)

    def undelivered(self) -> set[int]:
        """Return the outstanding identities that were not even sent to a consumer yet."""
        with self._lock:
            return self._outstanding - self._delivered

    def counts(self) -> Counts:
        """Return how many messages are published, and acknowledged by the broker."""
        with self._lock:
            return Counts(len(self.first_order), len(self.acknowledged))

    def published_again(self) -> int:
        """Return how often messages were published after the first time."""
        with self._lock:
            return self.attempts.total() - len(self.attempts)
