"""``enable_timescale``: moves a plain database to TimescaleDB."""

from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError

from tds_new.maintenance import timescale_move


class Command(BaseCommand):
    """Moves the database; the next run continues one that was stopped or killed."""

    help = (
        "Move this database over to TimescaleDB, while the platform works; "
        "may be stopped and run again at any time."
    )
    requires_system_checks: list[str] = []

    def handle(self, *args: Any, **options: Any) -> None:
        """Move, and print how far it is."""
        self._open = False
        try:
            timescale_move.run(self._say, self._progress)
        except (timescale_move.CannotMoveError, ImproperlyConfigured) as error:
            raise CommandError(str(error)) from error
        self._say("[OK] this database is on TimescaleDB")

    def _say(self, line: str) -> None:
        self.stdout.write(f"\n{line}" if self._open else line)
        self.stdout.flush()
        self._open = False

    def _progress(self, line: str) -> None:
        self.stdout.write(f"\r{line}", ending="")
        self.stdout.flush()
        self._open = True
