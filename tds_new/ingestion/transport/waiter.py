"""Waiting for a connection's socket and for pending calls at once."""

import selectors
import socket
from typing import Any


class SocketWaiter:
    """Waits for a connection's socket and for pending calls."""

    TIMEOUT = 0.5  # seconds between two iterations in which nothing happens

    def __init__(self, sock: Any, calls: socket.socket) -> None:
        self._sock = sock
        self._selector = selectors.DefaultSelector()
        self._selector.register(calls, selectors.EVENT_READ)
        self._registered = 0

    def __enter__(self) -> "SocketWaiter":
        return self

    def __exit__(self, *_: object) -> None:
        self._selector.close()

    def wait(self, events: int) -> bool:
        """Wait for ``events`` of the socket (selectors' masks) or for a pending call.

        Return whether the socket is readable.
        """
        if events != self._registered:
            self._register(events)
        return any(
            key.fileobj is self._sock and bool(found & selectors.EVENT_READ)
            for key, found in self._selector.select(self.TIMEOUT)
        )

    def _register(self, events: int) -> None:
        if not self._registered:
            self._selector.register(self._sock, events)
        elif not events:
            self._selector.unregister(self._sock)
        else:
            self._selector.modify(self._sock, events)
        self._registered = events
