"""Consumption by local calendars against sums written out here, block by block; coverage; the month before; whose the months are."""

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
from tds_new.queries.consumption import consumo_do_mes, consumo_por_dia, consumo_por_mes
from tds_new.queries.local_calendar import Periodo, mesmo_trecho_do_mes_anterior
from tds_new.queries.sums import somar
from tds_new.storage import rollups
from tests.support import factories

QUARTO = timedelta(minutes=15)
DIA = timedelta(days=1)
SP = ZoneInfo("America/Sao_Paulo")
# Brazil's last days of 23 and 25 hours, and the turns of months around them.
TRECHOS = [("2018-10-30", 8), ("2018-12-31", 2), ("2019-01-17", 4), ("2019-01-30", 4), ("2019-02-14", 6)]
AGORA = datetime(2019, 2, 19, 12, 38, tzinfo=SP)
ZONAS = ["America/Sao_Paulo", "America/Manaus", "America/Rio_Branco", "America/Noronha", "Asia/Kolkata"]

pytestmark = pytest.mark.django_db(transaction=True)


def refresh(fim: datetime | None) -> None:
    with connection.cursor() as cursor:
        for rollup in rollups.ROLLUPS:
            cursor.execute(
                f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, %s::timestamptz)", [fim]
            )


@pytest.fixture(
    params=[
        "as it is",
        pytest.param("kept in part", marks=pytest.mark.timescale),
        pytest.param("kept", marks=pytest.mark.timescale),
    ]
)
def manter(request: pytest.FixtureRequest) -> Iterator[Callable[[], None]]:
    """Has sums kept, on TimescaleDB: none, those up to a moment, or all, the months and days that are still filling too."""
    fim = {"as it is": None, "kept in part": datetime(2019, 1, 18, 10, tzinfo=UTC), "kept": None}[
        request.param
    ]
    quer = request.param != "as it is"

    yield lambda: refresh(fim) if quer else None
    if quer:  # what is kept would outlive the blocks, and hide those of later tests that are older
        rollups.drop(connection)
        rollups.create(connection, timescale=True)


def blocos(
    de: Dispositivo,
    inicio: datetime,
    quantos: int,
    consumo: Callable[[int], object] | None = lambda _i: 1,
    **campos: object,
) -> list[ConsumoBloco]:
    valores = {
        "leituras": 3,
        "fracao_medida": Decimal(1),
        "qualidade": "MEDIDO",
        "conta_id": de.conta_id,
        **campos,
    }
    feitos = [
        ConsumoBloco(
            dispositivo=de,
            bloco=inicio + i * QUARTO,
            gateway_id=de.gateway_id,
            consumo=Decimal(str(consumo(i))) if consumo else None,
            **valores,
        )
        for i in range(quantos)
    ]
    return ConsumoBloco.objects.bulk_create(feitos)


@pytest.fixture
def historia() -> list[ConsumoBloco]:
    """Two meters, six decimals, in the stretches above."""
    gateway, acaso = factories.gateway(factories.conta()), Random(4)
    feitos = []
    for codigo in ("D01", "D02"):
        de = factories.dispositivo(gateway, codigo)
        for inicio, dias in TRECHOS:
            comeco = datetime.fromisoformat(inicio).replace(tzinfo=UTC)
            ultimo = min(comeco + dias * DIA, datetime(2019, 2, 19, 15, 45, tzinfo=UTC))
            feitos += blocos(
                de, comeco, (ultimo - comeco) // QUARTO, lambda _i: Decimal(acaso.randrange(10**7)) / 10**6
            )
    return feitos


def por_data(
    feitos: list[ConsumoBloco], zone: ZoneInfo, chave: Callable[[date], date]
) -> dict[date, Decimal]:
    somas: dict[date, Decimal] = defaultdict(Decimal)
    for bloco in feitos:
        assert bloco.consumo is not None
        somas[chave(bloco.bloco.astimezone(zone).date())] += bloco.consumo
    return dict(somas)


def da_zona(zona: str) -> Conta:
    Conta.objects.update(timezone=zona)
    return Conta.objects.get()


@pytest.mark.parametrize("zona", ZONAS)
def test_days_and_months_of_any_zone_are_exact_sums_of_blocks(
    historia: list[ConsumoBloco], manter: Callable[[], None], zona: str
) -> None:
    manter()
    conta, zone = da_zona(zona), ZoneInfo(zona)
    dias, meses = (
        por_data(historia, zone, lambda dia: dia),
        por_data(historia, zone, lambda dia: dia.replace(day=1)),
    )

    (por_mes,) = consumo_por_mes(conta, None, AGORA)
    (por_dia,) = consumo_por_dia(
        conta, list(Dispositivo.objects.all()), date(2018, 10, 1), date(2019, 2, 28), AGORA
    )

    assert consumo_por_dia(conta, None, date(2018, 10, 1), date(2019, 2, 28), AGORA) == [por_dia]
    assert consumo_por_mes(conta, list(Dispositivo.objects.all()), AGORA) == [por_mes]
    assert {m.mes: m.total for m in por_mes.meses if m.total is not None} == meses
    assert {d.dia: d.soma.total for d in por_dia.dias if d.soma.total is not None} == dias
    assert por_mes.meses[-1].mes == date(2019, 2, 1)
    assert por_mes.meses[-1].parcial


def test_ten_at_night_on_the_last_of_january_is_january(manter: Callable[[], None]) -> None:
    de = factories.dispositivo(factories.gateway(factories.conta()))
    blocos(de, datetime(2019, 1, 31, 22, 0, tzinfo=SP), 1, lambda _i: "0.000001")
    blocos(de, datetime(2019, 2, 1, 0, 0, tzinfo=SP), 1)
    manter()

    (por_mes,) = consumo_por_mes(de.conta, None, AGORA)

    assert [m.total for m in por_mes.meses[-2:]] == [Decimal("0.000001"), 1]


@pytest.mark.parametrize(
    ("dia", "quantos"),
    [(date(2018, 11, 3), 96), (date(2018, 11, 4), 92), (date(2019, 2, 16), 100), (date(2019, 2, 17), 96)],
)
def test_days_of_23_and_25_hours_are_whole(manter: Callable[[], None], dia: date, quantos: int) -> None:
    de = factories.dispositivo(factories.gateway(factories.conta()))
    blocos(de, datetime(dia.year, dia.month, dia.day, tzinfo=UTC) - DIA, 4 * 96)
    manter()

    (por_dia,) = consumo_por_dia(de.conta, [de], dia, dia, AGORA)

    assert [(d.soma.total, d.soma.esperados) for d in por_dia.dias] == [(quantos, quantos)]


@pytest.mark.parametrize("zona", ZONAS)
def test_the_month_so_far_stands_beside_the_same_stretch_of_the_month_before(
    historia: list[ConsumoBloco], manter: Callable[[], None], zona: str
) -> None:
    manter()
    conta, zone = da_zona(zona), ZoneInfo(zona)
    Dispositivo.objects.update(last_seen=datetime(2019, 2, 19, 15, 37, tzinfo=UTC))
    corte = datetime(2019, 2, 19, 15, 30, tzinfo=UTC)  # 15:38 UTC is within a block
    local = corte.astimezone(zone)
    antes = local.replace(month=1).astimezone(UTC)

    def soma(inicio: datetime, fim: datetime) -> Decimal:
        return sum((b.consumo or Decimal(0) for b in historia if inicio <= b.bloco < fim), Decimal(0))

    (consumo,) = consumo_do_mes(conta, None, AGORA)

    assert consumo.periodo_anterior == Periodo(datetime(2019, 1, 1, tzinfo=zone).astimezone(UTC), antes)
    assert consumo.anterior.total == soma(consumo.periodo_anterior.inicio, antes)
    assert consumo.fechado.total == soma(datetime(2019, 2, 1, tzinfo=zone), corte)
    assert consumo.soma.total == soma(datetime(2019, 2, 1, tzinfo=zone), corte + QUARTO)
    assert consumo.ate == datetime(2019, 2, 19, 15, 37, tzinfo=UTC)


@pytest.mark.parametrize(
    ("fim", "inicio", "corte"),
    [
        ("2026-02-18T12:45", "2026-01-01T00:00", "2026-01-18T12:45"),
        ("2026-03-30T12:45", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("2026-03-29T00:00", "2026-02-01T00:00", "2026-03-01T00:00"),
        ("2026-01-01T00:15", "2025-12-01T00:00", "2025-12-01T00:15"),
        ("2026-03-01T00:00", "2026-01-01T00:00", "2026-01-29T00:00"),
    ],
)
def test_the_stretch_before_is_clipped_to_the_shorter_month(fim: str, inicio: str, corte: str) -> None:
    def em(texto: str) -> datetime:
        return datetime.fromisoformat(texto).replace(tzinfo=SP)

    assert mesmo_trecho_do_mes_anterior(em(fim), SP) == Periodo(em(inicio), em(corte))


def test_a_year_before_stands_beside_each_month(manter: Callable[[], None]) -> None:
    de = factories.dispositivo(factories.gateway(factories.conta()))
    for ano, consumo in ((2017, "1.5"), (2018, "2.25"), (2019, "4")):
        blocos(de, datetime(ano, 2, 3, tzinfo=UTC), 2, lambda _i, c=consumo: c)
    manter()

    (por_mes,) = consumo_por_mes(de.conta, [de], AGORA)

    assert [(m.total, m.ano_anterior) for m in (por_mes.meses[0], por_mes.meses[1], por_mes.meses[-1])] == [
        (Decimal("4.5"), 3),
        (None, None),
        (8, Decimal("4.5")),
    ]


def test_coverage_counts_what_was_measured_of_what_should_have_been(manter: Callable[[], None]) -> None:
    gateway = factories.gateway(factories.conta())
    de = factories.dispositivo(gateway)
    inicio = datetime(2019, 2, 1, tzinfo=SP)
    blocos(de, inicio, 60)
    blocos(de, inicio + 60 * QUARTO, 20, fracao_medida=Decimal("0.5"), qualidade="INTERPOLADO")
    blocos(de, inicio + 80 * QUARTO, 10, fracao_medida=Decimal(0), qualidade="ESTIMADO")
    Dispositivo.objects.update(last_seen=inicio + 89 * QUARTO)
    manter()

    (consumo,) = consumo_do_mes(de.conta, None, inicio + 100 * QUARTO)

    assert (consumo.fechado.esperados, consumo.fechado.medidos, consumo.fechado.blocos) == (100, 70, 90)
    assert (consumo.soma.cobertura, consumo.soma.interpolado, consumo.soma.estimado) == (
        Decimal("0.7"),
        Decimal("0.2"),
        Decimal("0.1"),
    )
    assert consumo.ate == inicio + 90 * QUARTO


def test_a_meter_that_fell_silent_is_missed_and_one_that_left_or_was_switched_off_is_not(
    manter: Callable[[], None],
) -> None:
    conta, outra = factories.conta(), factories.conta("Outra")
    inicio = datetime(2019, 2, 1, tzinfo=SP)
    mudo, saiu, desligado = (factories.dispositivo(factories.gateway(conta, f"GW-{n}")) for n in range(3))
    for de in (mudo, saiu, desligado):
        blocos(de, inicio, 96)
    saiu.gateway.conta = outra
    saiu.gateway.save()
    Dispositivo.objects.filter(pk=desligado.pk).update(status="INATIVO")
    Dispositivo.objects.update(last_seen=inicio + 96 * QUARTO)
    manter()
    tres_dias = [Periodo(inicio + n * DIA, inicio + (n + 1) * DIA) for n in range(3)]

    (energia,) = somar(conta, None, tres_dias, AGORA)

    assert [s.esperados for s in energia.periodos] == [3 * 96, 96, 96]
    assert [s.total for s in energia.periodos] == [3 * 96, None, None]


def test_a_meter_is_expected_from_its_first_data_on(manter: Callable[[], None]) -> None:
    de = factories.dispositivo(factories.gateway(factories.conta()))
    inicio = datetime(2019, 2, 1, tzinfo=SP)
    Dispositivo.objects.update(created_at=inicio + 3 * DIA + timedelta(hours=12))
    blocos(de, inicio + 3 * DIA + timedelta(hours=12), 48)
    manter()

    (energia,) = somar(de.conta, None, [Periodo(inicio, inicio + 4 * DIA)], AGORA)

    assert (energia.periodos[0].esperados, energia.periodos[0].cobertura) == (48, 1)


def test_a_meter_silent_for_longer_than_is_looked_at_counts_as_missing() -> None:
    de = factories.dispositivo(factories.gateway(factories.conta()))
    blocos(de, datetime(2018, 6, 1, tzinfo=UTC), 1)

    (consumo,) = consumo_do_mes(de.conta, None, AGORA)

    assert (consumo.soma.total, consumo.soma.cobertura, consumo.ate) == (None, 0, None)


@pytest.mark.parametrize(
    ("ultima", "ate"),
    [
        ("12:36:10", "12:36:10"),  # within the block that is still filling
        ("12:40", "12:38"),  # a meter whose clock is ahead
        ("12:47", "12:38"),
        ("12:29:59", "12:30"),
        ("12:01", "12:15"),
    ],
)
def test_a_figure_is_as_old_as_its_last_block(ultima: str, ate: str) -> None:
    def hoje(hora: str) -> datetime:
        return datetime.combine(date(2019, 2, 19), time.fromisoformat(hora), SP)

    de = factories.dispositivo(factories.gateway(factories.conta()))
    blocos(de, datetime(2019, 2, 19, 12, tzinfo=SP), 3)
    Dispositivo.objects.update(last_seen=hoje(ultima))

    (consumo,) = consumo_do_mes(de.conta, None, AGORA)

    assert consumo.ate == hoje(ate)


def test_a_figure_is_not_called_newer_than_what_was_computed() -> None:
    de = factories.dispositivo(factories.gateway(factories.conta()))
    blocos(de, datetime(2019, 2, 19, 11, tzinfo=SP), 3)
    Dispositivo.objects.update(last_seen=AGORA)

    (consumo,) = consumo_do_mes(de.conta, None, AGORA)

    assert consumo.ate == datetime(2019, 2, 19, 11, 45, tzinfo=SP)


def test_a_transferred_meters_months_stay_with_the_conta_that_they_were_measured_for(
    manter: Callable[[], None],
) -> None:
    antiga, nova = factories.conta("Antiga"), factories.conta("Nova")
    de = factories.dispositivo(factories.gateway(antiga))
    blocos(de, datetime(2019, 1, 31, 12, tzinfo=UTC), 4, lambda _i: 2)
    blocos(de, datetime(2019, 2, 18, 12, tzinfo=UTC), 4, lambda _i: 3)
    de.gateway.conta = nova
    de.gateway.save()
    blocos(Dispositivo.objects.get(), datetime(2019, 2, 18, 13, tzinfo=UTC), 4, lambda _i: 5)
    manter()

    (da_antiga,), (da_nova,) = consumo_por_mes(antiga, None, AGORA), consumo_por_mes(nova, None, AGORA)

    assert [m.total for m in da_antiga.meses[-2:]] == [8, 12]
    assert [m.total for m in da_nova.meses[-2:]] == [None, 20]
    assert consumo_por_mes(antiga, [Dispositivo.objects.get()], AGORA)[0].meses[-1].total == 12
    assert consumo_por_mes(factories.conta("Terceira"), [Dispositivo.objects.get()], AGORA) == []


def test_nothing_of_no_devices() -> None:
    assert consumo_por_mes(factories.conta(), [], AGORA) == []


def test_a_month_is_one_statement_whatever_the_devices(
    historia: list[ConsumoBloco], django_assert_max_num_queries: object
) -> None:
    conta = Conta.objects.get()
    consumo_do_mes(conta, None, AGORA)

    with django_assert_max_num_queries(2):  # type: ignore[operator]
        consumo_do_mes(conta, None, AGORA)


def vidas() -> dict[tuple[int, int], tuple[datetime, datetime]]:
    return {(v.conta_id, v.dispositivo_id): (v.primeiro, v.ultimo) for v in ConsumoVida.objects.all()}


def test_how_long_a_device_measured_for_a_conta_follows_its_blocks() -> None:
    outra, gateway = factories.conta("Outra"), factories.gateway(factories.conta())
    de, termometro = (factories.dispositivo(gateway, codigo) for codigo in ("D01", "D02"))
    t = datetime(2026, 1, 5, 12, tzinfo=UTC)
    chave = de.conta_id, de.pk
    blocos(termometro, t, 4, consumo=None)
    blocos(de, t, 1)
    blocos(de, t + 4 * QUARTO, 2)
    blocos(de, t - DIA, 1, conta_id=outra.pk)
    assert vidas() == {chave: (t, t + 5 * QUARTO), (outra.pk, de.pk): (t - DIA, t - DIA)}
    ConsumoBloco.objects.filter(bloco=t + 4 * QUARTO).delete()
    ConsumoBloco.objects.filter(bloco=t, dispositivo=de).update(consumo=None)
    assert vidas()[chave] == (t + 5 * QUARTO, t + 5 * QUARTO)
    ConsumoBloco.objects.filter(bloco=t, dispositivo=de).update(consumo=0)
    assert vidas()[chave] == (t, t + 5 * QUARTO)
    ConsumoBloco.objects.filter(dispositivo=de).delete()
    assert vidas() == {}


def test_a_meter_that_came_today_does_not_spoil_the_months_coverage() -> None:
    gateway = factories.gateway(factories.conta())
    antigo, novo = (factories.dispositivo(gateway, codigo) for codigo in ("D01", "D02"))
    inicio, fim = datetime(2019, 2, 1, tzinfo=SP).astimezone(UTC), datetime(2019, 2, 19, 15, 30, tzinfo=UTC)
    blocos(antigo, inicio, (fim - inicio) // QUARTO)
    blocos(novo, fim - 3 * QUARTO, 3)
    Dispositivo.objects.filter(pk=novo.pk).update(created_at=fim - 2 * QUARTO)

    (consumo,) = consumo_do_mes(antigo.conta, None, AGORA)
    assert consumo.soma.cobertura == 1

    Dispositivo.objects.filter(pk=novo.pk).update(
        created_at=fim - 99 * QUARTO
    )  # registered, and silent until then
    (consumo,) = consumo_do_mes(antigo.conta, None, AGORA)
    assert consumo.soma.esperados == (fim - inicio) // QUARTO + 99


def test_a_registers_first_reading_alone_is_no_consumption_of_nothing() -> None:
    de = factories.dispositivo(factories.gateway(factories.conta()))
    factories.leituras(de, [(AGORA - timedelta(hours=2), 1000)])
    (consumo,) = consumo_do_mes(de.conta, None, AGORA)
    assert (consumo.soma.total, consumo.soma.blocos) == (None, 1)
    factories.leituras(de, [(AGORA - timedelta(hours=1), 1000)])
    (consumo,) = consumo_do_mes(de.conta, None, AGORA)
    assert consumo.soma.total == 0


@pytest.mark.parametrize("campo", ["grandeza", "unidade"])
def test_a_device_that_gets_another_quantity_takes_its_consumption_along(
    manter: Callable[[], None], campo: str
) -> None:
    de = factories.dispositivo(factories.gateway(factories.conta()))
    ContaAtividade.objects.create(conta=de.conta)
    blocos(de, datetime(2019, 1, 5, tzinfo=UTC), 40 * 96)
    manter()
    antes = {
        s.grandeza: s.periodos[0].total
        for s in somar(de.conta, None, [Periodo(datetime(2019, 1, 2, tzinfo=UTC), AGORA)], AGORA)
    }
    Dispositivo.objects.filter(pk=de.pk).update(**{campo: "GAS" if campo == "grandeza" else "MWh"})
    manter()

    (depois,) = somar(de.conta, None, [Periodo(datetime(2019, 1, 2, tzinfo=UTC), AGORA)], AGORA)

    assert (depois.grandeza, depois.unidade) == (
        ("GAS", "kWh") if campo == "grandeza" else ("ENERGIA", "MWh")
    )
    assert {"ENERGIA": depois.periodos[0].total} == antes
    assert ContaAtividade.objects.get().consumo_seq == 1


@pytest.mark.timescale
def test_another_zone_in_the_settings_than_in_the_tables_changes_no_figure(settings: Any) -> None:
    de = factories.dispositivo(factories.gateway(factories.conta()))
    blocos(de, datetime(2019, 1, 28, tzinfo=UTC), 12 * 96, lambda i: i)
    refresh(None)
    dias = date(2019, 1, 29), date(2019, 2, 8)
    try:
        certo = [consumo_por_dia(de.conta, quais, *dias, AGORA) for quais in (None, [de])]
        settings.TDS_TIME_ZONE = "America/Manaus"
        assert [consumo_por_dia(de.conta, quais, *dias, AGORA) for quais in (None, [de])] == certo
        (erro,) = checks.run_checks(tags=[checks.Tags.database], databases=["default"])
        assert "days and months in this database are those of America/Sao_Paulo" in erro.msg
    finally:
        settings.TDS_TIME_ZONE = "America/Sao_Paulo"
        rollups.drop(connection)
        rollups.create(connection, timescale=True)
    assert checks.run_checks(tags=[checks.Tags.database], databases=["default"]) == []
