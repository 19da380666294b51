"""paho-mqtt, read ahead and sent together."""

import logging
import socket
from typing import Any, cast

import paho.mqtt.client as paho
from paho.mqtt.enums import _ConnectionState

logger = logging.getLogger(__name__)

READ_SIZE = 262_144


class BufferedClient(paho.Client):
    """paho with a buffer on each side of its socket.

    paho asks the socket for one or two bytes at a time and sends every acknowledgement by itself: three system calls a message in, one
    out. Reading ahead and sending together leaves a hundredth of them.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self._incoming = memoryview(b"")
        self._outgoing = bytearray()
        super().__init__(*args, **kwargs)

    def _sock_recv(self, bufsize: int) -> bytes:
        if not self._incoming:
            self._incoming = memoryview(super()._sock_recv(READ_SIZE))
        taken = self._incoming[:bufsize]
        self._incoming = self._incoming[bufsize:]
        return bytes(taken)

    def _sock_send(self, buf: bytes | bytearray) -> int:
        self._outgoing += buf
        return len(buf)

    def _sock_close(self) -> None:
        if self._sock is not None and self._outgoing and self._state == _ConnectionState.MQTT_CS_DISCONNECTING:
            self._send_last()
        self._incoming = memoryview(b"")
        self._outgoing.clear()
        super()._sock_close()

    def _send_last(self) -> None:
        """Let acknowledgements and the DISCONNECT out before the socket closes."""
        sock = cast("socket.socket", self._sock)
        try:
            sock.settimeout(2.0)
            sock.sendall(self._outgoing)
        except OSError as error:
            logger.debug("the last packets could not be sent: %s", error)

    @property
    def has_input(self) -> bool:
        """Whether bytes are waiting that the operating system no longer tells of."""
        pending = getattr(self._sock, "pending", None)
        return bool(self._incoming) or (pending is not None and self._sock is not None and pending() > 0)

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
