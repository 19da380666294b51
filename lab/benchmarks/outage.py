"""The database away for minutes while messages keep coming: the consumer's memory, and that nothing is missing afterwards."""

import time
from dataclasses import dataclass
from typing import Any

from lab.benchmarks.consumer import Consumer
from lab.benchmarks.environment import DATABASE
from lab.benchmarks.figures import Verdict, at_most, nothing
from lab.benchmarks.ingest_bench import Bench
from lab.harness.errors import LabError

BEFORE, AFTER = 5.0, 5.0  # seconds of the same load before the outage, and after it
CATCH_UP_TIMEOUT = 300.0
STORED = "SELECT count(*) FROM tds_new_leitura_dispositivo WHERE time >= %s"
REFUSED = "SELECT sum(total) FROM tds_new_rejeicao_contador"


@dataclass(frozen=True)
class Outage:
    """What the part found; times in seconds, memory in MiB. ``away`` is from the order to stop until the server is ready again.

    ``most_waiting`` is how many messages the consumer held at a time on the way back: the broker's window should bound them.
    """

    rate: float
    away: float
    messages: int
    memory_before: float
    memory_end: float
    peak_memory: float
    most_waiting: int
    failures: int
    catch_up: float
    catch_up_rate: float
    missing: int
    set_aside: int
    dropped: int


def measure(bench: Bench) -> Outage:
    """Publish at a fixed rate, stop the database, start it again, and wait for the last message's answer."""
    made, sizes = bench.made, bench.sizes
    made.register_fleet(sizes.gateways)
    messages = int(sizes.outage_rate * (BEFORE + sizes.outage + AFTER))
    job = bench.load.job(messages, sizes.gateways, rate=sizes.outage_rate, timeout=CATCH_UP_TIMEOUT)
    refused = made.scalar(REFUSED)
    with made.consumer() as consumer, bench.load.begin(job) as publication:
        begun = time.monotonic()
        _sleep(BEFORE)
        if not made.scalar(STORED, job.start):
            raise LabError("nothing was stored before the outage")
        memory = consumer.memory()
        bench.say(f"stopping the database for {sizes.outage:g} s at {sizes.outage_rate:,.0f} messages/s")
        stopped = time.monotonic()
        made.postgres.stop()
        _stay_away(bench, consumer, stopped + sizes.outage)
        at_end = consumer.memory()
        made.postgres.start(DATABASE)
        back = time.monotonic()
        waiting = max(0.0, sizes.outage_rate * (back - begun) - sizes.outage_rate * (stopped - begun))
        bench.say(f"the database is back after {back - stopped:.0f} s; {waiting:,.0f} messages wait")
        most_waiting = 0.0
        while publication.running:
            most_waiting = max(most_waiting, consumer.metric("tds_queue_messages"))
            _sleep(0.2)
        finished = publication.result().finished
        peak = consumer.peak_memory()
        failures = consumer.metric("tds_database_failures_total")
        dropped = consumer.metric("tds_broker_dropped")
    missing = 3 * messages - made.scalar(STORED, job.start)
    aside = made.scalar(REFUSED) - refused
    published_since = messages - sizes.outage_rate * (stopped - begun)
    caught_up = Outage(
        sizes.outage_rate, back - stopped, messages, memory, at_end, peak, int(most_waiting), int(failures), finished - back,
        published_since / (finished - back), missing, aside, int(dropped),
    )  # fmt: skip
    bench.say(
        f"all of it stored {caught_up.catch_up:.0f} s later; peak memory {peak:.0f} MiB, {missing} readings missing"
    )
    return caught_up


def _stay_away(bench: Bench, consumer: Consumer, until: float) -> None:
    """Wait, and say every tenth of the time what the consumer has resident."""
    for tenth in range(9, -1, -1):
        _sleep(until - tenth * bench.sizes.outage / 10 - time.monotonic())
        bench.say(f"{100 - 10 * tenth} % of the outage; the consumer has {consumer.memory():.0f} MiB")


def _sleep(seconds: float) -> None:
    time.sleep(max(0.0, seconds))


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """Memory, and nothing lost."""
    return [
        at_most(
            f"peak memory, database away for {found['away']:.0f} s at {found['rate']:,.0f} messages/s",
            250,
            found["peak_memory"],
            "MiB",
        ),
        nothing("readings missing after it", found["missing"]),
    ]


def section(found: dict[str, Any]) -> list[str]:
    """Memory before, at the end and at most; the way back."""
    return [
        f"{found['messages']:,} messages at {found['rate']:,.0f}/s, the database away for {found['away']:.0f} s of it.",
        "",
        "| | |",
        "|---|---|",
        f"| memory before the outage | {found['memory_before']:.0f} MiB |",
        f"| memory at its end | {found['memory_end']:.0f} MiB |",
        f"| peak memory, the way back included | {found['peak_memory']:.0f} MiB |",
        f"| messages that the consumer held at a time on the way back, at most | {found['most_waiting']:,} |",
        f"| tries on the database that failed | {found['failures']:,} |",
        f"| from the database's return to the last message committed | {found['catch_up']:.1f} s |",
        f"| messages/s meanwhile, the database's start included | {found['catch_up_rate']:,.0f} |",
        f"| readings published, stored | {3 * found['messages']:,}, {3 * found['messages'] - found['missing']:,} |",
        f"| set aside; dropped by the broker | {found['set_aside']:,}; {found['dropped']:,} |",
    ]
