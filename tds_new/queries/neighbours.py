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
SELECT asked.number, reading.time, reading.valor, reading.unidade, reading.tipo_leitura, reading.conta_id,
    coalesce(occurrence.classe, ''), coalesce(review.decisao, ''), review.valor_corrigido
FROM unnest(%(devices)s::bigint[], %(moments)s::timestamptz[]) WITH ORDINALITY
    AS asked(device_id, moment, number)
CROSS JOIN LATERAL (
    (SELECT time, valor, unidade, tipo_leitura, conta_id FROM tds_new_leitura_dispositivo
     WHERE dispositivo_id = asked.device_id AND time < asked.moment ORDER BY time DESC LIMIT %(before)s)
    UNION ALL
    (SELECT time, valor, unidade, tipo_leitura, conta_id FROM tds_new_leitura_dispositivo
     WHERE dispositivo_id = asked.device_id AND time = asked.moment)
    UNION ALL
    (SELECT time, valor, unidade, tipo_leitura, conta_id FROM tds_new_leitura_dispositivo
     WHERE dispositivo_id = asked.device_id AND time > asked.moment ORDER BY time LIMIT %(after)s)
) reading
LEFT JOIN tds_new_ocorrencia_medicao occurrence
    ON occurrence.dispositivo_id = asked.device_id AND occurrence.leitura_em = reading.time
LEFT JOIN tds_new_revisao_leitura review
    ON review.dispositivo_id = asked.device_id AND review.leitura_em = reading.time
ORDER BY asked.number, reading.time
"""
# The readings that decided the class of others.
DECIDING_READINGS = """
SELECT asked.number, occurrence.decidida_em, coalesce(review.valor_corrigido, reading.valor)
FROM unnest(%(devices)s::bigint[], %(moments)s::timestamptz[]) WITH ORDINALITY
    AS asked(device_id, moment, number)
JOIN tds_new_ocorrencia_medicao occurrence
    ON occurrence.dispositivo_id = asked.device_id AND occurrence.leitura_em = asked.moment
LEFT JOIN LATERAL (
    SELECT valor FROM tds_new_leitura_dispositivo
    WHERE dispositivo_id = asked.device_id AND time = occurrence.decidida_em
) reading ON true
LEFT JOIN tds_new_revisao_leitura review
    ON review.dispositivo_id = asked.device_id AND review.leitura_em = occurrence.decidida_em
WHERE occurrence.decidida_em IS NOT NULL
"""

READING_WITHIN = """
SELECT time FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %s AND time >= %s AND time < %s ORDER BY time LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class NearbyReading:
    """A reading as stored, with what was found and decided on it.

    ``classe`` is empty if the rules find nothing out of the ordinary, ``decisao`` where nobody decided;
    ``valor_corrigido`` stands for the value that was received, if it is not None.
    """

    time: datetime
    valor: Decimal
    unidade: str
    tipo_leitura: str
    conta_id: int
    classe: str
    decisao: str
    valor_corrigido: Decimal | None


def readings_around(
    moments: Sequence[tuple[Dispositivo, datetime]], before: int = 5, after: int = 5
) -> list[list[NearbyReading]]:
    """Return the readings around each moment of a device, by time; one statement.

    They are up to ``before`` readings before the moment, the one at it, and up to ``after`` readings after
    it.
    """
    around: list[list[NearbyReading]] = [[] for _ in moments]
    parameters = {**_asked(moments), "before": before, "after": after}
    with connection.cursor() as cursor:
        cursor.execute(READINGS_AROUND, parameters)
        for number, *reading in cursor.fetchall():
            around[number - 1].append(NearbyReading(*reading))
    return around


def deciding_readings(
    moments: Sequence[tuple[Dispositivo, datetime]],
) -> list[tuple[datetime, Decimal | None] | None]:
    """Return time and value of the reading that decided each; one statement.

    An occurrence is asked for by its device and the time of its reading. None where there is none, or nothing
    has decided it yet; the value is None where the deciding reading is gone.
    """
    found: list[tuple[datetime, Decimal | None] | None] = [None for _ in moments]
    with connection.cursor() as cursor:
        cursor.execute(DECIDING_READINGS, _asked(moments))
        for number, time, value in cursor.fetchall():
            found[number - 1] = (time, value)
    return found


def _asked(moments: Sequence[tuple[Dispositivo, datetime]]) -> dict[str, Any]:
    return {"devices": [device.pk for device, _ in moments], "moments": [moment for _, moment in moments]}


def reading_within_second(device: Dispositivo, second: datetime) -> datetime | None:
    """Return the exact time of the device's first reading within a second.

    The second begins at ``second``. Returns None if there is no reading.
    """
    with connection.cursor() as cursor:
        cursor.execute(READING_WITHIN, [device.pk, second, second + timedelta(seconds=1)])
        row = cursor.fetchone()
    return row[0] if row else None
