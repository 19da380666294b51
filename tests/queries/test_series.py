"""The lines of charts: their points, the step of a window, gaps and marks."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from tds_new.metering.worker import drain
from tds_new.models import (
    ConsumoBloco,
    ConsumoCongelado,
    Dispositivo,
    LeituraDispositivo,
    RevisaoLeitura,
    VigenciaParametros,
)
from tds_new.queries.points import Point, Quality, Series
from tds_new.queries.series import series
from tds_new.queries.window import MONTH, Window, step_for
from tds_new.storage import rollups
from tests.support import factories

SP = ZoneInfo("America/Sao_Paulo")
DAY = date(2026, 2, 18)
NOON = datetime(2026, 2, 18, 12, 0, tzinfo=SP)
MIN = timedelta(minutes=1)
QUARTER = 15 * MIN
ONE_DAY = timedelta(days=1)

pytestmark = pytest.mark.django_db


def series_of(device: Dispositivo, window: Window, now: datetime = NOON + ONE_DAY) -> Series:
    device = Dispositivo.objects.select_related("gateway").get(pk=device.pk)
    (found,) = series(device.conta, [device], window, now)
    return found


def of_day(device: Dispositivo, first_day: date = DAY, last_day: date = DAY) -> Series:
    return series_of(device, Window.between(first_day, last_day, SP))


def closely(device: Dispositivo) -> Series:
    return series_of(device, Window.last(timedelta(hours=6), NOON + timedelta(hours=1), SP))


def meter(tipo_leitura: str = "ACUMULADA", **fields: Any) -> Dispositivo:
    return factories.device(factories.gateway(factories.conta(), **fields), tipo_leitura=tipo_leitura)


def sensor() -> Dispositivo:
    return factories.device(factories.gateway(factories.conta()), "D03", "TEMPERATURA", "°C", "INSTANTANEA")


# --- consumption, out of blocks ---


def test_a_day_of_a_register_is_drawn_as_the_mean_rate_of_its_blocks() -> None:
    device = meter()
    factories.readings(device, factories.points(NOON, 5 * MIN, [1000, 1001, 1002, 1003, 1003, 1003, 1003]))

    found = of_day(device)

    assert found.step == QUARTER
    assert found.points[:2] == [
        Point(NOON, 12.0, None, None, 3),
        Point(NOON + QUARTER, 0.0, None, None, 3),
    ]


def test_a_block_that_is_still_filling_is_drawn_by_the_time_that_was_measured() -> None:
    device = meter()
    factories.readings(device, factories.points(NOON, 5 * MIN, [0, 1, 2, 3, 4]))

    assert [p.mean for p in of_day(device).points] == [12.0, 12.0]


def test_increments_are_the_rate_of_their_interval_also_in_a_block_that_is_not_full() -> None:
    device = meter("INCREMENTAL")
    factories.readings(device, factories.points(NOON - 5 * MIN, 5 * MIN, [1, 1, 1, 1, 1, 1]))

    assert [p.mean for p in of_day(device).points] == [12.0, 12.0, 12.0]


def test_an_outage_of_a_register_is_marked_as_interpolated() -> None:
    device = meter()
    factories.readings(
        device,
        [
            *factories.points(NOON, 5 * MIN, [0, 1, 2, 3]),
            *factories.points(NOON + 75 * MIN, 5 * MIN, [9, 10, 11, 12]),
        ],
    )

    points = of_day(device).points

    assert [(p.mean, p.quality) for p in points] == [
        (12.0, Quality.MEASURED),
        *[(6.0, Quality.INTERPOLATED)] * 4,
        (12.0, Quality.MEASURED),
        (None, Quality.MEASURED),  # a reading at the edge, and nothing after it
    ]


def test_a_register_that_began_again_is_marked_as_estimated() -> None:
    device = meter()
    factories.readings(device, factories.points(NOON, 5 * MIN, [1000, 1001, 3, 4, 5, 6]))

    assert of_day(device).points[0].quality is Quality.ESTIMATED


def test_increments_before_and_after_a_change_of_rhythm_are_each_drawn_at_their_own() -> None:
    device = meter("INCREMENTAL", intervalo_esperado_s=10)
    few = factories.points(NOON, QUARTER, [3] * 4)  # every 15 minutes, as out of a gateway's memory
    many = factories.points(NOON + 4 * QUARTER, MIN / 6, [0.1] * 225)
    factories.readings(device, [*few, *many])

    means = [p.mean for p in of_day(device).points]

    # Of the first nothing else is known than that it should cover 10 seconds.
    assert means == pytest.approx([1080.0, 12.0, 12.0, 12.0, 0.4, 36.0, 36.0, 36.0])


def test_increments_once_an_hour_are_the_rate_of_the_hour() -> None:
    device = meter("INCREMENTAL", intervalo_esperado_s=3600)
    factories.readings(device, factories.points(NOON, 4 * QUARTER, [2, 2, 2]))

    assert [p.mean for p in of_day(device).points] == [2.0] * 12 + [None]
    assert [p.mean for p in of_day(device, DAY - 20 * ONE_DAY).points] == [2.0] * 3 + [None]


def test_increments_that_the_first_edition_booked_after_their_hour_are_the_rate_of_the_hour() -> None:
    device = meter("INCREMENTAL", intervalo_esperado_s=3600)
    for hour in range(3):
        factories.block(device, NOON + hour * 4 * QUARTER, 2, leituras=1).save(force_insert=True)

    assert [p.mean for p in of_day(device).points] == [2.0, 2.0, 2.0]


def test_an_increment_over_an_outage_is_spread_over_it_and_marked_as_interpolated() -> None:
    device = meter("INCREMENTAL")
    before, after = (factories.points(NOON + h * timedelta(hours=1), 5 * MIN, [1] * 6) for h in (-6, 0))
    factories.readings(device, [*before, *after])

    points = of_day(device).points

    spread = [p for p in points if p.quality is Quality.INTERPOLATED]
    assert len(spread) == 23  # 5 h 35 min
    assert [p.mean for p in spread[1:-1]] == pytest.approx([1 / (335 / 60)] * 21, abs=0.0001)
    assert [p.mean for p in points if p.quality is Quality.MEASURED] == [12.0] * 4


def test_a_device_that_sends_once_a_day_still_has_a_line() -> None:
    device = meter()
    factories.readings(device, factories.points(NOON - timedelta(days=4), ONE_DAY, [0, 24, 72, 96, 120]))

    found = of_day(device, DAY - timedelta(days=6))

    assert {p.mean for p in found.points if p.mean is not None} == {1.0, 2.0}
    assert {p.quality for p in found.points if p.mean is not None} == {Quality.INTERPOLATED}


def test_what_was_measured_before_the_window_reaches_into_it() -> None:
    device = meter()
    midnight = datetime(2026, 2, 18, tzinfo=SP)
    factories.readings(device, [(midnight - 2 * MIN, 10), (midnight + 3 * MIN, 11)])

    assert [(p.start, p.mean) for p in of_day(device).points] == [(midnight, pytest.approx(12.0))]


def test_the_readings_of_devices_with_one_code_stay_two_series() -> None:
    owner = factories.conta()
    here, there = (factories.device(factories.gateway(owner, codigo), "D01") for codigo in ("GW-1", "GW-2"))
    factories.readings(here, factories.points(NOON, 5 * MIN, [0, 1]))
    factories.readings(there, factories.points(NOON, 5 * MIN, [500, 502]))

    both = series(owner, list(Dispositivo.objects.order_by("pk")), Window.between(DAY, DAY, SP), NOON)

    assert [(s.device.pk, [p.mean for p in s.points]) for s in both] == [
        (here.pk, [12.0]),
        (there.pk, [24.0]),
    ]


# --- out of readings ---


def test_a_window_of_hours_shows_each_pair_of_readings() -> None:
    device = meter()
    factories.readings(device, factories.points(NOON, 5 * MIN, [1000, 1001, 1003, 1003]))

    # The pair that ends at 12:05 counts in the minute that ends then.
    assert [(p.start, p.mean) for p in closely(device).points] == [
        (NOON + 4 * MIN, 12.0),
        (NOON + 9 * MIN, 24.0),
        (NOON + 14 * MIN, 0.0),
    ]


def test_several_readings_in_a_minute_give_consumption_over_hours_not_a_mean_of_rates() -> None:
    device = meter(intervalo_esperado_s=60)
    factories.readings(device, [(NOON, 0), (NOON + MIN / 6, 1), (NOON + MIN, 1)])

    assert [p.mean for p in closely(device).points] == [
        pytest.approx(60.0)
    ]  # 1 kWh in a minute, not (360 + 0) / 2


def test_seen_closely_a_register_is_what_the_ledger_made_of_it() -> None:
    """A reset counts its lower bound, a spike nothing, and a dip is no reading.

    What is discarded counts nothing, and a jump is a gap.
    """
    device = meter()
    Dispositivo.objects.filter(pk=device.pk).update(consumo_maximo_hora=100, tolerancia_queda=1)
    factories.readings(device, factories.points(NOON, 5 * MIN, [1000, 1001, 5, 6, 9000, 8, 7.5, 9, 9.5, 10]))
    RevisaoLeitura.objects.create(
        dispositivo=device, leitura_em=NOON + 40 * MIN, decisao="DESCARTADA", motivo="teste"
    )
    drain()

    # 9000 and the 9.5 of 12:40 are left out, so is 7.5: the pair around each of them takes ten minutes.
    assert [p.mean for p in closely(device).points] == pytest.approx([12.0, 60.0, 12.0, 12.0, 6.0, 6.0])


def test_seen_closely_a_corrected_value_stands_for_the_one_received() -> None:
    device = meter()
    factories.readings(device, factories.points(NOON, 5 * MIN, [1000, 1001, 9001, 1003]))
    RevisaoLeitura.objects.create(
        dispositivo=device, leitura_em=NOON + 10 * MIN, decisao="", valor_corrigido=1002, motivo="teste"
    )
    drain()

    assert [p.mean for p in closely(device).points] == [12.0] * 3


def test_seen_closely_an_increment_stamped_with_its_start_counts_until_the_next() -> None:
    device = meter("INCREMENTAL")
    Dispositivo.objects.update(carimbo="INICIO")
    factories.readings(device, factories.points(NOON, 5 * MIN, [1, 2, 3]))

    assert [(p.start, p.mean) for p in closely(device).points] == [
        (NOON + 4 * MIN, 12.0),
        (NOON + 9 * MIN, 24.0),
    ]


def test_a_net_register_is_drawn_below_zero_closely_and_by_blocks() -> None:
    device = meter("SALDO")
    factories.readings(device, factories.points(NOON, 5 * MIN, [100, 99, 98, 97]))

    assert [p.mean for p in closely(device).points] == [-12.0] * 3
    assert [p.mean for p in of_day(device).points if p.mean is not None] == [-12.0]


def test_seen_closely_a_jump_that_nobody_has_approved_is_a_gap() -> None:
    device = meter()
    Dispositivo.objects.filter(pk=device.pk).update(consumo_maximo_hora=100)
    factories.readings(device, factories.points(NOON, 5 * MIN, [1000, 1001, 9001, 9002, 9003, 9004]))

    assert [p.mean for p in closely(device).points] == [12.0, None, 12.0, 12.0, 12.0]


def test_seen_closely_a_value_is_times_the_factor_in_force() -> None:
    device, gauge = (
        meter(),
        factories.device(factories.gateway(factories.conta()), "D03", "TEMPERATURA", "°C", "INSTANTANEA"),
    )
    Dispositivo.objects.update(fator_conversao=10)
    for one in (device, gauge):
        VigenciaParametros.objects.create(
            dispositivo=one, desde=NOON + 7 * MIN, fator_conversao=2, motivo="TC"
        )
        factories.readings(one, factories.points(NOON, 5 * MIN, [5, 6, 7]))

    assert [p.mean for p in closely(device).points] == [120.0, 24.0]
    assert [(p.mean, p.last) for p in closely(gauge).points] == [(50.0, 50.0), (60.0, 60.0), (14.0, 14.0)]


def test_where_the_readings_were_dropped_a_gauge_is_drawn_out_of_blocks() -> None:
    gauge = sensor()
    factories.readings(gauge, factories.points(NOON, 5 * MIN, [5, 6, 7, 8]))
    ConsumoCongelado.objects.create(ate=NOON + ONE_DAY)
    LeituraDispositivo.objects.all().delete()

    found = of_day(gauge)

    assert found.step == QUARTER
    assert [(p.mean, p.minimum, p.maximum) for p in found.points] == [(6.0, 5.0, 7.0), (8.0, 8.0, 8.0)]


def test_seen_closely_an_outage_is_a_gap_and_not_a_long_mean() -> None:
    device = meter()
    before = factories.points(NOON - timedelta(hours=4), 5 * MIN, range(20))
    factories.readings(device, [*before, *factories.points(NOON, 5 * MIN, range(100, 110))])

    found = closely(device)

    assert [p.mean for p in found.points].count(None) == 1
    assert max(p.mean for p in found.points if p.mean is not None) == 12.0


def test_a_gauge_has_mean_least_greatest_and_last_and_may_be_negative() -> None:
    device = sensor()
    factories.readings(device, [(NOON, -5), (NOON + MIN, 2), (NOON + 2 * MIN, -3)])

    assert of_day(device).points == [Point(NOON, -2.0, -5.0, 2.0, 3, last=-3.0)]
    assert of_day(device, DAY - timedelta(days=5)).points == [Point(NOON, -2.0, -5.0, 2.0, 3, last=-3.0)]


# --- resolution ---


@pytest.mark.parametrize(
    ("duration", "points", "step"),
    [
        (timedelta(hours=6), 800, MIN),
        (timedelta(hours=6), 300, 5 * MIN),
        (timedelta(hours=25), 800, 5 * MIN),
        (ONE_DAY, 200, QUARTER),
        (7 * ONE_DAY, 800, QUARTER),
        (7 * ONE_DAY, 360, timedelta(hours=1)),
        (31 * ONE_DAY + timedelta(hours=1), 800, timedelta(hours=1)),
        (31 * ONE_DAY, 360, ONE_DAY),
        (396 * ONE_DAY, 800, ONE_DAY),
        (396 * ONE_DAY, 360, MONTH),
        (3000 * ONE_DAY, 800, MONTH),
    ],
)
def test_the_step_follows_the_window_and_the_room(duration: timedelta, points: int, step: timedelta) -> None:
    assert step_for(duration, points) == step


@pytest.fixture(params=["as it is", pytest.param("kept", marks=pytest.mark.timescale)])
def keep(request: pytest.FixtureRequest, transactional_db: None) -> Any:
    """Return what has the sums stored, on TimescaleDB."""

    def refresh() -> None:
        with connection.cursor() as cursor:
            for rollup in rollups.ROLLUPS:
                cursor.execute(f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, NULL)")

    if request.param == "as it is":
        yield lambda: None
        return
    yield refresh
    rollups.drop(connection)
    rollups.create(connection, timescale=True)


@pytest.mark.parametrize(
    "zone_name", ["America/Sao_Paulo", "America/Manaus", "America/Noronha", "Asia/Kolkata"]
)
@pytest.mark.parametrize("step", [QUARTER, timedelta(hours=1), ONE_DAY, MONTH])
def test_points_of_any_step_and_zone_hold_the_blocks_of_their_bucket(
    keep: Callable[[], None], step: timedelta, zone_name: str
) -> None:
    device, zone = meter(), ZoneInfo(zone_name)
    first = datetime(2019, 2, 13, 5, 30, tzinfo=UTC)
    made = ConsumoBloco.objects.bulk_create(
        factories.block(device, first + n * QUARTER, n % 7)
        for n in range(5 * 96 if step < MONTH else 45 * 96)
    )
    keep()
    window = Window(
        datetime(2019, 2, 14, tzinfo=zone),
        datetime(2019, 2, 18 if step < MONTH else 28, tzinfo=zone),
        step,
        zone,
    )

    def bucket(moment: datetime) -> datetime:
        if step < ONE_DAY:
            return datetime.fromtimestamp(
                window.start.timestamp()
                + (moment - window.start.astimezone(UTC)) // step * step.total_seconds(),
                UTC,
            )
        local = datetime.combine(moment.astimezone(zone), datetime.min.time(), zone)
        return (local.replace(day=1) if step == MONTH else local).astimezone(UTC)

    expected: dict[datetime, list[Decimal]] = {}
    for block in made:
        if window.start.timestamp() <= block.bloco.timestamp() < window.end.timestamp():
            assert block.consumo is not None
            expected.setdefault(bucket(block.bloco), []).append(block.consumo)

    points = series_of(device, window, datetime(2019, 2, 18, 12, 38, tzinfo=SP)).points

    assert {p.start.astimezone(UTC): p.mean for p in points} == {
        start: pytest.approx(float(sum(consumptions)) / len(consumptions) * 4)
        for start, consumptions in expected.items()
    }


def test_an_hour_in_which_a_device_changed_gateways_is_one_point(keep: Callable[[], None]) -> None:
    device = meter()
    other = factories.gateway(device.conta, "GW-2")
    start = datetime(2019, 2, 14, 15, tzinfo=UTC)
    for n, gateway in enumerate((device.gateway, device.gateway, other, other)):
        factories.block(device, start + n * QUARTER, n, gateway_id=gateway.pk).save(force_insert=True)
    keep()
    window = Window(start, start + timedelta(hours=2), timedelta(hours=1), SP)

    assert series_of(device, window, start + ONE_DAY).points == [Point(start, 6.0, None, None, 12)]


def test_a_day_with_one_interpolated_block_is_not_marked_and_one_with_many_is() -> None:
    device = meter()
    start = datetime(2026, 1, 5, tzinfo=SP)
    for day, interpolated in ((0, 1), (1, 20)):
        ConsumoBloco.objects.bulk_create(
            factories.block(device, start + day * ONE_DAY + n * QUARTER)
            if n >= interpolated
            else factories.block(device, start + day * ONE_DAY + n * QUARTER, 1, 0, "INTERPOLADO")
            for n in range(96)
        )

    points = of_day(device, date(2025, 12, 1)).points

    assert [p.quality for p in points] == [Quality.MEASURED, Quality.INTERPOLATED]
    assert points[1].mean == 4.0


def test_daily_buckets_of_a_gauge_are_local_days() -> None:
    device = sensor()
    evening = datetime(2026, 2, 18, 23, 30, tzinfo=SP)  # the 19th in UTC
    factories.readings(device, [(evening, 20), (evening - timedelta(hours=12), 10)])

    (point,) = of_day(device, date(2025, 12, 1), date(2026, 2, 20)).points

    assert point.start.astimezone(SP) == datetime(2026, 2, 18, tzinfo=SP)
    assert (point.mean, point.minimum, point.maximum, point.last) == (15.0, 10.0, 20.0, 20.0)
