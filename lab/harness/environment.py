"""Servers of an experiment's own.

They are started in a temporary directory, and removed with everything at the end.
"""

import os
import secrets
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import psycopg
from django.conf import settings
from psycopg import Connection

from lab.harness.consumer import ConsumerProcess, consumer_command
from lab.harness.errors import LabError
from lab.harness.process import ChildProcess, manage
from tds_new.broker.accounts import BACKEND
from tds_new.embedded.mosquitto import MosquittoServer, find_mosquitto
from tds_new.embedded.ports import LOOPBACK, free_port
from tds_new.embedded.postgres import Binaries, PostgresServer, find_binaries

ADMIN = "admin"  # the broker's user that may do everything: the laboratory publishes as it
# Settings by these names are the developer's: no process of an experiment gets them.
DEVELOPERS = ("MQTT_", "TDS_", "DATABASE_", "SECRET_KEY")
# The settings of what one gateway may use.
GATEWAY_LIMITS = (
    "TDS_GATEWAY_RATE",
    "TDS_GATEWAY_READINGS",
    "TDS_GATEWAY_BYTES",
    "TDS_GATEWAY_REFUSALS",
    "TDS_GATEWAY_CPU_MS",
)
NO_BACKGROUND_WORKERS = {
    "timescaledb.max_background_workers": "0"
}  # no policy runs in the middle of an experiment


def choose_binaries(kind: str) -> Binaries:
    """Return a PostgreSQL of this kind.

    ``kind`` is ``timescale``, ``plain``, or ``auto`` for TimescaleDB where it is installed.

    Raises LabError if none of this kind is found.
    """
    for binaries in sorted(find_binaries(), key=lambda b: not b.timescale):
        if kind == "auto" or binaries.timescale == (kind == "timescale"):
            return binaries
    raise LabError(
        f"no PostgreSQL of the kind {kind} was found; install one, or choose another with --database"
    )


def broker_variables(broker: MosquittoServer, user: str = BACKEND) -> dict[str, str]:
    """Return the settings of a process that connects to ``broker`` as ``user``."""
    return {
        "MQTT_BROKER_HOST": LOOPBACK,
        "MQTT_BROKER_PORT": str(broker.port),
        "MQTT_BROKER_USER": user,
        "MQTT_BROKER_PASSWORD": broker.files.secret(user),
    }


class DatabaseEnvironment:
    """A PostgreSQL server with the platform's tables in one database.

    Use it as a context manager.

    ``kind`` says TimescaleDB or PostgreSQL. ``variables`` are the environment of every process that is
    started on it.
    """

    def __init__(
        self,
        kind: str = "auto",
        *,
        name: str = "lab",
        server_settings: Mapping[str, str] | None = None,
        background_workers: bool = False,
        durable: bool = True,
        variables: Mapping[str, str] | None = None,
    ) -> None:
        """Choose the servers; entering the context starts them.

        ``kind`` is that of :func:`choose_binaries`. ``name`` is the database's, and part of the directory's.
        ``server_settings`` are PostgreSQL's that differ from its defaults, ``variables`` the platform's.
        TimescaleDB runs its policies with ``background_workers`` only. Without ``durable`` the server is
        quicker, and loses data in a crash. Raises LabError if the PostgreSQL asked for is missing.
        """
        binaries = choose_binaries(kind)
        quiet = NO_BACKGROUND_WORKERS if binaries.timescale and not background_workers else {}
        self.kind = "TimescaleDB" if binaries.timescale else "PostgreSQL"
        self.database = name
        self.directory = Path(tempfile.mkdtemp(prefix=f"tds-new-{name}-"))
        self.postgres = PostgresServer(
            self.directory / "postgres", binaries, {**quiet, **(server_settings or {})}, durable=durable
        )
        self.variables: dict[str, str] = {}
        self._own_variables = dict(variables or {})
        self._processes: list[ChildProcess] = []

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> None:
        """Start the server and install the tables. Raises LabError if that fails."""
        self.postgres.start(self.database)
        self.variables = {**self._default_variables(), **self._own_variables}
        self.migrate()

    def stop(self) -> None:
        """Stop everything that was started, and remove the directory."""
        for process in self._processes:
            process.kill()
        self.postgres.stop(immediate=True)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _default_variables(self) -> dict[str, str]:
        return {
            **{name: value for name, value in os.environ.items() if not name.startswith(DEVELOPERS)},
            "DATABASE_URL": self.url(),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "TDS_DATA_DIR": str(self.directory / "var"),
        }

    def url(self, database: str = "") -> str:
        """Return the address of one of its databases; the experiment's own without a name."""
        return self.postgres.url(database or self.database)

    def connect(self, database: str = "") -> Connection[Any]:
        """Open a session in autocommit mode."""
        return psycopg.connect(self.url(database), autocommit=True)

    def scalar(self, query: str, *parameters: object, database: str = "") -> int:
        """Return one figure from a database; 0 if there is none."""
        with self.connect(database) as connection:
            row = connection.execute(query, parameters).fetchone()
        return int(row[0] or 0) if row else 0

    def create_database(self, name: str) -> None:
        """Create a further database with the platform's tables, empty."""
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        self.migrate(name)

    def migrate(self, database: str = "") -> None:
        """Install the platform's tables in a database. Raises LabError if that fails."""
        done = subprocess.run(
            manage("migrate", "--verbosity", "0"),
            env={**self.variables, "DATABASE_URL": self.url(database)},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise LabError(f"the tables could not be installed: {done.stderr[-800:]}")

    def log_path(self, name: str) -> Path:
        """Return a new file for what a process says."""
        return self.directory / f"{name}-{time.monotonic_ns()}.log"

    def keep(self, process: ChildProcess) -> None:
        """Have ``process`` end with this environment at the latest."""
        self._processes.append(process)


class Environment(DatabaseEnvironment):
    """A PostgreSQL and a Mosquitto with the shipped configuration.

    It also starts consumers on them.
    """

    def __init__(self, kind: str = "auto", **options: Any) -> None:
        """Choose the servers; see :class:`DatabaseEnvironment`.

        Raises LabError if Mosquitto is missing too.
        """
        if find_mosquitto() is None:
            raise LabError(
                "Mosquitto 2 is not installed; on Debian: apt-get install mosquitto mosquitto-clients"
            )
        super().__init__(kind, **options)
        self.broker = MosquittoServer(self.directory / "mosquitto")

    @property
    def admin_secret(self) -> str:
        """The password of the broker's user ``admin``."""
        return self.broker.files.secret(ADMIN)

    def start(self) -> None:
        """Start the broker, then the database with the platform's tables."""
        self.broker.files.provision(settings.MQTT_TOPIC_PREFIX, [])
        self.broker.start()
        super().start()

    def stop(self) -> None:
        """Stop everything that was started, and remove the directory."""
        self.broker.stop()
        super().stop()

    def _default_variables(self) -> dict[str, str]:
        return {
            **super()._default_variables(),
            **broker_variables(self.broker),
            "TDS_PROCESS_CONSUMPTION": "off",  # the experiments on ingestion are about ingestion
            "MQTT_TOPIC_PREFIX": settings.MQTT_TOPIC_PREFIX,
            "MQTT_PROTOCOL": settings.MQTT_PROTOCOL,
        }

    @contextmanager
    def consumer(self, database: str = "") -> Iterator[ConsumerProcess]:
        """Run a consumer that has its subscriptions; it is stopped in order at the end."""
        consumer = self.start_consumer(database)
        try:
            consumer.wait_until_subscribed()
            yield consumer
        finally:
            consumer.stop()

    def start_consumer(self, database: str = "") -> ConsumerProcess:
        """Start a consumer without waiting for it; it serves its metrics."""
        port = free_port()
        variables = {**self.variables, "DATABASE_URL": self.url(database), "TDS_METRICS_PORT": str(port)}
        consumer = ConsumerProcess(consumer_command(), self.log_path("consumer"), variables)
        consumer.metrics_port = port
        self.keep(consumer)
        return consumer
