"""Stale ranges in, figures out.

A stale range is computed from a reading that is settled whatever came later, up to one from which on nothing has changed; only rows
that differ are written. The caller holds the lock on the devices' partition, so nobody else writes their rows. Where readings were
dropped, a device's chain goes on from its anchors, and what lies before them is final.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import Cursor

from tds_new.metering.blocks import BLOCK_US, Chain, account
from tds_new.metering.meter import HOUR_US, Meter
from tds_new.metering.segments import Occurrence, SegmentClass
from tds_new.metering.tables import (
    BEGINNING,
    END,
    Result,
    Span,
    Written,
    count_readings,
    load_chains,
    load_final,
    load_meters,
    load_occurrences,
    nth_reading,
    write_blocks,
    write_occurrences,
)

MARGIN_US = HOUR_US  # read around a stale range at first; more where that is not enough
DAY_US = 24 * HOUR_US
LONG_US = DAY_US  # a longer range is measured before it is computed
LONGEST_STEP_US = 120 * DAY_US  # ... and computed in steps no longer than this, so that memory stays bounded,
STEP_READINGS = 100_000  # with no more readings than this,
MAX_READINGS = 200_000  # all in one transaction together with about so many
NEVER_BASES = {SegmentClass.QUEDA, SegmentClass.SUSPEITA}


@dataclass(slots=True)
class Stale:
    """A device's range of reading times to be computed again, and how far around it readings are read."""

    device_id: int
    first: int
    last: int
    final: int = BEGINNING  # before it nothing changes
    margin: int = MARGIN_US
    start: int = BEGINNING
    end: int = END
    reach: int = 16  # how many readings further to look, where the margin is not enough

    def __post_init__(self) -> None:
        """Read a margin around the range; what ends within the last hour may as well be read to its end."""
        if self.first > BEGINNING:
            self.start = self.first - self.first % BLOCK_US - self.margin
        if self.start < self.final:
            self.start = BEGINNING
        if self.last < now_us() - MARGIN_US:
            self.end = self.last - self.last % BLOCK_US + BLOCK_US + self.margin


def now_us() -> int:
    """The present, in microseconds since 1970."""
    return int(datetime.now(UTC).timestamp() * 1_000_000)


def compute(cursor: Cursor[Any], ranges: Iterable[Span]) -> tuple[Written, list[Span]]:
    """Compute stale ranges, at most one a device, and write what differs.

    Return what was written, and what is left of ranges that are too long for one go.
    """
    asked = list(ranges)
    devices = [device for device, _, _ in asked]
    final, meters = load_final(cursor, devices), load_meters(cursor, devices)
    pending = []
    for device, first, last in asked:
        since = final.get(device, BEGINNING)
        if device in meters and last >= since:
            pending.append(
                Stale(device, max(first, since), last, since, margin(meters[device].expected_interval))
            )
    pending, left = _bounded(cursor, pending)
    results: list[Result] = []
    while pending:
        spans = [Span(s.device_id, s.start, s.end) for s in pending]
        chains, known = load_chains(cursor, spans, meters), load_occurrences(cursor, spans)
        again: list[Stale] = []
        for stale in pending:
            device = stale.device_id
            result = _attempt(stale, chains.get(device, []), meters[device], known.get(device, []))
            if isinstance(result, Result):
                results.append(result)
                write_occurrences(cursor, result, known.get(device, []))
            else:
                _widen(cursor, stale, before=result < 0)
                again.append(stale)
        pending = again
    return write_blocks(cursor, results), left


def margin(interval: int) -> int:
    """How far around a stale range to read first, of a device that sends every ``interval``.

    Enough for the reading before the range's first block, mostly; of one that sends every second an hour would be 3,600.
    """
    return min(6 * MARGIN_US, max(BLOCK_US, 3 * interval))


def _bounded(cursor: Cursor[Any], pending: list[Stale]) -> tuple[list[Stale], list[Span]]:
    """As much of the ranges as one transaction should compute, and what is left of them."""
    room, fitting, left = MAX_READINGS, list[Stale](), list[Span]()
    for stale in pending:
        if stale.last - stale.first > LONG_US:
            if room <= 0:
                left.append(Span(stale.device_id, stale.first, stale.last))
                continue
            size, rest = _shorten(cursor, stale)
            room -= size
            left += [rest] if rest else []
        fitting.append(stale)
    return fitting, left


def _shorten(cursor: Cursor[Any], stale: Stale) -> tuple[int, Span | None]:
    """Cut a range that is too long; return its size, and the rest of it."""
    first: int | None = stale.first
    if stale.last - stale.first > LONGEST_STEP_US:  # a step begins where there is something to compute
        first = nth_reading(cursor, stale.device_id, stale.first, 0, before=False)
    if first is None:
        return 0, None
    until, present = min(stale.last, first + LONGEST_STEP_US), now_us()
    number, last_counted = count_readings(cursor, Span(stale.device_id, first, until), STEP_READINGS)
    if number >= STEP_READINGS and last_counted is not None:
        until = last_counted
    elif until > present:
        until = stale.last
    size = max(number, (min(until, present) - first) // BLOCK_US)  # of few readings, the blocks between them
    if until >= stale.last:
        return size, None
    rest = Span(stale.device_id, until, stale.last)
    stale.last, stale.end = until, until - until % BLOCK_US + BLOCK_US + MARGIN_US
    return size, rest


def _widen(cursor: Cursor[Any], stale: Stale, *, before: bool) -> None:
    """Read further back, or further on."""
    found = nth_reading(
        cursor, stale.device_id, stale.start if before else stale.end, stale.reach, before=before
    )
    if before:
        stale.start = BEGINNING if found is None or found < stale.final else found
    else:
        stale.end = END if found is None else found + 1
    stale.reach *= 8


def _attempt(stale: Stale, chains: list[Chain], meter: Meter, known: list[Occurrence]) -> Result | int:
    """Compute a range from the readings at hand; -1 where earlier ones are needed, 1 where later ones are."""
    spans = [(o.base_time, END if o.settled is None else o.settled) for o in known]
    unbelieved = {o.time for o in known if o.kind in NEVER_BASES}

    def sound(time: int) -> bool:
        """Whether the ledger had this reading as a base, decided by nothing later."""
        return time not in unbelieved and not any(base < time < settled for base, settled in spans)

    times = [time for chain in chains for time in chain.times]
    # The last base before the range: from there on segments may change. Its block must be known whole, so start from one before.
    changed = next((t for t in reversed(times) if t < stale.first and sound(t)), None)
    origin = None
    if changed is not None:
        border = changed - changed % BLOCK_US
        origin = next((t for t in reversed(times) if t <= border and sound(t)), None)
    if origin is None:
        if stale.start > BEGINNING:
            return -1
        changed = None
    found = account(_from(chains, BEGINNING if origin is None else origin), meter)
    until = next((t for t in found.settled if t > stale.last and sound(t)), END)
    if stale.end < END:
        if until >= END:
            return 1
        border = until - until % BLOCK_US + BLOCK_US
        if not any(t >= border for t in found.settled):
            return 1
    # What was unusual up to the base stays written as it was: by that the range of a reading there that waits its turn is found.
    first, since = (BEGINNING, BEGINNING) if changed is None else (changed - changed % BLOCK_US, changed)
    if stale.final > BEGINNING:
        # What the first anchor was measured from is gone, so what was found of it is final too, where its block is not.
        first, since = (
            max(stale.final, first),
            max(stale.final - 1, since if changed is not None else times[0]),
        )
    last = END if until >= END else until - until % BLOCK_US + BLOCK_US
    blocks = {key: block for key, block in found.blocks.items() if first <= key[1] < last}
    owners = {time: chain.conta_id for chain in chains for time in chain.times} if found.occurrences else {}
    return Result(
        stale.device_id,
        first,
        last,
        since,
        until,
        blocks,
        [o for o in found.occurrences if since < o.time <= until],
        owners,
    )


def _from(chains: list[Chain], since: int) -> list[Chain]:
    """The chains' readings from ``since`` on."""
    kept = []
    for chain in chains:
        at = next((n for n, time in enumerate(chain.times) if time >= since), None)
        if at == 0:
            kept.append(chain)
        elif at is not None:
            kept.append(
                Chain(
                    chain.conta_id,
                    chain.kind,
                    chain.unit,
                    chain.times[at:],
                    chain.values[at:],
                    chain.gateways[at:],
                )
            )
    return kept
