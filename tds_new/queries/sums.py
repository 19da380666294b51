"""Consumption of a Conta in any periods, by quantity and role; one statement.

A total is the sum of the meters with the role that are not behind another one of it. Meters in units of one
group (Wh, kWh, MWh) add up, each converted exactly.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

from django.db import connection

from tds_new.models import Conta, Dispositivo
from tds_new.queries.layers import OF_CONTAS, OF_DEVICES, Grid, Layer, Span, cover, grids
from tds_new.queries.local_calendar import Period
from tds_new.units import canonical_unit, total_unit, unit_factor

CELLS_PER_TABLE = 10_000  # a table's cells are numbered from the next multiple on

# What a device's blocks are in.
UNIT_OF_BLOCKS = "coalesce(nullif(unidade_consumo, ''), unidade)"
# The sums of one table: a row for each cell (between two neighbouring edges), quantity, unit and role.
CELL_SUMS = """
SELECT true, %(first{n})s + width_bucket({column}, %(edges{n})s::timestamptz[]), grandeza, unidade, papel,
    sum(consumo), sum(blocos), sum(blocos_medidos), sum(blocos_interpolados), sum(blocos_estimados),
    NULL::timestamptz
FROM {source}
WHERE consumo IS NOT NULL AND {counted}
GROUP BY 2, 3, 4, 5
"""
FROM_CONTA = """(
    SELECT {column}, grandeza, unidade, papel, atras, {columns}
    FROM {source} WHERE conta_id = %(conta)s AND {condition}
) sums"""
FROM_DEVICES = f"""(
    SELECT dispositivo_id, {{column}}, {{columns}}
    FROM {{source}} WHERE conta_id = %(conta)s{{only}} AND {{condition}}
) sums JOIN (
    SELECT id, grandeza, {UNIT_OF_BLOCKS} AS unidade, papel, atras FROM tds_new_dispositivo
) device ON device.id = sums.dispositivo_id"""
ONLY_DEVICES = " AND dispositivo_id = ANY(%(devices)s)"
# The meters that a Conta's totals are made of. Of chosen devices, Python chooses those that count.
COUNTED = "NOT atras AND papel <> 'INFORMATIVO'"
# A device is expected to measure from its first data on, or from its registration if that is earlier and in
# the same period. It is expected to measure until now even if it is silent; if it has left or was switched
# off, until its last data. Most devices have the same extent, so equal extents are counted.
EXPECTED = f"""
SELECT false, period.number, grandeza, unidade, papel,
    round(sum(devices * date_part('epoch', greatest('0',
        least(period.until, expected.until) - greatest(period.since, expected.since))))::numeric / 900, 4),
    coalesce(sum(devices) FILTER (
        WHERE greatest(period.since, expected.since) < least(period.until, expected.until)), 0),
    NULL, NULL, NULL,
    CASE WHEN max(latest) IS NOT NULL THEN least(max(latest), max(computed_until)) END
FROM (
    SELECT grandeza, unidade, papel, since, until,
        count(*) AS devices, max(latest) AS latest, max(computed_until) AS computed_until
    FROM (
        SELECT device.grandeza, {UNIT_OF_BLOCKS} AS unidade, device.papel,
            extent.ultimo + interval '15 minutes' - interval '1 microsecond' AS computed_until,
            least(extent.primeiro, greatest(device.created_at, (
                SELECT max(since) FROM unnest(%(starts)s::timestamptz[]) since WHERE since <= extent.primeiro
            ))) AS since,
            CASE WHEN device.conta_id = extent.conta_id AND device.status <> 'INATIVO' AND gateway.is_active
                THEN 'infinity' ELSE extent.ultimo + interval '15 minutes' END AS until,
            CASE WHEN device.conta_id = extent.conta_id THEN device.last_seen END AS latest
        FROM tds_new_consumo_vida extent
        JOIN tds_new_dispositivo device ON device.id = extent.dispositivo_id
        JOIN tds_new_gateway gateway ON gateway.id = device.gateway_id
        WHERE extent.conta_id = %(conta)s AND extent.primeiro < %(end)s{{only}} AND {{counted}}
    ) each_device
    WHERE until > %(start)s
    GROUP BY 1, 2, 3, 4, 5
) expected
CROSS JOIN unnest(%(numbers)s::int[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS period (number, since, until)
GROUP BY period.number, grandeza, unidade, papel
"""

_ORDER = {grandeza: n for n, grandeza in enumerate(Dispositivo.Grandeza.values)}
_ROLE_ORDER = {papel: n for n, papel in enumerate(Dispositivo.Papel.values)}


class Measure(NamedTuple):
    """The quantity of a total, the unit of the total, and the role of its meters."""

    grandeza: str
    unidade: str
    papel: str = Dispositivo.Papel.CONSUMO


def measure_of(device: Dispositivo) -> Measure:
    """Return the total that a device belongs to, if it counts."""
    return Measure(device.grandeza, total_unit(unit_of_blocks(device)), device.papel)


def unit_of_blocks(device: Dispositivo) -> str:
    """Return the unit of a device's blocks, in its one spelling."""
    return canonical_unit(device.unidade_consumo or device.unidade)


def measure_order(measure: Measure) -> tuple[int, str, int]:
    """Return the key that sorts by quantity, unit and role, as the models list them."""
    return _ORDER[measure.grandeza], measure.unidade, _ROLE_ORDER[measure.papel]


def counted(devices: Sequence[Dispositivo]) -> list[Dispositivo]:
    """Return which of chosen devices make up their total.

    These are the meters that are not INFORMATIVO and not behind another one of the chosen.
    """
    chosen = {device.pk for device in devices}
    return [
        device
        for device in devices
        if device.papel != Dispositivo.Papel.INFORMATIVO and chosen.isdisjoint(_in_front(device))
    ]


def _in_front(device: Dispositivo) -> list[int]:
    """Return the meters that a device is behind, the nearest first, by id."""
    mains: list[int] = []
    main = device.medidor_pai if device.atras else None
    while main is not None and main.pk not in mains:
        mains.append(main.pk)
        main = main.medidor_pai if main.atras else None
    return mains


@dataclass(slots=True)
class BlockSum:
    """The consumption of some blocks in the unit of the total, and its quality.

    ``total`` is None if nothing is known; it may be negative. Counted in blocks: ``blocks`` have data,
    ``measured`` is the sum of their measured shares, ``interpolated`` and ``estimated`` are of that quality,
    ``expected`` should have data. ``devices`` counts the meters that should have data.
    """

    total: Decimal | None = None
    blocks: int = 0
    measured: Decimal = Decimal(0)
    interpolated: int = 0
    estimated: int = 0
    expected: Decimal = Decimal(0)
    devices: int = 0

    def add(self, other: "BlockSum", sign: int = 1) -> None:
        """Add ``other``, or subtract it with ``sign`` -1; ``devices`` stays."""
        if other.total is not None:
            self.total = (self.total or Decimal(0)) + sign * other.total
        self.blocks += sign * other.blocks
        self.measured += sign * other.measured
        self.interpolated += sign * other.interpolated
        self.estimated += sign * other.estimated
        self.expected += sign * other.expected

    @property
    def known(self) -> bool:
        """Return whether anything is known.

        A register's first reading is in a block, but gives no consumption yet.
        """
        return bool(self.blocks and (self.total or self.measured or self.interpolated or self.estimated))

    @property
    def coverage(self) -> Decimal | None:
        """Return the measured share of what was expected, 0 to 1; None if nothing was."""
        return min(Decimal(1), self.measured / self.expected) if self.expected > 0 else None

    @property
    def interpolated_share(self) -> Decimal:
        """Return the share in interpolated blocks, without what is measured of them."""
        return self._share(self.interpolated, Decimal(1) - (self.coverage or 0))

    @property
    def estimated_share(self) -> Decimal:
        """Return the share in estimated blocks, those with a register's reset."""
        return self._share(self.estimated, Decimal(1))

    def _share(self, blocks: int, maximum: Decimal) -> Decimal:
        return min(maximum, blocks / self.expected) if self.expected > 0 else Decimal(0)


@dataclass(slots=True)
class MeasureSums:
    """One measure: a sum for each period that was asked for.

    ``last_reading`` is the newest reading among the Conta's devices, but not later than the last computed
    block: the worker follows ingestion within seconds.
    """

    measure: Measure
    periods: list[BlockSum]
    last_reading: datetime | None = None


def sum_periods(
    conta: Conta, devices: Sequence[Dispositivo] | None, periods: Sequence[Period], now: datetime
) -> list[MeasureSums]:
    """Return the exact consumption and injection of ``conta`` in each of ``periods``.

    It is that of ``devices`` if given, as far as they count (:func:`counted`); with None all that was
    measured for the Conta, devices that have left it included. The list has one entry for each measure, in
    the order of :func:`measure_order`. ``now`` decides which stored sums are complete.
    """
    chosen = None if devices is None else counted(devices)
    if chosen is not None and not chosen:
        return []
    stored = _stored(conta, chosen, now)
    covers = [cover(period, stored) for period in periods]
    reads = _reads(covers)
    if not reads:
        return []
    by_measure: dict[Measure, MeasureSums] = {}
    cells: dict[Measure, dict[int, BlockSum]] = defaultdict(lambda: defaultdict(BlockSum))
    for row in _rows(conta, chosen, periods, reads.values()):
        measure = row.measure
        if measure not in by_measure:
            by_measure[measure] = MeasureSums(measure, [BlockSum() for _ in periods])
        if row.of_cell:
            cells[measure][row.number].add(row.block_sum())
        else:
            _expect(by_measure[measure], row)
    for measure, sums in by_measure.items():
        for block_sum, spans in zip(sums.periods, covers, strict=True):
            _add_spans(block_sum, spans, reads, cells[measure])
    return sorted(by_measure.values(), key=lambda sums: measure_order(sums.measure))


def _stored(conta: Conta, chosen: Sequence[Dispositivo] | None, now: datetime) -> list[Grid]:
    """Return the stored sums to read: the Conta's, unless devices were chosen.

    While the Conta's are of an earlier structure of its devices, they are those of devices, which are summed
    by the structure as it is now.
    """
    if chosen is not None:
        return grids(now)
    stored = grids(now, (*OF_CONTAS, *OF_DEVICES), conta.pk)
    return [grid for grid in stored if grid.layer.of_conta] or stored


class _Row(NamedTuple):
    """A row of the statement: the sum of a cell, or what is expected in a period.

    ``number`` is that of the cell or of the period. Of a period, ``total`` is how many blocks are expected in
    it, ``blocks`` how many devices should measure in it, and ``latest`` the newest reading.
    """

    of_cell: bool
    number: int
    grandeza: str
    unidade: str
    papel: str
    total: Decimal
    blocks: Decimal
    measured: Decimal
    interpolated: Decimal
    estimated: Decimal
    latest: datetime | None

    @property
    def measure(self) -> Measure:
        """Return the measure that the row is a part of."""
        return Measure(self.grandeza, total_unit(self.unidade), self.papel)

    def block_sum(self) -> BlockSum:
        """Return the sum of a cell, in the unit of its measure."""
        return BlockSum(
            in_total_unit(self.total, self.unidade),
            int(self.blocks),
            self.measured,
            int(self.interpolated),
            int(self.estimated),
        )


def in_total_unit(amount: Decimal, unidade: str) -> Decimal:
    """Return an ``amount`` in ``unidade`` in the unit of totals, exactly."""
    factor = unit_factor(unidade, total_unit(unidade)) or Fraction(1)
    return amount * factor.numerator / factor.denominator if factor != 1 else amount


def _expect(sums: MeasureSums, row: _Row) -> None:
    """Note the blocks and devices expected in a period, and the newest reading."""
    sums.periods[row.number].expected += row.total
    sums.periods[row.number].devices += int(row.blocks)
    sums.last_reading = max(filter(None, (sums.last_reading, row.latest)), default=None)


def _add_spans(
    block_sum: BlockSum, spans: Iterable[Span], reads: "dict[Layer, TableRead]", cells: dict[int, BlockSum]
) -> None:
    """Add the ``cells`` that make up ``spans`` to the sum of their period."""
    for span in spans:
        for number in reads[span.layer].cells(span):
            if number in cells:
                block_sum.add(cells[number], span.sign)
    if not block_sum.known:
        block_sum.total = None


def _reads(covers: Iterable[Iterable[Span]]) -> "dict[Layer, TableRead]":
    """Return the reads that are needed, by table."""
    by_layer: dict[Layer, list[Span]] = defaultdict(list)
    for spans in covers:
        for span in spans:
            by_layer[span.layer].append(span)
    return {layer: TableRead(n, layer, spans) for n, (layer, spans) in enumerate(by_layer.items())}


def _rows(
    conta: Conta,
    devices: Sequence[Dispositivo] | None,
    periods: Sequence[Period],
    reads: "Iterable[TableRead]",
) -> list[_Row]:
    """Read the cells of all tables, and what is expected in each period."""
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "start": min(p.start for p in periods),
        "end": max(p.end for p in periods),
        "numbers": list(range(len(periods))),
        "starts": [p.start for p in periods],
        "ends": [p.end for p in periods],
    }
    only, of_those = "", COUNTED
    if devices is not None:
        parameters["devices"] = [d.pk for d in devices]
        only, of_those = ONLY_DEVICES, "true"
    statements = [read.sql(only, of_those, parameters) for read in reads]
    statements.append(EXPECTED.format(only=only, counted=of_those))
    with connection.cursor() as cursor:
        cursor.execute("UNION ALL".join(statements), parameters)
        return [_Row(*row) for row in cursor.fetchall()]


class TableRead:
    """The read of one table: the cells that its spans consist of.

    Each edge of a span is the edge of a cell, so a cell that several periods share is summed once.
    """

    def __init__(self, number: int, layer: Layer, spans: Sequence[Span]) -> None:
        self.layer = layer
        self.edges = sorted({span.start for span in spans} | {span.end for span in spans})
        self._first = number * CELLS_PER_TABLE
        self._number = {edge: n for n, edge in enumerate(self.edges, self._first + 1)}
        self._needed = sorted({cell for span in spans for cell in self.cells(span)})

    def cells(self, span: Span) -> range:
        """Return the numbers of the cells that make up ``span``."""
        return range(self._number[span.start], self._number[span.end])

    def periods(self) -> list[Period]:
        """Return the stretches that are needed, neighbouring cells joined."""
        joined: list[Period] = []
        for cell in self._needed:
            start, end = self.edges[cell - self._first - 1 : cell - self._first + 1]
            if joined and joined[-1].end == start:
                joined[-1] = Period(joined[-1].start, end)
            else:
                joined.append(Period(start, end))
        return joined

    def sql(self, only: str, of_those: str, parameters: dict[str, Any]) -> str:
        """Return the statement that sums the cells, and add its ``parameters``.

        ``only`` is the condition on devices, or empty; ``of_those`` says which of them count.
        """
        n = self._first
        parameters.update({f"first{n}": n, f"edges{n}": self.edges})
        source = (FROM_CONTA if self.layer.of_conta else FROM_DEVICES).format(
            column=self.layer.column,
            columns=self.layer.columns,
            source=self.layer.source,
            only=only,
            condition=self._condition(parameters),
        )
        return CELL_SUMS.format(n=n, column=self.layer.column, source=source, counted=of_those)

    def _condition(self, parameters: dict[str, Any]) -> str:
        """Return the condition on time.

        It names the whole stretch first, so that partitions outside of it are not looked at.
        """
        periods = self.periods()
        whole = Period(periods[0].start, periods[-1].end)
        conditions = []
        for i, period in enumerate([whole, *(periods if len(periods) > 1 else [])]):
            start, end = f"start{self._first}_{i}", f"end{self._first}_{i}"
            parameters.update({start: period.start, end: period.end})
            conditions.append(f"({self.layer.condition(start, end)})")
        first, *parts = conditions
        return f"{first} AND ({' OR '.join(parts)})" if parts else first
