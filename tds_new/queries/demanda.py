"""Demand: a device's consumption in 15 minutes over a quarter of an hour, and its peak (docs/metering.md)."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal

from django.db import connection

from tds_new.models import Conta, Dispositivo

BLOCOS_POR_HORA = 4

# Only blocks measured in full count: a block with a hole in it would make a low figure look like a peak. The earliest of equals wins.
PICOS = """
SELECT DISTINCT ON (dispositivo_id) dispositivo_id, consumo, bloco
FROM tds_new_consumo_15min
WHERE dispositivo_id = ANY(%(dispositivos)s) AND conta_id = %(conta)s AND bloco >= %(inicio)s AND bloco < %(fim)s
  AND consumo IS NOT NULL AND fracao_medida = 1 AND qualidade = 'MEDIDO'
ORDER BY dispositivo_id, consumo DESC, bloco
"""


@dataclass(frozen=True, slots=True)
class Pico:
    """The greatest demand, per hour of the device's unit (kWh gives kW), and the start of its block."""

    demanda: Decimal
    bloco: datetime


def picos(conta: Conta, dispositivos: Sequence[Dispositivo], inicio: datetime, fim: datetime) -> dict[int, Pico | None]:
    """The peak of each device of ``conta`` in ``[inicio, fim)`` by its id; None where it is not determined."""
    achados: dict[int, Pico | None] = {d.pk: None for d in dispositivos if d.conta_id == conta.pk}
    if not achados:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(PICOS, {"conta": conta.pk, "dispositivos": list(achados), "inicio": inicio, "fim": fim})
        for pk, consumo, bloco in cursor.fetchall():
            achados[pk] = Pico(consumo * BLOCOS_POR_HORA, bloco)
    return achados
