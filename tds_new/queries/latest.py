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
LATEST_READINGS = """
SELECT device.id, reading.time, reading.valor, reading.unidade, reading.tipo_leitura
FROM unnest(%(devices)s::bigint[]) AS device(id)
CROSS JOIN LATERAL (
    SELECT time, valor, unidade, tipo_leitura FROM tds_new_leitura_dispositivo
    WHERE dispositivo_id = device.id AND conta_id = %(conta)s AND time >= %(start)s AND time < %(end)s
    ORDER BY time DESC LIMIT %(limit)s
) reading
ORDER BY reading.time DESC, device.id LIMIT %(limit)s
"""

# Meters may run ahead of the server by as much as ingestion tolerates.
CLOCK_AHEAD = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Reading:
    """One reading as stored, and its device."""

    device: Dispositivo
    time: datetime
    valor: Decimal
    unidade: str
    tipo_leitura: str


def latest_readings(
    conta: Conta, devices: Sequence[Dispositivo], window: Window, now: datetime, limit: int = 10
) -> list[Reading]:
    """Return the newest readings within ``window``, newest first; at most ``limit``.

    Only those of ``devices`` that belong to ``conta`` are read. A window that reaches to ``now`` includes
    readings of meters whose clocks are ahead.
    """
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
        "devices": list(by_id),
        "start": window.start,
        "end": end,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(LATEST_READINGS, parameters)
        return [Reading(by_id[pk], *rest) for pk, *rest in cursor.fetchall()]
