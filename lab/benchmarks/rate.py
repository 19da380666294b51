"""The rate at full speed beside that of a C subscriber in the same run.

The consumer's peak memory is measured too.
"""

import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from lab.benchmarks.environment import BenchmarkEnvironment
from lab.benchmarks.figures import Requirement, at_least, at_most
from lab.benchmarks.ingest_bench import Bench
from lab.benchmarks.load import Load
from lab.harness.environment import ADMIN
from lab.harness.errors import LabError
from lab.harness.report import paragraph, table
from tds_new.embedded import child
from tds_new.embedded.ports import LOOPBACK

SUBSCRIBER_PREFIX = "benchmark/devices"
STORED = "SELECT count(*) FROM tds_new_leitura_dispositivo WHERE time >= %s"


@dataclass(frozen=True)
class Pair:
    """The messages per second of one run, and their ratio.

    The time is from the first publish to the end of the last message's way.
    """

    mosquitto_sub: float
    consumer: float
    ratio: float


@dataclass(frozen=True)
class Rate:
    """The figures of the part; memory in MiB."""

    messages: int
    gateways: int
    runs: list[Pair]
    median: Pair
    peak_memory: float


def measure(bench: Bench) -> Rate:
    """Measure mosquitto_sub and the consumer in turn.

    Raises LabError if a reading is missing.
    """
    environment, sizes, pairs = bench.environment, bench.sizes, []
    environment.register_fleet(sizes.gateways)
    with environment.consumer() as consumer:
        for run in range(1, sizes.runs + 1):
            subscriber = subscriber_rate(environment, bench.load, sizes.messages, sizes.gateways)
            found = consumer_rate(environment, bench.load, sizes.messages, sizes.gateways)
            pair = Pair(subscriber, found, found / subscriber)
            pairs.append(pair)
            bench.say(
                f"run {run} of {sizes.runs}: mosquitto_sub {subscriber:,.0f}/s, consumer {found:,.0f}/s, "
                f"ratio {pair.ratio:.2f}"
            )
        memory = consumer.peak_memory()
    names = ("mosquitto_sub", "consumer", "ratio")
    median = Pair(*(statistics.median(getattr(pair, name) for pair in pairs) for name in names))
    return Rate(sizes.messages, sizes.gateways, pairs, median, memory)


def subscriber_rate(environment: BenchmarkEnvironment, load: Load, messages: int, gateways: int) -> float:
    """Return the messages/s that mosquitto_sub takes, on topics of its own.

    It subscribes as the consumer does: QoS 1, persistent session.
    """
    account = [
        "-h",
        LOOPBACK,
        "-p",
        str(environment.broker.port),
        "-u",
        ADMIN,
        "-P",
        environment.admin_secret,
    ]
    topic = f"{SUBSCRIBER_PREFIX}/+/telemetry"
    listen = ["mosquitto_sub", *account, "-i", "benchmark", "-q", "1", "-t", topic]
    subprocess.run([*listen, "-c", "-E"], check=True, timeout=30)  # from now on the broker queues for it
    process = child.spawn([*listen, "-c", "-C", str(messages)], output=subprocess.DEVNULL)
    try:
        started = load.publish(load.job(messages, gateways, prefix=SUBSCRIBER_PREFIX, confirm=False)).started
        process.wait(timeout=300)
        finished = time.monotonic()
    finally:
        process.kill()
        process.wait()
    subprocess.run([*listen, "-E"], check=True, timeout=30)  # a clean session: nothing is queued any more
    return messages / (finished - started)


def consumer_rate(
    environment: BenchmarkEnvironment, load: Load, messages: int, gateways: int, database: str = ""
) -> float:
    """Return the messages/s that the running consumer commits and answers.

    Raises LabError if a reading is missing.
    """
    job = load.job(messages, gateways)
    published = load.publish(job)
    stored = environment.scalar(STORED, job.start, database=database)
    if stored != 3 * messages:
        raise LabError(f"{stored} readings stored of {3 * messages} published")
    return published.rate


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require a rate, a share of mosquitto_sub's, and a bound of the memory."""
    median = figures["median"]
    what = "messages/s of 3 readings, committed before they are acknowledged"
    return [
        at_least(what, 20_000, median["consumer"]),
        at_least("of what mosquitto_sub alone takes", 0.40, median["ratio"], digits=2),
        at_most("peak memory of the consumer at full rate", 250, figures["peak_memory"], "MiB"),
    ]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe the runs."""
    rows = [(str(number), pair) for number, pair in enumerate(figures["runs"], 1)]
    cells = [
        (
            name,
            f"{pair['mosquitto_sub']:,.0f}",
            f"{pair['consumer']:,.0f}",
            f"{3 * pair['consumer']:,.0f}",
            f"{pair['ratio']:.2f}",
        )
        for name, pair in [*rows, ("median", figures["median"])]
    ]
    return [
        *paragraph(
            f"{figures['messages']:,} messages of 3 readings a run, {figures['gateways']:,} gateways. Both",
            "columns: from the first publish until the last message is received (mosquitto_sub), or",
            "committed and answered (consumer).",
        ),
        "",
        *table(("run", "mosquitto_sub, messages/s", "consumer, messages/s", "readings/s", "ratio"), cells),
        "",
        f"Peak memory of the consumer: {figures['peak_memory']:.0f} MiB.",
    ]
