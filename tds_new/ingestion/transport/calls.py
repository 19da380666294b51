"""Calls that other threads hand over to the thread of the connection."""

import socket
from collections import deque
from collections.abc import Callable
from contextlib import suppress


class PendingCalls:
    """A queue of calls, with a socket that is readable after a call was added."""

    def __init__(self) -> None:
        self._queue: deque[Callable[[], None]] = deque()
        self.reader, self._writer = socket.socketpair()
        for end in (self.reader, self._writer):
            end.setblocking(False)
        self._awake = False

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, call: Callable[[], None]) -> None:
        """Have the thread of the connection make ``call`` once it is connected."""
        self._queue.append(call)
        self.wake()

    def wake(self) -> None:
        """End the thread's wait for the socket."""
        if not self._awake:
            self._awake = True
            try:
                self._writer.send(b"\0")
            except OSError:  # the buffer is full, so that the thread wakes anyway; or the thread has ended
                return

    def run(self, connected: Callable[[], bool]) -> None:
        """Make the calls in their order for as long as ``connected`` returns True.

        Only the thread of the connection calls this.
        """
        with suppress(BlockingIOError):
            self.reader.recv(64)
        self._awake = False  # after the byte is read and before the queue is looked at: no call is overlooked
        while self._queue and connected():
            self._queue.popleft()()

    def close(self) -> None:
        """Free the sockets."""
        self.reader.close()
        self._writer.close()
