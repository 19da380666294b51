"""PUBLISH packets in the buffer: whole ones, cut ones, and malformed ones."""

import tracemalloc

import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from lab.harness import wire
from tds_new.ingestion.message import MAX_KEPT_BYTES
from tds_new.ingestion.transport.client import (
    MAX_OUTGOING_BYTES,
    MAX_PACKET_BYTES,
    MAX_UNACKNOWLEDGED,
    BufferedClient,
    Publication,
)

pytestmark = pytest.mark.once

V3, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
GOOD = wire.publish("a/b", b"payload", 7)
EXPECTED = Publication(b"a/b", b"payload", 1, False, False, 7)


def client(data: bytes, protocol: MQTTProtocolVersion = V3) -> BufferedClient:
    made = BufferedClient(CallbackAPIVersion.VERSION2, protocol=protocol)
    made._incoming = data
    return made


class FakeSocket:
    """A socket that gives bytes in pieces of one read each, then nothing; then it is closed."""

    def __init__(self, data: bytes, closes: bool = False) -> None:
        self.data, self.closes = memoryview(data), closes

    def recv(self, size: int) -> bytes:
        if not self.data and not self.closes:
            raise BlockingIOError
        taken, self.data = self.data[:size], self.data[size:]
        return bytes(taken)

    def close(self) -> None:
        """Be closed."""


def receive(reading: BufferedClient, data: bytes, closes: bool = False) -> list[Publication]:
    """Serve the client as the connection's loop does, until nothing is left to read."""
    fake = FakeSocket(data, closes)
    reading._sock = fake  # type: ignore[assignment]
    received: list[Publication] = []
    reading.on_message = lambda _client, _userdata, raw: received.append(
        Publication(raw._topic, bytes(raw.payload), raw.qos, raw.retain, raw.dup, raw.mid)
    )
    while fake.data or reading.has_input:
        received += reading.publications()
        reading.loop_read()
    return received


@pytest.mark.parametrize("protocol", [V3, V5])
def test_of_a_packet_too_large_to_be_kept_the_beginning_is_taken(protocol: MQTTProtocolVersion) -> None:
    def packet(payload: bytes) -> bytes:
        return wire.publish("a/b", payload, 7) if protocol == V3 else publish_5(b"", payload)

    content = b"0123456789" * 600_000
    before, after = packet(b"before"), packet(b"after")
    for size in (MAX_KEPT_BYTES, MAX_PACKET_BYTES - 20, MAX_PACKET_BYTES, len(content)):
        data = before + packet(content[:size]) + after
        for at in range(len(before), len(before) + 12):  # where the reads divide the packet
            reading = BufferedClient(CallbackAPIVersion.VERSION2, protocol=protocol, manual_ack=True)
            reading._incoming = data[:at]
            first, large, last = receive(reading, data[at:])
            assert (first.payload, last.payload) == (b"before", b"after")
            assert (large.topic, large.packet_id, large.qos) == (b"a/b", 7, 1)
            if size < MAX_PACKET_BYTES:
                assert (large.payload == content[:size], large.size) == (True, 0)
            else:
                assert (large.payload == content[:MAX_KEPT_BYTES], large.size) == (True, size)


def test_a_packet_that_is_skipped_takes_no_memory() -> None:
    data = wire.publish("a/b", b"x" * 50_000_000, 7)
    reading = client(b"")
    tracemalloc.start()
    (large,) = receive(reading, data)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (large.size, len(large.payload)) == (50_000_000, MAX_KEPT_BYTES)
    assert peak < 5_000_000


def test_a_packet_of_properties_has_no_payload_that_could_be_kept() -> None:
    properties = b"\x26" + wire.text("k") + wire.text("v")
    length = 1_200_000 // len(properties) * len(properties)
    size = bytes([length & 127 | 128, length >> 7 & 127 | 128, length >> 14])
    content = wire.text("a/b") + b"\0\7" + size + properties * (length // len(properties)) + b"payload"
    (large,) = receive(client(b"", V5), wire.packet(wire.PUBLISH | 2, content))
    assert (large.topic, large.payload, large.size) == (b"a/b", b"", 7)


def test_answers_are_dropped_while_the_broker_does_not_read() -> None:
    sending = client(b"")
    for number in range(MAX_OUTGOING_BYTES // 50):
        sending.answer("a/b/ack", b'{"seq": %d, "room": "%s"}' % (number, b"x" * 100))
    assert len(sending._outgoing) <= MAX_OUTGOING_BYTES + 200
    assert sending.unacknowledged <= MAX_UNACKNOWLEDGED


def test_a_connection_that_ends_in_a_large_packet_is_noticed() -> None:
    data = wire.publish("a/b", b"x" * 3_000_000, 7)
    reading = client(b"")
    assert receive(reading, data[:2_000_000]) == []
    reading._sock = FakeSocket(b"", closes=True)  # type: ignore[assignment]
    with pytest.raises(ConnectionError):
        reading.publications()


def publish_5(properties: bytes, payload: bytes = b"payload") -> bytes:
    return wire.packet(
        wire.PUBLISH | 2, wire.text("a/b") + b"\0\7" + bytes([len(properties)]) + properties + payload
    )


def test_whole_packets_are_taken_and_one_that_is_cut_is_left() -> None:
    for cut in range(1, len(GOOD)):
        reading = client(GOOD + GOOD[:cut])
        assert list(reading.publications()) == [EXPECTED]
        assert reading._incoming[reading._position :] == GOOD[:cut]


def test_packets_without_an_acknowledgement_without_a_payload_and_with_properties() -> None:
    assert list(client(wire.packet(wire.PUBLISH, wire.text("a") + b"x")).publications()) == [
        Publication(b"a", b"x", 0, False, False, 0)
    ]
    assert list(client(wire.publish("a", b"", 1)).publications()) == [
        Publication(b"a", b"", 1, False, False, 1)
    ]
    assert list(client(wire.packet(wire.PUBLISH, wire.text("") + b"x")).publications()) == [
        Publication(b"", b"x", 0, False, False, 0)
    ]
    assert list(client(publish_5(b"") + publish_5(b"\x01\x01"), V5).publications()) == [EXPECTED, EXPECTED]


def body(kind: int, content: bytes) -> bytes:
    return wire.packet(wire.PUBLISH | kind, content)


@pytest.mark.parametrize(
    ("packet", "protocol"),
    [
        (body(0, b""), V3),
        (body(0, b"\0"), V3),
        (body(0, b"\0\5a"), V3),
        (body(0, b"\xff\xffa"), V3),
        (body(2, b"\0\1a"), V3),
        (body(2, b"\0\1a\0"), V3),
        (body(2, b"\0\1a\0\0"), V3),  # packet id 0
        (body(2, b"\0\1a\0\7"), V5),  # no properties' length
        (body(2, b"\0\1a\0\7\5x"), V5),
        (body(2, b"\0\1a\0\7\xff\xff\xff\xff\x01"), V5),
        (body(2, b"\0\1a\0\7\x80"), V5),
    ],
)
@pytest.mark.parametrize("after", [b"", GOOD, b"\0" * 100], ids=["last", "packet", "zeros"])
def test_a_packet_that_contradicts_itself_is_an_error_and_what_came_before_it_counts(
    packet: bytes, protocol: MQTTProtocolVersion, after: bytes
) -> None:
    before = GOOD if protocol == V3 else publish_5(b"")
    reading = client(before + packet + after, protocol).publications()
    assert next(reading) == EXPECTED
    with pytest.raises(ValueError, match="malformed"):
        next(reading)
