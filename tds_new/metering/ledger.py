"""Computes stale ranges of devices' readings and has the store write what differs.

A stale range is computed from a reading that no later one can change, up to a reading after which nothing has
changed. The caller holds the lock on the devices' partition, so nobody else writes their rows. Where readings
were dropped, a device's chain goes on from its anchors, and what lies before them is final. All times are
microseconds since 1970.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any

from psycopg import Cursor

from tds_new.metering.inputs import (
    Span,
    count_readings,
    load_chains,
    load_final,
    load_meters,
    load_occurrences,
    nth_reading,
)
from tds_new.metering.rules.blocks import Chain, compute_chains
from tds_new.metering.rules.meter import Meter
from tds_new.metering.rules.segments import NEVER_BASES, Occurrence
from tds_new.metering.store import Result, Written, write_blocks, write_occurrences
from tds_new.metering.times import BEGINNING, BLOCK_US, DAY_US, END, HOUR_US, block_end, block_start, now_us

MARGIN_US = HOUR_US  # read around a stale range at first; more where that is not enough
LONG_US = DAY_US  # the readings of a longer range are counted before it is computed
# A long range is computed in steps of at most LONGEST_STEP_US and STEP_READINGS. A transaction computes about
# MAX_READINGS in all, so that memory stays bounded.
LONGEST_STEP_US = 120 * DAY_US
STEP_READINGS = 100_000
MAX_READINGS = 200_000


class Missing(Enum):
    """The further readings that the computation of a stale range needs."""

    EARLIER = auto()
    LATER = auto()


@dataclass(slots=True)
class Stale:
    """A device's range of reading times to compute again, and what is read around it.

    Nothing before ``final`` changes. Readings from ``start`` to ``end`` are read; if these are not enough,
    ``reach`` more.
    """

    device_id: int
    first: int
    last: int
    final: int = BEGINNING
    margin: int = MARGIN_US
    start: int = BEGINNING
    end: int = END
    reach: int = 16

    def __post_init__(self) -> None:
        """Read a margin around the range; a recent range is read to the end of all."""
        if self.first > BEGINNING:
            self.start = block_start(self.first) - self.margin
        if self.start < self.final:
            self.start = BEGINNING
        if self.last < now_us() - MARGIN_US:
            self.end = block_end(self.last) + self.margin


def compute(cursor: Cursor[Any], ranges: Iterable[Span]) -> tuple[Written, list[Span]]:
    """Compute stale ranges, at most one a device, and write what differs.

    Return what was written, and the rest of ranges that are too long for one transaction.
    """
    asked = list(ranges)
    devices = [device for device, _, _ in asked]
    final, meters = load_final(cursor, devices), load_meters(cursor, devices)
    pending = []
    for device, first, last in asked:
        since = final.get(device, BEGINNING)
        if device in meters and last >= since:
            around = margin(meters[device].expected_interval)
            pending.append(Stale(device, max(first, since), last, since, around))
    pending, rest = _bounded(cursor, pending)
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
                _widen(cursor, stale, result)
                again.append(stale)
        pending = again
    return write_blocks(cursor, results), rest


def margin(interval: int) -> int:
    """Return how far around a stale range to read first, in microseconds.

    ``interval``: microseconds from one reading of the device to the next. The margin is mostly enough for the
    reading before the range's first block. It is not always an hour, which would be 3,600 readings of a
    device that sends every second.
    """
    return min(6 * MARGIN_US, max(BLOCK_US, 3 * interval))


def _bounded(cursor: Cursor[Any], pending: list[Stale]) -> tuple[list[Stale], list[Span]]:
    """Return the ranges that one transaction should compute, and the rest."""
    room, fitting, rest = MAX_READINGS, list[Stale](), list[Span]()
    for stale in pending:
        if stale.last - stale.first > LONG_US:
            if room <= 0:
                rest.append(Span(stale.device_id, stale.first, stale.last))
                continue
            size, left = _shorten(cursor, stale)
            room -= size
            rest += [left] if left else []
        fitting.append(stale)
    return fitting, rest


def _shorten(cursor: Cursor[Any], stale: Stale) -> tuple[int, Span | None]:
    """Cut a long range to one step; return the step's size and the rest of the range.

    The size is in readings, or in blocks if those are more.
    """
    first: int | None = stale.first
    if stale.last - stale.first > LONGEST_STEP_US:  # skip a silence: a step begins at a reading
        first = nth_reading(cursor, stale.device_id, stale.first, 0, before=False)
    if first is None:
        return 0, None
    until, present = min(stale.last, first + LONGEST_STEP_US), now_us()
    number, last_counted = count_readings(cursor, Span(stale.device_id, first, until), STEP_READINGS)
    if number >= STEP_READINGS and last_counted is not None:
        until = last_counted
    elif until > present:
        until = stale.last
    size = max(number, (min(until, present) - first) // BLOCK_US)
    if until >= stale.last:
        return size, None
    rest = Span(stale.device_id, until, stale.last)
    stale.last, stale.end = until, block_end(until) + MARGIN_US
    return size, rest


def _widen(cursor: Cursor[Any], stale: Stale, missing: Missing) -> None:
    """Have ``reach`` more readings read the next time, eight times as many after that."""
    before = missing is Missing.EARLIER
    at = stale.start if before else stale.end
    found = nth_reading(cursor, stale.device_id, at, stale.reach, before=before)
    if before:
        stale.start = BEGINNING if found is None or found < stale.final else found
    else:
        stale.end = END if found is None else found + 1
    stale.reach *= 8


def _attempt(stale: Stale, chains: list[Chain], meter: Meter, known: list[Occurrence]) -> Result | Missing:
    """Return a range's new rows, or which readings are missing to compute them.

    ``chains`` are the readings from ``stale.start`` to ``stale.end``, ``known`` the stored occurrences among
    them.
    """
    is_confirmed = _confirmed_bases(known)
    times = [time for chain in chains for time in chain.times]
    changed, origin = _beginning(times, stale.first, is_confirmed)
    if origin is None:
        if stale.start > BEGINNING:
            return Missing.EARLIER
        changed = None
    computation = compute_chains(
        _from(chains, BEGINNING if origin is None else origin), meter, watch_from=BEGINNING
    )
    settled = [time for account in computation.accounts for time in account.states]
    until = next((t for t in settled if t > stale.last and is_confirmed(t)), END)
    if stale.end < END and not _is_block_whole(until, settled):
        return Missing.LATER
    first, since = _unchanged_until(stale, changed, times)
    owners = (
        {time: chain.conta_id for chain in chains for time in chain.times} if computation.occurrences else {}
    )
    last = END if until >= END else block_end(until)
    return Result(
        device_id=stale.device_id,
        first=first,
        last=last,
        since=since,
        until=until,
        blocks={key: block for key, block in computation.blocks.items() if first <= key[1] < last},
        occurrences=[o for o in computation.occurrences if since < o.time <= until],
        contas=owners,
    )


def _confirmed_bases(known: list[Occurrence]) -> Callable[[int], bool]:
    """Return a test: was the reading at a time a base, decided by nothing later?"""
    spans = [(o.base_time, END if o.settled is None else o.settled) for o in known]
    never_bases = {o.time for o in known if o.kind in NEVER_BASES}
    return lambda time: time not in never_bases and not any(base < time < settled for base, settled in spans)


def _beginning(
    times: list[int], first: int, is_confirmed: Callable[[int], bool]
) -> tuple[int | None, int | None]:
    """Return the last base before ``first`` and the base to compute from.

    Either is None if ``times`` do not go back so far. From the former on segments may change. Its block must
    be known whole, so the latter is one before that block.
    """
    changed = next((t for t in reversed(times) if t < first and is_confirmed(t)), None)
    if changed is None:
        return None, None
    border = block_start(changed)
    return changed, next((t for t in reversed(times) if t <= border and is_confirmed(t)), None)


def _is_block_whole(until: int, settled: list[int]) -> bool:
    """Return whether the readings go on beyond the last block, that of ``until``."""
    if until >= END:
        return False
    border = block_end(until)
    return any(t >= border for t in settled)


def _unchanged_until(stale: Stale, changed: int | None, times: list[int]) -> tuple[int, int]:
    """Return from which block on, and after which time occurrences, are replaced.

    Occurrences up to the base ``changed`` stay as they were: a later computation of a reading there finds its
    range by them. If readings of the device were dropped, the base of its first anchor is gone; so the
    occurrence of that anchor is final, even if its block is not.
    """
    first, since = (BEGINNING, BEGINNING) if changed is None else (block_start(changed), changed)
    if stale.final > BEGINNING:
        first = max(stale.final, first)
        since = max(stale.final - 1, since if changed is not None else times[0])
    return first, since


def _from(chains: list[Chain], since: int) -> list[Chain]:
    """Return the chains' readings from ``since`` on."""
    kept = []
    for chain in chains:
        at = next((n for n, time in enumerate(chain.times) if time >= since), None)
        if at == 0:
            kept.append(chain)
        elif at is not None:
            rest = chain.times[at:], chain.values[at:], chain.gateways[at:]
            kept.append(Chain(chain.conta_id, chain.kind, chain.unit, *rest))
    return kept
