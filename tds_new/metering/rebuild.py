"""Computes everything again, in small portions of devices.

The remaining work is in the database, so the next run continues one that was killed.
"""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction

from tds_new.metering import queue
from tds_new.metering.ledger import LONGEST_STEP_US
from tds_new.models import ConsumoParticao, ConsumoReconstrucao

PORTION = 16  # devices that are queued in one transaction: two of each partition
NEWEST = 0.01  # the share of the work that the newest blocks count for
STEP = timedelta(microseconds=LONGEST_STEP_US)

# Devices of the run that are queued, and from when on (None: from their beginning).
Waiting = Mapping[int, datetime | None]

SIGNATURE, REASON = "rebuild_consumption", "recálculo"
# Consumption that is final: by device, Conta and month of its zone.
FINAL = """
SELECT b.dispositivo_id, b.conta_id, to_char(b.bloco AT TIME ZONE c.timezone, 'YYYY-MM'), sum(b.consumo)
FROM tds_new_consumo_15min b JOIN tds_new_conta c ON c.id = b.conta_id
WHERE b.dispositivo_id = ANY(%s) AND b.bloco < %s AND b.consumo IS NOT NULL GROUP BY 1, 2, 3
"""
# Devices that the rules of today do not hold for from their beginning, or that wait for a rebuild.
FORMER = """
SELECT dispositivo_id FROM tds_new_consumo_estado
WHERE dispositivo_id = ANY(%s) AND (isfinite(segunda_edicao_desde) OR reconstruir_desde IS NOT NULL)
"""
# No worker is computing these devices meanwhile.
LOCK_PARTITIONS = """
SELECT FROM tds_new_consumo_particao WHERE id IN (SELECT device %% %s FROM unnest(%s::bigint[]) device)
ORDER BY id FOR UPDATE
"""
FROM_THE_BEGINNING = """
UPDATE tds_new_consumo_estado SET segunda_edicao_desde = NULL, reconstruir_desde = NULL
WHERE dispositivo_id = ANY(%s)
"""
WRITE_TRAIL = """
INSERT INTO tds_new_auditoria_medicao (dispositivo_id, tabela, acao, antes, depois, usuario, motivo)
SELECT id, 'tds_new_consumo_15min', 'UPDATE', %s::jsonb, %s::jsonb, %s, %s
FROM tds_new_dispositivo WHERE id = %s
"""


class FinalChange(NamedTuple):
    """A final month's consumption before and after; ``YYYY-MM`` in the Conta's zone."""

    device_id: int
    conta_id: int
    month: str
    before: Decimal
    after: Decimal


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
            former = _from_the_beginning(portion)
            row.antes = {"dispositivos": portion, "meses": _stored(_final(portion, row.iniciada_em))}
            others = [device for device in portion if device not in former]
            queue.enqueue_complete(connection, former, row.iniciada_em, None)
            queue.enqueue_complete(connection, others, row.iniciada_em, row.desde)
            row.entregues += len(portion)
            row.save(update_fields=["entregues", "antes"])
        self._row, self._queued = row, portion
        return True

    def record_final_changes(self) -> list[FinalChange]:
        """Write what has changed of final months into the audit trail, and return it.

        It is about the portion that was queued last, once that is computed.
        """
        with transaction.atomic():
            row = self._locked()
            if row is None or not row.antes:
                return []
            before = _known(row.antes["meses"])
            after = _final(row.antes["dispositivos"], row.iniciada_em)
            found = [
                FinalChange(*key, before.get(key, Decimal(0)), after.get(key, Decimal(0)))
                for key in sorted(before.keys() | after.keys())
            ]
            changed = [change for change in found if change.before != change.after]
            _write_trail(changed)
            row.antes = {}
            row.save(update_fields=["antes"])
            self._row = row
        return changed

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


# A device, a Conta and a month.
Key = tuple[int, int, str]


def _final(devices: Iterable[int], began: datetime) -> dict[Key, Decimal]:
    """Return the devices' final consumption, as it was final when the run began."""
    border = began - timedelta(days=settings.TDS_MAX_LATENESS_DAYS)
    with connection.cursor() as cursor:
        cursor.execute(FINAL, [list(devices), border])
        return {(device, conta, month): total for device, conta, month, total in cursor.fetchall()}


def _stored(final: Mapping[Key, Decimal]) -> dict[str, str]:
    return {" ".join(map(str, key)): str(total) for key, total in final.items()}


def _known(stored: Mapping[str, str]) -> dict[Key, Decimal]:
    return {
        (int(device), int(conta), month): Decimal(total)
        for key, total in stored.items()
        for device, conta, month in [key.split()]
    }


def _from_the_beginning(devices: list[int]) -> list[int]:
    """Let the rules of today hold from the devices' beginning; return for which.

    Nothing of these waits for a rebuild any more.
    """
    with connection.cursor() as cursor:
        cursor.execute(FORMER, [devices])
        former = [device for (device,) in cursor.fetchall()]
        if former:
            cursor.execute(LOCK_PARTITIONS, [ConsumoParticao.PARTICOES, former])
            cursor.execute(FROM_THE_BEGINNING, [former])
    return former


def _write_trail(changed: Iterable[FinalChange]) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            WRITE_TRAIL,
            [(_said(c, c.before), _said(c, c.after), SIGNATURE, REASON, c.device_id) for c in changed],
        )


def _said(change: FinalChange, total: Decimal) -> str:
    return json.dumps({"mes": change.month, "conta_id": change.conta_id, "consumo": str(total)})
