"""What the commands that measure share: options from a dataclass of sizes, one report, an end in order."""

import json
import shlex
import signal
import sys
from argparse import ArgumentParser
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from lab.benchmarks.bench import Bench
from lab.benchmarks.environment import environment
from lab.benchmarks.report import HEAD, Part, failed, markdown, measure, merged
from lab.harness.errors import LabError


class BenchmarkCommand(BaseCommand):
    """Starts servers of its own, and removes them; nothing of yours is touched.

    ``sizes`` is a dataclass whose fields are the options, explained by ``explained``; the parts take a ``bench`` of it; ``head`` are the
    report's first lines.
    """

    requires_system_checks: list[str] = []
    parts: Mapping[str, Part]
    sizes: type[Any]
    bench: type[Bench[Any]] = Bench
    explained: Mapping[str, str]
    head: Sequence[str] = HEAD

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The sizes, with their defaults."""
        names = list(self.parts)
        parser.add_argument(
            "--parts", nargs="+", choices=names, default=names, help="what to measure; everything by default"
        )
        for size in fields(self.sizes):
            default: Any = size.default
            many = {"nargs": "*"} if isinstance(default, tuple) else {}
            kind = type(default[0] if many else default)
            name, text = f"--{size.name.replace('_', '-')}", f"{self.explained[size.name]} ({default})"
            parser.add_argument(name, type=kind, default=default, help=text, **many)  # type: ignore[arg-type]
        parser.add_argument("--database", choices=("auto", "timescale", "plain"), default="auto")
        parser.add_argument("--output", type=Path, help="also write the report to OUTPUT.md and OUTPUT.json")
        parser.add_argument(
            "--update", action="store_true", help="keep the parts of OUTPUT.json that are not measured now"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print the report. Raises CommandError, after that, where a part could not be measured."""
        output: Path | None = options["output"]
        older = _older(output) if options["update"] else None
        try:
            with _ended_in_order(), environment(options["database"]) as made:
                sizes = self.sizes(**{size.name: options[size.name] for size in fields(self.sizes)})
                report = measure(self.bench(made, sizes, self.say), options["parts"], _command(), self.parts)
        except LabError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stderr.write("[WARN] interrupted: the servers are stopped, their files removed")
            sys.exit(130)
        report = merged(older, report, self.parts) if older else report
        text = markdown(report, self.parts, self.head)
        self.stdout.write(text)
        if output:
            output.with_suffix(".md").write_text(text, encoding="ascii")
            output.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="ascii")
        if names := failed(report):
            raise CommandError(f"could not be measured: {', '.join(names)}")

    def say(self, text: str) -> None:
        """Tell how far it is."""
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
