"""A second implementation of the rules of metering: slow, from scratch, in fractions.

The ledger's results must equal this model's.

It is written from the rules' text alone and must stay so: nothing here comes from ``tds_new.metering``.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby, pairwise
from math import floor
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
HOUR = timedelta(hours=1)
REGISTERS = ("ACUMULADA", "SALDO")

FOLLOWERS = 3  # readings after the first that waits, before it is judged
LOOK_BACK = 6  # readings believed before the base
JUMPS = 4
MEMORY = timedelta(days=3)  # of a jump
DECIDED = {"APROVADA", "REINICIO", "RETORNO"}

BEFORE, AFTER = timedelta(days=7), timedelta(hours=24)  # INCOMUM: where the largest hour is looked for
FEWEST_HOURS = 24

SPELLINGS = {
    "wh": "Wh",
    "kwh": "kWh",
    "mwh": "MWh",
    "l": "L",
    "litro": "L",
    "litros": "L",
    "m³": "m³",
    "m3": "m³",
    "m^3": "m³",
}


@dataclass(frozen=True)
class Reading:
    """A stored reading."""

    time: datetime
    valor: Decimal
    conta: int = 1
    gateway: int = 1
    tipo: str = "ACUMULADA"
    unidade: str = "kWh"


@dataclass(frozen=True)
class Parameters:
    """Of a device, or of a dated change: M, PMAX, eps and the factor."""

    capacity: Decimal | None = None
    pmax: Decimal | None = None
    eps: Decimal = Decimal(0)
    factor: Decimal = Decimal(1)


class Change(NamedTuple):
    """A meter change: the old meter's last value, the new one's first."""

    final: Decimal
    initial: Decimal


class Decision(NamedTuple):
    """What a person decided on a reading."""

    decisao: str = ""
    valor_corrigido: Decimal | None = None
    atribuida_a: int | None = None


@dataclass
class Meter:
    """Everything about one device that its consumption depends on.

    ``intervals`` are the gateways' expected ones, in seconds, where not ``interval``; ``gateway`` is the one
    that it is behind now.
    """

    own: Parameters = Parameters()
    dated: dict[datetime, Parameters] = field(default_factory=dict)
    changes: dict[datetime, Change] = field(default_factory=dict)
    decisions: dict[datetime, Decision] = field(default_factory=dict)
    interval: int = 300
    intervals: dict[int, int] = field(default_factory=dict)
    gateway: int = 1
    carimbo: str = "FIM"
    readings: dict[datetime, Reading] = field(default_factory=dict)

    def parameters(self, moment: datetime) -> Parameters:
        """Return the parameters in force."""
        begun = [desde for desde in self.dated if desde <= moment]
        return self.dated[max(begun)] if begun else self.own

    def expected(self) -> timedelta:
        """Return the expected interval."""
        return timedelta(seconds=self.intervals.get(self.gateway, self.interval))

    def longest(self) -> timedelta:
        """Return the longest time between two readings that counts as measured."""
        return 3 * self.expected()

    def changes_between(self, before: datetime, until: datetime) -> list[Change]:
        """Return the meter changes in order; ``until`` is included, ``before`` is not."""
        return [self.changes[at] for at in sorted(self.changes) if before < at <= until]

    def decisao(self, reading: Reading) -> str:
        """Return the decision on a reading."""
        return self.decisions.get(reading.time, Decision()).decisao

    def limit(self, base: Reading, later: Reading) -> Fraction | None:
        """Return the largest plausible consumption between two readings; None if there is no limit."""
        return self.limit_of(later, later.time - base.time)

    def limit_of(self, reading: Reading, length: timedelta) -> Fraction | None:
        """Return the largest plausible consumption in so long a time, by what is in force at a reading."""
        pmax = self.parameters(reading.time).pmax
        return None if pmax is None else Fraction(pmax) * ratio(max(length, HOUR), HOUR)


class Segment(NamedTuple):
    """A counted pair: consumption ``d`` of the register from ``start`` to ``end``.

    ``reading`` is the one that it was counted with.
    """

    classe: str
    start: datetime
    end: datetime
    d: Decimal
    reading: Reading


class Occurrence(NamedTuple):
    """A row of tds_new_ocorrencia_medicao, without the device and the rule."""

    leitura_em: datetime
    conta_id: int
    valor: Decimal
    classe: str
    inicio: datetime
    valor_base: Decimal
    consumo: Decimal | None
    decidida_em: datetime | None
    espera: bool


class Block(NamedTuple):
    """A row of tds_new_consumo_15min, without the device."""

    bloco: datetime
    conta_id: int
    gateway_id: int
    consumo: Decimal | None
    leituras: int
    fracao_medida: Decimal
    qualidade: str
    minimo: Decimal | None
    maximo: Decimal | None
    soma: Decimal | None
    ultimo: Decimal | None
    amostras: int | None


class State(NamedTuple):
    """The borders in a row of tds_new_consumo_estado."""

    assentado_ate: datetime | None
    provisorio_desde: datetime | None


Blocks = dict[tuple[datetime, int], Block]
Occurrences = dict[datetime, Occurrence]


class Figures(NamedTuple):
    """Everything that follows from what is stored about a device.

    Blocks by start and Conta, occurrences by the reading's time.
    """

    blocks: Blocks
    occurrences: Occurrences
    state: State


@dataclass
class Judged:
    """What a chain gave. ``last`` is its last base, of a register."""

    chain: list[Reading]
    segments: list[Segment]
    occurrences: Occurrences
    state: State
    last: Reading | None = None


def compute(meter: Meter) -> Figures:
    """Return everything that follows from what is stored about a device."""
    chains = split(meter)
    judged = [
        judge(meter, chain, after[0] if after else None)
        for chain, after in zip(chains, [*chains[1:], None], strict=False)
    ]
    segments: list[tuple[int, Segment]] = []
    occurrences: Occurrences = {}
    for before, part in zip([None, *judged], judged, strict=False):
        segments += [(one.reading.conta, one) for one in part.segments]
        occurrences |= part.occurrences
        if before and before.last and is_transfer(before.chain[-1], part.chain[0]):
            found, segment = transfer(meter, before.last, part.chain[0])
            occurrences[found.leitura_em] = found
            segments += [segment] if segment else []
    return Figures(
        blocks(meter, chains, segments), occurrences, judged[-1].state if judged else State(None, None)
    )


def split(meter: Meter) -> list[list[Reading]]:
    """The chains, in order of time, with corrected values; discarded readings are in none."""
    kept = []
    for time in sorted(meter.readings):
        decision = meter.decisions.get(time, Decision())
        if decision.decisao != "DESCARTADA":
            reading = meter.readings[time]
            if decision.valor_corrigido is not None:
                reading = replace(reading, valor=decision.valor_corrigido)
            kept.append(reading)
    return [
        list(chain) for _, chain in groupby(kept, lambda one: (one.conta, one.tipo, canonical(one.unidade)))
    ]


def canonical(unidade: str) -> str:
    """Return the usual spelling of a unit."""
    return SPELLINGS.get("".join(unidade.split()).lower(), unidade.strip())


def judge(meter: Meter, chain: list[Reading], following: Reading | None) -> Judged:
    """What a chain counts. ``following`` is the first reading of the next chain."""
    if chain[0].tipo in REGISTERS:
        register = Register(meter, chain)
        for reading in chain[1:]:
            register.feed(reading)
        register.end(following)
        occurrences = register.occurrences
        if not register.net:
            occurrences = with_unusual(meter, chain[0], register.segments, occurrences)
        return Judged(chain, register.segments, occurrences, register.state(), register.base)
    state = State(chain[-1].time, None)
    if chain[0].tipo == "INCREMENTAL":
        return Judged(chain, *increments(meter, chain), state)
    return Judged(chain, [], {}, state)


# --- registers


class Jump(NamedTuple):
    """A change of level: ``base`` before it, ``first`` after it; whether it was judged a REINICIO."""

    base: Reading
    first: Reading
    restart: bool


class Register:
    """What is known of the register of a chain while its readings come, in order of time."""

    def __init__(self, meter: Meter, chain: Sequence[Reading]) -> None:
        self.meter, self.chain, self.net = meter, chain, chain[0].tipo == "SALDO"
        self.line: list[Reading] = [chain[0]]  # L; its last one is the base
        self.waiting: list[Reading] = []  # W
        self.jumps: list[Jump] = []  # J
        self.segments: list[Segment] = []
        self.occurrences: Occurrences = {}

    @property
    def base(self) -> Reading:
        """b, the last reading believed."""
        return self.line[-1]

    @property
    def last(self) -> Reading:
        """The last one that waits, or the base."""
        return self.waiting[-1] if self.waiting else self.base

    def state(self) -> State:
        """Return how far the chain is settled, and from where on it is provisional."""
        if self.jumps:
            return State(self.jumps[0].base.time, self.jumps[0].base.time)
        return State(self.line[0].time, self.base.time if self.waiting else None)

    def feed(self, x: Reading) -> None:
        """Take the next reading: the first rule that matches."""
        self.jumps = [jump for jump in self.jumps if x.time - jump.first.time <= MEMORY]
        rules = (self.a_person_decided, self.it_came_back_at_once, self.it_came_back_later, self.it_goes_on)
        if not any(rule(x) for rule in rules):
            self.waiting.append(x)
            if len(self.waiting) > FOLLOWERS:
                self.judge_the_first()

    def end(self, following: Reading | None) -> None:
        """End the chain: nothing more comes, or another chain begins."""
        self.suspect(self.waiting, self.base, following, in_doubt=following is None, all_of_them=True)

    # rules

    def a_person_decided(self, x: Reading) -> bool:
        """Rule 1."""
        decisao, b, d = self.meter.decisao(x), self.base, Decimal(0)
        if decisao not in DECIDED:
            return False
        classe, rise = "RETORNO", self.difference(b, x)
        if decisao == "REINICIO" and x.valor >= 0:
            classe, d = "REINICIO", x.valor
        elif decisao != "RETORNO" and (rise >= 0 or self.net):
            classe, d = self.kind(b, x), rise
        self.suspect_waiting(x)
        self.count(classe, x, d)
        self.line, self.jumps = [x], []
        return True

    def it_came_back_at_once(self, x: Reading) -> bool:
        """Rule 2."""
        if not self.waiting or self.continues(self.base, x) is None:
            return False
        b, w, last = self.base, self.waiting[0], self.last
        follows_last = self.continues(last, x) is not None
        if follows_last and (
            self.net or not w.valor < b.valor or self.restarts() or not self.leaps_back(b, w, x, 10)
        ):
            return False
        in_doubt = follows_last and last.valor - w.valor > max(Decimal(0), x.valor - b.valor)
        self.suspect_waiting(x, in_doubt=in_doubt)
        self.advance(x)
        return True

    def it_came_back_later(self, x: Reading) -> bool:
        """Rule 3."""
        last = self.last
        follows_last = self.continues(last, x) is not None
        if follows_last and self.restarts():
            return False
        for number in reversed(range(len(self.jumps))):
            a, w, restart = self.jumps[number]
            if self.continues(a, x) is None or not self.leaps_back(a, w, x, 10 if follows_last else 2):
                continue
            limit = self.meter.limit(last, x)
            could_restart = 0 <= 10 * x.valor <= last.valor and (limit is None or x.valor <= limit)
            taken_back = self.withdraw(a)
            in_doubt = any(segment.d != 0 for segment in taken_back) and (restart or could_restart)
            self.waiting = []
            self.suspect(self.between(a, x), a, x, in_doubt=in_doubt)
            self.jumps = self.jumps[:number]
            self.line = [a]
            self.advance(x)
            return True
        return False

    def it_goes_on(self, x: Reading) -> bool:
        """Rule 4."""
        if self.waiting or self.continues(self.base, x) is None:
            return False
        self.advance(x)
        return True

    def judge_the_first(self) -> None:
        """Rule 6."""
        w, b, third = self.waiting[0], self.base, self.waiting[-1]
        followers, self.waiting = self.waiting, []
        if not self.net and (outliers_after := self.level_before(b, w, followers)) is not None:
            self.withdraw(outliers_after)
            self.suspect(self.between(outliers_after, w), outliers_after, third)
            self.line = [outliers_after]
        else:
            classe, d, in_doubt = self.judgement(b, w, followers)
            espera = classe in {"IMPLAUSIVEL", "EXCESSO"} or in_doubt
            self.note(classe, w, b, d, third, espera=espera)
            if d is not None:
                self.segments.append(Segment(classe, b.time, w.time, d, w))
            self.jumps = [*self.jumps, Jump(b, w, restart=classe == "REINICIO")][-JUMPS:]
            self.line, followers = [w], followers[1:]
        for x in followers:
            self.feed(x)

    def level_before(self, b: Reading, w: Reading, waiting: list[Reading]) -> Reading | None:
        """Rule 6a: the reading of L after which everything before w was an outlier."""
        if not w.valor < b.valor:
            return None
        for a in reversed(self.line[:-1]):
            usual = 3 * greatest_slope(waiting) * in_microseconds(b.time - a.time)
            if (
                self.continues(a, w) is not None
                and not self.meter.changes_between(a.time, w.time)
                and 10 * (w.valor - a.valor) <= b.valor - w.valor
                and b.valor - a.valor > usual
            ):
                return a
        return None

    def judgement(self, b: Reading, w: Reading, waiting: list[Reading]) -> tuple[str, Decimal | None, bool]:
        """Rules 6b to 6e: class, consumption and whether it is in doubt."""
        kept_out = ("IMPLAUSIVEL", None, False)
        if self.net or self.meter.changes_between(b.time, w.time):
            return kept_out
        length, limit = w.time - b.time, self.meter.limit(b, w)
        v = max(greatest_slope(self.line), greatest_slope(waiting))
        usual = 3 * v * in_microseconds(max(length, HOUR))
        if w.valor < b.valor:
            capacity = self.meter.parameters(w.time).capacity
            if capacity is not None:
                c = capacity - b.valor + w.valor
                if c >= 0 and (limit is None or c <= limit) and (10 * c <= capacity or c <= usual):
                    return "VIRADA", c, False
            if w.valor >= 0 and (10 * w.valor <= b.valor or w.valor <= usual):
                if w.valor > usual or (limit is not None and w.valor > limit):
                    return "REINICIO", Decimal(0), True
                return "REINICIO", w.valor, False
        elif w.valor > b.valor:
            slopes = sorted(slope(one, other) for one, other in pairwise(waiting))
            if w.valor - b.valor <= 3 * slopes[1] * in_microseconds(length):
                return "EXCESSO", w.valor - b.valor, False
        return kept_out

    # what the rules are made of

    def continues(self, a: Reading, x: Reading) -> str | None:
        """Whether x continues a, and as what."""
        d, limit, kind = self.difference(a, x), self.meter.limit(a, x), self.kind(a, x)
        plausible = limit is None or (abs(d) if self.net else d) <= limit
        if plausible and (self.net or d >= 0):
            return kind
        if kind == "TROCA" or self.net or x.valor >= a.valor:
            return None
        fall = a.valor - x.valor
        return "QUEDA" if fall <= self.meter.parameters(x.time).eps and 10 * fall <= abs(a.valor) else None

    def kind(self, a: Reading, x: Reading) -> str:
        """NORMAL, or TROCA where meter changes lie between."""
        return "TROCA" if self.meter.changes_between(a.time, x.time) else "NORMAL"

    def difference(self, a: Reading, x: Reading) -> Decimal:
        """What the register counted between two readings, over meter changes."""
        changes = self.meter.changes_between(a.time, x.time)
        starts = [a.valor, *(change.initial for change in changes)]
        ends = [*(change.final for change in changes), x.valor]
        return sum((end - start for start, end in zip(starts, ends, strict=True)), Decimal(0))

    def leaps_back(self, b: Reading, w: Reading, x: Reading, n: int) -> bool:
        """Whether x leaps back n-close over the jump from b to w."""
        last = self.last
        step, jump = x.valor - last.valor, w.valor - b.valor
        if self.meter.changes_between(b.time, x.time) or (step > 0) == (jump > 0) or not step or not jump:
            return False
        if 2 * abs(step) < abs(jump):
            return False
        away = min(abs(x.valor - b.valor), abs(x.valor - b.valor - (last.valor - w.valor)))
        return n * away <= abs(step)

    def restarts(self) -> bool:
        """Whether the register is one that restarts: two are among the jumps."""
        return sum(jump.restart for jump in self.jumps) >= 2

    def between(self, a: Reading, x: Reading) -> list[Reading]:
        """The chain's readings between two."""
        return [reading for reading in self.chain if a.time < reading.time < x.time]

    # what the rules do

    def advance(self, x: Reading) -> None:
        """Count x, which continues the base."""
        b, classe = self.base, self.continues(self.base, x)
        if classe is None:
            raise AssertionError(f"{x} does not continue {b}")
        if classe == "QUEDA":
            self.note("QUEDA", x, b, None, x)
            self.segments.append(Segment("NORMAL", b.time, x.time, Decimal(0), x))
            self.line = [*self.line, replace(b, time=x.time)][-LOOK_BACK - 1 :]
            return
        self.count(classe, x, self.difference(b, x))
        if classe == "TROCA":
            self.line, self.jumps = [x], []
        else:
            self.line = [*self.line, x][-LOOK_BACK - 1 :]

    def count(self, classe: str, x: Reading, d: Decimal) -> None:
        """Count a segment that x itself decided."""
        self.segments.append(Segment(classe, self.base.time, x.time, d, x))
        if classe != "NORMAL":
            self.note(classe, x, self.base, d, x)

    def withdraw(self, a: Reading) -> list[Segment]:
        """Take back everything counted since a. Returns it."""
        taken_back = [segment for segment in self.segments if segment.start >= a.time]
        self.segments = [segment for segment in self.segments if segment.start < a.time]
        return taken_back

    def suspect_waiting(self, x: Reading, *, in_doubt: bool = False) -> None:
        """Whatever waits is suspect, decided by x. Nothing waits then."""
        self.suspect(self.waiting, self.base, x, in_doubt=in_doubt)
        self.waiting = []

    def suspect(
        self,
        readings: Sequence[Reading],
        base: Reading,
        decided_by: Reading | None,
        *,
        in_doubt: bool = False,
        all_of_them: bool = False,
    ) -> None:
        """These readings are suspect; the first of them, or all, wait for a person if in doubt."""
        for number, reading in enumerate(readings):
            espera = in_doubt and (all_of_them or number == 0)
            self.note("SUSPEITA", reading, base, None, decided_by, espera=espera)

    def note(
        self,
        classe: str,
        reading: Reading,
        base: Reading,
        consumo: Decimal | None,
        decided_by: Reading | None,
        *,
        espera: bool = False,
    ) -> None:
        """Write down what a reading is, in place of what it was before."""
        self.occurrences[reading.time] = Occurrence(
            reading.time,
            reading.conta,
            reading.valor,
            classe,
            base.time,
            base.valor,
            consumo,
            decided_by.time if decided_by else None,
            espera and self.meter.decisao(reading) != "VISTA",
        )


MICROSECOND = timedelta(microseconds=1)


def in_microseconds(length: timedelta) -> int:
    """A length of time as a whole number."""
    return length // MICROSECOND


def slope(one: Reading, other: Reading) -> Fraction:
    """The rise from one reading to a later one, per microsecond."""
    return Fraction(other.valor - one.valor) / in_microseconds(other.time - one.time)


def greatest_slope(readings: Sequence[Reading]) -> Fraction:
    """The largest rise per microsecond of neighbours, at least 0."""
    return max([Fraction(0), *(slope(one, other) for one, other in pairwise(readings))])


# --- a change of Conta


def is_transfer(before: Reading, first: Reading) -> bool:
    """Whether two neighbours of different chains are the same register, of another Conta."""
    return (
        before.tipo == first.tipo
        and before.tipo in REGISTERS
        and canonical(before.unidade) == canonical(first.unidade)
    )


def transfer(meter: Meter, base: Reading, first: Reading) -> tuple[Occurrence, tuple[int, Segment] | None]:
    """The occurrence of a change of Conta, and the segment where a person attributed it, with that Conta."""
    register = Register(meter, [base])
    decision = meter.decisions.get(first.time, Decision())
    attributed = decision.decisao == "ATRIBUIDA" and decision.atribuida_a in {base.conta, first.conta}
    d = register.difference(base, first)
    segment = None
    if attributed and (d >= 0 or register.net) and decision.atribuida_a is not None:
        kind = register.kind(base, first)
        segment = decision.atribuida_a, Segment(kind, base.time, first.time, d, first)
    found = Occurrence(
        first.time,
        first.conta,
        first.valor,
        "TRANSFERENCIA",
        base.time,
        base.valor,
        d if segment else None,
        first.time,
        not attributed and decision.decisao != "VISTA",
    )
    return found, segment


# --- increments


def increments(meter: Meter, chain: list[Reading]) -> tuple[list[Segment], Occurrences]:
    """What the increments of a chain count, and which of them are kept out."""
    times = [reading.time for reading in chain]
    if meter.carimbo == "INICIO":
        intervals = pairwise([*times, times[-1] + meter.expected()])
    else:
        intervals = pairwise([times[0] - meter.expected(), *times])
    segments: list[Segment] = []
    occurrences: Occurrences = {}
    for reading, (start, end) in zip(chain, intervals, strict=True):
        limit, decisao = meter.limit_of(reading, end - start), meter.decisao(reading)
        if limit is None or abs(reading.valor) <= limit or decisao == "APROVADA":
            segments.append(Segment("INCREMENTO", start, end, reading.valor, reading))
        else:
            occurrences[reading.time] = Occurrence(
                reading.time,
                reading.conta,
                reading.valor,
                "IMPLAUSIVEL",
                start,
                Decimal(0),
                None,
                reading.time,
                decisao != "VISTA",
            )
    return segments, occurrences


# --- what is unusual


def with_unusual(
    meter: Meter, first: Reading, segments: list[Segment], occurrences: Occurrences
) -> Occurrences:
    """The occurrences of a chain that begins with ``first``, with those of unusual segments."""
    figures: dict[datetime, Decimal] = defaultdict(Decimal)  # of UTC hours
    for segment in segments:
        for start, amount in spread(meter, segment):
            figures[hour_of(start)] += amount
    found = dict(occurrences)
    for segment in segments:
        reading = segment.reading
        if segment.classe not in {"NORMAL", "VIRADA"} or meter.decisao(reading) in DECIDED:
            continue
        if not is_unusual(segment, segments, figures, first):
            continue
        before = found.get(reading.time)
        espera = meter.decisao(reading) != "VISTA"
        if before is not None and segment.classe == "VIRADA":
            found[reading.time] = before._replace(espera=espera)
        elif before is None:  # not the segment of 0 of a QUEDA, about which nobody is asked
            found[reading.time] = Occurrence(
                reading.time,
                reading.conta,
                reading.valor,
                "INCOMUM",
                segment.start,
                reading.valor - segment.d,
                None,
                reading.time,
                espera,
            )
    return found


def is_unusual(
    segment: Segment,
    segments: list[Segment],
    figures: dict[datetime, Decimal],
    first: Reading,
) -> bool:
    """Whether a segment is so large that a person should look at it."""
    since, until = hour_of(segment.start), hour_of(segment.end - MICROSECOND) + HOUR
    together = [
        one
        for one in segments
        if one.classe in {"NORMAL", "VIRADA"} and one.start < until and one.end > since
    ]
    if max(together, key=lambda one: one.d) is not segment:  # the first of equals
        return False
    around = [
        amount
        for hour, amount in figures.items()
        if since - BEFORE <= hour < since or until <= hour < until + AFTER
    ]
    if len(around) < FEWEST_HOURS:
        return False
    from_zero = segment.start == first.time and first.valor == 0
    hold = sum(amount for hour, amount in figures.items() if since <= hour < until)
    hours = max(Fraction(1), ratio(segment.end - segment.start, HOUR))
    return Fraction(hold) > (1 if from_zero else 10) * hours * Fraction(max(around))


def hour_of(moment: datetime) -> datetime:
    """The start of the UTC hour that ``moment`` is in."""
    return moment - (moment - EPOCH) % HOUR


# --- blocks


@dataclass
class Content:
    """The content of a block's row.

    The readings in it, the counted segments over it, the time measured, and its shares of segments.
    """

    readings: list[Reading] = field(default_factory=list)
    segments: list[Segment] = field(default_factory=list)
    covered: timedelta = timedelta(0)
    from_segments: Decimal = Decimal(0)


def blocks(meter: Meter, chains: list[list[Reading]], segments: list[tuple[int, Segment]]) -> Blocks:
    """Every block that holds a reading or is overlapped by a counted segment; these with their Contas."""
    contents: dict[tuple[datetime, int], Content] = defaultdict(Content)
    for chain in chains:
        for reading in chain:
            contents[block_of(reading.time), reading.conta].readings.append(reading)
    for conta, segment in segments:
        for start, amount in spread(meter, segment):
            contents[start, conta].segments.append(segment)
            contents[start, conta].from_segments += amount
    measured = [(conta, s.start, s.end) for conta, s in segments if s.classe not in {"REINICIO", "RETORNO"}]
    measured += [
        (other.conta, one.time, other.time)
        for chain in chains
        if chain[0].tipo == "INSTANTANEA"
        for one, other in pairwise(chain)
    ]
    for conta, begin, end in measured:
        if end - begin <= meter.longest():
            for start in blocks_between(begin, end):
                if (start, conta) in contents:
                    contents[start, conta].covered += min(end, start + QUARTER) - max(begin, start)
    return {key: block(meter, key, content) for key, content in contents.items()}


def block(meter: Meter, key: tuple[datetime, int], content: Content) -> Block:
    """Return the row of a block."""
    inside, over = content.readings, content.segments
    gauges = [
        half_even(Fraction(reading.valor) * Fraction(meter.parameters(reading.time).factor))
        for reading in inside
        if reading.tipo == "INSTANTANEA"
    ]
    if any(s.classe in {"REINICIO", "RETORNO"} for s in over):
        qualidade = "ESTIMADO"
    elif any(s.end - s.start > meter.longest() for s in over):
        qualidade = "INTERPOLADO"
    else:
        qualidade = "MEDIDO"
    return Block(
        bloco=key[0],
        conta_id=key[1],
        gateway_id=inside[-1].gateway if inside else over[0].reading.gateway,
        consumo=None if not over and len(gauges) == len(inside) else content.from_segments,
        leituras=len(inside),
        fracao_medida=cut_down(ratio(min(content.covered, QUARTER), QUARTER), 4),
        qualidade=qualidade,
        minimo=min(gauges, default=None),
        maximo=max(gauges, default=None),
        soma=sum(gauges, Decimal(0)) if gauges else None,
        ultimo=gauges[-1] if gauges else None,
        amostras=len(gauges) or None,
    )


def spread(meter: Meter, segment: Segment) -> Iterator[tuple[datetime, Decimal]]:
    """Yield each block's share of a segment: what the running sum, rounded, gains in it."""
    pieces = []
    moments = [segment.start, *sorted(d for d in meter.dated if segment.start < d < segment.end), segment.end]
    per_microsecond = Fraction(segment.d) / in_microseconds(segment.end - segment.start)
    before = Fraction(0)
    for since, until in pairwise(moments):
        rate = per_microsecond * Fraction(meter.parameters(since).factor)
        pieces.append((since, until, before, rate))
        before += rate * in_microseconds(until - since)
    gained = Decimal(0)
    for start in blocks_between(segment.start, segment.end):
        moment = min(start + QUARTER, segment.end)
        while moment > pieces[0][1]:
            pieces.pop(0)
        since, _, before, rate = pieces[0]
        running = half_even(before + rate * in_microseconds(moment - since))
        yield start, running - gained
        gained = running


def block_of(moment: datetime) -> datetime:
    """The start of the block that ``moment`` is in."""
    return moment - (moment - EPOCH) % QUARTER


def blocks_between(begin: datetime, end: datetime) -> Iterator[datetime]:
    """The blocks that [begin, end) overlaps."""
    start = block_of(begin)
    while start < end:
        yield start
        start += QUARTER


def ratio(one: timedelta, other: timedelta) -> Fraction:
    """One duration divided by the other, exactly."""
    return Fraction(in_microseconds(one), in_microseconds(other))


def cut_down(exact: Fraction, places: int) -> Decimal:
    """The largest number with so many decimals that is not above ``exact``."""
    return Decimal(floor(exact * 10**places)).scaleb(-places)


def half_even(exact: Fraction) -> Decimal:
    """Rounded to six decimals, ties to the even one."""
    return Decimal(round(exact * 10**6)).scaleb(-6)
