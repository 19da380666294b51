"""What is stored of a device's readings, and where a computation may resume.

A computation may resume at a reading whose register state is known: one that was kept, the first of its
chain, or one that follows from the stored occurrences. The latter is so where nothing waited, no jump is
remembered any more, and the readings believed last are known. Times are microseconds since 1970, register
values whole numbers of 0.0001.
"""

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tds_new.metering.rules.blocks import REGISTERS, Chain
from tds_new.metering.rules.meter import Meter
from tds_new.metering.rules.segments import FOLLOWERS, LINE, MEMORY_US, Occurrence, SegmentClass, State
from tds_new.metering.times import BEGINNING, END


class Point(NamedTuple):
    """A reading to resume at, its place among the chains, and the state there.

    The state of a chain that is not a register's is the reading alone.
    """

    time: int
    chain: int
    place: int
    state: State


@dataclass(slots=True)
class Record:
    """A device's stored readings with what was found of them.

    ``whole``: whether ``chains`` begin with the first reading of all that is used; else earlier ones exist.
    ``states`` are those that were kept, by the reading's time; ``origin``: before it there may be readings
    that are not used.
    """

    chains: Sequence[Chain]
    occurrences: dict[int, Occurrence]
    states: dict[int, State]
    meter: Meter
    whole: bool
    origin: int = BEGINNING
    _spans: list[tuple[int, int]] = field(init=False)
    _jumps: list[int] = field(init=False)
    _withdrawals: list[int] = field(init=False)

    def __post_init__(self) -> None:
        """Note over which times later readings decided, and where jumps are."""
        self._spans = [
            (o.base_time, END if o.settled is None else o.settled)
            for o in self.occurrences.values()
            if o.rule != "I"
        ]
        self._withdrawals = [
            o.settled
            for o in self.occurrences.values()
            if o.kind is SegmentClass.SUSPEITA and o.settled is not None and o.rule != "2"
        ]
        self._jumps = sorted(o.time for o in self.occurrences.values() if _is_jump(o))

    @property
    def first(self) -> int | None:
        """The time of the first reading."""
        return self.chains[0].times[0] if self.chains else None

    def begins_at(self, time: int) -> bool:
        """Return whether the device's first reading of all is at ``time``."""
        return self.whole and self.origin == BEGINNING and self.first == time

    def is_confirmed(self, time: int) -> bool:
        """Return whether no later reading decided anything before ``time``."""
        return not any(base < time < settled for base, settled in self._spans)

    def last_before(self, time: int, *, skip: int = 0, border: int = END) -> Point | None:
        """Return the last point to resume at before ``time``; None if it is not known.

        ``skip`` so many of them. All that counts from ``border`` on follows from the readings after it.
        """
        if not self.chains or not (self.whole or self._counts_up_to(self.chains[0].times[0]) <= border):
            return None
        for number in range(self._oldest_counting(border), -1, -1):
            times = self.chains[number].times
            for index in range(bisect_left(times, time) - 1, -1, -1):
                point = self.point(number, index)
                if point is not None:
                    if not skip:
                        return point
                    skip -= 1
        return None

    def counts_on(self, time: int, border: int) -> bool:
        """Return whether a chain that ended by ``time`` counts after ``border``.

        The newest chain has not ended.
        """
        number = self._oldest_counting(border)
        return number + 1 < len(self.chains) and self.chains[number].times[-1] <= time

    def _oldest_counting(self, border: int) -> int:
        """Return the number of the first chain that counts from ``border`` on."""
        for number, chain in enumerate(self.chains[:-1]):
            if chain.kind == "INCREMENTAL" and self._counts_up_to(chain.times[-1]) > border:
                return number
        return len(self.chains) - 1

    def _counts_up_to(self, last: int) -> int:
        """Return where the interval of a chain's last increment ends.

        With the stamp of its start it counts for one expected interval, whatever follows in another chain.
        """
        return last + (self.meter.expected_interval if self.meter.stamp_is_start else 0)

    def point(self, number: int, index: int, after: int = BEGINNING) -> Point | None:
        """Return a reading of a chain as a point to resume at; None if it is none.

        It must follow from readings later than ``after`` alone.
        """
        chain = self.chains[number]
        time = chain.times[index]
        if chain.kind not in REGISTERS:
            return Point(time, number, index, State(((time, chain.values[index]),), ()))
        if not self.is_confirmed(time) or self._may_be_taken_up_again(chain.times, index):
            return None
        state = self.states.get(time) or self._derived(number, index, after)
        return None if state is None else Point(time, number, index, state)

    def _may_be_taken_up_again(self, times: Sequence[int], index: int) -> bool:
        """Return whether later readings may have decided what is before ``index``.

        What is said to be decided by a reading may have been so when that one was judged by its followers.
        """
        before = times[index - FOLLOWERS] if index >= FOLLOWERS else BEGINNING
        return any(before < settled <= times[index] for settled in self._withdrawals)

    def _derived(self, number: int, index: int, after: int) -> State | None:
        """Return the state at a reading as it follows from those before it, if it does."""
        chain = self.chains[number]
        time = chain.times[index]
        own = self.occurrences.get(time)
        if own is not None and own.kind is SegmentClass.SUSPEITA:
            return None
        line: list[tuple[int, int]] = []
        forgotten = chain.times[0] if self._starts_here(number, after) else BEGINNING
        complete = withdrawn = False
        while index >= 0 and not complete and len(line) < LINE:
            at = chain.times[index]
            if at <= after:
                return None
            occurrence = self.occurrences.get(at)
            if occurrence is not None and occurrence.kind is SegmentClass.SUSPEITA:
                withdrawn = withdrawn or occurrence.rule != "2"
            else:
                line.append((at, counted_value(chain.values[index], occurrence)))
                if self._forgets_jumps(at, occurrence):
                    forgotten = max(forgotten, at)
                    complete = True
                complete = complete or withdrawn or (occurrence is not None and _is_jump(occurrence))
            index -= 1
        if any(max(forgotten, time - MEMORY_US - 1) < jump <= time for jump in self._jumps):
            return None
        line.reverse()
        if complete or len(line) == LINE:
            return State(tuple(line), ())
        return self._from_start(number, line, after)

    def _from_start(self, number: int, line: list[tuple[int, int]], after: int) -> State | None:
        """Return the state where ``line`` reaches back to the first reading of the chain."""
        if not self._starts_here(number, after):
            return None
        kept = self.states.get(self.chains[number].times[0])
        if kept is None:
            return State(tuple(line), ())
        if any(line[-1][0] - jump.time <= MEMORY_US for jump in kept.jumps):
            return None
        return State((*kept.line[:-1], *line)[-LINE:], ())

    def _starts_here(self, number: int, after: int) -> bool:
        """Return whether the chain is known to begin here, and did so before.

        Readings up to ``after`` may be new, so a chain that begins beside them may have begun earlier.
        """
        if number == 0:
            return self.whole and after == BEGINNING
        return self.chains[number - 1].times[-1] > after

    def _forgets_jumps(self, time: int, occurrence: Occurrence | None) -> bool:
        """Return whether line and jumps before this reading were forgotten with it."""
        return time in self.meter.decided or (
            occurrence is not None and occurrence.kind is SegmentClass.TROCA
        )


def _is_jump(occurrence: Occurrence) -> bool:
    return occurrence.rule.startswith("6") and occurrence.kind is not SegmentClass.SUSPEITA


def counted_value(value: int, occurrence: Occurrence | None) -> int:
    """Return the value that a register goes on from: of a tolerated fall, its base's."""
    fell = occurrence is not None and occurrence.kind is SegmentClass.QUEDA
    return occurrence.base_value if occurrence is not None and fell else value
