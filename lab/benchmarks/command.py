"""The base of the benchmarks' commands."""

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

from django.core.management.base import CommandError

from lab.benchmarks.bench import Bench
from lab.benchmarks.environment import BenchmarkEnvironment
from lab.benchmarks.report import Part, Report, failed, markdown, measure, merged
from lab.harness.command import LabCommand
from lab.harness.errors import LabError


class BenchmarkCommand(LabCommand):
    """A command that measures parts on servers of its own.

    ``sizes`` is a dataclass whose fields are the options, explained by ``explained``; the parts take a
    ``bench`` of it; ``head`` are the report's first lines.
    """

    parts: Mapping[str, Part]
    sizes: type[Any]
    bench: type[Bench[Any]] = Bench
    explained: Mapping[str, str]
    head: Sequence[str]

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the sizes, with their defaults, and where the report goes."""
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
        self.add_database_argument(parser)
        parser.add_argument("--output", type=Path, help="also write the report to OUTPUT.md and OUTPUT.json")
        parser.add_argument(
            "--update", action="store_true", help="keep the parts of OUTPUT.json that are not measured now"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Measure and print the report.

        Raises CommandError, after that, where a part could not be measured.
        """
        output: Path | None = options["output"]
        older = _older(output) if options["update"] else None
        sizes = self.sizes(**{size.name: options[size.name] for size in fields(self.sizes)})
        try:
            with _interrupted_by_signals(), BenchmarkEnvironment(options["database"]) as environment:
                bench = self.bench(environment, sizes, self.say)
                report = measure(bench, options["parts"], _command_line(), self.parts)
        except LabError as error:
            raise CommandError(str(error)) from error
        except KeyboardInterrupt:
            self.stderr.write("[WARN] interrupted: the servers are stopped, their files removed")
            sys.exit(130)
        report = merged(older, report, self.parts) if older else report
        self.show(markdown(report, self.parts, self.head), report, output)
        if names := failed(report):
            raise CommandError(f"could not be measured: {', '.join(names)}")


def _older(output: Path | None) -> Report:
    """Return the report to bring up to date. Raises CommandError if there is none."""
    if output is None or not output.with_suffix(".json").exists():
        raise CommandError("--update needs --output with a report that is there")
    older: Report = json.loads(output.with_suffix(".json").read_text(encoding="ascii"))
    return older


def _command_line() -> str:
    return shlex.join(["python", "manage.py", *sys.argv[1:]])


@contextmanager
def _interrupted_by_signals() -> Iterator[None]:
    """Have SIGTERM end the command as Ctrl-C does.

    What was started is stopped and removed.
    """

    def interrupt(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    # SIGINT too: a shell starts what runs in the background with it ignored.
    before = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
