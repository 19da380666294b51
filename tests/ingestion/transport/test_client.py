"""PUBLISH packets in the buffer: whole ones, cut ones, and malformed ones."""

import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from lab.harness import wire
from tds_new.ingestion.transport.client import BufferedClient, Publication

pytestmark = pytest.mark.once

V3, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
GOOD = wire.publish("a/b", b"payload", 7)
EXPECTED = Publication(b"a/b", b"payload", 1, False, False, 7)


def client(data: bytes, protocol: MQTTProtocolVersion = V3) -> BufferedClient:
    made = BufferedClient(CallbackAPIVersion.VERSION2, protocol=protocol)
    made._incoming = data
    return made


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
