"""Load on an environment's broker: publishers as processes of their own, never two readings of a device with the same time."""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from django.conf import settings

from lab.benchmarks.environment import Environment
from lab.benchmarks.publisher import Job, job_text
from lab.harness.errors import LabError

WEEK = timedelta(days=7)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def live_day(now: datetime) -> datetime:
    """Where the load's times begin: the last day of the last full week from the epoch on, which is how chunks are cut.

    So one chunk takes all of it, and a history that ends there has filled that chunk as far as it ever is before new readings.
    """
    return now - (now - EPOCH) % WEEK - timedelta(days=1)


@dataclass(frozen=True)
class Published:
    """What came of a job; times in seconds of the monotonic clock, ``latencies`` in seconds, ascending."""

    started: float
    finished: float
    messages: int
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Messages per second, from the first publish to the end of the last one's way."""
        return self.messages / (self.finished - self.started)


class Publication:
    """A job in progress; leaving the context ends what has not ended."""

    def __init__(self, job: Job) -> None:
        command = [sys.executable, "-m", "lab.benchmarks.publisher"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=settings.BASE_DIR
        )
        assert self._process.stdin is not None
        with self._process.stdin as orders:
            orders.write(job_text(job))
        self._process.stdin = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()

    @property
    def running(self) -> bool:
        """Whether it is still publishing, or waiting for the last answer."""
        return self._process.poll() is None

    def result(self) -> Published:
        """Wait for its end. Raises LabError where it failed."""
        output, errors = self._process.communicate()
        if self._process.returncode:
            raise LabError(f"the publisher failed: {errors.strip().splitlines()[-1:]}")
        return Published(**json.loads(output))


class Load:
    """Makes jobs for one environment, and runs them."""

    def __init__(self, made: Environment) -> None:
        self.start = self._next = live_day(datetime.now(UTC))
        broker = made.broker
        self._base = Job(
            "127.0.0.1",
            broker.port,
            "admin",
            broker.files.secret("admin"),
            settings.MQTT_TOPIC_PREFIX,
            0,
            0,
            "",
        )

    def job(self, messages: int, gateways: int, **changes: Any) -> Job:
        """Publish ``messages`` of the first ``gateways`` of the fleet; ``changes`` are further fields of the job.

        Raises LabError where the readings' times, one second each, would reach into the future.
        """
        start = self._next
        self._next += timedelta(seconds=messages // gateways + 1)
        if self._next > datetime.now(UTC):
            raise LabError("too many messages for so few gateways: choose more with --gateways")
        return replace(
            self._base, messages=messages, gateways=gateways, **{"start": start.isoformat(), **changes}
        )

    @staticmethod
    def begin(job: Job) -> Publication:
        """Start a job."""
        return Publication(job)

    def publish(self, job: Job) -> Published:
        """Do a job to its end."""
        with self.begin(job) as publication:
            return publication.result()
