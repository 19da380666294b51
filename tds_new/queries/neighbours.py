"""The readings around a moment of a device, with what the ledger and people say of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from tds_new.models import Dispositivo

# Two short walks along the primary key for each moment.
AROUND = """
SELECT p.n, r.time, r.valor, r.unidade, coalesce(o.classe, ''), coalesce(v.decisao, '')
FROM unnest(%(dispositivos)s::bigint[], %(momentos)s::timestamptz[]) WITH ORDINALITY AS p(dispositivo_id, em, n)
CROSS JOIN LATERAL (
    (SELECT time, valor, unidade FROM tds_new_leitura_dispositivo
     WHERE dispositivo_id = p.dispositivo_id AND time < p.em ORDER BY time DESC LIMIT %(antes)s)
    UNION ALL
    (SELECT time, valor, unidade FROM tds_new_leitura_dispositivo WHERE dispositivo_id = p.dispositivo_id AND time = p.em)
    UNION ALL
    (SELECT time, valor, unidade FROM tds_new_leitura_dispositivo
     WHERE dispositivo_id = p.dispositivo_id AND time > p.em ORDER BY time LIMIT %(depois)s)
) r
LEFT JOIN tds_new_ocorrencia_medicao o ON o.dispositivo_id = p.dispositivo_id AND o.leitura_em = r.time
LEFT JOIN tds_new_revisao_leitura v ON v.dispositivo_id = p.dispositivo_id AND v.leitura_em = r.time
ORDER BY p.n, r.time
"""

WITHIN_SECOND = """
SELECT time FROM tds_new_leitura_dispositivo WHERE dispositivo_id = %s AND time >= %s AND time < %s ORDER BY time LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class NearbyReading:
    """A reading as stored, its class (empty where the ledger finds nothing) and the decision on it (empty where there is none)."""

    time: datetime
    valor: Decimal
    unidade: str
    classe: str
    decisao: str


def readings_around(
    moments: Sequence[tuple[Dispositivo, datetime]], before: int = 5, after: int = 5
) -> list[list[NearbyReading]]:
    """For each device and moment: up to ``before`` readings before it, the one at it, up to ``after`` after it, by time. One statement."""
    found: list[list[NearbyReading]] = [[] for _ in moments]
    parameters: dict[str, Any] = {
        "dispositivos": [device.pk for device, _ in moments],
        "momentos": [moment for _, moment in moments],
        "antes": before,
        "depois": after,
    }
    with connection.cursor() as cursor:
        cursor.execute(AROUND, parameters)
        for number, *reading in cursor.fetchall():
            found[number - 1].append(NearbyReading(*reading))
    return found


def reading_within_second(device: Dispositivo, second: datetime) -> datetime | None:
    """The exact time of the device's first reading within the second that begins at ``second``; None where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(WITHIN_SECOND, [device.pk, second, second + timedelta(seconds=1)])
        row = cursor.fetchone()
    return row[0] if row else None
