"""What is measured between two readings, and what an entry would change.

``what_if`` asks the ledger itself: it computes the neighbourhood of a reading with a meter on which people
have decided otherwise, compares the result with what is stored, and writes nothing. Register values are in
the register's unit, before the factor; consumption is in the unit of consumption.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from psycopg import Cursor

from tds_new.metering import ledger
from tds_new.metering.inputs import Span, load_base_before, load_first_from, load_meters, load_standings
from tds_new.metering.rules.meter import Meter, MeterChange, counted_by_each
from tds_new.metering.rules.segments import FOLLOWERS as FOLLOWERS
from tds_new.metering.rules.segments import Occurrence
from tds_new.metering.store import Result
from tds_new.metering.times import DAY_US, END, from_datetime, to_datetime, to_timestamptz
from tds_new.storage.session import of_django

AHEAD_US = 3 * DAY_US  # what a raised maximum changes is looked up for as long as a jump is remembered
# The stored blocks of a device's stretch of time, summed up by local months and Contas.
STORED_BY_MONTH = """
SELECT conta_id, date_trunc('month', bloco AT TIME ZONE %(zone)s)::date AS month, sum(consumo) * 1000000
FROM tds_new_consumo_15min
WHERE dispositivo_id = %(device)s AND bloco >= %(first)s AND bloco < %(last)s AND consumo IS NOT NULL
GROUP BY 1, 2
"""


class Point(NamedTuple):
    """A register's value at a time."""

    time: datetime
    value: Decimal


class Question(NamedTuple):
    """A reading of a device, and the base that it is measured from."""

    device_id: int
    base: Point
    reading: Point


@dataclass(frozen=True, slots=True)
class Preview:
    """A reading and its base as the meter's parameters and changes measure them.

    ``factor``, ``capacity``, ``hourly_maximum`` and ``dip_tolerance`` are the parameters in force at the
    reading; ``limit`` is the most that is plausible since the base. Each of the three maxima is None if there
    is none. ``changes`` are the times of the meter changes in between, ``parts`` what each meter counted (the
    difference alone, without a change). ``one_factor``: the same factor was in force all the time.
    ``decided``: a person has said what the reading is.
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
    one_factor: bool
    decided: bool

    @property
    def elapsed(self) -> timedelta:
        """The time between the base and the reading."""
        return self.reading.time - self.base.time

    @property
    def amount(self) -> Decimal:
        """The total that the meters counted, plausible or not; negative after a fall."""
        return sum(self.parts, Decimal(0))

    def fits(self, *, net: bool = False) -> bool:
        """Return whether the reading is believed.

        Somebody decided so, or what was counted is plausible; of a ``net`` register that may be negative.
        """
        if self.decided:
            return True
        amount = abs(self.amount) if net else self.amount
        return amount >= 0 and (self.limit is None or amount <= self.limit)

    def with_change(self, final: Decimal, initial: Decimal) -> Decimal:
        """Return what both meters would count, had the meter been changed in between.

        ``final``: the old meter's last value; ``initial``: the new one's first.
        """
        change = MeterChange(from_datetime(self.reading.time), _units(final), _units(initial))
        parts = counted_by_each(_units(self.base.value), [change], _units(self.reading.value))
        return _register(sum(parts))


class MeterChanged(NamedTuple):
    """A meter change: when, the old meter's last value, the new one's first."""

    time: datetime
    final: Decimal
    initial: Decimal


@dataclass(frozen=True, slots=True)
class Entry:
    """An entry that people may make about one reading, and have not made.

    ``decision`` (empty: none), ``corrected`` and ``attributed_to`` (a Conta) are those of ``RevisaoLeitura``;
    an entry with none of all undoes what is decided. A meter ``change`` and an ``hourly_maximum`` from a
    moment on leave the decision on the reading as it is.
    """

    decision: str = ""
    corrected: Decimal | None = None
    attributed_to: int | None = None
    change: MeterChanged | None = None
    hourly_maximum: tuple[datetime, Decimal] | None = None


class MonthEffect(NamedTuple):
    """A Conta's consumption of the device in a local month, now and then."""

    conta_id: int
    month: date
    before: Decimal
    after: Decimal


class Judged(NamedTuple):
    """The class of a reading (empty: ordinary), and whether it waits for somebody."""

    kind: str
    waits: bool


class ClassEffect(NamedTuple):
    """A reading that would be judged otherwise."""

    time: datetime
    before: Judged
    after: Judged


@dataclass(frozen=True, slots=True)
class Effect:
    """What an entry would change.

    ``months`` are those that change, or those of the reading if none does; ``readings`` those whose class
    changes. ``waits_for_rebuild``: nothing is computed before the moment from which the present rules hold
    for the device; the entry waits for ``rebuild_consumption``, and nothing else is known.
    """

    months: tuple[MonthEffect, ...] = ()
    readings: tuple[ClassEffect, ...] = ()
    waits_for_rebuild: bool = False

    @property
    def changes_figures(self) -> bool:
        """Return whether a month's consumption changes."""
        return any(month.before != month.after for month in self.months)


def time_of(microseconds: int) -> datetime:
    """Return a time of the ledger (microseconds since 1970) as an aware datetime."""
    return to_datetime(microseconds)


def preview(questions: Sequence[Question]) -> list[Preview]:
    """Return a preview for each reading, in order."""
    with Cursor(of_django()) as cursor:
        meters = load_meters(cursor, list({question.device_id for question in questions}))
    return [_measured(question.base, question.reading, meters[question.device_id]) for question in questions]


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
    return base, after, _measured(base, after, meter) if base and after else None


def waits_for_rebuild(device_id: int, reading_time: datetime) -> bool:
    """Return whether the present rules do not hold for a device's reading."""
    with Cursor(of_django()) as cursor:
        since = load_standings(cursor, [device_id])[device_id].edition
    return since is not None and since > from_datetime(reading_time)


def what_if(device_id: int, reading_time: datetime, entries: Sequence[Entry], zone: ZoneInfo) -> list[Effect]:
    """Return what each of the entries would change, taken alone.

    ``reading_time``: of the reading that the entries are about; ``zone``: whose months are meant. Nothing is
    written.
    """
    time = from_datetime(reading_time)
    with Cursor(of_django()) as cursor:
        if waits_for_rebuild(device_id, reading_time):
            return [Effect(waits_for_rebuild=True) for _ in entries]
        meter = load_meters(cursor, [device_id])[device_id]
        question = _Neighbourhood(cursor, device_id, time, zone, {})
        return [_effect(question, meter, entry) for entry in entries]


class _Neighbourhood(NamedTuple):
    """A reading whose effects are looked up, and months summed up already."""

    cursor: Cursor[Any]
    device_id: int
    time: int
    zone: ZoneInfo
    months: dict[date, dict[int, int]]


def _effect(near: _Neighbourhood, meter: Meter, entry: Entry) -> Effect:
    supposed, first, last = _suppose(meter, near.time, entry)
    span = Span(near.device_id, first, last)
    result = ledger.computed(near.cursor, [span], {near.device_id: supposed}).get(near.device_id)
    if result is None:  # all of it is closed
        return Effect()
    return Effect(months=_changed_months(near, result), readings=_changed_readings(result))


def _suppose(meter: Meter, time: int, entry: Entry) -> tuple[Meter, int, int]:
    """Return the meter as if the entry had been made, and the stretch it changes."""
    if entry.change is not None:
        at = from_datetime(entry.change.time)
        change = MeterChange(at, _units(entry.change.final), _units(entry.change.initial))
        return replace(meter, changes=sorted([*meter.changes, change], key=lambda c: c.time)), at, at
    if entry.hourly_maximum is not None:
        since, maximum = from_datetime(entry.hourly_maximum[0]), _units(entry.hourly_maximum[1])
        in_force = replace(meter.parameters_at(since), hourly_maximum=maximum)
        kept = [dated for dated in meter.dated if dated[0] != since]
        following = min((moment for moment, _ in kept if moment > since), default=END)
        dated = sorted([*kept, (since, in_force)], key=lambda one: one[0])
        return replace(meter, dated=dated), since, min(following, max(since, time) + AHEAD_US)
    return _decide(meter, time, entry), time, time


def _decide(meter: Meter, time: int, entry: Entry) -> Meter:
    """Return the meter with this decision on the reading at ``time``, and no other."""
    decided = {t: what for t, what in meter.decided.items() if t != time}
    corrected = {t: value for t, value in meter.corrected.items() if t != time}
    attributed = {t: conta for t, conta in meter.attributed.items() if t != time}
    looked, discarded = meter.looked - {time}, meter.discarded - {time}
    if entry.decision == "DESCARTADA":
        discarded.add(time)
    elif entry.decision == "VISTA":
        looked.add(time)
    elif entry.decision == "ATRIBUIDA" and entry.attributed_to is not None:
        attributed[time] = entry.attributed_to
    elif entry.decision:
        decided[time] = entry.decision
    if entry.corrected is not None:
        corrected[time] = _units(entry.corrected)
    return replace(
        meter,
        decided=decided,
        looked=looked,
        discarded=discarded,
        corrected=corrected,
        attributed=attributed,
    )


def _changed_months(near: _Neighbourhood, result: Result) -> tuple[MonthEffect, ...]:
    """Return the months that differ; those of the reading if none does."""
    differences: dict[tuple[int, date], int] = defaultdict(int)
    for (conta_id, start), block in result.blocks.items():
        differences[conta_id, _month(start, near.zone)] += block.consumption or 0
    for conta_id, month, stored in _stored(near, to_timestamptz(result.first), to_timestamptz(result.last)):
        differences[conta_id, month] -= stored
    changed = {key: difference for key, difference in differences.items() if difference}
    own = _month(near.time, near.zone)
    keys = changed or {(conta_id, own): 0 for conta_id in _month_totals(near, own)}
    return tuple(
        MonthEffect(conta_id, month, _consumption(before), _consumption(before + difference))
        for (conta_id, month), difference in sorted(keys.items(), key=lambda item: (item[0][1], item[0][0]))
        for before in [_month_totals(near, month).get(conta_id, 0)]
    )


def _month_totals(near: _Neighbourhood, month: date) -> dict[int, int]:
    """Return the device's stored consumption in a local month, by Conta."""
    if month not in near.months:
        following = (month.replace(day=1) + timedelta(days=32)).replace(day=1)
        first, last = (datetime(d.year, d.month, 1, tzinfo=near.zone).isoformat() for d in (month, following))
        near.months[month] = {conta_id: total for conta_id, _, total in _stored(near, first, last)}
    return near.months[month]


def _stored(near: _Neighbourhood, first: str, last: str) -> list[tuple[int, date, int]]:
    """Return Conta, local month and consumption of the stored blocks of a stretch."""
    parameters = {"device": near.device_id, "zone": near.zone.key, "first": first, "last": last}
    rows = near.cursor.execute(STORED_BY_MONTH, parameters).fetchall()
    return [(conta_id, month, int(total)) for conta_id, month, total in rows]


def _changed_readings(result: Result) -> tuple[ClassEffect, ...]:
    """Return the readings whose class differs, or whether they wait."""
    before, after = _judged(result.known), _judged(result.occurrences.values())
    ordinary = Judged("", waits=False)
    return tuple(
        ClassEffect(to_datetime(time), before.get(time, ordinary), after.get(time, ordinary))
        for time in sorted(before.keys() | after.keys())
        if before.get(time, ordinary) != after.get(time, ordinary)
    )


def _judged(occurrences: Iterable[Occurrence]) -> dict[int, Judged]:
    return {o.time: Judged(o.kind.value, o.waits) for o in occurrences}


def _month(time: int, zone: ZoneInfo) -> date:
    """Return the first day of the local month that ``time`` lies in."""
    return to_datetime(time).astimezone(zone).date().replace(day=1)


def _measured(base: Point, reading: Point, meter: Meter) -> Preview:
    start, time = from_datetime(base.time), from_datetime(reading.time)
    register, value = _units(base.value), _units(reading.value)
    parameters, changes = meter.parameters_at(time), meter.changes_between(start, time)
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
        one_factor=time <= start or len(meter.parts(start, time)) == 1,
        decided=time in meter.decided,
    )


def _units(value: Decimal) -> int:
    """Return a register's value in whole 0.0001."""
    return int(value.scaleb(4))


def _register(units: int) -> Decimal:
    """Return whole 0.0001 of a register as its value."""
    return Decimal(units).scaleb(-4)


def _consumption(units: int) -> Decimal:
    """Return whole 0.000001 of consumption as its value."""
    return Decimal(units).scaleb(-6)


def _optional(units: int | None) -> Decimal | None:
    return None if units is None else _register(units)


def _point(time: int, units: int) -> Point:
    return Point(to_datetime(time), _register(units))
