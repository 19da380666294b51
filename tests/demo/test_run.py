"""`make run`: it serves, stops completely, and finds its data again."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from tds_new.embedded.mosquitto import find_mosquitto
from tests.support.paths import ROOT

pytestmark = pytest.mark.once

PATIENCE_S = 120


def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for a condition. Fails after a time that only a broken program needs."""
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, f"still waiting: {what}"
        time.sleep(0.05)


class Demo:
    """`manage.py demo` in a process group of its own, as a shell would start it."""

    def __init__(self, data: Path) -> None:
        self.data, self.output = data, data.parent / "output"
        foreign = ("DATABASE_", "SECRET_KEY", "MQTT_", "TDS_", "DJANGO_")
        self.environment = {k: v for k, v in os.environ.items() if not k.startswith(foreign)} | {
            "TDS_DATA_DIR": str(data)
        }
        self.process: subprocess.Popen[bytes] | None = None

    def manage(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "manage.py", *words]
        return subprocess.run(
            command, cwd=ROOT, env=self.environment, capture_output=True, text=True, check=False
        )

    def run(self) -> str:
        """Start it and return the address that it prints."""
        self.output.write_bytes(b"")
        with self.output.open("wb") as output:
            command = [sys.executable, "manage.py", "demo", "--days", "1"]
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        until(
            lambda: self.address() is not None or self.process is None or self.process.poll() is not None,
            "the address",
        )
        address = self.address()
        assert address is not None, self.said()
        return address

    def said(self) -> str:
        return self.output.read_text(encoding="utf-8")

    def address(self) -> str | None:
        found = re.search(r"TDS New runs at (\S+)", self.said())
        return found[1] if found else None

    def interrupt(self) -> int:
        """Ctrl-C: the terminal sends it to the whole foreground process group."""
        assert self.process is not None
        os.killpg(self.process.pid, signal.SIGINT)
        return self.process.wait(PATIENCE_S)

    def processes(self) -> list[str]:
        """Every process that has our data directory in its arguments or environment."""
        mark, found = os.fsencode(self.data), []
        for path in Path("/proc").glob("[0-9]*"):
            try:
                words, surroundings = (path / "cmdline").read_bytes(), (path / "environ").read_bytes()
            except OSError:  # it has ended meanwhile
                continue
            if words and (mark in words or mark in surroundings):
                found.append(words.replace(b"\0", b" ").decode("utf-8", "replace"))
        return found

    def readings(self) -> int:
        url = json.loads((self.data / "embedded.json").read_text(encoding="utf-8"))["database_url"]
        with psycopg.connect(url) as connection:
            row = connection.execute("SELECT count(*) FROM tds_new_leitura_dispositivo").fetchone()
        assert row is not None
        return int(row[0])


@pytest.fixture
def demo(tmp_path: Path) -> Iterator[Demo]:
    demo = Demo(tmp_path / "var")
    yield demo
    if demo.process is not None and demo.process.poll() is None:
        demo.process.terminate()
        demo.process.wait(PATIENCE_S)


def status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:  # noqa: S310 - our own address
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.servers
@pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto is not installed")
def test_it_serves_stops_completely_and_finds_its_data_however_it_ended(demo: Demo) -> None:
    address = demo.run()
    assert status_of(f"{address}healthz") == 200
    assert status_of(f"{address}entrar/") == 200
    assert re.search(
        r"login demo@tds-new\.local password \S+ \(member of Conta Teste Telemetria\)", demo.said()
    )
    assert re.search(
        r"login operador@tds-new\.local password \S+ \(superuser, for http://\S+/admin/\)", demo.said()
    )
    assert demo.said().isascii()
    first = demo.readings()
    assert first > 96 * 20  # a day of six gateways
    until(lambda: demo.readings() > first, "readings of the simulated gateways")

    # Commands in another terminal reach it, and a second run does not disturb it.
    check = demo.manage("check_telemetry")
    assert check.returncode == 0, check.stdout + check.stderr
    second = demo.manage("demo")
    assert second.returncode == 1
    assert f"already running here at {address}" in second.stdout
    assert status_of(f"{address}healthz") == 200

    # Ctrl-C: nothing is left, and the data is.
    stored = demo.readings()
    assert demo.interrupt() == 0, demo.said()
    assert demo.processes() == []
    assert not (demo.data / "embedded.json").exists()
    assert "Traceback" not in demo.said() + "".join(
        log.read_text(encoding="utf-8") for log in (demo.data / "log").iterdir()
    )
    demo.run()
    assert demo.readings() >= stored

    # kill -9: the children end by themselves, and the next run recovers.
    stored = demo.readings()
    assert demo.process is not None
    demo.process.kill()
    demo.process.wait()
    demo.run()
    assert demo.readings() >= stored
    consumers = [words for words in demo.processes() if "start_mqtt_consumer" in words]
    assert len(consumers) == 1

    # A service that dies is started again.
    web = next(
        pid for pid in Path("/proc").glob("[0-9]*") if _is_child(pid, demo.process.pid, b"simulate_gateways")
    )
    os.kill(int(web.name), signal.SIGKILL)
    until(lambda: "gateways runs again" in demo.said(), "the simulation's return")
    demo.process.terminate()
    assert demo.process.wait(PATIENCE_S) == 0
    until(lambda: demo.processes() == [], "the end of all processes")


def _is_child(path: Path, parent: int, word: bytes) -> bool:
    try:
        fields = (path / "stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return int(fields[1]) == parent and word in (path / "cmdline").read_bytes()
    except OSError:
        return False


def test_it_refuses_to_run_beside_a_configured_database(demo: Demo) -> None:
    demo.environment |= {"DATABASE_URL": "postgres://a:b@127.0.0.1:9/c", "SECRET_KEY": "x" * 50}
    refused = demo.manage("demo")
    assert refused.returncode == 1
    assert "DATABASE_URL is set" in refused.stderr
