"""Publish to commit and back at fixed rates."""

from dataclasses import asdict, dataclass
from typing import Any

from lab.benchmarks.figures import Percentiles, Verdict, at_most
from lab.benchmarks.ingest_bench import Bench

# Milliseconds asked for, by messages/s.
ASKED = {1_000: {"p50": 15, "p99": 100}, 10_000: {"p99": 300}}


@dataclass(frozen=True)
class Latencies:
    """What the part found: percentiles for each rate."""

    seconds: float
    rates: list[dict[str, Any]]


def measure(bench: Bench) -> Latencies:
    """Each rate for so many seconds, some 200 samples a second."""
    sizes, found = bench.sizes, []
    bench.made.register_fleet(sizes.gateways)
    with bench.made.consumer():
        bench.load.publish(
            bench.load.job(min(sizes.messages, 10 * sizes.gateways), sizes.gateways)
        )  # caches and chunks
        for rate in sizes.rates:
            job = bench.load.job(
                max(1, int(rate * sizes.seconds)), sizes.gateways, rate=rate, sample=max(1, int(rate / 200))
            )
            latency = Percentiles.of(bench.load.publish(job).latencies)
            found.append({"rate": rate, **asdict(latency)})
            bench.say(
                f"{rate:,.0f} messages/s for {sizes.seconds:g} s: p50 {latency.p50:.1f} ms, p99 {latency.p99:.1f} ms"
            )
    return Latencies(sizes.seconds, found)


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """The percentiles that something is asked of."""
    return [
        at_most(f"publish to commit at {line['rate']:,.0f} messages/s, {name}", limit, line[name], "ms", 1)
        for line in found["rates"]
        for name, limit in ASKED.get(int(line["rate"]), {}).items()
    ]


def section(found: dict[str, Any]) -> list[str]:
    """One line a rate."""
    lines = [
        f"{found['seconds']:g} s each, until the platform's answer is back at the publisher: an upper bound of publish to commit.",
        "",
        "| publish to commit and back, at | samples | p50 | p95 | p99 | worst |",
        "|---|---|---|---|---|---|",
    ]
    return lines + [f"| {line['rate']:,.0f} messages/s {cells(line)}" for line in found["rates"]]


def cells(found: dict[str, Any]) -> str:
    """Percentiles as the last columns of a table."""
    figures = " | ".join(f"{found[name]:.1f} ms" for name in ("p50", "p95", "p99", "worst"))
    return f"| {found['samples']:,} | {figures} |"
