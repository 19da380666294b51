"""The sums over blocks that are kept, and how any stretch of time is put together from the coarsest of them.

Blocks add up exactly, so a month of a zone that is an hour away from the platform's is the platform's month, less the hour before it
begins and with the hour after that month ends: three reads of sums instead of 2,976 blocks.

Read is what TimescaleDB keeps and its policies follow up, and finer sums or blocks from there on. The views over both would say the same,
but they work out the local day of every block that is not kept yet before they leave out those that nobody asked for (250 ms instead of
1 ms for a year's months of 1,000 devices). On plain PostgreSQL nothing is kept; there the blocks are read, bound by time.
"""

import time as clock
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db import connection

from tds_new.queries.local_calendar import BLOCK, DAY, Period, add_months, local_month, midnight
from tds_new.storage import rollups

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
# A boundary so near to one of the platform's days or months is reached from there: no zone is further away.
NEAR = timedelta(hours=26)
RECHECK_S = 300
Boundary = Callable[[datetime], datetime]

# The zone of days and months is that of the tables, whatever the settings have become since.
KEPT = """
SELECT a.user_view_name::text, format('%%I.%%I', h.schema_name, h.table_name), w.watermark,
    (SELECT bucket_timezone FROM _timescaledb_catalog.continuous_aggs_bucket_function f WHERE f.mat_hypertable_id = a.mat_hypertable_id)
FROM _timescaledb_catalog.continuous_agg a
JOIN _timescaledb_catalog.hypertable h ON h.id = a.mat_hypertable_id
JOIN _timescaledb_catalog.continuous_aggs_watermark w ON w.mat_hypertable_id = h.id
WHERE a.user_view_name = ANY(%(vistas)s::name[]) AND w.watermark > 0
"""
SUM_COLUMNS = "consumo, leituras, blocos, blocos_medidos, blocos_interpolados, blocos_estimados, pico, minimo, maximo, soma, amostras, ultimo"
# A block in the columns of the sums.
BLOCK_AS_SUMS = """consumo, leituras, 1 AS blocos, fracao_medida AS blocos_medidos,
    (qualidade = 'INTERPOLADO')::int AS blocos_interpolados, (qualidade = 'ESTIMADO')::int AS blocos_estimados,
    CASE WHEN fracao_medida = 1 AND qualidade = 'MEDIDO' THEN consumo END AS pico, minimo, maximo, soma, amostras, ultimo"""


@dataclass(frozen=True, slots=True)
class Layer:
    """A table of sums: its time column, its columns under the names of ``SUM_COLUMNS``, and how long its buckets are (SQL; at most).

    ``unsettled``: what is younger is not relied upon. ``of_conta``: the sums are a Conta's, by quantity and unit, not its devices'.
    ``computed``: what the time column is computed of, ``index_condition``: a condition on what is indexed then.
    """

    table: str
    column: str
    columns: str
    duration: str
    width: timedelta
    unsettled: timedelta = DAY
    of_conta: bool = False
    computed: str = ""
    index_condition: str = ""

    @property
    def source(self) -> str:
        """What to select from."""
        return (
            f"(SELECT *, {self.computed} AS {self.column} FROM {self.table}) fonte"
            if self.computed
            else self.table
        )

    def condition(self, since: str, until: str) -> str:
        """The condition that a bucket begins in ``[since, until)``, names of parameters."""
        within = f"{self.column} >= %({since})s AND {self.column} < %({until})s"
        return (
            f"{within} AND {self.index_condition.format(de=f'%({since})s', ate=f'%({until})s')}"
            if self.index_condition
            else within
        )


BLOCKS = Layer("tds_new_consumo_15min", "bloco", BLOCK_AS_SUMS, "15 minutes", BLOCK)
HOURS = Layer("tds_new_consumo_horario", "hora", SUM_COLUMNS, "1 hour", HOUR, unsettled=rollups.HOURLY.end)
DAYS = Layer("tds_new_consumo_diario", "dia", SUM_COLUMNS, "1 day", DAY + HOUR)
MONTHS = Layer(
    "tds_new_consumo_mensal",
    "mes_referencia",
    SUM_COLUMNS.replace("consumo,", "total_consumo AS consumo,", 1).replace(
        "leituras,", "leituras_count AS leituras,", 1
    ),
    "1 month",
    31 * DAY + HOUR,
)
# Four rows a day, from 2, 3, 4 and 5 o'clock UTC on: the days of every zone of Brazil are made of them.
DAY_PARTS = Layer(
    "tds_new_consumo_parte_do_dia",
    "inicio",
    SUM_COLUMNS,
    "21 hours",
    21 * HOUR,
    computed="dia + mod(hora_utc + 19, 24) * interval '1 hour'",
    index_condition="dia > {de} - interval '1 day' AND dia < {ate}",
)
CONTA_SUM_COLUMNS = "consumo, blocos, blocos_medidos, blocos_interpolados, blocos_estimados, pico"
CONTA_HOURS = Layer(
    "tds_new_consumo_conta_horario",
    "hora",
    CONTA_SUM_COLUMNS,
    "1 hour",
    HOUR,
    unsettled=rollups.CONTA_HOURLY.end,
    of_conta=True,
)
CONTA_DAYS = Layer(
    "tds_new_consumo_conta_diario", "dia", CONTA_SUM_COLUMNS, "1 day", DAY + HOUR, of_conta=True
)
# The coarsest first.
OF_DEVICES = (MONTHS, DAYS, HOURS)
OF_CONTAS = (CONTA_DAYS, CONTA_HOURS)


@dataclass(frozen=True, slots=True)
class Span:
    """Whole buckets of a table from ``start`` to ``end``, to be added or (``sign`` -1) taken away."""

    layer: Layer
    start: datetime
    end: datetime
    sign: int = 1


@dataclass(frozen=True, slots=True)
class Grid:
    """A table and where its buckets begin: the last boundary up to a moment, the next one after it, and the last that is complete.

    A boundary not further than ``reach`` from a moment may be used in its stead, with the difference added or taken away.
    """

    layer: Layer
    floor: Boundary
    following: Boundary
    complete_until: datetime
    reach: timedelta

    def start(self, moment: datetime, *, subtract: bool) -> datetime:
        """The boundary at which to begin for a stretch that begins at ``moment``."""
        floor = self.floor(moment)
        return floor if floor == moment else (subtract and self._nearest(moment)) or self.following(moment)

    def end(self, moment: datetime, *, subtract: bool) -> datetime:
        """The boundary at which to end for a stretch that ends at ``moment``."""
        neighbour = self._nearest(moment) if subtract else None
        return (
            min(neighbour, self.complete_until) if neighbour else min(self.floor(moment), self.complete_until)
        )

    def _nearest(self, moment: datetime) -> datetime | None:
        floor, following = self.floor(moment), self.following(moment)
        best = floor if moment - floor <= following - moment else following
        return best if abs(best - moment) <= self.reach else None


def _hour_floor(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(minute=0, second=0, microsecond=0)


def _next_hour(moment: datetime) -> datetime:
    return _hour_floor(moment) + HOUR


def _day_boundaries(zone: ZoneInfo) -> tuple[Boundary, Boundary]:
    """The last boundary up to a moment and the next one after it, of days in ``zone``."""

    def local_day(moment: datetime) -> date:
        return moment.astimezone(zone).date()

    return lambda t: midnight(local_day(t), zone), lambda t: midnight(local_day(t) + DAY, zone)


def _month_boundaries(zone: ZoneInfo) -> tuple[Boundary, Boundary]:
    """The same of months."""

    def month_start(moment: datetime) -> date:
        return local_month(moment, zone)

    return lambda t: midnight(month_start(t), zone), lambda t: midnight(add_months(month_start(t), 1), zone)


def _part_floor(moment: datetime) -> datetime:
    hour = _hour_floor(moment)
    return hour - HOUR * max(0, (hour.hour - 5) % 24) if hour.hour not in (2, 3, 4) else hour


def _next_part(moment: datetime) -> datetime:
    floor = _part_floor(moment)
    return floor + (21 * HOUR if floor.hour == 5 else HOUR)


def grids(now: datetime, layers: Sequence[Layer] = OF_DEVICES) -> list[Grid]:
    """Those of ``layers`` that are kept, in their order; none on plain PostgreSQL.

    What their refresh policies do not reach yet is left to finer ones, even where somebody had it kept by hand: it is still changing.
    """
    now = now.astimezone(UTC)
    kept = _kept()
    found = []
    for layer in layers:
        if layer.table in kept:
            table, until, zone_name = kept[layer.table]
            floor, following, reach = _boundaries(layer, ZoneInfo(zone_name or settings.TDS_TIME_ZONE))
            found.append(
                Grid(
                    replace(layer, table=table),
                    floor,
                    following,
                    min(floor(now - layer.unsettled), floor(until)),
                    reach,
                )
            )
    return found


def _boundaries(layer: Layer, zone: ZoneInfo) -> tuple[Boundary, Boundary, timedelta]:
    if layer is MONTHS:
        return *_month_boundaries(zone), NEAR
    if layer in (DAYS, CONTA_DAYS):
        return *_day_boundaries(zone), NEAR
    if layer is DAY_PARTS:
        return _part_floor, _next_part, timedelta(0)
    return _hour_floor, _next_hour, HOUR


def cover(period: Period, grids: Sequence[Grid], *, subtract: bool = True, sign: int = 1) -> list[Span]:
    """``period`` out of the coarsest buckets of ``grids`` (:func:`grids`), the blocks for what no bucket fits.

    Without ``subtract`` out of parts of it only, which is what a greatest value can be taken of.
    """
    if period.start >= period.end:
        return []
    if not grids:
        return [Span(BLOCKS, period.start, period.end, sign)]
    grid, *finer = grids
    start, end = grid.start(period.start, subtract=subtract), grid.end(period.end, subtract=subtract)
    if start >= end:
        return cover(period, finer, subtract=subtract, sign=sign)
    found = [Span(grid.layer, start, end, sign)]
    for since, until in ((period.start, start), (end, period.end)):
        missing, surplus = Period(since, until), Period(until, since)
        found += cover(missing, finer, subtract=subtract, sign=sign) + cover(
            surplus, finer, subtract=subtract, sign=-sign
        )
    return found


def _kept() -> dict[str, tuple[str, datetime, str | None]]:
    """For each view of sums that TimescaleDB keeps: the table that it keeps them in, until when, and the zone of its buckets."""
    if not _has_catalogue(int(clock.monotonic() // RECHECK_S), connection.settings_dict["NAME"]):
        return {}
    with connection.cursor() as cursor:
        cursor.execute(KEPT, {"vistas": [layer.table for layer in (*OF_DEVICES, DAY_PARTS, *OF_CONTAS)]})
        return {
            view: (table, EPOCH + timedelta(microseconds=until), zone_name)
            for view, table, until, zone_name in cursor.fetchall()
        }


@lru_cache(maxsize=4)
def _has_catalogue(_when: int, _database: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT to_regclass('_timescaledb_catalog.continuous_aggs_watermark') IS NOT NULL")
        row = cursor.fetchone()
    return bool(row and row[0])
