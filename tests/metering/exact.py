"""Meters on whose readings a rule's comparison is exact, or a step away from it."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from tests.metering.model import Change, Decision, Meter, Parameters, Reading

START = datetime(2026, 2, 9, 3, tzinfo=UTC)
HOURS_OF_MEMORY = 72


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def meter(points: Iterable[tuple[float, Any]], tipo: str = "ACUMULADA", **own: Any) -> Meter:
    """A meter with readings at minutes after :data:`START`; ``own`` are its parameters."""
    readings = {at(minute): Reading(at(minute), Decimal(str(value)), tipo=tipo) for minute, value in points}
    parameters = Parameters(**{name: Decimal(str(value)) for name, value in own.items()})
    return Meter(parameters, readings=readings, interval=3600)


def every(minutes: float, *values: Any, first: float = 0) -> list[tuple[float, Any]]:
    """Points in equal distances."""
    return [(first + minutes * number, value) for number, value in enumerate(values)]


def returning_after(minutes: float) -> Meter:
    """A register that fell, and comes back so long after its first low reading."""
    points = [*every(5, 9000, 7, 7, 7, 7), (minutes - 30, 8), (minutes + 5, 9001)]
    return meter(points, pmax=60)


def changed(one: Meter, minute: float, final: Any, initial: Any) -> Meter:
    one.changes[at(minute)] = Change(Decimal(str(final)), Decimal(str(initial)))
    return one


def decided(one: Meter, minute: float, decision: Decision) -> Meter:
    one.decisions[at(minute)] = decision
    return one


def beginning(one: Meter, minute: float, parameters: Parameters) -> Meter:
    """Parameters from a minute on, and the starts of intervals as stamps."""
    one.dated[at(minute)] = parameters
    one.carimbo = "INICIO"
    return one


def moved(tipo: str, **other: Any) -> Meter:
    """A register that becomes another chain, a step lower, which is attributed to the earlier Conta."""
    one = meter(every(5, 100, 101, 90, 91), tipo)
    for minute in (10, 15):
        one.readings[at(minute)] = replace(one.readings[at(minute)], **other)
    return decided(one, 10, Decision("ATRIBUIDA", None, 1))


def daily(*zeros: int) -> Meter:
    """A counter of the day, every hour for four days; these hours show 0."""
    values = [0 if hour in zeros else Decimal(hour % 24) / 2 for hour in range(96)]
    return meter(every(60, *values), pmax=60)


def around_a_large_hour(hours: int, large: Any, *, first: Any = 1) -> Meter:
    """One an hour, but for ``first`` in the first, ``hours`` later a large one, and one an hour for a day."""
    values: list[Any] = [0]
    for hour in range(hours + 26):
        values.append(values[-1] + Decimal(str(first if hour == 0 else large if hour == hours else 1)))
    return meter(every(60, *values), pmax=9000)


FALLS = {"of exactly the tolerance": (100, 90), "and a step": (100, "89.9999"), "of a tenth": (40, 36)}
EXACT: dict[str, Meter] = {
    **{f"a fall {name}": meter(every(5, *values, values[0]), eps=10) for name, values in FALLS.items()},
    "a fall of more than a tenth": meter(every(5, 40, "35.9999", 40), eps=10),
    "a fall below zero": meter(every(5, -40, -44, -40), eps=10),
    "a rise at the limit": meter(every(60, 0, 60, "120.0001", 121), pmax=60),
    "a change that would count less than nothing": changed(
        meter(every(5, 100, 99, 100), eps=10), 3, 100, 100
    ),
    "a rollover of exactly a tenth": meter(every(5, 950, 50, 50, 50, 50), capacity=1000, pmax=200),
    "a rollover of a step more": meter(every(5, 950, *["50.0001"] * 4), capacity=1000, pmax=200),
    "a rollover at an hour's rate": meter(every(5, 890, 895, 900, 50, 51, 52, 53), capacity=1000, pmax=200),
    "a rollover beyond the limit": meter(every(5, 950, 50, 50, 50, 50), capacity=1000, pmax=99),
    "a restart to exactly a tenth": meter(every(5, 1000, 100, 100, 100, 100), pmax=200),
    "a restart to a step more": meter(every(5, 1000, *["100.0001"] * 4), pmax=200),
    "a restart beyond the limit": meter(every(5, 1000, 61, 67, 72, 77), pmax=60),
    "an excess of exactly the median": meter(every(60, 0, 300, 400, 500, 600), pmax=60),
    "an excess of a step more": meter(every(60, 0, "300.0001", 400, 500, 600), pmax=60),
    "a net register that falls to zero": meter(every(5, 9000, 7, 7, 7, 7), "SALDO", pmax=60),
    "a net register that comes back from above": meter(
        every(5, 100, 161, 161, 161, 161, 101, 102), "SALDO", pmax=60
    ),
    "a change after readings": changed(meter(every(5, 100, 101, 102, 3, 4)), 12, 102, 2),
    "a net register that leaps within the limit": meter(every(5, 100, "39.9", 98, 99), "SALDO", pmax=60),
    "a high reading within the tolerance": meter(every(5, 1000, 1025, 1001, 1002), pmax=20, eps=40),
    "a leap of exactly half": meter(every(5, 100, 0, 50, 100, 101), pmax=60),
    "a leap ten times as large": meter(every(5, 90, 0, 100, 101), pmax=200),
    "a leap a step less than ten times": meter(every(5, 90, 0, "100.0001", 101), pmax=200),
    "a leap to where it would be": meter(every(5, 100, 0, 20, 121, 122), pmax=200),
    "a leap exactly beyond what it moved": meter(every(5, 50, 0, 2, 52, 53), pmax=60),
    "a leap and a tolerated fall": meter(every(5, 50, 0, "49.9", 53), pmax=60, eps=1),
    "a leap back later twice as large": meter(every(5, 9000, 7, 7, 7, 7, 17_000, 17_000), pmax=60),
    "a leap back over a change": changed(
        meter(every(5, 9000, 7, 7, 7, 7, 9001, 9002, 9003), pmax=60), 23, 7, 7
    ),
    **{f"back after {n} hours": returning_after(60 * n) for n in (71.5, HOURS_OF_MEMORY, 72.5)},
    "back after a microsecond too long": returning_after(60 * HOURS_OF_MEMORY + 1 / 60_000_000),
    "clean until a jump is forgotten": meter([(0, 9000), *every(60, *range(1, 101), first=5)], pmax=60),
    "a zero of a counter of the day": daily(70),
    "zeros of a counter of the day": daily(69, 70, 71, 72, 73),
    "outliers after a reading of the line": meter(every(5, 100, 101, 150, 102, 103, 104, 105), pmax=60),
    "outliers seven readings before": meter(every(5, 100, *range(150, 156), 101, 102, 103, 104), pmax=60),
    "outliers eight readings before": meter(every(5, 100, *range(150, 157), 101, 102, 103, 104), pmax=60),
    "a restart below zero by decision": decided(
        meter(every(5, 100, -3, 1), pmax=60), 5, Decision("REINICIO")
    ),
    "increments at the limit of their stamps": beginning(
        meter(every(60, 61, 61, 20), "INCREMENTAL", pmax=60), 60, Parameters(pmax=Decimal(61))
    ),
    "a net register of another Conta": moved("SALDO", conta=2),
    "a register of another Conta, which fell": moved("ACUMULADA", conta=2),
    "a register of another Conta and unit": moved("ACUMULADA", conta=2, unidade="MWh"),
    "two equal large steps in an hour": meter(
        [*every(60, *range(30)), (1745, 59), (1750, 89), *every(60, *range(89, 115), first=1800)], pmax=900
    ),
    "a large rollover": meter(
        [*every(60, *range(900, 930)), *every(60, *range(20, 48), first=1800)], pmax=900, capacity=1000
    ),
    "an increment at the limit": meter(every(60, 60, "60.0001", -60, "-60.0001"), "INCREMENTAL", pmax=60),
    **{
        f"{large} in an hour after {hours} hours": around_a_large_hour(hours, large)
        for hours in (22, 23, 24, 30)
        for large in (9, 10, "10.0001", 11, "11.0001")
    },
    "one more than the largest hour from a zero": around_a_large_hour(30, 2, first="2.0001"),
    **{f"a large hour {days} days before": around_a_large_hour(24 * days, 30, first=9) for days in (6, 7, 8)},
}
