"""``fuzz_ingest``: hostile messages by a seed, and proof that each is stored or set rejection and that the next one is served."""

import random
import sys
from argparse import ArgumentParser
from functools import partial
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from lab.fuzz.run import Drawn, Fuzzer, connect_to, markdown
from lab.fuzz.stage import NoDatabaseError, open_database


class Command(BaseCommand):
    """Starts a database of its own; nothing of yours is touched."""

    help = "Send hostile messages through the ingestion, and compare each by an independent oracle. Uses a database of its own."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The default takes about ten minutes."""
        parser.add_argument("--cases", type=int, default=1_000_000)
        parser.add_argument(
            "--seed", type=int, help="the same seed gives the same cases; by chance where absent"
        )
        parser.add_argument("--seconds", type=float, help="end after this time, even if cases are left")
        parser.add_argument("--database", choices=("auto", "timescale", "plain"), default="auto")
        parser.add_argument("--output", type=Path, help="also write the summary to this file")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run, print the summary, and exit with 1 where anything went wrong."""
        seed = options["seed"] if options["seed"] is not None else random.randrange(1_000_000)
        if options["cases"] < 1 or not 0 <= seed < 2**64:
            raise CommandError("--cases is at least 1, --seed is from 0 to 2**64 - 1")
        self._say(f"seed {seed}: {options['cases']} cases")
        try:
            with open_database(options["database"]) as url:
                result = Fuzzer(seed, partial(connect_to, url), self._say, self._drawn()).run(
                    options["cases"], options["seconds"]
                )
        except NoDatabaseError as error:
            raise CommandError(str(error)) from error
        text = markdown(result)
        self.stdout.write(text)
        if options["output"]:
            options["output"].write_text(text, encoding="utf-8")
        if not result.passed:
            sys.exit(1)

    def _drawn(self) -> Drawn | None:
        try:
            from lab.fuzz.hypothesis_cases import (
                check_drawn,
            )  # a development tool: production does not install it
        except ImportError:
            self.stderr.write(
                "[WARN] hypothesis is not installed (pip install -r requirements-dev.txt): its hundredth is made by seed too"
            )
            return None
        return check_drawn

    def _say(self, text: str) -> None:
        self.stderr.write(f"[OK] {text}")
