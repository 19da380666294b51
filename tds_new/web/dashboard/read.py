"""Read everything that one dashboard shows; nothing is put into words here.

These are all the queries of a dashboard, except for the counters that tell whether it changed (``web.etag``).
"""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from hashlib import sha256
from typing import NamedTuple, TypeVar

from django.db import DatabaseError
from django.http import QueryDict

from tds_new.models import Conta, Dispositivo
from tds_new.queries import fleet
from tds_new.queries.consumption import (
    MonthlyConsumption,
    PeriodConsumption,
    closed_months,
    month_to_date,
    monthly_consumption,
    this_month,
)
from tds_new.queries.demand import Peak, greatest_peak
from tds_new.queries.finality import Finality, finality
from tds_new.queries.latest import Reading, latest_readings
from tds_new.queries.layers import one_look
from tds_new.queries.local_calendar import Period, block_start, local_month, month_period
from tds_new.queries.meters import MeterRow, consumption_by_meter, in_structure
from tds_new.queries.points import Series
from tds_new.queries.series import series
from tds_new.queries.sums import measure_of, measure_order
from tds_new.web import filters
from tds_new.web.dashboard.cache import remember
from tds_new.web.dashboard.scope import Scope, is_gauge

logger = logging.getLogger(__name__)
T = TypeVar("T")

MAX_METERS = 40


class Block(StrEnum):
    """A block of the dashboard that can fail by itself; the values are the payload's."""

    CONSUMPTION = "bars"
    METERS = "meters"
    DEMAND = "demand"
    CHARTS = "charts"
    READINGS = "readings"


class Consumed(NamedTuple):
    """The month to date, thirteen months, and how final their figures are."""

    month: list[PeriodConsumption]
    months: list[MonthlyConsumption]
    finality: Finality


class Metered(NamedTuple):
    """The first meters, with what each consumed in ``period``; ``total`` counts all."""

    period: Period
    rows: list[MeterRow]
    total: int


class DevicePeak(NamedTuple):
    """The month's greatest demand, and of which device it is."""

    device: Dispositivo
    peak: Peak


@dataclass(frozen=True)
class Facts:
    """The facts that were read for one dashboard.

    ``month`` is the consumption of the month to date, ``months`` that of thirteen months, ``finality`` how
    final they are, ``meters`` what each meter consumed this month, ``peak`` the month's greatest demand
    (None: not determined), ``charts`` the series to draw by unit, ``readings`` the newest readings. A block
    that could not be read is in ``failed``, and its fact is empty.
    """

    scope: Scope
    month: list[PeriodConsumption]
    months: list[MonthlyConsumption]
    finality: Finality
    meters: Metered
    peak: DevicePeak | None
    charts: dict[str, list[Series]]
    readings: list[Reading]
    failed: frozenset[Block]


def read(conta: Conta, query: QueryDict, sequences: fleet.Sequences, now: datetime) -> Facts:
    """Read the dashboard of ``conta`` at ``now`` that ``query`` asks for.

    ``sequences`` are the Conta's counters. A block whose statements fail leaves the others whole.
    """
    scope = read_scope(conta, query, sequences, now)
    with one_look():
        return _read(scope)


def _read(scope: Scope) -> Facts:
    failed: set[Block] = set()

    def attempt(block: Block, ask: Callable[[Scope], T], empty: T) -> T:
        try:
            return ask(scope)
        except DatabaseError:
            logger.exception("dashboard block %s failed", block)
            failed.add(block)
            return empty

    consumed = attempt(Block.CONSUMPTION, _consumption, Consumed([], [], Finality({}, 0)))
    meters = Metered(this_month(scope.conta, scope.now), [], 0)
    peak: DevicePeak | None = None
    charts: dict[str, list[Series]] = {}
    if not scope.never_measured:
        meters = attempt(Block.METERS, _meters, meters)
        peak = attempt(Block.DEMAND, _peak, None)
        charts = attempt(Block.CHARTS, _charts, charts)
    readings: list[Reading] = attempt(Block.READINGS, _readings, [])
    return Facts(scope, *consumed, meters, peak, charts, readings, frozenset(failed))


def read_scope(conta: Conta, query: QueryDict, sequences: fleet.Sequences, now: datetime) -> Scope:
    """Read the Conta's fleet, and understand ``query`` by it."""
    gateways = fleet.active_gateways(conta)
    devices = fleet.active_devices(conta, gateways)
    scope = Scope(conta, filters.parse(query, conta, devices, now), now, sequences, devices, gateways)
    _ = scope.counted  # may have to look up a main meter that is not among the active devices
    return scope


def _consumption(scope: Scope) -> Consumed:
    """Read the month to date and thirteen months; those that are over may be cached."""
    conta, now = scope.conta, scope.now
    devices = scope.counted if scope.filter.selected else None
    made_of = [(d.pk, d.papel, d.atras, d.grandeza, d.unidade_consumo) for d in devices or scope.all_devices]
    key = f"{conta.pk}:{conta.timezone}:{local_month(now, conta.zone)}:{devices is None}:{made_of}"
    closed = remember(
        f"months:{sha256(key.encode()).hexdigest()}", lambda: closed_months(conta, devices, now)
    )
    month = month_to_date(conta, devices, now)
    months = monthly_consumption(conta, devices, now, month, closed)
    return Consumed(month, months, finality(conta, scope.filter.selected or None))


def _meters(scope: Scope) -> Metered:
    return read_meters(scope, this_month(scope.conta, scope.now), MAX_METERS)


def read_meters(scope: Scope, period: Period, limit: int | None = None) -> Metered:
    """Read what the first ``limit`` meters, or all, consumed in ``period``.

    Those with sub-meters come first.
    """
    meters = [device for device in scope.devices if not is_gauge(device)]
    mains = {device.medidor_pai_id for device in meters if device.atras}
    rows = in_structure(sorted(meters, key=lambda d: (measure_order(measure_of(d)), d.pk not in mains)))
    shown = consumption_by_meter(scope.conta, rows[:limit], period, scope.now)
    return Metered(period, shown, len(rows))


def _peak(scope: Scope) -> DevicePeak | None:
    """Read the month's greatest demand of one meter, out of blocks that are over."""
    conta, now = scope.conta, scope.now
    month = month_period(local_month(now, conta.zone), conta.zone)
    end = max(month.start, block_start(now))
    found = greatest_peak(conta, scope.demand_meters, month.start, end, now)
    return DevicePeak(*found) if found else None


def _charts(scope: Scope) -> dict[str, list[Series]]:
    """Read the series of all line charts at once, and return them by unit."""
    groups = scope.charted
    devices = [device for group in groups.values() for device in group]
    found = {s.device.pk: s for s in series(scope.conta, devices, scope.filter.window, scope.now)}
    return {unit: [found[d.pk] for d in group if d.pk in found] for unit, group in groups.items()}


def _readings(scope: Scope) -> list[Reading]:
    return latest_readings(scope.conta, scope.devices, scope.filter.window, scope.now)
