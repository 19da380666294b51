"""Consumption by local calendars, coverage, the month before, and whose it is.

Totals are held against sums that are written out here, block by block.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core import checks
from django.db import connection

from tds_new.models import ConsumoBloco, ConsumoVida, Conta, ContaAtividade, Dispositivo
from tds_new.queries.consumption import daily_consumption, month_to_date, monthly_consumption
from tds_new.queries.local_calendar import Period, previous_month_to_date
from tds_new.queries.sums import Measure, sum_periods
from tds_new.storage import rollups
from tests.support import factories

QUARTER = timedelta(minutes=15)
DAY = timedelta(days=1)
SP = ZoneInfo("America/Sao_Paulo")
# Brazil's last days of 23 and 25 hours, and the turns of months around them.
SPANS = [("2018-10-30", 8), ("2018-12-31", 2), ("2019-01-17", 4), ("2019-01-30", 4), ("2019-02-14", 6)]
NOW = datetime(2019, 2, 19, 12, 38, tzinfo=SP)
ZONES = ["America/Sao_Paulo", "America/Manaus", "America/Rio_Branco", "America/Noronha", "Asia/Kolkata"]

pytestmark = pytest.mark.django_db(transaction=True)


def refresh(end: datetime | None) -> None:
    with connection.cursor() as cursor:
        for rollup in rollups.ROLLUPS:
            cursor.execute(
                f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, %s::timestamptz)", [end]
            )


@pytest.fixture(
    params=[
        "as it is",
        pytest.param("kept in part", marks=pytest.mark.timescale),
        pytest.param("kept", marks=pytest.mark.timescale),
    ]
)
def keep(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Return what has sums stored on TimescaleDB: none, those up to a moment, or all.

    All includes the months and days that are still filling.
    """
    end = {"as it is": None, "kept in part": datetime(2019, 1, 18, 10, tzinfo=UTC), "kept": None}[
        request.param
    ]
    wanted = request.param != "as it is"

    yield lambda: refresh(end) if wanted else None
    if wanted:  # what is kept would outlive the blocks, and hide those of later tests that are older
        rollups.drop(connection)
        rollups.create(connection, timescale=True)


def store_blocks(
    device: Dispositivo,
    start: datetime,
    count: int,
    consumption: Callable[[int], object] | None = lambda _i: 1,
    **fields: Any,
) -> list[ConsumoBloco]:
    return ConsumoBloco.objects.bulk_create(
        factories.block(device, start + i * QUARTER, consumption(i) if consumption else None, **fields)
        for i in range(count)
    )


@pytest.fixture
def history() -> list[ConsumoBloco]:
    """Two meters, six decimals, in the stretches above."""
    gateway, chance = factories.gateway(factories.conta()), Random(4)
    made = []
    for codigo in ("D01", "D02"):
        device = factories.device(gateway, codigo)
        for start, days in SPANS:
            began = datetime.fromisoformat(start).replace(tzinfo=UTC)
            last = min(began + days * DAY, datetime(2019, 2, 19, 15, 45, tzinfo=UTC))
            made += store_blocks(
                device, began, (last - began) // QUARTER, lambda _i: Decimal(chance.randrange(10**7)) / 10**6
            )
    return made


def by_date(made: list[ConsumoBloco], zone: ZoneInfo, key: Callable[[date], date]) -> dict[date, Decimal]:
    sums: dict[date, Decimal] = defaultdict(Decimal)
    for block in made:
        assert block.consumo is not None
        sums[key(block.bloco.astimezone(zone).date())] += block.consumo
    return dict(sums)


def in_zone(zone_name: str) -> Conta:
    Conta.objects.update(timezone=zone_name)
    return Conta.objects.get()


@pytest.mark.parametrize("zone_name", ZONES)
def test_days_and_months_of_any_zone_are_exact_sums_of_blocks(
    history: list[ConsumoBloco], keep: Callable[[], None], zone_name: str
) -> None:
    keep()
    conta, zone = in_zone(zone_name), ZoneInfo(zone_name)
    days, months = (
        by_date(history, zone, lambda day: day),
        by_date(history, zone, lambda day: day.replace(day=1)),
    )

    (monthly,) = monthly_consumption(conta, None, NOW)
    (daily,) = daily_consumption(
        conta, list(Dispositivo.objects.all()), date(2018, 10, 1), date(2019, 2, 28), NOW
    )

    assert daily_consumption(conta, None, date(2018, 10, 1), date(2019, 2, 28), NOW) == [daily]
    assert monthly_consumption(conta, list(Dispositivo.objects.all()), NOW) == [monthly]
    assert {m.month: m.total for m in monthly.months if m.total is not None} == months
    assert {d.day: d.block_sum.total for d in daily.days if d.block_sum.total is not None} == days
    assert monthly.months[-1].month == date(2019, 2, 1)
    assert monthly.months[-1].partial


def test_ten_at_night_on_the_last_of_january_is_january(keep: Callable[[], None]) -> None:
    device = factories.device(factories.gateway(factories.conta()))
    store_blocks(device, datetime(2019, 1, 31, 22, 0, tzinfo=SP), 1, lambda _i: "0.000001")
    store_blocks(device, datetime(2019, 2, 1, 0, 0, tzinfo=SP), 1)
    keep()

    (monthly,) = monthly_consumption(device.conta, None, NOW)

    assert [m.total for m in monthly.months[-2:]] == [Decimal("0.000001"), 1]


@pytest.mark.parametrize(
    ("day", "count"),
    [(date(2018, 11, 3), 96), (date(2018, 11, 4), 92), (date(2019, 2, 16), 100), (date(2019, 2, 17), 96)],
)
def test_days_of_23_and_25_hours_are_whole(keep: Callable[[], None], day: date, count: int) -> None:
    device = factories.device(factories.gateway(factories.conta()))
    store_blocks(device, datetime(day.year, day.month, day.day, tzinfo=UTC) - DAY, 4 * 96)
    keep()

    (daily,) = daily_consumption(device.conta, [device], day, day, NOW)

    assert [(d.block_sum.total, d.block_sum.expected) for d in daily.days] == [(count, count)]


@pytest.mark.parametrize("zone_name", ZONES)
def test_the_month_so_far_stands_beside_the_same_stretch_of_the_month_before(
    history: list[ConsumoBloco], keep: Callable[[], None], zone_name: str
) -> None:
    keep()
    conta, zone = in_zone(zone_name), ZoneInfo(zone_name)
    Dispositivo.objects.update(last_seen=datetime(2019, 2, 19, 15, 37, tzinfo=UTC))
    cutoff = datetime(2019, 2, 19, 15, 30, tzinfo=UTC)  # 15:38 UTC is within a block
    local = cutoff.astimezone(zone)
    before = local.replace(month=1).astimezone(UTC)

    def total(start: datetime, end: datetime) -> Decimal:
        return sum((b.consumo or Decimal(0) for b in history if start <= b.bloco < end), Decimal(0))

    (consumption,) = month_to_date(conta, None, NOW)

    assert consumption.previous_period == Period(datetime(2019, 1, 1, tzinfo=zone).astimezone(UTC), before)
    assert consumption.previous.total == total(consumption.previous_period.start, before)
    assert consumption.closed.total == total(datetime(2019, 2, 1, tzinfo=zone), cutoff)
    assert consumption.block_sum.total == total(datetime(2019, 2, 1, tzinfo=zone), cutoff + QUARTER)
    assert consumption.until == datetime(2019, 2, 19, 15, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("end", "start", "cutoff"),
    [
        ("2026-02-18T12:45", "2026-01-01T00:00", "2026-01-18T12:45"),
        ("2026-03-30T12:45", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("2026-03-29T00:00", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("2026-01-01T00:15", "2025-12-01T00:00", "2025-12-01T00:15"),
        ("2026-03-01T00:00", "2026-01-01T00:00", "2026-01-29T00:00"),
    ],
)
def test_the_stretch_before_is_clipped_to_the_shorter_month(end: str, start: str, cutoff: str) -> None:
    def local(text: str) -> datetime:
        return datetime.fromisoformat(text).replace(tzinfo=SP)

    assert previous_month_to_date(local(end), SP) == Period(local(start), local(cutoff))


def test_a_year_before_stands_beside_each_month(keep: Callable[[], None]) -> None:
    device = factories.device(factories.gateway(factories.conta()))
    for year, consumption in ((2017, "1.5"), (2018, "2.25"), (2019, "4")):
        store_blocks(device, datetime(year, 2, 3, tzinfo=UTC), 2, lambda _i, c=consumption: c)
    keep()

    (monthly,) = monthly_consumption(device.conta, [device], NOW)

    assert [(m.total, m.year_before) for m in (monthly.months[0], monthly.months[1], monthly.months[-1])] == [
        (Decimal("4.5"), 3),
        (None, None),
        (8, Decimal("4.5")),
    ]


def test_coverage_counts_what_was_measured_of_what_should_have_been(keep: Callable[[], None]) -> None:
    gateway = factories.gateway(factories.conta())
    device = factories.device(gateway)
    start = datetime(2019, 2, 1, tzinfo=SP)
    store_blocks(device, start, 60)
    store_blocks(device, start + 60 * QUARTER, 20, fraction="0.5", quality="INTERPOLADO")
    store_blocks(device, start + 80 * QUARTER, 10, fraction=0, quality="ESTIMADO")
    Dispositivo.objects.update(last_seen=start + 89 * QUARTER)
    keep()

    (consumption,) = month_to_date(device.conta, None, start + 100 * QUARTER)

    assert (consumption.closed.expected, consumption.closed.measured, consumption.closed.blocks) == (
        100,
        70,
        90,
    )
    assert (
        consumption.block_sum.coverage,
        consumption.block_sum.interpolated_share,
        consumption.block_sum.estimated_share,
    ) == (
        Decimal("0.7"),
        Decimal("0.2"),
        Decimal("0.1"),
    )
    assert consumption.until == start + 90 * QUARTER


def test_a_meter_that_fell_silent_is_missed_and_one_that_left_or_was_switched_off_is_not(
    keep: Callable[[], None],
) -> None:
    conta, other = factories.conta(), factories.conta("Outra")
    start = datetime(2019, 2, 1, tzinfo=SP)
    silent, left, switched_off = (factories.device(factories.gateway(conta, f"GW-{n}")) for n in range(3))
    for device in (silent, left, switched_off):
        store_blocks(device, start, 96)
    left.gateway.conta = other
    left.gateway.save()
    Dispositivo.objects.filter(pk=switched_off.pk).update(status="INATIVO")
    Dispositivo.objects.update(last_seen=start + 96 * QUARTER)
    keep()
    three_days = [Period(start + n * DAY, start + (n + 1) * DAY) for n in range(3)]

    (energy,) = sum_periods(conta, None, three_days, NOW)

    assert [s.expected for s in energy.periods] == [3 * 96, 96, 96]
    assert [s.total for s in energy.periods] == [3 * 96, None, None]


def test_a_meter_is_expected_from_its_first_data_on(keep: Callable[[], None]) -> None:
    device = factories.device(factories.gateway(factories.conta()))
    start = datetime(2019, 2, 1, tzinfo=SP)
    Dispositivo.objects.update(created_at=start + 3 * DAY + timedelta(hours=12))
    store_blocks(device, start + 3 * DAY + timedelta(hours=12), 48)
    keep()

    (energy,) = sum_periods(device.conta, None, [Period(start, start + 4 * DAY)], NOW)

    assert (energy.periods[0].expected, energy.periods[0].coverage) == (48, 1)


def test_a_meter_silent_for_longer_than_is_looked_at_counts_as_missing() -> None:
    device = factories.device(factories.gateway(factories.conta()))
    store_blocks(device, datetime(2018, 6, 1, tzinfo=UTC), 1)

    (consumption,) = month_to_date(device.conta, None, NOW)

    assert (consumption.block_sum.total, consumption.block_sum.coverage, consumption.until) == (None, 0, None)


@pytest.mark.parametrize(
    ("latest", "until"),
    [
        ("12:36:10", "12:36:10"),  # within the block that is still filling
        ("12:40", "12:38"),  # a meter whose clock is ahead
        ("12:47", "12:38"),
        ("12:29:59", "12:30"),
        ("12:01", "12:15"),
    ],
)
def test_a_figure_is_as_old_as_its_last_block(latest: str, until: str) -> None:
    def today(clock: str) -> datetime:
        return datetime.combine(date(2019, 2, 19), time.fromisoformat(clock), SP)

    device = factories.device(factories.gateway(factories.conta()))
    store_blocks(device, datetime(2019, 2, 19, 12, tzinfo=SP), 3)
    Dispositivo.objects.update(last_seen=today(latest))

    (consumption,) = month_to_date(device.conta, None, NOW)

    assert consumption.until == today(until)


def test_a_figure_is_not_called_newer_than_what_was_computed() -> None:
    device = factories.device(factories.gateway(factories.conta()))
    store_blocks(device, datetime(2019, 2, 19, 11, tzinfo=SP), 3)
    Dispositivo.objects.update(last_seen=NOW)

    (consumption,) = month_to_date(device.conta, None, NOW)

    assert consumption.until == datetime(2019, 2, 19, 11, 45, tzinfo=SP)


def test_a_transferred_meters_months_stay_with_the_conta_that_they_were_measured_for(
    keep: Callable[[], None],
) -> None:
    old, new = factories.conta("Antiga"), factories.conta("Nova")
    device = factories.device(factories.gateway(old))
    store_blocks(device, datetime(2019, 1, 31, 12, tzinfo=UTC), 4, lambda _i: 2)
    store_blocks(device, datetime(2019, 2, 18, 12, tzinfo=UTC), 4, lambda _i: 3)
    device.gateway.conta = new
    device.gateway.save()
    store_blocks(Dispositivo.objects.get(), datetime(2019, 2, 18, 13, tzinfo=UTC), 4, lambda _i: 5)
    keep()

    (of_old,), (of_new,) = monthly_consumption(old, None, NOW), monthly_consumption(new, None, NOW)

    assert [m.total for m in of_old.months[-2:]] == [8, 12]
    assert [m.total for m in of_new.months[-2:]] == [None, 20]
    assert monthly_consumption(old, [Dispositivo.objects.get()], NOW)[0].months[-1].total == 12
    assert monthly_consumption(factories.conta("Terceira"), [Dispositivo.objects.get()], NOW) == []


def test_nothing_of_no_devices() -> None:
    assert monthly_consumption(factories.conta(), [], NOW) == []


def test_a_month_is_one_statement_whatever_the_devices(
    history: list[ConsumoBloco], django_assert_max_num_queries: object
) -> None:
    conta = Conta.objects.get()
    month_to_date(conta, None, NOW)

    with django_assert_max_num_queries(2):  # type: ignore[operator]
        month_to_date(conta, None, NOW)


def extents() -> dict[tuple[int, int], tuple[datetime, datetime]]:
    return {(v.conta_id, v.dispositivo_id): (v.primeiro, v.ultimo) for v in ConsumoVida.objects.all()}


def test_how_long_a_device_measured_for_a_conta_follows_its_blocks() -> None:
    other, gateway = factories.conta("Outra"), factories.gateway(factories.conta())
    device, thermometer = (factories.device(gateway, codigo) for codigo in ("D01", "D02"))
    t = datetime(2026, 1, 5, 12, tzinfo=UTC)
    key = device.conta_id, device.pk
    store_blocks(thermometer, t, 4, consumption=None)
    store_blocks(device, t, 1)
    store_blocks(device, t + 4 * QUARTER, 2)
    store_blocks(device, t - DAY, 1, conta_id=other.pk)
    assert extents() == {key: (t, t + 5 * QUARTER), (other.pk, device.pk): (t - DAY, t - DAY)}
    ConsumoBloco.objects.filter(bloco=t + 4 * QUARTER).delete()
    ConsumoBloco.objects.filter(bloco=t, dispositivo=device).update(consumo=None)
    assert extents()[key] == (t + 5 * QUARTER, t + 5 * QUARTER)
    ConsumoBloco.objects.filter(bloco=t, dispositivo=device).update(consumo=0)
    assert extents()[key] == (t, t + 5 * QUARTER)
    ConsumoBloco.objects.filter(dispositivo=device).delete()
    assert extents() == {}


def test_a_meter_that_came_today_does_not_spoil_the_months_coverage() -> None:
    gateway = factories.gateway(factories.conta())
    old, new = (factories.device(gateway, codigo) for codigo in ("D01", "D02"))
    start, end = datetime(2019, 2, 1, tzinfo=SP).astimezone(UTC), datetime(2019, 2, 19, 15, 30, tzinfo=UTC)
    store_blocks(old, start, (end - start) // QUARTER)
    store_blocks(new, end - 3 * QUARTER, 3)
    Dispositivo.objects.filter(pk=new.pk).update(created_at=end - 2 * QUARTER)

    (consumption,) = month_to_date(old.conta, None, NOW)
    assert consumption.block_sum.coverage == 1

    Dispositivo.objects.filter(pk=new.pk).update(
        created_at=end - 99 * QUARTER
    )  # registered, and silent until then
    (consumption,) = month_to_date(old.conta, None, NOW)
    assert consumption.block_sum.expected == (end - start) // QUARTER + 99


def test_a_registers_first_reading_alone_is_no_consumption_of_nothing() -> None:
    device = factories.device(factories.gateway(factories.conta()))
    factories.readings(device, [(NOW - timedelta(hours=2), 1000)])
    (consumption,) = month_to_date(device.conta, None, NOW)
    assert (consumption.block_sum.total, consumption.block_sum.blocks) == (None, 1)
    factories.readings(device, [(NOW - timedelta(hours=1), 1000)])
    (consumption,) = month_to_date(device.conta, None, NOW)
    assert consumption.block_sum.total == 0


@pytest.mark.parametrize("field", ["grandeza", "unidade"])
def test_a_device_that_gets_another_quantity_takes_its_consumption_along(
    keep: Callable[[], None], field: str
) -> None:
    device = factories.device(factories.gateway(factories.conta()))
    ContaAtividade.objects.create(conta=device.conta)
    store_blocks(device, datetime(2019, 1, 5, tzinfo=UTC), 40 * 96)
    keep()
    period = Period(datetime(2019, 1, 2, tzinfo=UTC), NOW)
    (before,) = sum_periods(device.conta, None, [period], NOW)
    Dispositivo.objects.filter(pk=device.pk).update(**{field: "GAS" if field == "grandeza" else "MWh"})
    keep()

    (after,) = sum_periods(device.conta, None, [period], NOW)

    assert after.measure == Measure("GAS" if field == "grandeza" else "ENERGIA", "kWh")
    times = 1 if field == "grandeza" else 1000  # MWh, in the kWh of the total
    assert after.periods[0].total == times * before.periods[0].total
    assert ContaAtividade.objects.get().consumo_seq == 1


@pytest.mark.timescale
def test_another_zone_in_the_settings_than_in_the_tables_changes_no_figure(settings: Any) -> None:
    device = factories.device(factories.gateway(factories.conta()))
    store_blocks(device, datetime(2019, 1, 28, tzinfo=UTC), 12 * 96, lambda i: i)
    refresh(None)
    days = date(2019, 1, 29), date(2019, 2, 8)
    try:
        expected = [daily_consumption(device.conta, devices, *days, NOW) for devices in (None, [device])]
        settings.TDS_TIME_ZONE = "America/Manaus"
        assert [
            daily_consumption(device.conta, devices, *days, NOW) for devices in (None, [device])
        ] == expected
        (error,) = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
        assert "days and months in this database are those of America/Sao_Paulo" in error.msg
    finally:
        settings.TDS_TIME_ZONE = "America/Sao_Paulo"
        rollups.drop(connection)
        rollups.create(connection, timescale=True)
    assert checks.run_checks(tags=[checks.Tags.database], databases=["default"]) == []
