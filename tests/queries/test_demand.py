"""The peak demand of blocks: which blocks count, and whose."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from tds_new.models import ConsumoBloco, Dispositivo
from tds_new.queries import demand
from tds_new.queries.demand import Peak, greatest_peak, peaks
from tds_new.storage import rollups
from tests.support import factories

START = datetime(2026, 2, 1, 3, tzinfo=UTC)
END = datetime(2026, 3, 1, 3, tzinfo=UTC)
QUARTER = timedelta(minutes=15)

pytestmark = pytest.mark.django_db


def store_block(device: Dispositivo, when: datetime, consumption: str, *args: str, **fields: int) -> None:
    factories.block(device, when, consumption, *args, **fields).save(force_insert=True)


def test_the_peak_is_the_greatest_block_over_a_quarter_of_an_hour_the_earliest_of_equals() -> None:
    meter = factories.device(factories.gateway(factories.conta()))
    for i, consumption in enumerate(["1.000001", "2.500003", "2.500003", "0"]):
        store_block(meter, START + i * QUARTER, consumption)
    store_block(meter, START - QUARTER, "9")
    store_block(meter, END, "9")

    assert peaks(meter.conta, [meter], START, END) == {meter.pk: Peak(Decimal("10.000012"), START + QUARTER)}


@pytest.mark.parametrize(
    ("fraction", "quality"), [("0.9999", "MEDIDO"), ("1", "INTERPOLADO"), ("1", "ESTIMADO")]
)
def test_a_block_that_is_not_measured_in_full_determines_no_peak(fraction: str, quality: str) -> None:
    meter = factories.device(factories.gateway(factories.conta()))
    store_block(meter, START, "5", fraction, quality)

    assert peaks(meter.conta, [meter], START, END) == {meter.pk: None}


def test_increments_of_more_than_a_block_determine_no_demand() -> None:
    gateway = factories.gateway(factories.conta(), intervalo_esperado_s=3600)
    hourly, register = (
        factories.device(gateway, tipo_leitura="INCREMENTAL"),
        factories.device(gateway, "D02"),
    )
    for meter in (hourly, register):
        store_block(meter, START, "5")

    assert peaks(hourly.conta, [hourly, register], START, END) == {
        hourly.pk: None,
        register.pk: Peak(Decimal(20), START),
    }
    assert greatest_peak(hourly.conta, [hourly], START, END) is None


def test_blocks_of_another_conta_and_foreign_devices_stay_out() -> None:
    meter, other = factories.device(factories.gateway(factories.conta())), factories.conta("Outra")
    store_block(meter, START, "7", conta_id=other.pk)

    assert peaks(meter.conta, [meter], START, END) == {meter.pk: None}
    assert peaks(other, [meter], START, END) == {}
    assert greatest_peak(meter.conta, [meter], START, END) is None
    assert greatest_peak(other, [meter], START, END) is None


def test_the_greatest_of_several_devices_names_its_device_and_the_earliest_moment() -> None:
    gateway = factories.gateway(factories.conta())
    one, two = (factories.device(gateway, codigo) for codigo in ("D01", "D02"))
    store_block(one, START + QUARTER, "3")
    store_block(two, START + 3 * QUARTER, "4")
    store_block(two, START + 90 * QUARTER, "4")
    store_block(two, START + 95 * QUARTER, "9", "0.5")

    assert greatest_peak(one.conta, [one, two], START, END) == (two, Peak(Decimal(16), START + 3 * QUARTER))


@pytest.mark.timescale
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("zone_name", ["America/Sao_Paulo", "America/Manaus", "Asia/Kolkata"])
def test_the_greatest_of_very_many_devices_is_found_by_their_contas_sums(
    zone_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, chance, zone = factories.gateway(factories.conta()), Random(zone_name), ZoneInfo(zone_name)
    many = [factories.device(gateway, f"D{n}") for n in range(6)]
    outside = factories.device(gateway, "FORA")
    water = factories.device(gateway, "AGUA", "AGUA", "m3")
    store_block(water, START + 900 * QUARTER, "2000")
    for i in range(400):
        store_block(
            chance.choice(many),
            START + i * 7 * QUARTER,
            str(chance.randrange(300)),
            chance.choice(["1", "1", "0.9"]),
        )
    with connection.cursor() as cursor:
        for rollup in rollups.ROLLUPS:
            cursor.execute(f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, NULL)")
    try:
        for first, until_day, foreign in ((1, 28, None), (3, 4, None), (7, 20, None), (7, 20, "1000")):
            start, end = (
                datetime(2026, 2, first, tzinfo=zone),
                datetime(2026, 2, until_day, 12, 15, tzinfo=zone),
            )
            if foreign:
                store_block(outside, start + timedelta(hours=2), foreign)  # greater, and nobody asks about it
            for now in (end, END):
                monkeypatch.setattr(demand, "MANY_DEVICES", 99)
                expected = greatest_peak(gateway.conta, many, start, end, now)
                assert expected is not None
                monkeypatch.setattr(demand, "MANY_DEVICES", 1)
                assert greatest_peak(gateway.conta, many, start, end, now) == expected
    finally:
        rollups.drop(connection)
        rollups.create(connection, timescale=True)


@pytest.mark.timescale
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("zone_name", ["America/Sao_Paulo", "America/Manaus", "Asia/Kolkata"])
def test_peaks_out_of_kept_sums_are_those_of_the_blocks(zone_name: str) -> None:
    meter, chance, zone = (
        factories.device(factories.gateway(factories.conta())),
        Random(zone_name),
        ZoneInfo(zone_name),
    )
    for i in range(400):
        store_block(
            meter, START + i * 7 * QUARTER, str(chance.randrange(300)), chance.choice(["1", "1", "0.9"])
        )
    with connection.cursor() as cursor:
        for rollup in rollups.ROLLUPS:
            cursor.execute(f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, NULL)")
    try:
        for first, until_day in ((1, 28), (3, 4), (7, 20)):
            start, end = (
                datetime(2026, 2, first, tzinfo=zone),
                datetime(2026, 2, until_day, 12, 15, tzinfo=zone),
            )
            candidates = [
                b
                for b in ConsumoBloco.objects.order_by("bloco")
                if start <= b.bloco < end and b.fracao_medida == 1
            ]
            greatest = max(candidates, key=lambda b: b.consumo or Decimal(0))
            assert greatest.consumo
            for now in (end, END):
                assert peaks(meter.conta, [meter], start, end, now) == {
                    meter.pk: Peak(greatest.consumo * 4, greatest.bloco)
                }
    finally:
        rollups.drop(connection)
        rollups.create(connection, timescale=True)
