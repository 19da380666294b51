"""The window of time that a page shows, cut into buckets by the Conta's calendar."""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from zoneinfo import ZoneInfo

from tds_new.queries.local_calendar import DAY

MONTH = timedelta(days=31)  # the longest month: as a step it means local months
LONGEST_WINDOW = timedelta(days=397)
MAX_POINTS = 800

# The longest window of each step. 26 h and 32 d leave room for days of 25 hours; no chart gets more than 800
# points.
STEPS = (
    (timedelta(hours=6), timedelta(minutes=1)),
    (timedelta(hours=26), timedelta(minutes=5)),
    (timedelta(days=8), timedelta(minutes=15)),
    (timedelta(days=32), timedelta(hours=1)),
    (MAX_POINTS * DAY, DAY),
)

# Distances between marks on the axis, smallest first; from a day on, marks stand at local midnights.
MARK_DISTANCES = tuple(timedelta(hours=h) for h in (1, 3, 6)) + tuple(
    timedelta(days=d) for d in (1, 2, 4, 7, 14, 31, 62)
)
MAX_MARKS = 8


def step_for(duration: timedelta, points: int = MAX_POINTS) -> timedelta:
    """Return the step for a window of ``duration`` where there is room for ``points``."""
    return next((step for limit, step in STEPS if duration <= limit and duration <= points * step), MONTH)


@dataclass(frozen=True, slots=True)
class Window:
    """``[start, end)`` in aware datetimes, in buckets of ``step``.

    A ``step`` of a day means local days, a ``step`` of ``MONTH`` local months.
    """

    start: datetime
    end: datetime
    step: timedelta
    zone: ZoneInfo

    @classmethod
    def last(cls, duration: timedelta, now: datetime, zone: ZoneInfo, points: int = MAX_POINTS) -> "Window":
        """Return the last ``duration`` up to the end of the bucket that ``now`` falls in.

        ``zone`` is the Conta's, ``points`` how many the chart has room for.
        """
        step = step_for(duration, points)
        local = now.astimezone(zone)
        midnight = datetime.combine(local.date(), time(), zone)
        elapsed_s = now.timestamp() - midnight.timestamp()
        grid_s = min(step, DAY).total_seconds()
        end = midnight.timestamp() + (elapsed_s // grid_s + 1) * grid_s
        return cls(
            datetime.fromtimestamp(end - duration.total_seconds(), zone),
            datetime.fromtimestamp(end, zone),
            step,
            zone,
        )

    @classmethod
    def between(cls, first_day: date, last_day: date, zone: ZoneInfo, points: int = MAX_POINTS) -> "Window":
        """Return the days from ``first_day`` to ``last_day``, both included, in ``zone``.

        ``points`` is how many the chart has room for.
        """
        start = datetime.combine(first_day, time(), zone)
        end = datetime.combine(last_day + DAY, time(), zone)
        return cls(start, end, step_for(timedelta(seconds=end.timestamp() - start.timestamp()), points), zone)

    @property
    def daily(self) -> bool:
        """Return whether the buckets are local days or months."""
        return self.step >= DAY

    def last_day(self) -> date:
        """Return the last local day that the window touches."""
        return (self.end - timedelta(microseconds=1)).astimezone(self.zone).date()

    def marks(self) -> list[datetime]:
        """Return where the axis is labelled, at most eight moments.

        They are local hours that divide the day, or local midnights.
        """
        duration = timedelta(seconds=self.end.timestamp() - self.start.timestamp())
        distance = next((m for m in MARK_DISTANCES if duration / m <= MAX_MARKS), MARK_DISTANCES[-1])
        first = self.start.astimezone(self.zone).date()
        days = range(0, (self.last_day() - first).days + 1, max(distance.days, 1))
        hours = range(0, 24, int(distance.total_seconds() // 3600)) if distance < DAY else range(1)
        candidates = [
            datetime.combine(first + day * DAY, time(hour), self.zone) for day in days for hour in hours
        ]
        return [m for m in candidates if self.start.timestamp() <= m.timestamp() < self.end.timestamp()]
