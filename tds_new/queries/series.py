"""Devices as lines of a chart: raw readings, blocks, hours, days or months, by the length of the window and the points asked for."""

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
from tds_new.queries.layers import BLOCKS, DAY_PARTS, DAYS, HOUR, HOURS, MONTHS, Grid, Span, cover, grids
from tds_new.queries.local_calendar import BLOCK, DAY, Period, add_months, block_start, midnight
from tds_new.queries.points import Point, Quality, Series
from tds_new.queries.window import MONTH, Window

MINUTE = timedelta(minutes=1)
BLOCK_S = BLOCK.total_seconds()
TRUNCATION_S = 0.0001 * BLOCK_S
MEASURED, INTERPOLATED, ESTIMATED = Quality
# A point is marked as interpolated from this share of its blocks on; in a day a single one would mark nothing that can be seen.
MARKED_FROM = 0.05

SPAN_ROWS = """
SELECT dispositivo_id, {coluna} AS t, {somas} FROM {fonte}
WHERE conta_id = %(conta)s AND dispositivo_id = ANY(%(dispositivos)s) AND {trecho}
"""
# What is finer than the chart's step, as one bucket.
GROUPED = """
SELECT dispositivo_id, {balde} AS t, sum(consumo) AS consumo, sum(leituras) AS leituras, sum(blocos) AS blocos,
    sum(blocos_medidos) AS blocos_medidos, sum(blocos_interpolados) AS blocos_interpolados, sum(blocos_estimados) AS blocos_estimados,
    max(pico) AS pico, min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    ((max(ARRAY[extract(epoch FROM t), ultimo]) FILTER (WHERE ultimo IS NOT NULL))[2]) AS ultimo
FROM ({partes}) p
GROUP BY 1, 2
"""
# A row a device: thousands of points are read several times as fast as columns. (date_part, because extract works out a numeric.)
COLUMNS = """
SELECT dispositivo_id, array_agg(date_part('epoch', t)::int8), array_agg(consumo::float8), array_agg(leituras::int), array_agg(blocos::int),
    array_agg(blocos_medidos::float8), array_agg(blocos_interpolados::int), array_agg(blocos_estimados::int), array_agg(minimo::float8),
    array_agg(maximo::float8), array_agg(soma::float8 / nullif(amostras, 0)), array_agg(amostras::int), array_agg(ultimo::float8)
FROM (SELECT * FROM ({partes}) u ORDER BY dispositivo_id, t) p
GROUP BY 1
"""
BY_STEP = "date_bin(%(passo)s, t, %(inicio)s)"
CALENDAR_STEPS = (DAY, MONTH)
# The table whose buckets are the chart's own.
NATIVE_COLUMNS = {BLOCK: BLOCKS.column, HOUR: HOURS.column, DAY: DAYS.column}
# Local midnights or months, whose moments are known: working out each row's own takes ten times as long.
BY_CALENDAR = "(%(bordas)s::timestamptz[])[width_bucket(t, %(bordas)s::timestamptz[])]"


def series(
    conta: Conta, devices: Sequence[Dispositivo], window: Window, now: datetime | None = None
) -> list[Series]:
    """One series per device of ``devices`` that belongs to ``conta``, in their order; at most three statements.

    Gauges in their unit; registers and increments as a mean rate per hour of their unit (kWh gives kW), out of blocks unless the window
    is so short that it is cut into minutes: within 15 minutes a register of few digits would only show its last one jump.
    """
    readings_kept = window.step < BLOCK and _readings_kept(window)
    found = [
        Series(d, window.step if readings_kept and _drawn_raw(d, window) else max(window.step, BLOCK))
        for d in devices
        if d.conta_id == conta.pk
    ]
    if raw := [s for s in found if s.step < BLOCK]:
        raw_points.fill(conta, raw, window)
    if summed := [s for s in found if s.step >= BLOCK]:
        _fill(conta, summed, window, now or timezone.now())
    return found


def _readings_kept(window: Window) -> bool:
    """Whether the window's readings are all kept: retention leaves blocks alone."""
    frozen = ConsumoCongelado.objects.first()
    return frozen is None or window.start >= frozen.ate


def _drawn_raw(device: Dispositivo, window: Window) -> bool:
    """Whether the device's readings are drawn one by one where the window's step is finer than a block."""
    return window.step <= MINUTE or device.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA


@dataclass(frozen=True, slots=True)
class Columns:
    """A device's buckets by time: seconds since 1970, sums and gauges, each a list of the same length."""

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


def _fill(conta: Conta, series: Sequence[Series], window: Window, now: datetime) -> None:
    step = series[0].step
    devices = [s.device.pk for s in series]
    all_grids = grids(now, (MONTHS, DAYS, DAY_PARTS, HOURS))
    spans = cover(
        Period(window.start.astimezone(UTC), window.end.astimezone(UTC)),
        _fitting(all_grids, window, step),
        subtract=False,
    )
    columns_of = _read(conta, devices, window, step, spans, native_column=NATIVE_COLUMNS.get(step))
    if any(len(set(columns.t)) < len(columns.t) for columns in columns_of.values()):
        columns_of = _read(
            conta, devices, window, step, spans, native_column=None
        )  # a device that changed gateways has two rows in a bucket
    for line in series:
        columns = columns_of.get(line.device.pk, Columns())
        interval_s = float(line.device.gateway.intervalo_esperado_s)
        line.points = _points(line.device.tipo_leitura, columns, interval_s, step)
        line.max_gap_s = _max_gap_s(columns.t, line.points, interval_s, step)


def _read(
    conta: Conta,
    devices: list[int],
    window: Window,
    step: timedelta,
    spans: Sequence[Span],
    native_column: str | None,
) -> dict[int, Columns]:
    """By device; rows of the table whose time column is ``native_column`` are points as they are, others are grouped."""
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "dispositivos": devices,
        "passo": step,
        "inicio": block_start(window.start),
        "bordas": _edges(window, step) if step in CALENDAR_STEPS else [],
    }
    ready: list[str] = []
    finer: list[str] = []
    for n, span in enumerate(spans):
        parameters |= {f"de{n}": span.start, f"ate{n}": span.end}
        layer = span.layer
        sql = SPAN_ROWS.format(
            fonte=layer.source,
            coluna=layer.column,
            somas=layer.columns,
            trecho=layer.condition(f"de{n}", f"ate{n}"),
        )
        (ready if layer.column == native_column else finer).append(sql)
    if finer:
        ready.append(
            GROUPED.format(
                balde=BY_CALENDAR if step in CALENDAR_STEPS else BY_STEP, partes="UNION ALL".join(finer)
            )
        )
    with connection.cursor() as cursor:
        cursor.execute(COLUMNS.format(partes="UNION ALL".join(ready)), parameters)
        return {pk: Columns(*columns) for pk, *columns in cursor.fetchall()}


def _fitting(all_grids: Sequence[Grid], window: Window, step: timedelta) -> list[Grid]:
    """The sums whose buckets lie each within one bucket of the chart: not the platform's days where the Conta's begin at another hour."""
    if step not in CALENDAR_STEPS:
        return [
            grid
            for grid in all_grids
            if grid.layer.width <= step and grid.floor(window.start) == window.start
        ]
    edges = _edges(window, step)[1:]
    return [grid for grid in all_grids if all(grid.floor(edge) == edge for edge in edges)]


def _edges(window: Window, step: timedelta) -> list[datetime]:
    """Where the local days or months begin that the window touches, and the one after it."""
    first, last = window.start.astimezone(window.zone).date(), window.last_day()
    days = [first + n * DAY for n in range((last - first).days + 2)]
    days = days if step == DAY else sorted({add_months(day, 0) for day in [*days, add_months(days[-1], 1)]})
    return [midnight(day, window.zone) for day in days]


def _seconds(measured: float) -> float:
    """Measured blocks in seconds. Shares are cut to 0.0001, which is 0.09 s: meters' times are whole seconds mostly, else the middle."""
    truncated = measured * BLOCK_S
    whole = round(truncated + TRUNCATION_S / 2)
    return whole if -0.001 <= whole - truncated <= TRUNCATION_S else truncated + TRUNCATION_S / 2


def _points(tipo_leitura: str, c: Columns, interval_s: float, step: timedelta) -> list[Point]:
    starts = [datetime.fromtimestamp(t, UTC) for t in c.t]
    if tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA:
        gauges = zip(starts, c.mean, c.minimum, c.maximum, c.samples, c.last, strict=True)
        return [
            Point(start, mean, minimum, maximum, n or 0, MEASURED, last)
            for start, mean, minimum, maximum, n, last in gauges
        ]
    qualities = [
        ESTIMATED if estimated else INTERPOLATED if interpolated > MARKED_FROM * blocks else MEASURED
        for estimated, interpolated, blocks in zip(c.estimated, c.interpolated, c.blocks, strict=True)
    ]
    incremental = tipo_leitura == Dispositivo.TipoLeitura.INCREMENTAL
    full = [m * BLOCK_S if m == b else _seconds(m) for m, b in zip(c.measured, c.blocks, strict=True)]
    measured = _covered(c, interval_s, step) if incremental else full
    rows = zip(starts, c.consumption, c.readings, c.blocks, measured, qualities, strict=True)
    return [
        Point(
            start,
            _rate(consumption, seconds if quality is MEASURED else blocks * BLOCK_S),
            None,
            None,
            readings,
            quality,
        )
        for start, consumption, readings, blocks, seconds, quality in rows
    ]


def _rate(consumption: float | None, seconds: float) -> float | None:
    """Per hour, over the time that was measured; all of it where part of the consumption was spread over what was not."""
    return consumption * 3600 / seconds if consumption is not None and seconds else None


def _covered(c: Columns, interval_s: float, step: timedelta) -> list[float]:
    """The seconds that the increments in each bucket stand for.

    All of its blocks, but where it begins or ends a run and is not measured in full: then as long as so many increments take in the
    bucket beside it, else as expected. An increment of a device that sends more seldom than every block stands for its interval.
    """
    if interval_s > BLOCK_S:
        return [readings * interval_s for readings in c.readings]
    wholes = [blocks * BLOCK_S for blocks in c.blocks]
    reach = step.total_seconds() + (3600 if step >= DAY else 0)
    seconds = []
    for n, whole in enumerate(wholes):
        neighbours = [
            v
            for v in (n - 1, n + 1)
            if 0 <= v < len(wholes) and abs(c.t[v] - c.t[n]) <= reach and c.readings[v]
        ]
        if len(neighbours) == 2 or c.measured[n] >= c.blocks[n]:
            seconds.append(whole)
        else:
            rhythm = wholes[neighbours[0]] / c.readings[neighbours[0]] if neighbours else interval_s
            seconds.append(min(whole, c.readings[n] * rhythm))
    return seconds


def _max_gap_s(moments: Sequence[int], points: Sequence[Point], interval_s: float, step: timedelta) -> float:
    """Three intervals or two steps; for a device that sends more seldom than expected, three of its own."""
    with_value = [t for t, point in zip(moments, points, strict=True) if point.mean is not None]
    own = median(after - before for before, after in pairwise(with_value)) if len(with_value) > 1 else 0.0
    return max(3 * max(interval_s, own), 2 * step.total_seconds())
