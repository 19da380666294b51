"""``apply_metering_defaults``: gives devices without limits those of a new one."""

import sys
from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import transaction
from psycopg import Cursor

from tds_new.management.listing import Listing, quantity, title, warning_of_queued
from tds_new.metering import defaults, dry_run
from tds_new.metering.defaults import Missing
from tds_new.metering.inputs import load_meters
from tds_new.metering.times import to_datetime
from tds_new.models import Dispositivo
from tds_new.storage import session

TOGETHER = 100  # devices that are looked up at once


class Command(BaseCommand):
    """Lists what would change, asks, and gives each device what it lacks.

    If it is stopped or killed, the next run goes on: who has limits is not listed again.
    """

    help = (
        "Give devices registered before the second edition the largest consumption per hour and the "
        "tolerance of a new device, where they have none. What changes is listed first, by device and month."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; without any, it asks before it changes anything."""
        parser.add_argument(
            "--dry-run", action="store_true", help="list what would change, and write nothing"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask")

    def handle(self, *args: Any, **options: Any) -> None:
        """List, ask, and apply. Raises CommandError if nobody can be asked."""
        if not options["dry_run"] and not options["yes"] and not sys.stdin.isatty():
            raise CommandError("nobody can be asked here: give --yes, or --dry-run to see what would change")
        devices = self._list()
        if not devices:
            self.stdout.write("[OK] every device has its limits, or a person said that it has none")
        elif options["dry_run"]:
            self.stdout.write(f"[OK] {len(devices)} devices would get limits; nothing was written")
        elif options["yes"] or input(f"Give {len(devices)} devices these limits? [y/N] ").lower() == "y":
            self._apply(devices)
        else:
            self.stdout.write("[OK] nothing was written")

    def _apply(self, devices: list[int]) -> None:
        """Give each device what it lacks, in a transaction of its own."""
        given = former = 0
        for device in devices:
            with transaction.atomic(), Cursor(session.of_django()) as cursor:
                given += defaults.apply(cursor, device)
                former += dry_run.edition(cursor, device) is not None
        self.stdout.write(f"[OK] {given} devices got limits; the worker computes what changes")
        if former:
            self.stdout.write(
                f"[OK] what is by the first edition's rules ({former} devices) waits for rebuild_consumption"
            )

    def _list(self) -> list[int]:
        """List what each device lacks and what would change; return the devices."""
        for line in warning_of_queued():
            self.stdout.write(line)
        listing, listed = Listing(), list[int]()
        every = list(Dispositivo.objects.order_by("pk").values_list("pk", flat=True))
        with dry_run.connect() as connection:
            for at in range(0, len(every), TOGETHER):
                with dry_run.snapshot(connection) as cursor:
                    missing = defaults.find(cursor, every[at : at + TOGETHER])
                found = Dispositivo.objects.select_related("conta", "gateway").in_bulk(missing)
                for device_id in sorted(missing):
                    self.stdout.write(title(found[device_id]))
                    with dry_run.snapshot(connection) as cursor:
                        for line in _lines(cursor, found[device_id], missing[device_id], listing):
                            self.stdout.write(f"    {line}")
                listed += sorted(missing)
        return listed


def _lines(
    cursor: Cursor[Any], device: Dispositivo, missing: list[Missing], listing: Listing
) -> Iterator[str]:
    """Yield what a device would get, and what that changes, at once and by a rebuild."""
    for entry in missing:
        yield _gets(device, entry)
    meter = defaults.with_defaults(load_meters(cursor, [device.pk])[device.pk], missing)
    changes = dry_run.changes(cursor, device.pk, meter, rebuilt=False)
    if changes:
        yield "at once:"
        yield from listing.lines(changes)
    since = dry_run.edition(cursor, device.pk)
    if since is None:
        return
    changes = dry_run.changes(cursor, device.pk, meter, rebuilt=True)
    if changes:
        yield f"with rebuild_consumption, for what is before {to_datetime(since):%Y-%m-%d %H:%MZ}:"
        yield from listing.lines(changes)


def _gets(device: Dispositivo, missing: Missing) -> str:
    """Say what an entry of a device would get."""
    limits = []
    if missing.hourly_maximum is not None:
        limits.append(f"at most {quantity(missing.hourly_maximum)} {device.unidade}/h")
    if missing.dip_tolerance is not None:
        limits.append(f"a tolerance of {quantity(missing.dip_tolerance)} {device.unidade}")
    since = "" if missing.since is None else f", from {to_datetime(missing.since):%Y-%m-%d %H:%MZ} on"
    return f"gets {' and '.join(limits)}{since}"
