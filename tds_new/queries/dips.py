"""Falls of a register that mean nothing, summed up by day."""

from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection

from tds_new.models import Dispositivo

DAYS = 31  # the latest days with falls

DIPS_BY_DAY = """
SELECT (leitura_em AT TIME ZONE %(zone)s)::date AS day, count(*), max(valor_base - valor)
FROM tds_new_ocorrencia_medicao
WHERE dispositivo_id = %(device)s AND classe = 'QUEDA'
GROUP BY 1 ORDER BY 1 DESC LIMIT %(days)s
"""


class DayOfDips(NamedTuple):
    """A local day, its number of dips, and the largest of them (register units)."""

    day: date
    dips: int
    largest: Decimal


def dips_by_day(device: Dispositivo) -> list[DayOfDips]:
    """Return the latest days on which a device's register dipped, newest first.

    Days are those of the device's Conta.
    """
    parameters: dict[str, Any] = {"device": device.pk, "zone": device.conta.timezone, "days": DAYS}
    with connection.cursor() as cursor:
        cursor.execute(DIPS_BY_DAY, parameters)
        return [DayOfDips(*row) for row in cursor.fetchall()]
