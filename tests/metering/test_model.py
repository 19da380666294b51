"""The model itself, on examples computed by hand.

One for each rule and class, and the series with everything in it.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest

from tests.metering.model import Block, Blocks, Change, Meter, Occurrences, Parameters, Reading, compute

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


def consumption(blocks: Blocks) -> dict[int, Decimal | None]:
    """By the block's first minute after :data:`START`."""
    return {
        round((start - START) / timedelta(minutes=1)): blocks[start, conta].consumo
        for start, conta in sorted(blocks)
    }


def classes(occurrences: Occurrences) -> list[tuple[int, str, Decimal | None, int | None]]:
    """Minute of the reading, class, difference, minute of the reading that decided."""

    def minute(moment: datetime | None) -> int | None:
        return None if moment is None else round((moment - START) / timedelta(minutes=1))

    return [
        (minute(o.leitura_em) or 0, o.classe, o.consumo, minute(o.decidida_em))
        for _, o in sorted(occurrences.items())
    ]


def total(blocks: Blocks) -> Decimal:
    return sum((block.consumo for block in blocks.values() if block.consumo is not None), D(0))


# --- the rules


def test_nothing_at_all() -> None:
    assert compute(Meter()) == ({}, {})


def test_a_first_reading_is_a_base_and_counts_for_nothing() -> None:
    blocks, occurrences = compute(meter((3, 100)))
    row = Block(START, 1, 1, D(0), 1, D(0), "MEDIDO", None, None, None, None, None)
    assert (blocks, occurrences) == ({(START, 1): row}, {})


def test_a_segment_is_split_in_proportion_and_the_rest_goes_to_the_last_block() -> None:
    blocks, occurrences = compute(meter((10, 0), (40, 1)))  # 5, 15 and 10 of 30 minutes
    assert consumption(blocks) == {0: D("0.166666"), 15: D("0.5"), 30: D("0.333334")}
    assert occurrences == {}
    assert [block.leituras for _, block in sorted(blocks.items())] == [1, 0, 1]


def test_a_segment_does_not_reach_into_the_block_that_begins_where_it_ends() -> None:
    blocks, _ = compute(meter((0, 0), (15, 1)))
    assert consumption(blocks) == {0: D(1), 15: D(0)}
    assert (blocks[at(0), 1].fracao_medida, blocks[at(15), 1].fracao_medida) == (D(1), D(0))


def test_equal_readings_count_zero_and_measure() -> None:
    blocks, occurrences = compute(meter((0, 7), (5, 7), (10, 7), (15, 7)))
    assert (consumption(blocks), occurrences) == ({0: D(0), 15: D(0)}, {})
    assert blocks[at(0), 1].fracao_medida == 1


def test_a_dip_is_ignored_and_the_base_stays() -> None:
    blocks, occurrences = compute(meter((0, 100), (5, "99.5"), (10, 103), eps="0.5"))
    assert consumption(blocks) == {0: D(3)}
    assert classes(occurrences) == [(5, "QUEDA", None, 5)]
    assert blocks[at(0), 1].leituras == 3


def test_a_drop_below_the_tolerance_is_a_reset() -> None:
    blocks, occurrences = compute(meter((0, 100), (5, "99.4999"), (10, 103), eps="0.5"))
    assert classes(occurrences) == [(5, "REINICIO", D("99.4999"), 5)]
    assert consumption(blocks) == {0: D(103)}
    assert blocks[at(0), 1].qualidade == "ESTIMADO"
    assert blocks[at(0), 1].fracao_medida == D("0.3333")


def test_a_rollover_within_the_plausible_maximum() -> None:
    blocks, occurrences = compute(meter((0, 50), (60, 10), capacity=100, pmax=60))
    assert (total(blocks), classes(occurrences)) == (D(60), [(60, "VIRADA", D(60), 60)])
    blocks, occurrences = compute(meter((0, 50), (60, "10.0001"), capacity=100, pmax=60))
    assert classes(occurrences) == [(60, "REINICIO", D("10.0001"), 60)]


def test_a_rollover_from_the_last_tenth_where_no_plausible_maximum_is_known() -> None:
    assert classes(compute(meter((0, 90), (60, 10), capacity=100))[1]) == [(60, "VIRADA", D(20), 60)]
    assert classes(compute(meter((0, "89.9999"), (60, 10), capacity=100))[1]) == [(60, "REINICIO", D(10), 60)]


def test_a_rollover_is_never_less_than_nothing() -> None:
    assert classes(compute(meter((0, 500), (60, 10), capacity=100))[1]) == [(60, "REINICIO", D(10), 60)]


def test_a_negative_register_is_not_accepted() -> None:
    blocks, occurrences = compute(meter((0, 100), (5, -1), (10, 101)))
    assert (total(blocks), classes(occurrences)) == (D(1), [(5, "SUSPEITA", None, 10)])


def test_the_plausible_maximum_is_compared_exactly() -> None:
    assert compute(meter((0, 0), (20, 20), pmax=60))[1] == {}
    assert classes(compute(meter((0, 0), (20, "20.0001"), pmax=60))[1]) == [(20, "SUSPEITA", None, None)]
    later = meter((0, 0), pmax="0.0036")
    moment = START + timedelta(microseconds=99_999_999)  # 0.0001 takes 100 seconds
    later.readings[moment] = Reading(moment, D("0.0001"))
    assert len(compute(later)[1]) == 1


# --- meter changes


def changed(*changes: tuple[float, Any, Any], pmax: Any = None) -> Meter:
    """From 100 at minute 0 to 7 at minute 60, with these changes."""
    one = meter((0, 100), (60, 7), **({} if pmax is None else {"pmax": pmax}))
    one.changes = {at(minute): Change(D(str(final)), D(str(initial))) for minute, final, initial in changes}
    return one


def test_a_meter_change_counts_both_meters() -> None:
    blocks, occurrences = compute(changed((30, 104, 2)))
    assert (total(blocks), classes(occurrences)) == (D(9), [(60, "TROCA", D(9), 60)])
    assert [block.qualidade for _, block in sorted(blocks.items())] == ["INTERPOLADO"] * 4 + ["MEDIDO"]


def test_several_meter_changes_between_two_readings() -> None:
    assert total(compute(changed((30, 104, 2), (40, 5, 0)))[0]) == 4 + 3 + 7
    assert total(compute(changed((30, 104, 0), (40, 0, 0), (50, 0, 0)))[0]) == 4 + 7


def test_a_final_register_written_down_without_its_decimals_is_accepted() -> None:
    blocks, occurrences = compute(changed((30, "99.6", 2)))
    assert (total(blocks), classes(occurrences)) == (D("4.6"), [(60, "TROCA", D("4.6"), 60)])
    assert total(compute(changed((30, 104, 8)))[0]) == 3


@pytest.mark.parametrize(("final", "initial"), [(94, 2), (104, 12)])
def test_a_meter_change_that_would_count_less_than_nothing_is_not_accepted(final: int, initial: int) -> None:
    blocks, occurrences = compute(changed((30, final, initial)))
    assert (total(blocks), classes(occurrences)) == (D(0), [(60, "SUSPEITA", None, None)])


def test_a_meter_change_beyond_the_plausible_maximum_is_not_accepted() -> None:
    assert classes(compute(changed((30, 104, 2), pmax=9))[1]) == [(60, "TROCA", D(9), 60)]
    assert classes(compute(changed((30, 104, 2), pmax="8.9999"))[1]) == [(60, "SUSPEITA", None, None)]


def test_a_meter_change_belongs_to_the_pair_that_ends_at_its_moment() -> None:
    assert classes(compute(changed((60, 104, 2)))[1]) == [(60, "TROCA", D(9), 60)]
    assert classes(compute(changed((0, 104, 2)))[1]) == [(60, "REINICIO", D(7), 60)]


# --- waiting

SPIKE = [(5, 5000), (10, 5001), (15, 5002), (20, 5003)]


def test_a_spike_is_worth_nothing_once_the_register_is_back() -> None:
    blocks, occurrences = compute(meter((0, 100), (5, 5000), (10, 102), pmax=60))
    assert (total(blocks), classes(occurrences)) == (D(2), [(5, "SUSPEITA", None, 10)])


def test_waiting_readings_are_undecided_at_the_end() -> None:
    blocks, occurrences = compute(meter((0, 100), *SPIKE[:3], pmax=60))
    assert (total(blocks), classes(occurrences)) == (D(0), [(m, "SUSPEITA", None, None) for m in (5, 10, 15)])


def test_three_followers_make_a_spike_the_new_base() -> None:
    blocks, occurrences = compute(meter((0, 100), *SPIKE, (25, 5005), pmax=60))
    assert (total(blocks), classes(occurrences)) == (D(5), [(5, "IMPLAUSIVEL", None, 20)])
    assert occurrences[at(5)][4:6] == (START, D(100))
    assert blocks[START, 1].fracao_medida == D("0.6666")  # 5 to 15


def test_a_reading_that_does_not_follow_starts_the_waiting_again() -> None:
    blocks, occurrences = compute(meter((0, 100), (5, 9000), *((m + 5, v) for m, v in SPIKE), pmax=60))
    assert (total(blocks), classes(occurrences)) == (
        D(3),
        [(5, "SUSPEITA", None, 10), (10, "IMPLAUSIVEL", None, 25)],
    )


def test_a_dip_ends_the_waiting_too() -> None:
    _, occurrences = compute(meter((0, 100), (5, 5000), (10, 99), (15, 5001), pmax=60, eps=1))
    assert classes(occurrences) == [
        (5, "SUSPEITA", None, 10),
        (10, "QUEDA", None, 10),
        (15, "SUSPEITA", None, None),
    ]


def test_a_meter_change_keeps_readings_from_following() -> None:
    one = meter((0, 100), *SPIKE, pmax=60)
    one.changes[at(15)] = Change(D(0), D(0))  # not acceptable against the base either
    assert classes(compute(one)[1]) == [
        (5, "SUSPEITA", None, 15),
        (10, "SUSPEITA", None, 15),
        *((m, "SUSPEITA", None, None) for m in (15, 20)),
    ]


def test_an_approved_reading_is_accepted_whatever_the_plausible_maximum() -> None:
    one = meter((0, 100), (5, 5000), (10, 5001), pmax=60)
    one.decisions[at(5)] = "APROVADA"
    assert (total(compute(one)[0]), compute(one)[1]) == (D(4901), {})


def test_an_approved_negative_reading_still_waits() -> None:
    one = meter((0, 100), (5, -3), pmax=60)
    one.decisions[at(5)] = "APROVADA"
    assert classes(compute(one)[1]) == [(5, "SUSPEITA", None, None)]


def test_a_discarded_reading_is_as_if_never_stored() -> None:
    one = meter((0, 100), (5, 5000), (40, 102), pmax=60)
    one.decisions[at(5)] = "DESCARTADA"
    assert compute(one) == compute(meter((0, 100), (40, 102), pmax=60))


# --- chains


@pytest.mark.parametrize("other", [{"conta": 2}, {"unidade": "MWh"}, {"tipo": "INCREMENTAL"}])
def test_nothing_is_counted_across_chains(other: dict[str, Any]) -> None:
    one = meter((0, 100), (5, 101))
    for minute, valor in ((10, 500), (15, 502)):
        one.readings[at(minute)] = Reading(at(minute), D(valor), **other)
    assert total(compute(one)[0]) == (1003 if "tipo" in other else 3)


def test_readings_that_wait_are_suspect_for_good_when_another_chain_begins() -> None:
    one = meter((0, 100), (5, 9000), pmax=60)
    one.readings[at(10)] = Reading(at(10), D(1), conta=2)
    assert classes(compute(one)[1]) == [(5, "SUSPEITA", None, 10)]


def test_two_contas_have_a_row_each_in_the_block_of_a_move() -> None:
    one = meter((0, 100), (5, 101))
    for minute, valor in ((10, 500), (15, 502)):
        one.readings[at(minute)] = Reading(at(minute), D(valor), conta=2, gateway=9)
    blocks, _ = compute(one)
    assert {(key[0], key[1]): (row.consumo, row.leituras, row.gateway_id) for key, row in blocks.items()} == {
        (at(0), 1): (D(1), 2, 1),
        (at(0), 2): (D(2), 1, 9),
        (at(15), 2): (D(0), 1, 9),
    }


# --- factors


def test_a_segment_is_cut_where_the_factor_changes() -> None:
    one = meter((0, 0), (30, "1"), factor=40)
    one.dated = {at(10): Parameters(factor=D(60)), at(20): Parameters(factor=D(60), eps=D(3))}
    blocks, _ = compute(one)
    # 0.3333 x 40 = 13.332 in the first block; 0.6667 x 60 = 40.002, of which 5 of 20 minutes
    assert consumption(blocks) == {0: D("13.332") + D("10.0005"), 15: D("30.0015"), 30: D(0)}


def test_products_are_rounded_half_even() -> None:
    assert total(compute(meter((0, 0), (5, "0.0005"), factor="0.001"))[0]) == D("0.000000")
    assert total(compute(meter((0, 0), (5, "0.0015"), factor="0.001"))[0]) == D("0.000002")
    assert total(compute(meter((0, "-0.0015"), factor="0.001", tipo="INCREMENTAL"))[0]) == D("-0.000002")


def test_dated_parameters_judge_pairs_that_end_from_then_on() -> None:
    one = meter((0, 100), (10, 50), (20, 20), eps=100)
    one.dated = {at(20): Parameters()}
    assert classes(compute(one)[1]) == [(10, "QUEDA", None, 10), (20, "REINICIO", D(20), 20)]


# --- other kinds


def test_increments_are_summed_in_the_block_of_the_reading() -> None:
    one = meter((0, 5), (10, "1.5"), (15, -2), tipo="INCREMENTAL", factor=2)
    blocks, occurrences = compute(one)
    assert (consumption(blocks), occurrences) == ({0: D(13), 15: D(-4)}, {})
    assert (blocks[at(0), 1].fracao_medida, blocks[at(15), 1].fracao_medida) == (D(1), D(0))


def test_a_gauge_has_its_least_greatest_sum_and_last_and_no_consumption() -> None:
    blocks, occurrences = compute(meter((1, -5), (4, "2.5"), (9, -7), (14, 0), tipo="INSTANTANEA", factor=2))
    assert occurrences == {}
    assert blocks == {
        (START, 1): Block(START, 1, 1, None, 4, D("0.8666"), "MEDIDO", D(-14), D(5), D(-19), D(0), 4)
    }


def test_a_gap_between_gauges_has_no_rows() -> None:
    assert len(compute(meter((0, 1), (60, 2), tipo="INSTANTANEA", interval=86_400))[0]) == 2


def test_a_pair_of_exactly_three_intervals_measures_and_a_longer_one_does_not() -> None:
    blocks, _ = compute(meter((0, 0), (15, 1), (31, 2), interval=300))
    assert [(b.fracao_medida, b.qualidade) for _, b in sorted(blocks.items())] == [
        (D(1), "MEDIDO"),
        (D(0), "INTERPOLADO"),
        (D(0), "INTERPOLADO"),
    ]


def test_the_measured_fraction_is_cut_not_rounded() -> None:
    one = meter((0, 0), (10, 1))
    end = START + timedelta(minutes=14, seconds=59, microseconds=999_999)
    one.readings[end] = Reading(end, D(2))
    assert compute(one)[0][START, 1].fracao_medida == D("0.9999")


def test_the_gateway_is_the_latest_readings_or_that_of_the_segments_later_reading() -> None:
    one = meter((0, 0), (5, 1), (40, 2), interval=86_400)
    one.readings[at(5)] = Reading(at(5), D(1), gateway=7)
    one.readings[at(40)] = Reading(at(40), D(2), gateway=8)
    assert [block.gateway_id for _, block in sorted(compute(one)[0].items())] == [7, 8, 8]


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
    blocks, occurrences = compute(one)
    assert total(blocks) == D(1920)
    assert classes(occurrences) == [
        (27 * 60, "VIRADA", D(120), 27 * 60),
        (49 * 60, "TROCA", D(20), 49 * 60),
        (60 * 60 + 30, "QUEDA", None, 60 * 60 + 30),
    ]
    assert sum(block.leituras for block in blocks.values()) == 97 - 5 + 1
    assert {row.consumo for (start, _), row in blocks.items() if start < at(96 * 60)} == {
        D(5)
    }  # 20 kWh an hour, everywhere


def test_a_late_reading_leaves_the_sum() -> None:
    before = compute(meter((0, 100), (60, 130)))[0]
    after = compute(meter((0, 100), (20, 125), (60, 130)))[0]
    assert total(before) == total(after) == 30
    assert before[START, 1].consumo == D("7.5")
    assert after[START, 1].consumo == D("18.75")
