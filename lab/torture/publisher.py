"""The gateways of a run: real QoS 1, a deliveries of what the broker acknowledged, everything else published again.

A process of its own: ``python -m lab.torture.publisher`` with the job as its first line of standard input. Then it takes orders,
a line each: ``limit N`` (publish numbers below N). It ends with its input. It writes events to standard output: ``P`` published, ``R``
published again, ``A`` acknowledged by the broker, ``D`` answered by the platform (where messages carry ``seq``), each with numbers.
"""

import json
import os
import selectors
import socket
import sys
import time
from dataclasses import asdict, dataclass

from lab.harness import wire
from lab.torture.messages import Plan, message_of

RECONNECT_AFTER = 0.2
ANSWER_TIMEOUT = 3.0
WINDOW = 100


@dataclass(frozen=True, slots=True)
class Job:
    """Where and how fast to publish; ``rate`` in messages/s over all ``connections``."""

    plan: Plan
    host: str
    port: int
    username: str
    password: str
    rate: float = 1_000.0
    connections: int = 2

    def text(self) -> str:
        """The job as one line."""
        return json.dumps({**asdict(self), "plan": self.plan.as_dict()})

    @staticmethod
    def parse(line: str) -> "Job":
        """The job of :meth:`text`."""
        values = json.loads(line)
        return Job(**{**values, "plan": Plan(**values["plan"])})


class Connection:
    """One connection: the messages of its gateways, in order. Those not acknowledged are sent again, in order, after a reconnect."""

    def __init__(self, job: Job, place: int, publisher: "Publisher") -> None:
        self._job, self._place, self._publisher = job, place, publisher
        self._next = self._advance(0)
        self._unacknowledged: dict[int, int] = {}  # packet id -> number, oldest first
        self._packet_id = 0
        self._socket: socket.socket | None = None
        self._output = b""
        self._packets = wire.Packets()
        self._retry_at = 0.0
        self._allowed_from = time.monotonic()
        self._unanswered: dict[int, float] = {}  # number -> when to send it again

    def _advance(self, number: int) -> int:
        while number % self._job.plan.gateways % self._job.connections != self._place:
            number += 1
        return number

    def turn(self, selector: selectors.BaseSelector, limit: int) -> None:
        """Connect where needed, and publish what is due."""
        now = time.monotonic()
        if self._socket is None:
            if now >= self._retry_at:
                self._open(selector)
            return
        while (
            self._next < limit
            and len(self._unacknowledged) < WINDOW
            and not self._output
            and now >= self._allowed_from
        ):
            number, self._next = self._next, self._advance(self._next + 1)
            self._allowed_from = max(self._allowed_from, now - 0.05) + self._job.connections / self._job.rate
            self._publisher.tell("P", number)
            self._send(number)
        for number in [n for n, due in self._unanswered.items() if due < now][:WINDOW]:
            self._publisher.tell("R", number)
            self._send(number)
        self._flush(selector)

    def _send(self, number: int) -> None:
        while True:
            self._packet_id = self._packet_id % 65_535 + 1
            if self._packet_id not in self._unacknowledged:
                break
        self._unacknowledged[self._packet_id] = number
        if self._job.plan.with_seq:
            self._unanswered[number] = time.monotonic() + ANSWER_TIMEOUT
        message = message_of(self._job.plan, number)
        self._output += wire.publish(message.topic, message.payload, self._packet_id)

    def _open(self, selector: selectors.BaseSelector) -> None:
        try:
            sock = socket.create_connection((self._job.host, self._job.port), timeout=2)
            sock.sendall(
                wire.connect(f"torture-{os.getpid()}-{self._place}", self._job.username, self._job.password)
            )
            if sock.recv(4)[3:4] != b"\0":
                raise ConnectionError("refused")
            if self._job.plan.with_seq:
                sock.sendall(
                    wire.packet(
                        wire.SUBSCRIBE, b"\0\x01" + wire.text(f"{self._job.plan.prefix}/+/ack") + b"\0"
                    )
                )
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setblocking(False)
        except OSError:
            self._retry_at = time.monotonic() + RECONNECT_AFTER
            return
        self._socket, self._packets = sock, wire.Packets()
        selector.register(sock, selectors.EVENT_READ, self)
        again = []
        for packet_id, number in self._unacknowledged.items():
            message = message_of(self._job.plan, number)
            again.append(wire.publish(message.topic, message.payload, packet_id, again=True))
            self._publisher.tell("R", number)
        self._output = b"".join(again)

    def read(self, selector: selectors.BaseSelector) -> None:
        """Take what the broker says."""
        assert self._socket is not None
        try:
            data = self._socket.recv(65_536)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._close(selector)
            return
        for first, body, _ in self._packets.feed(data):
            if first & 0xF0 == wire.PUBACK:
                number = self._unacknowledged.pop(int.from_bytes(body[:2], "big"), None)
                if number is not None:
                    self._publisher.tell("A", number)
            elif first & 0xF0 == wire.PUBLISH:
                _, payload, _ = wire.publication(first, body)
                number = json.loads(payload)["seq"]
                if self._unanswered.pop(number, None) is not None:
                    self._publisher.tell("D", number)

    def _flush(self, selector: selectors.BaseSelector) -> None:
        assert self._socket is not None
        if self._output:
            try:
                self._output = self._output[self._socket.send(self._output) :]
            except BlockingIOError:
                return
            except OSError:
                self._close(selector)

    def _close(self, selector: selectors.BaseSelector) -> None:
        if self._socket is not None:
            selector.unregister(self._socket)
            self._socket.close()
        self._socket, self._output = None, b""
        self._retry_at = time.monotonic() + RECONNECT_AFTER


class Publisher:
    """All connections, and the orders from standard input."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._limit = 0
        self._events: dict[str, list[int]] = {}
        self._connections = [Connection(job, place, self) for place in range(job.connections)]

    def tell(self, event: str, number: int) -> None:
        """Note an event, in order of its kind; what is published is told before what is acknowledged."""
        self._events.setdefault(event, []).append(number)

    def run(self) -> None:
        """Publish until standard input ends."""
        orders = sys.stdin.fileno()
        os.set_blocking(orders, False)
        waiting = b""
        with selectors.DefaultSelector() as selector:
            selector.register(orders, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(0.005):
                    if isinstance(key.data, Connection):
                        key.data.read(selector)
                        continue
                    data = os.read(orders, 4_096)
                    if not data:
                        return
                    *lines, waiting = (waiting + data).split(b"\n")
                    for line in lines:
                        self._limit = min(int(line.split()[1]), self._job.plan.messages)
                for connection in self._connections:
                    connection.turn(selector, self._limit)
                self._report()

    def _report(self) -> None:
        if self._events:
            for event in sorted(self._events, key="PRAD".index):
                sys.stdout.write(f"{event} {' '.join(map(str, self._events[event]))}\n")
            sys.stdout.flush()
            self._events.clear()


if __name__ == "__main__":
    first, rest = b"", b""
    while not first.endswith(b"\n"):  # unbuffered: what follows are orders
        first += os.read(sys.stdin.fileno(), 1)
    Publisher(Job.parse(first.decode())).run()
