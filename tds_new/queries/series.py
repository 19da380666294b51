"""Devices as lines of a chart, out of readings, blocks, hours, days or months."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from statistics import median
from typing import Any

from django.db import connection
from django.utils import timezone

from tds_new.models import ConsumoCongelado, Conta, Dispositivo
from tds_new.queries import raw_points
from tds_new.queries.layers import (
    BLOCKS,
    DAY_PARTS,
    DAYS,
    HOUR,
    HOURS,
    MONTHS,
    Grid,
    Span,
    cover,
    grids,
    span_sql,
)
from tds_new.queries.local_calendar import BLOCK, DAY, add_months, block_start, midnight, utc_period
from tds_new.queries.points import Point, Quality, Series
from tds_new.queries.window import MONTH, Window

MINUTE = timedelta(minutes=1)
BLOCK_S = BLOCK.total_seconds()
# The measured share of a block is stored cut to 0.0001, which is 0.09 s.
TRUNCATION_S = 0.0001 * BLOCK_S
# From this share of its blocks on, a point is marked as interpolated: one block of a day would not be
# visible.
MARKED_FROM = 0.05

BUCKETS = """
SELECT dispositivo_id, {column} AS t, {columns} FROM {source}
WHERE conta_id = %(conta)s AND dispositivo_id = ANY(%(devices)s) AND {condition}
"""
# The finer buckets within one step of the chart, as one bucket.
GROUPED = """
SELECT dispositivo_id, {bucket} AS t,
    sum(consumo) AS consumo, sum(leituras) AS leituras, sum(blocos) AS blocos,
    sum(blocos_medidos) AS blocos_medidos, sum(blocos_interpolados) AS blocos_interpolados,
    sum(blocos_estimados) AS blocos_estimados, max(pico) AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    ((max(ARRAY[extract(epoch FROM t), ultimo]) FILTER (WHERE ultimo IS NOT NULL))[2]) AS ultimo
FROM ({buckets}) finer
GROUP BY 1, 2
"""
# One row a device: thousands of points are read several times as fast as columns. (date_part, because extract
# returns a numeric.)
COLUMNS = """
SELECT dispositivo_id, array_agg(date_part('epoch', t)::int8), array_agg(consumo::float8),
    array_agg(leituras::int), array_agg(blocos::int), array_agg(blocos_medidos::float8),
    array_agg(blocos_interpolados::int), array_agg(blocos_estimados::int), array_agg(minimo::float8),
    array_agg(maximo::float8), array_agg(soma::float8 / nullif(amostras, 0)), array_agg(amostras::int),
    array_agg(ultimo::float8)
FROM (SELECT * FROM ({buckets}) every ORDER BY dispositivo_id, t) sorted
GROUP BY 1
"""
BY_STEP = "date_bin(%(step)s, t, %(start)s)"
# The edges of local days or months are computed in Python: computing them for each row takes ten times as
# long.
BY_CALENDAR = "(%(edges)s::timestamptz[])[width_bucket(t, %(edges)s::timestamptz[])]"
CALENDAR_STEPS = (DAY, MONTH)
# The time column of the table whose buckets are the chart's own.
OWN_COLUMNS = {BLOCK: BLOCKS.column, HOUR: HOURS.column, DAY: DAYS.column}


def series(
    conta: Conta, devices: Sequence[Dispositivo], window: Window, now: datetime | None = None
) -> list[Series]:
    """Return one series for each of ``devices`` of ``conta``, in their order.

    It takes at most three statements. Gauges come in their unit; registers and increments as a mean rate per
    hour of their unit (kWh gives kW). Rates come out of blocks, unless ``window`` is so short that it is cut
    into minutes: within 15 minutes a register of few digits would only show its last digit jump. ``now``
    decides which stored sums are complete.
    """
    readings_kept = window.step < BLOCK and _readings_kept(window)
    lines = [
        Series(d, window.step if readings_kept and _drawn_raw(d, window) else max(window.step, BLOCK))
        for d in devices
        if d.conta_id == conta.pk
    ]
    if raw := [s for s in lines if s.step < BLOCK]:
        raw_points.fill(conta, raw, window)
    if summed := [s for s in lines if s.step >= BLOCK]:
        _fill(conta, summed, window, now or timezone.now())
    return lines


def _readings_kept(window: Window) -> bool:
    """Return whether all readings of ``window`` are kept; retention leaves blocks."""
    frozen = ConsumoCongelado.objects.first()
    return frozen is None or window.start >= frozen.ate


def _drawn_raw(device: Dispositivo, window: Window) -> bool:
    """Return whether a device is drawn out of readings if the step is below a block."""
    return window.step <= MINUTE or device.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA


# --- out of sums ---


@dataclass(frozen=True, slots=True)
class Columns:
    """The buckets of a device by time, as lists of the same length.

    ``t`` is in seconds since 1970. ``measured``, ``interpolated`` and ``estimated`` count blocks.
    """

    t: list[int] = field(default_factory=list)
    consumption: list[float | None] = field(default_factory=list)
    readings: list[int] = field(default_factory=list)
    blocks: list[int] = field(default_factory=list)
    measured: list[float] = field(default_factory=list)
    interpolated: list[int] = field(default_factory=list)
    estimated: list[int] = field(default_factory=list)
    minimum: list[float | None] = field(default_factory=list)
    maximum: list[float | None] = field(default_factory=list)
    mean: list[float | None] = field(default_factory=list)
    samples: list[int | None] = field(default_factory=list)
    last: list[float | None] = field(default_factory=list)


def _fill(conta: Conta, wanted: Sequence[Series], window: Window, now: datetime) -> None:
    """Fill ``wanted``, all of one step, with points out of stored sums and blocks."""
    step = wanted[0].step
    devices = [s.device.pk for s in wanted]
    stored = _fitting(grids(now, (MONTHS, DAYS, DAY_PARTS, HOURS)), window, step)
    spans = cover(utc_period(window.start, window.end), stored, subtract=False)
    found = _read(conta, devices, window, step, spans, OWN_COLUMNS.get(step))
    if any(len(set(columns.t)) < len(columns.t) for columns in found.values()):
        # A device that changed gateways has two rows in a bucket.
        found = _read(conta, devices, window, step, spans, None)
    for line in wanted:
        columns = found.get(line.device.pk, Columns())
        interval_s = float(line.device.gateway.intervalo_esperado_s)
        line.points = _points(line.device.tipo_leitura, columns, interval_s)
        line.max_gap_s = _max_gap_s(columns.t, line.points, interval_s, step)


def _fitting(stored: Sequence[Grid], window: Window, step: timedelta) -> list[Grid]:
    """Return the grids whose buckets each lie within one bucket of the chart.

    The platform's days do not, where the Conta's begin at another hour.
    """
    if step not in CALENDAR_STEPS:
        return [g for g in stored if g.layer.width <= step and g.floor(window.start) == window.start]
    edges = _edges(window, step)[1:]
    return [g for g in stored if all(g.floor(edge) == edge for edge in edges)]


def _edges(window: Window, step: timedelta) -> list[datetime]:
    """Return where the local days or months of ``window`` begin, and the one after it."""
    first, last = window.start.astimezone(window.zone).date(), window.last_day()
    days = [first + n * DAY for n in range((last - first).days + 2)]
    if step != DAY:
        days = sorted({add_months(day, 0) for day in [*days, add_months(days[-1], 1)]})
    return [midnight(day, window.zone) for day in days]


def _read(
    conta: Conta,
    devices: list[int],
    window: Window,
    step: timedelta,
    spans: Sequence[Span],
    own_column: str | None,
) -> dict[int, Columns]:
    """Read the buckets of ``spans`` by device, in buckets of ``step``.

    Rows of the table whose time column is ``own_column`` are such buckets already; others are grouped.
    """
    calendar = step in CALENDAR_STEPS
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "devices": devices,
        "step": step,
        "start": block_start(window.start),
        "edges": _edges(window, step) if calendar else [],
    }
    ready: list[str] = []
    finer: list[str] = []
    for n, span in enumerate(spans):
        sql = span_sql(BUCKETS, span, n, parameters)
        (ready if span.layer.column == own_column else finer).append(sql)
    if finer:
        bucket = BY_CALENDAR if calendar else BY_STEP
        ready.append(GROUPED.format(bucket=bucket, buckets="UNION ALL".join(finer)))
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS.format(buckets="UNION ALL".join(ready)), parameters)
        return {pk: Columns(*columns) for pk, *columns in cursor.fetchall()}


# --- points ---


def _points(tipo_leitura: str, columns: Columns, interval_s: float) -> list[Point]:
    """Return the points of a device that should send every ``interval_s`` seconds."""
    if tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA:
        return _gauge_points(columns)
    if tipo_leitura == Dispositivo.TipoLeitura.INCREMENTAL:
        return _rate_points(columns, _covered_s(columns, interval_s))
    return _rate_points(columns, [_measured_s(*pair) for pair in _pairs(columns)])


def _pairs(columns: Columns) -> "zip[tuple[float, int]]":
    return zip(columns.measured, columns.blocks, strict=True)


def _gauge_points(c: Columns) -> list[Point]:
    rows = zip(c.t, c.mean, c.minimum, c.maximum, c.samples, c.last, strict=True)
    return [
        Point(_moment(t), mean, minimum, maximum, samples or 0, Quality.MEASURED, last)
        for t, mean, minimum, maximum, samples, last in rows
    ]


def _rate_points(c: Columns, measured_s: Sequence[float]) -> list[Point]:
    """Return mean rates per hour, over the seconds that were measured.

    If part of the consumption was spread over unmeasured time, the mean is that over all of the blocks.
    """
    rows = zip(c.t, c.consumption, c.readings, c.blocks, c.interpolated, c.estimated, measured_s, strict=True)
    points = []
    for t, consumption, readings, blocks, interpolated, estimated, seconds in rows:
        quality = _quality(blocks, interpolated, estimated)
        mean = _rate(consumption, seconds if quality is Quality.MEASURED else blocks * BLOCK_S)
        points.append(Point(_moment(t), mean, None, None, readings, quality))
    return points


def _moment(t: int) -> datetime:
    return datetime.fromtimestamp(t, UTC)


def _quality(blocks: int, interpolated: int, estimated: int) -> Quality:
    """Return the quality of a bucket of ``blocks``."""
    if estimated:
        return Quality.ESTIMATED
    return Quality.INTERPOLATED if interpolated > MARKED_FROM * blocks else Quality.MEASURED


def _rate(consumption: float | None, seconds: float) -> float | None:
    return consumption * 3600 / seconds if consumption is not None and seconds else None


def _measured_s(measured: float, blocks: int) -> float:
    """Return the measured part of ``blocks`` in seconds.

    Storing cuts the share to 0.0001. That is compensated by rounding to the whole second that is near,
    because meters' times mostly are whole seconds; if none is near, by half of the cut.
    """
    truncated = measured * BLOCK_S
    if measured == blocks:
        return truncated
    whole = round(truncated + TRUNCATION_S / 2)
    return whole if -0.001 <= whole - truncated <= TRUNCATION_S else truncated + TRUNCATION_S / 2


def _covered_s(c: Columns, interval_s: float) -> list[float]:
    """Return the seconds that the increments in each bucket cover.

    The first edition of the rules booked an increment whole into the block after its interval, so that there
    was no block without one. Where such increments are longer than a block, each covers its interval.
    """
    if interval_s > BLOCK_S and sum(c.blocks) <= sum(c.readings):
        return [readings * interval_s for readings in c.readings]
    return [_measured_s(*pair) for pair in _pairs(c)]


def _max_gap_s(t: Sequence[int], points: Sequence[Point], interval_s: float, step: timedelta) -> float:
    """Return how far apart neighbouring points may be and still be joined, in seconds.

    That is three intervals or two steps; for a device that sends less often than expected, three of its own
    intervals.
    """
    known = [moment for moment, point in zip(t, points, strict=True) if point.mean is not None]
    own_s = median(after - before for before, after in pairwise(known)) if len(known) > 1 else 0.0
    return max(3 * max(interval_s, own_s), 2 * step.total_seconds())
