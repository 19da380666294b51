"""What is known of a device's meter over time: parameters, meter changes and people's decisions. Pure.

Times are microseconds since 1970 (UTC); register values and parameters whole numbers of 0.0001; factors whole numbers of 0.000001.
"""

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

HOUR_US = 3_600_000_000


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters in force from some moment on. ``modulus`` and ``hourly_maximum`` may be unknown."""

    modulus: int | None = None
    hourly_maximum: int | None = None
    dip_tolerance: int = 0
    factor: int = 1_000_000


@dataclass(frozen=True, slots=True)
class MeterChange:
    """A new meter at ``time``: the old one ended at ``final``, the new one began at ``initial``."""

    time: int
    final: int
    initial: int


@dataclass(slots=True)
class Meter:
    """A device's meter. ``dated`` holds parameters by the moment from which they are in force, ascending."""

    expected_interval: int = 300_000_000
    base: Parameters = field(default_factory=Parameters)
    dated: list[tuple[int, Parameters]] = field(default_factory=list)
    changes: list[MeterChange] = field(default_factory=list)
    approved: set[int] = field(default_factory=set)
    discarded: set[int] = field(default_factory=set)

    def parameters_at(self, time: int) -> Parameters:
        """The parameters in force at ``time``."""
        number = bisect_right(self.dated, time, key=lambda dated: dated[0])
        return self.dated[number - 1][1] if number else self.base

    def parts(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """``start`` to ``end`` cut where the factor changes: (start, end, factor) each."""
        found = [(start, self.parameters_at(start).factor)]
        found += [(time, p.factor) for time, p in self.dated if start < time < end]
        changing = [found[0], *(b for a, b in itertools.pairwise(found) if a[1] != b[1])]
        ends = [time for time, _ in changing[1:]] + [end]
        return [(begin, finish, factor) for (begin, factor), finish in zip(changing, ends, strict=True)]

    def changes_between(self, after: int, until: int) -> Sequence[MeterChange]:
        """The meter changes in ``after`` < time <= ``until``."""
        first = bisect_right(self.changes, after, key=lambda change: change.time)
        last = bisect_right(self.changes, until, key=lambda change: change.time)
        return self.changes[first:last]
