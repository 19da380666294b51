"""paho-mqtt with a buffer on each side of its socket."""

import logging
import socket
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion, _ConnectionState

from tds_new.ingestion.message import MAX_KEPT_BYTES
from tds_new.ingestion.transport.config import BrokerConfig, Will, tls_context

logger = logging.getLogger(__name__)

CONNECT_TIMEOUT = 5.0  # seconds for TCP and TLS, and again for the broker's answer
READ_SIZE = 262_144
MAX_UNACKNOWLEDGED = 1_000  # publications sent and kept; further ones wait for the broker's PUBACKs
MAX_QUEUED = 100_000  # publications that may wait
MAX_OUTGOING_BYTES = 4 * 1024 * 1024  # that the broker has not taken; answers beyond them are dropped

# A larger PUBLISH is not read into memory as a whole: MQTT allows 256 MB. Its topic may have 64 KiB.
MAX_PACKET_BYTES = MAX_KEPT_BYTES + 65_536 + 16

_PUBLISH, _PUBACK = 0x30, 0x40
_INCOMPLETE = -1  # instead of a position, where data ends too early
_acknowledgement = struct.Struct(">BBH").pack


class Publication(NamedTuple):
    """A PUBLISH packet: its topic in UTF-8, its payload and its flags.

    The packet id is 0 with QoS 0. ``size`` is the payload's where ``payload`` is only its beginning; else 0.
    """

    topic: bytes
    payload: bytes
    qos: int
    retain: bool
    duplicate: bool
    packet_id: int
    size: int = 0


class BufferedClient(paho.Client):
    """paho's client with a faster way for PUBLISH and PUBACK, the frequent packets.

    paho reads one or two bytes of the socket at a time and spends some 25 us on a message: three system
    calls, five dictionaries, and a match against every filter. :meth:`publications` takes whole PUBLISH
    packets out of a buffer instead, and PUBACKs are written together. Every other packet, and a packet of
    which only a part has arrived, is left to paho. Of a PUBLISH over ``MAX_PACKET_BYTES`` only the beginning
    is kept.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._incoming = b""
        self._position = 0
        self._outgoing = bytearray()
        self._in_large = False  # in the middle of a PUBLISH that is too large to be kept
        super().__init__(*args, **kwargs)

    @property
    def name(self) -> str:
        """The client id."""
        return self._client_id.decode()

    # --- receiving ------------------------------------------------------------------------------------------

    def publications(self) -> Iterable[Publication]:
        """Take the whole PUBLISH packets from the head of the buffer.

        Their form is that of MQTT 3.1.1, sections 2.2 and 3.3. With MQTT 5 the properties are skipped. Raises
        ValueError for a packet whose fields do not fit into it: nothing after it can be trusted, and the
        connection is to be closed (MQTT 5, section 4.13). Raises OSError if it is closed in the middle of a
        packet that is too large to be kept.
        """
        return self._read_large() if self._in_large else self._take_publications()

    def _take_publications(self) -> Iterator[Publication]:
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
            if start == _INCOMPLETE or start + length > end:
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
                at = stop + 1 if at == _INCOMPLETE else at + size
            if at > stop or (qos and not packet_id):
                raise ValueError(f"a PUBLISH of {length} bytes is malformed")
            position = self._position = stop
            yield Publication(topic, data[at:stop], qos, bool(flags & 1), bool(flags & 8), packet_id)

    def _read_large(self) -> list[Publication]:
        """Read on in a packet of which only the beginning is kept.

        Return it once it has all been read.
        """
        if self._position >= len(self._incoming):
            try:
                self._incoming, self._position = super()._sock_recv(READ_SIZE), 0
            except BlockingIOError:
                return []
            if not self._incoming:
                raise ConnectionError("closed in the middle of a packet")
            with self._msgtime_mutex:
                self._last_bytes_received = time.monotonic()
        packet = self._in_packet
        size = min(len(self._incoming) - self._position, packet["to_process"])
        kept = min(size, MAX_PACKET_BYTES - len(packet["packet"]))
        packet["packet"] += self._incoming[self._position : self._position + kept]
        self._position += size
        packet["to_process"] -= size
        if packet["to_process"]:
            return []
        flags, beginning, length = packet["command"], bytes(packet["packet"]), packet["remaining_length"]
        packet["command"] = packet["have_remaining"] = packet["remaining_length"] = packet["pos"] = 0
        packet["remaining_mult"], packet["remaining_count"], packet["packet"] = 1, [], bytearray()
        self._in_large = False
        return [self._beginning(flags, beginning, length)]

    def _beginning(self, flags: int, data: bytes, length: int) -> Publication:
        """Return a PUBLISH of ``length`` bytes, of which ``data`` are the first.

        Raises ValueError if they contradict each other.
        """
        at = 2 + (data[0] << 8 | data[1])
        topic, packet_id = data[2:at], 0
        if flags & 6:
            packet_id = data[at] << 8 | data[at + 1]
            at += 2
        if self._protocol == MQTTProtocolVersion.MQTTv5:
            size, start = _variable_integer(data, at, len(data))
            at = length + 1 if start == _INCOMPLETE else start + size
        if at > length or (flags & 6 and not packet_id):
            raise ValueError(f"a PUBLISH of {length} bytes is malformed")
        payload = data[at : at + MAX_KEPT_BYTES]
        return Publication(
            topic, payload, flags >> 1 & 3, bool(flags & 1), bool(flags & 8), packet_id, length - at
        )

    @property
    def has_input(self) -> bool:
        """Whether bytes wait in a buffer, where a selector cannot see them."""
        pending = getattr(self._sock, "pending", None)
        return self._position < len(self._incoming) or (
            pending is not None and self._sock is not None and pending() > 0
        )

    def not_reading(self) -> None:
        """Expect no answer to a ping, because nothing is read.

        Silence does not mean then that the broker is gone.
        """
        self._ping_t = 0
        with self._msgtime_mutex:
            self._last_bytes_received = time.monotonic()

    def _fill(self) -> None:
        try:
            data = super()._sock_recv(READ_SIZE)
        except (BlockingIOError, ConnectionError):
            return  # paho gets the same when it reads, and handles it
        if data:
            self._incoming, self._position = data, 0
            with self._msgtime_mutex:
                self._last_bytes_received = time.monotonic()

    def _sock_recv(self, bufsize: int) -> bytes:
        if bufsize > MAX_PACKET_BYTES and self._in_packet["command"] & 0xF0 == _PUBLISH:
            self._in_large = True
        if self._in_large:
            raise BlockingIOError  # this packet is not left to paho
        if self._position >= len(self._incoming):
            self._incoming, self._position = super()._sock_recv(READ_SIZE), 0
        taken = self._incoming[self._position : self._position + bufsize]
        self._position += len(taken)
        return taken

    # --- sending --------------------------------------------------------------------------------------------

    @property
    def unacknowledged(self) -> int:
        """Publications with QoS 1 that the broker has not acknowledged."""
        return len(self._out_messages)

    def answer(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1, and keep it for another connection unless many are kept.

        It is dropped while the broker does not read: whoever needs it asks again.
        """
        if len(self._outgoing) > MAX_OUTGOING_BYTES:
            return
        if self.unacknowledged < MAX_UNACKNOWLEDGED:
            self.publish(topic, payload, 1)
        else:
            self.publish_once(topic, payload)

    def publish_once(self, topic: str, payload: bytes) -> None:
        """Send a PUBLISH with QoS 1 without keeping it: it is never sent again."""
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
            self.loop_write()  # what was published before is sent before
        self._outgoing += bytes([_PUBLISH | 2]) + length + bytes([size]) + body
        with self._msgtime_mutex:
            self._last_msg_out = time.monotonic()

    def acknowledge(self, packet_ids: Iterable[int]) -> None:
        """Send a PUBACK for each packet id."""
        self._outgoing += b"".join([_acknowledgement(_PUBACK, 2, packet_id) for packet_id in packet_ids])
        with self._msgtime_mutex:
            self._last_msg_out = time.monotonic()

    @property
    def has_output(self) -> bool:
        """Whether bytes wait to be sent."""
        return bool(self._outgoing) or self.want_write()

    def push(self) -> None:
        """Send what waits, as far as the socket takes it.

        Raises OSError if the connection is gone.
        """
        if self.want_write():
            self.loop_write()
        while self._outgoing and self._sock is not None:
            try:
                sent = super()._sock_send(self._outgoing)
            except BlockingIOError:
                return
            del self._outgoing[:sent]

    def _sock_send(self, buf: bytes | bytearray) -> int:
        self._outgoing += buf
        return len(buf)

    # --- closing --------------------------------------------------------------------------------------------

    def drop(self) -> None:
        """Close the connection without a DISCONNECT."""
        self._sock_close()

    def _sock_close(self) -> None:
        if (
            self._sock is not None
            and self._outgoing
            and self._state == _ConnectionState.MQTT_CS_DISCONNECTING
        ):
            self._send_last()
        self._incoming, self._position = b"", 0
        self._in_large = False
        self._outgoing.clear()
        super()._sock_close()

    def _send_last(self) -> None:
        """Send acknowledgements and the DISCONNECT before the socket closes.

        Closing a socket that has unread input resets the connection, and the peer loses what was sent last.
        So this reads until the peer closes too.
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


def make_client(config: BrokerConfig, client_id: str, will: Will | None) -> BufferedClient:
    """Return a client that is not connected yet.

    It leaves reading, writing and acknowledging to its owner.
    """
    is_5 = config.protocol == "5"
    client = BufferedClient(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
        clean_session=None if is_5 else not config.persistent,
        manual_ack=True,
    )
    client.connect_timeout = CONNECT_TIMEOUT
    client.max_queued_messages_set(MAX_QUEUED)
    client.max_inflight_messages_set(MAX_UNACKNOWLEDGED)
    if config.username:
        client.username_pw_set(config.username, config.password or None)
    if config.tls is not None:
        client.tls_set_context(tls_context(config.tls))
    if will is not None:
        client.will_set(will.topic, will.payload, will.qos, will.retain)
    # With this callback set the library does not write by itself.
    client.on_socket_register_write = lambda _client, _userdata, _sock: None
    return client


def _variable_integer(data: bytes, position: int, end: int) -> tuple[int, int]:
    """Read a variable byte integer (MQTT 3.1.1, section 2.2.3).

    Return it and the position after it; the position is _INCOMPLETE if the data ends before the integer does.
    """
    value = shift = 0
    while position < end and shift < 28:
        digit = data[position]
        position += 1
        value |= (digit & 0x7F) << shift
        if digit < 0x80:
            return value, position
        shift += 7
    return 0, _INCOMPLETE
