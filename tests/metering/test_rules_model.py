"""The product's rules equal the model on random histories, wherever a run of theirs begins.

Without a database. Seeds: METERING_SEED, METERING_CASES.
"""

import os
from random import Random

import pytest

from tds_new.metering.rules.blocks import REGISTERS, Account, Chain, Computation, compute_chains
from tds_new.metering.rules.meter import Meter as RulesMeter
from tds_new.metering.rules.segments import EarlierNeededError, Register, State
from tds_new.metering.times import BEGINNING, BLOCK_US
from tests.metering import by_rules
from tests.metering.histories import apply, history
from tests.metering.model import Meter, compute

pytestmark = pytest.mark.once

SEED = int(os.environ.get("METERING_SEED", "1"))
CASES = int(os.environ.get("METERING_CASES", "150"))


def meters() -> dict[int, Meter]:
    print(f"METERING_SEED={SEED} METERING_CASES={CASES}")
    return {number: apply(Meter(), history(Random(number))) for number in range(SEED, SEED + CASES)}


def test_the_rules_give_what_the_model_gives() -> None:
    for number, meter in meters().items():
        expected, found = compute(meter), by_rules.figures(meter)
        assert found.occurrences == expected.occurrences, number
        assert found.blocks == expected.blocks, number
        assert found.state == expected.state, number


def test_readings_given_at_once_are_judged_as_one_by_one() -> None:
    for number, meter in meters().items():
        rules = by_rules.meter_of(meter)
        for chain in by_rules.chains_of(meter):
            if chain.kind in REGISTERS:
                assert run(chain, rules, at_once=True) == run(chain, rules, at_once=False), number


def run(chain: Chain, meter: RulesMeter, *, at_once: bool) -> tuple[object, ...]:
    register = Register(meter, net=chain.kind == "SALDO", watch_from=BEGINNING)
    if at_once:
        register.feed_all(chain.times, chain.values)
    else:
        for time, value in zip(chain.times, chain.values, strict=True):
            register.feed(time, value)
    register.end_chain()
    found = register.segments, register.occurrences, register.states, register.checkpoints
    return *found, register.lowest, register.border, register.provisional_since


def test_a_run_that_begins_at_any_state_gives_the_same() -> None:
    """Also at the states as they stood before later readings came."""
    begun = raised = 0
    for number, meter in meters().items():
        random, rules, chains = Random(number), by_rules.meter_of(meter), by_rules.chains_of(meter)
        for place, chain in enumerate(chains):
            whole = compute_chains(chains[place:], rules, watch_from=BEGINNING)
            states = whole.accounts[0].states | whole.accounts[0].checkpoints
            if chain.kind in REGISTERS:
                cut = random.randrange(len(chain.times)) + 1
                prefix = Chain(chain.conta_id, chain.kind, chain.unit, *first(chain, cut))
                before = compute_chains([prefix], rules, watch_from=BEGINNING).accounts[0]
                states = states | before.states | before.checkpoints
            for time in random.sample(sorted(states), min(5, len(states))):
                begun += 1
                try:
                    found = resumed(chains[place:], time, states[time], rules)
                except EarlierNeededError:
                    raised += 1
                    continue
                assert_equal_after(time, found, whole, number)
    assert CASES < 150 or (begun > 500 and 0 < raised < begun // 20)


def first(chain: Chain, count: int) -> tuple[list[int], list[int], list[int]]:
    return chain.times[:count], chain.values[:count], chain.gateways[:count]


def resumed(chains: list[Chain], time: int, state: State, meter: RulesMeter) -> Computation:
    """Compute from a state on, with the readings of its block, so that later blocks are whole."""
    return compute_chains([after(chains[0], time - time % BLOCK_US), *chains[1:]], meter, state=state)


def after(chain: Chain, since: int) -> Chain:
    begin = next(n for n, time in enumerate(chain.times) if time >= since)
    rest = chain.times[begin:], chain.values[begin:], chain.gateways[begin:]
    return Chain(chain.conta_id, chain.kind, chain.unit, *rest)


def assert_equal_after(time: int, found: Computation, whole: Computation, number: int) -> None:
    whole_blocks = {key: row for key, row in whole.blocks.items() if key[1] > time}
    assert {key: row for key, row in found.blocks.items() if key[1] > time} == whole_blocks, number
    since = [one for one in whole.occurrences if one.time > time]
    assert [one for one in found.occurrences if one.time > time] == since, number
    for account, expected in zip(found.accounts, whole.accounts, strict=True):
        assert figures(account) == (
            [one for one in expected.segments if one.start >= time or account is not found.accounts[0]],
            expected.base,
            expected.border,
            expected.provisional_since,
        ), number


def figures(account: Account) -> tuple[object, ...]:
    return account.segments, account.base, account.border, account.provisional_since
