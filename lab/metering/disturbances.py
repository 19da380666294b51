"""What goes wrong with a register in a month, and with its readings on their way.

Values are whole 0.0001 kWh or m3. An event happens at the reading of number ``at``; some go on for ``run``
readings.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from lab.metering.profiles import UNIT
from tds_new.metering.times import DAY_US

WRAPPED = 42_949_672_960_000  # 2**32 kWh: a negative number read without its sign
TENTHS = 4_294_967_295_000  # the same in tenths
SHORT = 655_350_000  # 65,535 kWh: the same of 16 bits


@dataclass(slots=True)
class Disturbed:
    """A register with its events so far.

    ``used`` is the true consumption since the month began, ``values`` what the register holds, both by the
    reading's number; ``shown`` are readings that show something else. ``allowed`` is consumption that no
    reading shows, so that no rule can be blamed for it. ``strays`` are readings of a clock that is some days
    back: (number, days).
    """

    random: Random
    step: int
    resolution: int
    used: list[int]
    values: list[int]
    shown: dict[int, int] = field(default_factory=dict)
    missing: set[int] = field(default_factory=set)
    late: set[int] = field(default_factory=set)
    doubled: set[int] = field(default_factory=set)
    strays: list[tuple[int, int]] = field(default_factory=list)
    changes: list[tuple[int, int, int]] = field(default_factory=list)
    capacity: int | None = None
    allowed: int = 0

    def move(self, after: int, by: int) -> None:
        """Let the register go on from another value after the reading ``after``."""
        for number in range(after + 1, len(self.values)):
            self.values[number] += by

    def used_next(self, at: int) -> int:
        """Return what is used from the reading ``at`` to the next one."""
        return self.used[at + 1] - self.used[at]


Event = Callable[[Disturbed, int, int], None]


def flicker(month: Disturbed, at: int, run: int) -> None:
    """The last digit flickers down, once or three times."""
    for number in range(at, at + month.random.choice([1, 1, 3])):
        dip = month.resolution * month.random.choice([1, 1, 2, 5])
        month.shown[number] = max(0, month.values[at - 1] - dip)


def one_zero(month: Disturbed, at: int, run: int) -> None:
    """A meter that starts sends 0 once."""
    month.shown[at] = 0


def zeros(month: Disturbed, at: int, run: int) -> None:
    """A meter that is not polled yet sends 0 for a while."""
    month.shown.update(dict.fromkeys(range(at, at + run), 0))


def low_climb(month: Disturbed, at: int, run: int) -> None:
    """A meter counts from 0 for up to six readings until it has loaded its total."""
    length, climbs = month.random.randint(1, 6), month.random.choice([0, 1, 1])
    for number in range(at, at + length):
        month.shown[number] = climbs * (month.used[number] - month.used[at])


def garbage_once(month: Disturbed, at: int, run: int) -> None:
    """One reading is garbage."""
    value = month.values[at]
    month.shown[at] = month.random.choice(
        [WRAPPED, TENTHS, value * month.random.randint(2, 10_000), -value, SHORT]
    )


def garbage_run(month: Disturbed, at: int, run: int) -> None:
    """Up to twelve readings are garbage, which may rise as the register does."""
    garbage = month.random.choice([WRAPPED, month.values[at] * month.random.randint(3, 500) + 65_535 * UNIT])
    for number in range(at, at + min(run, 12)):
        month.shown[number] = garbage + month.random.choice([0, 1]) * (month.used[number] - month.used[at])


def spike(month: Disturbed, at: int, run: int) -> None:
    """One reading is 10 to 900 kWh too high: within the default maximum of an hour."""
    month.shown[at] = month.values[at] + int(month.random.uniform(10, 900) * UNIT)


def reboot(month: Disturbed, at: int, run: int) -> None:
    """The register begins again at 0."""
    month.move(at, -month.values[at])


def reboot_in_outage(month: Disturbed, at: int, run: int) -> None:
    """The register begins again at 0, and nothing comes for a while."""
    month.missing |= set(range(at + 1, at + run))
    reboot(month, at, run)


def saved_total(month: Disturbed, at: int, run: int) -> None:
    """The register goes back to a total that it saved some readings before."""
    before = max(0, at - month.random.choice([1, 2, 4, 20, 96]))
    month.move(at, month.values[before] - month.values[at])


def rollover(month: Disturbed, at: int, run: int) -> None:
    """The register wraps to 0; where it wraps is known in half of the months."""
    capacity = month.values[at] + max(1, (month.values[at + 1] - month.values[at]) // 2)
    if month.random.random() < 0.5 and month.capacity is None:
        month.capacity = capacity
    else:
        month.allowed += capacity - month.values[at]
    wrapped = next((n for n in range(at, len(month.values)) if month.values[n] >= capacity), None)
    if wrapped is not None:
        month.move(wrapped - 1, -capacity)


def change_to_higher(month: Disturbed, at: int, run: int) -> None:
    """Another meter with a higher register is put in, and nobody records it."""
    factor, more = month.random.choice([2, 3]), month.random.choice([500, 5000, 50_000])
    _change(month, at, month.values[at] * factor + more * UNIT)


def change_to_lower(month: Disturbed, at: int, run: int) -> None:
    """Another meter with a lower register is put in, and nobody records it."""
    few, share = month.random.randint(1, 30) * UNIT, month.random.uniform(0.2, 0.9)
    _change(month, at, month.random.choice([0, few, int(month.values[at] * share)]))


def _change(month: Disturbed, at: int, initial: int) -> None:
    month.allowed += month.used_next(at)
    month.move(at, initial - month.values[at])


def recorded_change(month: Disturbed, at: int, run: int) -> None:
    """Another meter is put in between two readings, and somebody records it."""
    old, half = month.values[at], month.used_next(at) // 2
    share = month.random.uniform(0.2, 3)
    new = month.random.choice([0, 17 * UNIT + 3, int(old * share)])
    month.changes.append((at * month.step + month.step // 2, old + half, new + half))
    month.move(at, new - old)


def low_run(month: Disturbed, at: int, run: int) -> None:
    """The register is 1 to 30 % too low for a while."""
    by = int(month.values[at] * month.random.uniform(0.01, 0.3))
    for number in range(at, at + run):
        month.shown[number] = month.values[number] - by


def gap(month: Disturbed, at: int, run: int) -> None:
    """Readings are lost."""
    month.missing |= set(range(at, at + run))


def late(month: Disturbed, at: int, run: int) -> None:
    """Readings come after all others."""
    month.late |= set(range(at, at + run))


def doubled(month: Disturbed, at: int, run: int) -> None:
    """Readings come twice."""
    month.doubled |= set(range(at, at + run))


def clock(month: Disturbed, at: int, run: int) -> None:
    """The clock is up to 20 days back for one to four readings."""
    days = month.random.randint(1, max(1, min(20, at * month.step // DAY_US)))
    for number in range(at, at + month.random.randint(1, 4)):
        month.strays.append((number, days))
        month.missing.add(number)


def first_zero(month: Disturbed, at: int, run: int) -> None:
    """The month's first reading is 0."""
    month.shown[0] = 0


def first_garbage(month: Disturbed, at: int, run: int) -> None:
    """The month's first reading is garbage."""
    month.shown[0] = month.random.choice([WRAPPED, month.values[0] * 7, month.values[0] + 100 * UNIT])


EVENTS: dict[str, Event] = {
    "flicker": flicker,
    "one zero": one_zero,
    "zeros": zeros,
    "low climb": low_climb,
    "garbage once": garbage_once,
    "garbage run": garbage_run,
    "spike": spike,
    "reboot": reboot,
    "reboot in an outage": reboot_in_outage,
    "saved total": saved_total,
    "rollover": rollover,
    "unrecorded change to higher": change_to_higher,
    "unrecorded change to lower": change_to_lower,
    "recorded change": recorded_change,
    "low run": low_run,
    "gap": gap,
    "late": late,
    "doubled": doubled,
    "clock": clock,
    "first zero": first_zero,
    "first garbage": first_garbage,
}
DRAWN = [*EVENTS, "one zero", "zeros"]  # these two are the most frequent
# A counter of the day begins again each midnight: these would mean nothing more.
NOT_OF_THE_DAY = (
    *("rollover", "unrecorded change to higher", "unrecorded change to lower", "recorded change"),
    *("saved total", "reboot", "reboot in an outage"),
)
DAILY = "counter of the day"
# Nobody but a person knows what was used here: a question is right also where the figure happens to be exact.
PEOPLE_KNOW = frozenset(
    {
        "unrecorded change to higher",
        "unrecorded change to lower",
        "first zero",
        "first garbage",
        "saved total",
    }
)
