"""Local calendars: days and months of a zone, and the same stretch of the month before."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

DAY = timedelta(days=1)
BLOCK = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Period:
    """``[start, end)``, aware datetimes in UTC, both at the edge of a block."""

    start: datetime
    end: datetime

    @property
    def blocks(self) -> int:
        """How many blocks it holds; none where it ends before it begins."""
        return max(0, (self.end - self.start) // BLOCK)


def midnight(day: date, zone: ZoneInfo) -> datetime:
    """The moment at which ``day`` begins by the calendar of ``zone``, in UTC."""
    return datetime.combine(day, time(), zone).astimezone(UTC)


def block_start(moment: datetime) -> datetime:
    """The start of the 15-minute block that ``moment`` falls in, in UTC."""
    return datetime.fromtimestamp(moment.timestamp() // 900 * 900, UTC)


def months_until(month: date, count: int) -> list[date]:
    """The first days of ``count`` months, the last of them ``month``."""
    return [add_months(month, -back) for back in reversed(range(count))]


def add_months(month: date, count: int) -> date:
    """The first day of the month ``count`` after that of ``month``; before it where negative."""
    index = month.year * 12 + month.month - 1 + count
    return date(index // 12, index % 12 + 1, 1)


def local_month(moment: datetime, zone: ZoneInfo) -> date:
    """The first day of the month that ``moment`` falls in by the calendar of ``zone``."""
    return moment.astimezone(zone).date().replace(day=1)


def month_period(month: date, zone: ZoneInfo) -> Period:
    """The whole month of ``month`` by the calendar of ``zone``."""
    return Period(midnight(month, zone), midnight(add_months(month, 1), zone))


def days_period(first_day: date, last_day: date, zone: ZoneInfo) -> Period:
    """From the first moment of ``first_day`` to the last of ``last_day``, by the calendar of ``zone``."""
    return Period(midnight(first_day, zone), midnight(last_day + DAY, zone))


def previous_month_to_date(end: datetime, zone: ZoneInfo) -> Period:
    """The month before that of ``end`` (exclusive), up to the same day and time of day; where it is shorter, the whole of it.

    1 to 18 February until 12:45 gives 1 to 18 January until 12:45; 1 to 30 March gives 1 to 28 February.
    """
    last = (end - timedelta(microseconds=1)).astimezone(zone)
    previous = add_months(last.date(), -1)
    whole = month_period(previous, zone)
    local = end.astimezone(zone)
    days_passed = (local.date() - last.date().replace(day=1)).days
    cutoff = datetime.combine(previous + timedelta(days=days_passed), local.time(), zone).astimezone(UTC)
    return Period(whole.start, min(cutoff, whole.end))
