"""``rebuild_consumption``: blocks from the raw readings again; the figures must not change by it."""

import time
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.models import Q
from django.utils.dateparse import parse_datetime

from tds_new.consumption import queue
from tds_new.consumption.worker import django_session, process_partition
from tds_new.mac import normalise_mac
from tds_new.models import Dispositivo, Gateway
from tds_new.queries.conferencia import check_consumption

WAIT_S = 0.2  # between two looks at what a worker beside has in hand


class Command(BaseCommand):
    """Queues the devices and works the queue off. Stopped in between, it goes on with the next run, or the worker does."""

    help = "Compute all consumption from the raw readings again. May be stopped and started again at any time."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Without arguments: everything."""
        parser.add_argument("--gateway", metavar="CODE|MAC", action="append", default=[], help="only its devices; repeatable")
        parser.add_argument("--from", dest="since", metavar="TIME", help="only from this time on, ISO 8601 with an offset")

    def handle(self, *args: Any, **options: Any) -> None:
        """Queue, compute, and say how many rows differed."""
        since = parse_datetime(options["since"]) if options["since"] else None
        if options["since"] and (since is None or since.tzinfo is None):
            raise CommandError(f"--from {options['since']}: give ISO 8601 with an offset, for example 2026-02-01T00:00:00-03:00")
        devices = Dispositivo.objects.order_by("pk")
        if options["gateway"]:
            gateways = [self._gateway(name).pk for name in options["gateway"]]
            devices = devices.filter(gateway__in=gateways)
        queue.retry_now(connection)
        queue.enqueue(connection, devices.values_list("pk", flat=True), since)
        total = waiting = queue.to_rebuild(connection)
        self.stdout.write(f"[OK] {total} ranges queued")
        rows, shared = 0, False
        while waiting:
            processed = process_partition(django_session(), anew=True)
            if processed is None:  # a worker beside has the partitions that are left
                shared = True
                time.sleep(WAIT_S)
            else:
                rows += processed.written.rows
            waiting = queue.to_rebuild(connection)
            self.stdout.write(f"\r{100 * max(0, total - waiting) // total:3d} %  {waiting} ranges left, {rows} rows differed", ending="")
            self.stdout.flush()
        self.stdout.write(f"\n[OK] done; {rows} block rows differed from what was stored")
        if shared:
            self.stdout.write("[OK] a running worker computed a part of it; its rows are not counted here")
        if settings.TDS_UPKEEP:
            call_command("run_maintenance", stdout=self.stdout)
        if failure := check_consumption().failure:
            raise CommandError(failure)

    def _gateway(self, name: str) -> Gateway:
        found = list(Gateway.objects.filter(Q(codigo=name) | Q(mac=normalise_mac(name) or "")))
        if len(found) != 1:
            how_many = "several gateways have" if found else "no gateway has"
            raise CommandError(f"--gateway {name}: {how_many} this code; give its MAC")
        gateway: Gateway = found[0]
        return gateway
