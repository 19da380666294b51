"""Exact examples and the histories of the property test notice wrong rules and wrong ledgers.

The suite tries a few of them; ``METERING_MUTANTS=all`` each (half an hour).
"""

import logging
import os
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from random import Random

import pytest

from tds_new.metering import ledger
from tests.metering import by_rules, delivery
from tests.metering.exact import EXACT
from tests.metering.histories import NOW, apply, history
from tests.metering.model import EPOCH, Figures, Meter, compute
from tests.metering.mutants import LEDGERS, RULES

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

ALL = os.environ.get("METERING_MUTANTS") == "all"
FIRST_SEED, CASES, AT_ONCE = 1, 150, 25  # the histories of test_property
FEW_RULES = [
    "a reading at the limit is beyond it",
    "a leap lands closer",
    "the oldest jump first",
    "a restart is tested before a rollover",
    "three jumps are remembered",
    "clean whatever is remembered",
    "ties are rounded up",
    "25 hours are needed",
]
FEW_LEDGERS = [
    "occurrences that are no more are kept",
    "the range ends with its last reading",
    "decisions mark nothing",
]


@pytest.fixture
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "now_us", lambda: (NOW - EPOCH) // timedelta(microseconds=1))
    logging.getLogger(
        "tds_new.metering.worker"
    ).disabled = True  # silences errors on devices that a mutant cannot compute


@cache
def expected(name: str | int) -> tuple[Meter, Figures]:
    """An exact example, or the history of a seed, and what the model says of it."""
    meter = EXACT[name] if isinstance(name, str) else apply(Meter(), history(Random(name)))
    return meter, compute(meter)


def meters() -> Iterator[tuple[str | int, Meter, Figures]]:
    for name in (*EXACT, *range(FIRST_SEED, FIRST_SEED + CASES)):
        yield name, *expected(name)


def noticed_by_rules() -> str | int | None:
    """Return the first meter for which the rules do not say what the model says; None if there is none."""
    for name, meter, figures in meters():
        try:
            if by_rules.figures(meter) != figures:
                return name
        except (ArithmeticError, AssertionError, LookupError, TypeError, ValueError):
            return name  # wrong rules may also come to what cannot be
    return None


def histories_until_noticed() -> int | None:
    """Return how many histories it took to see a difference; None if there was none."""
    for first in range(FIRST_SEED, FIRST_SEED + CASES, AT_ONCE):
        cases = [delivery.case(seed) for seed in range(first, first + AT_ONCE)]
        delivery.install(cases)
        delivery.deliver(cases)
        if delivery.differences(cases):
            return first + AT_ONCE - FIRST_SEED
    return None


def test_right_rules_say_what_the_model_says_of_exact_examples() -> None:
    for name in EXACT:
        meter, figures = expected(name)
        assert by_rules.figures(meter) == figures, name


@pytest.mark.parametrize("name", RULES if ALL else FEW_RULES)
def test_wrong_rules_are_noticed(name: str) -> None:
    with RULES[name].at_work():
        found = noticed_by_rules()
    print(f"{name}: {found}")
    assert found is not None, name


@pytest.mark.usefixtures("present")
@pytest.mark.parametrize("name", LEDGERS if ALL else FEW_LEDGERS)
def test_a_wrong_ledger_is_noticed(name: str) -> None:
    with LEDGERS[name].at_work():
        found = histories_until_noticed()
    print(f"{name}: {found}")
    assert found is not None, name
