"""``run_maintenance``: the platform's upkeep, once; ``process_consumption`` does it all the time."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from tds_new.maintenance.scheduler import open_session, refresh, run_due, take_lock


class Command(BaseCommand):
    """One go, for cron or by hand."""

    help = "Do the upkeep that is due (refresh of sums, compression, retention) and say what was done; exit 1 where something failed."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Without arguments: what is due."""
        parser.add_argument("--all", action="store_true", help="everything, due or not")

    def handle(self, *args: Any, **options: Any) -> None:
        """Run, and print a line for each piece."""
        with open_session() as connection:
            if take_lock(connection):
                done = run_due(connection, everything=options["all"])
            else:
                self.stdout.write("[OK] another process does the upkeep; the sums are refreshed beside it")
                done = refresh(connection)
        for piece in done:
            self.stdout.write(
                f"[{'ERROR' if piece.error else 'OK'}] {piece.name}: {piece.error or f'{piece.seconds:.1f} s'}"
            )
        if failed := sum(bool(piece.error) for piece in done):
            raise CommandError(f"{failed} of {len(done)} failed")
        if not done:
            self.stdout.write("[OK] nothing was due")
