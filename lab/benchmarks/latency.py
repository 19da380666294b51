"""Publish to commit and back at fixed rates."""

from dataclasses import asdict, dataclass
from typing import Any

from lab.benchmarks.figures import Percentiles, Requirement, at_most, distributions
from lab.benchmarks.ingest_bench import Bench
from lab.harness.report import paragraph

SAMPLES_PER_SECOND = 200
# Milliseconds required, by messages/s.
LIMITS = {1_000: {"p50": 15, "p99": 100}, 10_000: {"p99": 300}}


@dataclass(frozen=True)
class Latencies:
    """The figures of the part.

    They have for each rate its messages/s and the fields of :class:`Percentiles`.
    """

    seconds: float
    rates: list[dict[str, Any]]


def measure(bench: Bench) -> Latencies:
    """Publish at each rate for so many seconds."""
    sizes, found = bench.sizes, []
    bench.environment.register_fleet(sizes.gateways)
    with bench.environment.consumer():
        warm_up = bench.load.job(min(sizes.messages, 10 * sizes.gateways), sizes.gateways)
        bench.load.publish(warm_up)  # fills caches, and makes the chunk
        for rate in sizes.rates:
            messages, sample = max(1, int(rate * sizes.seconds)), max(1, int(rate / SAMPLES_PER_SECOND))
            job = bench.load.job(messages, sizes.gateways, rate=rate, sample=sample)
            latency = Percentiles.of(bench.load.publish(job).latencies)
            found.append({"rate": rate, **asdict(latency)})
            bench.say(
                f"{rate:,.0f} messages/s for {sizes.seconds:g} s: "
                f"p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms"
            )
    return Latencies(sizes.seconds, found)


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require the percentiles of the rates that have limits."""
    return [
        at_most(f"publish to commit at {line['rate']:,.0f} messages/s, {name}", limit, line[name], "ms", 1)
        for line in figures["rates"]
        for name, limit in LIMITS.get(int(line["rate"]), {}).items()
    ]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe the rates, one a line."""
    rates = [(f"{line['rate']:,.0f} messages/s", line) for line in figures["rates"]]
    return [
        *paragraph(
            f"{figures['seconds']:g} s each, until the platform's answer is back at the publisher: an upper",
            "bound of publish to commit.",
        ),
        "",
        *distributions("publish to commit and back, at", rates),
    ]
