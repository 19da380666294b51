"""Computes everything again, in small portions of devices.

The remaining work is in the database, so the next run continues one that was killed.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta

from django.db import connection, transaction

from tds_new.metering import queue
from tds_new.metering.ledger import LONGEST_STEP_US
from tds_new.models import ConsumoReconstrucao

PORTION = 16  # devices that are queued in one transaction: two of each partition
NEWEST = 0.01  # the share of the work that the newest blocks count for
STEP = timedelta(microseconds=LONGEST_STEP_US)

# Devices of the run that are queued, and from when on (None: from their beginning).
Waiting = Mapping[int, datetime | None]


class Rebuild:
    """A run of ``rebuild_consumption``: new, or the rest of a stopped one.

    First come the blocks that were complete when it began: computing those again changes nothing. Then come
    the newest, which readings are still filling. ``resumed``: whether it is the rest of a run that was
    stopped.
    """

    def __init__(self, row: ConsumoReconstrucao, *, resumed: bool) -> None:
        self._row = row
        self.resumed = resumed
        self._queued = row.dispositivos if row.novos_entregues else row.dispositivos[: row.entregues]
        self._begins: dict[int, datetime] = {}  # where each device's readings begin, as far as seen

    @classmethod
    def begin(cls, request: str, devices: Iterable[int], since: datetime | None) -> "Rebuild":
        """Return the stopped run with these options, or a new one over ``devices``.

        ``request``: the options as text; ``since``: the time from which readings are computed (None: all).
        """
        row, created = ConsumoReconstrucao.objects.get_or_create(
            pedido=request, defaults={"dispositivos": list(devices), "desde": since}
        )
        row.refresh_from_db()  # the database says when it began
        return cls(row, resumed=not created)

    @property
    def began(self) -> datetime:
        """The moment at which the run, or the one that it goes on with, began."""
        began: datetime = self._row.iniciada_em
        return began

    @property
    def total(self) -> int:
        """The number of devices that the run is about."""
        return len(self._row.dispositivos)

    def waiting(self) -> Waiting:
        """Return the run's entries in the queue."""
        return queue.to_rebuild(connection, self._queued)

    def left(self, waiting: Waiting) -> int:
        """Return how many devices are not done, queued or not yet queued."""
        return self.total - self._row.entregues + len(waiting)

    def share(self, waiting: Waiting) -> float:
        """Return the share of the run that is done, from 0 to 1.

        A device that takes several steps counts by the time that they cover.
        """
        if self._row.novos_entregues:
            return 1 - NEWEST * len(waiting) / max(1, self.total)
        done = float(self._row.entregues - len(waiting))
        for device, start in waiting.items():
            if start not in (None, self._row.desde):
                first = self._begins.setdefault(device, start - STEP)
                done += min(1.0, (start - first) / max(self.began - first, STEP))
        return (1 - NEWEST) * max(0.0, done) / max(1, self.total)

    def next_portion(self) -> bool:
        """Queue some more devices and take them off the list; False if none is left."""
        with transaction.atomic():
            row = self._locked()
            if row is None or row.entregues == len(row.dispositivos):
                return False
            portion = row.dispositivos[row.entregues : row.entregues + PORTION]
            queue.enqueue_complete(connection, portion, row.iniciada_em, row.desde)
            row.entregues += len(portion)
            row.save(update_fields=["entregues"])
        self._row, self._queued = row, portion
        return True

    def queue_newest(self) -> None:
        """Queue the newest blocks of all devices, unless they are there already."""
        with transaction.atomic():
            row = self._locked()
            if row is not None and not row.novos_entregues:
                queue.enqueue_newest(connection, row.dispositivos, row.iniciada_em, row.desde)
                row.novos_entregues = True
                row.save(update_fields=["novos_entregues"])
                self._row = row
        self._queued = self._row.dispositivos

    def forget(self) -> None:
        """Forget the run, which is done: the next one is new."""
        ConsumoReconstrucao.objects.filter(pk=self._row.pk).delete()

    def _locked(self) -> ConsumoReconstrucao | None:
        """Lock and return the run as it is now; None if another process has ended it."""
        found: ConsumoReconstrucao | None = (
            ConsumoReconstrucao.objects.select_for_update().filter(pk=self._row.pk).first()
        )
        return found


def others(request: str) -> list[str]:
    """Return the options of other runs that were stopped."""
    return list(
        ConsumoReconstrucao.objects.exclude(pedido=request).order_by("pk").values_list("pedido", flat=True)
    )


def start_over(request: str) -> None:
    """Forget what a run with these options has left to do."""
    ConsumoReconstrucao.objects.filter(pedido=request).delete()
