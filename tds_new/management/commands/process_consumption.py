"""``process_consumption``: turns readings into consumption as they come."""

import logging
import signal
from argparse import ArgumentParser
from types import FrameType
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection

from tds_new.checks import wrong_zone
from tds_new.embedded.child import tie_to_parent
from tds_new.maintenance.scheduler import Scheduler
from tds_new.management.arguments import whole
from tds_new.metering import queue
from tds_new.metering.worker import Worker, drain
from tds_new.queries.consistency import check_consumption
from tds_new.storage import rollups

logger = logging.getLogger("tds_new.metering")


class Command(BaseCommand):
    """Follows ingestion. Several may run; each takes its share."""

    help = "Compute 15-minute blocks from the readings as they come. SIGTERM or Ctrl-C stops it cleanly."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; without any, it runs until a signal."""
        parser.add_argument(
            "--once",
            action="store_true",
            help="compute what is queued now, do the maintenance, say what was done, and end",
        )
        parser.add_argument(
            "--parent",
            type=whole(1, 2**31 - 1),
            metavar="PID",
            help="end when the process that started this one, PID, ends",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Run until a signal, or once."""
        if options["parent"]:
            tie_to_parent(signal.SIGTERM, options["parent"])
        zone = rollups.zone_of(connection)
        if zone and zone != settings.TDS_TIME_ZONE:
            logger.error("%s", wrong_zone(zone))
        if options["once"]:
            queue.retry_now(connection)
            written = drain()
            self.stdout.write(f"[OK] {written.rows} block rows written")
            if settings.TDS_UPKEEP:
                call_command("run_maintenance", stdout=self.stdout)
            if failure := check_consumption().failure:
                raise CommandError(failure)
            return
        scheduler = Scheduler() if settings.TDS_UPKEEP else None
        worker = Worker(on_late=scheduler.wake) if scheduler else Worker()

        def stop(number: int, frame: FrameType | None) -> None:
            worker.stop()
            signal.signal(number, signal.SIG_DFL)  # a second signal ends the process at once

        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, stop)
        logger.info("consumption: following the readings")
        if scheduler:
            scheduler.start()
        try:
            worker.run()
        finally:
            if scheduler:
                scheduler.stop()
