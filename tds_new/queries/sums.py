"""Consumption of a Conta in any periods, by quantity and unit; one statement."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any, NamedTuple

from django.db import connection

from tds_new.models import Conta, Dispositivo
from tds_new.queries.layers import OF_CONTAS, OF_DEVICES, Layer, Span, cover, grids
from tds_new.queries.local_calendar import Period

CELLS_PER_TABLE = 10_000  # a table's cells are numbered from the next multiple on

# The sums of one table: a row for each cell (between two neighbouring edges), quantity and unit.
CELL_SUMS = """
SELECT true, %(first{n})s + width_bucket({column}, %(edges{n})s::timestamptz[]), grandeza, unidade,
    sum(consumo), sum(blocos), sum(blocos_medidos), sum(blocos_interpolados), sum(blocos_estimados),
    NULL::timestamptz
FROM {source}
WHERE consumo IS NOT NULL
GROUP BY 2, 3, 4
"""
FROM_CONTA = """(
    SELECT {column}, grandeza, unidade, {columns} FROM {source} WHERE conta_id = %(conta)s AND {condition}
) sums"""
FROM_DEVICES = """(
    SELECT dispositivo_id, {column}, {columns} FROM {source} WHERE conta_id = %(conta)s{only} AND {condition}
) sums JOIN tds_new_dispositivo device ON device.id = sums.dispositivo_id"""
ONLY_DEVICES = " AND dispositivo_id = ANY(%(devices)s)"
# A device is expected to measure from its first data on, or from its registration if that is earlier and in
# the same period. It is expected to measure until now even if it is silent; if it has left or was switched
# off, until its last data. Most devices have the same extent, so equal extents are counted.
EXPECTED = """
SELECT false, period.number, grandeza, unidade,
    round(sum(devices * date_part('epoch', greatest('0',
        least(period.until, expected.until) - greatest(period.since, expected.since))))::numeric / 900, 4),
    NULL, NULL, NULL, NULL,
    CASE WHEN max(latest) IS NOT NULL THEN least(max(latest), max(computed_until)) END
FROM (
    SELECT grandeza, unidade, since, until,
        count(*) AS devices, max(latest) AS latest, max(computed_until) AS computed_until
    FROM (
        SELECT device.grandeza, device.unidade,
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
        WHERE extent.conta_id = %(conta)s AND extent.primeiro < %(end)s{only}
    ) each_device
    WHERE until > %(start)s
    GROUP BY 1, 2, 3, 4
) expected
CROSS JOIN unnest(%(numbers)s::int[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS period (number, since, until)
GROUP BY period.number, grandeza, unidade
"""

Quantity = tuple[str, str]  # grandeza and unidade
_ORDER = {grandeza: n for n, grandeza in enumerate(Dispositivo.Grandeza.values)}


def quantity_order(quantity: Quantity) -> tuple[int, str]:
    """Return the key that sorts as ``Dispositivo.Grandeza`` does, then by unit."""
    grandeza, unidade = quantity
    return _ORDER[grandeza], unidade


@dataclass(slots=True)
class BlockSum:
    """The consumption of some blocks in the device's unit, and its quality.

    ``total`` is None if nothing is known. Counted in blocks: ``blocks`` have data, ``measured`` is the sum
    of their measured shares, ``interpolated`` and ``estimated`` are of that quality, ``expected`` should have
    data.
    """

    total: Decimal | None = None
    blocks: int = 0
    measured: Decimal = Decimal(0)
    interpolated: int = 0
    estimated: int = 0
    expected: Decimal = Decimal(0)

    def add(self, other: "BlockSum", sign: int = 1) -> None:
        """Add ``other``, or subtract it with ``sign`` -1."""
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
class QuantitySums:
    """One quantity in one unit: a sum for each period that was asked for.

    ``last_reading`` is the newest reading among the Conta's devices, but not later than the last computed
    block: the worker follows ingestion within seconds.
    """

    grandeza: str
    unidade: str
    periods: list[BlockSum]
    last_reading: datetime | None = None

    @property
    def quantity(self) -> Quantity:
        """Return quantity and unit."""
        return self.grandeza, self.unidade


def sum_periods(
    conta: Conta, devices: Sequence[Dispositivo] | None, periods: Sequence[Period], now: datetime
) -> list[QuantitySums]:
    """Return the exact consumption of ``conta`` in each of ``periods``.

    It is that of ``devices`` if given; with None all that was measured for the Conta, devices that have left
    it included. The list has one entry for each quantity and unit, in the order of :func:`quantity_order`.
    ``now`` decides which stored sums are complete.
    """
    if devices is not None and not devices:
        return []
    stored = grids(now, OF_CONTAS if devices is None else OF_DEVICES)
    covers = [cover(period, stored) for period in periods]
    reads = _reads(covers)
    if not reads:
        return []
    by_quantity: dict[Quantity, QuantitySums] = {}
    cells: dict[Quantity, dict[int, BlockSum]] = defaultdict(dict)
    for row in _rows(conta, devices, periods, reads.values()):
        quantity = row.grandeza, row.unidade
        if quantity not in by_quantity:
            by_quantity[quantity] = QuantitySums(*quantity, [BlockSum() for _ in periods])
        if row.of_cell:
            cells[quantity][row.number] = row.block_sum()
        else:
            _expect(by_quantity[quantity], row)
    for quantity, sums in by_quantity.items():
        for block_sum, spans in zip(sums.periods, covers, strict=True):
            _add_spans(block_sum, spans, reads, cells[quantity])
    return sorted(by_quantity.values(), key=lambda sums: quantity_order(sums.quantity))


class _Row(NamedTuple):
    """A row of the statement: the sum of a cell, or what is expected in a period.

    ``number`` is that of the cell or of the period. Of a period, ``total`` is how many blocks are expected in
    it, and ``latest`` the newest reading.
    """

    of_cell: bool
    number: int
    grandeza: str
    unidade: str
    total: Decimal
    blocks: Decimal
    measured: Decimal
    interpolated: Decimal
    estimated: Decimal
    latest: datetime | None

    def block_sum(self) -> BlockSum:
        """Return the sum of a cell."""
        return BlockSum(
            self.total, int(self.blocks), self.measured, int(self.interpolated), int(self.estimated)
        )


def _expect(sums: QuantitySums, row: _Row) -> None:
    """Note how many blocks are expected in a period, and the newest reading."""
    sums.periods[row.number].expected = row.total
    sums.last_reading = max(filter(None, (sums.last_reading, row.latest)), default=None)


def _add_spans(
    block_sum: BlockSum, spans: Iterable[Span], reads: "dict[Layer, TableRead]", cells: dict[int, BlockSum]
) -> None:
    """Add the ``cells`` that make up ``spans`` to the sum of their period."""
    for span in spans:
        for number in reads[span.layer].cells(span):
            if cell := cells.get(number):
                block_sum.add(cell, span.sign)
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
    only = ""
    if devices is not None:
        parameters["devices"] = [d.pk for d in devices]
        only = ONLY_DEVICES
    statements = [read.sql(only, parameters) for read in reads]
    with connection.cursor() as cursor:
        cursor.execute("UNION ALL".join([*statements, EXPECTED.format(only=only)]), parameters)
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

    def sql(self, only: str, parameters: dict[str, Any]) -> str:
        """Return the statement that sums the cells, and add its ``parameters``.

        ``only`` is the condition on devices, or empty.
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
        return CELL_SUMS.format(n=n, column=self.layer.column, source=source)

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
