"""Random histories of a meter, as steps in any order and as the entries stored in the end."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from random import Random
from typing import Any

from tests.metering.model import Change, Meter, Parameters, Reading

# The last of January where it is still that in Brazil, São Paulo's clocks going forward and back, Rio
# Branco's back, before 1970, and three times a day on which the tests' present (:data:`NOW`) falls.
STARTS = [datetime(2026, 3, 2, 22, tzinfo=UTC)] * 3 + [
    datetime(2026, 1, 31, 23, 50, tzinfo=UTC),
    datetime(2018, 11, 4, 1, 30, tzinfo=UTC),
    datetime(2019, 2, 17, 0, 40, tzinfo=UTC),
    datetime(2013, 11, 10, 2, 0, tzinfo=UTC),
    datetime(1969, 12, 31, 21, 7, tzinfo=UTC),
]
NOW = datetime(2026, 3, 3, 4, 10, tzinfo=UTC)
CAPACITY = Decimal(1000)
NINE_TENTHS = Decimal(900)
GREATEST = Decimal("99999999999.9999")  # of numeric(15,4)
LEAST = Decimal("0.0001")

INTERVALS = [1, 60, 300, 900, 86_400]
FACTORS = [Decimal(1), Decimal(1), Decimal(40), Decimal("0.333333")]
EXTREME_FACTORS = [Decimal("0.000001"), Decimal("999999.999999"), Decimal("0.0005")]
EXTREMES = [GREATEST, -GREATEST, GREATEST - LEAST, Decimal(0), LEAST, -LEAST, Decimal("50000000000.0001")]


@dataclass(frozen=True)
class Step:
    """One entry of ``table`` at ``at``: it replaces what is there, or takes it away (None).

    Of readings the first one stays.
    """

    table: str
    at: datetime
    value: Any

    @property
    def place(self) -> object:
        """The key of the entry that it replaces, within its table."""
        if self.table == "interval":
            return self.value[0]
        return None if self.table in {"own", "gateway"} else self.at


def apply(meter: Meter, steps: Iterable[Step]) -> Meter:
    """Store ``steps`` in this order. Of two readings of one time the first stays."""
    for step in steps:
        if step.table == "readings":
            meter.readings.setdefault(step.at, step.value)
        elif step.table == "own":
            meter.own = step.value
        elif step.table == "gateway":
            meter.gateway = step.value
        elif step.table == "interval":
            meter.intervals |= dict([step.value])
        elif step.value is None:
            getattr(meter, step.table).pop(step.at, None)
        else:
            getattr(meter, step.table)[step.at] = step.value
    return meter


def steps_of(meter: Meter) -> list[Step]:
    """Return the stored entries as steps that give the same in any order."""
    found = [
        Step(table, at, value)
        for table in ("readings", "changes", "decisions", "dated")
        for at, value in getattr(meter, table).items()
    ]
    found += [Step("interval", NOW, item) for item in meter.intervals.items()]
    return [*found, Step("own", NOW, meter.own), Step("gateway", NOW, meter.gateway)]


def parameters(random: Random, *, extreme: bool = False) -> Parameters:
    """Each of M, PMAX and eps on or off."""
    if extreme:
        return Parameters(
            capacity=random.choice([None, LEAST, GREATEST]),
            pmax=random.choice([None, Decimal(0), LEAST, GREATEST]),
            eps=random.choice([Decimal(0), LEAST, GREATEST]),
            factor=random.choice(FACTORS + EXTREME_FACTORS),
        )
    return Parameters(
        capacity=random.choice([None, CAPACITY]),
        pmax=random.choice([None, Decimal(60), Decimal("100.5")]),
        eps=random.choice([Decimal(0), Decimal("0.5"), Decimal(10)]),
        factor=random.choice(FACTORS),
    )


class History:
    """A history under construction, in order of time. ``mood`` is its most frequent hostile event."""

    def __init__(self, random: Random) -> None:
        self.random = random
        self.mood = random.choices(["usual", "extreme", "dense", "sparse", "hopeless"], [66, 9, 9, 8, 8])[0]
        self.moment = random.choice(STARTS)
        self.register = Decimal(random.randrange(9_990_000)) / 10_000
        self.steps: list[Step] = []
        self.kind = Reading(
            self.moment, self.register, tipo=random.choice(["ACUMULADA"] * 6 + ["INCREMENTAL", "INSTANTANEA"])
        )
        self.own = parameters(random, extreme=self.mood == "extreme")
        if self.mood == "hopeless":
            self.own = replace(self.own, pmax=LEAST, eps=random.choice([Decimal(0), Decimal(700)]))
        self.interval = random.choice(INTERVALS)
        self.spike = 0

    def build(self) -> list[Step]:
        """Return every step of the history."""
        random, extreme = self.random, self.mood == "extreme"
        for _ in range(random.randint(1, 150 if self.mood == "hopeless" else 40)):
            since = self.moment
            self.pass_time()
            self.count(since)
            self.event()
            self.read()
            if random.random() < 0.08:
                self.add("decisions", random.choice(["APROVADA", "APROVADA", "DESCARTADA", None]))
            if random.random() < 0.04:
                self.add("dated", parameters(random, extreme=extreme), seconds=random.choice([0, 100]))
            if random.random() < 0.02:
                self.steps.append(
                    Step(random.choice(["changes", "dated"]), random.choice(self.steps).at, None)
                )
        self.add("own", self.own)
        self.add("interval", (1, self.interval))
        if random.random() < 0.3:  # to another gateway, and perhaps back
            self.add("interval", (2, random.choice(INTERVALS)))
            self.steps += [Step("gateway", self.moment, gateway) for gateway in random.choice([[2], [2, 1]])]
        return self.steps

    def add(self, table: str, value: Any, *, seconds: int = 0) -> None:
        """Enter something at this moment, or so many seconds before."""
        self.steps.append(Step(table, self.moment - timedelta(seconds=seconds), value))

    def pass_time(self) -> None:
        """Advance the time to the next reading: from a microsecond to more than a year."""
        random = self.random
        seconds = {
            "dense": [0, 1, 10, 60, 60, 1800],
            "sparse": [300, 300, 900, 900, 10_000, 86_400],
        }.get(self.mood, [60, 60, 300, 300, 300, 300, 300, 900, 901, 3600, 10_000, 40_000])
        if self.mood == "sparse" and random.random() < 0.01:
            seconds = [86_400 * 30] * 4 + [86_400 * 300]
        if (
            self.mood == "sparse" and random.random() < 0.15
        ):  # long out of use: what comes then is another chain
            seconds = [86_400 * 130, 86_400 * 450]
            self.kind = replace(self.kind, unidade="MWh" if self.kind.unidade == "kWh" else "kWh")
        self.moment += timedelta(
            seconds=random.choice([*seconds, 3 * self.interval] if self.interval <= 900 else seconds)
        )
        self.moment += timedelta(microseconds=random.choice([0, 0, 0, 1, 999_999]))
        if random.random() < 0.1:  # at a block's border, or right before it
            self.moment += timedelta(minutes=15) - (
                self.moment - datetime(1970, 1, 1, tzinfo=UTC)
            ) % timedelta(minutes=15)
            self.moment -= timedelta(microseconds=random.choice([0, 1]))

    def count(self, since: datetime) -> None:
        """Advance the register; sometimes exactly as far as a parameter allows, or a step further."""
        random = self.random
        if self.mood == "extreme":
            self.register = random.choice([self.register, *EXTREMES])
        elif self.mood == "hopeless":
            self.register = Decimal(random.randrange(9_990_000)) / 10_000
        elif self.register == NINE_TENTHS and random.random() < 0.8:
            self.register = Decimal(3)
        elif self.own.pmax is not None and random.random() < 0.1:
            hours = Fraction((self.moment - since) // timedelta(microseconds=1), 3_600_000_000)
            self.register += min(
                Decimal(floor(Fraction(self.own.pmax) * hours * 10_000)) / 10_000, CAPACITY
            ) + random.choice([Decimal(0), LEAST])
        elif random.random() < 0.08:
            self.register += random.choice(
                [-self.own.eps, -self.own.eps - LEAST, *[NINE_TENTHS - self.register] * 2]
            )
        else:
            self.register += Decimal(random.choice([0, 1, 700, 25_000, 123_457])) / 10_000

    def event(self) -> None:
        """A reset, a meter change, a spike, or another Conta, gateway, unit or kind."""
        random, event = self.random, self.random.random()
        if event < 0.04:
            self.register = Decimal(random.choice([0, 3]))
        elif event < 0.08:
            final, self.register = self.register, Decimal(random.choice([0, 7]))
            self.add("changes", Change(final, self.register), seconds=random.choice([0, 20]))
            if random.random() < 0.3:  # and again, or not as the register was
                wrong = [
                    Change(Decimal(9), Decimal(2)),
                    Change(max(final - 5, -GREATEST), Decimal(0)),
                    Change(final, Decimal(12)),
                ]
                self.add("changes", random.choice(wrong), seconds=random.choice([0, 10, 20]))
        elif event < 0.14:
            self.spike = random.randint(1, 7)
        elif event < 0.19:
            other = {
                "conta": random.choice([1, 2]),
                "gateway": random.choice([1, 2]),
                "unidade": random.choice(["kWh", "MWh"]),
            }
            self.kind = replace(
                self.kind,
                **other,
                tipo=random.choice(["ACUMULADA", "ACUMULADA", "INCREMENTAL", "INSTANTANEA"]),
            )  # type: ignore[arg-type]
        elif event < 0.21:  # the gateway's way only: the chain goes on
            self.kind = replace(self.kind, gateway=random.choice([1, 2]))

    def read(self) -> None:
        """The reading, sometimes twice, sometimes in conflict with itself."""
        random, value = self.random, self.register
        if self.mood != "extreme":
            self.register %= CAPACITY
            off = (
                [Decimal(500), Decimal(90_000)]
                if self.spike > 0
                else [Decimal(0)] * 8 + [Decimal(-1), -self.own.eps / 2]
            )
            value = self.register + random.choice(off)
        self.spike -= 1
        self.add("readings", replace(self.kind, time=self.moment, valor=value))
        if random.random() < 0.1:
            other = value if random.random() < 0.5 or self.mood == "extreme" else value + 5
            self.add("readings", replace(self.kind, time=self.moment, valor=other))


def history(random: Random) -> list[Step]:
    """A history in order of time, hostile throughout."""
    return History(random).build()
