"""One connection that publishes with QoS 1.

The load generator and the gateways under fault injection send over it.

The demonstration's publisher is a faithful gateway on the platform's own transport. The laboratory's is
neither: it knows nothing of the code that it tests, tells of each PUBACK, and costs little enough to send
faster than the consumer takes. Imports nothing of Django, because its processes start without it.
"""

import contextlib
import json
import socket
from typing import NamedTuple

from lab.harness import wire

READ_SIZE = 262_144


class Received(NamedTuple):
    """The result of one read.

    It has PUBACKs by packet id, and answers of the platform by their ``seq``.
    """

    packet_ids: list[int]
    answers: list[int]


class Connection:
    """A connection to the broker, open from the start.

    ``output`` is what the socket has not taken yet.

    The socket does not block; methods that use it raise OSError where the connection is lost.
    """

    def __init__(
        self,
        address: tuple[str, int],
        client_id: str,
        account: tuple[str, str],
        *,
        answers: str = "",
        timeout: float = 10,
    ) -> None:
        """Connect to ``address`` as ``account``, a user and a password.

        It subscribes to the topic filter ``answers`` if one is given.

        Raises OSError if the broker refuses, or does not answer within ``timeout`` seconds.
        """
        self.output = b""
        self._packets = wire.Packets()
        self.socket = socket.create_connection(address, timeout=timeout)
        try:
            self._handshake(client_id, account, answers)
        except BaseException:
            self.close()
            raise
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)

    def _handshake(self, client_id: str, account: tuple[str, str], answers: str) -> None:
        self.socket.sendall(wire.connect(client_id, *account))
        if self.socket.recv(4)[3:4] != b"\0":
            raise ConnectionError("the broker refused the publisher")
        if answers:
            self.socket.sendall(wire.packet(wire.SUBSCRIBE, b"\0\x01" + wire.text(answers) + b"\0"))
            if self.socket.recv(5)[:1] != bytes([wire.SUBACK]):
                raise ConnectionError("the broker refused the publisher's subscription")

    def flush(self) -> None:
        """Send as much of ``output`` as the socket takes now."""
        with contextlib.suppress(BlockingIOError):
            self.output = self.output[self.socket.send(self.output) :]

    def read(self) -> bytes:
        """Return what has come; nothing if nothing has.

        Raises ConnectionError if the broker has closed.
        """
        try:
            data = self.socket.recv(READ_SIZE)
        except BlockingIOError:
            return b""
        if not data:
            raise ConnectionError("the broker closed the publisher's connection")
        return data

    def read_pubacks_or_packets(self) -> int | Received:
        """Return the number of PUBACKs where nothing else has come, or everything.

        The number alone is quick to tell.
        """
        data = self.read()
        if self._packets.empty and len(data) % 4 == 0 and data[::4].count(wire.PUBACK) * 4 == len(data):
            return len(data) // 4
        return self._parse(data)

    def receive(self) -> Received:
        """Return the PUBACKs and answers that have come."""
        return self._parse(self.read())

    def _parse(self, data: bytes) -> Received:
        received = Received([], [])
        for first, body, _ in self._packets.feed(data):
            if first & 0xF0 == wire.PUBACK:
                received.packet_ids.append(int.from_bytes(body[:2], "big"))
            elif first & 0xF0 == wire.PUBLISH:
                received.answers.append(json.loads(wire.publication(first, body)[1])["seq"])
        return received

    def close(self) -> None:
        """Close the socket without a DISCONNECT."""
        self.socket.close()
