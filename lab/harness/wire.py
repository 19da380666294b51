"""MQTT 3.1.1 packets, as far as the laboratory reads and writes them."""

import re
from collections.abc import Iterator

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK, DISCONNECT = 0x10, 0x20, 0x30, 0x40, 0x82, 0x90, 0xE0
_IDENTITY = re.compile(rb'^\{"n": ([0-9]{1,12})[,}]')


class Packets:
    """Cuts a stream of bytes into control packets."""

    def __init__(self) -> None:
        self._rest = b""

    @property
    def empty(self) -> bool:
        """Whether no part of a packet waits for the rest of it."""
        return not self._rest

    def feed(self, data: bytes) -> Iterator[tuple[int, bytes, bytes]]:
        """Take further bytes.

        Yield each packet that is complete: its first byte, its body, and all of it.
        """
        self._rest += data
        position, end = 0, len(self._rest)
        while True:
            length, size = 0, 1
            while position + size < end and size <= 4:
                digit = self._rest[position + size]
                length |= (digit & 0x7F) << 7 * (size - 1)
                size += 1
                if digit < 0x80:
                    break
            else:
                break
            stop = position + size + length
            if stop > end:
                break
            yield self._rest[position], self._rest[position + size : stop], self._rest[position:stop]
            position = stop
        self._rest = self._rest[position:]


def publication(first: int, body: bytes) -> tuple[str, bytes, int]:
    """Return topic, payload and packet id (0 for QoS 0) of a PUBLISH."""
    size = int.from_bytes(body[:2], "big")
    topic, rest = body[2 : 2 + size].decode("utf-8", "replace"), body[2 + size :]
    if first & 0x06:
        return topic, rest[2:], int.from_bytes(rest[:2], "big")
    return topic, rest, 0


def identity(payload: bytes) -> int | None:
    """Return the number that a message of the laboratory carries at its head.

    None for any other message.
    """
    match = _IDENTITY.match(payload[:32])
    return int(match[1]) if match else None


def client_id(body: bytes) -> str:
    """Return the client id of a CONNECT."""
    name = int.from_bytes(body[:2], "big")
    at = 2 + name + 4  # protocol name, level, flags, keepalive
    size = int.from_bytes(body[at : at + 2], "big")
    return body[at + 2 : at + 2 + size].decode("utf-8", "replace")


def packet(kind: int, body: bytes) -> bytes:
    """Return a control packet of this first byte and body."""
    length, digits = len(body), bytearray([kind])
    while True:
        length, digit = divmod(length, 128)
        digits.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(digits) + body


def text(value: str) -> bytes:
    """Return a string with its length before it."""
    data = value.encode()
    return len(data).to_bytes(2, "big") + data


def connect(client: str, username: str, password: str, *, clean: bool = True) -> bytes:
    """Return a CONNECT without keepalive."""
    flags = 0xC2 if clean else 0xC0
    return packet(
        CONNECT, text("MQTT") + bytes([4, flags, 0, 0]) + text(client) + text(username) + text(password)
    )


def publish(
    topic: str, payload: bytes, packet_id: int, *, again: bool = False, retain: bool = False
) -> bytes:
    """Return a PUBLISH with QoS 1; ``again`` sets DUP."""
    first = PUBLISH | 0x02 | (0x08 if again else 0) | (0x01 if retain else 0)
    return packet(first, text(topic) + packet_id.to_bytes(2, "big") + payload)
