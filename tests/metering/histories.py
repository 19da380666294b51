"""Random histories of a meter, as steps in any order and as the entries stored in the end."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from math import floor
from random import Random
from typing import Any, NamedTuple

from tests.metering.model import EPOCH, Change, Decision, Meter, Parameters, Reading

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
GREATEST = Decimal("99999999999.9999")  # of numeric(15,4)
LEAST = Decimal("0.0001")

INTERVALS = [1, 60, 300, 900, 86_400]
FACTORS = [Decimal(1), Decimal(1), Decimal(40), Decimal("0.333333")]
EXTREME_FACTORS = [Decimal("0.000001"), Decimal("999999.999999"), Decimal("0.0005")]
EXTREMES = [GREATEST, -GREATEST, GREATEST - LEAST, Decimal(0), LEAST, -LEAST, Decimal("50000000000.0001")]
SPELLINGS = ["kWh", "KWH", " kwh", "kWh "]
DECISIONS = ["APROVADA", "APROVADA", "DESCARTADA", "VISTA", "REINICIO", "RETORNO"]

# How a history goes on for most of its time: how often, and the seconds between two readings.
PACES: dict[str, tuple[int, list[int]]] = {
    "usual": (40, [60, 60, 300, 300, 300, 300, 300, 900, 901, 3600, 10_000, 40_000]),
    "hourly": (14, [3600] * 12 + [1800, 3599, 7200, 14_400]),
    "daily counter": (5, [3600] * 8 + [7200, 14_400]),
    "quarters": (10, [900] * 12 + [300, 1800, 20_000]),
    "days": (5, [86_400] * 6 + [43_200, 86_401, 200_000]),
    "long": (3, []),
    "extreme": (7, [60, 300, 900, 3600, 40_000]),
    "dense": (6, [0, 1, 10, 60, 60, 1800]),
    "sparse": (6, [300, 300, 900, 900, 10_000, 86_400]),
    "hopeless": (6, [60, 300, 300, 900, 3600, 40_000]),
}
LENGTHS = {"hourly": 70, "daily counter": 80, "hopeless": 120, "quarters": 60}


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
        return None if self.table in {"own", "gateway", "carimbo"} else self.at


def apply(meter: Meter, steps: Iterable[Step]) -> Meter:
    """Store ``steps`` in this order. Of two readings of one time the first stays."""
    for step in steps:
        if step.table == "readings":
            meter.readings.setdefault(step.at, step.value)
        elif step.table in {"own", "gateway", "carimbo"}:
            setattr(meter, step.table, step.value)
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
    return [*found, *(Step(name, NOW, getattr(meter, name)) for name in ("own", "gateway", "carimbo"))]


def stored(value: Decimal) -> Decimal:
    """The nearest value that a reading's column can hold."""
    return max(min(value, GREATEST), -GREATEST).quantize(LEAST)


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
        pmax=random.choice([None, Decimal(60), Decimal(60), Decimal("100.5"), Decimal(20)]),
        eps=random.choice([Decimal(0), Decimal("0.1"), Decimal("0.5"), Decimal(10)]),
        factor=random.choice(FACTORS),
    )


class Shown(NamedTuple):
    """What a meter shows instead of its register: the register times ``weight``, and ``off``."""

    weight: int
    off: Decimal

    def of(self, register: Decimal) -> Decimal:
        """Return what is shown."""
        return self.weight * register + self.off


class History:
    """A history under construction, in order of time.

    ``pace`` says how it goes on for most of its time; ``shown`` is what the next readings show instead of
    the register.
    """

    def __init__(self, random: Random) -> None:
        self.random = random
        self.pace = random.choices(list(PACES), [weight for weight, _ in PACES.values()])[0]
        self.seconds = PACES[self.pace][1]
        if self.pace == "long":
            self.seconds = random.choice([[3600] * 60 + [40_000]] * 3 + [[900] * 200 + [40_000, 100_000]])
        self.moment = random.choice(STARTS)
        self.register = random.choice(
            [Decimal(random.randrange(9_990_000))] * 3
            + [Decimal(random.randrange(40_000)), Decimal(0), Decimal(9_970_000)]
        )
        self.register /= 10_000
        self.load = random.choice(
            [[0, 1, 700, 25_000, 123_457], [0, 500, 1000], [3000, 4000, 5000], [200_000]]
        )
        self.steps: list[Step] = []
        self.times: list[datetime] = []  # of the readings
        self.strange: list[datetime] = []  # of those with which something happened
        kind = random.choice(
            ["ACUMULADA"] * 8 + ["SALDO", "SALDO", "INCREMENTAL", "INCREMENTAL", "INSTANTANEA"]
        )
        self.kind = Reading(self.moment, self.register, tipo=kind)
        self.own = parameters(random, extreme=self.pace == "extreme")
        if self.pace == "hopeless":
            self.own = replace(self.own, pmax=LEAST, eps=random.choice([Decimal(0), Decimal(700)]))
        self.interval = random.choice(INTERVALS)
        if self.pace in {"hourly", "long", "days"} and random.random() < 0.7:
            self.interval = {"hourly": 3600, "long": self.seconds[0], "days": 86_400}[self.pace]
        self.shown: list[Shown] = []
        self.clock = timedelta(0)  # how far the meter's clock is wrong
        self.speed = Decimal(1)
        self.signed = random.random() < 0.1

    def build(self) -> list[Step]:
        """Return every step of the history."""
        random = self.random
        number = random.randint(1, LENGTHS.get(self.pace, 40))
        if self.pace == "long":
            number = random.randint(8, 12) * 86_400 // self.seconds[0]
        odds = {"long": 0.04, "hourly": 0.15, "daily counter": 0.1}.get(self.pace, 0.3)
        calm = 0  # readings without an event
        if self.pace in {"long", "hourly"} and random.random() < 0.6:
            calm = random.randint(24, 60)
        for place in range(number):
            since = self.moment
            self.pass_time()
            self.count(since)
            if place >= calm and random.random() < odds:
                random.choices([event for _, event in EVENTS], [weight for weight, _ in EVENTS])[0](self)
                self.strange.append(self.moment + self.clock)
                if random.random() < 0.15:
                    self.add("decisions", Decision(random.choice(["VISTA", "VISTA", "APROVADA"])))
            self.read()
            self.people(odds)
        self.settings()
        return self.steps

    def people(self, odds: float) -> None:
        """Sometimes somebody decides, changes parameters or takes something back."""
        random = self.random
        if random.random() < odds / 4:
            self.decide()
        if random.random() < odds / 8:
            self.add("dated", parameters(random, extreme=self.pace == "extreme"), random.choice([0, 0, 100]))
        if random.random() < odds / 12:
            table = random.choice(["changes", "dated", "decisions"])
            self.steps.append(Step(table, random.choice(self.steps).at, None))

    def settings(self) -> None:
        """What has no time: own parameters, gateways, and which end of an interval is stamped."""
        random = self.random
        self.add("own", self.own)
        self.add("interval", (1, self.interval))
        if random.random() < 0.3:  # to another gateway, and perhaps back
            self.add("interval", (2, random.choice(INTERVALS)))
            self.steps += [Step("gateway", self.moment, number) for number in random.choice([[2], [2, 1]])]
        if random.random() < 0.3:
            stamps = random.choice([["INICIO"], ["INICIO", "FIM"]])
            self.steps += [Step("carimbo", self.moment, stamp) for stamp in stamps]

    def add(self, table: str, value: Any, seconds: int = 0) -> None:
        """Enter something at this moment, or so many seconds before."""
        self.steps.append(Step(table, self.moment + self.clock - timedelta(seconds=seconds), value))

    # time and the register

    def pass_time(self) -> None:
        """Advance the time to the next reading: from a microsecond to more than a year."""
        random, seconds = self.random, self.seconds
        if self.pace == "sparse" and random.random() < 0.01:
            seconds = [86_400 * 30] * 4 + [86_400 * 300]
        if self.pace == "sparse" and random.random() < 0.1:
            seconds = [86_400 * 130, 86_400 * 450]
            if random.random() < 0.7:  # long out of use: what comes then is another chain
                self.kind = replace(self.kind, unidade="MWh" if self.kind.unidade == "kWh" else "kWh")
        elif random.random() < 0.01:
            seconds = [86_400, 3 * 86_400, 3 * 86_400 + 1, 7 * 86_400]
        exact = self.interval <= 900 and self.pace not in {"long", "hourly", "daily counter"}
        self.moment += timedelta(seconds=random.choice([*seconds, 3 * self.interval] if exact else seconds))
        if self.pace == "long":
            return
        self.moment += timedelta(microseconds=random.choice([0, 0, 0, 1, 999_999]))
        if random.random() < 0.1:  # at a block's border, or right before it
            self.moment += timedelta(minutes=15) - (self.moment - EPOCH) % timedelta(minutes=15)
            self.moment -= timedelta(microseconds=random.choice([0, 1]))

    def count(self, since: datetime) -> None:
        """Advance the register; sometimes exactly as far as a parameter allows, or a step further."""
        random = self.random
        if self.pace == "extreme":
            self.register = random.choice([self.register, *EXTREMES])
        elif self.pace == "hopeless":
            self.register = Decimal(random.randrange(9_990_000)) / 10_000
        elif self.pace == "daily counter" and since.date() != self.moment.date() and random.random() < 0.9:
            self.register = Decimal(random.choice([0, 0, 1000, 5000])) / 10_000
        elif self.own.pmax is not None and random.random() < 0.04:
            hours = max(
                Fraction((self.moment - since) // timedelta(microseconds=1), 3_600_000_000), Fraction(1)
            )
            self.register += min(
                Decimal(floor(Fraction(self.own.pmax) * hours * 10_000)) / 10_000, CAPACITY
            ) + random.choice([Decimal(0), LEAST])
        elif random.random() < 0.03:
            self.register += random.choice([-self.own.eps, -self.own.eps - LEAST, -self.register / 10])
        else:
            step = Decimal(random.choice(self.load)) / 10_000 * self.speed
            self.register += -step if self.kind.tipo == "SALDO" and random.random() < 0.4 else step

    # events

    def show(self, weight: int, off: Decimal, lengths: list[int]) -> None:
        """The next readings show something else."""
        self.shown = [Shown(weight, off.quantize(LEAST))] * self.random.choice(lengths)

    def flicker(self) -> None:
        """The last digit flickers, or a little more than that."""
        off = self.random.choice(
            [LEAST, self.own.eps / 2, self.own.eps, self.own.eps + LEAST, Decimal("0.1")]
        )
        if self.random.random() < 0.3:  # it sticks
            self.show(0, self.register - off, [2, 4, 8])
        else:
            self.show(1, -off, [1, 1, 1, 2, 3, 9])

    def zeros(self) -> None:
        """A zero, or several, perhaps with the register counting on from there."""
        if self.random.random() < 0.2:
            self.show(1, -self.register, [2, 3, 4, 5, 9])
        else:
            self.show(0, Decimal(0), [1, 1, 1, 2, 3, 3, 4, 5, 8])

    def garbage(self) -> None:
        """A value that is none, high or low, constant, counting along or each time another."""
        value = self.random.choice(
            [Decimal("429496.7295"), Decimal(90_000), Decimal(-5), -self.register, Decimal("-90000.5")]
        )
        self.show(self.random.choice([0, 0, 1]), value, [1, 1, 1, 2, 3, 4, 5, 7])
        if self.random.random() < 0.2:
            self.shown = [Shown(1, Decimal(self.random.randrange(10**9)) / 10_000) for _ in self.shown]

    def spike(self) -> None:
        """Some readings are off by less or more than the largest consumption."""
        pmax = self.own.pmax or Decimal(60)
        share = Decimal(self.random.randint(5, 99)) / 100
        off = self.random.choice([pmax * share, -pmax * share, Decimal(500), Decimal(-300)])
        self.show(1, off, [1, 1, 2, 3, 4, 5, 6, 8])

    def ladder(self) -> None:
        """Up to six levels one after the other, within three days or longer."""
        for _ in range(self.random.randint(2, 6)):
            off = self.random.choice([-400, -100, 150, 300, 700, 0, 1_000_000])
            self.shown += [Shown(1, Decimal(off))] * self.random.choice([1, 2, 3, 4, 4, 4, 5, 8])

    def reboot(self) -> None:
        """The register begins at zero, or nearly."""
        self.register = Decimal(self.random.choice([0, 0, 3000, 20_000])) / 10_000

    def saved_total(self) -> None:
        """The register goes back to what it was some time before."""
        self.register -= min(
            self.register, Decimal(self.random.choice([5_000, 30_000, 800_000, 3_000_000])) / 10_000
        )

    def rollover(self) -> None:
        """The register is about to wrap, sometimes below zero."""
        if self.random.random() < 0.1:
            self.signed = not self.signed
        self.register = (CAPACITY / 2 if self.signed else CAPACITY) - Decimal(
            self.random.choice([1, 10_000])
        ) / 10_000

    def unrecorded_change(self) -> None:
        """Another register goes on, higher or lower."""
        self.register = Decimal(self.random.randrange(9_990_000)) / 10_000

    def recorded_change(self) -> None:
        """A meter change, sometimes twice, or not as the register was."""
        random = self.random
        final, self.register = stored(self.register), Decimal(random.choice([0, 7, 700]))
        self.add("changes", Change(final, self.register), random.choice([0, 20]))
        if random.random() < 0.3:
            wrong = [
                Change(Decimal(9), Decimal(2)),
                Change(stored(final - 5), Decimal(0)),
                Change(final, Decimal(12)),
            ]
            self.add("changes", random.choice(wrong), random.choice([0, 10, 20]))

    def gap(self) -> None:
        """Nothing comes for a while; the register counts or does not."""
        self.moment += timedelta(hours=self.random.choice([1, 5, 20, 70, 73, 100]))
        self.register += self.random.choice([0, 0, 5, 200])

    def clock_jump(self) -> None:
        """The meter's clock is wrong by hours or days, or right again."""
        if self.clock:
            self.clock = timedelta(0)
            return
        hours = self.random.choice([-100, -48, -20, -3, -1, 2])
        self.clock = timedelta(hours=hours, microseconds=self.random.choice([0, 1]))

    def faster(self) -> None:
        """It consumes more than the largest consumption, or as before."""
        self.speed = self.random.choice([Decimal(1), Decimal(5), Decimal(30), Decimal(200)])

    def large(self) -> None:
        """One large step, perhaps after a long quiet."""
        self.register += self.random.choice([Decimal(20), Decimal(55), Decimal(5), Decimal(300)])

    def another_chain(self) -> None:
        """Another Conta, gateway, unit or kind; sometimes zeros come first."""
        random = self.random
        self.kind = replace(
            self.kind,
            conta=random.choice([1, 2]),
            gateway=random.choice([1, 2]),
            unidade=random.choice([*SPELLINGS, *SPELLINGS, "MWh"]),
            tipo=random.choice(
                [self.kind.tipo] * 2 + ["ACUMULADA", "ACUMULADA", "SALDO", "INCREMENTAL", "INSTANTANEA"]
            ),
        )
        if random.random() < 0.3:
            self.zeros()

    def another_conta(self) -> None:
        """It passes to the other Conta; perhaps somebody says whose the step between is."""
        random = self.random
        self.kind = replace(self.kind, conta=3 - self.kind.conta)
        if random.random() < 0.5:
            self.add("decisions", Decision("ATRIBUIDA", None, random.choice([1, 2])))

    def another_spelling(self) -> None:
        """The same chain by another way: the gateway, or the unit's spelling."""
        self.kind = replace(self.kind, gateway=self.random.choice([1, 2]))
        if self.kind.unidade != "MWh":
            self.kind = replace(self.kind, unidade=self.random.choice(SPELLINGS))

    # readings and decisions

    def read(self) -> None:
        """The reading, sometimes twice, sometimes in conflict with itself."""
        random, value = self.random, self.register
        if self.pace != "extreme":
            value = self.wrap()
            if self.kind.tipo == "INCREMENTAL":
                value = Decimal(random.choice(self.load)) / 10_000 * random.choice([1, 1, 1, 1, -1])
            if self.shown:
                value = self.shown.pop(0).of(value)
        value, at = stored(value), self.moment + self.clock
        self.times.append(at)
        self.steps.append(Step("readings", at, replace(self.kind, time=at, valor=value)))
        if random.random() < 0.06:
            other = value if random.random() < 0.5 or self.pace == "extreme" else value + 5
            self.add("readings", replace(self.kind, time=at, valor=other))

    def wrap(self) -> Decimal:
        """What the register shows."""
        if self.kind.tipo != "SALDO":
            self.register %= CAPACITY
        value = self.register
        return value - CAPACITY if self.signed and value >= CAPACITY / 2 else value

    def decide(self) -> None:
        """Somebody decides on one of the last readings, perhaps not for long."""
        random = self.random
        at = random.choice(self.strange[-3:] if self.strange and random.random() < 0.5 else self.times[-6:])
        value = Decision(random.choice(DECISIONS))
        if random.random() < 0.2:
            right = [self.register, self.register + 1, Decimal(0)]
            corrected = random.choice(EXTREMES if self.pace == "extreme" else right)
            value = Decision(random.choice(["", "", "", value.decisao]), stored(corrected))
        elif random.random() < 0.1:
            value = Decision("ATRIBUIDA", None, random.choice([1, 2]))
        self.steps.append(Step("decisions", at, value))
        if random.random() < 0.2:
            self.steps.append(Step("decisions", at, None))


EVENTS: list[tuple[int, Callable[[History], None]]] = [
    (8, History.flicker),
    (10, History.zeros),
    (9, History.garbage),
    (9, History.spike),
    (4, History.ladder),
    (6, History.reboot),
    (4, History.saved_total),
    (5, History.rollover),
    (5, History.unrecorded_change),
    (6, History.recorded_change),
    (3, History.gap),
    (3, History.clock_jump),
    (3, History.faster),
    (5, History.large),
    (4, History.another_chain),
    (3, History.another_conta),
    (3, History.another_spelling),
]


def history(random: Random) -> list[Step]:
    """A history in order of time, hostile throughout."""
    return History(random).build()
