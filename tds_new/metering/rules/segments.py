"""A register's readings as segments of consumption, by docs/metering.md.

Units are those of ``meter``. The numbers of the rules are those of the document: a reading continues one,
leaps back over a jump, came back, goes on, waits, is judged.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from enum import StrEnum
from itertools import pairwise, repeat, starmap
from operator import sub
from typing import NamedTuple

from tds_new.metering.rules.meter import Meter, MeterChange, counted_by_each
from tds_new.metering.times import BEGINNING, END, HOUR_US

FOLLOWERS = 3  # readings that must follow one that waits before it is judged
LINE = 7  # the base and the accepted readings before it that are remembered
MEMORY_US = 72 * HOUR_US  # how long a jump is remembered after its first reading
MAX_JUMPS = 4
CLOSE, CLOSE_LATER = 10, 2  # a leap back must be so many times larger than its distance from the old level
FALL_SHARE = 10  # the share of a register that a fall may have, or leave, is a tenth
OFTEN = 2  # restarts among the jumps that make restarting a habit
RATE = 3  # times the device's own rate
SMALLEST_BATCH, LARGEST_BATCH = 16, 4096  # clean readings that are counted at once


class SegmentClass(StrEnum):
    """The class of a reading: what became of it, and of the segment that ends at it."""

    NORMAL = "NORMAL"
    TROCA = "TROCA"
    QUEDA = "QUEDA"
    VIRADA = "VIRADA"
    REINICIO = "REINICIO"
    SUSPEITA = "SUSPEITA"
    IMPLAUSIVEL = "IMPLAUSIVEL"
    EXCESSO = "EXCESSO"
    INCOMUM = "INCOMUM"
    RETORNO = "RETORNO"
    TRANSFERENCIA = "TRANSFERENCIA"


NORMAL, TROCA, QUEDA = SegmentClass.NORMAL, SegmentClass.TROCA, SegmentClass.QUEDA
# The values of readings of these classes are never a base's.
NEVER_BASES = (SegmentClass.QUEDA, SegmentClass.SUSPEITA)
NEVER_BASES_SQL = ", ".join(f"'{kind}'" for kind in NEVER_BASES)  # for ``classe IN (...)``
# The consumption up to readings of these classes is not counted, so a person may approve them.
APPROVABLE = (SegmentClass.SUSPEITA, SegmentClass.IMPLAUSIVEL)
ASKED = (SegmentClass.IMPLAUSIVEL, SegmentClass.EXCESSO)  # somebody is asked about each of them

Point = tuple[int, int]  # the time and the value of a reading
Numbers = tuple[tuple[str, int], ...]


class EarlierNeededError(Exception):
    """A run that began at a state must reach back before the base that it began at."""


class Segment(NamedTuple):
    """Consumption ``amount`` (register units) between two accepted readings."""

    start: int
    end: int
    amount: int
    kind: SegmentClass


class Jump(NamedTuple):
    """A jump that may turn out to be an outlier's.

    It has the base before it and the first reading after it.     ``restart``: it was judged a REINICIO.
    """

    base_time: int
    base_value: int
    time: int
    value: int
    restart: bool


class State(NamedTuple):
    """All that later judgements depend on, at a base while no reading waits.

    ``line``: time and value of up to seven accepted readings since the last jump, the base last. ``jumps``:
    those remembered, the newest last.
    """

    line: tuple[Point, ...]
    jumps: tuple[Jump, ...]

    @property
    def reach(self) -> int:
        """The time of the earliest base that later readings may go back to."""
        return min([self.line[0][0], *(jump.base_time for jump in self.jumps)])


class Occurrence(NamedTuple):
    """A reading whose class is not NORMAL.

    ``base_time`` and ``base_value``: what it was judged against. ``amount``: what it counted, None if
    nothing could be. ``settled``: the time of the reading that decided it, None while it waits for followers.
    ``waits``: a person is asked. ``rule``: the number of the rule in docs/metering.md that decided: 1 to 4,
    5 of readings that still wait, 6a to 6e; I of an increment, T of a change of Conta, N of INCOMUM.

    ``numbers`` are the figures of the rule, by names as the table has them. Times (``..._em``) are
    microseconds since 1970; counts are ``trocas``, ``quantas``, ``perto``, ``seguintes``; ``duvida`` and
    ``continuava`` are 1 for yes; all others are whole 0.0001 of the register, cut where they are no whole
    ones. A limit that is unknown is left out.

    ======================  ==================================================================================
    ``limite``              the most that is plausible since the base (at the reading itself)
    ``diferenca``           what the register moved since the base, over meter changes
    ``trocas``              the meter changes between the base and the reading
    ``tolerancia``          the fall that means nothing
    ``primeira``, ``_em``   the first of the outliers, its value and its time
    ``ultima``, ``_em``     the last of the outliers
    ``quantas``             how many outliers there are
    ``decisiva``            the value of the deciding reading
    ``continuava``          whether the deciding reading would also have continued the outliers
    ``perto``               how many times larger than its distance from the old level the leap back had to be
    ``desde``, ``_em``      the accepted reading that rules 3 and 6a went back to
    ``retorno``, ``_em``    6a: the reading that continued it
    ``retirado``            what had been counted since then and was withdrawn
    ``subida``              6a: how much the outliers were above that reading
    ``ritmo_x3``            three times the device's own rate over the time concerned
    ``mediana_x3``          6d, 6e: three times the median rate of the followers over the time since the base
    ``capacidade``          where the register wraps to zero
    ``virada``              what it counted if it wrapped
    ``duvida``              whether the judgement is in doubt
    ``seguintes``           5: how many readings follow it so far
    ======================  ==================================================================================
    """

    time: int
    value: int
    kind: SegmentClass
    base_time: int
    base_value: int
    amount: int | None
    settled: int | None
    waits: bool = False
    rule: str = ""
    numbers: Numbers = ()


class Continuation(NamedTuple):
    """How a reading continues another: its class and what it counts."""

    kind: SegmentClass
    amount: int


class Judgement(NamedTuple):
    """What rule 6 says of the first reading that waits."""

    kind: SegmentClass
    amount: int | None
    rule: str
    doubt: bool
    numbers: Numbers


class Rate(NamedTuple):
    """A rise in a time, both whole numbers; comparisons over any other time are exact."""

    rise: int
    elapsed: int

    def tripled(self, elapsed: int) -> int:
        """Return three times the rise in ``elapsed`` microseconds, cut."""
        return RATE * self.rise * elapsed // self.elapsed

    def is_exceeded(self, amount: int, elapsed: int) -> bool:
        """Return whether ``amount`` in ``elapsed`` is more than three times this rate."""
        return amount * self.elapsed > RATE * self.rise * elapsed


class Register:
    """Judges a chain of register readings, given to :meth:`feed` in order of time.

    ``net``: the register also falls (SALDO). ``state``: go on from there; the readings up to its base are not
    given again. ``watch_from``: the states of readings after it are kept.

    ``segments`` has what is counted, in order. ``states`` has the state at each reading after ``watch_from``
    that was the newest when it became the base, or moved it, while none waited. ``checkpoints`` has the first
    such state of each UTC hour while jumps are remembered, wherever it is. What is withdrawn later is in none
    of them. ``lowest`` is the earliest base that anything was withdrawn to, None if nothing was.

    After :meth:`end_chain`: ``border``, up to which no later reading changes anything, and
    ``provisional_since``, from which on figures are provisional (None: nothing is).
    """

    def __init__(
        self, meter: Meter, *, net: bool = False, state: State | None = None, watch_from: int = END
    ) -> None:
        """Begin a chain, or go on from a state."""
        self.segments: list[Segment] = []
        self.states: dict[int, State] = {}
        self.checkpoints: dict[int, State] = {}
        self.lowest: int | None = None
        self.border: int | None = None
        self.provisional_since: int | None = None
        self._meter = meter
        self._net = net
        self._watch_from = watch_from
        self._line: list[Point] = list(state.line) if state else []
        self._jumps: list[Jump] = list(state.jumps) if state else []
        self._start = self._line[-1][0] if self._line else BEGINNING
        self._waiting: list[Point] = []
        self._times: list[int] = []
        self._values: list[int] = []
        self._found: dict[int, Occurrence] = {}
        self._moments = sorted(
            {since for since, _ in meter.dated}
            | {change.time for change in meter.changes}
            | meter.decided.keys()
        )

    @property
    def occurrences(self) -> list[Occurrence]:
        """The readings that are not NORMAL, in order of time."""
        return [self._found[time] for time in sorted(self._found)]

    @property
    def base(self) -> Point | None:
        """The last reading accepted; None before the first."""
        return self._line[-1] if self._line else None

    # --- readings

    def feed(self, time: int, value: int) -> None:
        """Take the next reading of the chain."""
        self._times.append(time)
        self._values.append(value)
        self._apply((time, value))

    def feed_all(self, times: Sequence[int], values: Sequence[int]) -> None:
        """Take the next readings of the chain.

        Those that just go on are counted many at once.
        """
        at, size, count = 0, SMALLEST_BATCH, len(times)
        while at < count:
            if self._waiting or not self._line:
                self.feed(times[at], values[at])
                at += 1
                continue
            until = min(at + size, count)
            reached = self._feed_clean(times, values, at, until)
            size = min(2 * size, LARGEST_BATCH) if reached == until else SMALLEST_BATCH
            if reached < count and reached < until:
                self.feed(times[reached], values[reached])
                reached += 1
            at = reached

    def end_chain(self, following: int | None = None) -> None:
        """End the chain.

        Another begins at ``following``, or there are no more readings (None). Waiting readings become
        outliers: finally, or as far as is known.
        """
        number = len(self._waiting)
        for place, reading in enumerate(self._waiting):
            numbers = (("quantas", number), ("seguintes", number - 1 - place))
            self._note(reading, SegmentClass.SUSPEITA, self._line[-1], None, following, "5", numbers)
        if not self._line:
            return
        if following is not None:
            self.border = self._times[-1] if self._times else self._line[-1][0]
            return
        self.border = self._jumps[0].base_time if self._jumps else self._line[0][0]
        if self._jumps:
            self.provisional_since = self._jumps[0].base_time
        elif self._waiting:
            self.provisional_since = self._line[-1][0]

    # --- the relations of docs/metering.md

    def continues(self, base: Point, reading: Point) -> Continuation | None:
        """Return how a reading continues ``base``; None if it does not."""
        start, register = base
        time, value = reading
        meter = self._meter
        parameters = meter.parameters_at(time) if meter.dated else meter.base
        limit = parameters.limit(time - start)
        changes = meter.changes_between(start, time) if meter.changes else ()
        amount = sum(counted_by_each(register, changes, value)) if changes else value - register
        if amount >= 0 or self._net:
            return (
                Continuation(TROCA if changes else NORMAL, amount)
                if limit is None or abs(amount) <= limit
                else None
            )
        if changes or -amount > parameters.dip_tolerance or -amount * FALL_SHARE > abs(register):
            return None
        return Continuation(QUEDA, 0)

    def _leaps_back(self, over: tuple[Point, Point], last: Point, reading: Point, close: int) -> bool:
        """Return whether a reading leaps back over a jump.

        ``over``: the jump's base and the first reading after it. ``last``: the reading before this one, on
        the other level. The step goes against the jump, is at least half as large, and lands ``close`` to the
        base, or to where it would be had it moved as the readings of the other level did.
        """
        base, first = over
        way, step = base[1] - first[1], reading[1] - last[1]
        if way * step <= 0 or 2 * abs(step) < abs(way):
            return False
        distance = reading[1] - base[1]
        distance = min(abs(distance), abs(distance - (last[1] - first[1])))
        return close * distance <= abs(step) and not self._changes(base, reading)

    def _changes(self, base: Point, reading: Point) -> Sequence[MeterChange]:
        return self._meter.changes_between(base[0], reading[0]) if self._meter.changes else ()

    def _limit(self, base: Point, reading: Point) -> int | None:
        return self._meter.parameters_at(reading[0]).limit(reading[0] - base[0])

    # --- rules 1 to 5

    def _apply(self, reading: Point) -> None:
        """Apply the first of the rules 1 to 5 that matches."""
        if not self._line:
            self._line.append(reading)
            self._remember(reading[0])
            return
        base, time = self._line[-1], reading[0]
        if time in self._meter.decided:
            self._decide(base, reading)
            return
        if self._jumps and time - self._jumps[0].time > MEMORY_US:
            self._jumps = [jump for jump in self._jumps if time - jump.time <= MEMORY_US]
        found = self.continues(base, reading)
        if self._waiting or self._jumps:
            last = self._waiting[-1] if self._waiting else base
            onward = (self.continues(last, reading) if self._waiting else found) is not None
            if self._waiting and found and self._came_back(base, reading, found, onward=onward):
                return
            if self._jumps and self._came_back_later(last, reading, onward=onward):
                return
        if found and not self._waiting:
            self._accept(base, reading, found)
            return
        self._waiting.append(reading)
        if len(self._waiting) > FOLLOWERS:
            self._judge()

    def _decide(self, base: Point, reading: Point) -> None:
        """Rule 1: accept a reading as a person has decided."""
        decision = self._meter.decided[reading[0]]
        changes = self._changes(base, reading)
        difference = sum(counted_by_each(base[1], changes, reading[1]))
        self._reject_waiting(base, reading, "1")
        if decision == "REINICIO" and reading[1] >= 0:
            found = Continuation(SegmentClass.REINICIO, reading[1])
        elif decision == "RETORNO" or (difference < 0 and not self._net):
            found = Continuation(SegmentClass.RETORNO, 0)
        else:
            found = Continuation(TROCA if changes else NORMAL, difference)
        if found.kind is not NORMAL:
            numbers = (("diferenca", difference), ("trocas", len(changes)))
            self._note(reading, found.kind, base, found.amount, reading[0], "1", numbers)
        self.segments.append(Segment(base[0], reading[0], found.amount, found.kind))
        self._line, self._jumps = [reading], []
        self._remember(reading[0])

    def _came_back(self, base: Point, reading: Point, found: Continuation, *, onward: bool) -> bool:
        """Rule 2: those that wait were outliers, if the reading came back at once."""
        first, last = self._waiting[0], self._waiting[-1]
        if onward and (
            self._net
            or first[1] >= base[1]
            or self._restarts_often()
            or not self._leaps_back((base, first), last, reading, CLOSE)
        ):
            return False
        doubt = onward and last[1] - first[1] > max(0, reading[1] - base[1])
        more = (("continuava", int(onward)),) + ((("duvida", 1),) if doubt else ())
        self._reject_waiting(base, reading, "2", more)
        if doubt:
            self._doubt(first[0])
        self._accept(base, reading, found)
        return True

    def _came_back_later(self, last: Point, reading: Point, *, onward: bool) -> bool:
        """Rule 3: what followed a jump was an outlier, if the reading leaps back over it."""
        if onward and self._restarts_often():
            return False
        close = CLOSE if onward else CLOSE_LATER
        for jump in reversed(self._jumps):
            base, first = (jump.base_time, jump.base_value), (jump.time, jump.value)
            if not self._leaps_back((base, first), last, reading, close):
                continue
            found = self.continues(base, reading)
            if found is None:
                continue
            limit = self._limit(last, reading)
            restart = 0 <= FALL_SHARE * reading[1] <= last[1] and (limit is None or reading[1] <= limit)
            numbers = (("decisiva", reading[1]), ("continuava", int(onward)), ("perto", close))
            counted = self._withdraw(base, reading[0], reading[0], "3", numbers)
            if counted and (restart or jump.restart):
                self._doubt(first[0])
            self._accept(base, reading, found)
            return True
        return False

    def _restarts_often(self) -> bool:
        """Return whether the register restarts by habit: such a one is left alone."""
        return sum(jump.restart for jump in self._jumps) >= OFTEN

    def _accept(self, base: Point, reading: Point, found: Continuation) -> None:
        """Rule 4: count from ``base`` to the reading, the new base."""
        time, value = reading
        if found.kind is NORMAL:
            self.segments.append(Segment(base[0], time, found.amount, NORMAL))
            self._line = [*self._line[1 - LINE :], reading]
        elif found.kind is QUEDA:  # the base keeps its value and moves on in time
            numbers = (("diferenca", value - base[1]), ("tolerancia", self._tolerance(time)))
            self._note(reading, QUEDA, base, None, time, "4", numbers)
            self.segments.append(Segment(base[0], time, 0, NORMAL))
            self._line = [*self._line[1 - LINE :], (time, base[1])]
        else:
            moved = (*self._known_limit(base, reading), ("diferenca", found.amount))
            changes = ("trocas", len(self._changes(base, reading)))
            self._note(reading, TROCA, base, found.amount, time, "4", (*moved, changes))
            self.segments.append(Segment(base[0], time, found.amount, TROCA))
            self._line, self._jumps = [reading], []
        self._remember(time)

    def _tolerance(self, time: int) -> int:
        return self._meter.parameters_at(time).dip_tolerance

    # --- rule 6

    def _judge(self) -> None:
        """Rule 6: judge the first reading that waits; three have followed it."""
        base, run = self._line[-1], self._waiting
        first = run[0]
        among = fastest(run)
        changes = self._changes(base, first)
        plain = not changes and not self._net
        if plain and first[1] < base[1]:
            outlier = self._outliers_before(base, first, among)
            if outlier is not None:
                self._go_back(outlier, among)
                return
            own = max(among, fastest(self._line), key=_Comparable)
            judgement = self._rollover(base, first, own) or self._restart(base, first, own)
        else:
            judgement = self._excess(base, run) if plain else None
        self._confirm(judgement or self._implausible(base, run, len(changes)))

    def _outliers_before(self, base: Point, first: Point, among: Rate) -> Point | None:
        """Rule 6a: return the accepted reading after which there were only outliers.

        ``first`` continues it. None if there is none.
        """
        fall = base[1] - first[1]
        for accepted in reversed(self._line[:-1]):
            if (
                FALL_SHARE * (first[1] - accepted[1]) <= fall
                and among.is_exceeded(base[1] - accepted[1], base[0] - accepted[0])
                and not self._changes(accepted, first)
                and self.continues(accepted, first)
            ):
                return accepted
        return None

    def _go_back(self, accepted: Point, among: Rate) -> None:
        """Withdraw what was counted since ``accepted``, and take those that wait up again."""
        base, run = self._line[-1], self._waiting
        numbers = (
            ("retorno", run[0][1]),
            ("retorno_em", run[0][0]),
            ("decisiva", run[-1][1]),
            ("subida", base[1] - accepted[1]),
            ("ritmo_x3", among.tripled(base[0] - accepted[0])),
        )
        self._withdraw(accepted, run[0][0], run[-1][0], "6a", numbers)
        for reading in run:
            self._apply(reading)

    def _rollover(self, base: Point, first: Point, own: Rate) -> Judgement | None:
        """Rule 6b: the register wrapped to zero."""
        capacity = self._meter.parameters_at(first[0]).capacity
        if capacity is None:
            return None
        amount, limit, elapsed = (
            capacity - base[1] + first[1],
            self._limit(base, first),
            _at_least(base, first),
        )
        if amount < 0 or (limit is not None and amount > limit):
            return None
        if FALL_SHARE * amount > capacity and own.is_exceeded(amount, elapsed):
            return None
        numbers = (
            *self._known_limit(base, first),
            ("diferenca", first[1] - base[1]),
            ("capacidade", capacity),
            ("virada", amount),
            ("ritmo_x3", own.tripled(elapsed)),
        )
        return Judgement(SegmentClass.VIRADA, amount, "6b", doubt=False, numbers=numbers)

    def _restart(self, base: Point, first: Point, own: Rate) -> Judgement | None:
        """Rule 6c: the register restarted from zero."""
        value, limit, elapsed = first[1], self._limit(base, first), _at_least(base, first)
        fast = own.is_exceeded(value, elapsed)
        if value < 0 or (FALL_SHARE * value > base[1] and fast):
            return None
        doubt = fast or (limit is not None and value > limit)
        numbers = (
            *self._known_limit(base, first),
            ("diferenca", value - base[1]),
            ("ritmo_x3", own.tripled(elapsed)),
        )
        return Judgement(SegmentClass.REINICIO, 0 if doubt else value, "6c", doubt, numbers)

    def _excess(self, base: Point, run: list[Point]) -> Judgement | None:
        """Rule 6d: the followers are as fast, so the maximum is too low."""
        first = run[0]
        rise, median = first[1] - base[1], middle(run).tripled(first[0] - base[0])
        if rise <= 0 or rise > median:
            return None
        numbers = (*self._known_limit(base, first), ("diferenca", rise), ("mediana_x3", median))
        return Judgement(SegmentClass.EXCESSO, rise, "6d", doubt=False, numbers=numbers)

    def _implausible(self, base: Point, run: list[Point], changes: int) -> Judgement:
        """Rule 6e: keep the jump out of all totals."""
        first = run[0]
        numbers = (
            *self._known_limit(base, first),
            ("diferenca", sum(counted_by_each(base[1], self._changes(base, first), first[1]))),
            ("trocas", changes),
            ("mediana_x3", middle(run).tripled(first[0] - base[0])),
        )
        return Judgement(SegmentClass.IMPLAUSIVEL, None, "6e", doubt=False, numbers=numbers)

    def _confirm(self, judgement: Judgement) -> None:
        """Make the first reading that waits the base, and take its followers up again."""
        base, (first, *followers) = self._line[-1], self._waiting
        last = followers[-1]
        numbers = (*judgement.numbers, ("decisiva", last[1]))
        self._note(first, judgement.kind, base, judgement.amount, last[0], judgement.rule, numbers)
        if judgement.doubt:
            self._doubt(first[0])
        if judgement.amount is not None:
            self.segments.append(Segment(base[0], first[0], judgement.amount, judgement.kind))
        jump = Jump(*base, *first, judgement.kind is SegmentClass.REINICIO)
        self._line, self._waiting, self._jumps = [first], [], [*self._jumps, jump][-MAX_JUMPS:]
        for reading in followers:
            self._apply(reading)

    # --- what is written down

    def _note(
        self,
        reading: Point,
        kind: SegmentClass,
        base: Point,
        amount: int | None,
        settled: int | None,
        rule: str,
        numbers: Numbers,
    ) -> None:
        asks = kind in ASKED or settled is None
        waits = asks and reading[0] not in self._meter.looked
        self._found[reading[0]] = Occurrence(*reading, kind, *base, amount, settled, waits, rule, numbers)

    def _doubt(self, time: int) -> None:
        """Ask a person about an occurrence whose judgement is in doubt."""
        found = self._found[time]
        self._found[time] = found._replace(
            waits=time not in self._meter.looked, numbers=(*found.numbers, ("duvida", 1))
        )

    def _known_limit(self, base: Point, reading: Point) -> Numbers:
        limit = self._limit(base, reading)
        return () if limit is None else (("limite", limit),)

    def _reject_waiting(self, base: Point, reading: Point, rule: str, more: Numbers = ()) -> None:
        """Make outliers of those that wait; ``reading`` decided it."""
        if not self._waiting:
            return
        outliers, self._waiting = self._waiting, []
        numbers = (*_ends(outliers[0], outliers[-1], len(outliers)), ("decisiva", reading[1]), *more)
        for outlier in outliers:
            self._note(outlier, SegmentClass.SUSPEITA, base, None, reading[0], rule, numbers)

    def _withdraw(self, base: Point, until: int, settled: int, rule: str, more: Numbers) -> bool:
        """Withdraw all since ``base``: the readings between it and ``until`` are outliers.

        ``settled``: the time of the reading that decided it. Return whether anything but 0 had been counted.
        """
        if base[0] < self._start:
            raise EarlierNeededError
        amounts: list[int] = []
        while self.segments and self.segments[-1].start >= base[0]:
            amounts.append(self.segments.pop().amount)
        begin, end = bisect_right(self._times, base[0]), bisect_left(self._times, until)
        outliers = [*zip(self._times[begin:end], self._values[begin:end], strict=True)]
        if outliers:
            numbers = (
                *_ends(outliers[0], outliers[-1], len(outliers)),
                ("desde", base[1]),
                ("desde_em", base[0]),
                ("retirado", sum(amounts)),
                *more,
            )
            for outlier in outliers:
                self._note(outlier, SegmentClass.SUSPEITA, base, None, settled, rule, numbers)
        self._line, self._waiting = [base], []
        self._jumps = [jump for jump in self._jumps if jump.time <= base[0]]
        self.lowest = base[0] if self.lowest is None else min(self.lowest, base[0])
        for kept in (self.states, self.checkpoints):
            while kept and next(reversed(kept)) > base[0]:
                kept.popitem()
        return any(amounts)

    def _remember(self, time: int) -> None:
        """Keep the state at the base, if it is the newest reading and none waits."""
        if self._times[-1] != time or not (self._jumps or time > self._watch_from) or self._waiting:
            return
        state = State(tuple(self._line), tuple(self._jumps))
        if time > self._watch_from:
            self.states[time] = state
        if self._jumps and self._opens_an_hour(time):
            self.checkpoints[time] = state

    def _opens_an_hour(self, time: int) -> bool:
        return not self.checkpoints or next(reversed(self.checkpoints)) // HOUR_US != time // HOUR_US

    # --- clean readings, many at once

    def _feed_clean(self, times: Sequence[int], values: Sequence[int], at: int, until: int) -> int:
        """Count readings from ``at`` on while they just go on; return how far.

        At most to ``until``. They rise within an hour's limit, by less than any leap back over a jump, while
        nothing else is in force that a rule looks at.
        """
        until = bisect_left(times, self._steady_until(), at, until)
        if until <= at:
            return at
        base, register = self._line[-1]
        starts, before = [base, *times[at : until - 1]], [register, *values[at : until - 1]]
        steps = [*map(sub, values[at:until], before)]
        largest = self._largest_clean(base)
        least = -largest if self._net else 0
        if min(steps) < least or max(steps) > largest:
            until = at + next(n for n, step in enumerate(steps) if not least <= step <= largest)
            if until == at:
                return at
        ends = times[at:until]
        self.segments.extend(starmap(Segment, zip(starts, ends, steps, repeat(NORMAL), strict=False)))
        self._times.extend(ends)
        self._values.extend(values[at:until])
        lines = [*self._line, *zip(ends, values[at:until], strict=True)]
        if self._jumps or ends[-1] > self._watch_from:
            self._remember_clean(lines, len(ends))
        self._line = lines[-LINE:]
        return until

    def _steady_until(self) -> int:
        """Return the time from which on a rule may look at something else than now."""
        base = self._line[-1][0]
        at = bisect_right(self._moments, base)
        moment = self._moments[at] if at < len(self._moments) else END
        return min(moment, self._jumps[0].time + MEMORY_US + 1) if self._jumps else moment

    def _largest_clean(self, base: int) -> int:
        """Return the largest step that is within any limit and leaps back over no jump."""
        maximum = self._meter.parameters_at(base).hourly_maximum
        largest = END if maximum is None else maximum
        for jump in self._jumps:
            way = jump.base_value - jump.value
            if way > 0 or self._net:
                largest = min(largest, (abs(way) - 1) // 2)
        return largest

    def _remember_clean(self, lines: list[Point], count: int) -> None:
        jumps = tuple(self._jumps)
        for end in range(len(lines) - count + 1, len(lines) + 1):
            time = lines[end - 1][0]
            if time > self._watch_from:
                self.states[time] = State(tuple(lines[max(0, end - LINE) : end]), jumps)
            if jumps and self._opens_an_hour(time):
                self.checkpoints[time] = State(tuple(lines[max(0, end - LINE) : end]), jumps)


class _Comparable:
    """Orders rates exactly."""

    __slots__ = ("rate",)

    def __init__(self, rate: Rate) -> None:
        self.rate = rate

    def __lt__(self, other: "_Comparable") -> bool:
        return self.rate.rise * other.rate.elapsed < other.rate.rise * self.rate.elapsed

    def __gt__(self, other: "_Comparable") -> bool:
        return other < self


def _rates(readings: Sequence[Point]) -> Iterator[Rate]:
    return (Rate(b[1] - a[1], b[0] - a[0]) for a, b in pairwise(readings))


def fastest(readings: Sequence[Point]) -> Rate:
    """Return the largest rise per time of neighbours, at least none."""
    return max((Rate(0, 1), *_rates(readings)), key=_Comparable)


def middle(readings: Sequence[Point]) -> Rate:
    """Return the median rise per time of neighbours, an odd number of pairs."""
    ordered = sorted(_rates(readings), key=_Comparable)
    return ordered[len(ordered) // 2]


def _at_least(base: Point, reading: Point) -> int:
    """Return the time from one reading to another, at least an hour."""
    return max(reading[0] - base[0], HOUR_US)


def _ends(first: Point, last: Point, count: int) -> Numbers:
    return (
        ("primeira", first[1]),
        ("primeira_em", first[0]),
        ("ultima", last[1]),
        ("ultima_em", last[0]),
        ("quantas", count),
    )
