"""Demand, a device's consumption in a block per hour, and its peak.

Demand is that of one meter (docs/metering.md). The demand of several meters together is not computed, because
some meters measure what flows through others. Each meter's is in the unit of its blocks; meters are compared
with one another only where those are equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection
from django.utils import timezone

from tds_new.models import Conta, Dispositivo
from tds_new.queries.layers import OF_CONTAS, OF_DEVICES, Grid, cover, grids, span_sql
from tds_new.queries.local_calendar import BLOCK, Period, utc_period
from tds_new.queries.sums import UNIT_OF_BLOCKS

BLOCKS_PER_HOUR = 4

# The largest block in each bucket of a device. Only blocks measured in full count (``pico``): one with a hole
# in it would make a low figure look like a peak.
DEVICE_BUCKETS = """
SELECT dispositivo_id, {column} AS since, {column} + interval '{duration}' + interval '1 hour' AS until, pico
FROM (
    SELECT dispositivo_id, {column}, {columns} FROM {source}
    WHERE conta_id = %(conta)s AND dispositivo_id = ANY(%(devices)s) AND {condition}
) sums
WHERE pico >= coalesce(%(at_least)s::numeric, pico)
"""
# The buckets with the largest block first, then the block itself; the earliest of equal ones wins.
PEAKS = """
WITH bucket AS ({buckets}), largest AS ({largest})
SELECT largest.dispositivo_id, block.consumo, block.bloco
FROM largest CROSS JOIN LATERAL (
    SELECT consumo, bloco FROM tds_new_consumo_15min
    WHERE dispositivo_id = largest.dispositivo_id AND conta_id = %(conta)s
      AND bloco >= largest.since AND bloco < largest.until AND bloco >= %(start)s AND bloco < %(end)s
      AND fracao_medida = 1 AND qualidade = 'MEDIDO' AND consumo IS NOT NULL
    ORDER BY consumo DESC, bloco LIMIT 1
) block
"""
OF_EACH_DEVICE = "SELECT DISTINCT ON (dispositivo_id) * FROM bucket ORDER BY dispositivo_id, pico DESC, since"
OF_ALL_DEVICES = "SELECT * FROM bucket ORDER BY pico DESC, since, dispositivo_id LIMIT 1"
# The largest block in each bucket of a Conta, among the devices of some quantities.
CONTA_BUCKETS = """
SELECT {column} AS since, interval '{duration}' + interval '1 hour' AS width, pico
FROM (
    SELECT {column}, grandeza, unidade, papel, {columns}
    FROM {source} WHERE conta_id = %(conta)s AND {condition}
) sums
WHERE (grandeza, unidade, papel) IN (
    SELECT * FROM unnest(%(quantities)s::text[], %(units)s::text[], %(roles)s::text[]))
"""
CONTA_PEAK = """
SELECT since, since + width, pico FROM ({buckets}) bucket
WHERE pico IS NOT NULL ORDER BY pico DESC, since LIMIT 1
"""
BLOCKS_WITH_QUANTITY = f"""tds_new_consumo_15min block
    JOIN (
        SELECT id, grandeza, {UNIT_OF_BLOCKS} AS unidade, papel FROM tds_new_dispositivo
    ) device ON device.id = block.dispositivo_id"""
# For a few chosen devices, looking at all of the Conta's devices takes more time than it saves.
MANY_DEVICES = 8


@dataclass(frozen=True, slots=True)
class Peak:
    """The largest demand and its block; kWh of the device's blocks give kW."""

    demand: Decimal
    block: datetime


class _Largest(NamedTuple):
    """The bucket that holds a Conta's largest block, and that block's consumption."""

    period: Period
    consumption: Decimal


def peaks(
    conta: Conta,
    devices: Sequence[Dispositivo],
    start: datetime,
    end: datetime,
    now: datetime | None = None,
) -> dict[int, Peak | None]:
    """Return the peak of each device of ``conta`` in ``[start, end)``, by its id.

    A peak is None if it is not determined. Both moments are on the edge of a block; ``now`` decides which
    stored sums are complete.
    """
    found: dict[int, Peak | None] = {d.pk: None for d in devices if d.conta_id == conta.pk}
    measured = [d.pk for d in devices if d.pk in found and _has_demand(d)]
    stored = grids(now or timezone.now())
    found.update(_peaks(OF_EACH_DEVICE, conta, measured, utc_period(start, end), stored))
    return found


def greatest_peak(
    conta: Conta,
    devices: Sequence[Dispositivo],
    start: datetime,
    end: datetime,
    now: datetime | None = None,
) -> tuple[Dispositivo, Peak] | None:
    """Return the greatest of the devices' peaks with its device, or None.

    The parameters are those of :func:`peaks`.
    """
    by_id = {d.pk: d for d in devices if d.conta_id == conta.pk and _has_demand(d)}
    period = utc_period(start, end)
    stored = grids(now or timezone.now(), (*OF_CONTAS, *OF_DEVICES), conta.pk)
    of_devices = [grid for grid in stored if not grid.layer.of_conta]
    greatest: dict[int, Peak] = {}
    if len(by_id) > MANY_DEVICES:
        of_contas = [grid for grid in stored if grid.layer.of_conta]
        largest = _largest_of_conta(conta, list(by_id.values()), period, of_contas)
        greatest = _peak_in(largest, conta, list(by_id), of_devices) if largest else {}
    greatest = greatest or _peaks(OF_ALL_DEVICES, conta, list(by_id), period, of_devices)
    return next(((by_id[pk], peak) for pk, peak in greatest.items()), None)


def _has_demand(device: Dispositivo) -> bool:
    """Return whether the device's blocks give a demand.

    Increments over more than a block do not: a whole hour's consumption would be the demand of one quarter of
    it.
    """
    incremental = device.tipo_leitura == Dispositivo.TipoLeitura.INCREMENTAL
    return not incremental or device.gateway.intervalo_esperado_s <= BLOCK.total_seconds()


def _largest_of_conta(
    conta: Conta, devices: Sequence[Dispositivo], period: Period, stored: Sequence[Grid]
) -> _Largest | None:
    """Return where in ``period`` the Conta's largest block is.

    None on plain PostgreSQL, and while the Conta's sums are of an earlier structure. It is looked for among
    all devices with the quantities and roles of ``devices``, so it may be that of another one, which has left
    the Conta or is switched off.
    """
    if not stored:
        return None
    kinds = sorted({(d.grandeza, d.unidade_consumo or d.unidade, d.papel) for d in devices})
    quantities, units, roles = zip(*kinds, strict=True)
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "quantities": list(quantities),
        "units": list(units),
        "roles": list(roles),
    }
    buckets = [
        span_sql(CONTA_BUCKETS, span, n, parameters, None if span.layer.of_conta else BLOCKS_WITH_QUANTITY)
        for n, span in enumerate(cover(period, stored, subtract=False))
    ]
    with connection.cursor() as cursor:
        cursor.execute(CONTA_PEAK.format(buckets="UNION ALL".join(buckets)), parameters)
        row = cursor.fetchone()
    if row is None:
        return None
    start, end, consumption = row
    return _Largest(Period(max(start, period.start), min(end, period.end)), consumption)


def _peak_in(largest: _Largest, conta: Conta, devices: list[int], stored: Sequence[Grid]) -> dict[int, Peak]:
    """Return the peak of the Conta's largest block, if that is of one of ``devices``."""
    found = _peaks(OF_ALL_DEVICES, conta, devices, largest.period, stored, largest.consumption)
    demand = largest.consumption * BLOCKS_PER_HOUR
    return {pk: peak for pk, peak in found.items() if peak.demand == demand}


def _peaks(
    largest: str,
    conta: Conta,
    devices: list[int],
    period: Period,
    stored: Sequence[Grid],
    at_least: Decimal | None = None,
) -> dict[int, Peak]:
    """Return peaks in ``period`` by device.

    ``largest`` is the SQL that chooses the buckets: ``OF_EACH_DEVICE`` or ``OF_ALL_DEVICES``. Only buckets
    whose largest block has at least the consumption ``at_least`` are looked at.
    """
    spans = cover(period, stored, subtract=False)
    if not devices or not spans:
        return {}
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "devices": devices,
        "start": period.start,
        "end": period.end,
        "at_least": at_least,
    }
    buckets = [span_sql(DEVICE_BUCKETS, span, n, parameters) for n, span in enumerate(spans)]
    with connection.cursor() as cursor:
        cursor.execute(PEAKS.format(buckets="UNION ALL".join(buckets), largest=largest), parameters)
        return {
            pk: Peak(consumption * BLOCKS_PER_HOUR, block) for pk, consumption, block in cursor.fetchall()
        }
