"""Services that are started in order, started again when they end, and stopped in the opposite order."""

import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tds_new.embedded import child

FIRST_DELAY_S, LONGEST_DELAY_S = 1.0, 30.0
STABLE_AFTER_S = 60.0
STOP_TIMEOUT_S = 20.0


class Service(Protocol):
    """What can be started, stopped and looked after: a server of ours, or a :class:`Program`."""

    @property
    def pid(self) -> int | None: ...
    def start(self) -> None: ...
    def stop(self) -> None: ...


class Program:
    """A command of ours as a service; its output goes to ``log``."""

    def __init__(
        self, command: Sequence[str], log: Path, *, folder: Path, environment: dict[str, str]
    ) -> None:
        self._command, self._log, self._folder, self._environment = list(command), log, folder, environment
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return self._process.pid if self._process and self._process.poll() is None else None

    def start(self) -> None:
        """Start it; does not wait for anything."""
        with self._log.open("ab") as log:
            self._process = child.spawn(
                self._command, output=log, folder=self._folder, environment=self._environment
            )

    def stop(self) -> None:
        """Ask it to end, and end it if it does not."""
        if self._process is None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


@dataclass(slots=True)
class _Watched:
    name: str
    service: Service
    started: float
    delay: float = FIRST_DELAY_S
    again_at: float | None = None


class Supervisor:
    """Keeps services running. ``say`` takes a line for people (``OK``, ``WARN``, ``ERROR`` and the text)."""

    def __init__(self, say: Callable[[str, str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._say, self._clock = say, clock
        self._watched: list[_Watched] = []

    def start(self, name: str, service: Service) -> None:
        """Start a service and look after it from now on. Raises what its start raises."""
        self.watch(name, service)
        service.start()

    def watch(self, name: str, service: Service) -> None:
        """Look after a service that runs already."""
        self._watched.append(_Watched(name, service, self._clock()))

    def look(self) -> None:
        """Start again what has ended, after 1 s doubling to 30 s; call it every now and then."""
        for each in self._watched:
            if each.again_at is None and each.service.pid is None:
                if self._clock() - each.started > STABLE_AFTER_S:
                    each.delay = FIRST_DELAY_S
                self._say("WARN", f"{each.name} has ended; next start in {each.delay:g} s")
                each.again_at, each.delay = self._clock() + each.delay, min(each.delay * 2, LONGEST_DELAY_S)
            elif each.again_at is not None and self._clock() >= each.again_at:
                self._start_again(each)

    def _start_again(self, each: _Watched) -> None:
        each.again_at, each.started = None, self._clock()
        each.service.stop()  # what is left of it: locks, files
        try:
            each.service.start()
        except Exception as error:  # whatever it is, the other services go on and this one is tried again
            self._say("ERROR", f"{each.name} does not start: {error}")
        else:
            self._say("OK", f"{each.name} runs again")

    def stop(self) -> None:
        """Stop everything, the last started first."""
        for each in reversed(self._watched):
            each.service.stop()
        self._watched.clear()
