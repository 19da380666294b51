"""A broker that keeps to no window.

Memory is bounded on our side, and the connection lasts.
"""

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import pytest

from lab.harness import wire
from tds_new.backoff import Backoff
from tds_new.ingestion import inbox
from tds_new.ingestion.consumer import Consumer, ConsumerOptions
from tds_new.ingestion.inbox import Inbox
from tds_new.ingestion.message import Message
from tds_new.ingestion.transport import BrokerConfig, MQTTSubscriber
from tds_new.ingestion.transport.client import MAX_UNACKNOWLEDGED, READ_SIZE
from tests.support.brokers import PREFIX
from tests.support.waiting import until

pytestmark = pytest.mark.once

PATTERN = f"{PREFIX}/+/telemetry"
TOPIC = f"{PREFIX}/aa:bb:cc:dd:ee:0a/telemetry"
PINGREQ, DISCONNECT = 0xC0, 0xE0
MESSAGES, SIZE, BOUND = 50_000, 200, 1_000
OVERSHOOT = READ_SIZE // SIZE  # messages that one read may bring on top of the bound


class FloodingBroker:
    """A broker that sends everything at once, on every connection again.

    It does not wait for acknowledgements, and never answers pings.
    """

    def __init__(self, messages: int = MESSAGES) -> None:
        self._numbers = range(messages)
        self.acknowledged: list[int] = []
        self.answers: list[bytes] = []
        self.pings = self.connections = self.goodbyes = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._sockets: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._sockets.append(connection)
            self.connections += 1
            threading.Thread(target=self._listen, args=(connection,), daemon=True).start()

    def _listen(self, connection: socket.socket) -> None:
        packets = wire.Packets()
        try:
            while data := connection.recv(65_536):
                for first, body, _ in packets.feed(data):
                    if first & 0xF0 == wire.CONNECT:
                        connection.sendall(bytes([wire.CONNACK, 2, 0, 0]))
                    elif first == wire.SUBSCRIBE:
                        connection.sendall(bytes([wire.SUBACK, 3]) + body[:2] + b"\1")
                        threading.Thread(target=self._flood, args=(connection,), daemon=True).start()
                    elif first == wire.PUBACK:
                        self.acknowledged.append(int.from_bytes(body, "big"))
                    elif first & 0xF0 == wire.PUBLISH:
                        assert first & 6 == 2  # QoS 1
                        self.answers.append(wire.publication(first, body)[1])
                    elif first == PINGREQ:
                        self.pings += 1
                    elif first == DISCONNECT:
                        self.goodbyes += 1
                        connection.close()
                        return
        except OSError:
            return

    def _flood(self, connection: socket.socket) -> None:
        data = b"".join(
            wire.publish(TOPIC, b"%06d" % number + b"x" * (SIZE - 6), number % 65_535 + 1)
            for number in self._numbers
        )
        try:
            connection.sendall(data)
        except OSError:
            return

    def cut(self) -> None:
        """Close the connection without a DISCONNECT."""
        for connection in self._sockets:
            with suppress(OSError):  # closed already
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def close(self) -> None:
        self._listener.close()
        self.cut()


@pytest.fixture
def flooding() -> Iterator[FloodingBroker]:
    broker = FloodingBroker()
    yield broker
    broker.close()


@pytest.fixture
def received(monkeypatch: pytest.MonkeyPatch) -> Inbox:
    monkeypatch.setattr(inbox, "MAX_WAITING", BOUND)
    return Inbox()


@pytest.fixture
def subscriber(flooding: FloodingBroker, received: Inbox) -> Iterator[MQTTSubscriber]:
    made = MQTTSubscriber(
        BrokerConfig("127.0.0.1", flooding.port, keepalive=1),
        "c",
        on_unhandled=received.put,
        full=lambda: received.full,
    )
    made.subscribe(PATTERN)
    made.start()
    yield made
    made.disconnect()


def test_no_more_is_read_than_there_is_room_for_and_pings_go_on_without_an_answer(
    flooding: FloodingBroker, received: Inbox, subscriber: MQTTSubscriber
) -> None:
    until(lambda: received.full)
    until(
        lambda: flooding.pings >= 4
    )  # an answer that does not come within the keepalive of 1 s is a dead broker otherwise
    assert BOUND <= len(received) <= BOUND + OVERSHOOT
    assert (subscriber.connected, subscriber.subscribed, subscriber.reconnects, flooding.connections) == (
        True,
        True,
        0,
        1,
    )


def test_acknowledgements_make_room_until_everything_has_come_once_and_in_order(
    flooding: FloodingBroker, received: Inbox, subscriber: MQTTSubscriber
) -> None:
    until(lambda: received.full)
    numbers: list[int] = []
    most = 0
    while len(numbers) < MESSAGES:
        until(lambda: len(received))
        most = max(most, len(received))
        batch = received.take(300, 0, 0)
        numbers += [int(message.payload[:6]) for message in batch]
        subscriber.ack(batch)
    assert numbers == list(range(MESSAGES))
    assert most <= BOUND + OVERSHOOT
    until(lambda: len(flooding.acknowledged) == MESSAGES)
    assert flooding.acknowledged == [number % 65_535 + 1 for number in range(MESSAGES)]
    assert flooding.connections == 1


def test_acknowledgements_go_out_while_nothing_is_read(
    flooding: FloodingBroker, received: Inbox, subscriber: MQTTSubscriber
) -> None:
    until(lambda: received.full)
    held = list(received._queue)[:10]  # still waiting, so that there is no more room than before
    subscriber.ack(held)
    until(lambda: len(flooding.acknowledged) == 10)
    assert BOUND <= len(received) <= BOUND + OVERSHOOT


def test_answers_wait_for_no_puback_which_would_not_be_read(
    flooding: FloodingBroker, received: Inbox, subscriber: MQTTSubscriber
) -> None:
    until(lambda: received.full)
    answers = [b'{"seq": %d}' % number for number in range(3 * MAX_UNACKNOWLEDGED)]
    for answer in answers:
        subscriber.answer(f"{PREFIX}/aa:bb:cc:dd:ee:0a/ack", answer)
    until(lambda: len(flooding.answers) == len(answers))
    assert flooding.answers == answers
    until(lambda: subscriber.unsent == MAX_UNACKNOWLEDGED)  # that many are sent again on another connection


def test_it_ends_in_order_while_nothing_is_read(
    flooding: FloodingBroker, received: Inbox, subscriber: MQTTSubscriber
) -> None:
    until(lambda: received.full)
    batch: list[Message] = received.take(100, 0, 0)
    subscriber.ack(batch)
    subscriber.disconnect()
    assert subscriber._loop._thread is not None
    assert not subscriber._loop._thread.is_alive()
    until(lambda: flooding.goodbyes == 1)
    assert flooding.acknowledged == [message.packet_id for message in batch]


def test_a_connection_lost_while_nothing_is_read_is_opened_again_and_what_waits_is_not_acknowledged_there(
    flooding: FloodingBroker, received: Inbox, subscriber: MQTTSubscriber, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tds_new.ingestion.transport.connection.RECONNECT", Backoff(0.01, 60.0, 0.5))
    until(lambda: received.full)
    old = received.take(100, 0, 0)
    flooding.cut()
    while flooding.connections < 2:
        subscriber.ack(old)  # noticed by what is sent
        until(lambda: not subscriber.connected or not subscriber.unsent)
    until(lambda: subscriber.connected)  # also while there is no room: the broker's answer is read
    assert received.full
    subscriber.ack(old)
    new: list[Any] = []
    while len(new) < 10:
        until(lambda: len(received))
        new += [
            message for message in received.take(300, 0, 0) if message.connection == subscriber.connection
        ]
    flooding.acknowledged.clear()
    subscriber.ack(new)
    until(lambda: len(flooding.acknowledged) >= len(new))
    assert flooding.acknowledged == [message.packet_id for message in new]


def test_the_consumer_holds_by_its_inbox(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_WAITING", 2)
    consumer = Consumer(ConsumerOptions(BrokerConfig("127.0.0.1", 9), "c"))
    for held in (False, False, True):
        assert consumer._subscriber._loop._full() is held
        consumer._inbox.put(Message(TOPIC, b"x", datetime.now(UTC)))
    consumer._step_down()  # a standby that leads again begins with an empty one
    assert not consumer._subscriber._loop._full()
    consumer._inbox.put(Message(TOPIC, b"x", datetime.now(UTC)))
    consumer._inbox.put(Message(TOPIC, b"x", datetime.now(UTC)))
    assert consumer._subscriber._loop._full()
    consumer._subscriber.disconnect()


def test_a_malformed_packet_costs_the_connection_and_not_the_thread(
    flooding: FloodingBroker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tds_new.ingestion.transport.connection.RECONNECT", Backoff(0.01, 60.0, 0.5))
    good = wire.publish(TOPIC, b"good", 1)
    came: list[Message] = []
    sent = [good + wire.packet(wire.PUBLISH | 2, b"\0\1a\0"), good]
    monkeypatch.setattr(flooding, "_flood", lambda connection: connection.sendall(sent.pop(0)))
    subscriber = MQTTSubscriber(BrokerConfig("127.0.0.1", flooding.port), "c", on_unhandled=came.append)
    subscriber.subscribe(PATTERN)
    subscriber.start()
    until(lambda: len(came) == 2)
    subscriber.disconnect()
    assert [(message.payload, message.connection) for message in came] == [(b"good", 0), (b"good", 1)]
    assert (subscriber.reconnects, flooding.connections) == (1, 2)
