"""What consumers of four kinds use in a month, in whole 0.0001 kWh or m3."""

from enum import StrEnum
from random import Random

from tds_new.metering.times import DAY_US, HOUR_US

UNIT = 10_000  # 1 kWh or 1 m3
LITRE = UNIT // 1000
DRAWN_LITRES = (10, 20, 50, 120)  # litres that are drawn at once
SATURDAY, SUNDAY = 5, 6


class Consumer(StrEnum):
    """Whose meter it is."""

    HOME = "home"
    SHOP = "shop"
    FACTORY = "factory"
    WATER = "water"


def consumption(random: Random, consumer: Consumer, intervals: int, step: int) -> list[int]:
    """Return what ``consumer`` uses in each of so many intervals.

    ``step`` is an interval's length in microseconds. The first one begins at midnight of a Monday.
    """
    if consumer is Consumer.WATER:
        return [_water(random, number * step, step) for number in range(intervals)]
    size = {
        Consumer.HOME: 0.35,
        Consumer.SHOP: 3.0,
        Consumer.FACTORY: random.choice([60, 150, 400]),
    }[consumer]
    usual = size * UNIT * random.uniform(0.5, 2) * step / HOUR_US
    level, found = 1.0, []
    for number in range(intervals):
        level += (1 - level) * 0.1 + random.gauss(0, 0.12)
        shape = _SHAPES[consumer](number * step)
        found.append(int(usual * shape * max(0.0, level) * random.uniform(0.7, 1.3)))
    return found


def _hour(time: int) -> float:
    return time % DAY_US / HOUR_US


def _weekday(time: int) -> int:
    return time // DAY_US % 7


def _home(time: int) -> float:
    hour = _hour(time)
    if 18 <= hour < 22:
        return 2.6
    return 1.3 if 7 <= hour < 9 else 0.6


def _shop(time: int) -> float:
    return 1.6 if 8 <= _hour(time) < 19 and _weekday(time) != SUNDAY else 0.15


def _factory(time: int) -> float:
    return 1.3 if 6 <= _hour(time) < 22 and _weekday(time) < SATURDAY else 0.08


def _water(random: Random, time: int, step: int) -> int:
    """Return the water of one interval: mostly nothing."""
    hours = step / HOUR_US
    likely = (0.25 if 6 <= _hour(time) < 23 else 0.02) * min(1, hours * 4)
    drawn = random.choice(DRAWN_LITRES) * LITRE * max(1, int(hours))
    return drawn if random.random() < likely else 0


_SHAPES = {Consumer.HOME: _home, Consumer.SHOP: _shop, Consumer.FACTORY: _factory}
