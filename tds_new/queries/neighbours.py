"""The readings around a moment, with the class and the decision on each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from tds_new.models import Dispositivo

# Two short walks along the primary key for each moment.
READINGS_AROUND = """
SELECT asked.number, reading.time, reading.valor, reading.unidade,
    coalesce(occurrence.classe, ''), coalesce(review.decisao, '')
FROM unnest(%(devices)s::bigint[], %(moments)s::timestamptz[]) WITH ORDINALITY
    AS asked(device_id, moment, number)
CROSS JOIN LATERAL (
    (SELECT time, valor, unidade FROM tds_new_leitura_dispositivo
     WHERE dispositivo_id = asked.device_id AND time < asked.moment ORDER BY time DESC LIMIT %(before)s)
    UNION ALL
    (SELECT time, valor, unidade FROM tds_new_leitura_dispositivo
     WHERE dispositivo_id = asked.device_id AND time = asked.moment)
    UNION ALL
    (SELECT time, valor, unidade FROM tds_new_leitura_dispositivo
     WHERE dispositivo_id = asked.device_id AND time > asked.moment ORDER BY time LIMIT %(after)s)
) reading
LEFT JOIN tds_new_ocorrencia_medicao occurrence
    ON occurrence.dispositivo_id = asked.device_id AND occurrence.leitura_em = reading.time
LEFT JOIN tds_new_revisao_leitura review
    ON review.dispositivo_id = asked.device_id AND review.leitura_em = reading.time
ORDER BY asked.number, reading.time
"""

READING_WITHIN = """
SELECT time FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %s AND time >= %s AND time < %s ORDER BY time LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class NearbyReading:
    """A reading as stored, with what was found and decided on it.

    ``classe`` is empty if the rules find nothing out of the ordinary, ``decisao`` where nobody decided.
    """

    time: datetime
    valor: Decimal
    unidade: str
    classe: str
    decisao: str


def readings_around(
    moments: Sequence[tuple[Dispositivo, datetime]], before: int = 5, after: int = 5
) -> list[list[NearbyReading]]:
    """Return the readings around each moment of a device, by time; one statement.

    They are up to ``before`` readings before the moment, the one at it, and up to ``after`` readings after
    it.
    """
    around: list[list[NearbyReading]] = [[] for _ in moments]
    parameters: dict[str, Any] = {
        "devices": [device.pk for device, _ in moments],
        "moments": [moment for _, moment in moments],
        "before": before,
        "after": after,
    }
    with connection.cursor() as cursor:
        cursor.execute(READINGS_AROUND, parameters)
        for number, *reading in cursor.fetchall():
            around[number - 1].append(NearbyReading(*reading))
    return around


def reading_within_second(device: Dispositivo, second: datetime) -> datetime | None:
    """Return the exact time of the device's first reading within a second.

    The second begins at ``second``. Returns None if there is no reading.
    """
    with connection.cursor() as cursor:
        cursor.execute(READING_WITHIN, [device.pk, second, second + timedelta(seconds=1)])
        row = cursor.fetchone()
    return row[0] if row else None
