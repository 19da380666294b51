"""Consumption of local days and months, and of the month so far beside the same stretch of the month before."""

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
from tds_new.queries.sums import BlockSum, QuantitySums, sum_periods

MONTHS = 13


@dataclass(frozen=True, slots=True)
class PeriodConsumption:
    """One quantity in one unit in ``period``: all of it (``block_sum``), what of it lies in blocks that are over (``closed``), and
    ``previous``: as much of the month before (``previous_period``) as ``closed`` is of this one.

    ``until``: the moment up to which there is data, the end of the last block included; within the block that is still filling, the
    newest reading. None where there is none.
    """

    grandeza: str
    unidade: str
    period: Period
    block_sum: BlockSum
    closed: BlockSum
    previous_period: Period
    previous: BlockSum
    until: datetime | None


@dataclass(frozen=True, slots=True)
class MonthConsumption:
    """A local month's consumption and the same month's a year before; a month still filling is ``partial``."""

    month: date
    block_sum: BlockSum
    year_before: Decimal | None
    partial: bool

    @property
    def total(self) -> Decimal | None:
        """None where nothing is known."""
        return self.block_sum.total


@dataclass(frozen=True, slots=True)
class MonthlyConsumption:
    """Thirteen months of one quantity in one unit, oldest first; the last one is the current month."""

    grandeza: str
    unidade: str
    months: list[MonthConsumption]


@dataclass(frozen=True, slots=True)
class DayConsumption:
    """A local day's consumption."""

    day: date
    block_sum: BlockSum


@dataclass(frozen=True, slots=True)
class DailyConsumption:
    """Consecutive local days of one quantity in one unit."""

    grandeza: str
    unidade: str
    days: list[DayConsumption]


def month_to_date(
    conta: Conta, devices: Sequence[Dispositivo] | None, now: datetime
) -> list[PeriodConsumption]:
    """The month so far by the Conta's calendar, of its ``devices`` or of everything measured for it (None)."""
    zone = conta.zone
    month = month_period(local_month(now, zone), zone)
    # Where the newest block that is over belongs to the month before, nothing of this month can be compared yet.
    cutoff = max(month.start, block_start(now))
    period, closed = Period(month.start, cutoff + BLOCK), Period(month.start, cutoff)
    previous = previous_month_to_date(cutoff, zone) if cutoff > month.start else _empty_period(month, zone)
    open_period = Period(cutoff, cutoff + BLOCK)
    found = []
    for sums in sum_periods(conta, devices, [closed, open_period, previous], now):
        closed_sum, filling_sum, before = sums.periods
        whole = BlockSum()
        whole.add(closed_sum)
        whole.add(filling_sum)
        whole.expected = closed_sum.expected  # what is still filling is not missing
        until = _until(sums.last_reading, period, now)
        found.append(
            PeriodConsumption(sums.grandeza, sums.unidade, period, whole, closed_sum, previous, before, until)
        )
    return found


def _empty_period(month: Period, zone: ZoneInfo) -> Period:
    start = month_period(add_months(local_month(month.start, zone), -1), zone).start
    return Period(start, start)


def _until(latest: datetime | None, period: Period, now: datetime) -> datetime | None:
    """The end of the block of the newest reading; the reading itself in the block that is still filling, and never later than now."""
    if latest is None or latest < period.start:
        return None
    end = block_start(latest) + BLOCK
    return min(latest, now).astimezone(UTC) if end >= period.end else end


def closed_months(conta: Conta, devices: Sequence[Dispositivo] | None, now: datetime) -> list[QuantitySums]:
    """The 24 months before the current one by the Conta's calendar, oldest first: thirteen months less one, and as many a year before."""
    months = _months_before(local_month(now, conta.zone))
    return sum_periods(conta, devices, [month_period(month, conta.zone) for month in months], now)


def _months_before(this_month: date) -> list[date]:
    return months_until(add_months(this_month, -1), 2 * (MONTHS - 1))


def monthly_consumption(
    conta: Conta,
    devices: Sequence[Dispositivo] | None,
    now: datetime,
    current: Sequence[PeriodConsumption] | None = None,
    closed: Sequence[QuantitySums] | None = None,
) -> list[MonthlyConsumption]:
    """Thirteen months by the Conta's calendar, the current one so far, each with the same month a year before.

    Of ``devices`` where given; otherwise of all that was measured for the Conta, with devices that have since left it.
    What is known already is not asked for again: ``current`` of :func:`month_to_date`, ``closed`` of :func:`closed_months`.
    """
    this_month = local_month(now, conta.zone)
    current = month_to_date(conta, devices, now) if current is None else current
    closed = closed_months(conta, devices, now) if closed is None else closed
    sums = {
        (s.grandeza, s.unidade): dict(zip(_months_before(this_month), s.periods, strict=True)) for s in closed
    }
    for c in current:
        sums.setdefault((c.grandeza, c.unidade), {})[this_month] = c.block_sum
    order = list(Dispositivo.Grandeza.values)
    found = []
    for grandeza, unidade in sorted(sums, key=lambda key: (order.index(key[0]), key[1])):
        of_quantity = sums[grandeza, unidade]
        months = [
            MonthConsumption(
                month,
                of_quantity.get(month, BlockSum()),
                of_quantity.get(add_months(month, -12), BlockSum()).total,
                month == this_month,
            )
            for month in months_until(this_month, MONTHS)
        ]
        if any(m.total is not None for m in months):
            found.append(MonthlyConsumption(grandeza, unidade, months))
    return found


def daily_consumption(
    conta: Conta, devices: Sequence[Dispositivo] | None, first_day: date, last_day: date, now: datetime
) -> list[DailyConsumption]:
    """Every day from ``first_day`` to ``last_day`` (both included) by the Conta's calendar; days of 23 and 25 hours are whole."""
    days = [first_day + n * DAY for n in range((last_day - first_day).days + 1)]
    sums = sum_periods(conta, devices, [days_period(day, day, conta.zone) for day in days], now)
    return [
        DailyConsumption(
            s.grandeza,
            s.unidade,
            [DayConsumption(day, block_sum) for day, block_sum in zip(days, s.periods, strict=True)],
        )
        for s in sums
    ]
