"""``start_mqtt_consumer`` as child processes of a test, against its database and its broker."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from django.conf import settings
from django.db import connection

from tests.support.brokers import Broker
from tests.support.waiting import until


def database_url() -> str:
    """The address of the database that this test uses."""
    c = connection.settings_dict
    return f"postgres://{quote(c['USER'])}:{quote(c['PASSWORD'])}@{c['HOST']}:{c['PORT']}/{c['NAME']}"


class ConsumerProcess:
    """A running consumer; its log goes to a file."""

    def __init__(self, log: Path, environment: Mapping[str, str], *arguments: str) -> None:
        self._log = log
        with log.open("wb") as output:
            self.process = subprocess.Popen(
                [sys.executable, "manage.py", "start_mqtt_consumer", *arguments],
                cwd=settings.BASE_DIR,
                env={**self.environment(), "DATABASE_URL": database_url(), **environment},
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @staticmethod
    def environment() -> dict[str, str]:
        """What every child of the suite gets."""
        return dict(os.environ)

    @property
    def log(self) -> str:
        """What it has said; ASCII, or this fails."""
        return self._log.read_bytes().decode("ascii")

    def wait_for(self, *words: str, times: int = 1) -> None:
        """Wait until a line with each of ``words`` has been logged so often."""

        def said() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.log}"
            return sum(all(word in line for word in words) for line in self.log.splitlines()) >= times

        until(said, f"{words} in the log:\n{self.log}")

    def wait_until_subscribed(self, times: int = 1) -> None:
        """Wait until it receives what is published."""
        self.wait_for("subscribed:", times=times)

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def terminate(self, limit: float = 30) -> int:
        """SIGTERM; its exit status. Raises subprocess.TimeoutExpired where it takes longer than ``limit`` seconds."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(limit)


StartConsumer = Callable[..., ConsumerProcess]


@pytest.fixture
def start_consumer(tmp_path: Path, transactional_db: None) -> Iterator[StartConsumer]:
    """Start consumers of the given broker; ``environment`` are further settings. All are ended after the test."""
    started: list[ConsumerProcess] = []

    def start(
        broker: Broker, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> ConsumerProcess:
        log = tmp_path / f"consumer-{len(started)}.log"
        started.append(ConsumerProcess(log, {**broker.environment(), **(environment or {})}, *arguments))
        return started[-1]

    yield start
    for consumer in started:
        if consumer.process.poll() is None:
            consumer.kill()
