"""Increments at the ends of chains: one counts for an expected interval before its stamp, or after it.

Random histories of a meter that changes its Conta and its kind, in any order. ``METERING_SEED`` and
``METERING_CASES`` say which and how many.
"""

import os
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random

import pytest

from tds_new.metering import ledger
from tests.metering import delivery
from tests.metering.delivery import Case
from tests.metering.histories import NOW, Step
from tests.metering.model import EPOCH, Reading

SEED = int(os.environ.get("METERING_SEED", "1"))
CASES = int(os.environ.get("METERING_CASES", "20"))
START = datetime(2018, 11, 4, 4, tzinfo=UTC)
OTHER_KIND = {"INCREMENTAL": "ACUMULADA", "ACUMULADA": "INCREMENTAL"}

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger's present is years later, so that ranges end where nothing changes any more."""
    monkeypatch.setattr(ledger, "now_us", lambda: (NOW - EPOCH) // timedelta(microseconds=1))


def case(seed: int, stamp: str, length: tuple[int, int], change: float) -> Case:
    """A history of some readings, ``change`` of which begin another chain, in random batches."""
    random = Random(seed)
    moment, conta, kind = START, 1, "INCREMENTAL"
    steps = [
        Step("interval", NOW, (1, random.choice([900, 900, 3600, 86_400]))),
        Step("carimbo", NOW, stamp),
    ]
    for number in range(random.randint(*length)):
        moment += timedelta(seconds=random.choice([300, 900, 900, 3600, 20_000, 86_400]))
        if random.random() < change:
            conta = 3 - conta
        if random.random() < change / 2:
            kind = OTHER_KIND[kind]
        value = Decimal(random.randint(3, 6)) + (10 * number if kind == "ACUMULADA" else 0)
        steps.append(Step("readings", moment, Reading(moment, value, conta, 1, kind, "kWh")))
    if random.random() < 0.7:
        random.shuffle(steps)
    batches: list[list[Step]] = []
    while steps:
        size = random.choice([1, 1, 2, 4, 20])
        batches.append(steps[:size])
        del steps[:size]
    return Case(f"seed {seed}", batches)


@pytest.mark.parametrize("stamp", ["INICIO", "FIM"])
# A long history has hours enough that what is unusual does not have all of it computed again.
@pytest.mark.parametrize(
    ("length", "change", "share"), [((4, 14), 0.3, 1), ((40, 70), 0.1, 4)], ids=["short", "long"]
)
def test_what_counts_beyond_a_chain_is_counted(
    stamp: str, length: tuple[int, int], change: float, share: int
) -> None:
    print(f"METERING_SEED={SEED} METERING_CASES={CASES}")  # a failure says how to have it again
    cases = [case(seed, stamp, length, change) for seed in range(SEED, SEED + CASES * 4 // share)]
    delivery.install(cases)
    delivery.deliver(cases)
    assert delivery.differences(cases) == []
