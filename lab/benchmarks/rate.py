"""The rate at full speed beside a C subscriber's in the same run, and the consumer's peak memory."""

import statistics
import subprocess
import time
from dataclasses import dataclass
from typing import Any

from lab.benchmarks.environment import DATABASE, Environment
from lab.benchmarks.figures import Verdict, at_least, at_most
from lab.benchmarks.ingest_bench import Bench
from lab.benchmarks.load import Load
from lab.harness.errors import LabError
from tds_new.embedded import child

SUBSCRIBER_PREFIX = "benchmark/devices"
STORED = "SELECT count(*) FROM tds_new_leitura_dispositivo WHERE time >= %s"


@dataclass(frozen=True)
class Pair:
    """One run: messages per second, from the first publish to the end of the last one's way."""

    mosquitto_sub: float
    consumer: float
    ratio: float


@dataclass(frozen=True)
class Rate:
    """What the part found; memory in MiB."""

    messages: int
    gateways: int
    runs: list[Pair]
    median: Pair
    peak_memory: float


def measure(bench: Bench) -> Rate:
    """Pairs of mosquitto_sub and the consumer, in turn. Raises LabError where a reading is missing."""
    sizes, pairs = bench.sizes, []
    bench.made.register_fleet(sizes.gateways)
    with bench.made.consumer() as consumer:
        for run in range(1, sizes.runs + 1):
            subscriber = subscriber_rate(bench.made, bench.load, sizes.messages, sizes.gateways)
            found = consumer_rate(bench.made, bench.load, sizes.messages, sizes.gateways)
            pairs.append(Pair(subscriber, found, found / subscriber))
            bench.say(
                f"run {run} of {sizes.runs}: mosquitto_sub {subscriber:,.0f}/s, consumer {found:,.0f}/s, ratio {pairs[-1].ratio:.2f}"
            )
        memory = consumer.peak_memory()
    middle = (
        statistics.median(getattr(pair, name) for pair in pairs)
        for name in ("mosquitto_sub", "consumer", "ratio")
    )
    return Rate(sizes.messages, sizes.gateways, pairs, Pair(*middle), memory)


def subscriber_rate(made: Environment, load: Load, messages: int, gateways: int) -> float:
    """Messages/s of mosquitto_sub on topics of its own, with the consumer's settings: QoS 1, persistent session."""
    broker = made.broker
    account = [
        "-h",
        "127.0.0.1",
        "-p",
        str(broker.port),
        "-u",
        "admin",
        "-P",
        broker.files.secret("admin"),
        "-i",
        "benchmark",
    ]
    listen = ["mosquitto_sub", *account, "-q", "1", "-t", f"{SUBSCRIBER_PREFIX}/+/telemetry"]
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
    made: Environment, load: Load, messages: int, gateways: int, database: str = DATABASE
) -> float:
    """Messages/s of the consumer that runs, committed and answered. Raises LabError where a reading is missing."""
    job = load.job(messages, gateways)
    published = load.publish(job)
    stored = made.scalar(STORED, job.start, database=database)
    if stored != 3 * messages:
        raise LabError(f"{stored} readings stored of {3 * messages} published")
    return published.rate


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """The rate, the share of mosquitto_sub's, and the memory."""
    middle = found["median"]
    return [
        at_least(
            "messages/s of 3 readings, committed before they are acknowledged", 20_000, middle["consumer"]
        ),
        at_least("of what mosquitto_sub alone takes", 0.40, middle["ratio"], digits=2),
        at_most("peak memory of the consumer at full rate", 250, found["peak_memory"], "MiB"),
    ]


def section(found: dict[str, Any]) -> list[str]:
    """The runs."""
    lines = [
        f"{found['messages']:,} messages of 3 readings a run, {found['gateways']:,} gateways. Both columns: from the first publish until",
        "the last message is received (mosquitto_sub), or committed and answered (consumer).",
        "",
        "| run | mosquitto_sub, messages/s | consumer, messages/s | readings/s | ratio |",
        "|---|---|---|---|---|",
    ]
    rows = [(str(number), pair) for number, pair in enumerate(found["runs"], 1)] + [
        ("median", found["median"])
    ]
    lines += [
        f"| {name} | {pair['mosquitto_sub']:,.0f} | {pair['consumer']:,.0f} | {3 * pair['consumer']:,.0f} | {pair['ratio']:.2f} |"
        for name, pair in rows
    ]
    return [*lines, "", f"Peak memory of the consumer: {found['peak_memory']:.0f} MiB."]
