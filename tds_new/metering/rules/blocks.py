"""Readings and segments as 15-minute blocks.

Times are microseconds since 1970, consumption whole numbers of 0.000001.
"""

from dataclasses import dataclass, field

from tds_new.metering.rules.meter import Meter
from tds_new.metering.rules.segments import Occurrence, Register, Segment, SegmentClass
from tds_new.metering.times import BLOCK_US


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
    def measured(self) -> int:
        """The row's ``fracao_medida`` in whole 0.0001, cut."""
        return min(self.covered, BLOCK_US) * 10_000 // BLOCK_US


@dataclass(slots=True)
class Chain:
    """Neighbouring readings of one Conta, kind and unit: times, values and gateways.

    ``values`` are whole 0.0001 of the unit.
    """

    conta_id: int
    kind: str
    unit: str
    times: list[int] = field(default_factory=list)
    values: list[int] = field(default_factory=list)
    gateways: list[int] = field(default_factory=list)


@dataclass(slots=True)
class Computation:
    """Blocks by (Conta, start) and occurrences that a device's readings give.

    ``settled`` has the times of readings whose predecessors no longer matter to later ones.
    """

    blocks: dict[tuple[int, int], Block]
    occurrences: list[Occurrence]
    settled: list[int]


def half_even(value: int, divisor: int) -> int:
    """Return ``value / divisor`` rounded to a whole number, ties to the even one."""
    quotient, rest = divmod(value, divisor)
    return quotient + (2 * rest > divisor or (2 * rest == divisor and quotient & 1))


def scaled(value: int, factor: int) -> int:
    """Return a register amount (0.0001) times a factor (0.000001), in whole 0.000001."""
    return value * 100 if factor == 1_000_000 else half_even(value * factor, 10_000)


def compute_chains(chains: list[Chain], meter: Meter) -> Computation:
    """Compute a device's chains.

    The first reading of all must be a settled one, or the device's first.
    """
    computation = Computation({}, [], [])
    for number, chain in enumerate(chains):
        following = chains[number + 1].times[0] if number + 1 < len(chains) else None
        _count_readings(computation.blocks, chain, meter)
        if chain.kind == "ACUMULADA":
            register = Register(meter)
            for time, value in zip(chain.times, chain.values, strict=True):
                register.feed(time, value)
            register.end_chain(following)
            computation.occurrences += register.occurrences
            computation.settled += register.settled
            gateways = dict(zip(chain.times, chain.gateways, strict=True))
            for segment in register.segments:
                _split(computation.blocks, segment, meter, chain.conta_id, gateways[segment.end])
        else:
            computation.settled += chain.times
            _cover_pairs(computation.blocks, chain, meter)
    return computation


def _block(blocks: dict[tuple[int, int], Block], conta_id: int, start: int, gateway_id: int) -> Block:
    block = blocks.get((conta_id, start))
    if block is None:
        block = blocks[conta_id, start] = Block(gateway_id)
    return block


def _count_readings(blocks: dict[tuple[int, int], Block], chain: Chain, meter: Meter) -> None:
    gauge, incremental = chain.kind == "INSTANTANEA", chain.kind == "INCREMENTAL"
    for time, value, gateway_id in zip(chain.times, chain.values, chain.gateways, strict=True):
        block = _block(blocks, chain.conta_id, time - time % BLOCK_US, gateway_id)
        block.readings += 1
        if time > block.last_reading:
            block.gateway_id, block.last_reading = gateway_id, time
        if gauge:
            _sample(block, scaled(value, meter.parameters_at(time).factor))
        elif incremental:
            block.consumption = (block.consumption or 0) + scaled(value, meter.parameters_at(time).factor)
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


def _cover_pairs(blocks: dict[tuple[int, int], Block], chain: Chain, meter: Meter) -> None:
    """Count short times between neighbouring increments or gauges as covered."""
    longest = 3 * meter.expected_interval
    for start, end in zip(chain.times, chain.times[1:], strict=False):
        if end - start <= longest:
            at = start - start % BLOCK_US
            while at < end:
                # A pair opens no block in which there is no reading.
                if (block := blocks.get((chain.conta_id, at))) is not None:
                    block.covered += min(end, at + BLOCK_US) - max(start, at)
                at += BLOCK_US


def _split(
    blocks: dict[tuple[int, int], Block], segment: Segment, meter: Meter, conta_id: int, gateway_id: int
) -> None:
    """Spread a segment over the blocks that it crosses, in proportion to time.

    The last block gets what rounding leaves.
    """
    start, end, amount, kind = segment
    long = end - start > 3 * meter.expected_interval
    estimated = kind is SegmentClass.REINICIO
    parts = meter.parts(start, end) if meter.dated else ((start, end, meter.base.factor),)
    left = amount
    for begin, finish, factor in parts:
        share = left if finish == end else amount * (finish - begin) // (end - start)
        left -= share
        total = rest = scaled(share, factor)
        at = begin - begin % BLOCK_US
        while at < finish:
            overlap = min(finish, at + BLOCK_US) - max(begin, at)
            portion = rest if at + BLOCK_US >= finish else total * overlap // (finish - begin)
            rest -= portion
            block = _block(blocks, conta_id, at, gateway_id)
            block.consumption = (block.consumption or 0) + portion
            if estimated:
                block.estimated = True
            elif not long:
                block.covered += overlap
            if long:
                block.interpolated = True
            at += BLOCK_US
