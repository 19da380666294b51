"""Judges whether a segment is unusual: INCOMUM, by docs/metering.md.

Hours are by their start, microseconds since 1970, with their consumption in whole 0.000001; a chain has its
own hours (``blocks.consumption_of``).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import NamedTuple

from tds_new.metering.rules.segments import NORMAL, Numbers, Segment, SegmentClass
from tds_new.metering.times import DAY_US, HOUR_US

BEFORE_US, AFTER_US = 7 * DAY_US, DAY_US  # the hours around a segment that it is compared with
FEWEST = 24  # hours with figures; with fewer nothing is judged
UNUSUAL = 10  # times the largest hour
JUDGED = (NORMAL, SegmentClass.VIRADA)
UNKNOWN = -(2**63)  # less than any hour holds


class Near(NamedTuple):
    """The hours around a segment.

    ``known``: how many have figures. ``largest``: the largest of them, 0 of none.
    """

    known: int
    largest: int

    @property
    def enough(self) -> bool:
        """Whether a segment can be judged by them."""
        return self.known >= FEWEST


class Unusual(NamedTuple):
    """An unusual segment, and the figures that it was judged by.

    ``held``: what the hours that it lies in hold. ``times``: how many times the largest hour near it they had
    to exceed, for each hour of the segment's length (at least one).
    """

    segment: Segment
    held: int
    near: Near
    times: int

    @property
    def numbers(self) -> Numbers:
        """The figures by their stored names.

        Whole 0.000001 of consumption; ``horas`` and ``vezes`` are counts.
        """
        return (
            ("nestas_horas", self.held),
            ("maior_hora", self.near.largest),
            ("horas", self.near.known),
            ("vezes", self.times),
        )


class Hours:
    """A chain's hours, ready for sums and maxima over stretches of them."""

    def __init__(self, hours: Mapping[int, int]) -> None:
        """Put the hours in order."""
        self.starts = sorted(hours)
        self.values = [hours[start] for start in self.starts]
        self._sums = [0, *accumulate(self.values)]
        self._levels = [self.values]  # maxima of 1, 2, 4, ... neighbours

    def held(self, first: int, last: int) -> int:
        """Return the sum of the hours from ``first`` to ``last``, both inclusive."""
        begin, end = bisect_left(self.starts, first), bisect_right(self.starts, last)
        return self._sums[end] - self._sums[begin]

    def near(self, first: int, last: int) -> Near:
        """Return the hours in the 7 days before ``first`` and the 24 hours after ``last``."""
        before = self.between(first - BEFORE_US, first)
        after = self.between(last + 1, last + AFTER_US + 1)
        return Near(before.known + after.known, max(before.largest, after.largest))

    def between(self, since: int, until: int) -> Near:
        """Return the hours that begin in [``since``, ``until``)."""
        begin, end = bisect_left(self.starts, since), bisect_left(self.starts, until)
        return Near(end - begin, max(self._largest(begin, end), 0) if end > begin else 0)

    def _largest(self, begin: int, end: int) -> int:
        """Return the largest of the values from ``begin`` to ``end``, exclusive."""
        level = (end - begin).bit_length() - 1
        while len(self._levels) <= level:
            below, step = self._levels[-1], 1 << (len(self._levels) - 1)
            self._levels.append([*map(max, below, below[step:])])
        return max(self._levels[level][begin], self._levels[level][end - (1 << level)])


def unusual(
    segments: Sequence[Segment],
    hours: Mapping[int, int],
    *,
    zero_start: int | None = None,
    decided: Collection[int] = (),
) -> list[Unusual]:
    """Return the segments of a chain that are INCOMUM, in order.

    ``segments`` are in order of time; all that lie in an hour of one that is judged must be among them.
    ``zero_start``: the time of the chain's first reading, if that is 0: a segment that starts there is
    unusual at once the largest hour. ``decided``: the times of readings that people have decided on.
    """
    known, found = Hours(hours), list[Unusual]()
    pair, held, beside = (0, -1), 0, 0
    for at, segment in enumerate(segments):
        start, end, _, kind = segment
        first, last = start - start % HOUR_US, end - 1 - (end - 1) % HOUR_US
        if (first, last) != pair:
            pair = first, last
            held = hours.get(first, 0) if first == last else known.held(first, last)
            beside = max(hours.get(first - HOUR_US, UNKNOWN), hours.get(last + HOUR_US, UNKNOWN))
        times = 1 if start == zero_start else UNUSUAL
        length = max(end - start, HOUR_US)
        # Nearly always the hour before or after is enough to see that nothing is unusual.
        if held * HOUR_US <= times * beside * length or kind not in JUDGED or end in decided:
            continue
        near = known.near(first, last)
        if near.enough and held * HOUR_US > times * near.largest * length and _is_largest(segments, at, pair):
            found.append(Unusual(segment, held, near, times))
    return found


def span(segment: Segment) -> tuple[int, int]:
    """Return the first and the last UTC hour that a segment lies in."""
    last = segment.end - 1
    return segment.start - segment.start % HOUR_US, last - last % HOUR_US


def to_judge(
    segments: Sequence[Segment], before: Mapping[int, int], after: Mapping[int, int]
) -> list[Segment]:
    """Return the segments whose judgement may differ after hours have changed.

    ``before`` and ``after`` are all hours.

    Exact but for the segments themselves: those are returned for which what their hours hold, the largest
    hour near them, or whether there are enough hours near them has changed.
    """
    one, other = Hours(before), Hours(after)
    found, pair, differs = list[Segment](), (0, -1), False
    for segment in segments:
        if segment.kind not in JUDGED:
            continue
        if (stretch := span(segment)) != pair:
            pair, differs = stretch, _figures(one, stretch) != _figures(other, stretch)
        if differs:
            found.append(segment)
    return found


def _figures(hours: Hours, stretch: tuple[int, int]) -> tuple[int, int] | None:
    near = hours.near(*stretch)
    return (hours.held(*stretch), near.largest) if near.enough else None


def _is_largest(segments: Sequence[Segment], at: int, stretch: tuple[int, int]) -> bool:
    """Return whether a segment is the first of the largest in its hours."""
    amount = segments[at].amount
    return all(s.amount < amount for s in _earlier(segments, at, stretch[0])) and all(
        s.amount <= amount for s in _later(segments, at, stretch[1] + HOUR_US)
    )


def _earlier(segments: Sequence[Segment], at: int, after: int) -> Iterator[Segment]:
    while at and segments[at - 1].end > after:
        at -= 1
        if segments[at].kind in JUDGED:
            yield segments[at]


def _later(segments: Sequence[Segment], at: int, before: int) -> Iterator[Segment]:
    at += 1
    while at < len(segments) and segments[at].start < before:
        if segments[at].kind in JUDGED:
            yield segments[at]
        at += 1
