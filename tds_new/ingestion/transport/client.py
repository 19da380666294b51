"""paho-mqtt, read ahead and sent together."""

import logging
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTProtocolVersion, _ConnectionState

logger = logging.getLogger(__name__)

READ_SIZE = 262_144


_PUBLISH, _PUBACK = 0x30, 0x40
_acknowledgement = struct.Struct(">BBH").pack


class Publication(NamedTuple):
    """A PUBLISH packet: its topic's bytes and what it carries."""

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    packet_id: int


class BufferedClient(paho.Client):
    """paho with a buffer on each side of its socket, and a short way for the two packets of the hot path.

    paho asks the socket for one or two bytes at a time, and takes some 25 us a message: three system calls, five dictionaries, a match
    against every filter. Whole PUBLISH packets in the buffer are taken out directly instead (:meth:`publications`), PUBACKs are
    written together. Everything else, and the packet that a read has cut in two, goes paho's way.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._incoming = b""
        self._position = 0
        self._outgoing = bytearray()
        super().__init__(*args, **kwargs)

    def publications(self) -> Iterator[Publication]:
        """The whole PUBLISH packets at the head of the buffer. MQTT 3.1.1, sections 2.2 and 3.3; for MQTT 5 properties are skipped.

        Raises ValueError where one's fields do not fit into it: nothing after it can be trusted, and the connection is to be closed
        (MQTT 5, section 4.13).
        """
        if self._in_packet["command"]:
            return  # paho is in the middle of a packet
        if self._position >= len(self._incoming):
            self._fill()
        data, position, end = self._incoming, self._position, len(self._incoming)
        has_properties = self._protocol == MQTTProtocolVersion.MQTTv5
        while position < end:
            flags = data[position]
            qos = flags >> 1 & 3
            if flags & 0xF0 != _PUBLISH or qos > 1:
                break
            length, start = _variable_integer(data, position + 1, end)
            if start < 0 or start + length > end:
                break
            stop, at = start + length, start + 2
            if length > 2:
                at += data[start] << 8 | data[start + 1]
            topic, packet_id = data[start + 2 : at], 0
            if qos and at + 2 <= stop:
                packet_id = data[at] << 8 | data[at + 1]
                at += 2
            if has_properties:
                size, at = _variable_integer(data, at, stop)
                at = at + size if at > 0 else stop + 1
            if at > stop or (qos and not packet_id):
                raise ValueError(f"a PUBLISH of {length} bytes is malformed")
            position = self._position = stop
            yield Publication(topic, data[at:stop], qos, bool(flags & 1), bool(flags & 8), packet_id)

    def send(self, topic: str, payload: bytes) -> None:
        """Send a PUBLISH with QoS 1 and forget it: whatever becomes of it, it is not sent again."""
        name, is_5 = topic.encode(), self._protocol == MQTTProtocolVersion.MQTTv5
        body = (
            len(name).to_bytes(2, "big")
            + name
            + self._mid_generate().to_bytes(2, "big")
            + b"\0" * is_5
            + payload
        )
        length, size = bytearray(), len(body)
        while size > 127:
            length.append(size & 127 | 128)
            size >>= 7
        if self.want_write():
            self.loop_write()  # what was published before goes before
        self._outgoing += bytes([_PUBLISH | 2]) + length + bytes([size]) + body
        with self._msgtime_mutex:
            self._last_msg_out = time.monotonic()

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Send a PUBACK for each."""
        self._outgoing += b"".join([_acknowledgement(_PUBACK, 2, packet_id) for packet_id in packet_ids])
        with self._msgtime_mutex:
            self._last_msg_out = time.monotonic()

    def not_reading(self) -> None:
        """Nothing is read on purpose, so silence says nothing of the broker: ping it, but wait for no answer."""
        self._ping_t = 0
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()

    def _fill(self) -> None:
        try:
            data = super()._sock_recv(READ_SIZE)
        except (BlockingIOError, ConnectionError):
            return  # paho meets the same when it reads, and knows what to do
        if data:
            self._incoming, self._position = data, 0
            with self._msgtime_mutex:
                self._last_bytes_received = time.monotonic()

    def _sock_recv(self, bufsize: int) -> bytes:
        if self._position >= len(self._incoming):
            self._incoming, self._position = super()._sock_recv(READ_SIZE), 0
        taken = self._incoming[self._position : self._position + bufsize]
        self._position += len(taken)
        return taken

    def _sock_send(self, buf: bytes | bytearray) -> int:
        self._outgoing += buf
        return len(buf)

    def _sock_close(self) -> None:
        if (
            self._sock is not None
            and self._outgoing
            and self._state == _ConnectionState.MQTT_CS_DISCONNECTING
        ):
            self._send_last()
        self._incoming, self._position = b"", 0
        self._outgoing.clear()
        super()._sock_close()

    def _send_last(self) -> None:
        """Let acknowledgements and the DISCONNECT out before the socket closes.

        A socket closed with unread input resets the connection, and the peer loses what was sent last: so read until it closes too.
        """
        sock = cast("socket.socket", self._sock)
        try:
            sock.settimeout(2.0)
            sock.sendall(self._outgoing)
            sock.shutdown(socket.SHUT_WR)
            until = time.monotonic() + 2.0
            while sock.recv(READ_SIZE) and time.monotonic() < until:
                continue
        except OSError as error:
            logger.debug("the last packets could not be sent: %s", error)

    @property
    def has_input(self) -> bool:
        """Whether bytes are waiting that the operating system no longer tells of."""
        pending = getattr(self._sock, "pending", None)
        return self._position < len(self._incoming) or (
            pending is not None and self._sock is not None and pending() > 0
        )

    @property
    def has_output(self) -> bool:
        """Whether bytes are waiting to be sent."""
        return bool(self._outgoing) or self.want_write()

    def push(self) -> None:
        """Send what is waiting, as far as the socket takes it. Raises OSError where the connection is gone."""
        if self.want_write():
            self.loop_write()
        while self._outgoing and self._sock is not None:
            try:
                sent = super()._sock_send(self._outgoing)
            except BlockingIOError:
                return
            del self._outgoing[:sent]

    def drop(self) -> None:
        """Close the connection without a word."""
        self._sock_close()


def _variable_integer(data: bytes, position: int, end: int) -> tuple[int, int]:
    """A variable byte integer and the position after it; a negative position where the data ends before."""
    value = shift = 0
    while position < end and shift < 28:
        digit = data[position]
        position += 1
        value |= (digit & 0x7F) << shift
        if digit < 0x80:
            return value, position
        shift += 7
    return 0, -1
