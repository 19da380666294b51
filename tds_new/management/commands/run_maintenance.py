"""``run_maintenance``: does the maintenance that is due.

``process_consumption`` does it all the time.
"""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tds_new.maintenance.scheduler import open_session, refresh, run_due, take_lock


class Command(BaseCommand):
    """Runs the tasks that are due, for cron or by hand."""

    help = (
        "Do the maintenance that is due (refresh of sums, compression, retention) and say what was done; "
        "exit 1 where something failed."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; without any, it runs what is due."""
        parser.add_argument("--all", action="store_true", help="everything, due or not")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run, and print a line for each task."""
        with open_session() as connection:
            if take_lock(connection):
                done = run_due(connection, everything=options["all"])
            else:
                self.stdout.write(
                    "[OK] another process does the maintenance; the sums are refreshed beside it"
                )
                done = refresh(connection)
        for task in done:
            self.stdout.write(
                f"[{'ERROR' if task.error else 'OK'}] {task.name}: {task.error or f'{task.seconds:.1f} s'}"
            )
        if failed := sum(bool(task.error) for task in done):
            raise CommandError(f"{failed} of {len(done)} failed")
        if not done:
            self.stdout.write("[OK] nothing was due")
