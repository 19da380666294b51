"""Finds unusual consumption and notes it (INCOMUM).

A segment is judged by the hours in the 7 days before it and the 24 hours after it (``rules.unusual``). Mostly
a large hour that is known shows that it is ordinary. Only where none does, and where a change of other hours
may matter, more is read. Times are microseconds since 1970, consumption whole 0.000001.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import Cursor

from tds_new.metering.inputs import Span, Standing, load_blocks, load_other_chains
from tds_new.metering.record import Record
from tds_new.metering.rules.blocks import Account, Chain, Computation, consumption_of
from tds_new.metering.rules.segments import Occurrence, Segment, SegmentClass
from tds_new.metering.rules.unusual import (
    AFTER_US,
    BEFORE_US,
    FEWEST,
    JUDGED,
    Hours,
    Unusual,
    span,
    unusual,
)
from tds_new.metering.store import Result
from tds_new.metering.times import BEGINNING, BLOCK_US, END, HOUR_US, hour_start

PEAK_US = BEFORE_US - 2 * HOUR_US  # how long a known large hour serves


@dataclass(slots=True)
class Stretch:
    """The part of an ACUMULADA chain that a range's computation covers.

    ``begins``: whether the chain's first reading is in it; ``ends``: whether another chain follows in it.
    ``blocks``: what each block holds of the chain, also beside the computed ones where that is stored;
    ``hours``: the same of each UTC hour.
    """

    chain: Chain
    account: Account
    begins: bool
    ends: bool
    blocks: dict[int, int]
    hours: dict[int, int]


@dataclass(slots=True)
class Case:
    """A device's range, as far as it is judged here.

    ``whole_last``: where the longer range ends of which it is a step; BEGINNING if it is none.
    """

    standing: Standing
    result: Result
    computation: Computation
    record: Record
    chains: list[Chain]
    whole_last: int = BEGINNING

    @property
    def is_head(self) -> bool:
        """Whether the range reaches the newest reading."""
        return self.result.until >= END


def judge(cursor: Cursor[Any], case: Case, *, wide: bool) -> Span | None:
    """Add the unusual readings to the result, and what is known for later.

    Return the wider range that must be computed instead, if one must. With ``wide`` it was widened before.
    """
    if not wide and _is_too_young(case):
        return None
    stretches = list(_stretches(case))
    if case.result.head is not None:
        _carry_peak(case, stretches)
    changed = _changed_hours(case.result, stretches)
    wider = None
    for stretch in stretches:
        segments = _not_ordinary(case, stretch, changed, wide=wide)
        if segments:
            wider = wider or _judge(cursor, case, stretch, segments, wide=wide)
    if wide or wider is not None:
        return wider
    return _reaching(cursor, case, stretches, changed)


def _is_too_young(case: Case) -> bool:
    """Return whether the chain has too few hours yet to judge any segment.

    Note that for later.

    Also note since when the chain is.
    """
    head, chain = case.result.head, case.chains[-1] if case.chains else None
    if head is None or chain is None:
        return False
    begins = len(case.chains) > 1 or case.record.begins_at(chain.times[0])
    head.chain_since = chain.times[0] if begins else case.standing.chain_since
    if head.chain_since is None or len(case.chains) > 1 or chain.kind != "ACUMULADA":
        return False
    hours = (hour_start(chain.times[-1]) - hour_start(head.chain_since)) // HOUR_US
    if hours >= FEWEST or any(o.rule == "N" for o in case.record.occurrences.values()):
        return False
    head.unjudged_since = head.chain_since
    return True


def _stretches(case: Case) -> Iterator[Stretch]:
    result, last = case.result, len(case.chains) - 1
    for number, (chain, account) in enumerate(zip(case.chains, case.computation.accounts, strict=True)):
        if chain.kind != "ACUMULADA":
            continue
        begins = number > 0 or case.record.begins_at(chain.times[0])
        if last or case.computation.transfers:
            found = consumption_of(account.segments, case.record.meter, BLOCK_US)
            blocks = {
                start: amount
                for start, amount in found.items()
                if start >= result.first and (start < result.last or number < last)
            }
        else:
            blocks = {start: b.consumption or 0 for (_, start), b in result.blocks.items() if b.has_figure}
        for (conta_id, start), stored in result.stored.items():
            beside = (start < result.first and not begins) or (start >= result.last and number == last)
            if beside and conta_id == chain.conta_id and stored.has_figure:
                blocks[start] = stored.consumption
        yield Stretch(chain, account, begins, number < last, blocks, _hours(blocks))


def _hours(blocks: Mapping[int, int]) -> dict[int, int]:
    hours: dict[int, int] = {}
    for start, amount in blocks.items():
        hour = start - start % HOUR_US
        hours[hour] = hours.get(hour, 0) + amount
    return hours


def _changed_hours(result: Result, stretches: list[Stretch]) -> dict[tuple[int, int], int | None]:
    """Return what the hours that changed hold now, by Conta and start.

    None where there is no figure any more.
    """
    before, after = _stored_hours(result), dict[tuple[int, int], int]()
    for stretch in stretches:
        for hour, amount in stretch.hours.items():
            key = stretch.chain.conta_id, hour
            after[key] = after.get(key, 0) + amount
    return {key: after.get(key) for key in before.keys() | after.keys() if before.get(key) != after.get(key)}


def _not_ordinary(
    case: Case, stretch: Stretch, changed: Mapping[tuple[int, int], int | None], *, wide: bool
) -> list[Segment]:
    """Return the segments that no known hour shows to be ordinary.

    An hour that holds at most three and a third times a known one is ordinary, whatever segments lie in it: a
    segment of n hours must hold more than ten times the largest hour near it, for each of at least n - 2
    hours.
    """
    result, account = case.result, stretch.account
    segments = account.segments
    new = segments[
        bisect_right(segments, result.since, key=_end) : bisect_right(segments, result.until, key=_end)
    ]
    if wide:
        return [s for s in new if s.kind in JUDGED]
    head = result.head
    peak = {} if head is None or head.peak_hour is None or head.peak is None else {head.peak_hour: head.peak}
    asked = {hour for conta_id, hour in changed if conta_id == stretch.chain.conta_id}
    if new:
        first, last = span(new[0])[0], span(new[-1])[1]
        asked.update(hour for hour in stretch.hours if first <= hour <= last)
    large = _large(asked, stretch, Hours({**peak, **stretch.hours}))
    found = [s for s in segments if s.kind in JUDGED and _lies_in(s, large)] if large else []
    if stretch.begins and account.zero_start is not None and new and new[0].start == account.zero_start:
        found = [new[0], *(s for s in found if s is not new[0])]
    if large and not found:  # segments before the run's lie in it
        return [Segment(min(large), min(large) + 1, 0, SegmentClass.NORMAL)]
    return found


def _end(segment: Segment) -> int:
    return segment.end


def _large(asked: Iterable[int], stretch: Stretch, known: Hours) -> set[int]:
    """Return the hours that may hold an unusual segment, by the ``known`` ones."""
    long = [span(s) for s in stretch.account.segments if s.end - s.start > HOUR_US]
    found = set()
    for hour in asked:
        held = stretch.hours.get(hour, 0)
        if held <= 0:
            continue
        first, last = hour - HOUR_US, hour + HOUR_US
        for begin, end in long:
            if begin <= hour <= end:
                first, last = min(first, begin), max(last, end)
        before = known.between(hour - BEFORE_US, first).largest
        after = known.between(last + HOUR_US, hour + AFTER_US + HOUR_US).largest
        if 3 * held > 10 * max(before, after):
            found.add(hour)
    return found


def _lies_in(segment: Segment, hours: set[int]) -> bool:
    first, last = span(segment)
    return any(first <= hour <= last for hour in hours)


def _judge(
    cursor: Cursor[Any], case: Case, stretch: Stretch, segments: list[Segment], *, wide: bool
) -> Span | None:
    """Judge segments by all hours near them.

    Return a wider range if those of the range are not enough.
    """
    first = min(span(segment)[0] for segment in segments)
    last = max(span(segment)[1] for segment in segments)
    result = case.result
    needed = _needed(cursor, case, stretch, Span(result.device_id, first, last))
    if needed is None and not wide:
        covered_from = BEGINNING if stretch.begins else case.chains[0].times[0]
        is_covered = covered_from <= first and all(result.since < s.end <= result.until for s in segments)
        if not is_covered or not (stretch.ends or case.is_head or stretch.chain.times[-1] >= last + HOUR_US):
            needed = Span(result.device_id, first, max(last + HOUR_US, result.until))
    if needed is not None:
        return needed
    blocks = dict(stretch.blocks)
    if not stretch.begins:
        _fill(cursor, blocks, stretch, Span(result.device_id, first - BEFORE_US, result.first))
    if not stretch.ends and not case.is_head:
        _fill(cursor, blocks, stretch, Span(result.device_id, result.last, last + AFTER_US + HOUR_US))
    hours = _hours(blocks)
    chosen = set(segments)
    for one in unusual(
        stretch.account.segments,
        hours,
        zero_start=stretch.account.zero_start,
        decided=case.record.meter.decided,
    ):
        if one.segment in chosen:
            _note(case, stretch, one)
    if result.head is not None and not stretch.ends:
        _note_head(result, hours, segments, case.record.meter.decided)
    return None


def _needed(cursor: Cursor[Any], case: Case, stretch: Stretch, hours: Span) -> Span | None:
    """Return the range that tells a chain's hours from those of others near it.

    It must be computed instead. ``hours``: from the first hour that is judged to the last. None if there are
    no others, or their readings are before what is final.
    """
    owner = stretch.chain.conta_id, stretch.chain.kind, stretch.chain.unit
    device, begin, end = hours.device_id, case.chains[0].times[0], case.chains[-1].times[-1]
    since, until = hours.start, max(hours.end + HOUR_US, case.result.until)
    before = Span(device, max(hours.start - BEFORE_US, case.standing.final), begin)
    after = Span(device, end + 1, hours.end + AFTER_US + HOUR_US)
    earlier = [] if stretch.begins or before.start >= before.end else load_other_chains(cursor, before, owner)
    later = [] if stretch.ends or after.start >= after.end else load_other_chains(cursor, after, owner)
    if not earlier and not later:
        return None
    if earlier:
        since = min(since, max(last for _, last in earlier) + 1)
    return Span(device, since, max([until, *(first for first, _ in later)]))


def _fill(cursor: Cursor[Any], blocks: dict[int, int], stretch: Stretch, beside: Span) -> None:
    """Add the stored blocks of a chain's Conta in a span."""
    for (conta_id, start), stored in load_blocks(cursor, [beside])[0].items():
        if conta_id == stretch.chain.conta_id and stored.has_figure:
            blocks.setdefault(start, stored.consumption)


def _note(case: Case, stretch: Stretch, one: Unusual) -> None:
    """Note an unusual segment at the reading that ends it."""
    segment, result = one.segment, case.result
    known = result.occurrences.get(segment.end)
    waits = segment.end not in case.record.meter.looked
    if known is not None and known.kind is not SegmentClass.VIRADA:
        return  # a tolerated fall counts nothing, so nobody is asked about it
    if known is not None:  # a rollover keeps its class
        numbers = tuple(sorted({**dict(known.numbers), **dict(one.numbers)}.items()))
        result.occurrences[segment.end] = known._replace(waits=waits, numbers=numbers)
        return
    chain = stretch.chain
    value = chain.values[bisect_right(chain.times, segment.end) - 1]
    result.occurrences[segment.end] = Occurrence(
        segment.end,
        value,
        SegmentClass.INCOMUM,
        segment.start,
        value - segment.amount,
        None,
        segment.end,
        waits,
        "N",
        tuple(sorted(one.numbers)),
    )
    result.contas[segment.end] = chain.conta_id


# --- the newest range


def _carry_peak(case: Case, stretches: list[Stretch]) -> None:
    """Keep a large hour of the last days in the head, the stored or a larger one."""
    head, standing = case.result.head, case.standing
    if head is None or len(case.chains) != 1 or not stretches:
        return
    hours, newest = stretches[-1].hours, case.chains[-1].times[-1]
    known = dict(hours)
    hour, peak = standing.peak_hour, standing.peak
    if hour is not None and peak is not None and hour + HOUR_US <= case.result.first:
        known.setdefault(hour, peak)
    open_hour = newest - newest % HOUR_US
    closed = [(amount, hour) for hour, amount in known.items() if newest - PEAK_US <= hour < open_hour]
    if closed:
        head.peak, head.peak_hour = max(closed)
    head.unjudged_since = standing.unjudged_since
    if head.unjudged_since is not None and head.unjudged_since < newest - AFTER_US - 4 * HOUR_US:
        head.unjudged_since = None


def _note_head(
    result: Result, hours: Mapping[int, int], segments: Iterable[Segment], decided: Iterable[int]
) -> None:
    """Note the largest hour read, and the first segment not to be judged yet."""
    head, known, skipped = result.head, Hours(hours), set(decided)
    if head is None or not hours:
        return
    newest = max(hours)
    near = [(amount, hour) for hour, amount in hours.items() if newest - PEAK_US <= hour < newest]
    if near and (head.peak is None or max(near)[0] > head.peak):
        head.peak, head.peak_hour = max(near)
    waiting = [s.end for s in segments if known.near(*span(s)).known < FEWEST and s.end not in skipped]
    if waiting:
        head.unjudged_since = min([*waiting, *([head.unjudged_since] if head.unjudged_since else [])])


# --- what changed hours mean for segments elsewhere


def _reaching(
    cursor: Cursor[Any],
    case: Case,
    stretches: list[Stretch],
    changed: Mapping[tuple[int, int], int | None],
) -> Span | None:
    """Return the range in which judgements may change with the range's hours.

    None if none does.
    """
    result, before = case.result, _stored_hours(case.result)
    unjudged = case.standing.unjudged_since if case.is_head else None
    if not changed and unjudged is None:
        return None
    hours = [hour for _, hour in changed] or [unjudged or 0]
    first, last = min(hours), max(hours)
    grew = all(key not in before or (now or 0) >= before[key] for key, now in changed.items())
    if case.is_head and grew:
        return _of_growth(case, first)
    device = result.device_id
    earlier = Span(device, first - AFTER_US - HOUR_US, min(result.since, last))
    # What follows in a longer range is judged with its next step.
    later = Span(device, max(result.until, case.whole_last), last + BEFORE_US + 2 * HOUR_US)
    start, end = result.since, BEGINNING
    if result.first > BEGINNING and _is_concerned(cursor, case, changed, earlier, grew=grew):
        start = min(start, earlier.start)
    if later.start < later.end and _is_concerned(cursor, case, changed, later, grew=grew):
        end = later.end
    return Span(device, start, end) if start < result.since or end > BEGINNING else None


def _is_concerned(
    cursor: Cursor[Any],
    case: Case,
    changed: Mapping[tuple[int, int], int | None],
    side: Span,
    *,
    grew: bool,
) -> bool:
    """Return whether changed hours may judge a segment in ``side`` otherwise.

    Where hours only grew, one that was unusual may be so no more, and one may be judged that could not be for
    want of hours.
    """
    if grew and any(
        side.start <= o.time <= side.end and _is_marked(o) for o in case.record.occurrences.values()
    ):
        return True
    around = Span(side.device_id, side.start - BEFORE_US, side.end + AFTER_US + HOUR_US)
    (stored,) = load_blocks(cursor, [around])
    for conta_id in {conta_id for conta_id, _ in changed}:
        old = _hours({t: b.consumption for (c, t), b in stored.items() if c == conta_id and b.has_figure})
        now = {hour: held for (c, hour), held in changed.items() if c == conta_id}
        new = {h: held for h, held in {**old, **now}.items() if held is not None}
        one, other = Hours(old), Hours(new)
        for hour in old:
            if not side.start - HOUR_US < hour <= side.end:
                continue
            few = one.between(hour - BEFORE_US, hour).known < FEWEST
            if (few or not grew) and _sides(one, hour) != _sides(other, hour):
                return True
    return False


def _is_marked(occurrence: Occurrence) -> bool:
    """Return whether a reading was found unusual."""
    is_rollover = occurrence.kind is SegmentClass.VIRADA
    return occurrence.kind is SegmentClass.INCOMUM or (is_rollover and _has_figures(occurrence))


def _of_growth(case: Case, first: int) -> Span | None:
    """Return the range of earlier judgements that larger or new hours may change."""
    result, since = case.result, first - AFTER_US - HOUR_US
    marked = [
        o.time for o in case.record.occurrences.values() if since <= o.time <= result.since and _is_marked(o)
    ]
    unjudged = case.standing.unjudged_since
    if unjudged is not None and since <= unjudged <= result.since:
        marked.append(unjudged)
    return Span(result.device_id, min(marked) - 1, END) if marked else None


def _has_figures(occurrence: Occurrence) -> bool:
    return any(name == "maior_hora" for name, _ in occurrence.numbers)


def _stored_hours(result: Result) -> dict[tuple[int, int], int]:
    hours: dict[tuple[int, int], int] = {}
    for (conta_id, start), stored in result.stored.items():
        if stored.has_figure:
            key = conta_id, start - start % HOUR_US
            hours[key] = hours.get(key, 0) + stored.consumption
    return hours


def _sides(hours: Hours, hour: int) -> tuple[object, ...]:
    """Return what segments that begin or end in an hour are judged by."""
    before = hours.between(hour - BEFORE_US, hour)
    after = hours.between(hour + HOUR_US, hour + HOUR_US + AFTER_US)
    return before.largest, after.largest, min(before.known, FEWEST), min(after.known, FEWEST)
