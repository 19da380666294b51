"""The sizes and the context of ``benchmark_consumption``."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from lab.benchmarks import bench, dataset
from lab.benchmarks.environment import BenchmarkEnvironment
from lab.harness.errors import LabError
from lab.harness.process import ChildProcess, cpu_seconds, manage
from lab.harness.waiting import wait_until

SESSIONS = (
    "SELECT pid FROM pg_stat_activity WHERE application_name IN ('tds_new_consumption', 'tds_new_upkeep')"
)
WORKER_STOP_TIMEOUT_S = 30


@dataclass(frozen=True)
class Sizes:
    """The sizes measured; each field is an option of ``benchmark_consumption``."""

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
    """A bench with workers, and with devices of the data set."""

    @contextmanager
    def worker(self) -> Iterator["Worker"]:
        """Run a consumption worker as shipped, maintenance included.

        It is stopped in order at the end.
        """
        worker = Worker(self.environment)
        try:
            worker.wait_until_ready()
            yield worker
        finally:
            worker.stop(WORKER_STOP_TIMEOUT_S)

    def register_only(self, devices: int) -> None:
        """Have so many devices of the data set registered, and nothing stored."""
        with self.environment.connect() as connection:
            dataset.clear_fleet(connection)
            dataset.register(connection, devices)


class Worker(ChildProcess):
    """A running ``process_consumption``."""

    def __init__(self, environment: BenchmarkEnvironment) -> None:
        self._environment = environment
        super().__init__(manage("process_consumption"), environment.log_path("worker"), environment.variables)
        environment.keep(self)

    def wait_until_ready(self) -> None:
        """Wait until it has a database session.

        Raises LabError if it does not get there.
        """

        def is_ready() -> bool:
            if not self.alive:
                raise LabError(f"the worker did not start: {self.log[-800:]}")
            return bool(self._sessions())

        wait_until(is_ready, lambda: f"the worker's session: {self.log[-800:]}", 60, interval=0.05)

    def used(self) -> tuple[float, float]:
        """Return the processor seconds taken so far: its own, and its database sessions'."""
        return cpu_seconds(self.process.pid), sum(cpu_seconds(pid) for pid in self._sessions())

    def _sessions(self) -> list[int]:
        with self._environment.connect() as connection:
            return [pid for (pid,) in connection.execute(SESSIONS).fetchall()]
