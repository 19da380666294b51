"""``rebuild_consumption``: computes blocks from the raw readings again.

That changes nothing, but for devices whose earlier blocks are by the former rules: from now on those of today
hold from their beginning.
"""

import time
from argparse import ArgumentParser
from datetime import UTC, datetime
from itertools import groupby
from operator import attrgetter
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.models import Q, QuerySet
from django.utils.dateparse import parse_datetime

from tds_new.mac import normalise_mac
from tds_new.management.arguments import word
from tds_new.management.listing import Listing, quantity, table, title, warning_of_queued
from tds_new.metering import dry_run, queue
from tds_new.metering.rebuild import Rebuild, others, start_over
from tds_new.metering.worker import process_partition
from tds_new.models import Dispositivo, Gateway
from tds_new.queries.consistency import check_consumption
from tds_new.storage import session

WAIT_S = 0.2  # between two looks at the queue while a running worker computes


class Command(BaseCommand):
    """Queues some devices, computes them, takes the next.

    If it is stopped or killed, the next run with the same options continues it.
    """

    help = (
        "Compute all consumption from the raw readings again. May be stopped or killed, and started again, "
        "at any time."
    )
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the options; without any, everything is computed."""
        parser.add_argument(
            "--gateway",
            type=word,
            metavar="CODE|MAC",
            action="append",
            default=[],
            help="only its devices; repeatable",
        )
        parser.add_argument(
            "--from", dest="since", metavar="TIME", help="only from this time on, ISO 8601 with an offset"
        )
        parser.add_argument(
            "--anew",
            action="store_true",
            help="start over, where an earlier run with these options was stopped",
        )
        parser.add_argument(
            "--dry-run",
            action="store_true",
            help="list what would change by device and month, and write nothing",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Queue, compute, and print how many rows differed."""
        since = _moment(options["since"]) if options["since"] is not None else None
        if options["since"] is not None and (since is None or since.tzinfo is None):
            raise CommandError(
                f"--from {options['since']}: give ISO 8601 with an offset, "
                "for example 2026-02-01T00:00:00-03:00"
            )
        gateways = [self._gateway(name) for name in options["gateway"]]
        if options["dry_run"]:
            self._list(gateways, since)
            return
        queue.retry_now(connection)
        catch_up()  # queued readings are new, so they must not count as a difference
        rebuild = self._begin(gateways, since, from_scratch=options["anew"])
        self._compute(rebuild)
        catch_up()  # the last piece of a long history may be as short as new readings
        if settings.TDS_UPKEEP:
            call_command("run_maintenance", stdout=self.stdout)
        if failure := check_consumption().failure:
            raise CommandError(failure)

    def _begin(self, gateways: list[Gateway], since: datetime | None, *, from_scratch: bool) -> Rebuild:
        """Return the stopped run with these options, or a new one if ``from_scratch``."""
        words = [f"--gateway {mac}" for mac in sorted({gateway.mac for gateway in gateways})]
        request = " ".join([*words, *([f"--from {since.astimezone(UTC).isoformat()}"] if since else [])])
        if from_scratch:
            start_over(request)
        rebuild = Rebuild.begin(request, _devices(gateways).values_list("pk", flat=True), since)
        if rebuild.resumed:
            left = rebuild.left(rebuild.waiting())
            self.stdout.write(
                f"[OK] going on with {left} devices that are left of {rebuild.total}; --anew starts over"
            )
            self.stdout.write(f"[OK] the run was begun at {rebuild.began:%Y-%m-%d %H:%M:%SZ}")
        else:
            self.stdout.write(f"[OK] {rebuild.total} devices to compute")
        for other in others(request):
            self.stdout.write(
                f"[WARN] a run with {other or 'no options'} was stopped; give the same to go on with it"
            )
        return rebuild

    def _compute(self, rebuild: Rebuild) -> None:
        """Compute the blocks that were complete when the run began, then the newest."""
        self._rows, self._shared, self._final = 0, False, 0
        self._work_off(rebuild, "devices left")
        self._list_final(rebuild)
        while rebuild.next_portion():
            self._work_off(rebuild, "devices left")
            self._list_final(rebuild)
        complete, self._rows = self._rows, 0
        rebuild.queue_newest()
        self._work_off(rebuild, "devices left to complete with their newest blocks")
        rebuild.forget()
        self.stdout.write(f"\n[OK] done; {complete} block rows differed from what was stored")
        if self._rows:
            self.stdout.write(f"[OK] and {self._rows} of the newest blocks, which readings go on filling")
        if self._final:
            self.stdout.write(f"[OK] {self._final} final months changed; they are in the audit trail")
        if self._shared:
            self.stdout.write("[OK] a running worker computed a part of it; its rows are not counted here")

    def _list_final(self, rebuild: Rebuild) -> None:
        """Put what changed of final months into the audit trail, and print it."""
        changed = rebuild.record_final_changes()
        self._final += len(changed)
        devices = Dispositivo.objects.select_related("conta", "gateway").in_bulk(
            {c.device_id for c in changed}
        )
        for device_id, months in groupby(changed, key=attrgetter("device_id")):
            self.stdout.write(f"\n{title(devices[device_id])}: final months changed")
            rows = [(c.month, quantity(c.before), quantity(c.after)) for c in months]
            for line in table([("month", "before", "after"), *rows]):
                self.stdout.write(f"    {line}")

    def _list(self, gateways: list[Gateway], since: datetime | None) -> None:
        """List what would change by device and month."""
        for line in warning_of_queued():
            self.stdout.write(line)
        listing, total = Listing(), 0
        with dry_run.connect() as connected:
            for device in _devices(gateways).select_related("conta", "gateway").iterator(chunk_size=100):
                with dry_run.snapshot(connected) as cursor:
                    found = dry_run.changes(cursor, device.pk, rebuilt=True)
                total += 1
                if since is not None:
                    first = f"{since.astimezone(device.conta.zone):%Y-%m}"
                    found = [change for change in found if change.month.month >= first]
                if found:
                    listing.devices += 1
                    self.stdout.write(title(device))
                    for line in listing.lines(found):
                        self.stdout.write(f"    {line}")
        self.stdout.write(
            f"[OK] {listing.devices} of {total} devices would change, {listing.months} months, "
            f"{listing.final} of them final; nothing was written"
        )

    def _work_off(self, rebuild: Rebuild, label: str) -> None:
        """Compute the run's queue, together with a worker if one runs."""
        while rebuild.waiting():
            processed = process_partition(session.of_django(), long_ranges=True)
            if processed is None:  # a running worker has the remaining partitions
                self._shared = True
                time.sleep(WAIT_S)
            else:
                self._rows += processed.written.rows
            waiting = rebuild.waiting()
            share, left = int(100 * rebuild.share(waiting)), rebuild.left(waiting)
            line = f"{share:3d} %  {left} {label}, {self._rows} rows differed"
            self.stdout.write(f"\r{line:90}", ending="")
            self.stdout.flush()

    def _gateway(self, name: str) -> Gateway:
        """Return the gateway with this code or MAC. Raises CommandError."""
        found = list(Gateway.objects.filter(Q(codigo=name) | Q(mac=normalise_mac(name) or "")))
        if len(found) != 1:
            how_many = "several gateways have" if found else "no gateway has"
            raise CommandError(f"--gateway {name}: {how_many} this code; give its MAC")
        gateway: Gateway = found[0]
        return gateway


def _moment(text: str) -> datetime | None:
    """Return the moment that ``text`` names; None if it names none."""
    try:
        return parse_datetime(text)
    except ValueError:  # of the right form, but of a day or an hour that there is not
        return None


def _devices(gateways: list[Gateway]) -> QuerySet[Dispositivo]:
    """Return the devices of the gateways, or all if none is given, in order."""
    devices: QuerySet[Dispositivo] = Dispositivo.objects.order_by("pk")
    return devices.filter(gateway__in=gateways) if gateways else devices


def catch_up() -> None:
    """Compute what is queued of new readings, beside a worker or without one."""
    done: set[int] = set()
    while (processed := process_partition(session.of_django(), done)) is not None:
        if not processed.more:
            done.add(processed.partition)
