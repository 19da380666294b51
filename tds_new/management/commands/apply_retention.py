"""``apply_retention``: drops raw readings older than ``TDS_RAW_RETENTION_DAYS``.

The scheduler of maintenance does it every hour.
"""

from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError
from psycopg.errors import DeadlockDetected, LockNotAvailable

from tds_new.maintenance import retention
from tds_new.maintenance.scheduler import open_session


class Command(BaseCommand):
    """Drops old readings and says which.

    Consumption stays: hours, days and months are the same after it as before.
    """

    help = "Drop raw readings older than TDS_RAW_RETENTION_DAYS. Their consumption stays, and is final."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; without any, it drops."""
        parser.add_argument("--dry-run", action="store_true", help="only say what would be dropped")

    def handle(self, *args: Any, **options: Any) -> None:
        """Look for what is too old, drop it, and print what was dropped."""
        days = settings.TDS_RAW_RETENTION_DAYS
        if not days:
            self.stdout.write("[OK] TDS_RAW_RETENTION_DAYS is 0: readings are kept for ever")
            return
        with open_session() as connection:
            expired = retention.find(connection, days)
            if expired is None:
                self.stdout.write(f"[OK] nothing is older than {days} days")
                return
            if options["dry_run"]:
                self.stdout.write(f"[OK] would drop {expired}")
                return
            try:
                retention.apply(connection, days)
            except retention.NotYetError as error:
                raise CommandError(str(error)) from error
            except (LockNotAvailable, DeadlockDetected) as error:
                raise CommandError(
                    "the readings are in use by a long transaction; "
                    "what was not dropped yet stays: run it again"
                ) from error
            self.stdout.write(f"[OK] dropped {expired}")
