"""A register's readings as segments of consumption; units as in ``meter``."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tds_new.metering.rules.meter import Meter, counted_by_each
from tds_new.metering.times import HOUR_US

FOLLOWERS = 3  # readings that must follow one that was not accepted before it becomes the new base


class SegmentClass(StrEnum):
    """The relation of a reading to its base, the reading it is measured from."""

    NORMAL = "NORMAL"
    TROCA = "TROCA"
    QUEDA = "QUEDA"
    VIRADA = "VIRADA"
    REINICIO = "REINICIO"
    SUSPEITA = "SUSPEITA"
    IMPLAUSIVEL = "IMPLAUSIVEL"


# Readings of these classes are never a base: the next reading is measured from the base before them.
NEVER_BASES = (SegmentClass.QUEDA, SegmentClass.SUSPEITA)
NEVER_BASES_SQL = ", ".join(f"'{kind}'" for kind in NEVER_BASES)  # for ``classe IN (...)``
# The consumption up to readings of these classes is not counted, so a person may approve them.
APPROVABLE = (SegmentClass.SUSPEITA, SegmentClass.IMPLAUSIVEL)


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
