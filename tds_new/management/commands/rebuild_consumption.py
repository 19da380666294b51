"""``rebuild_consumption``: blocks from the raw readings again; the figures must not change by it."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.db import connection
from django.db.models import Q
from django.utils.dateparse import parse_datetime

from tds_new.consumption.worker import enqueue, process_partition, queued
from tds_new.mac import normalise_mac
from tds_new.models import Dispositivo, Gateway


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
        enqueue(connection, list(devices.values_list("pk", flat=True)), since)
        connection.ensure_connection()
        total = waiting = queued(connection)
        self.stdout.write(f"[OK] {total} ranges queued")
        rows = 0
        while (done := process_partition(connection.connection)) is not None:
            rows += done[1].rows
            left = queued(connection)
            # New readings queue too: never show less than was reached.
            waiting = min(waiting, left)
            self.stdout.write(f"\r{100 * (total - waiting) // max(total, 1):3d} %  {left} ranges left, {rows} rows differed", ending="")
            self.stdout.flush()
        self.stdout.write(f"\n[OK] done; {rows} block rows differed from what was stored")

    def _gateway(self, name: str) -> Gateway:
        found = list(Gateway.objects.filter(Q(codigo=name) | Q(mac=normalise_mac(name) or "")))
        if len(found) != 1:
            how_many = "several gateways have" if found else "no gateway has"
            raise CommandError(f"--gateway {name}: {how_many} this code; give its MAC")
        gateway: Gateway = found[0]
        return gateway
