"""Hostile gateways: what they cost the broker, the consumer and all others.

Some send numbered messages and do not take the answers: they are offline, or do not acknowledge, or do not
read at all. One sends messages of almost 1 MiB.
"""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

from django.conf import settings

from lab.benchmarks.figures import Percentiles, Requirement, at_most, distributions, nothing
from lab.benchmarks.ingest_bench import Bench
from lab.benchmarks.load_generator import gateway_mac
from lab.harness import wire
from lab.harness.environment import ADMIN
from lab.harness.process import memory_of
from lab.harness.report import paragraph
from tds_new.embedded.ports import LOOPBACK

OTHERS = 100  # gateways that behave, with 1 message/s each
CHUNK = 500  # messages handed to the socket at once
RATE = 2_000  # messages/s of a hostile gateway: what the consumer takes without a queue at the broker
ROUND = 10_000  # messages before the one that is offline disconnects
FIRST_SEQ = 10**12  # no number of the others
LARGE_BYTES, LARGE_RATE = 1_040_000, 30  # and messages/s: 250 Mbit/s
SAMPLE_S = 0.2
WARM_UP_S = 12.0  # the broker has reported its store once


class Hostile(threading.Thread):
    """A gateway with a persistent session that sends far too much.

    Its messages carry numbers, and no readings.
    """

    def __init__(self, bench: Bench, gateway: int) -> None:
        super().__init__(name=type(self).__name__, daemon=True)
        environment = bench.environment
        self._address = LOOPBACK, environment.broker.port
        self._secret = environment.admin_secret
        self._base = f"{settings.MQTT_TOPIC_PREFIX}/{gateway_mac(gateway)}"
        self._client_id = f"hostile-{gateway}"
        self._ended = threading.Event()
        self.sent = 0

    def stop(self) -> None:
        """End its thread."""
        self._ended.set()
        self.join(30)

    def run(self) -> None:
        """Send until told to stop, on one connection after another."""
        while not self._ended.is_set():
            with contextlib.suppress(OSError), self._connect() as connection:
                self.attack(connection)

    def attack(self, connection: socket.socket) -> None:
        """Send on one connection."""
        raise NotImplementedError

    def _connect(self) -> socket.socket:
        connection = socket.create_connection(self._address, timeout=10)
        connection.sendall(wire.connect(self._client_id, ADMIN, self._secret, clean=False))
        connection.sendall(wire.packet(wire.SUBSCRIBE, b"\0\x01" + wire.text(f"{self._base}/ack") + b"\x01"))
        return connection

    def pause(self) -> None:
        """Wait, so that the messages themselves do not pile up in the broker."""
        self._ended.wait(CHUNK / RATE)

    def send_chunk(self, connection: socket.socket, room: bytes = b"") -> None:
        """Send so many messages, each with a number of its own.

        With ``room`` it is one, and so much larger.
        """
        topic, first, count = f"{self._base}/telemetry", FIRST_SEQ + self.sent, 1 if room else CHUNK
        connection.sendall(
            b"".join(
                wire.publish(topic, b'{"seq": %d, "leituras": [], "x": "%s"}' % (seq, room), seq % 65_535 + 1)
                for seq in range(first, first + count)
            )
        )
        self.sent += count


class Offline(Hostile):
    """It disconnects before its answers come, again and again."""

    def attack(self, connection: socket.socket) -> None:
        """Send a round of messages, and go."""
        for _ in range(0, ROUND, CHUNK):
            self.send_chunk(connection)
            self.pause()


class NotAcknowledging(Hostile):
    """It reads its answers, and never acknowledges one."""

    def attack(self, connection: socket.socket) -> None:
        """Send, and read what comes."""
        connection.settimeout(0.001)
        while not self._ended.is_set():
            connection.settimeout(10)
            self.send_chunk(connection)
            connection.settimeout(0.001)
            with contextlib.suppress(TimeoutError):
                while connection.recv(1_048_576):
                    continue
            self.pause()


class NotReading(Hostile):
    """It never reads its socket."""

    def attack(self, connection: socket.socket) -> None:
        """Send."""
        while not self._ended.is_set():
            self.send_chunk(connection)
            self.pause()


class Large(NotAcknowledging):
    """It sends messages of almost 1 MiB."""

    def send_chunk(self, connection: socket.socket, room: bytes = b"x" * LARGE_BYTES) -> None:
        """Send one message."""
        super().send_chunk(connection, room)

    def pause(self) -> None:
        """Wait, so that they do not fill the broker's queue for the consumer."""
        self._ended.wait(1 / LARGE_RATE)


KINDS: dict[str, type[Hostile]] = {
    "offline": Offline,
    "online, not acknowledging": NotAcknowledging,
    "online, not reading": NotReading,
    "messages of 1 MiB": Large,
}


@dataclass(frozen=True)
class Attack:
    """The figures of one kind of attack.

    ``broker`` and ``consumer`` are the largest resident memory seen, in MiB, ``latency`` is the others'
    publish to commit and back, ``unanswered`` are messages of theirs; ``sent`` are those of the attack.
    """

    kind: str
    sent: int
    broker: float
    consumer: float
    latency: dict[str, Any]
    unanswered: int


@dataclass(frozen=True)
class HostileGateways:
    """The figures of the part; ``quiet`` is the others' latency without an attack."""

    seconds: float
    broker: float
    consumer: float
    quiet: dict[str, Any]
    attacks: list[Attack]


class MemoryWatch:
    """The largest resident memory of two processes while the context is open, in MiB."""

    def __init__(self, *processes: Callable[[], int | None]) -> None:
        self._processes = processes
        self.largest = [0.0] * len(processes)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> "MemoryWatch":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while True:
            for number, process in enumerate(self._processes):
                pid = process()
                if pid is not None:
                    self.largest[number] = max(self.largest[number], memory_of(pid) or 0.0)
            if self._stop.wait(SAMPLE_S):
                return


def measure(bench: Bench) -> HostileGateways:
    """Measure the others without an attack, and beside each kind of it.

    The attacks follow each other: what the broker keeps of one is there during the next.
    """
    environment, seconds = bench.environment, bench.sizes.hostile_seconds
    environment.register_fleet(OTHERS + len(KINDS))
    attacks: list[Attack] = []
    with environment.consumer() as consumer:
        processes = (lambda: environment.broker.pid), (lambda: consumer.process.pid)
        with MemoryWatch(*processes) as quiet_memory:
            quiet = _others(bench, WARM_UP_S)
        bench.say(f"no attack: broker {quiet_memory.largest[0]:.0f} MiB, p99 {quiet.p99:.1f} ms")
        for number, (kind, attacker) in enumerate(KINDS.items()):
            with MemoryWatch(*processes) as memory, _running(attacker(bench, OTHERS + number)) as hostile:
                latency = _others(bench, seconds)
            broker, own = memory.largest
            unanswered = int(seconds * OTHERS) - latency.samples
            attacks.append(Attack(kind, hostile.sent, broker, own, asdict(latency), unanswered))
            bench.say(
                f"{kind}: {hostile.sent:,} sent, broker {broker:.0f} MiB, consumer {own:.0f} MiB; "
                f"the others' p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms"
            )
    broker, own = quiet_memory.largest
    return HostileGateways(seconds, broker, own, asdict(quiet), attacks)


@contextlib.contextmanager
def _running(hostile: Hostile) -> Iterator[Hostile]:
    hostile.start()
    time.sleep(1.0)
    try:
        yield hostile
    finally:
        hostile.stop()


def _others(bench: Bench, seconds: float) -> Percentiles:
    """Have the gateways that behave send for so long.

    Return how long their answers took. Raises LabError if one of their messages is not answered.
    """
    job = bench.load.job(int(seconds * OTHERS), OTHERS, rate=OTHERS, sample=1)
    published = bench.load.publish(job)
    return Percentiles.of(published.latencies)


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require bounds of memory, and of the others' time."""
    found = []
    for attack in figures["attacks"]:
        kind = attack["kind"]
        found += [
            nothing(f"of the others' messages without an answer, {kind}", attack["unanswered"]),
            at_most(f"memory of the broker, {kind}", 256, attack["broker"], "MiB"),
            at_most(f"memory of the consumer, {kind}", 250, attack["consumer"], "MiB"),
            at_most(
                f"publish to commit of the others, {kind}, p99", 1_000, attack["latency"]["p99"], "ms", 1
            ),
        ]
    return found


def section(figures: dict[str, Any]) -> list[str]:
    """Describe the memory and the latencies."""
    attacks = figures["attacks"]
    return [
        *paragraph(
            f"{OTHERS} gateways at 1 message/s, whose messages are numbered, beside one hostile gateway for",
            f"{figures['seconds']:g} s each; what the broker keeps of one attack is there during the next.",
            f"Without an attack: broker {figures['broker']:.0f} MiB, consumer {figures['consumer']:.0f} MiB.",
        ),
        "",
        "| attack | messages | broker MiB | consumer MiB |",
        "|---|---|---|---|",
        *(
            f"| {attack['kind']} | {attack['sent']:,} | {attack['broker']:.0f} | {attack['consumer']:.0f} |"
            for attack in attacks
        ),
        "",
        *distributions(
            "publish to commit and back of the others",
            [("no attack", figures["quiet"]), *((attack["kind"], attack["latency"]) for attack in attacks)],
        ),
    ]
