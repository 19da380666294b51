"""The gateways of a run: they publish messages again until the broker has them.

A process of its own: ``python -m lab.torture.publisher`` with the job as its first line of standard input.
Then it takes orders, a line each: ``limit N`` (publish numbers below N). It ends with its input. It writes
events to standard output: ``P`` published, ``R`` published again, ``A`` acknowledged by the broker, ``D``
answered by the platform (where messages carry ``seq``), each with numbers.

The demonstration's publisher does not do here: a run needs messages that are wrong on purpose, by number and
up to a limit, and has to know of each single one whether the broker has acknowledged it.
"""

import json
import os
import selectors
import sys
import time
from dataclasses import asdict, dataclass

from lab.harness import wire
from lab.harness.publisher import Connection
from lab.torture.messages import Plan, message_of

RECONNECT_AFTER_S = 0.2
CONNECT_TIMEOUT_S = 2.0
ANSWER_TIMEOUT_S = 3.0
WINDOW = 100  # messages of a connection that wait for their PUBACK
BURST_S = 0.05  # a connection that is behind its rate catches up so much at a time


@dataclass(frozen=True, slots=True)
class Job:
    """The address and the rate: ``rate`` in messages/s over all ``connections``."""

    plan: Plan
    host: str
    port: int
    username: str
    password: str
    rate: float = 1_000.0
    connections: int = 2

    def text(self) -> str:
        """Return the job as one line."""
        return json.dumps({**asdict(self), "plan": self.plan.as_dict()})

    @staticmethod
    def parse(line: str) -> "Job":
        """Return the job of a line that :meth:`text` has made."""
        values = json.loads(line)
        return Job(**{**values, "plan": Plan(**values["plan"])})


class GatewayConnection:
    """One connection: the messages of its gateways, in order.

    Those that are not acknowledged are sent again, in order, after a reconnect. ``place`` is its number among
    all.
    """

    def __init__(
        self, job: Job, place: int, publisher: "Publisher", selector: selectors.BaseSelector
    ) -> None:
        self._job, self._place, self._publisher, self._selector = job, place, publisher, selector
        self._next = self._advance(0)
        self._unacknowledged: dict[int, int] = {}  # packet id -> number, oldest first
        self._packet_id = 0
        self._connection: Connection | None = None
        self._retry_at = 0.0
        self._allowed_from = time.monotonic()
        self._unanswered: dict[int, float] = {}  # number -> when to send it again

    def _advance(self, number: int) -> int:
        """Return the first number from this one on that is of this connection."""
        while number % self._job.plan.gateways % self._job.connections != self._place:
            number += 1
        return number

    def publish_due(self, limit: int) -> None:
        """Connect where needed, and publish what is due of the messages below ``limit``."""
        now = time.monotonic()
        if self._connection is None:
            if now >= self._retry_at:
                self._open()
            return
        while self._may_publish(limit, now):
            number, self._next = self._next, self._advance(self._next + 1)
            self._allowed_from = (
                max(self._allowed_from, now - BURST_S) + self._job.connections / self._job.rate
            )
            self._publisher.tell("P", number)
            self._send(self._connection, number)
        for number in [number for number, due in self._unanswered.items() if due < now][:WINDOW]:
            self._publisher.tell("R", number)
            self._send(self._connection, number)
        try:
            if self._connection.output:
                self._connection.flush()
        except OSError:
            self._close()

    def _may_publish(self, limit: int, now: float) -> bool:
        assert self._connection is not None
        has_room = len(self._unacknowledged) < WINDOW and not self._connection.output
        return has_room and self._next < limit and now >= self._allowed_from

    def _send(self, connection: Connection, number: int) -> None:
        while True:
            self._packet_id = self._packet_id % 65_535 + 1
            if self._packet_id not in self._unacknowledged:
                break
        self._unacknowledged[self._packet_id] = number
        if self._job.plan.with_seq:
            self._unanswered[number] = time.monotonic() + ANSWER_TIMEOUT_S
        message = message_of(self._job.plan, number)
        connection.output += wire.publish(message.topic, message.payload, self._packet_id)

    def _open(self) -> None:
        job = self._job
        try:
            connection = Connection(
                (job.host, job.port),
                f"torture-{os.getpid()}-{self._place}",
                (job.username, job.password),
                answers=f"{job.plan.prefix}/+/ack" if job.plan.with_seq else "",
                timeout=CONNECT_TIMEOUT_S,
            )
        except OSError:
            self._retry_at = time.monotonic() + RECONNECT_AFTER_S
            return
        self._connection = connection
        self._selector.register(connection.socket, selectors.EVENT_READ, self)
        again = []
        for packet_id, number in self._unacknowledged.items():
            message = message_of(job.plan, number)
            again.append(wire.publish(message.topic, message.payload, packet_id, again=True))
            self._publisher.tell("R", number)
        connection.output = b"".join(again)

    def read(self) -> None:
        """Handle the packets that have come from the broker."""
        assert self._connection is not None
        try:
            received = self._connection.receive()
        except OSError:
            self._close()
            return
        for packet_id in received.packet_ids:
            number = self._unacknowledged.pop(packet_id, None)
            if number is not None:
                self._publisher.tell("A", number)
        for number in received.answers:
            if self._unanswered.pop(number, None) is not None:
                self._publisher.tell("D", number)

    def _close(self) -> None:
        if self._connection is not None:
            self._selector.unregister(self._connection.socket)
            self._connection.close()
        self._connection = None
        self._retry_at = time.monotonic() + RECONNECT_AFTER_S


class Publisher:
    """All connections, and the orders from standard input."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._limit = 0
        self._events: dict[str, list[int]] = {}
        self._selector = selectors.DefaultSelector()
        self._connections = [
            GatewayConnection(job, place, self, self._selector) for place in range(job.connections)
        ]
        self._input = b""

    def tell(self, event: str, number: int) -> None:
        """Note an event about a message.

        It is reported at the end of the loop's iteration.
        """
        self._events.setdefault(event, []).append(number)

    def run(self) -> None:
        """Publish until standard input ends."""
        orders = sys.stdin.fileno()
        os.set_blocking(orders, False)
        with self._selector as selector:
            selector.register(orders, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select(0.005):
                    if isinstance(key.data, GatewayConnection):
                        key.data.read()
                    elif not self._read_orders(orders):
                        return
                for connection in self._connections:
                    connection.publish_due(self._limit)
                self._report()

    def _read_orders(self, orders: int) -> bool:
        """Take the orders that have come; return False at the end of the input."""
        data = os.read(orders, 4_096)
        *lines, self._input = (self._input + data).split(b"\n")
        for line in lines:
            self._limit = min(int(line.split()[1]), self._job.plan.messages)
        return bool(data)

    def _report(self) -> None:
        """Write the events by their kind.

        Publications are told before acknowledgements.
        """
        if self._events:
            for event in sorted(self._events, key="PRAD".index):
                sys.stdout.write(f"{event} {' '.join(map(str, self._events[event]))}\n")
            sys.stdout.flush()
            self._events.clear()


if __name__ == "__main__":
    first_line = b""
    while not first_line.endswith(b"\n"):  # unbuffered: the rest of the input are orders
        first_line += os.read(sys.stdin.fileno(), 1)
    Publisher(Job.parse(first_line.decode())).run()
