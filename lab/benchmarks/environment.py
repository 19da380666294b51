"""Servers of the benchmarks: durable, with settings for load."""

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

from django.conf import settings

from lab.benchmarks.load_generator import gateway_mac
from lab.harness import fleet
from lab.harness.environment import GATEWAY_LIMITS, Environment
from tds_new.demo.fleet import Site
from tds_new.embedded.mosquitto import find_mosquitto

# log_line_prefix names the session of a line of the log, for parts that count statements.
SERVER_SETTINGS = {
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "log_line_prefix": "%m [%p] %a ",
}


class BenchmarkEnvironment(Environment):
    """The servers of a measurement."""

    def __init__(self, kind: str = "auto", variables: Mapping[str, str] | None = None) -> None:
        """Choose the servers.

        ``variables`` are settings of the platform that differ from its defaults.
        """
        own = {
            **{name: str(getattr(settings, name)) for name in GATEWAY_LIMITS},
            "TDS_STORE_PAYLOAD_RAW": "on" if settings.TDS_STORE_PAYLOAD_RAW else "off",
            **(variables or {}),
        }
        super().__init__(
            kind, name="benchmark", server_settings=SERVER_SETTINGS, background_workers=True, variables=own
        )

    def register_fleet(self, gateways: int, *, first: int = 0, database: str = "") -> None:
        """Have so many gateways registered, from number ``first`` on.

        Each has three devices.
        """
        sites = [
            Site(f"GW-{number}", gateway_mac(number), "", fleet.BENCHMARK_DEVICES)
            for number in range(first, first + gateways)
        ]
        with self.connect(database) as connection:
            fleet.register(connection, "Benchmark", sites)

    def log_size(self) -> int:
        """Return the size of the database server's log, in bytes."""
        return self.postgres.log.stat().st_size

    def logged_since(self, position: int) -> list[str]:
        """Return the lines of the database server's log from ``position`` (bytes) on."""
        with self.postgres.log.open("rb") as log:
            log.seek(position)
            return log.read().decode("utf-8", "replace").splitlines()


def describe_machine(environment: Environment) -> dict[str, str]:
    """Return what the figures were measured on: processors and versions."""
    with environment.connect() as connection:
        server = str(connection.execute("SHOW server_version").fetchone()[0])  # type: ignore[index]
        row = connection.execute(
            "SELECT extversion FROM pg_extension WHERE extname = 'timescaledb'"
        ).fetchone()
    answer = subprocess.run([str(find_mosquitto()), "-h"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"mosquitto version (\S+)", answer)
    cpu = re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text(encoding="utf-8"))
    return {
        "processors": f"{os.cpu_count()} x {cpu[1] if cpu else platform.processor()}",
        "python": platform.python_version(),
        "postgresql": server.split(" ", 1)[0],
        "timescaledb": row[0] if row else "none",
        "mosquitto": version[1] if version else "?",
    }
