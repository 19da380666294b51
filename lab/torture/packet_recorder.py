"""The proxy between consumer and broker, which reads their packets.

It looks the message of each PUBACK up in the database.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from lab.harness import wire
from lab.torture.delivery_log import DeliveryLog
from lab.torture.proxy import Link, Proxy

if TYPE_CHECKING:
    import socket

# Takes identities; returns those of which no trace is in the database, None if the database did not
# answer.
Search = Callable[[list[int]], list[int] | None]


class RecordedLink(Link):
    """A consumer's connection to the broker."""

    def __init__(self, proxy: "Proxy", client: "socket.socket", server: "socket.socket") -> None:
        super().__init__(proxy, client, server)
        assert isinstance(proxy, PacketRecorder)
        self._recorder = proxy
        self._up, self._down = wire.Packets(), wire.Packets()
        self._delivered: dict[int, int | None] = {}  # packet id -> identity
        self.client_id = ""

    def downwards(self, data: bytes) -> bytes:
        """Note the identity of each message that is delivered, by its packet id.

        Everything goes on.
        """
        for first, body, _ in self._down.feed(data):
            kind = first & 0xF0
            if kind == wire.PUBLISH:
                _, payload, packet_id = wire.publication(first, body)
                if packet_id:
                    number = wire.identity(payload)
                    self._delivered[packet_id] = number
                    if number is not None:
                        self._recorder.deliveries.deliver(number)
            elif kind == wire.SUBACK:
                self._recorder.note_subscribed(self.client_id)
        return data

    def upwards(self, data: bytes) -> bytes:
        """Check acknowledgements, and return what goes on to the broker."""
        kept, confirmed = [], []
        for first, body, raw in self._up.feed(data):
            if first & 0xF0 == wire.PUBACK:
                packet_id = int.from_bytes(body[:2], "big")
                if packet_id not in self._delivered:
                    self._recorder.report_violation(
                        "I8",
                        f"PUBACK for packet id {packet_id}, which this connection of {self.client_id} "
                        "did not deliver",
                    )
                elif (number := self._delivered.pop(packet_id)) is not None:
                    confirmed.append(number)
                if self._recorder.swallow:
                    continue
            elif first & 0xF0 == wire.CONNECT:
                self.client_id = wire.client_id(body)
            kept.append(raw)
        if confirmed:
            self._recorder.check(confirmed)
            self._recorder.deliveries.confirm(confirmed)
        return b"".join(kept)


class PacketRecorder(Proxy):
    """Records the packets between consumers and broker.

    A PUBACK goes on only after its message was looked up. ``violations`` has invariants and texts;
    ``pubacks``, ``checked`` and ``unchecked`` count acknowledgements. While ``swallow`` is set no PUBACK goes
    on.
    """

    link = RecordedLink

    def __init__(self, target: int, deliveries: DeliveryLog, search: Search, fraction: float) -> None:
        """Listen before the broker on port ``target``.

        ``fraction`` of the messages are looked up by ``search``.
        """
        self.deliveries = deliveries
        self.swallow = False
        self.violations: list[tuple[str, str]] = []
        self.pubacks = self.checked = self.unchecked = 0
        self._search, self._every = search, max(1, round(1 / fraction)) if fraction > 0 else 0
        self._subscribed: dict[str, int] = {}
        self._noted = threading.Condition()
        super().__init__(target)

    def check(self, identities: list[int]) -> None:
        """Look a sample of acknowledged messages up in the database (I5)."""
        sample = [identity for identity in identities if self._every and identity % self._every == 0]
        missing = self._search(sample) if sample else []
        with self._noted:
            self.pubacks += len(identities)
            if missing is None:
                self.unchecked += len(sample)
                return
            self.checked += len(sample)
        if missing:
            self.report_violation("I5", f"acknowledged before its commit: {_some(missing)}")

    def report_violation(self, invariant: str, text: str) -> None:
        """Note a violation of an invariant."""
        with self._noted:
            self.violations.append((invariant, text))

    def note_subscribed(self, client_id: str) -> None:
        """Note that the broker has answered a subscription of this client."""
        with self._noted:
            self._subscribed[client_id] = self._subscribed.get(client_id, 0) + 1
            self._noted.notify_all()

    def subscriptions(self, client_id: str) -> int:
        """Return how often the broker has answered a subscription of this client."""
        with self._noted:
            return self._subscribed.get(client_id, 0)

    def wait_for_subscription(self, client_id: str, more_than: int, timeout: float) -> bool:
        """Wait until more than so many subscriptions are answered.

        Return False after ``timeout`` seconds.
        """
        deadline = time.monotonic() + timeout
        with self._noted:
            return self._noted.wait_for(
                lambda: self._subscribed.get(client_id, 0) > more_than, max(0.0, deadline - time.monotonic())
            )


def _some(numbers: list[int]) -> str:
    shown = ", ".join(map(str, sorted(numbers)[:5]))
    return f"message{'s' if len(numbers) > 1 else ''} {shown}" + (
        f" and {len(numbers) - 5} more" if len(numbers) > 5 else ""
    )
