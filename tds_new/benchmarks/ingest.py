"""The ingestion figures: rate beside a C subscriber's in the same run, latency at fixed rates, memory."""

import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings

from tds_new.benchmarks.environment import BenchmarkError, Environment
from tds_new.benchmarks.publisher import Job, job_text
from tds_new.embedded import child

Progress = Callable[[str], None]
SUBSCRIBER_PREFIX = "benchmark/devices"
COUNT_READINGS = "SELECT count(*) FROM tds_new_leitura_dispositivo"


@dataclass(frozen=True)
class Rate:
    """One run at full speed: messages per second, from the first publish to the end of the last one's way."""

    subscriber: float
    consumer: float

    @property
    def ratio(self) -> float:
        """The consumer's share of what the C subscriber takes."""
        return self.consumer / self.subscriber


@dataclass(frozen=True)
class Latency:
    """Publish to commit and back at a fixed rate (messages/s), in milliseconds."""

    rate: float
    samples: int
    p50: float
    p95: float
    p99: float
    worst: float


class IngestBenchmark:
    """Runs the measurements one after the other on one environment."""

    def __init__(self, made: Environment, gateways: int, progress: Progress) -> None:
        self._made, self._gateways, self._say = made, gateways, progress
        self._next_start = datetime.now(UTC).replace(microsecond=0) - timedelta(days=300)

    def rates(self, messages: int, runs: int) -> list[Rate]:
        """``runs`` pairs of mosquitto_sub and the consumer, in turn; raises BenchmarkError where a message is missing."""
        pairs = []
        for run in range(1, runs + 1):
            subscriber = self._subscriber_rate(messages)
            consumer = self._consumer_rate(messages)
            pairs.append(Rate(subscriber, consumer))
            self._say(f"run {run} of {runs}: mosquitto_sub {subscriber:,.0f}/s, consumer {consumer:,.0f}/s, ratio {pairs[-1].ratio:.2f}")
        return pairs

    def latency(self, rate: float, seconds: float) -> Latency:
        """Percentiles of publish to commit at ``rate`` messages/s for ``seconds``."""
        messages = int(rate * seconds)
        result = self._publish(self._job(messages, rate=rate, sample=max(1, int(rate / 200))))
        found = [1000 * value for value in result["latencies"]]
        latency = Latency(rate, len(found), *(percentile(found, share) for share in (0.5, 0.95, 0.99, 1.0)))
        self._say(f"{rate:,.0f} messages/s for {seconds:.0f} s: p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms")
        return latency

    def _subscriber_rate(self, messages: int) -> float:
        """mosquitto_sub on topics of its own, with the same settings: QoS 1, persistent session."""
        broker = self._made.broker
        account = ["-h", "127.0.0.1", "-p", str(broker.port), "-u", "admin", "-P", broker.files.secret("admin"), "-i", "benchmark"]
        listen = ["mosquitto_sub", *account, "-q", "1", "-t", f"{SUBSCRIBER_PREFIX}/+/telemetry"]
        subprocess.run([*listen, "-c", "-E"], check=True, timeout=30)  # from now on the broker queues for it
        process = child.spawn([*listen, "-c", "-C", str(messages)], output=subprocess.DEVNULL)
        started = float(self._publish(self._job(messages, prefix=SUBSCRIBER_PREFIX, confirm=False))["started"])
        process.wait(timeout=300)
        finished = time.monotonic()
        subprocess.run([*listen, "-E"], check=True, timeout=30)  # a clean session: nothing is queued any more
        return messages / (finished - started)

    def _consumer_rate(self, messages: int) -> float:
        before = self._made.scalar(COUNT_READINGS)
        result = self._publish(self._job(messages))
        stored = self._made.scalar(COUNT_READINGS) - before
        if stored != 3 * messages:
            raise BenchmarkError(f"{stored} readings stored of {3 * messages} published")
        return messages / (float(result["finished"]) - float(result["started"]))

    def _job(self, messages: int, **changes: Any) -> Job:
        broker = self._made.broker
        start = self._next_start
        self._next_start += timedelta(seconds=messages // self._gateways + 1)
        base = Job(
            "127.0.0.1",
            broker.port,
            "admin",
            broker.files.secret("admin"),
            settings.MQTT_TOPIC_PREFIX,
            messages,
            self._gateways,
            start.isoformat(),
        )
        return replace(base, **changes)

    @staticmethod
    def _publish(job: Job) -> dict[str, Any]:
        command = [sys.executable, "-m", "tds_new.benchmarks.publisher"]
        done = subprocess.run(command, input=job_text(job), capture_output=True, text=True, check=False, cwd=settings.BASE_DIR)
        if done.returncode:
            raise BenchmarkError(f"the publisher failed: {done.stderr.strip().splitlines()[-1:]}")
        result: dict[str, Any] = json.loads(done.stdout)
        return result


def percentile(ordered: Sequence[float], share: float) -> float:
    """The nearest-rank percentile of values in ascending order; 0 where there are none."""
    return ordered[min(len(ordered) - 1, max(0, math.ceil(share * len(ordered)) - 1))] if ordered else 0.0
