"""What was published, what the broker acknowledged, and what the consumer has acknowledged to the broker since."""

import threading
from collections import Counter
from collections.abc import Iterable

from lab.torture.messages import Plan, message_of


class DeliveryLog:
    """Written by the publisher's reader and the proxy, read by the harness: every method may be called on any thread."""

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
        """An event of the publisher: P published, R published again, A acknowledged by the broker, D answered by the platform."""
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
        """The broker has sent this message to a consumer."""
        with self._lock:
            self._delivered.add(identity)

    def confirm(self, identities: Iterable[int]) -> None:
        """A consumer has acknowledged these, or they need no acknowledgement any more."""
        with self._lock:
            for identity in identities:
                self._confirmed.add(identity)
                self._outstanding.discard(identity)

    def outstanding(self) -> set[int]:
        """Identities that the broker has taken and no consumer has acknowledged."""
        with self._lock:
            return set(self._outstanding)

    def undelivered(self) -> set[int]:
        """Outstanding, and not even sent to a consumer yet."""
        with self._lock:
            return self._outstanding - self._delivered

    def counts(self) -> tuple[int, int]:
        """Messages published, and acknowledged by the broker."""
        with self._lock:
            return len(self.first_order), len(self.acknowledged)
