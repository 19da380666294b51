"""Totals by role and structure: what counts, in which unit, and that a change holds at once."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from django.db import connection

from tds_new.models import ConsumoBloco, ConsumoEstado, Conta, Dispositivo, Gateway, OcorrenciaMedicao
from tds_new.queries.consumption import month_to_date, monthly_consumption
from tds_new.queries.finality import MeasureFinality, finality
from tds_new.queries.fleet import active_devices
from tds_new.queries.local_calendar import Period
from tds_new.queries.meters import consumption_by_meter, in_structure
from tds_new.queries.sums import Measure, counted, sum_periods
from tds_new.storage import rollups
from tds_new.storage.timescale import has_timescale
from tests.support import factories
from tests.support.sums import refresh

QUARTER, DAY = timedelta(minutes=15), timedelta(days=1)
START = datetime(2026, 2, 1, 3, tzinfo=UTC)  # midnight in São Paulo
NOW = datetime(2026, 2, 18, 15, 2, 30, tzinfo=UTC)
MONTH = Period(START, NOW)
ENERGY, FED_IN = Measure("ENERGIA", "kWh"), Measure("ENERGIA", "kWh", "INJECAO")
WATER, GAS = Measure("AGUA", "m³"), Measure("GAS", "m³")

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["as it is", pytest.param("kept", marks=pytest.mark.timescale)])
def keep(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Return what has all sums stored on TimescaleDB, or none."""
    wanted = request.param != "as it is"
    yield lambda: refresh() if wanted else None
    if wanted:  # what is kept would outlive the blocks
        rollups.drop(connection)
        rollups.create(connection, timescale=True)


@pytest.fixture
def gateway() -> Gateway:
    return factories.gateway(factories.conta())


def meter(behind: Gateway, codigo: str, unit: str = "kWh", **fields: Any) -> Dispositivo:
    device = Dispositivo(gateway=behind, codigo=codigo, unidade=unit, **fields)
    device.save()
    device.refresh_from_db()
    return device


def consumed(device: Dispositivo, amount: object, start: datetime = START) -> None:
    """Store a block of this consumption, in the unit of the device's blocks."""
    factories.block(device, start, amount).save(force_insert=True)


def totals(conta: Conta, devices: list[Dispositivo] | None = None) -> dict[Measure, Decimal | None]:
    return {sums.measure: sums.periods[0].total for sums in sum_periods(conta, devices, [MONTH], NOW)}


def rest(conta: Conta) -> dict[str, Decimal]:
    """What no sub-meter covers, by the code of the main meter."""
    rows = consumption_by_meter(conta, in_structure(active_devices(conta)), MONTH, NOW)
    return {row.meter.codigo: row.uncovered for row in rows if row.uncovered is not None}


# --- what a total is made of ---


def test_the_rules_example_of_roles_and_sub_meters(keep: Callable[[], None], gateway: Gateway) -> None:
    main = meter(gateway, "GERAL")
    consumed(main, 30)
    for codigo, amount, fields in (
        ("AP1", 12, {"medidor_pai": main}),
        ("AP2", 10, {"medidor_pai": main}),
        ("SOL", 20, {"papel": "INJECAO"}),
        ("T", 7, {"papel": "INFORMATIVO"}),
    ):
        consumed(meter(gateway, codigo, **fields), amount)
    consumed(meter(gateway, "AGUA", "m³", grandeza="AGUA", medidor_pai=main), 3)
    keep()

    assert totals(gateway.conta) == {WATER: 3, ENERGY: 30, FED_IN: 20}
    assert totals(gateway.conta, active_devices(gateway.conta)) == totals(gateway.conta)
    assert rest(gateway.conta) == {"GERAL": 8}


def test_import_and_export_of_one_meter_stand_apart(gateway: Gateway) -> None:
    at = datetime(2026, 2, 5, 8, tzinfo=UTC)
    bought, sold = meter(gateway, "IMP"), meter(gateway, "EXP", papel="INJECAO")
    factories.readings(bought, [(at, 100), (at + 4 * QUARTER, 112)])
    factories.readings(sold, [(at, 500), (at + 4 * QUARTER, 520)])

    assert totals(gateway.conta) == {ENERGY: 12, FED_IN: 20}
    (consumption, injection) = monthly_consumption(gateway.conta, None, NOW)
    assert [consumption.months[-1].total, injection.months[-1].total] == [12, 20]


def test_a_main_meter_and_its_sub_meters_are_counted_once(gateway: Gateway) -> None:
    at = datetime(2026, 2, 5, 8, tzinfo=UTC)
    main = meter(gateway, "GERAL")
    for device, first, last in (
        (main, 100, 130),
        (meter(gateway, "AP1", medidor_pai=main), 50, 62),
        (meter(gateway, "AP2", medidor_pai=main), 70, 80),
    ):
        factories.readings(device, [(at, first), (at + 4 * QUARTER, last)])

    assert totals(gateway.conta) == {ENERGY: 30}
    assert rest(gateway.conta) == {"GERAL": 8}


def test_units_of_a_group_add_up_exactly_and_pulses_are_in_the_unit_of_their_consumption(
    keep: Callable[[], None], gateway: Gateway
) -> None:
    consumed(meter(gateway, "A", "Wh"), "0.000001")
    consumed(meter(gateway, "B", "kwh"), "1.000001")
    consumed(meter(gateway, "C", "MWh"), "0.002")
    consumed(meter(gateway, "D", "pulsos", unidade_consumo="kWh", fator_conversao="0.5"), "4")
    consumed(meter(gateway, "E", "L", grandeza="AGUA"), "250")
    consumed(meter(gateway, "F", "pulsos", grandeza="AGUA", unidade_consumo="m³"), "2")
    consumed(meter(gateway, "G", "pulsos", grandeza="GAS"), "9")
    keep()

    assert totals(gateway.conta) == {
        ENERGY: Decimal("7.000001001"),
        WATER: Decimal("2.25"),
        Measure("GAS", "pulsos"): 9,
    }


def test_a_net_register_may_take_away_from_a_total(keep: Callable[[], None], gateway: Gateway) -> None:
    net = meter(gateway, "SALDO", tipo_leitura="SALDO")
    consumed(net, 3)
    consumed(net, -5, START + QUARTER)
    Dispositivo.objects.update(last_seen=NOW)
    keep()

    assert totals(gateway.conta) == {ENERGY: -2}
    (consumption,) = month_to_date(gateway.conta, None, NOW)
    assert (consumption.block_sum.total, consumption.block_sum.devices) == (-2, 1)


def test_a_total_says_how_many_meters_it_is_made_of(keep: Callable[[], None], gateway: Gateway) -> None:
    main = meter(gateway, "GERAL")
    for device, start in (
        (main, START),
        (meter(gateway, "SUB", medidor_pai=main), START),
        (meter(gateway, "OUTRO", "Wh"), START + 10 * DAY),
    ):
        consumed(device, 1, start)
    meter(gateway, "NUNCA")
    Dispositivo.objects.update(created_at=START + 10 * DAY)
    keep()
    periods = [Period(START + n * DAY, START + (n + 1) * DAY) for n in (-1, 0, 10)]

    (energy,) = sum_periods(gateway.conta, None, periods, NOW)

    assert [s.devices for s in energy.periods] == [0, 1, 2]


# --- chosen devices ---


def test_of_chosen_meters_those_behind_another_chosen_one_are_left_out(gateway: Gateway) -> None:
    main = meter(gateway, "GERAL")
    floor = meter(gateway, "ANDAR", medidor_pai=main)
    flat = meter(gateway, "AP1", medidor_pai=floor)
    note = meter(gateway, "T", papel="INFORMATIVO")
    for device, amount in ((main, 30), (floor, 12), (flat, 5), (note, 7)):
        consumed(device, amount)

    def total(*chosen: Dispositivo) -> Decimal | None:
        return totals(gateway.conta, list(chosen)).get(ENERGY)

    assert [total(main, floor, flat), total(main, flat), total(floor, flat), total(flat)] == [30, 30, 12, 5]
    assert [total(flat, note), total(note)] == [5, None]
    assert counted([main, flat, note]) == [main]


# --- what no sub-meter covers ---


def test_what_sub_meters_do_not_cover_is_less_their_direct_ones_and_may_be_negative(
    keep: Callable[[], None], gateway: Gateway
) -> None:
    main = meter(gateway, "GERAL", "MWh")
    floor = meter(gateway, "ANDAR", "kWh", medidor_pai=main)
    flat = meter(gateway, "AP1", "Wh", medidor_pai=floor)
    gone = meter(gateway, "ANTIGO", "kWh", medidor_pai=main, status="INATIVO")
    silent = meter(gateway, "MUDO", medidor_pai=main)
    alone = meter(gateway, "SOZINHO")
    for device, amount in ((main, "0.03"), (floor, 12), (flat, 12_500), (gone, 3), (alone, 1)):
        consumed(device, amount)
    keep()

    rows = consumption_by_meter(gateway.conta, in_structure(active_devices(gateway.conta)), MONTH, NOW)

    assert [(row.meter.codigo, row.depth, row.sub_meters) for row in rows] == [
        ("GERAL", 0, 3),
        ("ANDAR", 1, 1),
        ("AP1", 2, 0),
        ("MUDO", 1, 0),
        ("SOZINHO", 0, 0),
    ]
    assert rest(gateway.conta) == {"GERAL": Decimal("0.015"), "ANDAR": Decimal("-0.5")}
    assert {row.meter.codigo: row.meter.consumption for row in rows}[silent.codigo] is None
    assert rows[0].meter.unidade == "MWh"


@pytest.mark.parametrize("fields", [{"papel": "INJECAO"}, {"grandeza": "GAS"}, {"status": "INATIVO"}])
def test_a_main_meter_of_another_kind_or_switched_off_counts_as_none(
    keep: Callable[[], None], gateway: Gateway, fields: dict[str, str]
) -> None:
    main = meter(gateway, "GERAL", **fields)
    sub = meter(gateway, "SUB", medidor_pai=main)
    consumed(sub, 5)
    keep()

    assert totals(gateway.conta) == {ENERGY: 5}
    assert rest(gateway.conta) == {}


# --- a changed structure ---


@pytest.mark.parametrize(
    ("codigo", "fields", "expected"),
    [
        ("SUB", {"medidor_pai": None}, {ENERGY: 42}),
        ("SUB", {"papel": "INFORMATIVO"}, {ENERGY: 30}),
        ("GERAL", {"papel": "INJECAO"}, {ENERGY: 12, FED_IN: 30}),
        ("GERAL", {"status": "INATIVO"}, {ENERGY: 42}),
        ("SUB", {"unidade_consumo": "Wh"}, {ENERGY: 30}),
    ],
)
def test_a_changed_structure_holds_at_once_for_all_times(
    keep: Callable[[], None],
    gateway: Gateway,
    codigo: str,
    fields: dict[str, Any],
    expected: dict[Measure, int],
) -> None:
    main = meter(gateway, "GERAL")
    consumed(main, 30)
    consumed(meter(gateway, "SUB", medidor_pai=main), 12)
    keep()
    assert totals(gateway.conta) == {ENERGY: 30}

    Dispositivo.objects.filter(codigo=codigo).update(**fields)

    assert totals(gateway.conta) == expected
    keep()
    assert totals(gateway.conta) == expected


@pytest.mark.parametrize("seed", range(6))
def test_any_structure_adds_up_whatever_is_kept_and_whatever_changes(
    keep: Callable[[], None], gateway: Gateway, seed: int
) -> None:
    chance = Random(seed)
    devices: list[Dispositivo] = []
    for n in range(12):
        grandeza, unit, consumption_unit = chance.choice(
            [
                ("ENERGIA", "kWh", ""),
                ("ENERGIA", "Wh", ""),
                ("ENERGIA", "pulsos", "MWh"),
                ("AGUA", "m³", ""),
                ("AGUA", "pulsos", "L"),
            ]
        )
        device = meter(
            gateway,
            f"D{n}",
            unit,
            grandeza=grandeza,
            unidade_consumo=consumption_unit,
            papel=chance.choice(["CONSUMO"] * 3 + ["INJECAO", "INFORMATIVO"]),
            medidor_pai=chance.choice([None, *devices]),
        )
        devices.append(device)
        for number in chance.sample(range(17 * 96), chance.randrange(1, 6)):
            consumed(device, Decimal(chance.randrange(-(10**6), 10**8)) / 10**6, START + number * QUARTER)
    keep()
    assert totals(gateway.conta) == by_hand(gateway.conta)

    for device in chance.sample(devices, 5):
        changed = Dispositivo.objects.get(pk=device.pk)
        changed.papel = chance.choice(["CONSUMO", "INJECAO", "INFORMATIVO"])
        changed.status = chance.choice(["ATIVO", "ATIVO", "INATIVO"])
        if changed.medidor_pai_id and chance.random() < 0.5:
            changed.medidor_pai = None
        changed.save()
    assert totals(gateway.conta) == by_hand(gateway.conta)
    keep()
    assert totals(gateway.conta) == by_hand(gateway.conta)


def by_hand(conta: Conta) -> dict[Measure, Decimal]:
    """The rules written out: a device counts where no meter that counts is in front of it."""
    scale = {"kWh": 1, "Wh": Decimal("0.001"), "MWh": 1000, "m³": 1, "L": Decimal("0.001")}
    sums: dict[Measure, Decimal] = defaultdict(Decimal)
    for device in Dispositivo.objects.filter(conta=conta).select_related("medidor_pai"):
        main = device.medidor_pai
        behind = main is not None and (main.grandeza, main.papel, main.conta_id) == (
            device.grandeza,
            device.papel,
            device.conta_id,
        )
        if device.papel == "INFORMATIVO" or (behind and main is not None and main.status != "INATIVO"):
            continue
        unit = device.unidade_consumo or device.unidade
        measure = Measure(device.grandeza, "m³" if unit in ("m³", "L") else "kWh", device.papel)
        for amount in ConsumoBloco.objects.filter(dispositivo=device).values_list("consumo", flat=True):
            sums[measure] += amount * scale[unit]
    return dict(sums)


# --- how final figures are ---


def test_figures_are_as_final_as_those_of_the_meter_that_is_furthest_behind(gateway: Gateway) -> None:
    main, other = meter(gateway, "GERAL"), meter(gateway, "OUTRO", "Wh")
    sub = meter(gateway, "SUB", medidor_pai=main)
    off = meter(gateway, "DESLIGADO", status="INATIVO")
    for device, settled, provisional in (
        (main, NOW - 2 * QUARTER, None),
        (other, NOW - 3 * QUARTER, NOW - QUARTER),
        (sub, NOW - DAY, NOW - DAY),
        (off, NOW - 9 * DAY, NOW - 9 * DAY),
    ):
        ConsumoEstado.objects.update_or_create(
            dispositivo=device, defaults={"assentado_ate": settled, "provisorio_desde": provisional}
        )

    assert finality(gateway.conta, None).measures == {
        ENERGY: MeasureFinality(ENERGY, NOW - 3 * QUARTER, NOW - QUARTER)
    }
    assert finality(gateway.conta, [sub]).measures == {ENERGY: MeasureFinality(ENERGY, NOW - DAY, NOW - DAY)}


def test_readings_that_wait_are_counted_but_not_those_that_the_next_ones_may_explain(
    gateway: Gateway,
) -> None:
    device, other = meter(gateway, "D01"), meter(gateway, "D02")
    now = datetime.now(UTC)
    for moment, of, fields in (
        (now - DAY, device, {"classe": "IMPLAUSIVEL", "espera": True}),
        (now - DAY, other, {"classe": "SUSPEITA", "espera": True}),
        (now, device, {"classe": "SUSPEITA", "espera": True}),
        (now - 2 * DAY, device, {"classe": "VIRADA", "espera": False}),
    ):
        OcorrenciaMedicao.objects.create(
            dispositivo=of,
            conta_id=of.conta_id,
            leitura_em=moment,
            valor=1,
            inicio=moment - QUARTER,
            valor_base=0,
            **fields,
        )

    assert finality(gateway.conta, None).waiting == 2
    assert finality(gateway.conta, [other]).waiting == 1


def test_the_ledgers_own_state_is_what_is_shown(gateway: Gateway) -> None:
    device = meter(gateway, "D01")
    factories.readings(device, factories.points(START, QUARTER, range(20)))

    found = finality(gateway.conta, None).measures[ENERGY]

    assert found.settled_until is not None
    assert START < found.settled_until < START + 20 * QUARTER
    assert found.provisional_since is None


def test_what_a_strange_reading_may_take_back_is_provisional(gateway: Gateway) -> None:
    device = meter(gateway, "D01")
    values = [*range(1000, 1010), *range(5, 9)]  # it fell, and three readings have followed
    factories.readings(device, factories.points(START, QUARTER, values))

    found = finality(gateway.conta, None).measures[ENERGY]

    assert found.provisional_since == START + 9 * QUARTER
    assert found.settled_until is not None
    assert found.settled_until <= found.provisional_since


# --- how much is read ---


def test_totals_are_one_statement_more_than_what_is_stored_whatever_the_structure(
    gateway: Gateway, django_assert_num_queries: Any
) -> None:
    main = meter(gateway, "GERAL")
    for n in range(30):
        consumed(meter(gateway, f"S{n}", medidor_pai=main), 1)
    stored = int(has_timescale(connection))
    totals(gateway.conta)  # asks once whether the database has TimescaleDB

    with django_assert_num_queries(stored + 1):
        month_to_date(gateway.conta, None, NOW)
    with django_assert_num_queries(2):
        devices = in_structure(active_devices(gateway.conta))
    with django_assert_num_queries(stored + 1):
        consumption_by_meter(gateway.conta, devices, MONTH, NOW)
    with django_assert_num_queries(1):
        finality(gateway.conta, None)
