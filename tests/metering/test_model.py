"""The model itself, on examples computed by hand.

One for each rule and class, and the series with everything in it.
"""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.metering.model import (
    Block,
    Change,
    Decision,
    Figures,
    Meter,
    Parameters,
    Reading,
    State,
    compute,
)

pytestmark = pytest.mark.once

START = datetime(2026, 5, 4, 12, 0, tzinfo=UTC)
D = Decimal


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def meter(*points: tuple[float, Any], tipo: str = "ACUMULADA", interval: int = 300, **own: Any) -> Meter:
    """A meter with readings at minutes after :data:`START`; ``own`` are its parameters."""
    readings = {at(minute): Reading(at(minute), D(str(valor)), tipo=tipo) for minute, valor in points}
    return Meter(
        Parameters(**{name: D(str(value)) for name, value in own.items()}),
        readings=readings,
        interval=interval,
    )


def every(minutes: float, *values: Any, first: float = 0) -> list[tuple[float, Any]]:
    """Points in equal distances."""
    return [(first + minutes * number, value) for number, value in enumerate(values)]


def minute(moment: datetime | None) -> float | None:
    return None if moment is None else (moment - START) / timedelta(minutes=1)


def consumption(figures: Figures) -> dict[float | None, Decimal | None]:
    """By the block's first minute after :data:`START`."""
    return {minute(start): row.consumo for (start, _), row in sorted(figures.blocks.items())}


def classes(figures: Figures) -> list[tuple[float | None, str, Decimal | None, float | None]]:
    """Minute of the reading, class, difference, minute of the reading that decided."""
    return [
        (minute(o.leitura_em), o.classe, o.consumo, minute(o.decidida_em))
        for _, o in sorted(figures.occurrences.items())
    ]


def waiting(figures: Figures) -> list[float | None]:
    """Minutes of the readings that wait for a person."""
    return [minute(time) for time, o in sorted(figures.occurrences.items()) if o.espera]


def total(figures: Figures) -> Decimal:
    return sum((block.consumo for block in figures.blocks.values() if block.consumo is not None), D(0))


def borders(figures: Figures) -> tuple[float | None, float | None]:
    return minute(figures.state.assentado_ate), minute(figures.state.provisorio_desde)


# --- what goes on


def test_nothing_at_all() -> None:
    assert compute(Meter()) == Figures({}, {}, State(None, None))


def test_a_first_reading_is_a_base_and_counts_for_nothing() -> None:
    row = Block(START, 1, 1, D(0), 1, D(0), "MEDIDO", None, None, None, None, None)
    found = compute(meter((3, 100)))
    assert (found.blocks, found.occurrences, borders(found)) == ({(START, 1): row}, {}, (3, None))


def test_a_segment_is_spread_by_the_rounded_running_sum() -> None:
    found = compute(meter((10, 0), (40, 1)))  # 5, 15 and 10 of 30 minutes
    assert consumption(found) == {0: D("0.166667"), 15: D("0.5"), 30: D("0.333333")}
    assert [block.leituras for _, block in sorted(found.blocks.items())] == [1, 0, 1]


def test_a_segment_does_not_reach_into_the_block_that_begins_where_it_ends() -> None:
    found = compute(meter((0, 0), (15, 1)))
    assert consumption(found) == {0: D(1), 15: D(0)}
    assert (found.blocks[at(0), 1].fracao_medida, found.blocks[at(15), 1].fracao_medida) == (D(1), D(0))


def test_equal_readings_count_zero_and_measure() -> None:
    found = compute(meter(*every(5, 7, 7, 7, 7)))
    assert (consumption(found), found.occurrences) == ({0: D(0), 15: D(0)}, {})
    assert found.blocks[at(0), 1].fracao_medida == 1


def test_clean_readings_are_settled_six_readings_behind_the_newest() -> None:
    assert borders(compute(meter(*every(15, *range(6))))) == (0, None)
    assert borders(compute(meter(*every(15, *range(10))))) == (45, None)


def test_a_register_may_show_an_hours_consumption_at_once() -> None:
    assert compute(meter((0, 0), (1, 60), pmax=60)).occurrences == {}
    assert classes(compute(meter((0, 0), (1, "60.0001"), pmax=60))) == [(1, "SUSPEITA", None, None)]
    assert compute(meter((0, 0), (90, 90), pmax=60)).occurrences == {}
    assert classes(compute(meter((0, 0), (90, "90.0001"), pmax=60))) == [(90, "SUSPEITA", None, None)]


def test_dated_parameters_judge_pairs_that_end_from_then_on() -> None:
    one = meter((0, 100), (10, 150), (20, 200), pmax=60)
    one.dated = {at(20): Parameters(pmax=D(40))}
    assert classes(compute(one)) == [(20, "SUSPEITA", None, None)]


# --- falls that mean nothing


def test_a_fall_within_the_tolerance_moves_the_base_in_time() -> None:
    found = compute(meter((0, 100), (15, "99.5"), (30, 103), eps="0.5"))
    assert consumption(found) == {0: D(0), 15: D(3), 30: D(0)}
    assert classes(found) == [(15, "QUEDA", None, 15)]
    assert waiting(found) == []
    assert [block.fracao_medida for _, block in sorted(found.blocks.items())] == [1, 1, 0]


def test_a_fall_beyond_the_tolerance_or_a_tenth_waits() -> None:
    assert classes(compute(meter((0, 100), (5, "99.4999"), eps="0.5"))) == [(5, "SUSPEITA", None, None)]
    assert classes(compute(meter((0, 4), (5, "3.6"), eps="0.5"))) == [(5, "QUEDA", None, 5)]
    assert classes(compute(meter((0, 4), (5, "3.5999"), eps="0.5"))) == [(5, "SUSPEITA", None, None)]
    assert classes(compute(meter((0, -4), (5, "-4.4"), eps="0.5"))) == [(5, "QUEDA", None, 5)]


# --- it came back


def test_what_comes_back_at_once_was_nothing() -> None:
    found = compute(meter((0, 100), (5, 5000), (10, 102), pmax=60))
    assert (total(found), classes(found), waiting(found)) == (D(2), [(5, "SUSPEITA", None, 10)], [])
    assert found.occurrences[at(5)][4:6] == (START, D(100))


def test_a_zero_of_a_small_register_is_leapt_back_over() -> None:
    """51 continues the 0 too, but lands close to where the register was before."""
    found = compute(meter((0, 50), (5, 0), (10, 51), pmax=60))
    assert (total(found), classes(found), waiting(found)) == (D(1), [(5, "SUSPEITA", None, 10)], [])


def test_a_return_of_what_had_moved_on_is_in_doubt() -> None:
    found = compute(meter((0, 50), (5, 0), (10, 3), (15, 51), pmax=60))
    assert (total(found), waiting(found)) == (D(1), [5])
    assert classes(found) == [(5, "SUSPEITA", None, 15), (10, "SUSPEITA", None, 15)]
    one = meter((0, 50), (5, 0), (10, 3), (15, 51), pmax=60)
    one.decisions[at(5)] = Decision("VISTA")
    assert waiting(compute(one)) == []


def test_readings_that_wait_at_the_end_are_undecided_and_ask() -> None:
    found = compute(meter(*every(5, 100, 5000, 5001, 5002), pmax=60))
    assert classes(found) == [(m, "SUSPEITA", None, None) for m in (5, 10, 15)]
    assert (waiting(found), borders(found)) == ([5, 10, 15], (0, 0))


def test_what_comes_back_later_takes_back_what_was_counted() -> None:
    found = compute(meter(*every(5, 10_000, 0, 0, 1, 1, 2, 10_001), pmax=60))
    assert total(found) == 1
    assert classes(found) == [(m, "SUSPEITA", None, 30) for m in (5, 10, 15, 20, 25)]
    assert waiting(found) == [5]  # it took back consumption, and had been judged a REINICIO
    assert borders(found) == (0, None)


def test_a_jump_is_remembered_for_three_days() -> None:
    before = every(24 * 60, 10_000, 0, 0, 0, 0)
    for minutes, remembered in ((4 * 24 * 60, True), (4 * 24 * 60 + 1, False)):
        found = compute(meter(*before[:-1], (4 * 24 * 60 - 60, 0), (minutes, 10_000), pmax=60))
        assert classes(found)[0][1] == ("SUSPEITA" if remembered else "REINICIO")


# --- judgement


def test_a_restart_counts_what_the_register_shows() -> None:
    found = compute(meter(*every(5, 10_000, 3, 4, 5, 6), pmax=60))
    assert (total(found), classes(found), waiting(found)) == (D(6), [(5, "REINICIO", D(3), 20)], [])
    assert found.blocks[START, 1].qualidade == "ESTIMADO"
    assert found.blocks[START, 1].fracao_medida == D("0.6666")
    assert borders(found) == (0, 0)


def test_a_restart_above_what_the_register_does_is_in_doubt() -> None:
    found = compute(meter(*every(5, 10_000, 900, 900, 900, 900), pmax=60))
    assert (total(found), classes(found), waiting(found)) == (D(0), [(5, "REINICIO", D(0), 20)], [5])


def test_a_fall_that_is_no_restart_is_kept_out() -> None:
    found = compute(meter(*every(5, 10_000, 2000, 2001, 2002, 2003), pmax=20))
    assert (total(found), classes(found), waiting(found)) == (D(3), [(5, "IMPLAUSIVEL", None, 20)], [5])
    assert found.blocks[START, 1].fracao_medida == D("0.6666")


def test_a_rollover_within_a_tenth_of_the_capacity() -> None:
    found = compute(meter(*every(5, 950, 50, 50, 50, 50), capacity=1000, pmax=100))
    assert (total(found), classes(found), waiting(found)) == (D(100), [(5, "VIRADA", D(100), 20)], [])
    found = compute(
        meter(*every(5, 950, "50.0001", "50.0001", "50.0001", "50.0001"), capacity=1000, pmax=200)
    )
    assert classes(found) == [(5, "REINICIO", D(0), 20)]


def test_a_signed_register_rolls_over() -> None:
    found = compute(meter(*every(5, 498, -498, -498, -498, -498), capacity=1000, pmax=100))
    assert (total(found), classes(found)) == (D(4), [(5, "VIRADA", D(4), 20)])


def test_a_device_that_is_so_fast_counts_and_asks() -> None:
    found = compute(meter(*every(60, 0, 100, 200, 300, 400), pmax=60))
    assert (total(found), classes(found)) == (
        D(100),
        [(60, "EXCESSO", D(100), 240)] + [(m, "SUSPEITA", None, None) for m in (120, 180, 240)],
    )
    assert waiting(found) == [60, 120, 180, 240]


def test_a_high_level_that_goes_on_is_kept_out() -> None:
    found = compute(meter(*every(5, 100, 5000, 5001, 5002, 5003), pmax=60))
    assert (total(found), classes(found), waiting(found)) == (D(3), [(5, "IMPLAUSIVEL", None, 20)], [5])


def test_a_spike_that_was_believed_is_found_out_when_the_register_goes_on_below() -> None:
    found = compute(meter(*every(5, 100, 101, 150, 102, 103, 104, 105), pmax=60))
    assert (total(found), classes(found), waiting(found)) == (D(5), [(10, "SUSPEITA", None, 30)], [])
    assert found.occurrences[at(10)][4:6] == (at(5), D(101))


# --- meter changes


def changed(*changes: tuple[float, Any, Any], pmax: Any = None) -> Meter:
    """From 100 at minute 0 to 7 at minute 60, with these changes."""
    one = meter((0, 100), (60, 7), **({} if pmax is None else {"pmax": pmax}))
    one.changes = {at(minute): Change(D(str(final)), D(str(initial))) for minute, final, initial in changes}
    return one


def test_a_meter_change_counts_both_meters() -> None:
    found = compute(changed((30, 104, 2)))
    assert (total(found), classes(found)) == (D(9), [(60, "TROCA", D(9), 60)])
    assert [row.qualidade for _, row in sorted(found.blocks.items())] == ["INTERPOLADO"] * 4 + ["MEDIDO"]
    assert borders(found) == (60, None)


def test_several_meter_changes_between_two_readings() -> None:
    assert total(compute(changed((30, 104, 2), (40, 5, 0)))) == 4 + 3 + 7
    assert total(compute(changed((30, 104, 0), (40, 0, 0), (50, 0, 0)))) == 4 + 7


@pytest.mark.parametrize(("final", "initial"), [(94, 2), (104, 12)])
def test_a_meter_change_that_would_count_less_than_nothing_waits(final: int, initial: int) -> None:
    found = compute(changed((30, final, initial)))
    assert (total(found), classes(found)) == (D(0), [(60, "SUSPEITA", None, None)])


def test_a_meter_change_beyond_the_plausible_maximum_waits() -> None:
    assert classes(compute(changed((30, 104, 2), pmax=9))) == [(60, "TROCA", D(9), 60)]
    assert classes(compute(changed((30, 104, 2), pmax="8.9999"))) == [(60, "SUSPEITA", None, None)]


def test_a_meter_change_belongs_to_the_pair_that_ends_at_its_moment() -> None:
    assert classes(compute(changed((60, 104, 2)))) == [(60, "TROCA", D(9), 60)]
    assert classes(compute(changed((0, 104, 2)))) == [(60, "SUSPEITA", None, None)]


def test_a_jump_over_a_meter_change_is_kept_out() -> None:
    one = meter(*every(5, 100, 3, 3, 3, 3), pmax=60)
    one.changes[at(5)] = Change(D(50), D(0))
    assert classes(compute(one)) == [(5, "IMPLAUSIVEL", None, 20)]


# --- decisions


def decided(decisao: str, *points: tuple[float, Any], tipo: str = "ACUMULADA", **own: Any) -> Figures:
    """Of a meter on whose reading at minute 5 somebody decided."""
    one = meter(*points, tipo=tipo, **own)
    one.decisions[at(5)] = Decision(decisao)
    return compute(one)


def test_an_approved_rise_counts_whatever_the_maximum() -> None:
    found = decided("APROVADA", (0, 100), (5, 5000), (10, 5001), pmax=60)
    assert (total(found), found.occurrences, borders(found)) == (D(4901), {}, (5, None))


def test_an_approved_fall_counts_nothing_and_goes_on_from_there() -> None:
    for decisao in ("APROVADA", "RETORNO"):
        found = decided(decisao, (0, 100), (5, 40), (10, 41), pmax=60)
        assert (total(found), classes(found)) == (D(1), [(5, "RETORNO", D(0), 5)])
        assert found.blocks[START, 1].qualidade == "ESTIMADO"


def test_a_restart_by_decision_counts_what_the_register_shows() -> None:
    found = decided("REINICIO", (0, 100), (5, 40), (10, 41), pmax=10)
    assert (total(found), classes(found), waiting(found)) == (D(41), [(5, "REINICIO", D(40), 5)], [])


def test_what_waited_before_a_decision_is_suspect() -> None:
    found = decided("RETORNO", (0, 100), (2, 9000), (5, 40), pmax=60)
    assert classes(found) == [(2, "SUSPEITA", None, 5), (5, "RETORNO", D(0), 5)]


def test_what_was_looked_at_waits_no_more() -> None:
    points = every(5, 100, 5000, 5001, 5002, 5003)
    found = decided("VISTA", *points, pmax=60)
    assert (total(found), classes(found), waiting(found)) == (D(3), [(5, "IMPLAUSIVEL", None, 20)], [])


def test_a_discarded_reading_is_as_if_never_stored() -> None:
    found = decided("DESCARTADA", (0, 100), (5, 5000), (40, 102), pmax=60)
    assert found == compute(meter((0, 100), (40, 102), pmax=60))


def test_a_corrected_value_stands_for_the_received_one() -> None:
    one = meter((0, 100), (5, 5000), (40, 102), pmax=60)
    one.decisions[at(5)] = Decision("", D(101))
    assert compute(one) == compute(meter((0, 100), (5, 101), (40, 102), pmax=60))


# --- what is unusual


def unusual(large: float, *, days: int = 1, first: float = 0) -> Meter:
    """One an hour, after so many days ``large`` in a quarter of an hour, then one an hour for a day."""
    points = every(60, *(n + (first if n else 0) for n in range(24 * days + 1)))
    last = points[-1][1]
    points.append((24 * 60 * days + 15, last + large))
    points += every(60, *(last + large + n for n in range(1, 25)), first=24 * 60 * days + 75)
    return meter(*points, interval=3600, pmax=1000)


def test_ten_times_the_largest_hour_is_unusual() -> None:
    assert compute(unusual(8)).occurrences == {}
    found = compute(unusual(10))  # and three quarters of one in the same hour
    assert classes(found) == [(24 * 60 + 15, "INCOMUM", None, 24 * 60 + 15)]
    assert waiting(found) == [24 * 60 + 15]
    assert found.occurrences[at(24 * 60 + 15)][4:6] == (at(24 * 60), D(24))
    assert total(found) == 24 + 10 + 24


def test_fewer_than_24_hours_are_not_judged() -> None:
    points = [(60 * n, n) for n in range(23)]
    assert compute(meter(*points, (60 * 23, 900), pmax=1000)).occurrences == {}
    assert (
        len(compute(meter(*points, (60 * 23, 23), (60 * 24, 24), (60 * 25, 900), pmax=1000)).occurrences) == 1
    )


def test_a_rise_from_a_first_zero_is_unusual_above_the_largest_hour() -> None:
    found = compute(unusual(1, first=5))
    assert classes(found) == [(60, "INCOMUM", None, 60)]
    one = unusual(1, first=5)
    one.decisions[at(60)] = Decision("VISTA")
    assert waiting(compute(one)) == []
    one.decisions[at(60)] = Decision("APROVADA")
    assert compute(one).occurrences == {}


# --- chains


@pytest.mark.parametrize("other", [{"unidade": "MWh"}, {"tipo": "INSTANTANEA"}])
def test_nothing_is_counted_across_chains(other: dict[str, Any]) -> None:
    one = meter((0, 100), (5, 101))
    for minutes, valor in ((10, 500), (15, 502)):
        one.readings[at(minutes)] = Reading(at(minutes), D(valor), **other)
    assert (total(compute(one)), compute(one).occurrences) == (1 if "tipo" in other else 3, {})


def test_the_spelling_of_a_unit_begins_no_chain() -> None:
    one = meter((0, 100), (5, 101))
    one.readings[at(10)] = Reading(at(10), D(103), unidade=" KWH")
    assert total(compute(one)) == 3


def test_readings_that_wait_are_suspect_for_good_when_another_chain_begins() -> None:
    one = meter((0, 100), (5, 9000), pmax=60)
    one.readings[at(10)] = Reading(at(10), D(1), unidade="MWh")
    assert (classes(compute(one)), waiting(compute(one))) == ([(5, "SUSPEITA", None, 10)], [])
    assert borders(compute(one)) == (10, None)


def moved(decision: Decision | None = None, **own: Any) -> Figures:
    """A meter that passes to another Conta between minute 5 and minute 10."""
    one = meter((0, 100), (5, 101), **own)
    for minutes, valor in ((10, 500), (15, 502)):
        one.readings[at(minutes)] = Reading(at(minutes), D(valor), conta=2, gateway=9)
    if decision is not None:
        one.decisions[at(10)] = decision
    return compute(one)


def test_what_is_between_two_contas_waits_until_somebody_says_whose_it_is() -> None:
    found = moved()
    assert (classes(found), waiting(found)) == ([(10, "TRANSFERENCIA", None, 10)], [10])
    assert {key: (row.consumo, row.leituras, row.gateway_id) for key, row in found.blocks.items()} == {
        (at(0), 1): (D(1), 2, 1),
        (at(0), 2): (D(2), 1, 9),
        (at(15), 2): (D(0), 1, 9),
    }
    assert waiting(moved(Decision("VISTA"))) == []


@pytest.mark.parametrize("conta", [1, 2])
def test_what_is_between_two_contas_counts_where_it_is_attributed(conta: int) -> None:
    found = moved(Decision("ATRIBUIDA", None, conta), pmax=60)
    assert (classes(found), waiting(found)) == ([(10, "TRANSFERENCIA", D(399), 10)], [])
    assert found.blocks[START, conta].consumo == 399 + conta
    assert found.blocks[START, conta].fracao_medida == D("0.6666")


# --- factors


def test_each_moment_has_the_factor_in_force() -> None:
    one = meter((0, 0), (30, "1"), factor=40)
    one.dated = {at(10): Parameters(factor=D(60)), at(20): Parameters(factor=D(60), eps=D(3))}
    # a third of 40, and a sixth of 60 in the first block
    assert consumption(compute(one)) == {0: D("23.333333"), 15: D(30), 30: D(0)}


def test_products_are_rounded_half_even() -> None:
    assert total(compute(meter((0, 0), (5, "0.0005"), factor="0.001"))) == D("0.000000")
    assert total(compute(meter((0, 0), (5, "0.0015"), factor="0.001"))) == D("0.000002")
    assert total(compute(meter((0, "-0.0015"), factor="0.001", tipo="INCREMENTAL"))) == D("-0.000002")


# --- net registers


def test_a_net_register_rises_and_falls() -> None:
    found = compute(meter(*every(5, 100, 90, 110), tipo="SALDO", pmax=60))
    assert (total(found), found.occurrences) == (D(10), {})


def test_a_net_register_jumps_either_way_and_nothing_of_it_counts() -> None:
    found = compute(meter(*every(5, 100, -500, -501, -502, -503), tipo="SALDO", pmax=60))
    assert (total(found), classes(found)) == (D(-3), [(5, "IMPLAUSIVEL", None, 20)])


def test_a_net_register_that_continues_both_ways_is_not_back() -> None:
    found = compute(meter(*every(5, 100, 161, 101), tipo="SALDO", pmax=60))
    assert classes(found) == [(5, "SUSPEITA", None, None), (10, "SUSPEITA", None, None)]


def test_an_approved_fall_of_a_net_register_counts() -> None:
    found = decided("APROVADA", (0, 100), (5, -500), tipo="SALDO", pmax=60)
    assert (total(found), found.occurrences) == (D(-600), {})


# --- other kinds


def test_increments_are_spread_over_the_interval_before_their_stamp() -> None:
    found = compute(meter((5, 2), (20, 6), (35, -3), tipo="INCREMENTAL", factor=2, interval=600))
    assert consumption(found) == {-15: D(2), 0: D(2) + D(8), 15: D(4) - D(4), 30: D(-2)}
    assert (found.occurrences, borders(found)) == ({}, (35, None))


def test_increments_are_spread_over_the_interval_after_their_stamp() -> None:
    one = meter((5, 2), (20, 6), tipo="INCREMENTAL", interval=600)
    one.carimbo = "INICIO"
    assert consumption(compute(one)) == {0: D("1.333333"), 15: D("0.666667") + D(6)}


def test_an_increment_over_more_than_three_intervals_is_interpolated() -> None:
    found = compute(meter((0, 1), (30, 1), (61, 1), tipo="INCREMENTAL", interval=600))
    assert [(row.qualidade, row.fracao_medida) for _, row in sorted(found.blocks.items())] == [
        ("MEDIDO", D("0.6666")),
        ("MEDIDO", D(1)),
        ("MEDIDO", D(1)),
        ("INTERPOLADO", D(0)),
        ("INTERPOLADO", D(0)),
        ("INTERPOLADO", D(0)),
    ]


def test_an_implausible_increment_is_kept_out_until_it_is_approved() -> None:
    points = [(0, 1), (5, 61), (10, -61), (90, 80)]
    found = compute(meter(*points, tipo="INCREMENTAL", pmax=60))
    assert classes(found) == [(5, "IMPLAUSIVEL", None, 5), (10, "IMPLAUSIVEL", None, 10)]
    assert (waiting(found), found.occurrences[at(5)][4:6]) == ([5, 10], (START, D(0)))
    assert total(found) == 81
    found = decided("APROVADA", *points, tipo="INCREMENTAL", pmax=60)
    assert (total(found), len(found.occurrences)) == (D(142), 1)


def test_a_gauge_has_its_least_greatest_sum_and_last_and_no_consumption() -> None:
    found = compute(meter((1, -5), (4, "2.5"), (9, -7), (14, 0), tipo="INSTANTANEA", factor=2))
    assert (found.occurrences, borders(found)) == ({}, (14, None))
    assert found.blocks == {
        (START, 1): Block(START, 1, 1, None, 4, D("0.8666"), "MEDIDO", D(-14), D(5), D(-19), D(0), 4)
    }


def test_a_gap_between_gauges_has_no_rows() -> None:
    assert len(compute(meter((0, 1), (60, 2), tipo="INSTANTANEA", interval=86_400)).blocks) == 2


def test_a_pair_of_exactly_three_intervals_measures_and_a_longer_one_does_not() -> None:
    found = compute(meter((0, 0), (15, 1), (31, 2), interval=300))
    assert [(b.fracao_medida, b.qualidade) for _, b in sorted(found.blocks.items())] == [
        (D(1), "MEDIDO"),
        (D(0), "INTERPOLADO"),
        (D(0), "INTERPOLADO"),
    ]


def test_the_measured_fraction_is_cut_not_rounded() -> None:
    one = meter((0, 0), (10, 1))
    end = START + timedelta(minutes=14, seconds=59, microseconds=999_999)
    one.readings[end] = Reading(end, D(2))
    assert compute(one).blocks[START, 1].fracao_medida == D("0.9999")


def test_the_gateway_is_the_latest_readings_or_that_of_the_segments_later_reading() -> None:
    one = meter((0, 0), (5, 1), (40, 2), interval=86_400)
    one.readings[at(5)] = Reading(at(5), D(1), gateway=7)
    one.readings[at(40)] = Reading(at(40), D(2), gateway=8)
    assert [block.gateway_id for _, block in sorted(compute(one).blocks.items())] == [7, 8, 8]


# --- everything


def test_the_series_with_everything_in_it() -> None:
    """20 kWh an hour over four days, 1,920 kWh.

    With a rollover, a dip, a gap over midnight, a meter change, a duplicate and a late reading.
    """
    one = meter(capacity=100_000, pmax=100, eps="0.5", interval=3600)
    truth = {hour: D(99_500 + 20 * hour) % 100_000 for hour in range(49)}  # rolls over after 25 hours
    truth |= {hour: D(17 + 20 * (hour - 49)) for hour in range(49, 97)}
    one.changes[at(48.5 * 60)] = Change(D(470), D(7))
    arrival = [
        hour for hour in truth if hour not in {22, 23, 24, 25, 26, 70}
    ]  # a gap over midnight, the rollover in it
    arrival += [12, 12, 70]  # twice again; one late
    for hour in arrival:
        one.readings.setdefault(at(hour * 60), Reading(at(hour * 60), truth[hour]))
    dip = at(60 * 60 + 30)
    one.readings[dip] = Reading(dip, truth[60] - D("0.4"))
    found = compute(one)
    assert total(found) == D(1920)
    assert classes(found) == [
        (27 * 60, "VIRADA", D(120), 30 * 60),
        (49 * 60, "TROCA", D(20), 49 * 60),
        (60 * 60 + 30, "QUEDA", None, 60 * 60 + 30),
    ]
    assert sum(block.leituras for block in found.blocks.values()) == 97 - 5 + 1
    by_hour = [
        sum(
            row.consumo or 0
            for (start, _), row in found.blocks.items()
            if at(60 * h) <= start < at(60 * h + 60)
        )
        for h in range(96)
    ]
    assert by_hour == [20] * 96


def test_a_late_reading_leaves_the_sum() -> None:
    before = compute(meter((0, 100), (60, 130)))
    after = compute(meter((0, 100), (20, 125), (60, 130)))
    assert total(before) == total(after) == 30
    assert before.blocks[START, 1].consumo == D("7.5")
    assert after.blocks[START, 1].consumo == D("18.75")


def test_the_order_in_which_a_meter_was_entered_is_none_of_its_figures() -> None:
    one = meter(*every(5, 100, 0, 101, 5000, 102), pmax=60)
    other = replace(one, readings=dict(reversed(one.readings.items())))
    assert compute(one) == compute(other)
