"""The ledger equals the model on random histories.

They come in random batches; the worker runs in between, or several run concurrently.

``METERING_SEED`` is the first history's seed, ``METERING_CASES`` how many there are, ``METERING_SHUFFLES`` in
how many orders the same histories come (docs/metering.md).
"""

import os
from datetime import timedelta
from random import Random

import pytest

from tds_new.metering import ledger, queue
from tests.metering import delivery
from tests.metering.delivery import Case
from tests.metering.histories import NOW, apply, steps_of
from tests.metering.model import EPOCH

SEED = int(os.environ.get("METERING_SEED", "1"))
CASES = os.environ.get("METERING_CASES")
SHUFFLES = int(os.environ.get("METERING_SHUFFLES", "20"))
AT_ONCE = 500
HISTORIES = 5  # that are shuffled
LONGEST_IN_STEPS = 60  # readings

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    """The ledger reads recent readings to their end: some histories are recent, whenever this runs."""
    monkeypatch.setattr(ledger, "now_us", lambda: (NOW - EPOCH) // timedelta(microseconds=1))


@pytest.fixture
def size(on_timescale: bool) -> int:
    """Return the number of histories; TimescaleDB takes three times as long."""
    return int(CASES or (24 if on_timescale else 72))


def groups(total: int) -> list[range]:
    """All numbers from the first seed on, in groups that are delivered together."""
    return [range(at, min(at + AT_ONCE, SEED + total)) for at in range(SEED, SEED + total, AT_ONCE)]


def test_the_ledger_is_what_the_model_says(size: int) -> None:
    print(f"METERING_SEED={SEED} METERING_CASES={size}")
    for seeds in groups(size):
        cases = [delivery.case(seed) for seed in seeds]
        delivery.install(cases)
        delivery.deliver(cases)
        assert delivery.differences(cases) == []
        delivery.clear()
        print(f"seeds {seeds.start} to {seeds.stop - 1}: equal", flush=True)


def test_ranges_may_be_computed_one_by_one_in_any_order(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Readings are seen as soon as they are stored, their ranges computed later, in any order."""
    random = Random(SEED)
    monkeypatch.setattr(queue, "_merged", lambda ranges: random.sample(ranges, len(ranges)))
    for seeds in groups(size // 3):
        cases = [delivery.case(2 * 10**9 + seed) for seed in seeds]
        delivery.install(cases)
        delivery.deliver(cases)
        assert delivery.differences(cases) == []
        delivery.clear()
        print(
            f"seeds {2 * 10**9 + seeds.start} to {2 * 10**9 + seeds.stop - 1}, range by range: equal",
            flush=True,
        )


def is_short(one: Case) -> bool:
    """Whether steps of a few readings are so few that they may be tried one by one."""
    return sum(step.table == "readings" for batch in one.batches for step in batch) <= LONGEST_IN_STEPS


def test_long_ranges_may_be_cut_at_any_reading(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each range in steps of some readings, and with no room for the others of its transaction."""
    monkeypatch.setattr(ledger, "LONG_US", 0)
    for number, seeds in enumerate(groups(size // 3)):
        monkeypatch.setattr(ledger, "STEP_READINGS", 2 + number % 4)
        monkeypatch.setattr(ledger, "MAX_READINGS", 20)
        cases = [one for seed in seeds if is_short(one := delivery.case(3 * 10**9 + seed))]
        delivery.install(cases)
        delivery.deliver(cases)
        assert delivery.differences(cases) == []
        delivery.clear()
        print(f"seeds {3 * 10**9 + seeds.start} to {3 * 10**9 + seeds.stop - 1}, in steps: equal", flush=True)


def test_the_ledger_is_what_the_model_says_with_workers_at_the_side(size: int) -> None:
    """Three workers compute while batches are stored.

    Their order of work differs from run to run, the result does not.
    """
    for seeds in groups(size // 4):
        cases = [delivery.case(10**9 + seed) for seed in seeds]
        delivery.install(cases)
        with delivery.workers(3):
            delivery.deliver(cases, drain=lambda: None)
        assert delivery.differences(cases) == []
        delivery.clear()
        print(f"seeds {10**9 + seeds.start} to {10**9 + seeds.stop - 1}, three workers: equal", flush=True)


def test_the_same_set_in_any_order_is_the_same_figures() -> None:
    sets = []
    for seed in range(SEED, SEED + HISTORIES):
        whole = delivery.case(seed)
        for batch in whole.batches:
            apply(whole.meter, batch)
        sets.append(steps_of(whole.meter))
    found: list[set[object]] = [set() for _ in sets]
    for shuffles in groups(SHUFFLES * HISTORIES):
        cases = []
        for number in shuffles:
            history, shuffle = number % HISTORIES, number // HISTORIES
            steps, random = list(sets[history]), Random(number)
            steps += random.sample(steps, len(steps) // 3)  # some come twice
            random.shuffle(steps)
            cases.append(Case(f"history {history}, shuffle {shuffle}", delivery.batches(steps, random)))
        delivery.install(cases)
        delivery.deliver(cases)
        rows = [delivery.stored(row, cases) for row in delivery.TABLES]
        for number, one in zip(shuffles, cases, strict=True):
            found[number % HISTORIES].add(tuple(frozenset(table[one.device]) for table in rows))
        assert [len(different) for different in found] == [1] * HISTORIES
        assert delivery.differences(cases[:HISTORIES]) == []
        delivery.clear()
        print(f"{shuffles.stop - SEED} of {SHUFFLES * HISTORIES} orders: the same figures", flush=True)
