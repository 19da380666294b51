"""A run's own database and broker, shared by the runs that follow each other on it."""

import os
import secrets
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from lab.benchmarks.environment import choose_binaries
from lab.harness import wire
from lab.harness.errors import LabError
from tds_new.embedded import child
from tds_new.embedded.mosquitto import MosquittoServer, find_mosquitto
from tds_new.embedded.postgres import PostgresServer

DATABASE = "torture"
KEEPALIVE_S = (
    5  # the shortest that the settings allow: a half-open connection is noticed in at most twice as long
)


@dataclass
class TortureEnvironment:
    """The servers. ``broker_log`` collects what earlier processes of the broker said."""

    directory: Path
    postgres: PostgresServer
    broker: MosquittoServer
    kind: str
    broker_log: str = ""
    runs: int = 0

    @property
    def url(self) -> str:
        """The address of the database itself."""
        return self.postgres.url(DATABASE)

    @property
    def secret(self) -> str:
        """The password of the broker's user ``admin``."""
        return self.broker.files.secret("admin")

    def variables(self, database_port: int, broker_port: int) -> dict[str, str]:
        """The settings of a consumer that sees database and broker on these ports."""
        own = ("MQTT_", "TDS_", "DATABASE_", "SECRET_KEY")
        kept = {name: value for name, value in os.environ.items() if not name.startswith(own)}
        return {
            **kept,
            "DATABASE_URL": self.url.replace(f":{self.postgres.port}/", f":{database_port}/"),
            "SECRET_KEY": secrets.token_urlsafe(50),
            "TDS_DATA_DIR": str(self.directory / "var"),
            "TDS_REJECTED_KEEP": "1000000",
            "TDS_PROCESS_CONSUMPTION": "off",  # what is tortured is the ingestion
            "TDS_GATEWAY_RATE": "0",  # after an outage a whole backlog comes at once
            "MQTT_BROKER_HOST": "127.0.0.1",
            "MQTT_BROKER_PORT": str(broker_port),
            "MQTT_BROKER_USER": "django_backend",
            "MQTT_BROKER_PASSWORD": self.broker.files.secret("django_backend"),
            "MQTT_KEEPALIVE": str(KEEPALIVE_S),
            "MQTT_PROTOCOL": settings.MQTT_PROTOCOL,
            "PYTHONPATH": str(settings.BASE_DIR),
        }

    def stop_broker(self, *, kill: bool = False) -> None:
        """Stop the broker in order, or like a power cut."""
        if kill:
            self.broker.kill()
        else:
            self.broker.stop()
        self.broker_log += self.broker.log_text()

    def empty_broker(self) -> None:
        """Take the store away from a broker that is stopped."""
        for path in (self.broker.directory / "data").iterdir():
            path.unlink()

    def whole_broker_log(self) -> str:
        """Its log from the beginning."""
        return self.broker_log + self.broker.log_text()

    def forget_session(self, client_id: str) -> None:
        """End a consumer's persistent session at the broker, so that nothing is queued for it any more."""
        with socket.create_connection(("127.0.0.1", self.broker.port), timeout=5) as sock:
            sock.sendall(wire.connect(client_id, "admin", self.secret))
            sock.recv(4)
            sock.sendall(wire.packet(0xE0, b""))


@contextmanager
def open_environment(kind: str = "auto") -> Iterator[TortureEnvironment]:
    """Start a durable PostgreSQL and a Mosquitto with the shipped configuration; both are stopped and removed at the end.

    Raises LabError where Mosquitto or the PostgreSQL asked for is missing.
    """
    if find_mosquitto() is None:
        raise LabError("Mosquitto 2 is not installed; on Debian: apt-get install mosquitto mosquitto-clients")
    binaries = choose_binaries(kind)
    directory = Path(tempfile.mkdtemp(prefix="tds-new-torture-"))
    quiet = {"timescaledb.max_background_workers": "0"} if binaries.timescale else {}
    postgres = PostgresServer(directory / "postgres", binaries, quiet)
    broker = MosquittoServer(directory / "mosquitto")
    try:
        postgres.start(DATABASE)
        broker.files.provision(settings.MQTT_TOPIC_PREFIX, [])
        broker.start()
        environment = TortureEnvironment(
            directory, postgres, broker, "TimescaleDB" if binaries.timescale else "PostgreSQL"
        )
        _migrate(environment)
        yield environment
    finally:
        broker.stop()
        postgres.stop(immediate=True)
        shutil.rmtree(directory, ignore_errors=True)


def _migrate(environment: TortureEnvironment) -> None:
    command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "migrate", "--verbosity", "0"]
    log = environment.directory / "migrate.log"
    with log.open("wb") as output:
        status = child.spawn(
            command,
            output=output,
            environment=environment.variables(environment.postgres.port, environment.broker.port),
        ).wait()
    if status:
        raise LabError(f"the schema could not be installed: {log.read_text(errors='replace')[-800:]}")
