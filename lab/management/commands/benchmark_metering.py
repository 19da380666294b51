"""``benchmark_metering``: count how often consumption is right."""

import json
import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from lab.harness import report as reports
from lab.harness.command import LabCommand
from lab.metering.months import make_month
from lab.metering.report import as_dict, markdown, requirements
from lab.metering.rules import PRODUCT, RULES
from lab.metering.scores import score


class Command(LabCommand):
    """Simulates devices in memory; needs no server and touches nothing of yours."""

    help = (
        "Count how often consumption is right, asked about or silently wrong in simulated months whose truth "
        "is known, beside the first edition of the rules and six rules in use elsewhere."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the number of months, their seed and the report's form."""
        add = parser.add_argument
        add("--months", type=int, default=2000, help="months of devices to simulate (%(default)s)")
        add("--seed", type=int, default=1, help="the same seed gives the same months (%(default)s)")
        add("--events", action="store_true", help="also the product's figures by event")
        add("--json", action="store_true", help="print the figures for programs")
        add("--output", type=Path, help="also write the report to OUTPUT.md and OUTPUT.json")

    def handle(self, *args: Any, **options: Any) -> None:
        """Simulate and print the report.

        Exit with 1 where the product's own rules miss what is required.
        """
        count, seed = options["months"], options["seed"]
        if count < 1:
            raise CommandError("--months is at least 1")
        scores = score(RULES, PRODUCT, (make_month(seed, number) for number in range(count)))
        text = markdown(scores, PRODUCT, seed, events=options["events"])
        found = as_dict(scores, PRODUCT, seed)
        self.stdout.write(json.dumps(found, indent=2) if options["json"] else text)
        if options["output"]:
            reports.write(options["output"], text, found)
        if not all(bar.met for bar in requirements(scores.rules[PRODUCT])):
            sys.exit(1)
