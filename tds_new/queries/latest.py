"""The newest readings, by the meter's time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from tds_new.models import Conta, Dispositivo
from tds_new.queries.window import Window

# One short walk down the primary key per device.
LATEST = """
SELECT d.id, r.time, r.valor, r.unidade, r.tipo_leitura
FROM unnest(%(dispositivos)s::bigint[]) AS d(id)
CROSS JOIN LATERAL (
    SELECT time, valor, unidade, tipo_leitura FROM tds_new_leitura_dispositivo
    WHERE dispositivo_id = d.id AND conta_id = %(conta)s AND time >= %(inicio)s AND time < %(fim)s
    ORDER BY time DESC LIMIT %(quantas)s
) r
ORDER BY r.time DESC, d.id LIMIT %(quantas)s
"""

# Meters may run ahead of the server by the tolerance of ingestion.
CLOCK_AHEAD = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading, as stored, and whose it is."""

    device: Dispositivo
    time: datetime
    valor: Decimal
    unidade: str
    tipo_leitura: str


def latest_readings(
    conta: Conta, devices: Sequence[Dispositivo], window: Window, now: datetime, limit: int = 10
) -> list[Reading]:
    """The ``limit`` newest readings within ``window`` of the devices given that belong to ``conta``."""
    candidates = [
        d for d in devices if d.conta_id == conta.pk and d.last_seen and d.last_seen >= window.start
    ]
    end = window.end
    if end >= now:
        end = max(end, now + CLOCK_AHEAD)
        # The newest n readings can only be of the n devices that were read last.
        candidates = sorted(candidates, key=lambda d: d.last_seen or window.start, reverse=True)[:limit]
    if not candidates:
        return []
    by_id = {d.pk: d for d in candidates}
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "dispositivos": list(by_id),
        "inicio": window.start,
        "fim": end,
        "quantas": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(LATEST, parameters)
        return [Reading(by_id[pk], *rest) for pk, *rest in cursor.fetchall()]
