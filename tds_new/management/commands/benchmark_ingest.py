"""``benchmark_ingest``: what ingestion takes on this machine, beside mosquitto_sub, in one run."""

import json
import statistics
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tds_new.benchmarks.environment import BenchmarkError, describe_machine, environment
from tds_new.benchmarks.ingest import IngestBenchmark, Latency, Rate


class Command(BaseCommand):
    """Starts a broker, a database and a consumer of its own; nothing of yours is touched."""

    help = "Measure ingestion: rate beside mosquitto_sub, publish-to-commit latency, memory. Uses servers of its own."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The defaults take about two minutes."""
        parser.add_argument("--messages", type=int, default=200_000, help="messages of a run at full speed, 3 readings each")
        parser.add_argument("--runs", type=int, default=3, help="pairs of runs: mosquitto_sub, then the consumer")
        parser.add_argument("--gateways", type=int, default=500)
        parser.add_argument("--rates", type=float, nargs="*", default=[1_000, 10_000], help="messages/s for the latency")
        parser.add_argument("--seconds", type=float, default=15, help="length of each latency run")
        parser.add_argument("--database", choices=("auto", "timescale", "plain"), default="auto")
        parser.add_argument("--output", type=Path, help="also write the report to OUTPUT.md and OUTPUT.json")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print the report."""
        try:
            report = self._measure(options)
        except BenchmarkError as error:
            raise CommandError(str(error)) from error
        text = markdown(report)
        self.stdout.write(text)
        if options["output"]:
            options["output"].with_suffix(".md").write_text(text, encoding="utf-8")
            options["output"].with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    def _measure(self, options: dict[str, Any]) -> dict[str, Any]:
        def say(text: str) -> None:
            self.stderr.write(f"[OK] {text}")

        say("starting a database, a broker and a consumer")
        with environment(options["database"]) as made:
            made.register_fleet(options["gateways"])
            consumer = made.start_consumer()
            try:
                benchmark = IngestBenchmark(made, options["gateways"], say)
                rates = benchmark.rates(options["messages"], options["runs"])
                latencies = [benchmark.latency(rate, options["seconds"]) for rate in options["rates"]]
                memory = consumer.peak_memory()
            finally:
                consumer.stop()
            return {
                "machine": describe_machine(made),
                "messages": options["messages"],
                "gateways": options["gateways"],
                "rates": [{"mosquitto_sub": r.subscriber, "consumer": r.consumer, "ratio": r.ratio} for r in rates],
                "median": median(rates),
                "latencies": [vars(latency) for latency in latencies],
                "peak_memory_mib": memory,
            }


def median(rates: list[Rate]) -> dict[str, float]:
    """The middle run of each column."""
    return {
        "mosquitto_sub": statistics.median(rate.subscriber for rate in rates),
        "consumer": statistics.median(rate.consumer for rate in rates),
        "ratio": statistics.median(rate.ratio for rate in rates),
    }


def markdown(report: dict[str, Any]) -> str:
    """The report for people, ASCII only."""
    machine = ", ".join(f"{name} {value}" for name, value in report["machine"].items())
    lines = [
        "# Ingestion benchmark",
        "",
        f"{machine}. {report['messages']:,} messages of 3 readings a run, {report['gateways']:,} gateways; broker, database, consumer and",
        "publisher on this machine. Both columns: from the first publish until the last message is received (mosquitto_sub), or committed",
        "and answered (consumer).",
        "",
        "| run | mosquitto_sub, messages/s | consumer, messages/s | readings/s | ratio |",
        "|---|---|---|---|---|",
    ]
    rows = [(str(number), rate) for number, rate in enumerate(report["rates"], 1)] + [("median", report["median"])]
    lines += [
        f"| {name} | {rate['mosquitto_sub']:,.0f} | {rate['consumer']:,.0f} | {3 * rate['consumer']:,.0f} | {rate['ratio']:.2f} |"
        for name, rate in rows
    ]
    lines += ["", "| publish to commit and back, at | samples | p50 | p95 | p99 | worst |", "|---|---|---|---|---|---|"]
    for values in report["latencies"]:
        found = Latency(**values)
        lines.append(
            f"| {found.rate:,.0f} messages/s | {found.samples} | {found.p50:.1f} ms | {found.p95:.1f} ms | {found.p99:.1f} ms "
            f"| {found.worst:.1f} ms |"
        )
    lines += ["", f"Peak memory of the consumer: {report['peak_memory_mib']:.0f} MiB.", ""]
    return "\n".join(lines)
