"""Readings and segments as 15-minute blocks, by docs/metering.md.

Times are microseconds since 1970, consumption whole numbers of 0.000001.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from tds_new.metering.rules.meter import Meter, counted_by_each
from tds_new.metering.rules.segments import (
    NORMAL,
    Occurrence,
    Register,
    Segment,
    SegmentClass,
    State,
)
from tds_new.metering.times import BLOCK_US, END, HOUR_US
from tds_new.units import canonical_unit

REGISTERS = ("ACUMULADA", "SALDO")
ESTIMATES = (SegmentClass.REINICIO, SegmentClass.RETORNO)  # what they count is a lower bound
ONE = 1_000_000  # a factor of one
LONG = 3  # expected intervals; a longer segment is INTERPOLADO


@dataclass(slots=True)
class Block:
    """The sums of a block, as in ``ConsumoBloco``; ``covered`` in microseconds.

    ``last_reading`` is the time of the reading that gave ``gateway_id``.
    """

    gateway_id: int
    consumption: int | None = None
    readings: int = 0
    covered: int = 0
    interpolated: bool = False
    estimated: bool = False
    minimum: int | None = None
    maximum: int | None = None
    total: int | None = None
    samples: int | None = None
    last: int | None = None
    last_reading: int = -(2**63)

    @property
    def quality(self) -> str:
        """The row's ``qualidade``."""
        return "ESTIMADO" if self.estimated else "INTERPOLADO" if self.interpolated else "MEDIDO"

    @property
    def has_figure(self) -> bool:
        """Whether a counted segment overlaps it."""
        return bool(self.consumption or self.covered or self.interpolated or self.estimated)

    @property
    def measured(self) -> int:
        """The row's ``fracao_medida`` in whole 0.0001, cut."""
        return min(self.covered, BLOCK_US) * 10_000 // BLOCK_US


Blocks = dict[tuple[int, int], Block]


@dataclass(slots=True)
class Chain:
    """Neighbouring readings of one Conta, kind and unit: times, values and gateways.

    ``values`` are whole 0.0001 of the unit. Units are compared in their canonical spelling.
    """

    conta_id: int
    kind: str
    unit: str
    times: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    gateways: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Account:
    """What a chain's readings give, but for its blocks and occurrences.

    ``segments`` in order of time. ``states``, ``checkpoints``, ``lowest``, ``border`` and
    ``provisional_since`` are those of ``Register``; every reading of another kind than a register is a state.
    ``lowest`` of an increment's chain is where its first interval begins, before its stamp. ``base`` is the
    last reading accepted. ``zero_start``: the time of the chain's first reading, if that is 0
    and the run began at it.
    """

    conta_id: int
    kind: str
    segments: list[Segment] = field(default_factory=list)
    states: dict[int, State] = field(default_factory=dict)
    checkpoints: dict[int, State] = field(default_factory=dict)
    lowest: int | None = None
    border: int | None = None
    provisional_since: int | None = None
    base: tuple[int, int] | None = None
    zero_start: int | None = None


@dataclass(slots=True)
class Computation:
    """Blocks by (Conta, start) and occurrences that a device's readings give.

    The occurrences are in order of time, INCOMUM is not among them. ``accounts`` has one for each chain, in
    order. ``transfers`` are the segments between two chains that a person has attributed, with the Conta that
    they count for; they are in the blocks, and in no account.
    """

    blocks: Blocks = field(default_factory=dict)
    occurrences: list[Occurrence] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    transfers: list[tuple[int, Segment]] = field(default_factory=list)


class Increment(NamedTuple):
    """An increment and its interval, from ``start`` to ``end``."""

    start: int
    end: int
    time: int
    value: int
    gateway_id: int


def half_even(value: int, divisor: int) -> int:
    """Return ``value / divisor`` rounded to a whole number, ties to the even one."""
    quotient, rest = divmod(value, divisor)
    return quotient + (2 * rest > divisor or (2 * rest == divisor and quotient & 1))


def scaled(value: int, factor: int) -> int:
    """Return a register amount (0.0001) times a factor (0.000001), in whole 0.000001."""
    return value * 100 if factor == ONE else half_even(value * factor, 10_000)


def compute_chains(
    chains: list[Chain],
    meter: Meter,
    *,
    state: State | None = None,
    watch_from: int = END,
    clip: int | None = None,
) -> Computation:
    """Compute a device's chains.

    ``state``: the first chain goes on from it; readings up to its base are in the blocks' ``readings`` only.
    Without it the first reading is the device's first. ``watch_from``: states of readings after it are kept.
    ``clip``: no increment's interval begins before it (None: anywhere). Raises EarlierNeededError if the run
    must reach back before the state's base.
    """
    computation = Computation()
    for number, chain in enumerate(chains):
        following = chains[number + 1].times[0] if number + 1 < len(chains) else None
        _count_readings(computation.blocks, chain, meter)
        begun = state if number == 0 else None
        if chain.kind in REGISTERS:
            account = _count_register(computation, chain, meter, following, begun, watch_from)
        elif chain.kind == "INCREMENTAL":
            account = _count_increments(computation, chain, meter, begun, clip)
        else:
            _cover_pairs(computation.blocks, chain, meter)
            account = Account(chain.conta_id, chain.kind)
        if chain.kind not in REGISTERS:
            account.border = chain.times[-1]
            account.states = {
                time: State(((time, value),), ())
                for time, value in zip(chain.times, chain.values, strict=True)
                if time > watch_from
            }
        computation.accounts.append(account)
        if number:
            _transfer(computation, chains[number - 1], chain, meter)
    computation.occurrences.sort()
    return computation


def consumption_of(segments: Iterable[Segment], meter: Meter, width: int = HOUR_US) -> dict[int, int]:
    """Return a chain's consumption by the start of each hour, or block.

    ``width``: an hour or a block, in microseconds. An hour's is the sum of the blocks that these segments
    give.
    """
    found: dict[int, int] = {}
    for segment in segments:
        for start, portion, _ in portions(segment, meter, width):
            found[start] = found.get(start, 0) + portion
    return found


def _block(blocks: Blocks, conta_id: int, start: int, gateway_id: int) -> Block:
    block = blocks.get((conta_id, start))
    if block is None:
        block = blocks[conta_id, start] = Block(gateway_id)
    return block


def _count_readings(blocks: Blocks, chain: Chain, meter: Meter) -> None:
    gauge, conta_id = chain.kind == "INSTANTANEA", chain.conta_id
    for time, value, gateway_id in zip(chain.times, chain.values, chain.gateways, strict=True):
        key = conta_id, time - time % BLOCK_US
        block = blocks.get(key)
        if block is None:
            block = blocks[key] = Block(gateway_id)
        block.readings += 1
        if time > block.last_reading:
            block.gateway_id, block.last_reading = gateway_id, time
        if gauge:
            _sample(block, scaled(value, meter.parameters_at(time).factor))
        elif block.consumption is None:
            block.consumption = 0


def _sample(block: Block, value: int) -> None:
    if block.samples is None or block.minimum is None or block.maximum is None or block.total is None:
        block.minimum = block.maximum = block.total = value
        block.samples = 1
    else:
        block.minimum, block.maximum = min(block.minimum, value), max(block.maximum, value)
        block.total += value
        block.samples += 1
    block.last = value


def _cover_pairs(blocks: Blocks, chain: Chain, meter: Meter) -> None:
    """Count short times between neighbouring gauges as covered."""
    longest = LONG * meter.expected_interval
    for start, end in zip(chain.times, chain.times[1:], strict=False):
        if end - start <= longest:
            at = start - start % BLOCK_US
            while at < end:
                # A pair opens no block in which there is no reading.
                if (block := blocks.get((chain.conta_id, at))) is not None:
                    block.covered += min(end, at + BLOCK_US) - max(start, at)
                at += BLOCK_US


def _count_register(
    computation: Computation,
    chain: Chain,
    meter: Meter,
    following: int | None,
    state: State | None,
    watch_from: int,
) -> Account:
    register = Register(meter, net=chain.kind == "SALDO", state=state, watch_from=watch_from)
    begin = bisect_right(chain.times, state.line[-1][0]) if state else 0
    register.feed_all(chain.times[begin:], chain.values[begin:])
    register.end_chain(following)
    computation.occurrences += register.occurrences
    gateways = dict(zip(chain.times, chain.gateways, strict=True))
    longest = LONG * meter.expected_interval
    for segment in register.segments:
        if not _count_inside(computation.blocks, segment, meter, chain.conta_id, longest):
            long = segment.end - segment.start > longest
            _spread(computation.blocks, segment, meter, (chain.conta_id, gateways[segment.end]), long=long)
    return Account(
        chain.conta_id,
        chain.kind,
        register.segments,
        register.states,
        register.checkpoints,
        register.lowest,
        register.border,
        register.provisional_since,
        register.base,
        chain.times[0] if state is None and chain.values[0] == 0 else None,
    )


def _count_inside(blocks: Blocks, segment: Segment, meter: Meter, conta_id: int, longest: int) -> bool:
    """Count an ordinary segment that lies in one block, as most do.

    Return whether it is one.
    """
    start, end, amount, kind = segment
    at = start - start % BLOCK_US
    if kind is not NORMAL or end > at + BLOCK_US or end - start > longest or meter.dated:
        return False
    block = blocks.get((conta_id, at))
    if block is None:
        return False
    factor = meter.base.factor
    counted = amount * 100 if factor == ONE else half_even(amount * factor, 10_000)
    block.consumption = (block.consumption or 0) + counted
    block.covered += end - start
    return True


def _intervals(chain: Chain, meter: Meter, state: State | None) -> Iterator[Increment]:
    """Yield a chain's increments with their intervals.

    After a state the first interval is the one that begins at its reading.
    """
    expected = meter.expected_interval
    done = state.line[-1] if state else None
    times, values, gateways = chain.times, chain.values, chain.gateways
    begin = bisect_right(times, done[0]) if done else 0
    if meter.stamp_is_start:
        if done:
            end = times[begin] if begin < len(times) else done[0] + expected
            yield Increment(done[0], end, *done, gateways[max(0, begin - 1)])
        for at in range(begin, len(times)):
            end = times[at + 1] if at + 1 < len(times) else times[at] + expected
            yield Increment(times[at], end, times[at], values[at], gateways[at])
        return
    before = done[0] if done else times[0] - expected
    for at in range(begin, len(times)):
        yield Increment(before, times[at], times[at], values[at], gateways[at])
        before = times[at]


def _count_increments(
    computation: Computation, chain: Chain, meter: Meter, state: State | None, clip: int | None
) -> Account:
    account = Account(chain.conta_id, chain.kind)
    if state is None and not meter.stamp_is_start:
        account.lowest = chain.times[0] - meter.expected_interval
    longest = LONG * meter.expected_interval
    for increment in _intervals(chain, meter, state):
        start, end, time, value, gateway_id = increment
        limit = meter.parameters_at(time).limit(end - start)
        if limit is not None and abs(value) > limit and meter.decided.get(time) != "APROVADA":
            waits, numbers = time not in meter.looked, (("limite", limit),)
            kind = SegmentClass.IMPLAUSIVEL
            computation.occurrences.append(
                Occurrence(time, value, kind, start, 0, None, time, waits, "I", numbers)
            )
            continue
        begin = start if clip is None or clip >= end else max(start, clip)
        segment = Segment(begin, end, value, SegmentClass.NORMAL)
        account.segments.append(segment)
        _spread(computation.blocks, segment, meter, (chain.conta_id, gateway_id), long=end - start > longest)
    return account


def _transfer(computation: Computation, earlier: Chain, chain: Chain, meter: Meter) -> None:
    """Ask which Conta the segment between two chains is for, or count it there."""
    base = computation.accounts[-2].base
    if (
        base is None
        or earlier.conta_id == chain.conta_id
        or earlier.kind != chain.kind
        or canonical_unit(earlier.unit) != canonical_unit(chain.unit)
    ):
        return
    time, value = chain.times[0], chain.values[0]
    changes = meter.changes_between(base[0], time)
    difference = sum(counted_by_each(base[1], changes, value))
    attributed, counted = meter.attributed.get(time), None
    if attributed not in (earlier.conta_id, chain.conta_id):
        attributed = None
    if attributed is not None and (difference >= 0 or chain.kind == "SALDO"):
        counted = difference
        kind = SegmentClass.TROCA if changes else SegmentClass.NORMAL
        segment = Segment(base[0], time, difference, kind)
        computation.transfers.append((attributed, segment))
        long = time - base[0] > LONG * meter.expected_interval
        _spread(computation.blocks, segment, meter, (attributed, chain.gateways[0]), long=long)
    waits = attributed is None and time not in meter.looked
    numbers = (
        ("diferenca", difference),
        ("trocas", len(changes)),
        ("conta_antes", earlier.conta_id),
        ("conta_depois", chain.conta_id),
    )
    kind = SegmentClass.TRANSFERENCIA
    computation.occurrences.append(Occurrence(time, value, kind, *base, counted, time, waits, "T", numbers))


def portions(segment: Segment, meter: Meter, width: int) -> Iterator[tuple[int, int, int]]:
    """Yield start, consumption and covered microseconds of a segment's parts.

    The parts are those of each ``width`` microseconds that the segment overlaps.

    Let C(t) be the exact consumption from the segment's start to t: linear in time, times the factor in force
    at each moment. Each gets R(C(its end)) - R(C(its start)), R rounding half-even to 0.000001.
    """
    start, end, amount, _ = segment
    at = start - start % width
    if at + width >= end and not meter.dated:
        yield at, scaled(amount, meter.base.factor), end - start
        return
    divisor = (end - start) * 10_000
    weight = done = 0  # the factor's sum over the microseconds since the start; C there, rounded
    for begin, finish, factor in (
        meter.parts(start, end) if meter.dated else ((start, end, meter.base.factor),)
    ):
        while begin < finish:
            until = min(finish, at + width)
            weight += factor * (until - begin)
            total = half_even(amount * weight, divisor)
            yield at, total - done, until - begin
            done, begin = total, until
            if until == at + width:
                at = until


def _spread(blocks: Blocks, segment: Segment, meter: Meter, owner: tuple[int, int], *, long: bool) -> None:
    """Spread a segment over the blocks that it overlaps.

    ``owner``: the Conta, and the gateway of blocks without readings. ``long``: the segment is INTERPOLADO.
    """
    conta_id, gateway_id = owner
    estimated = segment.kind in ESTIMATES
    measured = not estimated and not long
    for start, portion, overlap in portions(segment, meter, BLOCK_US):
        block = blocks.get((conta_id, start))
        if block is None:
            block = blocks[conta_id, start] = Block(gateway_id)
        block.consumption = (block.consumption or 0) + portion
        if measured:
            block.covered += overlap
        elif estimated:
            block.estimated = True
        if long:
            block.interpolated = True
