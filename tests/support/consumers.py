"""``start_mqtt_consumer`` as child processes of a test."""

import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection

from lab.harness import consumer
from tests.support.brokers import Broker


def database_url() -> str:
    """The address of the database that this test uses."""
    c = connection.settings_dict
    return f"postgres://{quote(c['USER'])}:{quote(c['PASSWORD'])}@{c['HOST']}:{c['PORT']}/{c['NAME']}"


class ConsumerProcess(consumer.ConsumerProcess):
    """A consumer on the test's database.

    Reading its log fails where that is not ASCII.
    """

    log_errors = "strict"

    def __init__(self, log: Path, environment: Mapping[str, str], *arguments: str) -> None:
        variables = {**self.environment(), "DATABASE_URL": database_url(), **environment}
        super().__init__(consumer.consumer_command(*arguments), log, variables)

    @staticmethod
    def environment() -> dict[str, str]:
        """Return the environment of every child process of the suite."""
        return dict(os.environ)


StartConsumer = Callable[..., ConsumerProcess]


@pytest.fixture
def start_consumer(tmp_path: Path, transactional_db: None) -> Iterator[StartConsumer]:
    """Start consumers of the given broker; ``environment`` are further settings.

    All are ended after the test.
    """
    started: list[ConsumerProcess] = []

    def start(
        broker: Broker, *arguments: str, environment: Mapping[str, str] | None = None
    ) -> ConsumerProcess:
        log = tmp_path / f"consumer-{len(started)}.log"
        started.append(ConsumerProcess(log, {**broker.environment(), **(environment or {})}, *arguments))
        return started[-1]

    yield start
    for process in started:
        if process.alive:
            process.kill()
