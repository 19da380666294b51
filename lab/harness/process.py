"""Child processes of an experiment.

They end with it, and write their output to a file.
"""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from django.conf import settings

from lab.harness.errors import LabError
from lab.harness.waiting import wait_until
from tds_new.embedded import child

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 20.0
LOG_INTERVAL_S = 0.01  # benchmarks measure the start to a hundredth of a second
LOG_END = 800  # characters of a log that an error shows


def manage(*words: str) -> list[str]:
    """Return the command line of a management command of this checkout."""
    return [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *words]


def cpu_seconds(pid: int) -> float:
    """Return the processor time that a process has taken, in seconds."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


class ChildProcess:
    """A running command.

    ``started`` is the time of its start in seconds of the monotonic clock.
    """

    log_errors = "replace"  # how bytes of the log that are not ASCII are decoded

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        variables: Mapping[str, str],
        *,
        death_signal: signal.Signals = signal.SIGTERM,
        own_session: bool = False,
    ) -> None:
        """Start ``command`` with the environment ``variables``.

        Its output goes to the file ``log``.

        It gets ``death_signal`` when this process ends. ``own_session`` keeps the terminal's Ctrl-C away from
        it.
        """
        self._log = log
        self.started = time.monotonic()
        with log.open("wb") as output:
            self.process = child.spawn(
                command,
                output=output,
                environment=dict(variables),
                folder=Path(settings.BASE_DIR),
                death_signal=death_signal,
                own_session=own_session,
            )

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self.process.poll() is None

    @property
    def log(self) -> str:
        """Everything that it has written."""
        return self._log.read_bytes().decode("ascii", self.log_errors)

    def log_lines(self, *words: str) -> list[str]:
        """Return the lines of its log that have each of ``words``."""
        return [line for line in self.log.splitlines() if all(word in line for word in words)]

    def wait_for(self, *words: str, times: int = 1, timeout: float = START_TIMEOUT_S) -> None:
        """Wait until so many lines with each of ``words`` are logged.

        Raises LabError if the process ends before, or after ``timeout`` seconds.
        """

        def is_logged() -> bool:
            ended = not self.alive  # asked first: what it wrote last is in the log by then
            if len(self.log_lines(*words)) >= times:
                return True
            if ended:
                raise LabError(f"ended with status {self.process.returncode}: {self.log[-LOG_END:]}")
            return False

        wait_until(
            is_logged, lambda: f"{words} in the log: {self.log[-LOG_END:]}", timeout, interval=LOG_INTERVAL_S
        )

    def memory(self) -> float:
        """Return its resident memory now, in MiB (VmRSS).

        Raises LabError if it has ended.
        """
        return self._status("VmRSS")

    def peak_memory(self) -> float:
        """Return its highest resident memory so far, in MiB (VmHWM).

        Raises LabError if it has ended.
        """
        return self._status("VmHWM")

    def _status(self, name: str) -> float:
        size = memory_of(self.process.pid, name)
        if size is None:
            raise LabError(f"the process has ended: {self.log[-LOG_END:]}")
        return size

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal; does nothing if it has ended."""
        self.process.send_signal(number)

    def ends_within(self, timeout: float) -> bool:
        """Wait for its end; return False after ``timeout`` seconds."""
        try:
            self.process.wait(timeout)
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """End it with SIGKILL, as a power cut would, and wait."""
        self.process.kill()
        self.process.wait()

    def terminate(self, timeout: float = 30) -> int:
        """Send SIGTERM; return the exit status.

        Raises subprocess.TimeoutExpired after ``timeout`` seconds.
        """
        self.send_signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def stop(self, timeout: float = STOP_TIMEOUT_S) -> None:
        """End it in order, or with SIGKILL after ``timeout`` seconds."""
        self.send_signal(signal.SIGTERM)
        if not self.ends_within(timeout):
            self.kill()


def memory_of(pid: int, name: str = "VmRSS") -> float | None:
    """Return a figure of ``/proc/<pid>/status`` in MiB.

    None if the process has ended, or is about to.
    """
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    except OSError:
        return None
    match = re.search(rf"{name}:\s+(\d+) kB", status)
    return int(match[1]) / 1024 if match else None
