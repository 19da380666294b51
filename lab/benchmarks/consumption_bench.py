"""What the parts of ``benchmark_consumption`` run on."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from django.conf import settings

from lab.benchmarks import bench, dataset
from lab.benchmarks.environment import Environment
from lab.harness.errors import LabError
from tds_new.embedded import child

SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name IN ('tds_new_consumption', 'tds_new_upkeep')"
)


@dataclass(frozen=True)
class Sizes:
    """How much is measured; each field is an option of ``benchmark_consumption``."""

    backlog: int = 1_000_000
    backlog_devices: int = 600
    intervals: Sequence[int] = (300, 60, 10, 1)
    rate: float = 1_500
    senders: int = 1_500
    seconds: float = 60
    apart: int = 60
    devices: int = 1_000
    days: int = 40
    disk_devices: int = 100


@dataclass(frozen=True)
class Bench(bench.Bench[Sizes]):
    """And workers, and devices."""

    @contextmanager
    def worker(self) -> Iterator["Worker"]:
        """A consumption worker as shipped, with the upkeep in it, stopped in order at the end."""
        log = self.made.directory / f"worker-{time.monotonic_ns()}.log"
        command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), "process_consumption"]
        with log.open("wb") as output:
            process = child.spawn(command, output=output, environment=self.made.variables)
        worker = Worker(self.made, process, log)
        try:
            worker.wait_until_it_follows()
            yield worker
        finally:
            process.terminate()
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def progress(self, what: str) -> Callable[[float], None]:
        """Say every twentieth of what is done."""
        said = 0

        def progress(share: float) -> None:
            nonlocal said
            if int(20 * share) > said:
                said = int(20 * share)
                self.say(f"{what}: {5 * said} %")

        return progress

    def fresh(self, devices: int) -> None:
        """Have so many devices of the data set registered, and nothing stored."""
        with self.made.connect() as connection:
            dataset.forget_fleet(connection)
            dataset.register(connection, devices)


@dataclass(frozen=True)
class Worker:
    """A running ``process_consumption``."""

    made: Environment
    process: "subprocess.Popen[bytes]"
    log: Path

    def wait_until_it_follows(self) -> None:
        """Return once it has a session. Raises LabError where it does not get there."""
        deadline = time.monotonic() + 60
        while not self._sessions():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise LabError(f"the worker did not start: {self.log.read_text(errors='replace')[-800:]}")
            time.sleep(0.05)

    def used(self) -> tuple[float, float]:
        """Processor seconds so far: its own, and its database sessions'."""
        return cpu_seconds(self.process.pid), sum(cpu_seconds(pid) for pid in self._sessions())

    def _sessions(self) -> list[int]:
        with self.made.connect() as connection:
            return [pid for (pid,) in connection.execute(SESSIONS).fetchall()]


def cpu_seconds(pid: int) -> float:
    """The processor time that a process has taken."""
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
