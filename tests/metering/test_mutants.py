"""The histories of the property test notice wrong ledgers.

The suite tries a few of them; ``METERING_MUTANTS=all`` each (several minutes).
"""

import logging
import os
from datetime import timedelta

import pytest

from tds_new.metering import ledger
from tests.metering import delivery
from tests.metering.histories import NOW
from tests.metering.model import EPOCH
from tests.metering.mutants import MUTANTS

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.once]

FIRST_SEED, CASES, AT_ONCE = 1, 150, 25  # the histories of test_property
FEW = [
    "a restart is tested before a rollover",
    "ties are rounded up",
    "any reading before will do as a base",
    "the last block is not known whole",
    "decisions mark nothing",
]


@pytest.fixture(autouse=True)
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "now_us", lambda: (NOW - EPOCH) // timedelta(microseconds=1))
    logging.getLogger(
        "tds_new.metering.worker"
    ).disabled = True  # silences errors on devices that a mutant cannot compute


def histories_until_noticed() -> int | None:
    """Return how many histories it took to see a difference; None if there was none."""
    for first in range(FIRST_SEED, FIRST_SEED + CASES, AT_ONCE):
        cases = [delivery.case(seed) for seed in range(first, first + AT_ONCE)]
        delivery.install(cases)
        delivery.deliver(cases)
        if delivery.differences(cases):
            return first + AT_ONCE - FIRST_SEED
    return None


@pytest.mark.parametrize("name", MUTANTS if os.environ.get("METERING_MUTANTS") == "all" else FEW)
def test_a_wrong_ledger_is_noticed(name: str) -> None:
    with MUTANTS[name].at_work():
        found = histories_until_noticed()
    print(f"{name}: {found}")
    assert found is not None, name
