"""Months of simulated devices: what was really used, and which readings arrive."""

from dataclasses import dataclass
from itertools import accumulate
from random import Random

from lab.metering.disturbances import DAILY, DRAWN, EVENTS, NOT_OF_THE_DAY, Disturbed
from lab.metering.profiles import Consumer, consumption
from tds_new.metering.times import DAY_US, HOUR_US

MINUTE_US = HOUR_US // 60
DAYS = 30
START_US = 1_790_000_000_000_000 // DAY_US * DAY_US
EDGE_DAYS = 2  # events happen at least so far from the month's ends
LONGEST_RUN = 80  # readings
LARGEST_CUT = 10**12  # a greater value is garbage, which no display cuts

Readings = list[tuple[int, int]]  # time in microseconds since 1970, value in whole 0.0001


@dataclass(frozen=True, slots=True)
class DeviceMonth:
    """A device's readings and the truth; amounts in whole 0.0001 kWh or m3.

    ``readings`` are in order of time, ``received`` as they arrive. A figure is exact within ``slack`` of
    ``truth``: registers show only some digits, and some consumption is in no reading. ``changes`` are meter
    changes that somebody recorded (time, final, initial); ``capacity`` is where the register is known to
    wrap.
    """

    consumer: Consumer
    step: int
    readings: Readings
    received: Readings
    truth: int
    slack: int
    events: tuple[str, ...]
    changes: tuple[tuple[int, int, int], ...]
    capacity: int | None


def make_month(seed: int, number: int) -> DeviceMonth:
    """Return the device-month of that number; a seed gives the same months each time."""
    random = Random(f"{seed}:{number}")
    consumer = random.choice([Consumer.HOME, *Consumer])
    step = random.choice([5, 15, 15, 15, 60]) * MINUTE_US
    count = DAYS * DAY_US // step
    used = [0, *accumulate(consumption(random, consumer, count, step))]
    resolution = 10 if consumer is Consumer.WATER else random.choice([1, 10, 10, 1000])
    offset = int(10 ** (4 + random.uniform(0, 5.2)))
    daily = random.random() < 0.06
    values = _of_the_day(used, step) if daily else [offset + amount for amount in used]
    month = Disturbed(random, step, resolution, used, values)
    events = _disturb(month, daily)
    if daily:
        events += (DAILY,)
        _leave_out_midnights(month)
    return _finish(month, consumer, events)


def _of_the_day(used: list[int], step: int) -> list[int]:
    """Return a register that begins again from 0 each midnight."""
    each = DAY_US // step
    return [amount - used[number - number % each] for number, amount in enumerate(used)]


def _disturb(month: Disturbed, daily: bool) -> tuple[str, ...]:
    """Let up to three events happen, in order of time. Returns their names."""
    random, count = month.random, len(month.values) - 1
    edge = EDGE_DAYS * DAY_US // month.step
    names = [random.choice(DRAWN) for _ in range(random.choice([0, 1, 1, 2, 3]))]
    places = sorted(random.sample(range(edge, count - edge), len(names)))
    names = [name for name in names if not (daily and name in NOT_OF_THE_DAY)]
    for name, at in zip(names, places, strict=False):
        run = min(int(10 ** random.uniform(0.3, 1.9)), LONGEST_RUN)
        EVENTS[name](month, at, run if at + run <= count - edge else 2)
    return tuple(names)


def _leave_out_midnights(month: Disturbed) -> None:
    """Allow for what is used from a day's last reading to midnight.

    No reading shows it.
    """
    month.missing.add(len(month.values) - 1)
    each = DAY_US // month.step
    last = len(month.values) - 1
    month.allowed += sum(month.used[at] - month.used[at - 1] for at in range(each, last, each))


def _arrivals(month: Disturbed) -> Readings:
    """Return the readings as they arrive; those of a wrong clock when they were taken."""
    step, end = month.step, START_US + len(month.values) * month.step
    found: list[tuple[int, int, int]] = []  # when it arrives, its time, its value
    for number, value in enumerate(month.values):
        time = START_US + number * step
        if number not in month.missing:
            shown = _cut(month.shown.get(number, value), month.resolution)
            found.append((end if number in month.late else time, time, shown))
            if number in month.doubled:
                found.append((end, time, shown))
    for number, days in month.strays:
        time = START_US + number * step
        found.append((time, time - days * DAY_US + step // 3, _cut(month.values[number], month.resolution)))
    return [(time, value) for _, time, value in sorted(found)]


def _finish(month: Disturbed, consumer: Consumer, events: tuple[str, ...]) -> DeviceMonth:
    daily = DAILY in events
    if 0 in month.shown:
        month.allowed += month.used[1]  # no two readings lie around the first interval
    received = _arrivals(month)
    digits = 2 + 2 * len(events) + (2 * (DAYS + 1) if daily else 0)
    return DeviceMonth(
        consumer=consumer,
        step=month.step,
        readings=sorted(dict(reversed(received)).items()),
        received=received,
        truth=month.used[-2 if daily else -1],
        slack=month.allowed + month.resolution * digits,
        events=events,
        changes=tuple((START_US + time, final, initial) for time, final, initial in month.changes),
        capacity=month.capacity,
    )


def _cut(value: int, resolution: int) -> int:
    """Return what a display with that last digit shows."""
    return value if abs(value) > LARGEST_CUT else value - value % resolution
