"""Readings that one worker turns into blocks on one core.

They are a backlog that is stored in batches as the consumer's are.
"""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection

from lab.benchmarks import dataset
from lab.benchmarks.consumption_bench import Bench
from lab.benchmarks.figures import Requirement, at_least
from lab.harness.errors import LabError
from lab.harness.process import cpu_seconds
from lab.harness.report import paragraph, table
from tds_new.metering.worker import drain

BATCH = 6_000  # readings that the consumer commits at a time under load
REQUIRED_INTERVAL_S = 60  # the figure required is that of readings so far apart


@dataclass(frozen=True)
class Run:
    """The time of one worker for a backlog of readings ``interval`` seconds apart.

    ``wall`` is in seconds of the clock, ``worker`` and ``database`` in seconds of a processor.
    """

    interval: int
    readings: int
    blocks: int
    wall: float
    worker: float
    database: float

    @property
    def per_core(self) -> float:
        """Readings per second of processor time, the database's included."""
        return self.readings / (self.worker + self.database)


@dataclass(frozen=True)
class Throughput:
    """The figures of the part."""

    devices: int
    runs: list[Run]


def measure(bench: Bench) -> Throughput:
    """Compute a backlog for each interval, on an emptied database.

    Raises LabError if the blocks do not hold every reading.
    """
    sizes, runs = bench.sizes, []
    bench.register_only(sizes.backlog_devices)
    for interval in sizes.intervals:
        with bench.environment.connect() as connection:
            stored = _store(connection, sizes.backlog_devices, sizes.backlog, interval)
            run = _drain(connection, interval, stored)
            dataset.clear_readings(connection)
        runs.append(run)
        bench.say(
            f"{stored:,} readings {interval} s apart: {run.per_core:,.0f} readings per second of a processor"
        )
    return Throughput(sizes.backlog_devices, runs)


def _store(connection: Connection[Any], devices: int, wanted: int, interval: int) -> int:
    """Store about ``wanted`` readings up to now, in batches, oldest first.

    Return how many.
    """
    steps = max(2, wanted // devices)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=interval * (steps + 1))
    size = max(1, BATCH // devices)
    return sum(
        dataset.store(connection, start, interval, first, min(first + size, steps))
        for first in range(0, steps, size)
    )


def _drain(connection: Connection[Any], interval: int, stored: int) -> Run:
    """Compute everything that is queued, and measure it."""
    pid = connection.info.backend_pid
    connection.execute("ANALYZE")
    began, worker, database = time.monotonic(), time.process_time(), cpu_seconds(pid)
    blocks = drain(connection).rows
    run = Run(
        interval,
        stored,
        blocks,
        wall=time.monotonic() - began,
        worker=time.process_time() - worker,
        database=cpu_seconds(pid) - database,
    )
    counted = connection.execute("SELECT coalesce(sum(leituras), 0) FROM tds_new_consumo_15min").fetchone()
    if counted is None or counted[0] != stored:
        raise LabError(f"the blocks hold {counted and counted[0]} readings of {stored}")
    return run


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require a rate on one core."""
    return [
        at_least(
            f"readings/s that one worker computes on one core, readings {run['interval']} s apart",
            30_000,
            Run(**run).per_core,
        )
        for run in figures["runs"]
        if run["interval"] == REQUIRED_INTERVAL_S
    ]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe the backlogs, one a line."""
    head = (
        "readings apart",
        "readings",
        "blocks",
        "time",
        "processor: worker",
        "processor: database",
        "readings/s by the clock",
        "on one core",
    )
    cells = [
        (
            f"{run.interval} s",
            f"{run.readings:,}",
            f"{run.blocks:,}",
            f"{run.wall:.1f} s",
            f"{run.worker:.1f} s",
            f"{run.database:.1f} s",
            f"{run.readings / run.wall:,.0f}",
            f"{run.per_core:,.0f}",
        )
        for run in (Run(**fields) for fields in figures["runs"])
    ]
    return [
        *paragraph(
            f"A backlog of {figures['devices']:,} devices, stored in batches of {BATCH:,} readings, then",
            "computed by one worker. One core: worker and its database session take turns, so their",
            "processor time together is what one core would take.",
        ),
        "",
        *table(head, cells),
    ]
