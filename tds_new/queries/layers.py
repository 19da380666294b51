"""The stored sums of blocks, and how a period is covered by the coarsest of them.

Blocks add up exactly. So a month of a zone that is an hour away from the platform's is the platform's month,
less the hour before it begins, plus the hour after that month ends: three reads of sums instead of 2,976
blocks.

Queries read the tables in which TimescaleDB keeps the sums, as far as their policies have refreshed them, and
finer sums or blocks from there on. The views over both would give the same, but they compute the local day of
every block that is not summed yet before they drop the rows that the query excludes (250 ms instead of 1 ms
for a year's months of 1,000 devices). Plain PostgreSQL stores no sums; there the blocks are read, bound by
time.
"""

import time as clock
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection

from tds_new.queries.local_calendar import BLOCK, DAY, Period, add_months, local_month, midnight
from tds_new.storage import rollups
from tds_new.storage.timescale import has_timescale

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
# The largest distance of a boundary of the platform's days or months from a period's end at which it may
# replace that end: no zone is further away.
FURTHEST_ZONE = timedelta(hours=26)
RECHECK_S = 300

# The zone of days and months is that of the tables, whatever the settings have become since.
STORED = """
SELECT aggregate.user_view_name::text, format('%%I.%%I', hypertable.schema_name, hypertable.table_name),
    mark.watermark,
    (SELECT bucket_timezone FROM _timescaledb_catalog.continuous_aggs_bucket_function bucket
     WHERE bucket.mat_hypertable_id = aggregate.mat_hypertable_id),
    EXISTS (SELECT FROM tds_new_consumo_conta_pendente WHERE conta_id = %(conta)s)
FROM _timescaledb_catalog.continuous_agg aggregate
JOIN _timescaledb_catalog.hypertable hypertable ON hypertable.id = aggregate.mat_hypertable_id
JOIN _timescaledb_catalog.continuous_aggs_watermark mark ON mark.mat_hypertable_id = hypertable.id
WHERE aggregate.user_view_name = ANY(%(views)s::name[]) AND mark.watermark > 0
"""
SUM_COLUMNS = ", ".join(rollups.COMMON_SUMS)


# --- the tables ---


@dataclass(frozen=True, slots=True)
class Layer:
    """A table of sums, or of blocks, and how to select from it.

    ``column`` is its time column, ``columns`` selects its sums under the names of ``SUM_COLUMNS``.
    ``duration`` (SQL) and ``width`` are the longest duration of a bucket. Buckets younger than ``unsettled``
    may still change and are not read. The sums are a Conta's, by quantity and unit, with ``of_conta``, and a
    device's without. If the time column has to be computed, ``computed`` is the expression, and
    ``index_condition`` is the condition on the indexed column instead.
    """

    table: str
    column: str
    columns: str
    duration: str
    width: timedelta
    unsettled: timedelta = timedelta(0)
    of_conta: bool = False
    computed: str = ""
    index_condition: str = ""

    @property
    def source(self) -> str:
        """Return the SQL of the table to select from."""
        if not self.computed:
            return self.table
        return f"(SELECT *, {self.computed} AS {self.column} FROM {self.table}) source"

    def condition(self, start: str, end: str) -> str:
        """Return the SQL condition that a bucket begins in a stretch of time.

        ``start`` and ``end`` are the names of the parameters with its bounds; the end is excluded.
        """
        within = f"{self.column} >= %({start})s AND {self.column} < %({end})s"
        if not self.index_condition:
            return within
        return f"{within} AND {self.index_condition.format(start=f'%({start})s', end=f'%({end})s')}"


def _layer(
    rollup: rollups.Rollup, width: timedelta, columns: str = SUM_COLUMNS, *, of_conta: bool = False
) -> Layer:
    """Return the layer of a rollup whose buckets are at most ``width`` long."""
    return Layer(rollup.name, rollup.column, columns, rollup.length, width, rollup.end, of_conta)


BLOCKS = Layer("tds_new_consumo_15min", "bloco", rollups.one_block(rollups.COMMON_SUMS), "15 minutes", BLOCK)
HOURS = _layer(rollups.HOURLY, HOUR)
DAYS = _layer(rollups.DAILY, DAY + HOUR)
MONTHS = _layer(rollups.MONTHLY, 31 * DAY + HOUR, rollups.MONTHLY.select_list)
# Four rows a day, from 2, 3, 4 and 5 o'clock UTC on: the days of every zone of Brazil are made of them.
DAY_PARTS = Layer(
    rollups.DAY_PARTS.name,
    "part_start",
    SUM_COLUMNS,
    "21 hours",
    21 * HOUR,
    rollups.DAY_PARTS.end,
    computed="dia + mod(hora_utc + 19, 24) * interval '1 hour'",
    index_condition="dia > {start} - interval '1 day' AND dia < {end}",
)
CONTA_HOURS = _layer(rollups.CONTA_HOURLY, HOUR, rollups.CONTA_HOURLY.select_list, of_conta=True)
CONTA_DAYS = _layer(rollups.CONTA_DAILY, DAY + HOUR, rollups.CONTA_DAILY.select_list, of_conta=True)
# The coarsest first.
OF_DEVICES = (MONTHS, DAYS, HOURS)
OF_CONTAS = (CONTA_DAYS, CONTA_HOURS)
STORED_LAYERS = (*OF_DEVICES, DAY_PARTS, *OF_CONTAS)


# --- where their buckets begin ---

Boundary = Callable[[datetime], datetime]


@dataclass(frozen=True, slots=True)
class Grid:
    """A table and the boundaries at which its buckets begin.

    ``floor`` gives the last boundary up to a moment, ``following`` the next one after that. Buckets are
    complete up to ``complete_until``. A boundary that is at most ``reach`` from a moment may stand in for it,
    with the difference added or subtracted.
    """

    layer: Layer
    floor: Boundary
    following: Boundary
    complete_until: datetime
    reach: timedelta

    def start(self, moment: datetime, *, subtract: bool) -> datetime:
        """Return the boundary to begin at for a period that begins at ``moment``."""
        floor = self.floor(moment)
        if floor == moment:
            return floor
        return (self._nearest(moment) if subtract else None) or self.following(moment)

    def end(self, moment: datetime, *, subtract: bool) -> datetime:
        """Return the boundary to end at for a period that ends at ``moment``."""
        boundary = (self._nearest(moment) if subtract else None) or self.floor(moment)
        return min(boundary, self.complete_until)

    def _nearest(self, moment: datetime) -> datetime | None:
        """Return the nearest boundary that may stand in for ``moment``, or None."""
        floor, following = self.floor(moment), self.following(moment)
        nearest = floor if moment - floor <= following - moment else following
        return nearest if abs(nearest - moment) <= self.reach else None


def _hour_floor(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _next_hour(moment: datetime) -> datetime:
    return _hour_floor(moment) + HOUR


def _part_floor(moment: datetime) -> datetime:
    hour = _hour_floor(moment)
    return hour - HOUR * max(0, (hour.hour - 5) % 24) if hour.hour not in (2, 3, 4) else hour


def _next_part(moment: datetime) -> datetime:
    floor = _part_floor(moment)
    return floor + (21 * HOUR if floor.hour == 5 else HOUR)


def _day_boundaries(zone: ZoneInfo) -> tuple[Boundary, Boundary]:
    """Return floor and following boundary of the days of ``zone``."""

    def local_day(moment: datetime) -> date:
        return moment.astimezone(zone).date()

    return lambda t: midnight(local_day(t), zone), lambda t: midnight(local_day(t) + DAY, zone)


def _month_boundaries(zone: ZoneInfo) -> tuple[Boundary, Boundary]:
    """Return floor and following boundary of the months of ``zone``."""

    def month_of(moment: datetime) -> date:
        return local_month(moment, zone)

    return lambda t: midnight(month_of(t), zone), lambda t: midnight(add_months(month_of(t), 1), zone)


def _boundaries(layer: Layer, zone: ZoneInfo) -> tuple[Boundary, Boundary, timedelta]:
    """Return floor, following boundary and reach of a table whose zone is ``zone``."""
    if layer is MONTHS:
        return *_month_boundaries(zone), FURTHEST_ZONE
    if layer in (DAYS, CONTA_DAYS):
        return *_day_boundaries(zone), FURTHEST_ZONE
    if layer is DAY_PARTS:
        return _part_floor, _next_part, timedelta(0)
    return _hour_floor, _next_hour, HOUR


def grids(now: datetime, layers: Sequence[Layer] = OF_DEVICES, conta_id: int | None = None) -> list[Grid]:
    """Return the grids of those ``layers`` that are stored, in their order.

    There are none on plain PostgreSQL. Buckets that a refresh policy does not reach yet at ``now`` are left
    to finer layers, even if somebody refreshed them by hand: they still change. ``conta_id`` is the Conta of
    layers of Contas. While its sums are of an earlier structure of its devices, they are left out.
    """
    now = now.astimezone(UTC)
    stored = _stored(conta_id)
    complete = []
    for layer in layers:
        table = stored.get(layer.table)
        if table and not (layer.of_conta and table.outdated):
            floor, following, reach = _boundaries(layer, ZoneInfo(table.zone_name or settings.TDS_TIME_ZONE))
            complete_until = min(floor(now - layer.unsettled), floor(table.refreshed_until))
            complete.append(Grid(replace(layer, table=table.name), floor, following, complete_until, reach))
    return complete


class _StoredTable(NamedTuple):
    """The table in which TimescaleDB keeps a view of sums.

    ``outdated``: the structure of the Conta's devices has changed since it was refreshed.
    """

    name: str
    refreshed_until: datetime
    zone_name: str | None
    outdated: bool


Stored = dict[str, _StoredTable]  # by the name of the view
# What one page has found so far, by the Conta that was asked about.
_found: ContextVar[dict[int | None, Stored] | None] = ContextVar("stored tables", default=None)


@contextmanager
def one_look() -> Iterator[None]:
    """Have the readers within the block look up only once what is stored."""
    token = _found.set({})
    try:
        yield
    finally:
        _found.reset(token)


def _stored(conta_id: int | None) -> Stored:
    """Return the tables that TimescaleDB keeps sums in, by the name of their view."""
    found = _found.get()
    if found is None:
        return _look_up(conta_id)
    if conta_id is None and found:  # only a Conta's own sums depend on which Conta it is
        return next(iter(found.values()))
    if conta_id not in found:
        found[conta_id] = _look_up(conta_id)
    return found[conta_id]


def _look_up(conta_id: int | None) -> Stored:
    if not _is_timescale(int(clock.monotonic() // RECHECK_S), connection.settings_dict["NAME"]):
        return {}
    with connection.cursor() as cursor:
        cursor.execute(STORED, {"views": [layer.table for layer in STORED_LAYERS], "conta": conta_id})
        return {
            view: _StoredTable(table, EPOCH + timedelta(microseconds=watermark), zone_name, outdated)
            for view, table, watermark, zone_name, outdated in cursor.fetchall()
        }


@lru_cache(maxsize=4)
def _is_timescale(_recheck: int, _database: str) -> bool:
    """Return whether the database has TimescaleDB; asked again every ``RECHECK_S``."""
    return has_timescale(connection)


# --- how a period is covered ---


@dataclass(frozen=True, slots=True)
class Span:
    """Whole buckets of a table from ``start`` to ``end``.

    They are added to a sum (``sign`` 1) or subtracted from it (-1).
    """

    layer: Layer
    start: datetime
    end: datetime
    sign: int = 1


def cover(period: Period, grids: Sequence[Grid], *, subtract: bool = True, sign: int = 1) -> list[Span]:
    """Return spans that add up to ``period``, out of the coarsest buckets that fit.

    ``grids`` are those of :func:`grids`; blocks cover what no bucket fits. Without ``subtract`` every span
    lies within the period, so that a maximum can be taken over them. ``sign`` is the sign of the whole.
    """
    if period.start >= period.end:
        return []
    if not grids:
        return [Span(BLOCKS, period.start, period.end, sign)]
    grid, *finer = grids
    start, end = grid.start(period.start, subtract=subtract), grid.end(period.end, subtract=subtract)
    if start >= end:
        return cover(period, finer, subtract=subtract, sign=sign)
    spans = [Span(grid.layer, start, end, sign)]
    for left, right in ((period.start, start), (end, period.end)):
        spans += cover(
            Period(left, right), finer, subtract=subtract, sign=sign
        )  # the part that is not covered yet
        spans += cover(
            Period(right, left), finer, subtract=subtract, sign=-sign
        )  # the part that is covered too much
    return spans


def span_sql(
    template: str, span: Span, number: int, parameters: dict[str, Any], source: str | None = None
) -> str:
    """Return ``template`` as the SQL that selects the buckets of ``span``.

    The template may name ``{source}``, ``{column}``, ``{columns}``, ``{duration}`` and ``{condition}``. The
    bounds of the span are added to ``parameters`` under names with its ``number``. ``source`` replaces the
    layer's own.
    """
    layer = span.layer
    parameters.update({f"start{number}": span.start, f"end{number}": span.end})
    return template.format(
        source=source or layer.source,
        column=layer.column,
        columns=layer.columns,
        duration=layer.duration,
        condition=layer.condition(f"start{number}", f"end{number}"),
    )
