"""A load generator: one MQTT 3.1.1 connection that publishes telemetry with QoS 1, cheap enough to leave the machine to what is measured.

Runs as a process of its own: ``python -m lab.benchmarks.publisher`` with a JSON job on standard input; prints a JSON result.
It notes a message's way by the platform's own acknowledgement (``seq`` in, topic ``ack`` out), which follows the commit: so a
latency here is publish to commit and back again to the publisher, an upper bound of publish to commit.
"""

import json
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta

from lab.harness import wire

CHUNK = 200  # messages handed to the socket at once


@dataclass(frozen=True, slots=True)
class Job:
    """What to publish.

    ``rate`` in messages/s, 0 for as fast as the broker takes them; at most ``window`` messages are unacknowledged at the broker.
    Every ``sample``-th message carries a ``seq``; the last one always does where ``confirm`` is set, and the job ends with its answer.
    Message i is of gateway ``first`` + i modulo ``gateways``, its readings one second after that gateway's previous ones, from ``start``
    (ISO 8601).
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


def gateway_mac(number: int) -> str:
    """The MAC of the ``number``-th gateway of the fleet."""
    digits = f"02{number:010x}"
    return ":".join(digits[i : i + 2] for i in range(0, 12, 2))


def payload(gateway: int, moment: datetime, count: int, seq: int | None) -> bytes:
    """Three readings: a register in kWh, one in m3, a temperature; about 300 bytes."""
    sequence = "" if seq is None else f'"seq": {seq}, '
    text = (
        f'{{"gateway_mac": "{gateway_mac(gateway)}", {sequence}"timestamp": "{moment:%Y-%m-%dT%H:%M:%SZ}", "leituras": ['
        f'{{"dispositivo_codigo": "D01", "valor": {1000 + count * 0.25:.2f}, "unidade": "kWh"}}, '
        f'{{"dispositivo_codigo": "D02", "valor": {500 + count * 0.013:.3f}, "unidade": "m3"}}, '
        f'{{"dispositivo_codigo": "D03", "valor": {22.5 + count % 40 / 10:.1f}, "unidade": "\u00b0C"}}]}}'
    )
    return text.encode()


def packets(job: Job) -> Iterator[tuple[bytes, int | None]]:
    """Every PUBLISH of the job, and the ``seq`` that it carries."""
    start = datetime.fromisoformat(job.start).astimezone(UTC)
    for number in range(job.messages):
        gateway, count = job.first + number % job.gateways, number // job.gateways
        sampled = bool(job.sample and number % job.sample == 0) or (
            job.confirm and number == job.messages - 1
        )
        seq = number if sampled else None
        topic = f"{job.prefix}/{gateway_mac(gateway)}/telemetry"
        content = payload(gateway, start + timedelta(seconds=count), count, seq)
        yield wire.publish(topic, content, number % 65_535 + 1), seq


class Publisher:
    """The connection of one job."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.acknowledged = 0
        self.sent_at: dict[int, float] = {}
        self.latencies: list[float] = []
        self.answered: set[int] = set()
        self._input = b""
        self._socket = socket.create_connection((job.host, job.port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._handshake()
        self._socket.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._socket, selectors.EVENT_READ | selectors.EVENT_WRITE)

    def _handshake(self) -> None:
        self._socket.sendall(wire.connect(f"bench-{time.time_ns()}", self.job.username, self.job.password))
        if self._socket.recv(4)[3:4] != b"\0":
            raise ConnectionError("the broker refused the publisher")
        self._socket.sendall(
            wire.packet(wire.SUBSCRIBE, b"\0\x01" + wire.text(f"{self.job.prefix}/+/ack") + b"\0")
        )
        if self._socket.recv(5)[:1] != bytes([wire.SUBACK]):
            raise ConnectionError("the broker refused the publisher's subscription")

    def run(self) -> dict[str, object]:
        """Publish everything; return times in seconds of the monotonic clock, which all processes of a machine share."""
        job = self.job
        ready = list(packets(job)) if not job.rate else []
        stream = iter(ready) if ready else packets(job)
        started = time.monotonic()
        deadline = started + job.timeout + (job.messages / job.rate if job.rate else 0)
        sent, output, last = 0, b"", job.messages - 1
        while self.acknowledged < job.messages or (job.confirm and last not in self.answered):
            now = time.monotonic()
            if now > deadline:
                raise TimeoutError(
                    f"{sent} sent, {self.acknowledged} acknowledged, the last answer did not come"
                )
            allowed = job.messages if not job.rate else min(job.messages, int((now - started) * job.rate) + 1)
            allowed = min(allowed, self.acknowledged + job.window, sent + CHUNK)
            if not output and sent < allowed:
                batch = [next(stream) for _ in range(allowed - sent)]
                for _, seq in batch:
                    if seq is not None:
                        self.sent_at[seq] = now
                output, sent = b"".join(data for data, _ in batch), sent + len(batch)
            output = self._turn(output)
            if not output and sent >= allowed and sent < job.messages and job.rate:
                time.sleep(max(0.0, min(0.002, started + sent / job.rate - time.monotonic())))
        return {
            "started": started,
            "finished": time.monotonic(),
            "messages": sent,
            "latencies": sorted(self.latencies),
        }

    def _turn(self, output: bytes) -> bytes:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if output else 0)
        self._selector.modify(self._socket, wanted)
        for _, events in self._selector.select(0.05 if not output and not self.job.rate else 0):
            if events & selectors.EVENT_READ:
                self._read()
            if events & selectors.EVENT_WRITE:
                output = output[self._socket.send(output) :]
        return output

    def _read(self) -> None:
        data = self._socket.recv(262_144)
        if not data:
            raise ConnectionError("the broker closed the publisher's connection")
        now = time.monotonic()
        if not self._input and len(data) % 4 == 0 and data[::4].count(wire.PUBACK) * 4 == len(data):
            self.acknowledged += len(data) // 4  # nothing but PUBACKs, the usual case
            return
        self._input += data
        position, end = 0, len(self._input)
        while end - position >= 2:
            kind, length, size = self._input[position] & 0xF0, self._input[position + 1], 2
            if length & 0x80:
                if end - position < 3:
                    break
                length, size = (length & 0x7F) | (self._input[position + 2] << 7), 3
            if end - position < size + length:
                break
            if kind == wire.PUBACK:
                self.acknowledged += 1
            elif kind == wire.PUBLISH:
                self._answer(self._input[position + size : position + size + length], now)
            position += size + length
        self._input = self._input[position:]

    def _answer(self, body: bytes, now: float) -> None:
        text = body[2 + int.from_bytes(body[:2], "big") :]
        seq = json.loads(text)["seq"]
        self.answered.add(seq)
        if seq in self.sent_at:
            self.latencies.append(now - self.sent_at.pop(seq))


def main() -> None:
    """Read a job, do it, print its result."""
    print(json.dumps(Publisher(Job(**json.load(sys.stdin))).run()))


def job_text(job: Job) -> str:
    """The job as :func:`main` reads it."""
    return json.dumps(asdict(job))


if __name__ == "__main__":
    main()
