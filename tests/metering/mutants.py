"""Deliberately wrong ledgers: the product's own code with one thing changed.

Each must be noticed: those of :data:`RULES` where rules and model are compared without a database, those of
:data:`LEDGERS` by the property test.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType, ModuleType
from typing import Any

from django.db import connection

from tds_new.metering import inputs, ledger, record, store
from tds_new.metering.rules import blocks, meter, segments, unusual
from tds_new.metering.times import HOUR_US

Function = Callable[..., Any]


@dataclass(frozen=True)
class Mutant:
    """A function of the ledger in which ``right`` reads ``wrong``."""

    function: Function
    right: str
    wrong: str
    of_property: bool = False

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Put the wrong code in place of the right one, whoever calls it.

        Raises AssertionError if the code is no longer there.
        """
        assert isinstance(self.function, FunctionType)
        source = textwrap.dedent(inspect.getsource(self.function))
        assert source.count(self.right) == 1, f"{self.function.__qualname__} no longer reads {self.right!r}"
        names: dict[str, Any] = {}
        module = inspect.getmodule(self.function)
        assert module is not None
        exec(compile(source.replace(self.right, self.wrong), "mutant", "exec"), dict(vars(module)), names)  # noqa: S102
        wrong = names[self.function.__name__]
        right, self.function.__code__ = (
            self.function.__code__,
            (wrong.fget if self.of_property else wrong).__code__,
        )
        try:
            yield
        finally:
            self.function.__code__ = right


@dataclass(frozen=True)
class Constant:
    """A constant of a module that has another value."""

    module: ModuleType
    name: str
    wrong: Any

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Give the constant its wrong value."""
        right = getattr(self.module, self.name)
        setattr(self.module, self.name, self.wrong)
        try:
            yield
        finally:
            setattr(self.module, self.name, right)


@dataclass(frozen=True)
class Unmarked:
    """A database that does not mark what a change of ``table`` makes stale."""

    table: str
    trigger: str

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Switch the trigger off."""
        with connection.cursor() as cursor:
            cursor.execute(f"ALTER TABLE {self.table} DISABLE TRIGGER {self.trigger}")
            try:
                yield
            finally:
                cursor.execute(f"ALTER TABLE {self.table} ENABLE TRIGGER {self.trigger}")


R = segments.Register
MEASURED = blocks.Block.measured
assert isinstance(MEASURED, property)

RULES: dict[str, Mutant | Constant] = {
    # a reading continues another
    "equal readings are no progress": Mutant(R.continues, "amount >= 0", "amount > 0"),
    "a reading at the limit is beyond it": Mutant(R.continues, "abs(amount) <= limit", "abs(amount) < limit"),
    "a net register may fall by anything": Mutant(R.continues, "abs(amount) <= limit", "amount <= limit"),
    "parameters of the base": Mutant(R.continues, "parameters_at(time)", "parameters_at(start)"),
    "a fall of exactly the tolerance is one": Mutant(
        R.continues, "-amount > parameters", "-amount >= parameters"
    ),
    "a fall may be any share of the register": Mutant(
        R.continues, " or -amount * FALL_SHARE > abs(register)", ""
    ),
    "a fall of exactly a tenth is one": Mutant(R.continues, "* FALL_SHARE > abs", "* FALL_SHARE >= abs"),
    "a register below zero has no tolerance": Mutant(R.continues, "abs(register)", "register"),
    "a meter change may count less than nothing": Mutant(R.continues, "if changes or -", "if -"),
    "only the last of several meter changes": Mutant(
        R.continues, "(register, changes, value)", "(register, changes[-1:], value)"
    ),
    "a meter change at the base's own moment": Mutant(meter.Meter.changes_between, "after,", "after - 1,"),
    "a meter change at the reading's moment is too late": Mutant(
        meter.Meter.changes_between, "until,", "until - 1,"
    ),
    "no hour's consumption at once": Mutant(
        meter.Parameters.limit, "self.hourly_maximum if elapsed <= HOUR_US else ", ""
    ),
    "an hour's consumption in any time": Mutant(meter.Parameters.limit, "elapsed <= HOUR_US", "True"),
    "parameters hold after their moment": Mutant(
        meter.Meter.parameters_at, "self.dated, time,", "self.dated, time - 1,"
    ),
    # it leaps back
    "a leap may go any way": Mutant(R._leaps_back, "way * step <= 0", "way * step == 0"),
    "a leap is more than half": Mutant(
        R._leaps_back, "2 * abs(step) < abs(way)", "2 * abs(step) <= abs(way)"
    ),
    "a leap is the whole way": Mutant(R._leaps_back, "2 * abs(step) < abs(way)", "abs(step) < abs(way)"),
    "a leap is of any size": Mutant(R._leaps_back, " or 2 * abs(step) < abs(way)", ""),
    "a leap lands closer": Mutant(R._leaps_back, "distance <= abs(step)", "distance < abs(step)"),
    "a leap lands where the register was": Mutant(
        R._leaps_back, "min(abs(distance), abs(distance - (last[1] - first[1])))", "abs(distance)"
    ),
    "a leap over a meter change": Mutant(R._leaps_back, " and not self._changes(base, reading)", ""),
    # rules 1 to 5
    "a decision is ignored": Mutant(R._apply, "time in self._meter.decided", "False"),
    "readings that wait end the waiting": Mutant(R._apply, "if found and not self._waiting", "if found"),
    "what waits is never back at once": Mutant(R._apply, "if self._waiting and found and", "if False and"),
    "what waits is never back later": Mutant(R._apply, "if self._jumps and self", "if False and self"),
    "two followers are enough": Constant(segments, "FOLLOWERS", 2),
    "four followers are needed": Constant(segments, "FOLLOWERS", 4),
    "jumps are remembered for 71 hours": Constant(segments, "MEMORY_US", 71 * HOUR_US),
    "jumps are remembered for 73 hours": Constant(segments, "MEMORY_US", 73 * HOUR_US),
    "three jumps are remembered": Constant(segments, "MAX_JUMPS", 3),
    "five jumps are remembered": Constant(segments, "MAX_JUMPS", 5),
    "five readings before the base": Constant(segments, "LINE", 6),
    "seven readings before the base": Constant(segments, "LINE", 8),
    "a restart from below zero": Mutant(R._decide, " and reading[1] >= 0", ""),
    "an approved fall of a net register counts nothing": Mutant(R._decide, " and not self._net", ""),
    "an approved fall counts": Mutant(R._decide, "(difference < 0 and not self._net)", "False"),
    "a decision leaves what waits": Mutant(R._decide, 'self._reject_waiting(base, reading, "1")', "pass"),
    "a decision keeps the jumps": Mutant(
        R._decide, "self._line, self._jumps = [reading], []", "self._line = [reading]"
    ),
    "a decision keeps the readings before": Mutant(
        R._decide, "self._jumps = [reading], []", "self._jumps = [*self._line, reading], []"
    ),
    "a net register comes back by a leap": Mutant(R._came_back, "self._net", "False"),
    "a high reading comes back by a leap": Mutant(R._came_back, "first[1] >= base[1]", "False"),
    "a register that restarts comes back": Mutant(R._came_back, "self._restarts_often()", "False"),
    "a leap at once lands twice as far": Mutant(R._came_back, "reading, CLOSE)", "reading, 5)"),
    "any leap at once will do": Mutant(
        R._came_back, "or not self._leaps_back((base, first), last, reading, CLOSE)", ""
    ),
    "every leap at once is in doubt": Mutant(R._came_back, "onward and last[1]", "last[1]"),
    "no leap at once is in doubt": Mutant(R._came_back, "onward and last[1]", "False and last[1]"),
    "a leap of what moved as far is in doubt": Mutant(R._came_back, "- first[1] > max", "- first[1] >= max"),
    "a leap and a tolerated fall are in doubt": Mutant(
        R._came_back, "max(0, reading[1] - base[1])", "reading[1] - base[1]"
    ),
    "the oldest jump first": Mutant(R._came_back_later, "reversed(self._jumps)", "self._jumps"),
    "a leap back later is as close": Mutant(R._came_back_later, "if onward else CLOSE_LATER", ""),
    "a leap back later is as far": Mutant(R._came_back_later, "CLOSE if onward else ", ""),
    "a register that restarts comes back later": Mutant(
        R._came_back_later, "if onward and self._restarts_often()", "if False"
    ),
    "a register that restarts never comes back later": Mutant(
        R._came_back_later, "if onward and self", "if self"
    ),
    "one restart is a habit": Constant(segments, "OFTEN", 1),
    "three restarts are a habit": Constant(segments, "OFTEN", 3),
    "whatever is taken back is in doubt": Mutant(R._came_back_later, "counted and (", "("),
    "a restart that is taken back is not in doubt": Mutant(
        R._came_back_later, "restart or jump.restart", "restart"
    ),
    "what could restart is not in doubt": Mutant(
        R._came_back_later, "(restart or jump.restart)", "jump.restart"
    ),
    "a fall below zero could be a restart": Mutant(R._came_back_later, "0 <= FALL_SHARE", "FALL_SHARE"),
    "a restart beyond the limit could be one": Mutant(
        R._came_back_later, " and (limit is None or reading[1] <= limit)", ""
    ),
    "a tolerated fall lowers the base": Mutant(R._accept, "(time, base[1])", "reading"),
    "a tolerated fall leaves the base in time": Mutant(R._accept, "(time, base[1])", "base"),
    "a tolerated fall is no reading of the line": Mutant(
        R._accept, "*self._line[1 - LINE :], (time, base[1])", "*self._line[:-1], (time, base[1])"
    ),
    "a meter change keeps the jumps": Mutant(
        R._accept, "self._line, self._jumps = [reading], []", "self._line = [reading]"
    ),
    "a meter change keeps the readings before": Mutant(
        R._accept, "self._jumps = [reading], []", "self._jumps = [*self._line, reading][-LINE:], []"
    ),
    # rule 6
    "a restart is tested before a rollover": Mutant(
        R._judge,
        "self._rollover(base, first, own) or self._restart(base, first, own)",
        "self._restart(base, first, own) or self._rollover(base, first, own)",
    ),
    "a net register restarts": Mutant(R._judge, "not changes and not self._net", "not changes"),
    "a register restarts over a meter change": Mutant(
        R._judge, "not changes and not self._net", "not self._net"
    ),
    "the rate of those that wait alone": Mutant(
        R._judge, "max(among, fastest(self._line), key=_Comparable)", "among"
    ),
    "the rate of those before alone": Mutant(
        R._judge, "max(among, fastest(self._line), key=_Comparable)", "fastest(self._line)"
    ),
    "outliers are not looked for": Mutant(R._judge, "if outlier is not None", "if False"),
    "the earliest that the first continues": Mutant(
        R._outliers_before, "reversed(self._line[:-1])", "self._line[:-1]"
    ),
    "outliers whose level is far away": Mutant(
        R._outliers_before, "FALL_SHARE * (first[1] - accepted[1]) <= fall", "True"
    ),
    "outliers that rose as the register does": Mutant(
        R._outliers_before, "among.is_exceeded(base[1] - accepted[1], base[0] - accepted[0])", "True"
    ),
    "outliers after a reading that is not continued": Mutant(
        R._outliers_before, "self.continues(accepted, first)", "True"
    ),
    "outliers keep those that wait": Mutant(R._go_back, "for reading in run", "for reading in run[1:]"),
    "twice the rate": Constant(segments, "RATE", 2),
    "four times the rate": Constant(segments, "RATE", 4),
    "a rollover counts less than nothing": Mutant(R._rollover, "amount < 0 or ", ""),
    "a rollover whatever the limit": Mutant(R._rollover, " or (limit is not None and amount > limit)", ""),
    "a rollover of a tenth or more": Mutant(R._rollover, "* amount > capacity", "* amount >= capacity"),
    "a rollover by a tenth alone": Mutant(R._rollover, " and own.is_exceeded(amount, elapsed)", ""),
    "a rollover by the rate alone": Mutant(R._rollover, "FALL_SHARE * amount > capacity and ", ""),
    "a rollover's rate in less than an hour": Mutant(
        R._rollover, "_at_least(base, first)", "first[0] - base[0]"
    ),
    "the capacity at the base": Mutant(R._rollover, "parameters_at(first[0])", "parameters_at(base[0])"),
    "a restart below zero": Mutant(R._restart, "value < 0 or ", ""),
    "a restart to any value that is not fast": Mutant(
        R._restart, "FALL_SHARE * value > base[1] and fast", "fast"
    ),
    "a restart to a tenth alone": Mutant(R._restart, " and fast)", ")"),
    "a restart to less than a tenth": Mutant(R._restart, "* value > base[1]", "* value >= base[1]"),
    "a fast restart is not in doubt": Mutant(R._restart, "doubt = fast or ", "doubt = "),
    "a restart beyond the limit is not in doubt": Mutant(
        R._restart, "fast or (limit is not None and value > limit)", "fast"
    ),
    "a restart in doubt counts": Mutant(R._restart, "0 if doubt else value", "value"),
    "a restart's rate in less than an hour": Mutant(
        R._restart, "_at_least(base, first)", "first[0] - base[0]"
    ),
    "an excess of exactly the median is none": Mutant(R._excess, "rise > median", "rise >= median"),
    "an excess of the fastest": Mutant(R._excess, "middle(run)", "fastest(run)"),
    "no excess": Mutant(R._excess, "rise <= 0", "True"),
    "a restart is remembered as another jump": Mutant(
        R._confirm, "judgement.kind is SegmentClass.REINICIO", "False"
    ),
    "a jump keeps the readings before": Mutant(
        R._confirm,
        "self._line, self._waiting, self._jumps = [first]",
        "self._line, self._waiting, self._jumps = [*self._line, first][-LINE:]",
    ),
    "a jump forgets its followers": Mutant(R._confirm, "for reading in followers", "for reading in ()"),
    # what is withdrawn and written
    "the first counted since is kept": Mutant(R._withdraw, "start >= base[0]", "start > base[0]"),
    "jumps that were taken back are remembered": Mutant(R._withdraw, "if jump.time <= base[0]", "if True"),
    "what was withdrawn is no reading's": Mutant(R._withdraw, "if outliers:", "if False:"),
    "nothing is in doubt for what it counted": Mutant(R._withdraw, "return any(amounts)", "return True"),
    "an excess asks nobody": Constant(segments, "ASKED", (segments.SegmentClass.IMPLAUSIVEL,)),
    "what waits asks nobody": Mutant(R._note, " or settled is None", ""),
    "what was looked at waits": Mutant(R._note, "asks and reading[0] not in self._meter.looked", "asks"),
    "a doubt that was looked at waits": Mutant(R._doubt, "time not in self._meter.looked", "True"),
    "what waits at a chain's end is undecided": Mutant(R.end_chain, "None, following, ", "None, None, "),
    "settled up to the jump": Mutant(
        R.end_chain, "self.border = self._jumps[0].base_time if", "self.border = self._jumps[0].time if"
    ),
    "settled up to the newest jump": Mutant(
        R.end_chain, "self.border = self._jumps[0].base_time if", "self.border = self._jumps[-1].base_time if"
    ),
    "settled up to the base": Mutant(R.end_chain, "else self._line[0][0]", "else self._line[-1][0]"),
    "provisional without a jump only": Mutant(
        R.end_chain, "if self._jumps:", "if not self._waiting and self._jumps:"
    ),
    "nothing waits provisionally": Mutant(R.end_chain, "elif self._waiting:", "elif False:"),
    # clean readings at once
    "clean whatever is entered": Mutant(
        R._steady_until, "self._moments[at] if at < len(self._moments) else END", "END"
    ),
    "clean whatever is remembered": Mutant(R._largest_clean, "if way > 0 or self._net", "if False"),
    "clean up to the whole way back": Mutant(R._largest_clean, "(abs(way) - 1) // 2", "abs(way)"),
    "clean whatever the limit": Mutant(
        R._largest_clean, "self._meter.parameters_at(base).hourly_maximum", "None"
    ),
    "clean upwards over a net register's jumps": Mutant(R._largest_clean, "way > 0 or self._net", "way > 0"),
    "clean also where it falls": Mutant(R._feed_clean, "-largest if self._net else 0", "-largest"),
    "clean wherever a net register falls to": Mutant(
        R._feed_clean, "-largest if self._net else 0", "-(10**16) if self._net else 0"
    ),
    "clean and without readings before": Mutant(R._feed_clean, "lines[-LINE:]", "lines[-1:]"),
    "clean after a jump is forgotten": Mutant(
        R._steady_until, "if self._jumps else moment", "if False else moment"
    ),
    # blocks
    "ties are rounded up": Mutant(blocks.half_even, "quotient & 1", "True"),
    "ties are rounded down": Mutant(blocks.half_even, "quotient & 1", "False"),
    "one factor for the whole segment": Mutant(
        blocks.portions, "meter.parts(start, end) if", "((start, end, meter.parameters_at(end).factor),) if"
    ),
    "each part is rounded": Mutant(
        blocks.portions, "total = half_even(amount * weight, divisor)", "total = amount * weight // divisor"
    ),
    "three intervals are too long": Mutant(
        blocks._count_register,
        "segment.end - segment.start > longest",
        "segment.end - segment.start >= longest",
    ),
    "three intervals are too long for gauges": Mutant(
        blocks._cover_pairs, "end - start <= longest", "end - start < longest"
    ),
    "three intervals are too long for increments": Mutant(
        blocks._count_increments, "end - start > longest", "end - start >= longest"
    ),
    "gauges open blocks": Mutant(blocks._count_readings, "elif block.consumption is None", "else"),
    "a return measures": Constant(blocks, "ESTIMATES", (segments.SegmentClass.REINICIO,)),
    "a restart measures": Constant(blocks, "ESTIMATES", (segments.SegmentClass.RETORNO,)),
    "a long segment measures": Mutant(blocks._spread, "not estimated and not long", "not estimated"),
    "an estimate is no longer interpolated": Mutant(blocks._spread, "if long:", "if long and measured:"),
    "the fraction is rounded": Mutant(
        MEASURED.fget, "* 10_000 // BLOCK_US", "* 10_000 // BLOCK_US + 1", of_property=True
    ),
    "the gateway is the first reading's": Mutant(
        blocks._count_readings, "time > block.last_reading", "block.readings == 1"
    ),
    # increments and chains
    "a first increment has no interval": Mutant(
        blocks._intervals, "else times[0] - expected", "else times[0] - 1"
    ),
    "a last increment has no interval": Mutant(
        blocks._intervals, "else times[at] + expected", "else times[at] + 1"
    ),
    "a stamp is always the end": Mutant(blocks._intervals, "if meter.stamp_is_start", "if False"),
    "an increment at the limit is beyond it": Mutant(
        blocks._count_increments, "abs(value) > limit", "abs(value) >= limit"
    ),
    "a negative increment has no limit": Mutant(
        blocks._count_increments, "abs(value) > limit", "value > limit"
    ),
    "an approved increment is kept out": Mutant(
        blocks._count_increments, ' and meter.decided.get(time) != "APROVADA"', ""
    ),
    "an increment that was looked at waits": Mutant(
        blocks._count_increments, "time not in meter.looked", "True"
    ),
    "the limit at an interval's end": Mutant(
        blocks._count_increments, "parameters_at(time)", "parameters_at(end)"
    ),
    "nothing is between two Contas": Mutant(blocks._transfer, "base is None", "True"),
    "a change of unit is a change of Conta": Mutant(
        blocks._transfer, "or canonical_unit(earlier.unit) != canonical_unit(chain.unit)", ""
    ),
    "a transfer counts less than nothing": Mutant(
        blocks._transfer, "(difference >= 0 or chain", "(True or chain"
    ),
    "a net transfer never counts less than nothing": Mutant(
        blocks._transfer, ' or chain.kind == "SALDO"', ""
    ),
    "a transfer counts for the later Conta": Mutant(
        blocks._transfer, "(attributed, chain.gateways[0])", "(chain.conta_id, chain.gateways[0])"
    ),
    "an attributed transfer waits": Mutant(blocks._transfer, "attributed is None and ", ""),
    "a transfer that was looked at waits": Mutant(blocks._transfer, " and time not in meter.looked", ""),
    # what is unusual
    "nine times the largest hour": Constant(unusual, "UNUSUAL", 9),
    "eleven times the largest hour": Constant(unusual, "UNUSUAL", 11),
    "23 hours are enough": Constant(unusual, "FEWEST", 23),
    "25 hours are needed": Constant(unusual, "FEWEST", 25),
    "six days before": Constant(unusual, "BEFORE_US", 144 * HOUR_US),
    "eight days before": Constant(unusual, "BEFORE_US", 192 * HOUR_US),
    "23 hours after": Constant(unusual, "AFTER_US", 23 * HOUR_US),
    "25 hours after": Constant(unusual, "AFTER_US", 25 * HOUR_US),
    "a rollover is never unusual": Constant(unusual, "JUDGED", (segments.NORMAL,)),
    "an hour for any segment": Mutant(unusual.unusual, "max(end - start, HOUR_US)", "HOUR_US"),
    "a first zero is as any other": Mutant(
        unusual.unusual, "1 if start == zero_start else UNUSUAL", "UNUSUAL"
    ),
    "what was decided is judged": Mutant(unusual.unusual, " or end in decided", ""),
    "the last of equals": Mutant(unusual._is_largest, "s.amount < amount", "s.amount <= amount"),
    "all that lie in an hour": Mutant(unusual.unusual, " and _is_largest(segments, at, pair)", ""),
}
LEDGERS: dict[str, Mutant | Constant | Unmarked] = {
    "a discarded reading is used": Mutant(inputs._chains, "if t not in meter.discarded", "if True"),
    "jumps are not remembered in between": Mutant(record.Record._derived, "time - MEMORY_US - 1", "time - 1"),
    "the range ends with its last reading": Mutant(
        ledger._is_same, "point is not None and point.state == state", "True"
    ),
    "other ranges are passed": Mutant(ledger._until, "default=None)", "default=None) and None"),
    "blocks that are no more are kept": Mutant(
        store._delete_vanished, "result.stored.keys() - result.blocks.keys()", "()"
    ),
    "occurrences that are no more are kept": Mutant(
        store._write_occurrences, "in result.known - new]", "in ()]"
    ),
    "decisions mark nothing": Unmarked("tds_new_revisao_leitura", "tds_new_marca_registro"),
    "meter changes mark nothing": Unmarked("tds_new_troca_medidor", "tds_new_marca_registro"),
    "dated parameters mark nothing": Unmarked("tds_new_vigencia_parametros", "tds_new_marca_registro"),
    "the device's own parameters mark nothing": Unmarked("tds_new_dispositivo", "tds_new_marca_dispositivo"),
    "the gateway's interval marks nothing": Unmarked("tds_new_gateway", "tds_new_marca_gateway"),
}
