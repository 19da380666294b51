"""Computes stale ranges of devices' readings and has the store write what differs.

A stale range is computed from a reading whose register state is known (``record``) up to a reading where the
state is again what it was before, so that nothing later changes. The caller holds the lock on the devices'
partition, so nobody else writes their rows. Where readings were dropped, a device's chain goes on from its
anchors, and what lies before them is final. All times are microseconds since 1970.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, NamedTuple

from psycopg import Cursor

from tds_new.metering import unusual
from tds_new.metering.inputs import (
    Span,
    Standing,
    count_readings,
    load_chains,
    load_meters,
    load_occurrences,
    load_pending,
    load_standings,
    load_states,
    nth_reading,
)
from tds_new.metering.record import Point, Record
from tds_new.metering.rules.blocks import REGISTERS, Chain, Computation, compute_chains
from tds_new.metering.rules.meter import Meter
from tds_new.metering.rules.segments import EarlierNeededError, State
from tds_new.metering.store import Head, Result, Written, load_stored, note_waiting, write
from tds_new.metering.times import (
    BEGINNING,
    BLOCK_US,
    DAY_US,
    END,
    HOUR_US,
    block_end,
    block_start,
    hour_end,
    hour_start,
    now_us,
)

MARGIN_US = HOUR_US  # a range that ends later than this before now is read to the end of all
MARGIN_READINGS = 10  # read around a stale range at first; more where that is not enough
LONGEST_MARGIN_US = 30 * DAY_US
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

    Nothing before ``final`` changes, and no reading before ``origin`` is used. Readings from ``start`` to
    ``end`` are read; if these are not enough, ``reach`` more. ``whole_last``: where the range ends of which
    this is the first step; BEGINNING if it is no step. ``judged``: whether the range was widened for the
    judgement of unusual consumption.
    """

    device_id: int
    first: int
    last: int
    standing: Standing
    margin: int
    whole_last: int = BEGINNING
    judged: bool = False
    start: int = BEGINNING
    end: int = END
    reach: int = 16

    def __post_init__(self) -> None:
        """Read a margin around the range; a recent range is read to the end of all."""
        self.frame()

    def frame(self) -> None:
        """Set what is read around the range."""
        self.start = max(self.standing.origin, block_start(self.first) - self.margin)
        if self.first <= self.standing.final:
            self.start = self.standing.origin
        self.end = END if self.last >= now_us() - MARGIN_US else block_end(self.last) + self.margin

    @property
    def whole(self) -> bool:
        """Whether all earlier readings that are used are read."""
        return self.start <= self.standing.origin


@dataclass(slots=True)
class Inputs:
    """The readings around a device's range, and what is stored of them."""

    meter: Meter
    record: Record
    pending: Sequence[Span]


class Attempt(NamedTuple):
    """A range's new rows, and how they were computed."""

    result: Result
    computation: Computation
    record: Record
    chains: list[Chain]


def compute(
    cursor: Cursor[Any], partition: int, ranges: Iterable[Span], later: Mapping[int, Sequence[Span]] = {}
) -> tuple[Written, list[Span]]:
    """Compute stale ranges, at most one a device, and write what differs.

    ``later`` are the devices' other ranges that the caller has computed after these. Return what was written,
    and the rest of ranges that are too long for one transaction.
    """
    asked = list(ranges)
    devices = [device for device, _, _ in asked]
    standings, meters = load_standings(cursor, devices), load_meters(cursor, devices)
    pending = []
    for device, first, last in asked:
        if device not in meters:
            continue
        standing = standings[device]
        if standing.edition is not None and standing.final == standing.edition and first < standing.final:
            note_waiting(cursor, device, first)
        if last >= standing.final:
            around = margin(meters[device].expected_interval)
            pending.append(Stale(device, max(first, standing.final), last, standing, around))
    pending, rest = _bounded(cursor, pending)
    queued: dict[int, list[Span]] = {device: list(spans) for device, spans in later.items()}
    for span in rest:
        queued.setdefault(span.device_id, []).append(span)
    return write(cursor, list(_results(cursor, pending, meters, queued, partition))), rest


def computed(cursor: Cursor[Any], ranges: Iterable[Span], meters: Mapping[int, Meter]) -> dict[int, Result]:
    """Compute ranges as if the devices' meters were the given ones; write nothing.

    There is at most one range a device.
    """
    asked = list(ranges)
    standings = load_standings(cursor, [span.device_id for span in asked])
    pending = [
        Stale(device, max(first, standing.final), last, standing, margin(meters[device].expected_interval))
        for device, first, last in asked
        if last >= (standing := standings[device]).final
    ]
    return {r.device_id: r for r in _results(cursor, pending, meters)}


def _results(
    cursor: Cursor[Any],
    pending: list[Stale],
    meters: Mapping[int, Meter],
    queued: Mapping[int, Sequence[Span]] = {},
    partition: int | None = None,
) -> Iterator[Result]:
    """Yield the new rows of each range, reading more for those that need it.

    ``queued`` are other ranges of the devices that the caller has computed after these; those in the queue of
    ``partition`` are looked up (None: there are none).
    """
    while pending:
        spans = [Span(s.device_id, s.start, s.end) for s in pending]
        ahead = [Span(s.device_id, s.last, s.end) for s in pending if s.end < END]
        waiting = {} if partition is None else load_pending(cursor, partition, ahead)
        chains, known = load_chains(cursor, spans, meters), load_occurrences(cursor, spans)
        states = load_states(cursor, spans)
        again: list[Stale] = []
        attempts: list[tuple[Stale, Attempt]] = []
        for stale in pending:
            device = stale.device_id
            found = {o.time: o for o in known.get(device, [])}
            record = Record(
                chains.get(device, []),
                found,
                states.get(device, {}),
                meters[device],
                stale.whole,
                stale.standing.origin,
            )
            others = [*queued.get(device, ()), *waiting.get(device, ())]
            outcome = _attempt(stale, Inputs(meters[device], record, others))
            if isinstance(outcome, Missing):
                _widen(cursor, stale, outcome)
                again.append(stale)
            else:
                attempts.append((stale, outcome))
        load_stored(cursor, [attempt.result for _, attempt in attempts])
        for stale, attempt in attempts:
            case = unusual.Case(stale.standing, *attempt, stale.whole_last)
            wider = unusual.judge(cursor, case, wide=stale.judged)
            if wider is None:
                yield attempt.result
            else:
                stale.first = max(min(stale.first, wider.start), stale.standing.final)
                stale.last, stale.judged = max(stale.last, wider.end), True
                stale.frame()
                again.append(stale)
        pending = again


def margin(interval: int) -> int:
    """Return how far around a stale range to read first, in microseconds.

    ``interval``: microseconds from one reading of the device to the next. The margin is mostly enough for the
    readings that a register's state consists of, before the range's first block and after its last.
    """
    return min(LONGEST_MARGIN_US, max(BLOCK_US, MARGIN_READINGS * interval))


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
    stale.whole_last, stale.last = stale.last, until
    stale.frame()
    return size, rest


def _widen(cursor: Cursor[Any], stale: Stale, missing: Missing) -> None:
    """Have ``reach`` more readings read the next time, eight times as many after that."""
    before = missing is Missing.EARLIER
    at = stale.start if before else stale.end
    found = nth_reading(cursor, stale.device_id, at, stale.reach, before=before)
    if before:
        stale.start = stale.standing.origin if found is None else max(found, stale.standing.origin)
    else:
        stale.end = END if found is None else found + 1
    stale.reach *= 8


def _attempt(stale: Stale, inputs: Inputs) -> Attempt | Missing:
    """Return a range's new rows, or which readings are missing for them."""
    record, bound = inputs.record, stale.first
    border_of = hour_start if stale.judged else block_start
    while True:
        # What an increment counts from its stamp on changes with the reading after it.
        changed = record.last_before(bound, skip=inputs.meter.stamp_is_start)
        border = BEGINNING if changed is None else border_of(changed.time)
        origin = None if changed is None else record.last_before(border + 1, border=border)
        if origin is None and not stale.whole:
            return Missing.EARLIER
        since = None if origin is None or changed is None else changed.time
        try:
            chains, computation = _run(stale, inputs, origin)
        except EarlierNeededError:
            if origin is None:
                raise
            bound = min(origin.time, origin.state.reach + 1)
            continue
        lowest = min((a.lowest for a in computation.accounts if a.lowest is not None), default=END)
        if since is None or lowest >= since:
            break
        since = lowest
        if origin is not None and origin.time <= border_of(since) and not inputs.meter.stamp_is_start:
            break
        bound = since + 1
    until = _until(stale, inputs, computation, 0 if origin is None else origin.chain)
    if until is None:
        return Missing.LATER
    result = _result(stale, inputs, (chains, computation), since, until)
    return Attempt(result, computation, record, chains)


def _run(stale: Stale, inputs: Inputs, origin: Point | None) -> tuple[list[Chain], Computation]:
    """Compute the readings from ``origin`` on; None: from the first one."""
    record = inputs.record
    chains = list(record.chains) if origin is None else _from(record.chains, origin)
    state = origin.state if origin else record.states.get(chains[0].times[0]) if chains else None
    return chains, compute_chains(
        chains, inputs.meter, state=state, watch_from=stale.last, clip=stale.standing.edition
    )


def _until(stale: Stale, inputs: Inputs, computation: Computation, number: int) -> int | None:
    """Return the reading after which nothing changes.

    END if there is none, None if more must be read.

    It is one in another range that waits, such as the rest of a longer one: that is computed from here on.
    Else it is one at which the state is what it was before, as far as the readings after the range tell. Then
    other ranges must not be passed: what was stored beyond them is not known to be of the same readings.
    ``number``: the record's chain that the computation begins in.
    """
    end_of = hour_end if stale.judged else block_end
    last, until, goes_on = stale.last, None, False
    for candidate in _candidates(stale, inputs, computation, number):
        time = candidate[0]
        if until is not None:
            if time >= end_of(until) and (goes_on or _is_same(inputs, last, candidate)):
                return until
            continue
        if goes_on := any(s.start <= time <= s.end for s in inputs.pending):
            until = time
            continue
        if not _is_clear(stale, inputs, time, end_of(time)):
            continue
        while _is_same(inputs, last, candidate):
            passed = max((s.end for s in inputs.pending if last < s.end < time), default=None)
            if passed is None:
                until = time
                break
            last = passed
    return END if stale.end >= END else None


def _is_clear(stale: Stale, inputs: Inputs, time: int, border: int) -> bool:
    """Return whether a range may end at ``time``, with its block's end at ``border``.

    All that counts before the border must be read, and no chain that ended by then may count after it. The
    increments at a chain's ends count for one expected interval: back from its first stamp, or on from
    its last one.
    """
    if inputs.meter.stamp_is_start:
        return not inputs.record.counts_on(time, border)
    return stale.end >= END or border + inputs.meter.expected_interval <= stale.end


def _is_same(inputs: Inputs, last: int, candidate: tuple[int, int, State]) -> bool:
    """Return whether the state at a reading is what it was before.

    Only readings after ``last`` tell.
    """
    time, number, state = candidate
    if time <= last:
        return False
    chain = inputs.record.chains[number]
    if chain.kind not in REGISTERS:
        return True
    point = inputs.record.point(number, bisect_right(chain.times, time) - 1, last)
    return point is not None and point.state == state


def _candidates(
    stale: Stale, inputs: Inputs, computation: Computation, number: int
) -> list[tuple[int, int, State]]:
    """Return the readings after the range at which nothing waits.

    Each with its time, its chain in the record, and the state.
    """
    found: list[tuple[int, int, State]] = []
    for at, account in enumerate(computation.accounts, number):
        found += [(time, at, account.states[time]) for time in sorted(account.states)]
        newest = at + 1 == len(inputs.record.chains)
        if newest and found and account.kind == "INCREMENTAL" and inputs.meter.stamp_is_start:
            found.pop()  # its interval ends with the next reading
    return found


def _result(
    stale: Stale,
    inputs: Inputs,
    run: tuple[list[Chain], Computation],
    since: int | None,
    until: int,
) -> Result:
    """Return the new rows after the reading at ``since`` and up to ``until``.

    ``since`` is None where all rows are new.

    If readings of the device were dropped, the base of its first anchor is gone; so the occurrence of that
    anchor is final, even if its block is not.
    """
    chains, computation = run
    final = stale.standing.final
    first, after = (BEGINNING, BEGINNING) if since is None else (block_start(since), since)
    if final > BEGINNING:
        begin = chains[0].times[0] if since is None and chains else BEGINNING
        first, after = max(final, first), max(final - 1, after, begin)
    last = END if until >= END else block_end(until)
    times = {o.time for o in computation.occurrences}
    owners = {
        time: chain.conta_id for chain in (chains if times else ()) for time in chain.times if time in times
    }
    head = None
    if until >= END and chains:
        newest = computation.accounts[-1]
        head = Head(newest.border, newest.provisional_since)
    states = {t: s for account in computation.accounts for t, s in account.checkpoints.items()}
    return Result(
        device_id=stale.device_id,
        first=first,
        last=last,
        since=after,
        until=until,
        blocks={key: block for key, block in computation.blocks.items() if first <= key[1] < last},
        occurrences={o.time: o for o in computation.occurrences if after < o.time <= until},
        known={o for o in inputs.record.occurrences.values() if after < o.time <= until},
        contas=owners,
        states={t: s for t, s in states.items() if max(after, stale.standing.origin) < t <= until},
        kept_states={
            t: s for t, s in inputs.record.states.items() if max(after, stale.standing.origin) < t <= until
        },
        head=head,
        origin=stale.standing.origin,
    )


def _from(chains: Sequence[Chain], origin: Point) -> list[Chain]:
    """Return the chains' readings from ``origin`` on."""
    first = chains[origin.chain]
    rest = replace(
        first,
        times=first.times[origin.place :],
        values=first.values[origin.place :],
        gateways=first.gateways[origin.place :],
    )
    return [rest, *chains[origin.chain + 1 :]]
