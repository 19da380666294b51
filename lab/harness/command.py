"""The base of the laboratory's commands."""

from argparse import ArgumentParser
from pathlib import Path

from django.core.management.base import BaseCommand

from lab.harness import report


class LabCommand(BaseCommand):
    """A command that starts servers of its own and touches nothing of yours."""

    requires_system_checks: list[str] = []

    @staticmethod
    def add_database_argument(parser: ArgumentParser) -> None:
        """Add ``--database``: the kind of PostgreSQL to start."""
        parser.add_argument("--database", choices=("auto", "timescale", "plain"), default="auto")

    def say(self, text: str) -> None:
        """Tell how far the experiment is."""
        self.stderr.write(f"[OK] {text}")

    def show(self, markdown: str, found: object, output: Path | None) -> None:
        """Print a report, and write it to OUTPUT.md and OUTPUT.json if asked."""
        self.stdout.write(markdown)
        if output:
            report.write(output, markdown, found)
