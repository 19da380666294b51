"""A device's meter: its parameters, meter changes and decisions.

Times are microseconds since 1970 (UTC); register values and parameters whole numbers of 0.0001; factors whole
numbers of 0.000001.
"""

import itertools
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field

from tds_new.metering.times import HOUR_US


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters in force from some moment on.

    ``capacity`` and ``hourly_maximum`` may be unknown (None).

    ``capacity`` is the register's: where it returns to zero. ``dip_tolerance`` is the greatest fall that
    counts as noise.
    """

    capacity: int | None = None
    hourly_maximum: int | None = None
    dip_tolerance: int = 0
    factor: int = 1_000_000

    def limit(self, elapsed: int) -> int | None:
        """Return the most that is plausibly counted in ``elapsed`` microseconds.

        A register may show an hour's consumption at once, so it is never less than that of an hour. None if
        it is unknown. Cut to whole 0.0001: an amount is above the limit exactly where it is above the uncut
        one.
        """
        if self.hourly_maximum is None:
            return None
        return self.hourly_maximum if elapsed <= HOUR_US else self.hourly_maximum * elapsed // HOUR_US


@dataclass(frozen=True, slots=True)
class MeterChange:
    """A new meter at ``time``: the old one's last value, the new one's first."""

    time: int
    final: int
    initial: int


@dataclass(slots=True)
class Meter:
    """A device's meter, and what people have decided on its readings.

    ``expected_interval``: microseconds from one reading to the next.

    ``base`` holds until the first of ``dated``, which are parameters by the moment from which they are in
    force, ascending. ``changes`` ascend too. ``stamp_is_start`` says that an increment's time is the start of
    its interval, not the end.

    Decisions are by the reading's time. ``decided``: APROVADA, REINICIO or RETORNO. ``looked``: VISTA.
    ``discarded``: as never stored; whoever loads the readings leaves them out. ``corrected``: the value that
    stands for the received one; whoever loads the readings puts it in. ``attributed``: the id of the Conta
    that the segment between two chains counts for, by the time of the later chain's first reading.
    """

    expected_interval: int = 300_000_000
    base: Parameters = field(default_factory=Parameters)
    dated: list[tuple[int, Parameters]] = field(default_factory=list)
    changes: list[MeterChange] = field(default_factory=list)
    decided: dict[int, str] = field(default_factory=dict)
    looked: set[int] = field(default_factory=set)
    discarded: set[int] = field(default_factory=set)
    corrected: dict[int, int] = field(default_factory=dict)
    attributed: dict[int, int] = field(default_factory=dict)
    stamp_is_start: bool = False

    def decide(self, time: int, decision: str, value: int | None = None, conta_id: int | None = None) -> None:
        """Take a person's decision on the reading at ``time``.

        ``decision``: as stored; ``value``: the one to use instead of the received one, whole 0.0001;
        ``conta_id``: the Conta that the segment between two chains counts for.
        """
        if value is not None:
            self.corrected[time] = value
        if decision == "DESCARTADA":
            self.discarded.add(time)
        elif decision == "VISTA":
            self.looked.add(time)
        elif decision == "ATRIBUIDA":
            if conta_id is not None:
                self.attributed[time] = conta_id
        elif decision:
            self.decided[time] = decision

    def parameters_at(self, time: int) -> Parameters:
        """Return the parameters in force at ``time``."""
        number = bisect_right(self.dated, time, key=lambda dated: dated[0])
        return self.dated[number - 1][1] if number else self.base

    def parts(self, start: int, end: int) -> list[tuple[int, int, int]]:
        """Return (start, end, factor) for each part of a time with a factor of its own."""
        found = [(start, self.parameters_at(start).factor)]
        found += [(time, p.factor) for time, p in self.dated if start < time < end]
        changing = [found[0], *(b for a, b in itertools.pairwise(found) if a[1] != b[1])]
        ends = [time for time, _ in changing[1:]] + [end]
        return [(begin, finish, factor) for (begin, factor), finish in zip(changing, ends, strict=True)]

    def changes_between(self, after: int, until: int) -> Sequence[MeterChange]:
        """Return the meter changes in ``after`` < time <= ``until``."""
        first = bisect_right(self.changes, after, key=lambda change: change.time)
        last = bisect_right(self.changes, until, key=lambda change: change.time)
        return self.changes[first:last]


def counted_by_each(base: int, changes: Sequence[MeterChange], value: int) -> list[int]:
    """Return what each meter counted, in order.

    The first meter began at ``base``, the last one shows ``value``, and ``changes`` are in between. A part
    may be slightly negative, because people enter final values without decimals.
    """
    starts = [base, *(change.initial for change in changes)]
    ends = [*(change.final for change in changes), value]
    return [end - start for start, end in zip(starts, ends, strict=True)]
