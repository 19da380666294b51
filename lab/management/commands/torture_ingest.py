"""``torture_ingest``: inject faults, and check that no message is lost."""

import random
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import CommandError

from lab.harness.command import LabCommand
from lab.harness.errors import LabError
from lab.torture.broker_kill import markdown as broker_kill_markdown
from lab.torture.broker_kill import measure_all
from lab.torture.environment import TortureEnvironment
from lab.torture.mutants import MUTANTS
from lab.torture.report import as_dict, markdown, mutants_markdown
from lab.torture.run import Run, RunOptions, RunResult, try_mutant
from lab.torture.schedule import KINDS, make_schedule

CHECK_ALL_UP_TO = 20_000  # messages; of longer runs a share of the PUBACKs is looked up
CHECK_SHARE = 0.2


class Command(LabCommand):
    """Starts a broker, a database and consumers of its own.

    Nothing of yours is touched.
    """

    help = (
        "Break everything around the consumer, and check that each message is stored once. "
        "Uses servers of its own."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Add the size of the run, its faults and its report.

        The defaults take some minutes.
        """
        add = parser.add_argument
        add("--messages", type=int, default=10_000)
        add("--faults", type=int, default=15)
        add("--seed", type=int, help="the same seed gives the same schedule; by chance where absent")
        add(
            "--kinds",
            nargs="+",
            choices=sorted(KINDS),
            default=[],
            help="exactly these faults, in this order",
        )
        self.add_database_argument(parser)
        add("--share-group", action="store_true", help="several consumers in one share group")
        add("--consumers", type=int, default=3, help="how many, with --share-group")
        add(
            "--check",
            type=float,
            help="share of PUBACKs looked up in the database; all up to 20,000 messages, else 0.2",
        )
        add("--rate", type=float, default=1_000, help="messages/s that are published")
        mutants = [*sorted(MUTANTS), "all"]
        add("--mutant", choices=mutants, help="run a consumer that is wrong on purpose: must be caught")
        add(
            "--broker-kill",
            action="store_true",
            help="measure what kill -9 of the broker costs, without and with app ack",
        )
        add("--list-mutants", action="store_true")
        add("--output", type=Path, help="also write the summary to OUTPUT.md and OUTPUT.json")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run and print the report.

        Exit with 1 where an invariant is broken (with --mutant: where none is).
        """
        if options["list_mutants"]:
            self.stdout.write("".join(f"{name}: {found.text}\n" for name, found in MUTANTS.items()))
            return
        seed = options["seed"] if options["seed"] is not None else random.randrange(1_000_000)
        try:
            if options["broker_kill"]:
                passed = self._kill_broker(seed, options)
            else:
                passed = self._try_mutants(seed, options) if options["mutant"] else self._run(seed, options)
        except (LabError, ValueError) as error:
            raise CommandError(str(error)) from error
        if not passed:
            sys.exit(1)

    def _run(self, seed: int, options: dict[str, Any]) -> bool:
        kinds, group, messages = options["kinds"], options["share_group"], options["messages"]
        faults = len(kinds) or options["faults"]
        schedule = make_schedule(seed, messages, faults, group=group, kinds=kinds)
        self.say(f"seed {seed}: {messages} messages, {faults} faults")
        check = options["check"]
        if check is None:
            check = 1.0 if messages <= CHECK_ALL_UP_TO else CHECK_SHARE
        run = RunOptions(
            seed,
            messages,
            schedule,
            consumers=options["consumers"] if group else 1,
            group="torture" if group else "",
            check=check,
            rate=options["rate"],
        )
        with TortureEnvironment(options["database"]) as environment:
            result = Run(environment, run, self.say).execute()
        self.show(markdown(result), as_dict(result), options["output"])
        return result.passed

    def _try_mutants(self, seed: int, options: dict[str, Any]) -> bool:
        names = list(MUTANTS) if options["mutant"] == "all" else [options["mutant"]]
        results: dict[str, RunResult] = {}
        with TortureEnvironment(options["database"]) as environment:
            for name in names:
                results[name] = try_mutant(environment, name, seed, lambda _: None)
                broken = ", ".join(results[name].violations.counts)
                text = f"[OK] {name}: caught by {broken}" if broken else f"[ERROR] {name}: NOT caught"
                self.stderr.write(text)
        report = {name: as_dict(result) for name, result in results.items()}
        self.show(mutants_markdown(results), report, options["output"])
        return not any(result.passed for result in results.values())

    def _kill_broker(self, seed: int, options: dict[str, Any]) -> bool:
        with TortureEnvironment(options["database"]) as environment:
            results = measure_all(environment, seed, options["messages"], self.say)
        report = {"seed": seed, "budgets": [asdict(result) for result in results]}
        self.show(broker_kill_markdown(results, seed), report, options["output"])
        return not any(result.lost for result in results if result.application_ack)
