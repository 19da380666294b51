"""Demand: a device's consumption in 15 minutes over a quarter of an hour, and its peak (docs/metering.md).

Demand is a matter of one meter: what several meters draw together is not asked for, where some measure what flows through others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import connection
from django.utils import timezone

from tds_new.models import Conta, Dispositivo
from tds_new.queries.layers import OF_CONTAS, OF_DEVICES, Grid, Span, cover, grids
from tds_new.queries.local_calendar import BLOCK, Period

BLOCKS_PER_HOUR = 4

# Only blocks measured in full count (``pico``): a block with a hole in it would make a low figure look like a peak.
SPAN_PEAKS = """
SELECT dispositivo_id, {coluna} AS inicio, {coluna} + interval '{duracao}' + interval '1 hour' AS fim, pico
FROM (SELECT dispositivo_id, {coluna}, {somas} FROM {fonte}
    WHERE conta_id = %(conta)s AND dispositivo_id = ANY(%(dispositivos)s) AND {trecho}) s
WHERE pico >= coalesce(%(pelo_menos)s::numeric, pico)
"""
# The buckets with the greatest block first, then the block itself; the earliest of equals wins.
PEAKS = """
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
CONTA_PEAK = """
SELECT inicio, inicio + duracao, pico FROM ({partes}) p WHERE pico IS NOT NULL ORDER BY pico DESC, inicio LIMIT 1
"""
CONTA_SPAN_PEAKS = """
SELECT {coluna} AS inicio, interval '{duracao}' + interval '1 hour' AS duracao, pico
FROM (SELECT {coluna}, grandeza, unidade, {somas} FROM {fonte} WHERE conta_id = %(conta)s AND {trecho}) s
WHERE (grandeza, unidade) IN (SELECT * FROM unnest(%(grandezas)s::text[], %(unidades)s::text[]))
"""
BLOCKS_WITH_QUANTITY = "tds_new_consumo_15min b JOIN (SELECT id, grandeza, unidade FROM tds_new_dispositivo) d ON d.id = b.dispositivo_id"
MANY_DEVICES = (
    8  # devices: for a few that somebody has chosen, a look at all of the Conta's takes more than it saves
)
OF_EACH = "SELECT DISTINCT ON (dispositivo_id) * FROM balde ORDER BY dispositivo_id, pico DESC, inicio"
OF_ALL = "SELECT * FROM balde ORDER BY pico DESC, inicio, dispositivo_id LIMIT 1"


@dataclass(frozen=True, slots=True)
class Peak:
    """The greatest demand, per hour of the device's unit (kWh gives kW), and the start of its block."""

    demand: Decimal
    block: datetime


def peaks(
    conta: Conta,
    devices: Sequence[Dispositivo],
    start: datetime,
    end: datetime,
    now: datetime | None = None,
) -> dict[int, Peak | None]:
    """The peak of each device of ``conta`` in ``[start, end)`` by its id; None where it is not determined.

    Both moments are edges of blocks.
    """
    found: dict[int, Peak | None] = {d.pk: None for d in devices if d.conta_id == conta.pk}
    found.update(
        _peaks(
            OF_EACH,
            conta,
            [d.pk for d in devices if d.pk in found and _has_demand(d)],
            Period(start, end),
            grids(now or timezone.now()),
        )
    )
    return found


def _has_demand(device: Dispositivo) -> bool:
    """Not of increments that stand for more than a block: all of an hour's would be the demand of one quarter of it."""
    incremental = device.tipo_leitura == Dispositivo.TipoLeitura.INCREMENTAL
    return not incremental or device.gateway.intervalo_esperado_s <= BLOCK.total_seconds()


def greatest_peak(
    conta: Conta,
    devices: Sequence[Dispositivo],
    start: datetime,
    end: datetime,
    now: datetime | None = None,
) -> tuple[Dispositivo, Peak] | None:
    """The greatest of the devices' peaks and whose it is; None where no device of ``conta`` has one. See :func:`peaks`."""
    by_id = {d.pk: d for d in devices if d.conta_id == conta.pk and _has_demand(d)}
    period = Period(start, end)
    all_grids = grids(now or timezone.now(), (*OF_CONTAS, *OF_DEVICES))
    conta_grids = [grid for grid in all_grids if grid.layer.of_conta]
    kept = [grid for grid in all_grids if not grid.layer.of_conta]
    if len(by_id) > MANY_DEVICES and (
        greatest := _greatest_of_conta(conta, list(by_id.values()), period, conta_grids)
    ):
        within, consumption = greatest
        found = _peaks(OF_ALL, conta, list(by_id), within, kept, consumption)
        if any(peak.demand == consumption * BLOCKS_PER_HOUR for peak in found.values()):
            return next((by_id[pk], peak) for pk, peak in found.items())
    found = _peaks(OF_ALL, conta, list(by_id), period, kept)
    return next(((by_id[pk], peak) for pk, peak in found.items()), None)


def _greatest_of_conta(
    conta: Conta, devices: Sequence[Dispositivo], period: Period, kept: Sequence[Grid]
) -> tuple[Period, Decimal] | None:
    """The part of ``period`` in which the greatest block of the Conta is, and its consumption; None where nobody keeps that.

    It may be of a device that is not asked about: one that has left, or is switched off.
    """
    in_utc = Period(period.start.astimezone(UTC), period.end.astimezone(UTC))
    if not kept:
        return None
    pairs = sorted({(d.grandeza, d.unidade) for d in devices})
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "grandezas": [g for g, _ in pairs],
        "unidades": [u for _, u in pairs],
    }
    spans = []
    for n, span in enumerate(cover(in_utc, kept, subtract=False)):
        parameters |= {f"de{n}": span.start, f"ate{n}": span.end}
        layer = span.layer
        source = layer.source if layer.of_conta else BLOCKS_WITH_QUANTITY
        within = layer.condition(f"de{n}", f"ate{n}")
        spans.append(
            CONTA_SPAN_PEAKS.format(
                coluna=layer.column, duracao=layer.duration, somas=layer.columns, fonte=source, trecho=within
            )
        )
    with connection.cursor() as cursor:
        cursor.execute(CONTA_PEAK.format(partes="UNION ALL".join(spans)), parameters)
        row = cursor.fetchone()
    if row is None:
        return None
    start, end, consumption = row
    return Period(max(start, in_utc.start), min(end, in_utc.end)), consumption


def _peaks(
    greatest: str,
    conta: Conta,
    devices: list[int],
    period: Period,
    kept: Sequence[Grid],
    at_least: Decimal | None = None,
) -> dict[int, Peak]:
    """By device; of buckets whose greatest block is ``at_least`` so great."""
    in_utc = Period(period.start.astimezone(UTC), period.end.astimezone(UTC))
    spans = cover(in_utc, kept, subtract=False)
    if not devices or not spans:
        return {}
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "dispositivos": devices,
        "inicio": in_utc.start,
        "fim": in_utc.end,
    }
    parameters["pelo_menos"] = at_least
    for n, span in enumerate(spans):
        parameters |= {f"de{n}": span.start, f"ate{n}": span.end}
    sql = PEAKS.format(partes="UNION ALL".join(_sql(n, span) for n, span in enumerate(spans)), maior=greatest)
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return {
            pk: Peak(consumption * BLOCKS_PER_HOUR, block) for pk, consumption, block in cursor.fetchall()
        }


def _sql(n: int, span: Span) -> str:
    layer = span.layer
    within = layer.condition(f"de{n}", f"ate{n}")
    return SPAN_PEAKS.format(
        fonte=layer.source, coluna=layer.column, somas=layer.columns, duracao=layer.duration, trecho=within
    )
