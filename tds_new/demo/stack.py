"""The services of `make run`, on the loopback address.

They are PostgreSQL, a broker, the consumer, the web and simulated gateways.
"""

import os
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from django.conf import settings

from tds_new.broker.accounts import BACKEND
from tds_new.broker.listeners import WEBSOCKET_PORT
from tds_new.demo.fleet import FLEET
from tds_new.embedded import child, state
from tds_new.embedded.mosquitto import MosquittoServer, find_mosquitto
from tds_new.embedded.ports import LOOPBACK, first_free
from tds_new.embedded.postgres import AlreadyRunning, Binaries, PostgresServer, find_binaries
from tds_new.embedded.supervisor import Program, Supervisor

WEB_PORT, MQTT_PORT = 8000, 1883
WEB_TIMEOUT_S = 60
HANDOVER_S = 60  # how long an earlier run may take to stop
INTERVAL_S = 10
# Settings by these names would lead the commands to other services than ours.
FOREIGN = ("MQTT_BROKER_", "MQTT_BACKEND_", "MQTT_USE_TLS", "MQTT_C", "MQTT_KEYFILE", "DATABASE_URL")


class DemoError(Exception):
    """The demonstration cannot run; the text says why."""


class Stack:
    """The services of the demonstration.

    ``logins`` are lines for people, once it has started.
    """

    def __init__(
        self, base_dir: Path, data_dir: Path, say: Callable[[str, str], None], *, days: int, gateways: int
    ) -> None:
        """Prepare the services of a checkout.

        ``base_dir`` is the checkout, ``data_dir`` has the services' data.

        ``say`` takes a label and a line for people. ``days`` of readings are made, ``gateways`` are
        simulated.
        """
        self.base_dir, self.data_dir, self._say = base_dir, data_dir.resolve(), say
        self._days, self._gateways = days, gateways
        self._supervisor = Supervisor(say)
        self._environment = {k: v for k, v in os.environ.items() if not k.startswith(FOREIGN)} | {
            "TDS_DATA_DIR": str(self.data_dir)
        }
        self._state: state.EmbeddedState | None = None
        self.logins: list[str] = []

    def start(self) -> str:
        """Start everything and return the web's address.

        Raises DemoError, PostgresError, MosquittoError or OSError if a service does not start.
        """
        (self.data_dir / "log").mkdir(parents=True, exist_ok=True)
        self._start_postgres()
        self._command("migrate", "--no-input", "--verbosity", "0")
        if self._static_files_are_old():
            self._command("collectstatic", "--no-input", "--verbosity", "0")
        self._say("OK", f"registering the demonstration and up to {self._days} days of its readings")
        said = self._command("create_demo_data", "--fleet", "--staff", "--backlog", str(self._days))
        self.logins = [
            line.removeprefix("[OK] ") for line in said.splitlines() if line.startswith("[OK] login")
        ]
        self._command("provision_broker", "--directory", str(self.data_dir / "broker"))
        self._start_broker()
        self._run("consumer", self._manage("start_mqtt_consumer", "--standby"))
        address = self._start_web()
        self._run(
            "gateways",
            self._manage(
                "simulate_gateways", "--gateways", str(self._gateways), "--interval", str(INTERVAL_S)
            ),
        )
        return address

    def look(self) -> None:
        """Start services again that have ended."""
        self._supervisor.look()

    def stop(self) -> None:
        """Stop everything, in the opposite order of the start."""
        if self._state is not None:
            state.clear(self.data_dir)  # first: the next run sees that this one is stopping, and waits
        self._supervisor.stop()

    # --- services -------------------------------------------------------------------------------------------

    def _start_postgres(self) -> None:
        server = PostgresServer(self.data_dir / "postgres", self._binaries())
        deadline = time.monotonic() + HANDOVER_S
        while True:
            try:
                server.start()
                break
            except AlreadyRunning as error:
                running = state.read(self.data_dir)
                if running is not None or time.monotonic() > deadline:
                    where = f" at {running.web}" if running and running.web else ""
                    text = f"`make run` is already running here{where} ({error}); stop it first with Ctrl-C"
                    raise DemoError(text) from error
                time.sleep(0.1)
        self._supervisor.watch("PostgreSQL", server)
        self._say(
            "OK", f"PostgreSQL {server.binaries.major} on {LOOPBACK}:{server.port}, data in {server.data}"
        )
        self._write_state(state.EmbeddedState(os.getpid(), server.url()))

    def _binaries(self) -> Binaries:
        """Return the PostgreSQL that made the data, or the first one found.

        Raises DemoError if there is none.
        """
        found = find_binaries()
        version = self.data_dir / "postgres" / "data" / "PG_VERSION"
        wanted = version.read_text(encoding="ascii").strip() if version.exists() else ""
        fitting = [binaries for binaries in found if wanted in ("", str(binaries.major))]
        if not fitting:
            raise DemoError(
                f"no PostgreSQL {wanted or '15 or later'} found; "
                "run `make install`, which brings PostgreSQL 18"
            )
        return fitting[0]

    def _start_broker(self) -> None:
        directory = self.data_dir / "broker"
        websocket_port = first_free(WEBSOCKET_PORT) if settings.TDS_MQTT_WEBSOCKETS else None
        if find_mosquitto() is not None:
            broker = MosquittoServer(directory)
            broker.end_predecessor()
            broker.device_port = first_free(MQTT_PORT)
            broker.websocket_port = websocket_port
            self._supervisor.start("Mosquitto", broker)
            self._say(
                "OK",
                f"Mosquitto on {LOOPBACK}:{broker.device_port} for gateways; "
                f"secrets in {broker.files.secrets}",
            )
            self._write_broker_state(broker.port, broker.files.secret(BACKEND))
            self._say_websockets(websocket_port)
            return
        # amqtt takes half a second to import, so only where it is needed.
        from tds_new.embedded.python_broker import PythonBroker

        fallback = PythonBroker(directory, first_free(MQTT_PORT), websocket_port)
        self._supervisor.start("broker", fallback)
        self._say(
            "OK",
            f"a Python broker on {LOOPBACK}:{fallback.port} for gateways; "
            f"secrets in {fallback.files.secrets}",
        )
        self._say(
            "WARN",
            "it is for demonstration only: MQTT 3.1.1, no share groups, "
            "and it forgets unacknowledged messages when it ends",
        )
        self._say("WARN", "install mosquitto for a broker that keeps them")
        self._write_broker_state(fallback.port, fallback.files.secret(BACKEND))
        self._say_websockets(websocket_port)

    def _say_websockets(self, port: int | None) -> None:
        if port is not None:
            self._say("OK", f"MQTT over WebSockets for gateways: ws://{LOOPBACK}:{port}")

    def _start_web(self) -> str:
        port = first_free(WEB_PORT)
        address = f"http://{LOOPBACK}:{port}/"
        command = [sys.executable, "-m", "gunicorn", "--config", "infrastructure/gunicorn.conf.py"]
        bind = ["--bind", f"{LOOPBACK}:{port}"]
        self._run("web", [*command, *bind, "--workers", "2", "prj_tds_new.wsgi"])
        deadline = time.monotonic() + WEB_TIMEOUT_S
        while not _answers(f"{address}healthz"):
            if time.monotonic() > deadline:
                raise DemoError(
                    f"the web does not answer at {address}; see {self.data_dir / 'log' / 'web.log'}"
                )
            self.look()
            time.sleep(0.1)
        current = self._state
        if current is not None:
            self._write_state(replace(current, web=address))
        return address

    def _run(self, name: str, command: list[str]) -> None:
        log = self.data_dir / "log" / f"{name}.log"
        log.write_bytes(b"")
        self._supervisor.start(
            name, Program(command, log, folder=self.base_dir, environment=self._environment)
        )

    # --- helpers --------------------------------------------------------------------------------------------

    def _manage(self, *words: str) -> list[str]:
        return [sys.executable, str(self.base_dir / "manage.py"), *words]

    def _command(self, *words: str) -> str:
        """Run a management command to its end and return its output.

        Raises DemoError with its last lines where it fails.
        """
        process = child.spawn(
            self._manage(*words),
            output=subprocess.PIPE,
            folder=self.base_dir,
            environment=self._environment,
        )
        said = b"".join(process.communicate()).decode("utf-8", "replace")
        if process.returncode != 0:
            raise DemoError(f"`manage.py {words[0]}` failed: {' / '.join(said.strip().splitlines()[-3:])}")
        return said

    def _static_files_are_old(self) -> bool:
        collected = self.base_dir / "staticfiles" / "staticfiles.json"
        if not collected.exists():
            return True
        sources = [path.stat().st_mtime for path in (self.base_dir / "tds_new" / "static").rglob("*")]
        return max(sources, default=0.0) > collected.stat().st_mtime

    def _write_broker_state(self, port: int, password: str) -> None:
        if self._state is not None:
            self._write_state(
                replace(
                    self._state, mqtt_host=LOOPBACK, mqtt_port=port, mqtt_user=BACKEND, mqtt_password=password
                )
            )

    def _write_state(self, new: state.EmbeddedState) -> None:
        self._state = new
        state.write(self.data_dir, new)


def default_gateways() -> int:
    """Return how many gateways the demonstration registers."""
    return len(FLEET) + 1


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:  # noqa: S310 - our own address
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
