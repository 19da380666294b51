"""TCP proxies that a fault can cut, freeze and slow down.

Each connection has two threads, so that neither direction waits for the other.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable


class Link:
    """One connection through a proxy."""

    def __init__(self, proxy: "Proxy", client: socket.socket, server: socket.socket) -> None:
        self._proxy, self._client, self._server = proxy, client, server
        self._flows = threading.Event()
        self._flows.set()
        self.closed = False
        for sock in (client, server):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def start(self) -> None:
        """Start moving bytes."""
        threading.Thread(
            target=self._pump, args=(self._client, self._server, self.upwards), daemon=True
        ).start()
        threading.Thread(
            target=self._pump, args=(self._server, self._client, self.downwards), daemon=True
        ).start()

    def upwards(self, data: bytes) -> bytes:
        """Return what of ``data`` goes on to the server."""
        return data

    def downwards(self, data: bytes) -> bytes:
        """Return what of ``data`` goes on to the client."""
        return data

    def freeze(self) -> None:
        """Move nothing any more and tell neither side.

        The connection is half open for both.
        """
        self._flows.clear()

    def thaw(self) -> None:
        """Move bytes again."""
        self._flows.set()

    def cut(self) -> None:
        """Close both ends at once."""
        self.closed = True
        self._flows.set()
        for sock in (self._client, self._server):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()

    def _pump(self, source: socket.socket, sink: socket.socket, change: Callable[[bytes], bytes]) -> None:
        try:
            while data := source.recv(65_536):
                self._wait()
                data = change(data)
                if self.closed:
                    return
                sink.sendall(data)
        except OSError:
            pass  # one end is gone: so is the other
        self._wait()
        self._proxy.forget(self)
        self.cut()

    def _wait(self) -> None:
        self._flows.wait()
        if self._proxy.delay:
            time.sleep(self._proxy.delay)


class Proxy:
    """Listens on ``port`` of the loopback address and connects to ``target`` there."""

    link = Link

    def __init__(self, target: int) -> None:
        self._target = target
        self.delay = 0.0
        self._frozen = False
        self._lock = threading.Lock()
        self._links: list[Link] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Accept nothing more and cut everything."""
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.cut()

    def cut(self) -> None:
        """Cut every connection."""
        for link in self.links():
            self.forget(link)
            link.cut()

    def freeze(self, *, new_ones: bool) -> None:
        """Freeze every connection until :meth:`thaw`.

        With ``new_ones`` those made meanwhile too.
        """
        self._frozen = new_ones
        for link in self.links():
            link.freeze()

    def thaw(self) -> None:
        """Let every connection go on."""
        self._frozen = False
        for link in self.links():
            link.thaw()

    def links(self) -> list[Link]:
        """Return the connections of this moment."""
        with self._lock:
            return list(self._links)

    def forget(self, link: Link) -> None:
        """Forget a connection that is gone."""
        with self._lock:
            if link in self._links:
                self._links.remove(link)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return  # closed
            try:
                server = socket.create_connection(("127.0.0.1", self._target), timeout=5)
                server.settimeout(None)
            except OSError:
                client.close()
                continue
            link = self.link(self, client, server)
            with self._lock:
                self._links.append(link)
            if self._frozen:
                link.freeze()
            link.start()


class DatabaseLink(Link):
    """A connection to PostgreSQL that notices the COMMIT of a batch."""

    copied = False

    def upwards(self, data: bytes) -> bytes:
        """Carry the armed action out at the COMMIT of a transaction that copied rows."""
        if b"COPY " in data:
            self.copied = True
        proxy = self._proxy
        if self.copied and b"COMMIT\0" in data:
            self.copied = False
            assert isinstance(proxy, DatabaseProxy)
            action = proxy.take_action()
            if action == "cut_before":
                self.cut()
            elif action == "cut_after":
                self.freeze()  # the answer, which the server is about to give, goes nowhere
                self._server.sendall(data)
                time.sleep(0.2)
                self.cut()
            elif action == "terminate":
                self._server.sendall(data)
                proxy.terminate()
                return b""
        return data


class DatabaseProxy(Proxy):
    """A proxy in front of PostgreSQL.

    ``terminate`` ends the consumer's sessions from elsewhere; ``acted`` is set once an armed action was
    carried out.
    """

    link = DatabaseLink

    def __init__(self, target: int, terminate: Callable[[], None]) -> None:
        self.terminate = terminate
        self._action = ""
        self.acted = threading.Event()
        super().__init__(target)

    def arm(self, action: str) -> None:
        """Have ``cut_before``, ``cut_after`` or ``terminate`` happen at the next COMMIT.

        Nothing with an empty action.
        """
        self.acted.clear()
        self._action = action

    def take_action(self) -> str:
        """Return the armed action, and disarm it."""
        action, self._action = self._action, ""
        if action:
            self.acted.set()
        return action
