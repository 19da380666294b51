"""What a measurement runs on: a broker, a database and a consumer of its own, with a registered fleet."""

import os
import platform
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from django.conf import settings
from psycopg import Connection

from lab.benchmarks.consumer import Consumer
from lab.benchmarks.publisher import gateway_mac
from lab.harness.errors import LabError
from tds_new.embedded import child
from tds_new.embedded.mosquitto import MosquittoServer, find_mosquitto
from tds_new.embedded.ports import free_port
from tds_new.embedded.postgres import Binaries, PostgresServer, find_binaries

DATABASE = "bench"
# log_line_prefix: whose statement a line of the log is, for parts that count them.
TUNING = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "log_line_prefix": "%m [%p] %a ",
}

REGISTER_FLEET = """
WITH conta AS (INSERT INTO tds_new_conta (name) VALUES ('Benchmark') RETURNING id),
g AS (
    INSERT INTO tds_new_gateway (conta_id, codigo, mac, qte_max_dispositivos)
    SELECT conta.id, 'GW-' || m.n, m.mac, 3 FROM conta, unnest(%(macs)s::text[]) WITH ORDINALITY AS m (mac, n)
    WHERE NOT EXISTS (SELECT FROM tds_new_gateway WHERE mac = m.mac)
    RETURNING id, conta_id
)
INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo, grandeza, unidade, tipo_leitura)
SELECT g.conta_id, g.id, d.* FROM g, (VALUES
    ('D01', 'ENERGIA', 'kWh', 'ACUMULADA'), ('D02', 'AGUA', 'm3', 'ACUMULADA'), ('D03', 'TEMPERATURA', '\u00b0C', 'INSTANTANEA')
) AS d (codigo, grandeza, unidade, tipo_leitura)
"""


@dataclass
class Environment:
    """The servers of a measurement. ``variables`` are the settings of every process that is started on it."""

    directory: Path
    postgres: PostgresServer
    broker: MosquittoServer
    kind: str
    variables: dict[str, str] = field(default_factory=dict)
    _consumers: list[Consumer] = field(default_factory=list)

    def url(self, database: str = DATABASE) -> str:
        """The address of one of its databases."""
        return self.postgres.url(database)

    def connect(self, database: str = DATABASE) -> Connection[Any]:
        """A session in autocommit mode."""
        return psycopg.connect(self.url(database), autocommit=True)

    def scalar(self, query: str, *parameters: object, database: str = DATABASE) -> int:
        """One figure from a database; 0 where there is none."""
        with self.connect(database) as connection:
            row = connection.execute(query, parameters).fetchone()
        return int(row[0] or 0) if row else 0

    def create_database(self, name: str) -> None:
        """A further database with the tables of the platform, empty."""
        with self.connect("postgres") as connection:
            connection.execute(f'CREATE DATABASE "{name}"')
        self.migrate(name)

    def migrate(self, database: str = DATABASE) -> None:
        """Install the tables. Raises LabError where that fails."""
        command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "migrate", "--verbosity", "0"]
        variables = {**self.variables, "DATABASE_URL": self.url(database)}
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"the tables could not be installed: {done.stderr[-800:]}")

    def register_fleet(self, gateways: int, *, first: int = 0, database: str = DATABASE) -> None:
        """Have the gateways ``first`` to ``first + gateways - 1`` registered, with three devices each."""
        with self.connect(database) as connection:
            connection.execute(
                REGISTER_FLEET, {"macs": [gateway_mac(first + number) for number in range(gateways)]}
            )

    def log_size(self) -> int:
        """How long the database server's log is by now."""
        return self.postgres.log.stat().st_size

    def logged_since(self, position: int) -> list[str]:
        """What the database server has logged since its log was ``position`` bytes long."""
        with self.postgres.log.open("rb") as log:
            log.seek(position)
            return log.read().decode("utf-8", "replace").splitlines()

    @contextmanager
    def consumer(self, database: str = DATABASE) -> Iterator[Consumer]:
        """A consumer that has its subscriptions, stopped in order at the end."""
        consumer = self.start_consumer(database)
        try:
            consumer.wait_until_subscribed()
            yield consumer
        finally:
            consumer.stop()

    def start_consumer(self, database: str = DATABASE) -> Consumer:
        """Start a consumer; its log is a file of its own. It ends with the environment at the latest."""
        log, port = self.directory / f"consumer-{time.monotonic_ns()}.log", free_port()
        command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "start_mqtt_consumer"]
        variables = {**self.variables, "DATABASE_URL": self.url(database), "TDS_METRICS_PORT": str(port)}
        with log.open("wb") as output:
            started = time.monotonic()
            consumer = Consumer(
                child.spawn(command, output=output, environment=variables), log, started, port
            )
        self._consumers.append(consumer)
        return consumer

    def stop(self) -> None:
        """Stop everything, and remove it."""
        for consumer in self._consumers:
            with suppress(ProcessLookupError):
                consumer.process.kill()
                consumer.process.wait()
        self.broker.stop()
        self.postgres.stop(immediate=True)
        shutil.rmtree(self.directory, ignore_errors=True)


def choose_binaries(kind: str) -> Binaries:
    """The PostgreSQL to measure: ``timescale``, ``plain``, or ``auto`` for TimescaleDB where it is installed."""
    for binaries in sorted(find_binaries(), key=lambda b: not b.timescale):
        if kind == "auto" or binaries.timescale == (kind == "timescale"):
            return binaries
    raise LabError(
        f"no PostgreSQL of the kind {kind} was found; install one, or choose another with --database"
    )


@contextmanager
def environment(kind: str = "auto", variables: Mapping[str, str] | None = None) -> Iterator[Environment]:
    """Start a durable PostgreSQL and a Mosquitto with the shipped configuration; everything is removed at the end.

    ``variables`` are settings that differ from the defaults. Raises LabError where Mosquitto or the PostgreSQL asked for is missing.
    """
    if find_mosquitto() is None:
        raise LabError("Mosquitto 2 is not installed; on Debian: apt-get install mosquitto mosquitto-clients")
    binaries = choose_binaries(kind)
    directory = Path(tempfile.mkdtemp(prefix="tds-new-benchmark-"))
    postgres = PostgresServer(directory / "postgres", binaries, TUNING)
    broker = MosquittoServer(directory / "mosquitto")
    made = Environment(directory, postgres, broker, "TimescaleDB" if binaries.timescale else "PostgreSQL")
    try:
        postgres.start(DATABASE)
        broker.files.provision(settings.MQTT_TOPIC_PREFIX, [])
        broker.start()
        made.variables = {**_variables(made), **(variables or {})}
        made.migrate()
        yield made
    finally:
        made.stop()


def _variables(made: Environment) -> dict[str, str]:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MQTT_", "TDS_", "DATABASE_", "SECRET_KEY"))
    }
    return {
        **kept,
        "DATABASE_URL": made.url(),
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TDS_DATA_DIR": str(made.directory / "var"),
        "TDS_GATEWAY_RATE": str(settings.TDS_GATEWAY_RATE),
        "TDS_PROCESS_CONSUMPTION": "off",  # what is measured is the ingestion
        "MQTT_BROKER_HOST": "127.0.0.1",
        "MQTT_BROKER_PORT": str(made.broker.port),
        "MQTT_BROKER_USER": "django_backend",
        "MQTT_BROKER_PASSWORD": made.broker.files.secret("django_backend"),
        "MQTT_TOPIC_PREFIX": settings.MQTT_TOPIC_PREFIX,
        "MQTT_PROTOCOL": settings.MQTT_PROTOCOL,
        "TDS_STORE_PAYLOAD_RAW": "on" if settings.TDS_STORE_PAYLOAD_RAW else "off",
    }


def describe_machine(made: Environment) -> dict[str, str]:
    """What the figures were measured on."""
    with made.connect() as connection:
        server = str(connection.execute("SHOW server_version").fetchone()[0])  # type: ignore[index]
        row = connection.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
        ).fetchone()
    version = re.search(
        r"mosquitto version (\S+)",
        subprocess.run([str(find_mosquitto()), "-h"], capture_output=True, text=True).stdout,
    )
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "processors": f"{os.cpu_count()} x {cpu[1] if cpu else platform.processor()}",
        "python": platform.python_version(),
        "postgresql": server.split(" ", 1)[0],
        "timescaledb": row[0] if row else "none",
        "mosquitto": version[1] if version else "?",
    }
