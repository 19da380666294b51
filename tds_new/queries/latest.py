"""The newest readings, by the meter's time."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from django.db import connection

from tds_new.models import Conta, Dispositivo
from tds_new.queries.window import Janela

# One short walk down the primary key per device.
ULTIMAS = """
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
ADIANTE = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Leitura:
    """One reading, as stored, and whose it is."""

    dispositivo: Dispositivo
    time: datetime
    valor: Decimal
    unidade: str
    tipo_leitura: str


def ultimas_leituras(
    conta: Conta, dispositivos: Sequence[Dispositivo], janela: Janela, agora: datetime, quantas: int = 10
) -> list[Leitura]:
    """The ``quantas`` newest readings within ``janela`` of the devices given that belong to ``conta``."""
    candidatos = [
        d for d in dispositivos if d.conta_id == conta.pk and d.last_seen and d.last_seen >= janela.inicio
    ]
    fim = janela.fim
    if fim >= agora:
        fim = max(fim, agora + ADIANTE)
        # The newest n readings can only be of the n devices that were read last.
        candidatos = sorted(candidatos, key=lambda d: d.last_seen or janela.inicio, reverse=True)[:quantas]
    if not candidatos:
        return []
    por_id = {d.pk: d for d in candidatos}
    parametros: dict[str, Any] = {
        "conta": conta.pk,
        "dispositivos": list(por_id),
        "inicio": janela.inicio,
        "fim": fim,
        "quantas": quantas,
    }
    with connection.cursor() as cursor:
        cursor.execute(ULTIMAS, parametros)
        return [Leitura(por_id[pk], *resto) for pk, *resto in cursor.fetchall()]
