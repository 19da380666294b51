"""Demand: a device's consumption in 15 minutes over a quarter of an hour, and its peak (docs/metering.md).

Demand is a matter of one meter: what several meters draw together is not asked for, where some measure what flows through others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils.timezone import now

from tds_new.models import Conta, Dispositivo
from tds_new.queries.layers import DE_CONTAS, DE_DISPOSITIVOS, Grade, Pedaco, grades, pedacos
from tds_new.queries.local_calendar import BLOCO, Periodo

BLOCOS_POR_HORA = 4

# Only blocks measured in full count (``pico``): a block with a hole in it would make a low figure look like a peak.
PARTE = """
SELECT dispositivo_id, {coluna} AS inicio, {coluna} + interval '{duracao}' + interval '1 hour' AS fim, pico
FROM (SELECT dispositivo_id, {coluna}, {somas} FROM {fonte}
    WHERE conta_id = %(conta)s AND dispositivo_id = ANY(%(dispositivos)s) AND {trecho}) s
WHERE pico >= coalesce(%(pelo_menos)s::numeric, pico)
"""
# The buckets with the greatest block first, then the block itself; the earliest of equals wins.
PICOS = """
WITH balde AS ({partes}), maior AS ({maior})
SELECT m.dispositivo_id, b.consumo, b.bloco
FROM maior m CROSS JOIN LATERAL (
    SELECT consumo, bloco FROM tds_new_consumo_15min
    WHERE dispositivo_id = m.dispositivo_id AND conta_id = %(conta)s AND bloco >= m.inicio AND bloco < m.fim
      AND bloco >= %(inicio)s AND bloco < %(fim)s AND fracao_medida = 1 AND qualidade = 'MEDIDO' AND consumo IS NOT NULL
    ORDER BY consumo DESC, bloco LIMIT 1
) b
"""
# The greatest block of all that a Conta's devices of some quantities have, and the bucket that it is in.
DA_CONTA = """
SELECT inicio, inicio + duracao, pico FROM ({partes}) p WHERE pico IS NOT NULL ORDER BY pico DESC, inicio LIMIT 1
"""
PARTE_DA_CONTA = """
SELECT {coluna} AS inicio, interval '{duracao}' + interval '1 hour' AS duracao, pico
FROM (SELECT {coluna}, grandeza, unidade, {somas} FROM {fonte} WHERE conta_id = %(conta)s AND {trecho}) s
WHERE (grandeza, unidade) IN (SELECT * FROM unnest(%(grandezas)s::text[], %(unidades)s::text[]))
"""
BLOCOS_COM_GRANDEZA = "tds_new_consumo_15min b JOIN (SELECT id, grandeza, unidade FROM tds_new_dispositivo) d ON d.id = b.dispositivo_id"
MUITOS = (
    8  # devices: for a few that somebody has chosen, a look at all of the Conta's takes more than it saves
)
DE_CADA = "SELECT DISTINCT ON (dispositivo_id) * FROM balde ORDER BY dispositivo_id, pico DESC, inicio"
DE_TODOS = "SELECT * FROM balde ORDER BY pico DESC, inicio, dispositivo_id LIMIT 1"


@dataclass(frozen=True, slots=True)
class Pico:
    """The greatest demand, per hour of the device's unit (kWh gives kW), and the start of its block."""

    demanda: Decimal
    bloco: datetime


def picos(
    conta: Conta,
    dispositivos: Sequence[Dispositivo],
    inicio: datetime,
    fim: datetime,
    agora: datetime | None = None,
) -> dict[int, Pico | None]:
    """The peak of each device of ``conta`` in ``[inicio, fim)`` by its id; None where it is not determined.

    Both moments are edges of blocks.
    """
    achados: dict[int, Pico | None] = {d.pk: None for d in dispositivos if d.conta_id == conta.pk}
    achados.update(
        _picos(
            DE_CADA,
            conta,
            [d.pk for d in dispositivos if d.pk in achados and _tem_demanda(d)],
            Periodo(inicio, fim),
            grades(agora or now()),
        )
    )
    return achados


def _tem_demanda(dispositivo: Dispositivo) -> bool:
    """Not of increments that stand for more than a block: all of an hour's would be the demand of one quarter of it."""
    incremental = dispositivo.tipo_leitura == Dispositivo.TipoLeitura.INCREMENTAL
    return not incremental or dispositivo.gateway.intervalo_esperado_s <= BLOCO.total_seconds()


def maior_pico(
    conta: Conta,
    dispositivos: Sequence[Dispositivo],
    inicio: datetime,
    fim: datetime,
    agora: datetime | None = None,
) -> tuple[Dispositivo, Pico] | None:
    """The greatest of the devices' peaks and whose it is; None where no device of ``conta`` has one. See :func:`picos`."""
    por_id = {d.pk: d for d in dispositivos if d.conta_id == conta.pk and _tem_demanda(d)}
    periodo = Periodo(inicio, fim)
    todas = grades(agora or now(), (*DE_CONTAS, *DE_DISPOSITIVOS))
    da_conta = [grade for grade in todas if grade.camada.da_conta]
    mantidas = [grade for grade in todas if not grade.camada.da_conta]
    if len(por_id) > MUITOS and (maior := _maior_da_conta(conta, list(por_id.values()), periodo, da_conta)):
        trecho, consumo = maior
        achados = _picos(DE_TODOS, conta, list(por_id), trecho, mantidas, consumo)
        if any(pico.demanda == consumo * BLOCOS_POR_HORA for pico in achados.values()):
            return next((por_id[pk], pico) for pk, pico in achados.items())
    achados = _picos(DE_TODOS, conta, list(por_id), periodo, mantidas)
    return next(((por_id[pk], pico) for pk, pico in achados.items()), None)


def _maior_da_conta(
    conta: Conta, dispositivos: Sequence[Dispositivo], periodo: Periodo, mantidas: Sequence[Grade]
) -> tuple[Periodo, Decimal] | None:
    """The part of ``periodo`` in which the greatest block of the Conta is, and its consumption; None where nobody keeps that.

    It may be of a device that is not asked about: one that has left, or is switched off.
    """
    em_utc = Periodo(periodo.inicio.astimezone(UTC), periodo.fim.astimezone(UTC))
    if not mantidas:
        return None
    pares = sorted({(d.grandeza, d.unidade) for d in dispositivos})
    parametros: dict[str, Any] = {
        "conta": conta.pk,
        "grandezas": [g for g, _ in pares],
        "unidades": [u for _, u in pares],
    }
    partes = []
    for n, parte in enumerate(pedacos(em_utc, mantidas, subtrair=False)):
        parametros |= {f"de{n}": parte.inicio, f"ate{n}": parte.fim}
        camada = parte.camada
        fonte = camada.fonte if camada.da_conta else BLOCOS_COM_GRANDEZA
        trecho = camada.trecho(f"de{n}", f"ate{n}")
        partes.append(
            PARTE_DA_CONTA.format(
                coluna=camada.coluna, duracao=camada.duracao, somas=camada.somas, fonte=fonte, trecho=trecho
            )
        )
    with connection.cursor() as cursor:
        cursor.execute(DA_CONTA.format(partes="UNION ALL".join(partes)), parametros)
        linha = cursor.fetchone()
    if linha is None:
        return None
    inicio, fim, consumo = linha
    return Periodo(max(inicio, em_utc.inicio), min(fim, em_utc.fim)), consumo


def _picos(
    maior: str,
    conta: Conta,
    dispositivos: list[int],
    periodo: Periodo,
    mantidas: Sequence[Grade],
    pelo_menos: Decimal | None = None,
) -> dict[int, Pico]:
    """By device; of buckets whose greatest block is ``pelo_menos`` so great."""
    em_utc = Periodo(periodo.inicio.astimezone(UTC), periodo.fim.astimezone(UTC))
    partes = pedacos(em_utc, mantidas, subtrair=False)
    if not dispositivos or not partes:
        return {}
    parametros: dict[str, Any] = {
        "conta": conta.pk,
        "dispositivos": dispositivos,
        "inicio": em_utc.inicio,
        "fim": em_utc.fim,
    }
    parametros["pelo_menos"] = pelo_menos
    for n, parte in enumerate(partes):
        parametros |= {f"de{n}": parte.inicio, f"ate{n}": parte.fim}
    sql = PICOS.format(partes="UNION ALL".join(_sql(n, parte) for n, parte in enumerate(partes)), maior=maior)
    with connection.cursor() as cursor:
        cursor.execute(sql, parametros)
        return {pk: Pico(consumo * BLOCOS_POR_HORA, bloco) for pk, consumo, bloco in cursor.fetchall()}


def _sql(n: int, parte: Pedaco) -> str:
    camada = parte.camada
    trecho = camada.trecho(f"de{n}", f"ate{n}")
    return PARTE.format(
        fonte=camada.fonte, coluna=camada.coluna, somas=camada.somas, duracao=camada.duracao, trecho=trecho
    )
