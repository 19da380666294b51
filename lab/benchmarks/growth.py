"""The rate beside millions of stored rows, and beside none, in turn."""

import statistics
import time
from dataclasses import dataclass
from typing import Any

from lab.benchmarks import history
from lab.benchmarks.environment import DATABASE
from lab.benchmarks.figures import Verdict, at_least
from lab.benchmarks.ingest_bench import Bench
from lab.benchmarks.rate import consumer_rate

GROWN = "grown"


@dataclass(frozen=True)
class Growth:
    """What the part found: messages/s beside no rows and beside ``rows``, run by run; ``ratio`` is the median of the runs' ratios."""

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
    """Fill a second database, then give both the same messages in turn, each first as often as second."""
    sizes = bench.sizes
    rows, seconds, shape = _fill(bench)
    found: dict[str, list[float]] = {DATABASE: [], GROWN: []}
    for run in range(sizes.runs):
        for database in (DATABASE, GROWN) if run % 2 == 0 else (GROWN, DATABASE):
            found[database].append(_run(bench, database))
        empty, grown = found[DATABASE][-1], found[GROWN][-1]
        bench.say(
            f"run {run + 1} of {sizes.runs}: {empty:,.0f}/s on no rows, {grown:,.0f}/s on {rows:,}, ratio {grown / empty:.2f}"
        )
    ratio = statistics.median(
        grown / empty for empty, grown in zip(found[DATABASE], found[GROWN], strict=True)
    )
    return Growth(
        rows,
        history.HISTORY_DAYS,
        **shape,
        filled_in=seconds,
        messages=sizes.messages,
        empty=found[DATABASE],
        grown=found[GROWN],
        ratio=ratio,
    )


def _fill(bench: Bench) -> tuple[int, float, dict[str, int]]:
    made, wanted = bench.made, bench.sizes.rows
    for database in (DATABASE, GROWN):
        if database == GROWN:
            made.create_database(database)
        made.register_fleet(bench.sizes.gateways, database=database)
    started, said = time.monotonic(), 0

    def progress(stored: int) -> None:
        nonlocal said
        percent = min(100, 100 * stored // wanted)
        if percent // 5 > said:
            said = percent // 5
            bench.say(f"rows made: {stored:,} of {wanted:,} ({percent} %)")

    with made.connect(GROWN) as connection:
        rows = history.fill(connection, wanted, bench.load.start, progress)
        bench.say(f"{rows:,} rows in {time.monotonic() - started:.0f} s; statistics and aggregates")
        history.settle(connection)
        return rows, time.monotonic() - started, history.describe(connection)


def _run(bench: Bench, database: str) -> float:
    """One run on one database; the empty one is emptied first. A short run before it fills caches and makes the chunk."""
    sizes = bench.sizes
    if database == DATABASE:
        with bench.made.connect() as connection:
            history.empty(connection)
    with bench.made.consumer(database):
        consumer_rate(bench.made, bench.load, max(1, sizes.messages // 20), sizes.gateways, database)
        return consumer_rate(bench.made, bench.load, sizes.messages, sizes.gateways, database)


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """The share of the rate that is left."""
    return [at_least(f"of the rate on no rows, at {found['rows']:,} rows", 0.9, found["ratio"], digits=2)]


def section(found: dict[str, Any]) -> list[str]:
    """The runs, and what they ran on."""
    lines = [
        f"{found['rows']:,} rows over {found['days']} days, made in the database in {found['filled_in']:.0f} s: {found['chunks']} chunks,",
        f"of which {found['compressed']} are compressed, {found['bytes'] / 1e9:.1f} GB with indexes. {found['messages']:,} messages",
        "a run, in turn on this database and on one that is emptied before each run.",
        "",
        "| run | on no rows, messages/s | on all rows, messages/s | ratio |",
        "|---|---|---|---|",
    ]
    pairs = list(zip(found["empty"], found["grown"], strict=True))
    lines += [
        f"| {number} | {empty:,.0f} | {grown:,.0f} | {grown / empty:.2f} |"
        for number, (empty, grown) in enumerate(pairs, 1)
    ]
    middle = statistics.median(found["empty"]), statistics.median(found["grown"])
    return [*lines, f"| median | {middle[0]:,.0f} | {middle[1]:,.0f} | {found['ratio']:.2f} |"]
