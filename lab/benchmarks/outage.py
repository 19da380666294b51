"""The database away for minutes while messages keep coming.

The part measures the consumer's memory, and that nothing is lost.
"""

import time
from dataclasses import dataclass
from typing import Any

from lab.benchmarks.figures import Requirement, at_most, nothing
from lab.benchmarks.ingest_bench import Bench
from lab.harness.consumer import ConsumerProcess
from lab.harness.errors import LabError
from lab.harness.report import paragraph, table

BEFORE, AFTER = 5.0, 5.0  # seconds of the same load before the outage, and after it
CATCH_UP_TIMEOUT_S = 300.0
STORED = "SELECT count(*) FROM tds_new_leitura_dispositivo WHERE time >= %s"
REJECTED = "SELECT sum(total) FROM tds_new_rejeicao_contador"


@dataclass(frozen=True)
class Outage:
    """The figures of the part; times in seconds, memory in MiB.

    ``away`` is from the order to stop the server until it is ready again. ``most_waiting`` is how many
    messages the consumer held at a time afterwards, at most: the broker's window should bound them.
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
    rejected: int
    dropped: int


def measure(bench: Bench) -> Outage:
    """Publish at a fixed rate, stop the database, start it, wait for the end.

    The end is the answer to the last message.
    """
    environment, sizes = bench.environment, bench.sizes
    environment.register_fleet(sizes.gateways)
    messages = int(sizes.outage_rate * (BEFORE + sizes.outage + AFTER))
    job = bench.load.job(messages, sizes.gateways, rate=sizes.outage_rate, timeout=CATCH_UP_TIMEOUT_S)
    rejected = environment.scalar(REJECTED)
    with environment.consumer() as consumer, bench.load.begin(job) as publication:
        begun = time.monotonic()
        _sleep(BEFORE)
        if not environment.scalar(STORED, job.start):
            raise LabError("nothing was stored before the outage")
        memory_before = consumer.memory()
        bench.say(f"stopping the database for {sizes.outage:g} s at {sizes.outage_rate:,.0f} messages/s")
        stopped = time.monotonic()
        environment.postgres.stop()
        _wait_out(bench, consumer, stopped + sizes.outage)
        memory_end = consumer.memory()
        environment.postgres.start(environment.database)
        back = time.monotonic()
        waiting = sizes.outage_rate * (back - stopped)
        bench.say(f"the database is back after {back - stopped:.0f} s; {waiting:,.0f} messages wait")
        most_waiting = 0.0
        while publication.running:
            most_waiting = max(most_waiting, consumer.metric("tds_queue_messages"))
            _sleep(0.2)
        catch_up = publication.result().finished - back
        peak_memory = consumer.peak_memory()
        failures = consumer.metric("tds_database_failures_total")
        dropped = consumer.metric("tds_broker_dropped")
    missing = 3 * messages - environment.scalar(STORED, job.start)
    bench.say(
        f"all of it stored {catch_up:.0f} s later; "
        f"peak memory {peak_memory:.0f} MiB, {missing} readings missing"
    )
    published_since = messages - sizes.outage_rate * (stopped - begun)
    return Outage(
        rate=sizes.outage_rate,
        away=back - stopped,
        messages=messages,
        memory_before=memory_before,
        memory_end=memory_end,
        peak_memory=peak_memory,
        most_waiting=int(most_waiting),
        failures=int(failures),
        catch_up=catch_up,
        catch_up_rate=published_since / catch_up,
        missing=missing,
        rejected=environment.scalar(REJECTED) - rejected,
        dropped=int(dropped),
    )


def _wait_out(bench: Bench, consumer: ConsumerProcess, until: float) -> None:
    """Wait until this time of the monotonic clock.

    Every tenth of the outage it says how much memory the consumer takes.
    """
    for tenth in range(9, -1, -1):
        _sleep(until - tenth * bench.sizes.outage / 10 - time.monotonic())
        bench.say(f"{100 - 10 * tenth} % of the outage; the consumer has {consumer.memory():.0f} MiB")


def _sleep(seconds: float) -> None:
    time.sleep(max(0.0, seconds))


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require a bound of the memory, and nothing lost."""
    what = f"peak memory, database away for {figures['away']:.0f} s at {figures['rate']:,.0f} messages/s"
    return [
        at_most(what, 250, figures["peak_memory"], "MiB"),
        nothing("readings missing after it", figures["missing"]),
    ]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe the memory, and how the consumer caught up."""
    published = 3 * figures["messages"]
    cells = [
        ("memory before the outage", f"{figures['memory_before']:.0f} MiB"),
        ("memory at its end", f"{figures['memory_end']:.0f} MiB"),
        ("peak memory, catching up included", f"{figures['peak_memory']:.0f} MiB"),
        (
            "messages that the consumer held at a time while catching up, at most",
            f"{figures['most_waiting']:,}",
        ),
        ("tries on the database that failed", f"{figures['failures']:,}"),
        ("from the database's return to the last message committed", f"{figures['catch_up']:.1f} s"),
        ("messages/s meanwhile, the database's start included", f"{figures['catch_up_rate']:,.0f}"),
        ("readings published, stored", f"{published:,}, {published - figures['missing']:,}"),
        ("rejected; dropped by the broker", f"{figures['rejected']:,}; {figures['dropped']:,}"),
    ]
    return [
        *paragraph(
            f"{figures['messages']:,} messages at {figures['rate']:,.0f}/s, the database away for",
            f"{figures['away']:.0f} s of it.",
        ),
        "",
        *table(("", ""), cells),
    ]
