"""The metering benchmark: the frozen first edition, the truth of simulated months, rules and scores."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest
from django.core.management import CommandError, call_command

from lab.metering import elsewhere
from lab.metering.disturbances import DAILY, DRAWN, EVENTS, NOT_OF_THE_DAY, PEOPLE_KNOW
from lab.metering.first_edition import Meter, MeterChange, Parameters, Register
from lab.metering.months import START_US, DeviceMonth, make_month
from lab.metering.product import judge, parameters_of_new, quantity_and_unit
from lab.metering.profiles import UNIT, Consumer, consumption
from lab.metering.rules import PRODUCT, RULES
from lab.metering.scores import Outcome, Score, score
from tds_new.metering.times import DAY_US, HOUR_US
from tests.support import factories

pytestmark = pytest.mark.once

QUARTER_US = HOUR_US // 4


# --- the first edition --------------------------------------------------------------------------------------


def first_edition(values: list[float], meter: Meter | None = None, step: int = QUARTER_US) -> Register:
    """Feed readings that are ``step`` microseconds apart to the first edition."""
    register = Register(meter or Meter())
    for number, value in enumerate(values):
        register.feed(number * step, round(value * UNIT))
    register.end_chain(None)
    return register


def total(register: Register) -> float:
    return sum(segment.amount for segment in register.segments) / UNIT


UNRECORDED = [
    *(3000 + 1.5 * hour for hour in range(96)),
    *(80_000 + 1.5 * hour for hour in range(96, 104)),
]


@pytest.mark.parametrize(
    ("values", "kwh"),
    [
        ([240.788, 240.789, 240.788, 240.79], 240.791),
        ([12345.0, 12345.2, 0, 12345.3, 12345.5], 12345.7),
        ([0.1, 429496727.9, 429496728.0, 429496728.4, 0.6, 0.7], 429496729.0),
        (UNRECORDED, 77154.5),
    ],
    ids=["a tiny dip", "one zero", "garbage", "an unrecorded meter"],
)
def test_the_first_edition_gives_the_figures_that_it_gave(values: list[float], kwh: float) -> None:
    register = first_edition(values)
    assert total(register) == kwh
    assert all(occurrence.settled is not None for occurrence in register.occurrences)  # nobody is asked


def test_the_first_edition_with_parameters_gives_the_figures_that_it_gave() -> None:
    parameters = Parameters(capacity=100_000 * UNIT, hourly_maximum=100 * UNIT, dip_tolerance=UNIT // 2)
    changes = [MeterChange(7 * HOUR_US, 60 * UNIT, 10 * UNIT)]
    values = [99_980, 99_999, 20, 19.6, 40, 5000, 50, 21, 31, 90_000, 90_010, 90_020, 90_030, 9]
    register = first_edition(values, Meter(parameters, changes=changes), HOUR_US)
    assert total(register) == 19 + 21 + 20 + 10 + 21 + 10 + 30 + 9
    assert [
        (o.kind.value, o.time // HOUR_US, o.settled and o.settled // HOUR_US) for o in register.occurrences
    ] == [
        ("VIRADA", 2, 2),
        ("QUEDA", 3, 3),
        ("SUSPEITA", 5, 6),
        ("TROCA", 7, 7),
        ("IMPLAUSIVEL", 9, 12),
        ("REINICIO", 13, 13),
    ]


# --- the truth ----------------------------------------------------------------------------------------------


def test_a_seed_gives_the_same_months_and_another_one_others() -> None:
    assert [make_month(3, number) for number in range(5)] == [make_month(3, number) for number in range(5)]
    assert make_month(3, 0) != make_month(4, 0)


@pytest.fixture(scope="module")
def months() -> list[DeviceMonth]:
    return [make_month(11, number) for number in range(300)]


def test_every_event_happens_and_every_consumer_is_there(months: list[DeviceMonth]) -> None:
    assert {event for month in months for event in month.events} == {*EVENTS, DAILY}
    assert {month.consumer for month in months} == set(Consumer)
    assert {month.step for month in months} == {HOUR_US // 12, QUARTER_US, HOUR_US}
    assert PEOPLE_KNOW < EVENTS.keys() == set(DRAWN)
    assert set(NOT_OF_THE_DAY) < EVENTS.keys()


def test_a_month_in_which_nothing_happened_ends_at_the_truth(months: list[DeviceMonth]) -> None:
    quiet = [month for month in months if not month.events]
    assert len(quiet) > 20
    for month in quiet:
        values = [value for _, value in month.readings]
        assert month.readings == month.received
        assert month.readings[0][0] == START_US
        assert len(values) == 30 * DAY_US // month.step + 1
        assert all(after >= before for before, after in pairwise(values))
        assert abs(values[-1] - values[0] - month.truth) <= month.slack


def test_readings_are_in_order_of_time_and_received_once_or_twice(months: list[DeviceMonth]) -> None:
    for month in months:
        assert month.readings == sorted(set(month.received))
        assert len({time for time, _ in month.readings}) == len(month.readings)
        if not {"late", "clock", "doubled"} & set(month.events):
            assert month.received == month.readings


def test_a_rollover_leaves_no_negative_register(months: list[DeviceMonth]) -> None:
    wrapped = [month for month in months if "rollover" in month.events]
    assert {month.capacity is None for month in wrapped} == {True, False}
    alone = [month for month in wrapped if set(month.events) == {"rollover"}]
    assert alone
    assert all(value >= 0 for month in alone for _, value in month.readings)


def test_a_consumers_profile_is_never_negative_and_has_its_size() -> None:
    for consumer, (least, most) in {
        Consumer.HOME: (50, 1500),
        Consumer.SHOP: (400, 8000),
        Consumer.FACTORY: (5_000, 900_000),
        Consumer.WATER: (5, 200),
    }.items():
        used = consumption(Random(1), consumer, 2880, QUARTER_US)
        assert min(used) >= 0
        assert least * UNIT < sum(used) < most * UNIT


# --- rules in use elsewhere ---------------------------------------------------------------------------------


def month_of(values: list[int], truth: int, *, received: list[int] | None = None) -> DeviceMonth:
    """A month of hourly readings; ``received`` are their numbers as they arrive."""
    readings = [(START_US + number * HOUR_US, value) for number, value in enumerate(values)]
    arrived = [readings[number] for number in received] if received else readings
    return DeviceMonth(Consumer.HOME, HOUR_US, readings, arrived, truth, 0, (), (), None)


@pytest.mark.parametrize(
    ("rule", "values", "amount"),
    [
        (elsewhere.total_increasing, [100, 110, 105, 120, 20, -5, 30], 10 - 5 + 15 + 20 + 10),
        (elsewhere.utility_meter, [100, 110, 105, 120, 20, 30], 10 + 15 + 10),
        (elsewhere.positive_differences, [100, 110, 105, 120, 20, 30], 10 + 15 + 10),
        (elsewhere.counter_agg, [100, 110, 105, 120, 20, 30], 10 + 105 + 15 + 20 + 10),
        (elsewhere.kwh_accumulator, [0, 10, 10 + 60 * UNIT, 20 + 60 * UNIT, 5, 15], 10 + 10 + 10),
        (elsewhere.spread_of_days, [5, 7, 9, *[10] * 21, 12, 15], 4 + 5),
    ],
)
def test_each_rule_in_use_counts_as_its_source_says(
    rule: Callable[[DeviceMonth], int], values: list[int], amount: int
) -> None:
    assert rule(month_of(values, 0)) == amount


def test_rules_that_take_readings_as_they_arrive_see_a_late_one_as_a_fall() -> None:
    month = month_of([0, 10, 20, 30], 30, received=[0, 2, 3, 1])
    assert elsewhere.utility_meter(month) == elsewhere.positive_differences(month) == 30
    assert elsewhere.total_increasing(month) == 30 + 10
    month = month_of([0, 10, 20, 30], 30, received=[0, 2, 1, 3])
    assert elsewhere.utility_meter(month) == 40


# --- scores -------------------------------------------------------------------------------------------------


def test_a_score_tells_exact_asked_marked_and_silent_apart() -> None:
    month = month_of([0, 1000], 1000)
    found = Score()
    for outcome in [
        Outcome(1000, asks=False, marks=False),
        Outcome(1000, asks=True, marks=True),
        Outcome(1010, asks=True, marks=True),
        Outcome(1011, asks=True, marks=False),
        Outcome(980, asks=False, marks=True),
        Outcome(999, asks=False, marks=False),
        Outcome(0, asks=False, marks=False),
    ]:
        found.add(month, outcome)
    assert found == Score(
        months=7,
        exact=2,
        asked=2,
        marked=1,
        silent=2,
        far_asked=1,
        far_marked=1,
        far_silent=1,
        asking=3,
        asked_exact=1,
        error=10 + 11 + 20 + 1 + 1000,
        worst=1000,
    )


def test_a_question_where_only_people_know_is_not_held_against_a_rule() -> None:
    month = replace(month_of([0, 1000], 1000), events=("gap", "saved total"))
    found = Score()
    found.add(month, Outcome(1000, asks=True, marks=True))
    assert (found.asking, found.asked_exact) == (1, 0)


def test_a_rule_that_believes_falls_at_once_is_shown_as_silently_wrong() -> None:
    def believes(month: DeviceMonth) -> Outcome:
        return Outcome(elsewhere.counter_agg(month), asks=False, marks=False)

    found = score({"believes falls": believes}, "believes falls", (make_month(5, n) for n in range(40)))
    wrong = found.rules["believes falls"]
    assert wrong.share(wrong.far_silent) > 30
    assert found.events["one zero"].far_silent == found.events["one zero"].months > 0
    assert found.events["nothing"].exact == found.events["nothing"].months > 0


# --- the product, and the command ---------------------------------------------------------------------------


def test_the_product_is_exact_where_nothing_happens(months: list[DeviceMonth]) -> None:
    for month in (month for month in months[:100] if not month.events):
        assert abs(judge(month).amount - month.truth) <= month.slack


@pytest.mark.parametrize(
    ("values", "outcome"),
    [
        ([240.788, 240.789, 240.788, 240.79], Outcome(20, asks=False, marks=True)),
        ([12345.0, 12345.2, 0, 12345.3, 12345.5], Outcome(5000, asks=False, marks=True)),
        ([0.1, 429496727.9, 429496728.0, 429496728.4, 0.6, 0.7], Outcome(6000, asks=False, marks=True)),
        (UNRECORDED, Outcome(1_530_000, asks=True, marks=True)),
    ],
    ids=["a tiny dip", "one zero", "garbage", "an unrecorded meter"],
)
def test_the_product_is_right_where_the_first_edition_was_wrong(
    values: list[float], outcome: Outcome
) -> None:
    assert judge(month_of([round(value * UNIT) for value in values], 0)) == outcome


@pytest.mark.django_db
@pytest.mark.parametrize("consumer", list(Consumer))
def test_the_parameters_are_those_that_a_new_device_gets(consumer: Consumer) -> None:
    quantity, unit = quantity_and_unit(consumer)
    gateway = factories.gateway(factories.conta())
    device = factories.device(gateway, grandeza=quantity, unidade=unit)
    device.refresh_from_db()
    parameters = parameters_of_new(consumer, None)
    assert device.consumo_maximo_hora * UNIT == parameters.hourly_maximum
    assert device.tolerancia_queda * UNIT == parameters.dip_tolerance
    assert device.fator_conversao * 1_000_000 == parameters.factor
    assert device.valor_maximo_registro is None


def run(**options: object) -> str:
    said = StringIO()
    call_command("benchmark_metering", stdout=said, **options)
    return said.getvalue()


def test_the_command_compares_the_product_to_the_first_edition_and_six_rules(tmp_path: Path) -> None:
    assert len(RULES) == 8
    text = run(months=60, seed=2, events=True, output=tmp_path / "metering")
    assert text == (tmp_path / "metering.md").read_text(encoding="ascii")
    assert all(text.count(f"\n| {name} | ") == 1 for name in RULES)
    assert text.count("| met |") == 2
    assert "\n| one zero | " in text
    found = json.loads((tmp_path / "metering.json").read_text(encoding="ascii"))
    assert list(found["rules"]) == list(RULES)
    assert found["rules"][PRODUCT]["months"] == 60
    assert found["rules"][PRODUCT]["exact"] >= 48
    assert found["rules"]["first edition"]["exact"] <= 30
    assert [requirement["met"] for requirement in found["requirements"]] == [True, True]


def test_the_command_gives_figures_for_programs() -> None:
    assert json.loads(run(months=1, json=True))["rules"][PRODUCT]["months"] == 1


def test_a_rule_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("lab.metering.rules.first_edition.Register")
    with pytest.raises(AttributeError):
        run(months=1)


def test_the_command_fails_where_the_product_is_silently_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(RULES, PRODUCT, RULES["TimescaleDB Toolkit, counter_agg"])
    said = StringIO()
    with pytest.raises(SystemExit, match="1"):
        call_command("benchmark_metering", months=30, stdout=said)
    assert "NOT MET" in said.getvalue()


def test_no_months_are_refused() -> None:
    with pytest.raises(CommandError):
        run(months=0)
