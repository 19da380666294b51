"""The rules of the first edition for cumulative registers, frozen as they were.

Nothing here is developed further: it is what the second edition is compared to. Times are microseconds since
1970 (UTC); register values and parameters whole numbers of 0.0001.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

HOUR_US = 3_600_000_000
FOLLOWERS = 3  # readings that must follow one that was not accepted before it becomes the new base


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


@dataclass(frozen=True, slots=True)
class MeterChange:
    """A new meter at ``time``: the old one's last value, the new one's first."""

    time: int
    final: int
    initial: int


@dataclass(slots=True)
class Meter:
    """A device's meter.

    ``base`` holds until the first of ``dated``, which are parameters by the moment from which they are in
    force, ascending. ``changes`` ascend too. ``approved`` are the times of readings that people approved.
    """

    base: Parameters = field(default_factory=Parameters)
    dated: list[tuple[int, Parameters]] = field(default_factory=list)
    changes: list[MeterChange] = field(default_factory=list)
    approved: set[int] = field(default_factory=set)

    def parameters_at(self, time: int) -> Parameters:
        """Return the parameters in force at ``time``."""
        number = bisect_right(self.dated, time, key=lambda dated: dated[0])
        return self.dated[number - 1][1] if number else self.base

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


class SegmentClass(StrEnum):
    """The relation of a reading to its base, the reading it is measured from."""

    NORMAL = "NORMAL"
    TROCA = "TROCA"
    QUEDA = "QUEDA"
    VIRADA = "VIRADA"
    REINICIO = "REINICIO"
    SUSPEITA = "SUSPEITA"
    IMPLAUSIVEL = "IMPLAUSIVEL"


class Segment(NamedTuple):
    """Consumption ``amount`` (register units) between two accepted readings."""

    start: int
    end: int
    amount: int
    kind: SegmentClass


class Occurrence(NamedTuple):
    """A reading whose class is not NORMAL.

    ``settled`` is the time of the reading that decided it, None while it waits.
    """

    time: int
    value: int
    kind: SegmentClass
    base_time: int
    base_value: int
    amount: int | None
    settled: int | None


@dataclass(slots=True)
class Register:
    """Judges a chain of register readings, given to :meth:`feed` in order of time.

    ``settled`` has the times at which a reading became the base while none waited: later results depend on no
    earlier reading.
    """

    meter: Meter
    base: tuple[int, int] | None = None
    segments: list[Segment] = field(default_factory=list)
    occurrences: list[Occurrence] = field(default_factory=list)
    settled: list[int] = field(default_factory=list)
    _waiting: list[tuple[int, int]] = field(default_factory=list)

    def feed(self, time: int, value: int) -> None:
        """Take the next reading of the chain."""
        if self.base is None:
            self.base = (time, value)
            self.settled.append(time)
            return
        found = self.classify(self.base, time, value)
        if found is None:
            self._wait(time, value)
            return
        kind, amount = found
        if self._waiting:
            self._reject_waiting(time)
        base_time, base_value = self.base
        if kind is not SegmentClass.NORMAL:
            counted = None if kind is SegmentClass.QUEDA else amount
            self.occurrences.append(Occurrence(time, value, kind, base_time, base_value, counted, time))
        if kind is SegmentClass.QUEDA:
            return
        self.segments.append(Segment(base_time, time, amount, kind))
        self.base = (time, value)
        self.settled.append(time)

    def end_chain(self, time: int | None) -> None:
        """End the chain: another begins at ``time``, or there are no more readings (None).

        Waiting readings become outliers: finally, or provisionally at the end of all readings.
        """
        if self._waiting:
            self._reject_waiting(time)
        self.base = None

    def classify(self, base: tuple[int, int], time: int, value: int) -> tuple[SegmentClass, int] | None:
        """Return class and amount of a reading, measured from ``base`` (time, value).

        None if it is not accepted: it waits for others to follow it (rule 6).
        """
        meter = self.meter
        start, register = base
        parameters = meter.parameters_at(time) if meter.dated else meter.base
        approved = time in meter.approved
        maximum = (
            None
            if approved or parameters.hourly_maximum is None
            else parameters.hourly_maximum * (time - start)
        )
        changes = meter.changes_between(start, time) if meter.changes else ()
        difference = value - register
        if changes:
            amount = sum(counted_by_each(register, changes, value))
            accepted = amount >= 0 and (maximum is None or amount * HOUR_US <= maximum)
            return (SegmentClass.TROCA, amount) if accepted else None
        if difference >= 0:
            return (
                (SegmentClass.NORMAL, difference)
                if maximum is None or difference * HOUR_US <= maximum
                else None
            )
        if -difference <= parameters.dip_tolerance:
            return SegmentClass.QUEDA, 0
        capacity = parameters.capacity
        if capacity is not None and (amount := capacity + difference) >= 0:
            plausible = 10 * register >= 9 * capacity if maximum is None else amount * HOUR_US <= maximum
            if plausible:
                return SegmentClass.VIRADA, amount
        if value >= 0 and (maximum is None or value * HOUR_US <= maximum):
            return SegmentClass.REINICIO, value
        return None

    def _wait(self, time: int, value: int) -> None:
        """Let a reading that was not accepted wait behind those that it follows."""
        if self._waiting and not self._follows(self._waiting[-1], time, value):
            self._reject_waiting(time)
        self._waiting.append((time, value))
        if len(self._waiting) > FOLLOWERS:
            self._accept_waiting()

    def _follows(self, before: tuple[int, int], time: int, value: int) -> bool:
        """Return whether a reading plausibly comes after ``before`` on the same meter."""
        start, register = before
        if value < register or (self.meter.changes and self.meter.changes_between(start, time)):
            return False
        maximum = None if time in self.meter.approved else self.meter.parameters_at(time).hourly_maximum
        return maximum is None or (value - register) * HOUR_US <= maximum * (time - start)

    def _reject_waiting(self, settled: int | None) -> None:
        """Record the waiting readings as outliers, decided by the reading at ``settled``."""
        assert self.base is not None
        self.occurrences.extend(
            Occurrence(t, v, SegmentClass.SUSPEITA, *self.base, None, settled) for t, v in self._waiting
        )
        self._waiting.clear()

    def _accept_waiting(self) -> None:
        """Accept the waiting readings; the jump to the first of them is not counted."""
        assert self.base is not None
        (first, value), (last, register) = self._waiting[0], self._waiting[-1]
        self.occurrences.append(Occurrence(first, value, SegmentClass.IMPLAUSIVEL, *self.base, None, last))
        for (a, v), (b, w) in zip(self._waiting, self._waiting[1:], strict=False):
            self.segments.append(Segment(a, b, w - v, SegmentClass.NORMAL))
        self._waiting.clear()
        self.base = (last, register)
        self.settled.append(last)
