"""Consumption of local days and months, and of the month to date."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from tds_new.models import Conta, Dispositivo
from tds_new.queries.local_calendar import (
    BLOCK,
    DAY,
    Period,
    add_months,
    block_start,
    days_period,
    local_month,
    month_period,
    months_until,
    previous_month_to_date,
)
from tds_new.queries.sums import BlockSum, Measure, MeasureSums, measure_order, sum_periods

MONTHS = 13


@dataclass(frozen=True, slots=True)
class PeriodConsumption:
    """The consumption, or injection, of one measure in ``period``.

    ``block_sum`` is all of it, ``closed`` the part in blocks that are over, ``previous`` the consumption of
    the month before up to the same point (``previous_period``). ``until`` is the moment up to which there is
    data, or None: the end of the last block with data, and within the block that is still filling the newest
    reading.
    """

    measure: Measure
    period: Period
    block_sum: BlockSum
    closed: BlockSum
    previous_period: Period
    previous: BlockSum
    until: datetime | None


@dataclass(frozen=True, slots=True)
class MonthConsumption:
    """The consumption of a local month, and that of the same month a year before.

    ``period`` is the whole month. A month that is still filling is ``partial``.
    """

    month: date
    period: Period
    block_sum: BlockSum
    year_before: Decimal | None
    partial: bool

    @property
    def total(self) -> Decimal | None:
        """Return the consumption; None if nothing is known."""
        return self.block_sum.total


@dataclass(frozen=True, slots=True)
class MonthlyConsumption:
    """Thirteen months of one measure, oldest first.

    The last one is the current month.
    """

    measure: Measure
    months: list[MonthConsumption]


@dataclass(frozen=True, slots=True)
class DayConsumption:
    """The consumption of a local day."""

    day: date
    block_sum: BlockSum


@dataclass(frozen=True, slots=True)
class DailyConsumption:
    """Consecutive local days of one measure."""

    measure: Measure
    days: list[DayConsumption]


def this_month(conta: Conta, now: datetime) -> Period:
    """Return the Conta's month to date, with the block that is still filling."""
    start = month_period(local_month(now, conta.zone), conta.zone).start
    return Period(start, max(start, block_start(now)) + BLOCK)


def month_to_date(
    conta: Conta, devices: Sequence[Dispositivo] | None, now: datetime
) -> list[PeriodConsumption]:
    """Return the consumption of the month to date by the Conta's calendar.

    It is that of ``devices``, or with None all that was measured for the Conta.
    """
    zone = conta.zone
    period = this_month(conta, now)
    cutoff = period.end - BLOCK
    closed, filling = Period(period.start, cutoff), Period(cutoff, period.end)
    previous = _comparable(month_period(local_month(now, zone), zone), cutoff, zone)
    consumption = []
    for sums in sum_periods(conta, devices, [closed, filling, previous], now):
        closed_sum, filling_sum, previous_sum = sums.periods
        whole = BlockSum()
        whole.add(closed_sum)
        whole.add(filling_sum)
        whole.expected = closed_sum.expected  # the block that is still filling is not missing
        whole.devices = max(closed_sum.devices, filling_sum.devices)
        until = _until(sums.last_reading, period, now)
        consumption.append(
            PeriodConsumption(sums.measure, period, whole, closed_sum, previous, previous_sum, until)
        )
    return consumption


def _comparable(month: Period, cutoff: datetime, zone: ZoneInfo) -> Period:
    """Return the previous month up to the point that ``cutoff`` is of ``month``.

    It is empty while no block of this month is over.
    """
    if cutoff > month.start:
        return previous_month_to_date(cutoff, zone)
    start = month_period(add_months(local_month(month.start, zone), -1), zone).start
    return Period(start, start)


def _until(latest: datetime | None, period: Period, now: datetime) -> datetime | None:
    """Return up to when there is data in ``period``, never later than ``now``.

    It is the end of the block of the newest reading, or the reading itself in the block that is still
    filling.
    """
    if latest is None or latest < period.start:
        return None
    end = block_start(latest) + BLOCK
    return min(latest, now).astimezone(UTC) if end >= period.end else end


def closed_months(conta: Conta, devices: Sequence[Dispositivo] | None, now: datetime) -> list[MeasureSums]:
    """Return the sums of the 24 months before the current one, oldest first.

    These are the months that :func:`monthly_consumption` shows, and those a year before them.
    """
    months = _months_before(local_month(now, conta.zone))
    return sum_periods(conta, devices, [month_period(month, conta.zone) for month in months], now)


def _months_before(this_month: date) -> list[date]:
    return months_until(add_months(this_month, -1), 2 * (MONTHS - 1))


def monthly_consumption(
    conta: Conta,
    devices: Sequence[Dispositivo] | None,
    now: datetime,
    current: Sequence[PeriodConsumption] | None = None,
    closed: Sequence[MeasureSums] | None = None,
) -> list[MonthlyConsumption]:
    """Return thirteen months by the Conta's calendar, each with the year before.

    They are those of ``devices``, or with None all that was measured for the Conta, devices that have left it
    included. Figures that are known already at ``now`` are passed in and not read again: ``current`` of
    :func:`month_to_date`, ``closed`` of :func:`closed_months`. A measure without a known month is left out.
    """
    this_month = local_month(now, conta.zone)
    current = month_to_date(conta, devices, now) if current is None else current
    closed = closed_months(conta, devices, now) if closed is None else closed
    sums: dict[Measure, dict[date, BlockSum]] = {
        s.measure: dict(zip(_months_before(this_month), s.periods, strict=True)) for s in closed
    }
    for consumption in current:
        sums.setdefault(consumption.measure, {})[this_month] = consumption.block_sum
    found = [
        MonthlyConsumption(measure, _year(sums[measure], this_month, conta.zone))
        for measure in sorted(sums, key=measure_order)
    ]
    return [monthly for monthly in found if any(m.total is not None for m in monthly.months)]


def _year(sums: dict[date, BlockSum], this_month: date, zone: ZoneInfo) -> list[MonthConsumption]:
    """Return the thirteen months up to ``this_month``, in ``zone``, out of ``sums``."""
    return [
        MonthConsumption(
            month,
            month_period(month, zone),
            sums.get(month, BlockSum()),
            sums.get(add_months(month, -12), BlockSum()).total,
            month == this_month,
        )
        for month in months_until(this_month, MONTHS)
    ]


def daily_consumption(
    conta: Conta, devices: Sequence[Dispositivo] | None, first_day: date, last_day: date, now: datetime
) -> list[DailyConsumption]:
    """Return every day from ``first_day`` to ``last_day``, both included.

    Days are those of the Conta's calendar, also where they have 23 or 25 hours. They are those of
    ``devices``, or with None all that was measured for the Conta; ``now`` decides which stored sums are
    complete.
    """
    days = [first_day + n * DAY for n in range((last_day - first_day).days + 1)]
    sums = sum_periods(conta, devices, [days_period(day, day, conta.zone) for day in days], now)
    return [
        DailyConsumption(s.measure, [DayConsumption(*pair) for pair in zip(days, s.periods, strict=True)])
        for s in sums
    ]
