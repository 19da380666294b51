"""``fuzz_ingest``: send hostile messages, and check what becomes of each."""

import random
import sys
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from lab.fuzz.run import CheckDrawn, Fuzzer, connect_to, markdown
from lab.harness.command import LabCommand
from lab.harness.environment import DatabaseEnvironment
from lab.harness.errors import LabError


class Command(LabCommand):
    """Starts a database of its own; nothing of yours is touched."""

    help = (
        "Send hostile messages through the ingestion, and check each by an independent oracle. "
        "Uses a database of its own."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the size of the run and its report; the default takes about ten minutes."""
        add = parser.add_argument
        add("--cases", type=int, default=1_000_000)
        add("--seed", type=int, help="the same seed gives the same cases; by chance where absent")
        add("--seconds", type=float, help="end after this time, even if cases are left")
        self.add_database_argument(parser)
        add("--output", type=Path, help="also write the summary to this file")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run and print the summary; exit with 1 where anything went wrong."""
        seed = options["seed"] if options["seed"] is not None else random.randrange(1_000_000)
        if options["cases"] < 1 or not 0 <= seed < 2**64:
            raise CommandError("--cases is at least 1, --seed is from 0 to 2**64 - 1")
        self.say(f"seed {seed}: {options['cases']} cases")
        try:
            with DatabaseEnvironment(options["database"], name="fuzz", durable=False) as environment:
                fuzzer = Fuzzer(seed, partial(connect_to, environment.url()), self.say, self._check_drawn())
                result = fuzzer.run(options["cases"], options["seconds"])
        except LabError as error:
            raise CommandError(str(error)) from error
        text = markdown(result)
        self.stdout.write(text)
        if options["output"]:
            options["output"].write_text(text, encoding="utf-8")
        if not result.passed:
            sys.exit(1)

    def _check_drawn(self) -> CheckDrawn | None:
        """Return the check of cases that hypothesis draws; None if it is not installed."""
        try:
            # hypothesis is a development tool: production does not install it
            from lab.fuzz.hypothesis_cases import check_drawn
        except ImportError:
            self.stderr.write(
                "[WARN] hypothesis is not installed (pip install -r requirements/dev.txt): "
                "its hundredth is made by seed too"
            )
            return None
        return check_drawn
