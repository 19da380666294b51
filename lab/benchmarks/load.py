"""Load on an environment's broker: jobs of load generators as processes.

No two readings of a device have the same time.
"""

import json
import subprocess
import sys
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Self

from django.conf import settings

from lab.benchmarks.load_generator import Job
from lab.harness.environment import ADMIN, Environment
from lab.harness.errors import LabError
from tds_new.embedded.ports import LOOPBACK

WEEK = timedelta(days=7)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def live_day(now: datetime) -> datetime:
    """Return where the load's times begin.

    That is the last day of the last full week from the epoch on.

    Chunks are cut in these weeks. One chunk takes all of the load, and a history that ends there has filled
    that chunk as far as it ever is before new readings.
    """
    return now - (now - EPOCH) % WEEK - timedelta(days=1)


@dataclass(frozen=True)
class Published:
    """The result of a job.

    Times are in seconds of the monotonic clock, ``latencies`` in seconds, ascending.
    """

    started: float
    finished: float
    messages: int
    latencies: list[float]

    @property
    def rate(self) -> float:
        """Messages per second, from the first publish to the last PUBACK and answer."""
        return self.messages / (self.finished - self.started)


class Publication:
    """A job in progress; leaving the context ends it where it still runs."""

    def __init__(self, job: Job) -> None:
        command = [sys.executable, "-m", "lab.benchmarks.load_generator"]
        pipe = subprocess.PIPE
        self._process = subprocess.Popen(
            command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, cwd=settings.BASE_DIR
        )
        assert self._process.stdin is not None
        with self._process.stdin as input_:
            input_.write(job.text())
        self._process.stdin = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.running:
            self._process.kill()
        self._process.communicate()

    @property
    def running(self) -> bool:
        """Whether it still publishes, or waits for the last answer."""
        return self._process.poll() is None

    def result(self) -> Published:
        """Wait for its end. Raises LabError if it failed."""
        output, errors = self._process.communicate()
        if self._process.returncode:
            raise LabError(f"the load generator failed: {errors.strip().splitlines()[-1:]}")
        return Published(**json.loads(output))


class Load:
    """Makes jobs for one environment, and runs them."""

    def __init__(self, environment: Environment) -> None:
        self.start = self._next = live_day(datetime.now(UTC))
        self._base = Job(
            LOOPBACK,
            environment.broker.port,
            ADMIN,
            environment.admin_secret,
            settings.MQTT_TOPIC_PREFIX,
            messages=0,
            gateways=0,
            start="",
        )

    def job(self, messages: int, gateways: int, **changes: Any) -> Job:
        """Return a job of ``messages`` of the first ``gateways`` of the fleet.

        ``changes`` are further fields of it.

        Raises LabError if the readings' times, one second each, would reach into the future.
        """
        start = self._next
        self._next += timedelta(seconds=messages // gateways + 1)
        if self._next > datetime.now(UTC):
            raise LabError("too many messages for so few gateways: choose more with --gateways")
        fields = {"start": start.isoformat(), **changes}
        return replace(self._base, messages=messages, gateways=gateways, **fields)

    @staticmethod
    def begin(job: Job) -> Publication:
        """Start a job."""
        return Publication(job)

    def publish(self, job: Job) -> Published:
        """Run a job to its end."""
        with self.begin(job) as publication:
            return publication.result()
