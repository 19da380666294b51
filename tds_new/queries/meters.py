"""Meters in their structure, and what each of them consumed."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, Protocol, TypeVar

from django.db import connection

from tds_new.models import Conta, Dispositivo
from tds_new.queries.layers import cover, grids, span_sql
from tds_new.queries.local_calendar import Period
from tds_new.queries.sums import UNIT_OF_BLOCKS
from tds_new.units import unit_factor

# Of the wanted meters and of all sub-meters right behind them, also of those that are switched off.
CONSUMED = f"""
WITH wanted AS MATERIALIZED (
    SELECT device.id, CASE WHEN atras THEN medidor_pai_id END AS main_id, device.codigo, device.nome,
        gateway.codigo AS gateway, grandeza, {UNIT_OF_BLOCKS} AS unidade, papel
    FROM tds_new_dispositivo device JOIN tds_new_gateway gateway ON gateway.id = device.gateway_id
    WHERE device.conta_id = %(conta)s
      AND (device.id = ANY(%(devices)s) OR atras AND medidor_pai_id = ANY(%(devices)s))
), sums AS MATERIALIZED (
    SELECT dispositivo_id, sum(consumo) AS consumo FROM ({{buckets}}) bucket GROUP BY 1
)
SELECT wanted.*, sums.consumo, state.provisorio_desde, state.assentado_ate
FROM wanted
LEFT JOIN sums ON sums.dispositivo_id = wanted.id
LEFT JOIN tds_new_consumo_estado state ON state.dispositivo_id = wanted.id
"""
BUCKETS = """
SELECT dispositivo_id, {sign} * consumo AS consumo FROM (
    SELECT dispositivo_id, {columns} FROM {source}
    WHERE conta_id = %(conta)s AND dispositivo_id = ANY(ARRAY(SELECT id FROM wanted)) AND {condition}
) sums
"""


@dataclass(frozen=True, slots=True)
class Meter:
    """A meter and its consumption, in ``unidade``.

    That is the unit of its blocks as it was registered. ``main_id`` is the meter that it is behind, or None.
    ``consumption`` is None if nothing is known; it may be negative. Before ``settled_until`` no later
    reading changes a figure; from ``provisional_since`` on figures may be taken back. Each is None if
    there is no such moment.
    """

    pk: int
    main_id: int | None
    codigo: str
    nome: str
    gateway: str
    grandeza: str
    unidade: str
    papel: str
    consumption: Decimal | None
    provisional_since: datetime | None
    settled_until: datetime | None


@dataclass(frozen=True, slots=True)
class MeterRow:
    """A meter at its place in the structure.

    ``depth`` is 0 for a meter that no shown one is in front of, 1 for its sub-meters. ``sub_meters`` counts
    those right behind it. ``uncovered`` is its own consumption less theirs, in its unit; None if it has none,
    or if its consumption is not known. It may be negative.
    """

    meter: Meter
    depth: int
    sub_meters: int
    uncovered: Decimal | None


class Placed(Protocol):
    """A device, or a row with what says where it stands."""

    @property
    def pk(self) -> int:
        """Its id."""

    @property
    def medidor_pai_id(self) -> int | None:
        """The meter that it was entered to be behind."""

    @property
    def atras(self) -> bool:
        """Whether that meter counts."""


P = TypeVar("P", bound=Placed)


def in_structure(devices: Sequence[P]) -> list[tuple[P, int]]:
    """Return ``devices`` with their depth, sub-meters after their main meter.

    Otherwise they keep their order. A sub-meter whose main meter is not among them has depth 0.
    """
    by_id = {device.pk: device for device in devices}
    behind: dict[int, list[P]] = {}
    for device in devices:
        if device.atras and device.medidor_pai_id is not None and device.medidor_pai_id in by_id:
            behind.setdefault(device.medidor_pai_id, []).append(device)
    sub_meters = {device.pk for group in behind.values() for device in group}

    def walk(group: Sequence[P], depth: int) -> Iterator[tuple[P, int]]:
        for device in group:
            yield device, depth
            yield from walk(behind.get(device.pk, []), depth + 1)

    return list(walk([d for d in devices if d.pk not in sub_meters], 0))


def consumption_by_meter(
    conta: Conta, devices: Sequence[tuple[Dispositivo, int]], period: Period, now: datetime
) -> list[MeterRow]:
    """Return what each of ``devices`` of ``conta`` consumed in ``period``.

    They keep their order. ``devices`` come with the depth at which each is to be shown. ``now`` decides which
    stored sums are complete.
    """
    if not devices:
        return []
    parameters: dict[str, Any] = {"conta": conta.pk, "devices": [device.pk for device, _ in devices]}
    buckets = [
        span_sql(BUCKETS.replace("{sign}", str(span.sign)), span, n, parameters)
        for n, span in enumerate(cover(period, grids(now)))
    ]
    with connection.cursor() as cursor:
        cursor.execute(CONSUMED.format(buckets="UNION ALL".join(buckets)), parameters)
        meters = {row[0]: Meter(*row) for row in cursor.fetchall()}
    behind: dict[int | None, list[Meter]] = {}
    for meter in meters.values():
        behind.setdefault(meter.main_id, []).append(meter)
    return [
        MeterRow(meters[device.pk], depth, len(subs), _uncovered(meters[device.pk], subs))
        for device, depth in devices
        if device.pk in meters
        for subs in [behind.get(device.pk, [])]
    ]


def _uncovered(main: Meter, sub_meters: Sequence[Meter]) -> Decimal | None:
    """Return what ``main`` consumed less what ``sub_meters`` did, exactly."""
    if not sub_meters or main.consumption is None:
        return None
    rest = main.consumption
    for meter in sub_meters:
        factor = unit_factor(meter.unidade, main.unidade)
        if meter.consumption is not None and factor is not None:
            rest -= meter.consumption * factor.numerator / factor.denominator
    return rest
