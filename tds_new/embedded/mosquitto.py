"""Run a Mosquitto of our own with the shipped configuration.

It listens on the loopback address only. The demonstration, the test suite and the laboratory use it.
"""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

from django.conf import settings as django_settings

from tds_new.broker.files import BrokerFiles
from tds_new.broker.listeners import websocket_listener
from tds_new.embedded import child
from tds_new.embedded.ports import LOOPBACK, free_port, is_free

# Distributions install servers in directories that are not on the PATH of ordinary users.
SEARCH_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
START_TIMEOUT_S = 60  # it reads its store first, which may be large
STOP_TIMEOUT_S = 60  # it writes its store last
PLUGIN = "mosquitto_dynamic_security.so"
_RUNNING = re.compile(rb"mosquitto version \S+ running")


class MosquittoError(Exception):
    """Mosquitto cannot be used; the text says why."""


def find_mosquitto() -> Path | None:
    """Return the path of this machine's Mosquitto; None if there is none.

    It must be of version 2 or later. Older ones know neither the shipped kind of passwords nor the shipped
    limits.
    """
    found = shutil.which("mosquitto", path=SEARCH_PATH)
    if found is None:
        return None
    answer = subprocess.run([found, "-h"], capture_output=True, text=True, check=False).stdout
    version = re.search(r"mosquitto version (\d+)\.", answer)
    return Path(found) if version and int(version[1]) >= 2 else None


def find_plugin(binary: Path) -> Path | None:
    """Return the path of the plugin that restricts users; None if there is none."""
    library = binary.resolve().parent.parent / "lib"
    return next(
        (path for path in (library / PLUGIN, *sorted(library.glob(f"*/{PLUGIN}"))) if path.exists()), None
    )


def template() -> str:
    """Return the text of the shipped configuration."""
    path = Path(django_settings.BASE_DIR) / "infrastructure/mosquitto/mosquitto.conf"
    return path.read_text(encoding="utf-8")


def render(text: str, replacements: Mapping[str, str | None], listeners: tuple[str, ...] = ()) -> str:
    """Return the configuration ``text`` with other values.

    ``replacements`` has the value of each name; None removes the line. A name keeps its place, a new name
    goes to the end. ``listeners`` replace the values of the ``listener`` lines in their order. Raises
    ValueError where their number differs.
    """
    waiting, missing, lines = list(listeners), dict(replacements), []
    for line in text.splitlines():
        name = line.split(" ", 1)[0]
        if name == "listener" and listeners:
            if not waiting:
                raise ValueError("the configuration has more listeners than were given")
            lines.append(f"listener {waiting.pop(0)}")
        elif name in replacements:
            value = missing.pop(name, None)
            lines += [f"{name} {value}"] if value is not None else []
        else:
            lines.append(line)
    if waiting:
        raise ValueError("the configuration has fewer listeners than were given")
    lines += [f"{name} {value}" for name, value in missing.items() if value is not None]
    return "\n".join(lines) + "\n"


class MosquittoServer:
    """A Mosquitto with everything that it keeps in ``directory``.

    These are its configuration, accounts, store and log. ``files`` are its accounts; provision them before
    the start. ``settings`` replace those of the shipped configuration. Gateways connect to ``device_port``,
    or with WebSockets to ``websocket_port``, and the platform to ``port``. They stay the same over restarts;
    0 means any free port, None that there are no WebSockets.
    """

    def __init__(
        self,
        directory: Path,
        settings: Mapping[str, str | None] | None = None,
        *,
        device_port: int = 0,
        port: int = 0,
        websocket_port: int | None = None,
    ) -> None:
        self.directory = directory.resolve()
        self.files = BrokerFiles(self.directory)
        self.log = self.directory / "log"
        self.device_port, self.port, self.websocket_port = device_port, port, websocket_port
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The broker's process id; None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start the broker and wait until it takes connections.

        Raises MosquittoError if it does not.
        """
        binary = find_mosquitto()
        if binary is None:
            raise MosquittoError("no Mosquitto 2 on this machine")
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        # As root Mosquitto would become another user, who cannot read our files.
        identity = child.unprivileged_identity(self.directory.parent)
        self.end_predecessor()
        (self.directory / "data").mkdir(exist_ok=True)
        self._choose_ports()
        configuration = self.directory / "mosquitto.conf"
        configuration.write_text(self._configuration(find_plugin(binary)), encoding="utf-8")
        self._write_websocket_listener()
        # The directory may have been given away already and the files written again since.
        files = (self.files.passwords, self.files.acl, self.files.restrictions, self.files.listeners)
        for path in (self.directory, *files):
            if path.exists():
                child.give_to(path, child.file_owner(identity))
        with self.log.open("wb") as log:
            self._process = child.spawn(
                [str(binary), "-c", str(configuration)], identity=identity, own_session=True, output=log
            )
        (self.directory / "pid").write_text(f"{self._process.pid}\n", encoding="ascii")
        self._wait_until_running()

    def end_predecessor(self) -> None:
        """Stop a broker of this directory whose parent was killed.

        Waits until it has saved its queues. Raises MosquittoError if it does not end.
        """
        path = self.directory / "pid"
        pid = int(path.read_text(encoding="ascii")) if path.exists() else 0
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while pid and _runs(pid, self.directory / "mosquitto.conf"):
            if time.monotonic() > deadline:
                raise MosquittoError(f"an earlier broker (process {pid}) does not stop; end it and try again")
            with contextlib.suppress(ProcessLookupError):  # it has just ended
                os.kill(pid, signal.SIGTERM)
            time.sleep(0.05)

    def stop(self) -> None:
        """Stop the broker in order: it saves sessions and queues.

        Does nothing if it does not run.
        """
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """Kill the broker, as a power cut would: unsaved messages are lost."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the broker in order and start it again on the same ports."""
        self.stop()
        self.start()

    def reload(self) -> None:
        """Make the broker read its accounts again.

        Only while the consumer is connected: the shipped configuration says why.
        """
        if self._process is not None:
            self._process.send_signal(signal.SIGHUP)

    def log_text(self) -> str:
        """Return the broker's log since its start."""
        return self.log.read_text(encoding="utf-8", errors="replace")

    def _choose_ports(self) -> None:
        chosen = {self.device_port, self.port, self.websocket_port} - {0, None}

        def another() -> int:
            while (port := free_port()) in chosen:
                pass
            chosen.add(port)
            return port

        self.device_port = self.device_port or another()
        self.port = self.port or another()
        if self.websocket_port == 0:
            self.websocket_port = another()
        for port in (self.device_port, self.port, self.websocket_port):
            if port is not None and not is_free(port):
                raise MosquittoError(f"port {port} is in use")

    def _configuration(self, plugin: Path | None) -> str:
        values: dict[str, str | None] = {
            "password_file": str(self.files.passwords),
            "acl_file": str(self.files.acl),
            "plugin": str(plugin) if plugin else None,
            "plugin_opt_config_file": str(self.files.restrictions) if plugin else None,
            "persistence_location": f"{self.directory / 'data'}/",
            "include_dir": str(self.files.listeners),
        }
        platform = f"{self.port} {LOOPBACK}"
        if plugin is None:  # the next best: one session for each user, whatever its client id
            platform += "\nuse_username_as_clientid true"
        return render(template(), values | self._settings, (f"{self.device_port} {LOOPBACK}", platform))

    def _write_websocket_listener(self) -> None:
        self.files.listeners.mkdir(exist_ok=True)
        path = self.files.listeners / "websockets.conf"
        if self.websocket_port is None:
            path.unlink(missing_ok=True)
        else:
            path.write_text(websocket_listener(f"{self.websocket_port} {LOOPBACK}"), encoding="utf-8")

    def _wait_until_running(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not _RUNNING.search(self.log.read_bytes()):
            if self.pid is None:
                last_words = " / ".join(self.log_text().splitlines()[-5:])
                raise MosquittoError(f"Mosquitto did not start: {last_words}")
            if time.monotonic() > deadline:
                self.kill()
                raise MosquittoError(f"Mosquitto is not ready after {START_TIMEOUT_S} s; see {self.log}")
            time.sleep(0.02)

    def _end(self, number: signal.Signals) -> None:
        if self._process is not None:
            child.end(self._process, number, STOP_TIMEOUT_S)
            self._process = None


def _runs(pid: int, configuration: Path) -> bool:
    """Return whether the process ``pid`` is a broker with this configuration."""
    try:
        return os.fsencode(configuration) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
