"""The readings around a moment of a device, with what the ledger and people say of each."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from tds_new.models import Dispositivo

# Two short walks along the primary key for each moment.
VIZINHAS = """
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

DO_SEGUNDO = """
SELECT time FROM tds_new_leitura_dispositivo WHERE dispositivo_id = %s AND time >= %s AND time < %s ORDER BY time LIMIT 1
"""


@dataclass(frozen=True, slots=True)
class Vizinha:
    """A reading as stored, its class (empty where the ledger finds nothing) and the decision on it (empty where there is none)."""

    time: datetime
    valor: Decimal
    unidade: str
    classe: str
    decisao: str


def vizinhas(
    momentos: Sequence[tuple[Dispositivo, datetime]], antes: int = 5, depois: int = 5
) -> list[list[Vizinha]]:
    """For each device and moment: up to ``antes`` readings before it, the one at it, up to ``depois`` after it, by time. One statement."""
    found: list[list[Vizinha]] = [[] for _ in momentos]
    parameters: dict[str, Any] = {
        "dispositivos": [device.pk for device, _ in momentos],
        "momentos": [moment for _, moment in momentos],
        "antes": antes,
        "depois": depois,
    }
    with connection.cursor() as cursor:
        cursor.execute(VIZINHAS, parameters)
        for number, *reading in cursor.fetchall():
            found[number - 1].append(Vizinha(*reading))
    return found


def leitura_do_segundo(dispositivo: Dispositivo, segundo: datetime) -> datetime | None:
    """The exact time of the device's first reading within the second that begins at ``segundo``; None where there is none."""
    with connection.cursor() as cursor:
        cursor.execute(DO_SEGUNDO, [dispositivo.pk, segundo, segundo + timedelta(seconds=1)])
        row = cursor.fetchone()
    return row[0] if row else None
