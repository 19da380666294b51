"""Random histories of a meter as steps that may come in any order, and what is stored once all have come."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

from tests.metering.model import Change, Meter, Parameters, Reading

START = datetime(2026, 3, 2, 22, 0, tzinfo=UTC)
MODULUS = Decimal(1000)


@dataclass(frozen=True)
class Step:
    """One entry of ``table`` at ``at``: put there in place of what is there (readings: unless one is there), or taken away (None)."""

    table: str
    at: datetime
    value: Reading | Parameters | Change | str | int | None


def apply(meter: Meter, steps: Iterable[Step]) -> Meter:
    """Store ``steps`` in this order. Of two readings of one time the first stays."""
    for step in steps:
        if step.table == "readings":
            meter.readings.setdefault(step.at, step.value)  # type: ignore[arg-type]
        elif step.table == "own":
            meter.own = step.value  # type: ignore[assignment]
        elif step.table == "interval":
            meter.interval = step.value  # type: ignore[assignment]
        elif step.value is None:
            getattr(meter, step.table).pop(step.at, None)
        else:
            getattr(meter, step.table)[step.at] = step.value
    return meter


def parameters(random: Random) -> Parameters:
    """Each of M, PMAX and eps on or off."""
    return Parameters(
        modulus=random.choice([None, MODULUS]),
        pmax=random.choice([None, Decimal(60), Decimal("100.5")]),
        eps=random.choice([Decimal(0), Decimal("0.5"), Decimal(10)]),
        factor=random.choice([Decimal(1), Decimal(1), Decimal(40), Decimal("0.333333")]),
    )


def history(random: Random) -> list[Step]:
    """A history in order of time, hostile throughout."""
    moment, register, steps = START, Decimal(random.randrange(9_990_000)) / 10_000, list[Step]()
    kind = Reading(moment, register, tipo=random.choice(["ACUMULADA"] * 6 + ["INCREMENTAL", "INSTANTANEA"]))
    spike = 0
    for _ in range(random.randint(1, 40)):
        moment += timedelta(seconds=random.choice([60, 300, 300, 300, 900, 901, 3600, 40_000]))
        moment += timedelta(microseconds=random.choice([0, 0, 0, 1, 999_999]))
        register += Decimal(random.choice([0, 1, 25_000, 123_457])) / 10_000
        event = random.random()
        if event < 0.04:
            register = Decimal(random.choice([0, 3]))
        elif event < 0.08:
            final, register = register, Decimal(random.choice([0, 7]))
            steps.append(Step("changes", moment - timedelta(seconds=random.choice([0, 20])), Change(final, register)))
        elif event < 0.14:
            spike = random.randint(1, 5)
        elif event < 0.19:
            other = {"conta": random.choice([1, 2]), "gateway": random.choice([1, 2]), "unidade": random.choice(["kWh", "MWh"])}
            kind = replace(kind, **other, tipo=random.choice(["ACUMULADA", "ACUMULADA", "INCREMENTAL", "INSTANTANEA"]))  # type: ignore[arg-type]
        register %= MODULUS
        offset = Decimal(random.choice([500, 90_000])) if spike > 0 else Decimal(random.choice([0] * 9 + [-1]))
        spike -= 1
        steps.append(Step("readings", moment, replace(kind, time=moment, valor=register + offset)))
        if random.random() < 0.1:  # a duplicate, or a conflict
            steps.append(Step("readings", moment, replace(kind, time=moment, valor=register + random.choice([0, 5]))))
        if random.random() < 0.06:
            steps.append(Step("decisions", moment, random.choice(["APROVADA", "DESCARTADA", None])))
        if random.random() < 0.04:
            steps.append(Step("dated", moment - timedelta(seconds=random.choice([0, 100])), parameters(random)))
        if random.random() < 0.02:
            steps.append(Step(random.choice(["changes", "dated"]), random.choice(steps).at, None))
    steps.append(Step("own", START, parameters(random)))
    steps.append(Step("interval", START, random.choice([60, 300, 900, 86_400])))
    return steps
