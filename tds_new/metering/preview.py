"""The ledger's judgement of a reading, and what a decision would change.

The answers are computed by the ledger's own rules from what it reads. Values are in the register's unit,
before the factor.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from psycopg import Cursor

from tds_new.metering.inputs import load_base_before, load_first_from, load_meters
from tds_new.metering.rules.meter import Meter, MeterChange, counted_by_each
from tds_new.metering.rules.segments import APPROVABLE, Register, SegmentClass, State
from tds_new.metering.times import from_datetime, to_datetime
from tds_new.storage.session import of_django


class Point(NamedTuple):
    """A register's value at a time."""

    time: datetime
    value: Decimal


class Question(NamedTuple):
    """A reading of a device, and the base that it is measured from."""

    device_id: int
    base: Point
    reading: Point


class Measured(NamedTuple):
    """The class of an accepted reading, and the amount that it counts."""

    kind: SegmentClass
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Preview:
    """A reading as the ledger judges it against its base, or would after a decision.

    ``factor``, ``capacity``, ``hourly_maximum`` and ``dip_tolerance`` are the parameters in force at the
    reading; ``limit`` is the most that is plausible since the base. Each of the three maxima is None if it is
    unknown. ``changes`` are the times of the meter changes in between, ``parts`` what each meter counted (the
    difference alone, without a change). ``as_rollover`` is what it counts if the register wrapped, None if it
    is not known to. ``now`` is what the rules say of it, with the decisions and the maximum that there are;
    ``if_approved`` what they say once it is approved. Either is None if the reading is not accepted.
    """

    base: Point
    reading: Point
    factor: Decimal
    capacity: Decimal | None
    hourly_maximum: Decimal | None
    dip_tolerance: Decimal
    limit: Decimal | None
    changes: tuple[datetime, ...]
    parts: tuple[Decimal, ...]
    as_rollover: Decimal | None
    now: Measured | None
    if_approved: Measured | None

    @property
    def elapsed(self) -> timedelta:
        """The time between the base and the reading."""
        return self.reading.time - self.base.time

    @property
    def amount(self) -> Decimal:
        """The total that the meters counted, plausible or not; negative after a fall."""
        return sum(self.parts, Decimal(0))

    def with_change(self, final: Decimal, initial: Decimal) -> Decimal:
        """Return what both meters would count, had the meter been changed in between.

        ``final``: the old meter's last value; ``initial``: the new one's first.
        """
        change = MeterChange(from_datetime(self.reading.time), _units(final), _units(initial))
        parts = counted_by_each(_units(self.base.value), [change], _units(self.reading.value))
        return _register(sum(parts))


def may_be_approved(kind: str) -> bool:
    """Return whether a reading of this class (empty: none) may be approved.

    Approval accepts a reading whatever the maximum, so it would change nothing for an accepted one.
    """
    return kind in APPROVABLE


def preview(questions: Sequence[Question]) -> list[Preview]:
    """Return a preview for each reading, in order."""
    with Cursor(of_django()) as cursor:
        meters = load_meters(cursor, list({question.device_id for question in questions}))
    return [_judged(question.base, question.reading, meters[question.device_id]) for question in questions]


def preview_after_change(
    device_id: int, moment: datetime
) -> tuple[Point | None, Point | None, Preview | None]:
    """Return the readings beside a meter change, and a preview of the later one.

    The earlier is the base that the ledger measures from: a reading that is never a base has one before it.
    Either is None if there is none; then there is no preview.
    """
    at = from_datetime(moment)
    with Cursor(of_django()) as cursor:
        meter = load_meters(cursor, [device_id])[device_id]
        before = load_base_before(cursor, device_id, at, meter.discarded)
        first = load_first_from(cursor, device_id, at, meter.discarded)
    base = None if before is None else _point(*before)
    after = None if first is None else _point(*first)
    return base, after, _judged(base, after, meter) if base and after else None


def _judged(base: Point, reading: Point, meter: Meter) -> Preview:
    start, time = from_datetime(base.time), from_datetime(reading.time)
    register, value = _units(base.value), _units(reading.value)
    parameters, changes = meter.parameters_at(time), meter.changes_between(start, time)
    approved = replace(meter, decided={**meter.decided, time: "APROVADA"})
    return Preview(
        base=base,
        reading=reading,
        factor=Decimal(parameters.factor).scaleb(-6),
        capacity=_optional(parameters.capacity),
        hourly_maximum=_optional(parameters.hourly_maximum),
        dip_tolerance=_register(parameters.dip_tolerance),
        limit=_optional(parameters.limit(time - start)),
        changes=tuple(to_datetime(change.time) for change in changes),
        parts=tuple(_register(part) for part in counted_by_each(register, changes, value)),
        as_rollover=_optional(
            None if parameters.capacity is None else parameters.capacity - register + value
        ),
        now=_measured(meter, (start, register), time, value),
        if_approved=_measured(approved, (start, register), time, value),
    )


def _measured(meter: Meter, base: tuple[int, int], time: int, value: int) -> Measured | None:
    register = Register(meter, state=State((base,), ()))
    register.feed(time, value)
    return next((Measured(s.kind, _register(s.amount)) for s in register.segments), None)


def _units(value: Decimal) -> int:
    """Return a register's value in whole 0.0001."""
    return int(value.scaleb(4))


def _register(units: int) -> Decimal:
    """Return whole 0.0001 of a register as its value."""
    return Decimal(units).scaleb(-4)


def _optional(units: int | None) -> Decimal | None:
    return None if units is None else _register(units)


def _point(time: int, units: int) -> Point:
    return Point(to_datetime(time), _register(units))
