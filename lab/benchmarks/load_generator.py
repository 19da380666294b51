"""Publish telemetry over one connection, at full speed or at a fixed rate.

Runs as a process of its own: ``python -m lab.benchmarks.load_generator`` with a JSON job on standard input;
prints a JSON result.

A faithful gateway (``tds_new.demo.publisher``) cannot measure this: it keeps every message until the platform
answers, and would take more of the processor for each than the consumer that is measured, on the same
machine. This one makes its packets before the clock starts, counts PUBACKs instead of following them, and
sends nothing again.

It follows a message by the platform's own acknowledgement (``seq`` in, topic ``ack`` out), which comes after
the commit: a latency here is from the publish to the commit and back, an upper bound of publish to commit.
"""

import json
import selectors
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from lab.harness import wire
from lab.harness.macs import mac_address
from lab.harness.publisher import Connection

CHUNK = 200  # messages handed to the socket at once


@dataclass(frozen=True, slots=True)
class Job:
    """The load to publish.

    ``rate`` is in messages/s, 0 for as fast as the broker takes them; at most ``window`` messages wait for
    their PUBACK. Every ``sample``-th message carries a ``seq``; the last one always does where ``confirm`` is
    set, and the job ends with its answer, or with an error after ``timeout`` seconds. Message i is of gateway
    ``first`` + i modulo ``gateways``; its readings are one second after that gateway's previous ones, from
    ``start`` (ISO 8601) on.
    """

    host: str
    port: int
    username: str
    password: str
    prefix: str
    messages: int
    gateways: int
    start: str
    first: int = 0
    rate: float = 0.0
    window: int = 10_000
    sample: int = 0
    confirm: bool = True
    timeout: float = 120.0

    def text(self) -> str:
        """Return the job as :func:`main` reads it."""
        return json.dumps(asdict(self))


def gateway_mac(number: int) -> str:
    """Return the MAC of the ``number``-th gateway of the benchmarks' fleet."""
    return mac_address(f"02{number:010x}")


def payload(gateway: int, moment: datetime, count: int, seq: int | None) -> bytes:
    """Return a message of three readings, about 300 bytes.

    They are a register in kWh, one in m3, and a temperature.

    ``gateway`` is the gateway's number, ``count`` that of its message, from which the values follow;
    ``moment`` is theirs.
    """
    sequence = "" if seq is None else f'"seq": {seq}, '
    text = (
        f'{{"gateway_mac": "{gateway_mac(gateway)}", {sequence}"timestamp": "{moment:%Y-%m-%dT%H:%M:%SZ}", '
        f'"leituras": ['
        f'{{"dispositivo_codigo": "D01", "valor": {1000 + count * 0.25:.2f}, "unidade": "kWh"}}, '
        f'{{"dispositivo_codigo": "D02", "valor": {500 + count * 0.013:.3f}, "unidade": "m3"}}, '
        f'{{"dispositivo_codigo": "D03", "valor": {22.5 + count % 40 / 10:.1f}, "unidade": "\u00b0C"}}]}}'
    )
    return text.encode()


def packets(job: Job) -> Iterator[tuple[bytes, int | None]]:
    """Yield every PUBLISH of the job, and the ``seq`` that it carries."""
    start = datetime.fromisoformat(job.start).astimezone(UTC)
    for number in range(job.messages):
        gateway, count = job.first + number % job.gateways, number // job.gateways
        is_last = number == job.messages - 1
        has_seq = (job.sample and number % job.sample == 0) or (job.confirm and is_last)
        seq = number if has_seq else None
        topic = f"{job.prefix}/{gateway_mac(gateway)}/telemetry"
        content = payload(gateway, start + timedelta(seconds=count), count, seq)
        yield wire.publish(topic, content, number % 65_535 + 1), seq


class LoadGenerator:
    """The run of one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._acknowledged = 0
        self._sent_at: dict[int, float] = {}
        self._latencies: list[float] = []
        self._answered: set[int] = set()
        self._connection = Connection(
            (job.host, job.port),
            f"bench-{time.time_ns()}",
            (job.username, job.password),
            answers=f"{job.prefix}/+/ack",
        )
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._connection.socket, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def run(self) -> dict[str, object]:
        """Publish everything.

        Return times in seconds of the monotonic clock, which all processes of a machine share.

        Raises TimeoutError if PUBACKs or the last answer are missing after the job's ``timeout``.
        """
        job, connection = self._job, self._connection
        stream = iter(list(packets(job))) if not job.rate else packets(job)
        started = time.monotonic()
        deadline = started + job.timeout + (job.messages / job.rate if job.rate else 0)
        sent = 0
        while not self._is_done():
            now = time.monotonic()
            if now > deadline:
                raise TimeoutError(
                    f"{sent} sent, {self._acknowledged} acknowledged, the last answer did not come"
                )
            allowed = job.messages if not job.rate else min(job.messages, int((now - started) * job.rate) + 1)
            allowed = min(allowed, self._acknowledged + job.window, sent + CHUNK)
            if not connection.output and sent < allowed:
                batch = [next(stream) for _ in range(allowed - sent)]
                self._sent_at.update({seq: now for _, seq in batch if seq is not None})
                connection.output, sent = b"".join(data for data, _ in batch), sent + len(batch)
            self._exchange()
            if job.rate and not connection.output and allowed <= sent < job.messages:
                time.sleep(max(0.0, min(0.002, started + sent / job.rate - time.monotonic())))
        return {
            "started": started,
            "finished": time.monotonic(),
            "messages": sent,
            "latencies": sorted(self._latencies),
        }

    def _is_done(self) -> bool:
        job = self._job
        return self._acknowledged >= job.messages and (not job.confirm or job.messages - 1 in self._answered)

    def _exchange(self) -> None:
        """Read what has come, and send what the socket takes.

        Waits where there is nothing to send.
        """
        connection = self._connection
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if connection.output else 0)
        self._selector.modify(connection.socket, wanted)
        for _, events in self._selector.select(0.05 if not connection.output and not self._job.rate else 0):
            if events & selectors.EVENT_READ:
                self._read()
            if events & selectors.EVENT_WRITE:
                connection.flush()

    def _read(self) -> None:
        received = self._connection.read_pubacks_or_packets()
        if isinstance(received, int):
            self._acknowledged += received
            return
        now = time.monotonic()
        self._acknowledged += len(received.packet_ids)
        self._answered.update(received.answers)
        self._latencies += [now - self._sent_at.pop(seq) for seq in received.answers if seq in self._sent_at]


def main() -> None:
    """Read a job, run it, print its result."""
    print(json.dumps(LoadGenerator(Job(**json.load(sys.stdin))).run()))


if __name__ == "__main__":
    main()
