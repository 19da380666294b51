"""Consumption of a Conta in any stretches of time, by quantity and unit, with how much of it was measured; one statement."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

from django.db import connection

from tds_new.models import Conta, Dispositivo
from tds_new.queries import layers
from tds_new.queries.layers import Layer, Span, cover, grids
from tds_new.queries.local_calendar import Period

OFFSET = 10_000  # between the numbers of one table's pieces and the next one's

# The sums of one table, a row for each piece (the stretch between two neighbouring ``edges``), quantity and unit.
CELL_SUMS = """
SELECT true, %(deslocamento{n})s + width_bucket({coluna}, %(cortes{n})s::timestamptz[]), grandeza, unidade,
    sum(consumo), sum(blocos), sum(blocos_medidos), sum(blocos_interpolados), sum(blocos_estimados), NULL::timestamptz
FROM {fonte}
WHERE consumo IS NOT NULL
GROUP BY 2, 3, 4
"""
FROM_CONTA = (
    "(SELECT {coluna}, grandeza, unidade, {somas} FROM {fonte} WHERE conta_id = %(conta)s AND {trechos}) s"
)
FROM_DEVICES = """(
    SELECT dispositivo_id, {coluna}, {somas} FROM {fonte} WHERE conta_id = %(conta)s{filtro} AND {trechos}
) s JOIN tds_new_dispositivo d ON d.id = s.dispositivo_id"""
# A device is expected to measure from its first data on, or from its registration where that is before, in the same period; until now,
# silent or not; one that has left or was switched off until its last data. Most devices' lives are alike, so they are counted.
EXPECTED = """
SELECT false, p.n, grandeza, unidade,
    round(sum(quantos * date_part('epoch', greatest('0', least(p.fim, vida.fim) - greatest(p.inicio, vida.inicio))))::numeric / 900, 4),
    NULL, NULL, NULL, NULL, CASE WHEN max(ultima) IS NOT NULL THEN least(max(ultima), max(calculado)) END
FROM (
    SELECT grandeza, unidade, inicio, fim, count(*) AS quantos, max(ultima) AS ultima, max(calculado) AS calculado
    FROM (
        SELECT d.grandeza, d.unidade, v.ultimo + interval '15 minutes' - interval '1 microsecond' AS calculado,
            least(v.primeiro, greatest(d.created_at,
                (SELECT max(i) FROM unnest(%(inicios)s::timestamptz[]) i WHERE i <= v.primeiro))) AS inicio,
            CASE WHEN d.conta_id = v.conta_id AND d.status <> 'INATIVO' AND g.is_active THEN 'infinity'
                ELSE v.ultimo + interval '15 minutes' END AS fim,
            CASE WHEN d.conta_id = v.conta_id THEN d.last_seen END AS ultima
        FROM tds_new_consumo_vida v
        JOIN tds_new_dispositivo d ON d.id = v.dispositivo_id JOIN tds_new_gateway g ON g.id = d.gateway_id
        WHERE v.conta_id = %(conta)s AND v.primeiro < %(fim)s{filtro}
    ) cada
    WHERE fim > %(inicio)s
    GROUP BY 1, 2, 3, 4
) vida CROSS JOIN unnest(%(numeros)s::int[], %(inicios)s::timestamptz[], %(fins)s::timestamptz[]) AS p (n, inicio, fim)
GROUP BY p.n, grandeza, unidade
"""


@dataclass(slots=True)
class BlockSum:
    """The consumption of a stretch, None where nothing is known of it, and what it rests on, counted in blocks.

    ``blocks`` have data, ``measured`` is the sum of their measured shares, ``expected`` are those that should have data.
    """

    total: Decimal | None = None
    blocks: int = 0
    measured: Decimal = Decimal(0)
    interpolated: int = 0
    estimated: int = 0
    expected: Decimal = Decimal(0)

    def add(self, other: "BlockSum", sign: int = 1) -> None:
        """Add ``other``, or take it away."""
        if other.total is not None:
            self.total = (self.total or Decimal(0)) + sign * other.total
        self.blocks += sign * other.blocks
        self.measured += sign * other.measured
        self.interpolated += sign * other.interpolated
        self.estimated += sign * other.estimated
        self.expected += sign * other.expected

    @property
    def known(self) -> bool:
        """Whether anything is known: a register's first reading is in a block, and says nothing yet."""
        return bool(self.blocks and (self.total or self.measured or self.interpolated or self.estimated))

    @property
    def coverage(self) -> Decimal | None:
        """The measured share of what was expected, 0 to 1; None where nothing was."""
        return min(Decimal(1), self.measured / self.expected) if self.expected > 0 else None

    @property
    def interpolated_share(self) -> Decimal:
        """The share in interpolated blocks, what is measured of them aside."""
        return self._share(self.interpolated, Decimal(1) - (self.coverage or 0))

    @property
    def estimated_share(self) -> Decimal:
        """The share in estimated blocks (a register that began again)."""
        return self._share(self.estimated, Decimal(1))

    def _share(self, blocks: int, maximum: Decimal) -> Decimal:
        return min(maximum, blocks / self.expected) if self.expected > 0 else Decimal(0)


@dataclass(slots=True)
class QuantitySums:
    """One quantity in one unit: a sum for each period asked for, and its newest reading among the devices that the Conta has.

    ``last_reading`` is not later than the last block that was computed: the ledger follows ingestion within seconds.
    """

    grandeza: str
    unidade: str
    periods: list[BlockSum]
    last_reading: datetime | None = None


def sum_periods(
    conta: Conta, devices: Sequence[Dispositivo] | None, periods: Sequence[Period], now: datetime
) -> list[QuantitySums]:
    """The consumption of ``conta`` in each of ``periods``, exactly, by quantity and unit in the order of ``Dispositivo.Grandeza``.

    Of ``devices`` where given; otherwise of all that was measured for the Conta, with devices that have since left it.
    """
    if devices is not None and not devices:
        return []
    kept = grids(now, layers.OF_CONTAS if devices is None else layers.OF_DEVICES)
    covers = [cover(period, kept) for period in periods]
    used = dict.fromkeys(p.layer for spans in covers for p in spans)
    reads = [LayerCells(n, layer, covers) for n, layer in enumerate(used)]
    if not reads:
        return []
    sums: dict[tuple[str, str], QuantitySums] = {}
    cells: dict[tuple[str, str], dict[int, BlockSum]] = {}
    for is_cell, number, grandeza, unidade, total, blocks, measured, interpolated, estimated, latest in _read(
        conta, devices, periods, reads
    ):
        key = grandeza, unidade
        target = sums.setdefault(key, QuantitySums(grandeza, unidade, [BlockSum() for _ in periods]))
        if is_cell:
            cells.setdefault(key, {})[number] = BlockSum(
                total, int(blocks), measured, int(interpolated), int(estimated)
            )
        else:
            target.periods[number].expected = total
            target.last_reading = max(filter(None, (target.last_reading, latest)), default=None)
    by_layer = {read.layer: read for read in reads}
    for key, target in sums.items():
        for block_sum, spans in zip(target.periods, covers, strict=True):
            for span in spans:
                for cell in by_layer[span.layer].cells(span):
                    if found := cells.get(key, {}).get(cell):
                        block_sum.add(found, span.sign)
            if not block_sum.known:
                block_sum.total = None
    order = list(Dispositivo.Grandeza.values)
    return sorted(sums.values(), key=lambda s: (order.index(s.grandeza), s.unidade))


def _read(
    conta: Conta,
    devices: Sequence[Dispositivo] | None,
    periods: Sequence[Period],
    reads: Sequence["LayerCells"],
) -> list[tuple[Any, ...]]:
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "inicio": min(p.start for p in periods),
        "fim": max(p.end for p in periods),
        "numeros": list(range(len(periods))),
        "inicios": [p.start for p in periods],
        "fins": [p.end for p in periods],
    }
    if devices is not None:
        parameters["dispositivos"] = [d.pk for d in devices]
    filter_ = ""
    if devices is not None:
        parameters["dispositivos"] = [d.pk for d in devices]
        filter_ = " AND dispositivo_id = ANY(%(dispositivos)s)"
    statements = [read.sql(filter_, parameters) for read in reads]
    sql = "UNION ALL".join([*statements, EXPECTED.format(filtro=filter_)])
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


class LayerCells:
    """What is read of one table: the stretches between ``edges`` that are needed, numbered."""

    def __init__(self, number: int, layer: Layer, covers: Iterable[Iterable[Span]]) -> None:
        own = [p for spans in covers for p in spans if p.layer == layer]
        self.layer = layer
        self.edges = sorted({p.start for p in own} | {p.end for p in own})
        self._offset = number * OFFSET
        self._number = {edge: n for n, edge in enumerate(self.edges, self._offset + 1)}
        self._needed = sorted({cell for p in own for cell in self.cells(p)})

    def cells(self, span: Span) -> range:
        """The numbers of the stretches that make up ``span``."""
        return range(self._number[span.start], self._number[span.end])

    def periods(self) -> list[Period]:
        """The stretches needed, neighbours as one."""
        joined: list[Period] = []
        for cell in self._needed:
            start, end = self.edges[cell - self._offset - 1 : cell - self._offset + 1]
            if joined and joined[-1].end == start:
                joined[-1] = Period(joined[-1].start, end)
            else:
                joined.append(Period(start, end))
        return joined

    def sql(self, filter_: str, parameters: dict[str, Any]) -> str:
        """The statement that reads them; its own parameters are added to ``parameters``."""
        n = self._offset
        periods = self.periods()
        parameters |= {f"deslocamento{n}": n, f"cortes{n}": self.edges}
        # The whole first: parts of a table that lie outside of it are not looked at.
        limits = [Period(periods[0].start, periods[-1].end), *(periods if len(periods) > 1 else [])]
        conditions = []
        for i, period in enumerate(limits):
            parameters |= {f"de{n}_{i}": period.start, f"ate{n}_{i}": period.end}
            conditions.append(f"({self.layer.condition(f'de{n}_{i}', f'ate{n}_{i}')})")
        whole, *each = conditions
        source = (FROM_CONTA if self.layer.of_conta else FROM_DEVICES).format(
            coluna=self.layer.column,
            somas=self.layer.columns,
            fonte=self.layer.source,
            filtro=filter_,
            trechos=f"{whole} AND ({' OR '.join(each)})" if each else whole,
        )
        return CELL_SUMS.format(n=n, coluna=self.layer.column, fonte=source)
