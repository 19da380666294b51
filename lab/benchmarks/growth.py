"""The rate beside millions of stored rows and beside none, in turn."""

import statistics
import time
from dataclasses import dataclass
from typing import Any

from lab.benchmarks import history
from lab.benchmarks.figures import Requirement, at_least
from lab.benchmarks.ingest_bench import Bench
from lab.benchmarks.rate import consumer_rate
from lab.harness.report import paragraph, table

GROWN = "grown"


@dataclass(frozen=True)
class Growth:
    """The figures of the part.

    ``empty`` and ``grown`` are messages/s beside no rows and beside ``rows``, run by run.

    ``ratio`` is the median of the runs' ratios; ``filled_in`` is in seconds.
    """

    rows: int
    days: int
    chunks: int
    compressed: int
    bytes: int
    filled_in: float
    messages: int
    empty: list[float]
    grown: list[float]
    ratio: float


def measure(bench: Bench) -> Growth:
    """Fill a second database, then give both the same messages in turn.

    Each is first as often as second.
    """
    sizes, empty = bench.sizes, bench.environment.database
    rows, seconds, shape = _fill(bench)
    rates: dict[str, list[float]] = {empty: [], GROWN: []}
    for run in range(sizes.runs):
        for database in (empty, GROWN) if run % 2 == 0 else (GROWN, empty):
            rates[database].append(_run(bench, database))
        on_none, on_all = rates[empty][-1], rates[GROWN][-1]
        bench.say(
            f"run {run + 1} of {sizes.runs}: {on_none:,.0f}/s on no rows, {on_all:,.0f}/s on {rows:,}, "
            f"ratio {on_all / on_none:.2f}"
        )
    ratios = [on_all / on_none for on_none, on_all in zip(rates[empty], rates[GROWN], strict=True)]
    return Growth(
        rows,
        history.HISTORY_DAYS,
        **shape,
        filled_in=seconds,
        messages=sizes.messages,
        empty=rates[empty],
        grown=rates[GROWN],
        ratio=statistics.median(ratios),
    )


def _fill(bench: Bench) -> tuple[int, float, dict[str, int]]:
    """Register the fleet in both databases and fill the second.

    Returns rows, seconds, and :func:`history.describe`.
    """
    environment, wanted = bench.environment, bench.sizes.rows
    environment.create_database(GROWN)
    for database in (environment.database, GROWN):
        environment.register_fleet(bench.sizes.gateways, database=database)
    started, progress = time.monotonic(), bench.progress(f"{wanted:,} rows")
    with environment.connect(GROWN) as connection:
        rows = history.fill(connection, wanted, bench.load.start, lambda stored: progress(stored / wanted))
        bench.say(f"{rows:,} rows in {time.monotonic() - started:.0f} s; statistics and aggregates")
        history.settle(connection)
        return rows, time.monotonic() - started, history.describe(connection)


def _run(bench: Bench, database: str) -> float:
    """Measure one run on one database; the empty one is emptied first.

    A short run before it fills caches and makes the chunk.
    """
    environment, sizes = bench.environment, bench.sizes
    if database != GROWN:
        with environment.connect() as connection:
            history.empty(connection)
    with environment.consumer(database):
        consumer_rate(environment, bench.load, max(1, sizes.messages // 20), sizes.gateways, database)
        return consumer_rate(environment, bench.load, sizes.messages, sizes.gateways, database)


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require the share of the rate that is left."""
    return [at_least(f"of the rate on no rows, at {figures['rows']:,} rows", 0.9, figures["ratio"], digits=2)]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe the runs, and what they ran on."""
    runs = list(zip(figures["empty"], figures["grown"], strict=True))
    cells = [
        (str(number), f"{empty:,.0f}", f"{grown:,.0f}", f"{grown / empty:.2f}")
        for number, (empty, grown) in enumerate(runs, 1)
    ]
    median = statistics.median(figures["empty"]), statistics.median(figures["grown"])
    cells.append(("median", f"{median[0]:,.0f}", f"{median[1]:,.0f}", f"{figures['ratio']:.2f}"))
    return [
        *paragraph(
            f"{figures['rows']:,} rows over {figures['days']} days, made in the database in",
            f"{figures['filled_in']:.0f} s: {figures['chunks']} chunks, of which {figures['compressed']} are",
            f"compressed, {figures['bytes'] / 1e9:.1f} GB with indexes. {figures['messages']:,} messages",
            "a run, in turn on this database and on one that is emptied before each run.",
        ),
        "",
        *table(("run", "on no rows, messages/s", "on all rows, messages/s", "ratio"), cells),
    ]
