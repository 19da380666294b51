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
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
from django.conf import settings

from tds_new.benchmarks.publisher import gateway_mac
from tds_new.broker.mosquitto import MosquittoServer, find_mosquitto
from tds_new.embedded import child
from tds_new.embedded.postgres import Binaries, PostgresServer, find_binaries

READY_TIMEOUT = 60.0

REGISTER_FLEET = """
WITH conta AS (INSERT INTO tds_new_conta (name) VALUES ('Benchmark') RETURNING id),
g AS (
    INSERT INTO tds_new_gateway (conta_id, codigo, mac, qte_max_dispositivos)
    SELECT conta.id, 'GW-' || m.n, m.mac, 3 FROM conta, unnest(%(macs)s::text[]) WITH ORDINALITY AS m (mac, n)
    RETURNING id, conta_id
)
INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo, grandeza, unidade, tipo_leitura)
SELECT g.conta_id, g.id, d.* FROM g, (VALUES
    ('D01', 'ENERGIA', 'kWh', 'ACUMULADA'), ('D02', 'AGUA', 'm3', 'ACUMULADA'), ('D03', 'TEMPERATURA', '\u00b0C', 'INSTANTANEA')
) AS d (codigo, grandeza, unidade, tipo_leitura)
"""


class BenchmarkError(Exception):
    """The measurement cannot be made; the text says why."""


@dataclass
class Consumer:
    """A running ``start_mqtt_consumer``."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def wait_until_subscribed(self) -> None:
        """Return once the consumer has its subscriptions. Raises BenchmarkError where it does not get there."""
        deadline = time.monotonic() + READY_TIMEOUT
        while b"subscribed: " not in self.log.read_bytes():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise BenchmarkError(f"the consumer did not start: {self.log.read_text(errors='replace')[-800:]}")
            time.sleep(0.05)

    def peak_memory(self) -> float:
        """The most memory it has had resident, in MiB (VmHWM)."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="ascii")
        match = re.search(r"VmHWM:\s+(\d+) kB", status)
        return int(match[1]) / 1024 if match else 0.0

    def stop(self) -> None:
        """End it in order."""
        self.process.terminate()
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


@dataclass
class Environment:
    """The servers of a measurement; ``url`` is its database."""

    directory: Path
    postgres: PostgresServer
    broker: MosquittoServer
    url: str
    kind: str
    variables: dict[str, str] = field(default_factory=dict)

    def manage(self, *arguments: str) -> None:
        """Run a management command on this environment. Raises BenchmarkError where it fails."""
        command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments]
        done = subprocess.run(command, env=self.variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchmarkError(f"manage.py {' '.join(arguments)} failed: {done.stderr[-800:]}")

    def start_consumer(self, *arguments: str) -> Consumer:
        """Start a consumer; its log is a file of its own."""
        log = self.directory / f"consumer-{time.monotonic_ns()}.log"
        command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "start_mqtt_consumer", *arguments]
        with log.open("wb") as output:
            consumer = Consumer(child.spawn(command, output=output, environment=self.variables), log)
        consumer.wait_until_subscribed()
        return consumer

    def register_fleet(self, gateways: int) -> None:
        """Register ``gateways`` gateways with three devices each."""
        with psycopg.connect(self.url) as connection:
            connection.execute(REGISTER_FLEET, {"macs": [gateway_mac(number) for number in range(gateways)]})

    def scalar(self, query: str) -> int:
        """One figure from the database."""
        with psycopg.connect(self.url) as connection:
            row = connection.execute(query).fetchone()
        return int(row[0]) if row else 0


def choose_binaries(kind: str) -> Binaries:
    """The PostgreSQL to measure: ``timescale``, ``plain``, or ``auto`` for TimescaleDB where it is installed."""
    for binaries in sorted(find_binaries(), key=lambda b: not b.timescale):
        if kind == "auto" or binaries.timescale == (kind == "timescale"):
            return binaries
    raise BenchmarkError(f"no PostgreSQL of the kind {kind} was found; install one, or choose another with --database")


@contextmanager
def environment(kind: str = "auto") -> Iterator[Environment]:
    """Start a durable PostgreSQL and a Mosquitto with the shipped configuration; everything is removed at the end.

    Raises BenchmarkError where Mosquitto or the PostgreSQL asked for is missing.
    """
    if find_mosquitto() is None:
        raise BenchmarkError("Mosquitto 2 is not installed; on Debian: apt-get install mosquitto mosquitto-clients")
    binaries = choose_binaries(kind)
    directory = Path(tempfile.mkdtemp(prefix="tds-new-benchmark-"))
    tuning = {"shared_buffers": "512MB", "max_wal_size": "4GB", "checkpoint_timeout": "15min"}
    postgres = PostgresServer(directory / "postgres", binaries, tuning)
    broker = MosquittoServer(directory / "mosquitto")
    try:
        postgres.start("bench")
        broker.files.provision(settings.MQTT_TOPIC_PREFIX, [])
        broker.start()
        made = Environment(directory, postgres, broker, postgres.url("bench"), "TimescaleDB" if binaries.timescale else "PostgreSQL")
        made.variables = _variables(made)
        made.manage("migrate", "--verbosity", "0")
        yield made
    finally:
        broker.stop()
        postgres.stop(immediate=True)
        shutil.rmtree(directory, ignore_errors=True)


def _variables(made: Environment) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("MQTT_", "TDS_", "DATABASE_", "SECRET_KEY"))}
    return {
        **kept,
        "DATABASE_URL": made.url,
        "SECRET_KEY": secrets.token_urlsafe(50),
        "TDS_DATA_DIR": str(made.directory / "var"),
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
    with psycopg.connect(made.url) as connection:
        server = str(connection.execute("SHOW server_version").fetchone()[0])  # type: ignore[index]
        row = connection.execute("SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'").fetchone()
    version = re.search(r"mosquitto version (\S+)", subprocess.run([str(find_mosquitto()), "-h"], capture_output=True, text=True).stdout)
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "processors": f"{os.cpu_count()} x {cpu[1] if cpu else platform.processor()}",
        "python": platform.python_version(),
        "postgresql": server,
        "timescaledb": row[0] if row else "none",
        "mosquitto": version[1] if version else "?",
    }
