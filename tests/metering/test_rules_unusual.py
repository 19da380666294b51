"""The judgement INCOMUM beside a slow one, and what a change of hours makes necessary."""

from random import Random

import pytest

from tds_new.metering.rules.segments import Segment, SegmentClass
from tds_new.metering.rules.unusual import Hours, Near, to_judge, unusual
from tds_new.metering.times import DAY_US, HOUR_US

pytestmark = pytest.mark.once

KINDS = [SegmentClass.NORMAL] * 8 + [SegmentClass.VIRADA, SegmentClass.TROCA, SegmentClass.REINICIO]


def chain(random: Random) -> tuple[list[Segment], dict[int, int]]:
    """Segments in order, some of them large or long, and hours that nearly belong to them."""
    step = random.choice([HOUR_US // 4, HOUR_US, 3 * HOUR_US])
    time = random.randrange(10**15, 10**15 + HOUR_US)
    segments, hours = list[Segment](), dict[int, int]()
    for _ in range(random.choice([30, 100, 300])):
        end = time + step * random.choice([1] * 9 + [random.randrange(1, 60)])
        amount = random.randrange(20) * random.choice([1, 1, 1, 1, 30, -1])
        segments.append(Segment(time, end, amount, random.choice(KINDS)))
        for hour in range(time - time % HOUR_US, end, HOUR_US):
            hours[hour] = hours.get(hour, 0) + amount
        time = end + random.choice([0] * 19 + [random.randrange(3 * DAY_US)])
    return segments, hours


def slow(
    segments: list[Segment], hours: dict[int, int], zero_start: int | None
) -> list[tuple[int, int, Near]]:
    found = []
    judged = [s for s in segments if s.kind in {"NORMAL", "VIRADA"}]
    for one in judged:
        first, last = one.start - one.start % HOUR_US, (one.end - 1) - (one.end - 1) % HOUR_US
        near = [v for h, v in hours.items() if first - 7 * DAY_US <= h < first or last < h <= last + DAY_US]
        mine = sum(v for h, v in hours.items() if first <= h <= last)
        times = 1 if one.start == zero_start else 10
        length = max(one.end - one.start, HOUR_US)
        beside = [s for s in judged if s.start < last + HOUR_US and s.end > first]
        largest = max(beside, key=lambda s: s.amount)
        if len(near) >= 24 and mine * HOUR_US > times * max(near) * length and largest is one:
            found.append((one.end, mine, Near(len(near), max(near))))
    return found


def test_it_is_what_a_look_at_every_hour_says() -> None:
    seen = 0
    for seed in range(150):
        segments, hours = chain(Random(seed))
        zero_start = segments[0].start if seed % 3 == 0 else None
        found = unusual(segments, hours, zero_start=zero_start)
        expected = slow(segments, hours, zero_start)
        assert [(one.segment.end, one.held, one.near) for one in found] == expected, seed
        decided = {one.segment.end for one in found[::2]}
        kept = unusual(segments, hours, zero_start=zero_start, decided=decided)
        assert kept == [one for one in found if one.segment.end not in decided], seed
        seen += len(found)
    assert seen > 50


def test_a_segment_that_is_judged_otherwise_after_a_change_is_named() -> None:
    named = differing = 0
    for seed in range(300):
        random = Random(seed)
        segments, before = chain(random)
        after = dict(before)
        for hour in random.sample(sorted(after), 3):
            after[hour] = random.choice([0, 2_000])
        del after[random.choice(sorted(after))]
        ends = {segment.end for segment in to_judge(segments, before, after)}
        one, other = ({u.segment.end for u in unusual(segments, hours)} for hours in (before, after))
        assert one ^ other <= ends, seed
        named, differing = named + len(ends), differing + len(one ^ other)
    assert differing > 20
    assert named < 300 * 100


def test_sums_and_largest_are_those_of_the_hours() -> None:
    hours = Hours({5 * HOUR_US: 7, 6 * HOUR_US: -3, 9 * HOUR_US: 11})
    assert hours.held(5 * HOUR_US, 6 * HOUR_US) == 4
    assert hours.held(7 * HOUR_US, 8 * HOUR_US) == 0
    assert hours.near(6 * HOUR_US, 6 * HOUR_US) == Near(2, 11)
    assert hours.near(6 * HOUR_US + 7 * DAY_US, 6 * HOUR_US + 7 * DAY_US) == Near(2, 11)
    assert hours.near(20 * DAY_US, 20 * DAY_US) == Near(0, 0)
