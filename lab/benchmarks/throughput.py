"""How many readings one worker turns into blocks on one core: a backlog that arrived in batches, as the consumer stores them."""

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection

from lab.benchmarks import dataset
from lab.benchmarks.consumption_bench import Bench, cpu_seconds
from lab.benchmarks.figures import Verdict, at_least
from lab.harness.errors import LabError
from tds_new.metering.worker import drain

BATCH = 6_000  # readings that the consumer commits at a time under load
ASKED_INTERVAL = 60  # seconds between a device's readings; the figure asked for is that one


@dataclass(frozen=True)
class Run:
    """A backlog of readings so many seconds apart: what one worker takes for it, in seconds of the clock and of a processor."""

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
    """What the part found."""

    devices: int
    runs: list[Run]


def measure(bench: Bench) -> Throughput:
    """A backlog for each interval, on an emptied database. Raises LabError where the blocks do not hold every reading."""
    sizes, runs = bench.sizes, []
    bench.fresh(sizes.backlog_devices)
    for interval in sizes.intervals:
        with bench.made.connect() as connection:
            stored = _store(connection, sizes.backlog_devices, sizes.backlog, interval)
            runs.append(_drain(connection, interval, stored))
            dataset.empty(connection)
        bench.say(
            f"{stored:,} readings {interval} s apart: {runs[-1].per_core:,.0f} readings per second of a processor"
        )
    return Throughput(sizes.backlog_devices, runs)


def _store(connection: Connection[Any], devices: int, wanted: int, interval: int) -> int:
    """Store about so many readings up to now, in batches, oldest first."""
    steps = max(2, wanted // devices)
    start = datetime.now(UTC).replace(microsecond=0) - timedelta(seconds=interval * (steps + 1))
    size = max(1, BATCH // devices)
    return sum(
        dataset.store(connection, start, interval, first, min(first + size, steps))
        for first in range(0, steps, size)
    )


def _drain(connection: Connection[Any], interval: int, stored: int) -> Run:
    pid = connection.info.backend_pid
    connection.execute("ANALYZE")
    began, worker, database = time.monotonic(), time.process_time(), cpu_seconds(pid)
    rows = drain(connection).rows
    run = Run(
        interval,
        stored,
        rows,
        time.monotonic() - began,
        time.process_time() - worker,
        cpu_seconds(pid) - database,
    )
    counted = connection.execute("SELECT coalesce(sum(leituras), 0) FROM tds_new_consumo_15min").fetchone()
    if counted is None or counted[0] != stored:
        raise LabError(f"the blocks hold {counted and counted[0]} readings of {stored}")
    return run


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """The rate on one core."""
    return [
        at_least(
            f"readings/s that one worker computes on one core, readings {run['interval']} s apart",
            30_000,
            _per_core(run),
        )
        for run in found["runs"]
        if run["interval"] == ASKED_INTERVAL
    ]


def _per_core(run: dict[str, Any]) -> float:
    return Run(**run).per_core


def section(found: dict[str, Any]) -> list[str]:
    """One line a backlog."""
    lines = [
        f"A backlog of {found['devices']:,} devices, stored in batches of {BATCH:,} readings, then worked off by one worker. One core:",
        "worker and its database session take turns, so their processor time together is what one core would take.",
        "",
        "| readings apart | readings | blocks | time | processor: worker | processor: database | readings/s by the clock | on one core |",
        "|---|---|---|---|---|---|---|---|",
    ]
    return lines + [
        f"| {r['interval']} s | {r['readings']:,} | {r['blocks']:,} | {r['wall']:.1f} s | {r['worker']:.1f} s | {r['database']:.1f} s | "
        f"{r['readings'] / r['wall']:,.0f} | {_per_core(r):,.0f} |"
        for r in found["runs"]
    ]
