"""The values of a simulated device at any moment.

They are pure functions of its identity and the time.

A register is a function of time alone, so it never goes backwards, whatever is stopped and started in
between. Values are counted in thousandths of the unit, so that differences add up exactly. Random variation
comes from a hash, so that the same device measures the same everywhere.
"""

import hashlib
import math
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import accumulate, pairwise
from zoneinfo import ZoneInfo

FIRST_DAY = date(2025, 1, 1)  # registers start here; before it they stand still

# Shares of a day's consumption by hour, in parts of whatever they sum up to.
# fmt: off
ENERGY = (3, 3, 3, 3, 3, 4, 5, 7, 9, 10, 10, 10, 9, 10, 11, 11, 11, 10, 9, 8, 7, 6, 4, 3)  # offices
WATER = (1, 1, 1, 1, 1, 3, 10, 14, 11, 6, 5, 6, 8, 6, 4, 4, 5, 7, 11, 13, 9, 6, 3, 2)  # taps
GAS = (0, 0, 0, 0, 0, 1, 4, 6, 5, 5, 9, 15, 14, 6, 3, 3, 4, 6, 9, 7, 3, 0, 0, 0)  # the kitchen
SUN = (0, 0, 0, 0, 0, 0, 2, 5, 9, 12, 14, 15, 15, 14, 11, 8, 4, 1, 0, 0, 0, 0, 0, 0)  # what panels feed in
# fmt: on


@dataclass(frozen=True, slots=True)
class Consumption:
    """A meter's consumption over a day and a week.

    ``per_day`` is its mean consumption of a working day in units, ``weekend`` the share of it at weekends,
    ``hours`` the shape of a day.
    """

    per_day: float
    weekend: float
    hours: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Part:
    """A sub-meter's consumption: a share of that of the main meter in front of it.

    ``main`` and ``main_seed`` are the main meter's curve and identity. The share of each hour lies between
    ``least`` and ``most``. Where the ``most`` of all sub-meters of a main meter add up to less than 1, they
    never measure more than it does, at any moment.
    """

    main_seed: str
    main: Consumption
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Gauge:
    """A value that swings once a day around ``mean`` by ``swing``.

    It is highest at the hour ``peak``, with ``noise`` on top.
    """

    mean: float
    swing: float
    noise: float
    peak: int = 15


def chance(*key: object) -> float:
    """Return a number in [0, 1) that depends on ``key`` alone."""
    digest = hashlib.blake2b("/".join(map(str, key)).encode("utf-8"), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2**64


@lru_cache(maxsize=4096)
def _day(seed: str, curve: Consumption | Part, day: date) -> tuple[int, ...]:
    """Return the thousandths consumed by the end of each hour of a day.

    These are 24 numbers that never fall.
    """
    amounts = _hours_of_part(seed, curve, day) if isinstance(curve, Part) else _hours(seed, curve, day)
    return tuple(int(total) for total in accumulate(amounts))


def _hours(seed: str, curve: Consumption, day: date) -> list[float]:
    """Return the thousandths consumed in each hour of a day."""
    level = curve.per_day * (curve.weekend if day.weekday() >= 5 else 1) * (0.85 + 0.3 * chance(seed, day))
    season = 1 + 0.15 * math.cos((day.timetuple().tm_yday - 15) / 365 * 2 * math.pi)  # the southern summer
    shares = [share * (0.7 + 0.6 * chance(seed, day, hour)) for hour, share in enumerate(curve.hours)]
    scale = level * season * 1000 / sum(curve.hours)
    return [share * scale for share in shares]


def _hours_of_part(seed: str, part: Part, day: date) -> list[float]:
    """Return the thousandths that a sub-meter measures in each hour of a day."""
    totals = _day(part.main_seed, part.main, day)
    return [
        (end - start) * (part.least + (part.most - part.least) * chance(seed, day, hour))
        for hour, (start, end) in enumerate(pairwise((0, *totals)))
    ]


@lru_cache(maxsize=65_536)
def _before(seed: str, curve: Consumption | Part, day: date) -> int:
    """Return the thousandths on the register at the start of a day.

    Adds up from the start of the month before, so that recursion stays shallow.
    """
    if day <= FIRST_DAY:
        return int(chance(seed, "start") * 50_000) * 1000
    first = day.replace(day=1)
    start = first if first < day else (day - timedelta(days=1)).replace(day=1)
    start = max(start, FIRST_DAY)
    days = (start + timedelta(days=n) for n in range((day - start).days))
    return _before(seed, curve, start) + sum(_day(seed, curve, each)[-1] for each in days)


def register(seed: str, curve: Consumption | Part, moment: datetime, zone: ZoneInfo) -> int:
    """Return the thousandths on a cumulative register at ``moment``.

    The day is that of the calendar of ``zone``.

    It never falls as time goes on.
    """
    day = moment.astimezone(zone).date()
    midnight, following = (
        datetime.combine(each, time(), zone).astimezone(UTC) for each in (day, day + timedelta(days=1))
    )
    position = 24 * (moment - midnight) / (following - midnight)  # of 23 or 25 hours too
    hour = min(int(position), 23)
    totals = _day(seed, curve, day) if day >= FIRST_DAY else (0,) * 24
    start = totals[hour - 1] if hour else 0
    return _before(seed, curve, day) + start + int((totals[hour] - start) * (position - hour))


def gauge(seed: str, curve: Gauge, moment: datetime, zone: ZoneInfo) -> int:
    """Return the thousandths of an instantaneous value at ``moment``.

    They may be negative.
    """
    local = moment.astimezone(zone)
    hour = local.hour + local.minute / 60 + local.second / 3600
    swing = (
        curve.swing
        * math.cos((hour - curve.peak) / 24 * 2 * math.pi)
        * (0.7 + 0.6 * chance(seed, local.date()))
    )
    noise = curve.noise * (2 * chance(seed, int(moment.timestamp()) // 60) - 1)
    return round((curve.mean + swing + noise) * 1000)
