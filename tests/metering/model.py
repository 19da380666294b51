"""A second implementation of docs/metering.md: slow, from scratch, in fractions.

The ledger's results must equal this model's.

It is written from the document alone and must stay so: nothing here comes from ``tds_new.metering``.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from itertools import groupby, pairwise
from math import floor
from typing import NamedTuple

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
COUNTED = ("TROCA", "NORMAL", "VIRADA", "REINICIO")


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


@dataclass
class Meter:
    """Everything about one device that its consumption depends on.

    ``intervals`` are the gateways' expected ones, in seconds, where not ``interval``; ``gateway`` is the one
    that it is behind now.
    """

    own: Parameters = Parameters()
    dated: dict[datetime, Parameters] = field(default_factory=dict)
    changes: dict[datetime, Change] = field(default_factory=dict)
    decisions: dict[datetime, str] = field(default_factory=dict)
    interval: int = 300
    intervals: dict[int, int] = field(default_factory=dict)
    gateway: int = 1
    readings: dict[datetime, Reading] = field(default_factory=dict)

    def parameters(self, moment: datetime) -> Parameters:
        """Return the parameters in force."""
        begun = [desde for desde in self.dated if desde <= moment]
        return self.dated[max(begun)] if begun else self.own

    def longest(self) -> timedelta:
        """Return the longest time between two readings that counts as measured."""
        return 3 * timedelta(seconds=self.intervals.get(self.gateway, self.interval))

    def changes_between(self, before: datetime, until: datetime) -> list[Change]:
        """Return the meter changes in order; ``until`` is included, ``before`` is not."""
        return [self.changes[at] for at in sorted(self.changes) if before < at <= until]


class Segment(NamedTuple):
    """A counted pair: consumption ``d`` of the register from ``base`` to ``later``."""

    classe: str
    base: Reading
    later: Reading
    d: Decimal


class Occurrence(NamedTuple):
    """A row of tds_new_ocorrencia_medicao, without the device."""

    leitura_em: datetime
    conta_id: int
    valor: Decimal
    classe: str
    inicio: datetime
    valor_base: Decimal
    consumo: Decimal | None
    decidida_em: datetime | None


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


Blocks = dict[tuple[datetime, int], Block]
Occurrences = dict[datetime, Occurrence]


def compute(meter: Meter) -> tuple[Blocks, Occurrences]:
    """All blocks (by start and Conta) and all occurrences (by the reading's time) of a device."""
    chains = split(meter)
    segments: list[Segment] = []
    occurrences: list[Occurrence] = []
    for number, chain in enumerate(chains, 1):
        if chain[0].tipo == "ACUMULADA":
            judged = judge(meter, chain, chains[number][0] if number < len(chains) else None)
            segments += judged[0]
            occurrences += judged[1]
    return blocks(meter, chains, segments), {occurrence.leitura_em: occurrence for occurrence in occurrences}


def split(meter: Meter) -> list[list[Reading]]:
    """The chains, in order of time; discarded readings are in none."""
    kept = [
        meter.readings[time] for time in sorted(meter.readings) if meter.decisions.get(time) != "DESCARTADA"
    ]
    return [
        list(chain)
        for _, chain in groupby(kept, key=lambda reading: (reading.conta, reading.tipo, reading.unidade))
    ]


# --- segments


def judge(
    meter: Meter, chain: Sequence[Reading], following: Reading | None
) -> tuple[list[Segment], list[Occurrence]]:
    """The counted segments of a chain, and its occurrences.

    ``following`` is the first reading of the next chain.
    """
    segments: list[Segment] = []
    occurrences: list[Occurrence] = []
    base, waiting = chain[0], list[Reading]()

    def note(
        reading: Reading, classe: str, consumo: Decimal | None = None, decided_by: Reading | None = None
    ) -> None:
        decidida_em = decided_by.time if decided_by else None
        occurrences.append(
            Occurrence(
                reading.time,
                reading.conta,
                reading.valor,
                classe,
                base.time,
                base.valor,
                consumo,
                decidida_em,
            )
        )

    def suspect(decided_by: Reading | None) -> None:
        for reading in waiting:
            note(reading, "SUSPEITA", decided_by=decided_by)
        waiting.clear()

    for reading in chain[1:]:
        classe, d = classify(meter, base, reading)
        if classe == "QUEDA":
            suspect(reading)
            note(reading, "QUEDA", decided_by=reading)
        elif classe is not None:
            suspect(reading)
            segments.append(Segment(classe, base, reading, d))
            if classe != "NORMAL":
                note(reading, classe, d, reading)
            base = reading
        elif waiting and follows(meter, waiting[-1], reading):
            waiting.append(reading)
            if len(waiting) == 4:
                note(waiting[0], "IMPLAUSIVEL", decided_by=reading)
                segments += [
                    Segment("NORMAL", one, other, other.valor - one.valor) for one, other in pairwise(waiting)
                ]
                base = reading
                waiting.clear()
        else:
            suspect(reading)
            waiting.append(reading)
    suspect(following)
    return segments, occurrences


def classify(meter: Meter, base: Reading, reading: Reading) -> tuple[str | None, Decimal]:
    """Rules 1 to 5: the class of ``reading`` against ``base`` and d; None if it is not accepted."""
    refused = (None, Decimal(0))
    parameters = meter.parameters(reading.time)
    r0, r1, capacity = base.valor, reading.valor, parameters.capacity
    changes = meter.changes_between(base.time, reading.time)
    if changes:
        starts = [r0, *(change.initial for change in changes)]
        ends = [*(change.final for change in changes), r1]
        parts = [end - start for start, end in zip(starts, ends, strict=True)]
        d = sum(parts, Decimal(0))
        return ("TROCA", d) if d >= 0 and plausible(meter, base, reading, d) else refused
    if r1 >= r0:
        return ("NORMAL", r1 - r0) if plausible(meter, base, reading, r1 - r0) else refused
    if r0 - r1 <= parameters.eps:
        return "QUEDA", Decimal(0)
    if capacity is not None:
        c = capacity - r0 + r1
        near = (
            plausible(meter, base, reading, c)
            if pmax(meter, reading) is not None
            else r0 >= capacity * Decimal("0.9")
        )
        if c >= 0 and near:
            return "VIRADA", c
    if r1 >= 0 and plausible(meter, base, reading, r1):
        return "REINICIO", r1
    return refused


def follows(meter: Meter, waiting: Reading, reading: Reading) -> bool:
    """Return whether ``reading`` follows one that waits."""
    d = reading.valor - waiting.valor
    return (
        d >= 0
        and not meter.changes_between(waiting.time, reading.time)
        and plausible(meter, waiting, reading, d)
    )


def pmax(meter: Meter, reading: Reading) -> Decimal | None:
    """The largest plausible consumption per hour for a pair that ends with ``reading``.

    None if there is no limit.
    """
    return None if meter.decisions.get(reading.time) == "APROVADA" else meter.parameters(reading.time).pmax


def plausible(meter: Meter, earlier: Reading, later: Reading, d: Decimal) -> bool:
    """Return whether ``d`` is plausible between two readings."""
    limit = pmax(meter, later)
    return limit is None or Fraction(d) <= Fraction(limit) * ratio(
        later.time - earlier.time, timedelta(hours=1)
    )


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


def blocks(meter: Meter, chains: list[list[Reading]], segments: list[Segment]) -> Blocks:
    """Every block that holds a reading or is overlapped by a counted segment."""
    contents: dict[tuple[datetime, int], Content] = defaultdict(Content)
    for chain in chains:
        for reading in chain:
            contents[block_of(reading.time), reading.conta].readings.append(reading)
    for segment in segments:
        for start, _ in cuts(segment.base.time, segment.later.time):
            contents[start, segment.later.conta].segments.append(segment)
        for start, amount in spread(meter, segment):
            contents[start, segment.later.conta].from_segments += amount
    measured = [(s.base, s.later) for s in segments if s.classe != "REINICIO"]
    measured += [pair for chain in chains if chain[0].tipo != "ACUMULADA" for pair in pairwise(chain)]
    for one, other in measured:
        if other.time - one.time <= meter.longest():
            for start, length in cuts(one.time, other.time):
                if (start, other.conta) in contents:
                    contents[start, other.conta].covered += length
    return {key: block(meter, key, content) for key, content in contents.items()}


def block(meter: Meter, key: tuple[datetime, int], content: Content) -> Block:
    """Return the row of a block."""
    inside, over = content.readings, content.segments
    increments = [worth(meter, reading) for reading in inside if reading.tipo == "INCREMENTAL"]
    gauges = [worth(meter, reading) for reading in inside if reading.tipo == "INSTANTANEA"]
    only_gauges = not over and all(reading.tipo == "INSTANTANEA" for reading in inside)
    if any(s.classe == "REINICIO" for s in over):
        qualidade = "ESTIMADO"
    elif any(s.later.time - s.base.time > meter.longest() for s in over):
        qualidade = "INTERPOLADO"
    else:
        qualidade = "MEDIDO"
    return Block(
        bloco=key[0],
        conta_id=key[1],
        gateway_id=inside[-1].gateway if inside else over[-1].later.gateway,
        consumo=None if only_gauges else content.from_segments + sum(increments, Decimal(0)),
        leituras=len(inside),
        fracao_medida=cut_down(ratio(content.covered, QUARTER), 4),
        qualidade=qualidade,
        minimo=min(gauges, default=None),
        maximo=max(gauges, default=None),
        soma=sum(gauges, Decimal(0)) if gauges else None,
        ultimo=gauges[-1] if gauges else None,
        amostras=len(gauges) or None,
    )


def spread(meter: Meter, segment: Segment) -> Iterator[tuple[datetime, Decimal]]:
    """Yield each block's share of a segment; twice if the factor changes in it."""
    begin, end = segment.base.time, segment.later.time
    inside = [desde for desde in sorted(meter.dated) if begin < desde < end]
    border = [begin]
    for desde in inside:
        if meter.parameters(desde).factor != meter.parameters(border[-1]).factor:
            border.append(desde)
    parts = list(pairwise([*border, end]))
    for (since, until), d in zip(
        parts, portions(segment.d, [until - since for since, until in parts], 4), strict=True
    ):
        total = half_even(Fraction(d) * Fraction(meter.parameters(since).factor))
        pieces = list(cuts(since, until))
        for (start, _), amount in zip(
            pieces, portions(total, [length for _, length in pieces], 6), strict=True
        ):
            yield start, amount


def portions(total: Decimal, lengths: list[timedelta], places: int) -> list[Decimal]:
    """Divide ``total`` in proportion to ``lengths``.

    Each portion but the last is cut to so many decimals; the last one is the rest.
    """
    whole = sum(lengths, timedelta(0))
    first = [cut_down(Fraction(total) * ratio(length, whole), places) for length in lengths[:-1]]
    return [*first, total - sum(first)]


def worth(meter: Meter, reading: Reading) -> Decimal:
    """A single reading's value times the factor."""
    return half_even(Fraction(reading.valor) * Fraction(meter.parameters(reading.time).factor))


def block_of(moment: datetime) -> datetime:
    """The start of the block that ``moment`` is in."""
    return moment - (moment - EPOCH) % QUARTER


def cuts(begin: datetime, end: datetime) -> Iterator[tuple[datetime, timedelta]]:
    """The blocks that [begin, end) overlaps, and for how long."""
    start = block_of(begin)
    while start < end:
        yield start, overlap(start, begin, end)
        start += QUARTER


def overlap(start: datetime, begin: datetime, end: datetime) -> timedelta:
    """Return the time that [begin, end) has in the block that starts at ``start``."""
    return max(min(end, start + QUARTER) - max(begin, start), timedelta(0))


def ratio(one: timedelta, other: timedelta) -> Fraction:
    """One duration divided by the other, exactly."""
    microsecond = timedelta(microseconds=1)
    return Fraction(one // microsecond, other // microsecond)


def cut_down(exact: Fraction, places: int) -> Decimal:
    """The largest number with so many decimals that is not above ``exact``."""
    return Decimal(floor(exact * 10**places)).scaleb(-places)


def half_even(exact: Fraction) -> Decimal:
    """Rounded to six decimals, ties to the even one."""
    return Decimal(round(exact * 10**6)).scaleb(-6)
