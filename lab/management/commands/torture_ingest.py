"""``torture_ingest``: random faults by a seed while messages let_messages_flow, and proof that none was lost, doubled or acknowledged too early."""

import json
import random
import sys
from argparse import ArgumentParser
from dataclasses import asdict
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from lab.harness.errors import LabError
from lab.torture.broker_kill import markdown as broker_kill_markdown
from lab.torture.broker_kill import measure_all
from lab.torture.environment import open_environment
from lab.torture.mutants import MUTANTS
from lab.torture.report import as_dict, markdown, mutants_markdown
from lab.torture.run import Run, RunOptions, try_mutant
from lab.torture.schedule import KINDS, make_schedule


class Command(BaseCommand):
    """Starts a broker, a database and consumers of its own; nothing of yours is touched."""

    help = "Break everything around the consumer, and check that each message is stored once. Uses servers of its own."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """The defaults take some minutes."""
        parser.add_argument("--messages", type=int, default=10_000)
        parser.add_argument("--faults", type=int, default=15)
        parser.add_argument(
            "--seed", type=int, help="the same seed gives the same schedule; by chance where absent"
        )
        parser.add_argument(
            "--kinds",
            nargs="+",
            choices=sorted(KINDS),
            default=[],
            help="exactly these faults, in this order",
        )
        parser.add_argument("--database", choices=("auto", "timescale", "plain"), default="auto")
        parser.add_argument("--share-group", action="store_true", help="several consumers in one share group")
        parser.add_argument("--consumers", type=int, default=3, help="how many, with --share-group")
        parser.add_argument(
            "--check",
            type=float,
            help="share of PUBACKs looked up in the database; all up to 20,000 messages, else 0.2",
        )
        parser.add_argument("--rate", type=float, default=1_000, help="messages/s that are published")
        parser.add_argument(
            "--mutant",
            choices=[*sorted(MUTANTS), "all"],
            help="run a consumer that is wrong on purpose: must be caught",
        )
        parser.add_argument(
            "--broker-kill",
            action="store_true",
            help="measure what kill -9 of the broker costs, without and with app ack",
        )
        parser.add_argument("--list-mutants", action="store_true")
        parser.add_argument("--output", type=Path, help="also write the summary to OUTPUT.md and OUTPUT.json")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run, print the summary, and exit with 1 where an invariant is broken (with --mutant: where none is)."""
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
        kinds, group = options["kinds"], "torture" if options["share_group"] else ""
        faults = len(kinds) or options["faults"]
        schedule = make_schedule(seed, options["messages"], faults, group=bool(group), kinds=kinds)
        self._say(f"seed {seed}: {options['messages']} messages, {faults} faults")
        check = (
            options["check"]
            if options["check"] is not None
            else 1.0
            if options["messages"] <= 20_000
            else 0.2
        )
        run = RunOptions(
            seed,
            options["messages"],
            schedule,
            consumers=options["consumers"] if group else 1,
            group=group,
            check=check,
            rate=options["rate"],
        )
        with open_environment(options["database"]) as environment:
            result = Run(environment, run, self._say).execute()
        self._write(markdown(result), as_dict(result), options["output"])
        return result.passed

    def _try_mutants(self, seed: int, options: dict[str, Any]) -> bool:
        names = list(MUTANTS) if options["mutant"] == "all" else [options["mutant"]]
        caught = {}
        with open_environment(options["database"]) as environment:
            for name in names:
                caught[name] = try_mutant(environment, name, seed, lambda _: None)
                broken = ", ".join(caught[name].violations.counts)
                self.stderr.write(
                    f"[OK] {name}: caught by {broken}" if broken else f"[ERROR] {name}: NOT caught"
                )
        report = {name: as_dict(result) for name, result in caught.items()}
        self._write(mutants_markdown(caught), report, options["output"])
        return all(result.violations for result in caught.values())

    def _kill_broker(self, seed: int, options: dict[str, Any]) -> bool:
        with open_environment(options["database"]) as environment:
            results = measure_all(environment, seed, options["messages"], self._say)
        self._write(
            broker_kill_markdown(results, seed),
            {"seed": seed, "results": [asdict(b) for b in results]},
            options["output"],
        )
        return not any(result.lost for result in results if result.application_ack)

    def _write(self, text: str, report: dict[str, Any], output: Path | None) -> None:
        self.stdout.write(text)
        if output:
            output.with_suffix(".md").write_text(text, encoding="utf-8")
            output.with_suffix(".json").write_text(json.dumps(report, indent=2) + "\n", encoding="utf-8")

    def _say(self, text: str) -> None:
        self.stderr.write(f"[OK] {text}")
