"""Windows, newest readings and the fleet, and whose figures are whose."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tds_new.models import Conta, Dispositivo, Gateway
from tds_new.queries import fleet
from tds_new.queries.consumption import monthly_consumption
from tds_new.queries.latest import latest_readings
from tds_new.queries.local_calendar import months_until
from tds_new.queries.series import series
from tds_new.queries.sums import Measure
from tds_new.queries.window import Window
from tests.support import factories

SP = ZoneInfo("America/Sao_Paulo")
DAY = date(2026, 2, 18)
NOON = datetime(2026, 2, 18, 12, 0, tzinfo=SP)
MIN, SECOND = timedelta(minutes=1), timedelta(seconds=1)

pytestmark = pytest.mark.django_db


def transfer(gateway: Gateway, to: Conta) -> None:
    gateway.conta = to
    gateway.save()


def test_after_a_transfer_the_new_conta_sees_nothing_of_the_old_one() -> None:
    old, new = factories.conta("Antiga"), factories.conta("Nova")
    gateway = factories.gateway(old)
    meter = factories.device(gateway, tipo_leitura="INCREMENTAL")
    factories.readings(meter, factories.points(NOON, 5 * MIN, [1, 2, 3]))
    transfer(gateway, new)
    meter = Dispositivo.objects.select_related("gateway").get()
    window = Window.between(DAY, DAY, SP)

    assert meter.conta == new
    assert series(new, [meter], window)[0].points == []
    assert latest_readings(new, [meter], window, NOON) == []
    assert monthly_consumption(new, None, NOON) == []
    assert monthly_consumption(new, [meter], NOON) == []
    assert monthly_consumption(old, None, NOON)[0].months[-1].total == 6


def test_a_foreign_device_is_not_read_even_if_handed_in() -> None:
    meter = factories.device(factories.gateway(factories.conta("Dona")))
    factories.readings(meter, factories.points(NOON, 5 * MIN, [0, 1]))
    other = factories.conta("Outra")

    assert series(other, [meter], Window.between(DAY, DAY, SP)) == []
    assert latest_readings(other, [meter], Window.between(DAY, DAY, SP), NOON) == []


def test_months_follow_the_local_calendar_and_sum_their_devices() -> None:
    owner = factories.conta()
    one, two = (
        factories.device(factories.gateway(owner, g), tipo_leitura="INCREMENTAL") for g in ("GW-1", "GW-2")
    )
    turn = datetime(2026, 2, 1, tzinfo=SP)
    interval = timedelta(seconds=one.gateway.intervalo_esperado_s)
    factories.readings(one, [(turn, "123.45"), (turn + interval, "67.89")])
    factories.readings(two, [(turn + interval, "22.5")])
    water = factories.device(one.gateway, "D02", "AGUA", "m³", "INCREMENTAL")
    factories.readings(water, [(turn + interval, 3)])

    energy, water_monthly = monthly_consumption(owner, None, NOON)

    assert (energy.measure, water_monthly.measure) == (Measure("ENERGIA", "kWh"), Measure("AGUA", "m³"))
    assert [m.month for m in energy.months] == months_until(date(2026, 2, 1), 13)
    assert [m.total for m in energy.months[-3:]] == [None, Decimal("123.45"), Decimal("90.39")]
    assert monthly_consumption(owner, [two], NOON)[0].months[-1].total == Decimal("22.5")


def test_temperatures_have_no_consumption() -> None:
    owner = factories.conta()
    factories.readings(
        factories.device(factories.gateway(owner), "D03", "TEMPERATURA", "°C", "INSTANTANEA"),
        [(NOON, 20)],
    )

    assert monthly_consumption(owner, None, NOON) == []


def test_the_newest_readings_are_newest_by_the_meters_time() -> None:
    owner = factories.conta()
    gateway = factories.gateway(owner)
    for n in range(15):
        factories.readings(
            factories.device(gateway, f"D{n:02}"),
            factories.points(NOON - n * MIN, -30 * MIN, [n, n + 100]),
        )
    devices = fleet.active_devices(owner)

    rolling = latest_readings(owner, devices, Window.last(timedelta(hours=24), NOON, SP), NOON)
    in_past = latest_readings(
        owner, devices, Window.between(DAY, DAY, SP), NOON + timedelta(days=9), limit=20
    )

    assert [r.device.codigo for r in rolling] == [f"D{n:02}" for n in range(10)]
    assert len(in_past) == 20
    assert [r.time for r in in_past] == sorted((r.time for r in in_past), reverse=True)


def test_a_device_has_data_within_three_intervals_and_at_least_five_minutes() -> None:
    slow, fast = (factories.gateway(factories.conta(), intervalo_esperado_s=s) for s in (600, 10))
    of_slow, of_fast = (
        Dispositivo(gateway=slow, last_seen=NOON),
        Dispositivo(gateway=fast, last_seen=NOON),
    )

    assert fleet.has_recent_data(of_slow, NOON + 30 * MIN)
    assert not fleet.has_recent_data(of_slow, NOON + 31 * MIN)
    assert fleet.has_recent_data(of_fast, NOON + 5 * MIN)
    assert not fleet.has_recent_data(of_fast, NOON + 6 * MIN)
    assert not fleet.has_recent_data(Dispositivo(gateway=slow), NOON)


@pytest.mark.parametrize(
    ("fields", "age", "expected"),
    [
        ({}, 5 * MIN, "ONLINE"),
        ({}, 5 * MIN + SECOND, "OFFLINE"),  # nobody took is_online back: the consumer is dead
        ({"intervalo_esperado_s": 600}, 30 * MIN, "ONLINE"),
        ({"intervalo_esperado_s": 600}, 30 * MIN + SECOND, "OFFLINE"),
        ({"online": False}, SECOND, "OFFLINE"),  # its last will came
        ({}, None, "COMMISSIONING"),
        ({"online": False}, None, "COMMISSIONING"),
        ({"is_active": False}, SECOND, "INACTIVE"),
        ({"is_active": False}, None, "INACTIVE"),
    ],
)
def test_a_gateway_is_online_while_its_last_sign_of_life_is_recent(
    fields: dict[str, Any], age: timedelta | None, expected: str
) -> None:
    fields = {"intervalo_esperado_s": 60, **fields}
    gateway = factories.gateway(factories.conta(), seen=None if age is None else NOON - age, **fields)

    assert fleet.gateway_state(gateway, NOON).name == expected
    assert Gateway.objects.filter(fleet.online(NOON)).exists() == (expected == "ONLINE")


def test_silent_gateways_come_longest_silent_first_with_what_they_affect_and_new_ones_last() -> None:
    owner = factories.conta()
    factories.gateway(owner, "A", seen=NOON)
    recent = factories.gateway(owner, "B", online=False, seen=NOON - MIN)
    old = factories.gateway(owner, "C", online=False, seen=NOON - 99 * MIN)
    never = factories.gateway(owner, "D", online=False)
    for codigo in ("D01", "D02"):
        factories.device(old, codigo)

    silent = fleet.silent_gateways(fleet.active_gateways(owner), fleet.active_devices(owner), NOON)

    assert [(m.gateway, m.state.name, m.devices) for m in silent] == [
        (old, "OFFLINE", 2),
        (recent, "OFFLINE", 0),
        (never, "COMMISSIONING", 0),
    ]


@pytest.mark.parametrize(
    ("days", "step", "buckets"),
    [
        (1, 5 * MIN, 288),
        (2, 15 * MIN, 192),
        (7, 15 * MIN, 672),
        (31, 60 * MIN, 744),
        (365, timedelta(days=1), 365),
    ],
)
def test_bucket_sizes_keep_every_chart_under_800_points(days: int, step: timedelta, buckets: int) -> None:
    window = Window.between(DAY, DAY + timedelta(days=days - 1), SP)

    assert window.step == step
    assert (window.end - window.start) / window.step == buckets
    assert 2 <= len(window.marks()) <= 9


def test_a_day_of_25_hours_is_whole_and_its_marks_are_local() -> None:
    new_york = ZoneInfo("America/New_York")
    window = Window.between(date(2026, 11, 1), date(2026, 11, 1), new_york)

    assert window.end.timestamp() - window.start.timestamp() == 25 * 3600
    assert [m.astimezone(new_york).hour for m in window.marks()] == [0, 6, 12, 18]


def test_a_rolling_window_ends_with_the_current_bucket() -> None:
    window = Window.last(timedelta(hours=24), datetime(2026, 2, 18, 15, 7, 30, tzinfo=UTC), SP)

    assert window.end == datetime(2026, 2, 18, 12, 10, tzinfo=SP)
    assert window.start == datetime(2026, 2, 17, 12, 10, tzinfo=SP)
