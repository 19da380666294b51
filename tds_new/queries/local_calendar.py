"""Days and months of a zone, and the month to date one month earlier."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
BLOCK = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Period:
    """``[start, end)``: aware datetimes in UTC, both on the edge of a block."""

    start: datetime
    end: datetime

    @property
    def blocks(self) -> int:
        """Return how many blocks it holds; 0 if it ends before it begins."""
        return max(0, (self.end - self.start) // BLOCK)


def utc_period(start: datetime, end: datetime) -> Period:
    """Return ``[start, end)`` as a period, whatever zones the moments come in."""
    return Period(start.astimezone(UTC), end.astimezone(UTC))


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """Return the moment at which ``day`` begins in ``zone``, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def block_start(moment: datetime) -> datetime:
    """Return the start of the 15-minute block that holds ``moment``, in UTC."""
    return datetime.fromtimestamp(moment.timestamp() // 900 * 900, UTC)


def months_until(month: date, count: int) -> list[date]:
    """Return the first days of ``count`` months, the last of them ``month``."""
    return [add_months(month, -back) for back in reversed(range(count))]


def add_months(month: date, count: int) -> date:
    """Return the first day of the month ``count`` months after that of ``month``.

    A negative ``count`` goes back.
    """
    index = month.year * 12 + month.month - 1 + count
    return date(index // 12, index % 12 + 1, 1)


def local_month(moment: datetime, zone: ZoneInfo) -> date:
    """Return the first day of the month that ``moment`` falls in, in ``zone``."""
    return moment.astimezone(zone).date().replace(day=1)


def month_period(month: date, zone: ZoneInfo) -> Period:
    """Return the whole month of ``month`` in ``zone``."""
    return Period(midnight(month, zone), midnight(add_months(month, 1), zone))


def days_period(first_day: date, last_day: date, zone: ZoneInfo) -> Period:
    """Return the days from ``first_day`` to ``last_day``, both included, in ``zone``."""
    return Period(midnight(first_day, zone), midnight(last_day + DAY, zone))


def previous_month_to_date(end: datetime, zone: ZoneInfo) -> Period:
    """Return the month before that of ``end``, up to the same day and time.

    If that month is shorter, it is all of it: 1 to 18 February until 12:45 gives 1 to 18 January until 12:45,
    and 1 to 30 March gives 1 to 28 February. ``end`` is exclusive.
    """
    last = (end - timedelta(microseconds=1)).astimezone(zone)
    previous = add_months(last.date(), -1)
    whole = month_period(previous, zone)
    local = end.astimezone(zone)
    days_passed = (local.date() - last.date().replace(day=1)).days
    same_moment = datetime.combine(previous + timedelta(days=days_passed), local.time(), zone).astimezone(UTC)
    return Period(whole.start, min(same_moment, whole.end))
