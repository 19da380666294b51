"""Start services in order, restart those that end, and stop all in reverse."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tds_new.backoff import Backoff
from tds_new.embedded import child

RESTART = Backoff(first=1.0, longest=30.0, jitter=0.0)
STABLE_AFTER_S = 60.0
STOP_TIMEOUT_S = 20.0


class Service(Protocol):
    """Something that can be started, watched and stopped.

    It is one of our servers or a :class:`Program`.
    """

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""

    def start(self) -> None:
        """Start it."""

    def stop(self) -> None:
        """Stop it; do nothing if it does not run."""


class Program:
    """A command as a service.

    It works in ``folder``; its output is appended to ``log``.
    """

    def __init__(
        self, command: Sequence[str], log: Path, *, folder: Path, environment: dict[str, str]
    ) -> None:
        self._command, self._log, self._folder, self._environment = list(command), log, folder, environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id; None while it does not run."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start the command; do not wait until it is ready."""
        with self._log.open("ab") as log:
            self._process = child.spawn(
                self._command, output=log, folder=self._folder, environment=self._environment
            )

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL if the command has not ended 20 s later."""
        if self._process is not None:
            child.end(self._process, signal.SIGTERM, STOP_TIMEOUT_S)
            self._process = None


@dataclass(slots=True)
class _Watched:
    name: str
    service: Service
    started: float
    restarts: int = 0  # in a row, each soon after the one before
    again_at: float | None = None


class Supervisor:
    """Keep services running.

    ``say`` is called with a label (``OK``, ``WARN`` or ``ERROR``) and a line of text for the user. ``clock``
    returns seconds.
    """

    def __init__(self, say: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._watched: list[_Watched] = []

    def start(self, name: str, service: Service) -> None:
        """Start a service and watch it from now on. Raises what its start raises."""
        self.watch(name, service)
        service.start()

    def watch(self, name: str, service: Service) -> None:
        """Watch a service that runs already."""
        self._watched.append(_Watched(name, service, self._clock()))

    def look(self) -> None:
        """Restart the services that have ended; call this regularly.

        The delay before a restart is 1 s at first, doubles with each one up to 30 s, and is 1 s again after
        the service has run for a minute.
        """
        for each in self._watched:
            if each.again_at is None and each.service.pid is None:
                if self._clock() - each.started > STABLE_AFTER_S:
                    each.restarts = 0
                each.restarts += 1
                delay = RESTART.delay_before(each.restarts)
                self._say("WARN", f"{each.name} has ended; next start in {delay:g} s")
                each.again_at = self._clock() + delay
            elif each.again_at is not None and self._clock() >= each.again_at:
                self._start_again(each)

    def _start_again(self, each: _Watched) -> None:
        each.again_at, each.started = None, self._clock()
        each.service.stop()  # releases the locks and files of an ended service
        try:
            each.service.start()
        except Exception as error:  # of any kind: the other services go on, and this one is tried again
            self._say("ERROR", f"{each.name} does not start: {error}")
        else:
            self._say("OK", f"{each.name} runs again")

    def stop(self) -> None:
        """Stop all services, the last started first."""
        for each in reversed(self._watched):
            each.service.stop()
        self._watched.clear()
