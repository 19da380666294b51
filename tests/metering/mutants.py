"""Deliberately wrong ledgers: the product's own code with one thing changed.

Each must be noticed by the property test.
"""

import inspect
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from django.db import connection

from tds_new.metering import inputs, ledger, record, store
from tds_new.metering.rules import blocks, meter, segments

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


DECIDED = "any(base < time < settled for base, settled in spans)"
MEASURED = blocks.Block.measured
assert isinstance(MEASURED, property)

RULES = {
    "a meter change at the base's own moment": Mutant(meter.Meter.changes_between, "after,", "after - 1,"),
    "a meter change at the reading's moment is too late": Mutant(
        meter.Meter.changes_between, "until,", "until - 1,"
    ),
    "a restart is tested before a rollover": Mutant(
        segments.Register._judge,
        "self._rollover(base, first, own) or self._restart(base, first, own)",
        "self._restart(base, first, own) or self._rollover(base, first, own)",
    ),
    "a discarded reading is used": Mutant(inputs._chains, "if t not in meter.discarded", "if True"),
}
BLOCKS = {
    "ties are rounded up": Mutant(blocks.half_even, "quotient & 1", "True"),
    "one factor for the whole segment": Mutant(
        blocks.portions,
        "meter.parts(start, end) if",
        "((start, end, meter.parameters_at(end).factor),) if",
    ),
    "three intervals are too long": Mutant(
        blocks._count_register,
        "segment.end - segment.start > longest",
        "segment.end - segment.start >= longest",
    ),
    "three intervals are too long for other kinds": Mutant(
        blocks._cover_pairs, "end - start <= longest", "end - start < longest"
    ),
    "the fraction is rounded": Mutant(
        MEASURED.fget, "* 10_000 // BLOCK_US", "* 10_000 // BLOCK_US + 1", of_property=True
    ),
    "the gateway is the first reading's": Mutant(
        blocks._count_readings, "time > block.last_reading", "block.readings == 1"
    ),
}
RANGES = {
    "any reading before will do as a base": Mutant(
        record.Record.is_confirmed, "not any(base < time < settled for base, settled in self._spans)", "True"
    ),
    "jumps are not remembered in between": Mutant(record.Record._derived, "time - MEMORY_US - 1", "time - 1"),
    "the range ends with its last reading": Mutant(ledger._is_same, "point.state == state", "True"),
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
MUTANTS: dict[str, Mutant | Unmarked] = {**RULES, **BLOCKS, **RANGES}
