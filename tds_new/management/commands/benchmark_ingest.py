"""``benchmark_ingest``: what ingestion takes on this machine, beside what is asked of it, in one report."""

import json
import shlex
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tds_new.benchmarks.environment import environment
from tds_new.benchmarks.errors import BenchmarkError
from tds_new.benchmarks.load import Load
from tds_new.benchmarks.report import PARTS, failed, markdown, measure, merged
from tds_new.benchmarks.sizes import Bench, Sizes

HELP = {
    "messages": "messages of a run at full speed, 3 readings each",
    "runs": "runs at full speed: pairs with mosquitto_sub, and pairs with and without stored rows",
    "gateways": "how many of them send",
    "rates": "messages/s for the latency",
    "seconds": "length of each latency run",
    "rows": "stored rows for growth; the figure asked for is that at 50000000",
    "registered": "gateways for registry, 3 devices each",
    "outage": "seconds that the database is away; the figure asked for is that at 120",
    "outage_rate": "messages/s meanwhile",
    "flood": "messages/s of the gateway that floods",
    "fairness_seconds": "length of the flood; a limit comes after a burst of a minute's worth",
}


class Command(BaseCommand):
    """Starts a broker, databases and consumers of its own, and removes them; nothing of yours is touched."""

    help = "Measure ingestion: rate, latency, memory, growth, registry, outage, fairness. Uses servers of its own."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The sizes, with their defaults."""
        parser.add_argument("--parts", nargs="+", choices=list(PARTS), default=list(PARTS), help="what to measure; everything by default")
        for size in fields(Sizes):
            default: Any = size.default
            many = {"nargs": "*"} if isinstance(default, tuple) else {}
            kind = type(default[0] if many else default)
            name = f"--{size.name.replace('_', '-')}"
            parser.add_argument(name, type=kind, default=default, help=f"{HELP[size.name]} ({default})", **many)  # type: ignore[arg-type]
        parser.add_argument("--database", choices=("auto", "timescale", "plain"), default="auto")
        parser.add_argument("--output", type=Path, help="also write the report to OUTPUT.md and OUTPUT.json")
        parser.add_argument("--update", action="store_true", help="keep the parts of OUTPUT.json that are not measured now")

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print the report. Raises CommandError, after that, where a part could not be measured."""
        output: Path | None = options["output"]
        older = _older(output) if options["update"] else None
        try:
            with _ended_in_order(), environment(options["database"]) as made:
                sizes = Sizes(**{size.name: options[size.name] for size in fields(Sizes)})
                report = measure(Bench(made, Load(made), sizes, self._say), options["parts"], _command())
        except BenchmarkError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stderr.write("[WARN] interrupted: the servers are stopped, their files removed")
            sys.exit(130)
        report = merged(older, report) if older else report
        text = markdown(report)
        self.stdout.write(text)
        if output:
            output.with_suffix(".md").write_text(text, encoding="ascii")
            output.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="ascii")
        if names := failed(report):
            raise CommandError(f"could not be measured: {', '.join(names)}")

    def _say(self, text: str) -> None:
        self.stderr.write(f"[OK] {text}")


def _older(output: Path | None) -> dict[str, Any]:
    """The report to bring up to date. Raises CommandError where there is none."""
    if output is None or not output.with_suffix(".json").exists():
        raise CommandError("--update needs --output with a report that is there")
    older: dict[str, Any] = json.loads(output.with_suffix(".json").read_text(encoding="ascii"))
    return older


def _command() -> str:
    return shlex.join(["python", "manage.py", *sys.argv[1:]])


@contextmanager
def _ended_in_order() -> Iterator[None]:
    """SIGTERM ends the command as Ctrl-C does: what was started is stopped and removed."""

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell starts what runs in the background with it ignored.
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
