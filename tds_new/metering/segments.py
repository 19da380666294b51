"""A register's readings as segments of consumption: the rules of docs/metering.md. Pure; times and values as in ``meter``."""

import itertools
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from tds_new.metering.meter import HOUR_US, Meter

FOLLOWERS = 3  # readings that must follow a waiting one before it is believed


class SegmentClass(StrEnum):
    """How a reading relates to the one it is measured from."""

    NORMAL = "NORMAL"
    TROCA = "TROCA"
    QUEDA = "QUEDA"
    VIRADA = "VIRADA"
    REINICIO = "REINICIO"
    SUSPEITA = "SUSPEITA"
    IMPLAUSIVEL = "IMPLAUSIVEL"


class Segment(NamedTuple):
    """Consumption ``amount`` (register units) between two readings that are believed."""

    start: int
    end: int
    amount: int
    kind: SegmentClass


class Occurrence(NamedTuple):
    """A reading whose class is not NORMAL. ``settled`` is the time of the reading that decided it, None while it waits."""

    time: int
    value: int
    kind: SegmentClass
    base_time: int
    base_value: int
    amount: int | None
    settled: int | None


@dataclass(slots=True)
class Register:
    """The state that goes along a chain of register readings; :meth:`feed` them in the order of their times."""

    meter: Meter
    base: tuple[int, int] | None = None
    segments: list[Segment] = field(default_factory=list)
    occurrences: list[Occurrence] = field(default_factory=list)
    settled: list[int] = field(
        default_factory=list
    )  # times at which the reading became the base and nothing waits
    _waiting: list[tuple[int, int]] = field(default_factory=list)

    def feed(self, time: int, value: int) -> None:
        """Take the next reading of the chain."""
        if self.base is None:
            self.base = (time, value)
            self.settled.append(time)
            return
        found = self._classify(self.base, time, value)
        if found is None:
            self._wait(time, value)
            return
        kind, amount = found
        if self._waiting:
            self._abandon(time)
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
        """Another chain begins at ``time``, or the readings end (None): what waits is an outlier, for good or so far."""
        if self._waiting:
            self._abandon(time)
        self.base = None

    def _classify(self, base: tuple[int, int], time: int, value: int) -> tuple[SegmentClass, int] | None:
        """Class and amount of a reading measured from ``base``; None where it is not believed yet (rule 6)."""
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
            parts = [
                changes[0].final - register,
                *(b.final - a.initial for a, b in itertools.pairwise(changes)),
            ]
            parts.append(value - changes[-1].initial)
            amount = sum(
                parts
            )  # a part may be a little less than nothing: final registers are written down without decimals
            believed = amount >= 0 and (maximum is None or amount * HOUR_US <= maximum)
            return (SegmentClass.TROCA, amount) if believed else None
        if difference >= 0:
            return (
                (SegmentClass.NORMAL, difference)
                if maximum is None or difference * HOUR_US <= maximum
                else None
            )
        if -difference <= parameters.dip_tolerance:
            return SegmentClass.QUEDA, 0
        modulus = parameters.modulus
        if modulus is not None and (amount := modulus + difference) >= 0:
            plausible = 10 * register >= 9 * modulus if maximum is None else amount * HOUR_US <= maximum
            if plausible:
                return SegmentClass.VIRADA, amount
        if value >= 0 and (maximum is None or value * HOUR_US <= maximum):
            return SegmentClass.REINICIO, value
        return None

    def _wait(self, time: int, value: int) -> None:
        if self._waiting and not self._follows(self._waiting[-1], time, value):
            self._abandon(time)
        self._waiting.append((time, value))
        if len(self._waiting) > FOLLOWERS:
            self._believe()

    def _follows(self, before: tuple[int, int], time: int, value: int) -> bool:
        start, register = before
        if value < register or (self.meter.changes and self.meter.changes_between(start, time)):
            return False
        maximum = None if time in self.meter.approved else self.meter.parameters_at(time).hourly_maximum
        return maximum is None or (value - register) * HOUR_US <= maximum * (time - start)

    def _abandon(self, settled: int | None) -> None:
        """Those that waited were outliers."""
        assert self.base is not None
        self.occurrences.extend(
            Occurrence(t, v, SegmentClass.SUSPEITA, *self.base, None, settled) for t, v in self._waiting
        )
        self._waiting.clear()

    def _believe(self) -> None:
        """The first that waited is the new base; the jump to it is kept out."""
        assert self.base is not None
        (first, value), (last, register) = self._waiting[0], self._waiting[-1]
        self.occurrences.append(Occurrence(first, value, SegmentClass.IMPLAUSIVEL, *self.base, None, last))
        for (a, v), (b, w) in zip(self._waiting, self._waiting[1:], strict=False):
            self.segments.append(Segment(a, b, w - v, SegmentClass.NORMAL))
        self._waiting.clear()
        self.base = (last, register)
        self.settled.append(last)
