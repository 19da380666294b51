"""What an occurrence says of the rule that decided: its number, its figures, whether a person is asked."""

from datetime import UTC, datetime

import pytest

from tds_new.metering.rules.blocks import Chain, Computation, compute_chains
from tds_new.metering.rules.meter import Meter, MeterChange, Parameters
from tds_new.metering.rules.segments import EarlierNeededError, Occurrence, Register, Segment, State
from tds_new.metering.times import BLOCK_US, HOUR_US, from_datetime

pytestmark = pytest.mark.once

START = from_datetime(datetime(2026, 10, 5, 8, tzinfo=UTC))
NEW = Parameters(None, 1000_0000, 1000)  # of a new device: 1000 kWh an hour, a tolerance of 0.1


def at(quarter: float) -> int:
    return START + int(quarter * BLOCK_US)


def judged(*values: float, meter: Meter | None = None, net: bool = False) -> list[Occurrence]:
    """Return the occurrences of a register that sends each quarter of an hour."""
    register = Register(meter or Meter(BLOCK_US, NEW), net=net)
    for number, value in enumerate(values):
        register.feed(at(number), round(value * 10_000))
    register.end_chain()
    return register.occurrences


def only(found: list[Occurrence], number: int = 0) -> tuple[Occurrence, dict[str, int]]:
    return found[number], dict(found[number].numbers)


def test_it_fell_to_zero_and_came_back_15_minutes_later() -> None:
    one, numbers = only(judged(12345.1, 12345.2, 0, 12345.3))
    assert (one.kind, one.rule, one.waits, one.settled) == ("SUSPEITA", "2", False, at(3))
    assert (one.base_time, one.base_value, one.value) == (at(1), 123452000, 0)
    assert numbers == {
        "primeira": 0,
        "primeira_em": at(2),
        "ultima": 0,
        "ultima_em": at(2),
        "quantas": 1,
        "decisiva": 123453000,
        "continuava": 0,
    }


def test_it_came_back_later_and_takes_back_what_was_counted() -> None:
    found = judged(5000, 5000.5, 0, 0, 0, 0, 0, 5001)
    assert [one.kind for one in found] == ["SUSPEITA"] * 5
    one, numbers = only(found)
    assert (one.rule, one.base_value, one.settled) == ("3", 50005000, at(7))
    assert (numbers["desde"], numbers["desde_em"], numbers["quantas"]) == (50005000, at(1), 5)
    assert (numbers["retirado"], numbers["perto"], numbers["decisiva"]) == (0, 2, 50010000)


def test_a_return_that_takes_back_a_restart_is_in_doubt() -> None:
    found = judged(100, 101, 0.5, 1, 2, 3, 4, 5, 106)
    one, numbers = only(found)
    assert (one.kind, one.rule, one.waits) == ("SUSPEITA", "3", True)
    assert (numbers["duvida"], numbers["retirado"]) == (1, 5_0000)
    assert [other.waits for other in found[1:]] == [False] * 5
    looked = Meter(BLOCK_US, NEW, looked={at(2)})
    assert not only(judged(100, 101, 0.5, 1, 2, 3, 4, 5, 106, meter=looked))[0].waits


def test_the_last_accepted_ones_were_the_outliers() -> None:
    found = judged(100, 101, 600, 600, 102, 103, 104, 105)
    one, numbers = only(found)
    assert [(o.time, o.kind, o.rule) for o in found] == [
        (at(2), "SUSPEITA", "6a"),
        (at(3), "SUSPEITA", "6a"),
    ]
    assert (one.base_value, one.settled) == (101_0000, at(7))
    assert (numbers["primeira"], numbers["ultima"], numbers["subida"]) == (600_0000, 600_0000, 499_0000)
    assert (numbers["retorno"], numbers["retorno_em"], numbers["retirado"]) == (102_0000, at(4), 499_0000)
    assert numbers["ritmo_x3"] == 6_0000  # three times 1 kWh a quarter, over two quarters


def test_a_rollover_and_a_restart_say_by_what() -> None:
    small = Meter(BLOCK_US, Parameters(1000_0000, 1000_0000, 1000))
    one, numbers = only(judged(998, 999, 1, 2, 3, 4, meter=small))
    assert (one.kind, one.rule, one.amount, one.waits) == ("VIRADA", "6b", 2_0000, False)
    assert (numbers["capacidade"], numbers["virada"], numbers["limite"]) == (1000_0000, 2_0000, 1000_0000)
    assert (numbers["diferenca"], numbers["ritmo_x3"], numbers["decisiva"]) == (-998_0000, 12_0000, 4_0000)
    one, numbers = only(judged(998, 999, 1, 2, 3, 4))
    assert (one.kind, one.rule, one.amount, one.waits) == ("REINICIO", "6c", 1_0000, False)
    assert numbers == {
        "limite": 1000_0000,
        "diferenca": -998_0000,
        "ritmo_x3": 12_0000,
        "decisiva": 4_0000,
    }
    one, numbers = only(judged(998, 999, 80, 80, 80, 80.1))
    assert (one.kind, one.amount, one.waits, numbers["duvida"]) == ("REINICIO", 0, True, 1)


def test_an_excess_and_an_implausible_rise_say_the_median() -> None:
    slow = Meter(BLOCK_US, Parameters(None, 4_0000, 0))
    one, numbers = only(judged(0, 5, 11, 16, 21, 26, meter=slow))
    assert (one.kind, one.rule, one.amount, one.waits) == ("EXCESSO", "6d", 5_0000, True)
    assert (numbers["diferenca"], numbers["limite"], numbers["mediana_x3"]) == (5_0000, 4_0000, 15_0000)
    one, numbers = only(judged(0, 1, 50_000, 50_001, 50_002, 50_003))
    assert (one.kind, one.rule, one.amount, one.waits) == ("IMPLAUSIVEL", "6e", None, True)
    assert (numbers["diferenca"], numbers["trocas"], numbers["mediana_x3"]) == (49999_0000, 0, 3_0000)


def test_a_dip_a_change_and_a_decision_decide_themselves() -> None:
    one, numbers = only(judged(100, 99.95, 101))
    assert (one.kind, one.rule, one.amount, one.settled) == ("QUEDA", "4", None, at(1))
    assert numbers == {"diferenca": -500, "tolerancia": 1000}
    changed = Meter(BLOCK_US, NEW, changes=[MeterChange(at(0.5), 100_5000, 7_0000)])
    one, numbers = only(judged(100, 8, meter=changed))
    assert (one.kind, one.rule, one.amount) == ("TROCA", "4", 1_5000)
    assert numbers == {"limite": 1000_0000, "diferenca": 1_5000, "trocas": 1}
    one, numbers = only(judged(100, 60, meter=Meter(BLOCK_US, NEW, decided={at(1): "APROVADA"})))
    assert (one.kind, one.rule, one.amount, numbers["diferenca"]) == ("RETORNO", "1", 0, -40_0000)


def test_those_that_wait_say_how_many_follow() -> None:
    found = judged(100, 101, 0, 0)
    assert [(o.kind, o.rule, o.settled, o.waits) for o in found] == [("SUSPEITA", "5", None, True)] * 2
    assert [dict(o.numbers) for o in found] == [
        {"quantas": 2, "seguintes": 1},
        {"quantas": 2, "seguintes": 0},
    ]


# --- increments and changes of Conta


def increments(meter: Meter, *values: float, clip: int | None = None) -> Computation:
    times, units = [at(n) for n in range(len(values))], [round(value * 10_000) for value in values]
    chain = Chain(1, "INCREMENTAL", "kWh", times, units, [1] * len(values))
    return compute_chains([chain], meter, clip=clip)


def test_an_increment_above_the_limit_is_kept_out_with_its_interval() -> None:
    [one] = increments(Meter(BLOCK_US, NEW), 1, 2000, 3).occurrences
    assert (one.kind, one.rule, one.waits, one.settled) == ("IMPLAUSIVEL", "I", True, at(1))
    assert (one.base_time, one.base_value, dict(one.numbers)) == (at(0), 0, {"limite": 1000_0000})


def test_a_clipped_interval_keeps_its_amount() -> None:
    found = increments(Meter(4 * BLOCK_US, NEW), 8, 1, clip=at(-2))
    assert found.accounts[0].segments[0] == Segment(at(-2), at(0), 8_0000, found.accounts[0].segments[0].kind)
    blocks = {start: block.consumption for (_, start), block in found.blocks.items()}
    assert blocks == {at(-2): 4_000_000, at(-1): 4_000_000, at(0): 1_000_000, at(1): 0}


def test_a_change_of_conta_waits_until_it_is_attributed() -> None:
    first = Chain(1, "ACUMULADA", "kWh", [at(0), at(1)], [100_0000, 101_0000], [1, 1])
    other = Chain(2, "ACUMULADA", "KWH", [at(2), at(3)], [103_0000, 104_0000], [1, 1])
    [one] = compute_chains([first, other], Meter(BLOCK_US, NEW)).occurrences
    assert (one.kind, one.rule, one.amount, one.waits) == ("TRANSFERENCIA", "T", None, True)
    assert (one.base_time, one.base_value) == (at(1), 101_0000)
    assert dict(one.numbers) == {"diferenca": 2_0000, "trocas": 0, "conta_antes": 1, "conta_depois": 2}
    for conta, asked in ((1, False), (2, False), (3, True)):
        found = compute_chains([first, other], Meter(BLOCK_US, NEW, attributed={at(2): conta}))
        assert [(o.amount, o.waits) for o in found.occurrences] == [(None if asked else 2_0000, asked)]
        assert [owner for owner, _ in found.transfers] == ([] if asked else [conta])
        total = sum(block.consumption or 0 for block in found.blocks.values())
        assert total == (2_000_000 if asked else 4_000_000)


# --- states


def test_a_run_that_must_reach_back_says_so() -> None:
    register = Register(Meter(BLOCK_US, NEW), watch_from=0)
    register.feed_all([at(n) for n in range(7)], [100_0000, 101_0000, 0, 0, 0, 0, 0])
    state = register.states[at(6)]
    assert [(jump.base_time, jump.time, jump.restart) for jump in state.jumps] == [(at(1), at(2), True)]
    assert register.checkpoints == {at(5): register.states[at(5)]}
    register.end_chain()
    assert (register.border, register.provisional_since, register.lowest) == (at(1), at(1), None)
    again = Register(Meter(BLOCK_US, NEW), state=state)
    with pytest.raises(EarlierNeededError):
        again.feed(at(7), 102_0000)
    register.feed(at(7), 102_0000)
    register.end_chain()
    assert register.lowest == at(1)
    assert (list(register.states), register.checkpoints) == ([at(0), at(1), at(7)], {})


def test_a_jump_is_forgotten_after_three_days() -> None:
    register = Register(Meter(HOUR_US, NEW))
    values = [100_0000, 101_0000, *[0] * 80]
    register.feed_all([START + n * HOUR_US for n in range(len(values))], values)
    register.end_chain()
    assert (register.provisional_since, register.border) == (None, START + (len(values) - 7) * HOUR_US)
    assert register.base == (START + (len(values) - 1) * HOUR_US, 0)


def test_a_state_is_what_a_run_begins_at() -> None:
    state = State(((at(0), 100_0000), (at(1), 101_0000)), ())
    register = Register(Meter(BLOCK_US, NEW), state=state)
    register.feed(at(2), 103_0000)
    assert [(s.start, s.end, s.amount) for s in register.segments] == [(at(1), at(2), 2_0000)]
