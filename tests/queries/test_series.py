"""The lines of charts: what each point says, which resolution a window gets, gaps, marks; the same on both databases."""

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
from tds_new.queries.points import Ponto, Qualidade, Serie
from tds_new.queries.series import series
from tds_new.queries.window import MES, Janela, passo_para
from tds_new.storage import rollups
from tests.support import factories

SP = ZoneInfo("America/Sao_Paulo")
DIA = date(2026, 2, 18)
MEIO_DIA = datetime(2026, 2, 18, 12, 0, tzinfo=SP)
MIN = timedelta(minutes=1)
QUARTO = 15 * MIN
UM_DIA = timedelta(days=1)

pytestmark = pytest.mark.django_db


def serie(dispositivo: Dispositivo, janela: Janela, agora: datetime = MEIO_DIA + UM_DIA) -> Serie:
    dispositivo = Dispositivo.objects.select_related("gateway").get(pk=dispositivo.pk)
    (achada,) = series(dispositivo.conta, [dispositivo], janela, agora)
    return achada


def do_dia(dispositivo: Dispositivo, de: date = DIA, ate: date = DIA) -> Serie:
    return serie(dispositivo, Janela.entre(de, ate, SP))


def de_perto(dispositivo: Dispositivo) -> Serie:
    return serie(dispositivo, Janela.ultimos(timedelta(hours=6), MEIO_DIA + timedelta(hours=1), SP))


def medidor(tipo: str = "ACUMULADA", **campos: Any) -> Dispositivo:
    return factories.dispositivo(factories.gateway(factories.conta(), **campos), tipo=tipo)


def sensor() -> Dispositivo:
    return factories.dispositivo(
        factories.gateway(factories.conta()), "D03", "TEMPERATURA", "°C", "INSTANTANEA"
    )


# --- consumption, out of blocks ---


def test_a_day_of_a_register_is_drawn_as_the_mean_rate_of_its_blocks() -> None:
    de = medidor()
    factories.leituras(de, factories.escada(MEIO_DIA, 5 * MIN, [1000, 1001, 1002, 1003, 1003, 1003, 1003]))

    achada = do_dia(de)

    assert achada.passo == QUARTO
    assert achada.pontos[:2] == [
        Ponto(MEIO_DIA, 12.0, None, None, 3),
        Ponto(MEIO_DIA + QUARTO, 0.0, None, None, 3),
    ]


def test_a_block_that_is_still_filling_is_drawn_by_the_time_that_was_measured() -> None:
    de = medidor()
    factories.leituras(de, factories.escada(MEIO_DIA, 5 * MIN, [0, 1, 2, 3, 4]))

    assert [p.media for p in do_dia(de).pontos] == [12.0, 12.0]


def test_increments_are_the_rate_of_their_interval_also_in_a_block_that_is_not_full() -> None:
    de = medidor("INCREMENTAL")
    factories.leituras(de, factories.escada(MEIO_DIA - 5 * MIN, 5 * MIN, [1, 1, 1, 1, 1, 1]))

    assert [p.media for p in do_dia(de).pontos] == [12.0, 12.0, 12.0]


def test_an_outage_of_a_register_is_marked_as_interpolated() -> None:
    de = medidor()
    factories.leituras(
        de,
        [
            *factories.escada(MEIO_DIA, 5 * MIN, [0, 1, 2, 3]),
            *factories.escada(MEIO_DIA + 75 * MIN, 5 * MIN, [9, 10, 11, 12]),
        ],
    )

    pontos = do_dia(de).pontos

    assert [(p.media, p.qualidade) for p in pontos] == [
        (12.0, Qualidade.MEDIDO),
        *[(6.0, Qualidade.INTERPOLADO)] * 4,
        (12.0, Qualidade.MEDIDO),
        (None, Qualidade.MEDIDO),  # a reading at the edge, and nothing after it
    ]


def test_a_register_that_began_again_is_marked_as_estimated() -> None:
    de = medidor()
    factories.leituras(de, factories.escada(MEIO_DIA, 5 * MIN, [1000, 1001, 3, 4]))

    assert do_dia(de).pontos[0].qualidade is Qualidade.ESTIMADO


def test_increments_before_and_after_a_change_of_rhythm_are_each_drawn_at_their_own() -> None:
    de = medidor("INCREMENTAL", intervalo_esperado_s=10)
    poucas = factories.escada(MEIO_DIA, QUARTO, [3] * 4)  # every 15 minutes, as out of a gateway's memory
    muitas = factories.escada(MEIO_DIA + 4 * QUARTO, MIN / 6, [0.1] * 225)
    factories.leituras(de, [*poucas, *muitas])

    medias = [p.media for p in do_dia(de).pontos]

    assert medias[:4] == [12.0] * 4
    assert medias[4:] == pytest.approx([36.0] * 3)


def test_increments_once_an_hour_are_the_rate_of_the_hour() -> None:
    de = medidor("INCREMENTAL", intervalo_esperado_s=3600)
    factories.leituras(de, factories.escada(MEIO_DIA, 4 * QUARTO, [2, 2, 2]))

    assert [p.media for p in do_dia(de).pontos] == [2.0, 2.0, 2.0]


def test_an_outage_of_increments_is_a_gap() -> None:
    de = medidor("INCREMENTAL")
    antes, depois = (factories.escada(MEIO_DIA + h * timedelta(hours=1), 5 * MIN, [1] * 6) for h in (-6, 0))
    factories.leituras(de, [*antes, *depois])

    achada = do_dia(de)

    assert len(achada.pontos) == 4
    assert achada.lacuna == 2700


def test_a_device_that_sends_once_a_day_still_has_a_line() -> None:
    de = medidor()
    factories.leituras(de, factories.escada(MEIO_DIA - timedelta(days=4), UM_DIA, [0, 24, 72, 96, 120]))

    achada = do_dia(de, DIA - timedelta(days=6))

    assert {p.media for p in achada.pontos if p.media is not None} == {1.0, 2.0}
    assert {p.qualidade for p in achada.pontos if p.media is not None} == {Qualidade.INTERPOLADO}


def test_what_was_measured_before_the_window_reaches_into_it() -> None:
    de = medidor()
    meia_noite = datetime(2026, 2, 18, tzinfo=SP)
    factories.leituras(de, [(meia_noite - 2 * MIN, 10), (meia_noite + 3 * MIN, 11)])

    assert [(p.inicio, p.media) for p in do_dia(de).pontos] == [(meia_noite, pytest.approx(12.0))]


def test_the_readings_of_devices_with_one_code_stay_two_series() -> None:
    dona = factories.conta()
    aqui, ali = (factories.dispositivo(factories.gateway(dona, codigo), "D01") for codigo in ("GW-1", "GW-2"))
    factories.leituras(aqui, factories.escada(MEIO_DIA, 5 * MIN, [0, 1]))
    factories.leituras(ali, factories.escada(MEIO_DIA, 5 * MIN, [500, 502]))

    ambas = series(dona, list(Dispositivo.objects.order_by("pk")), Janela.entre(DIA, DIA, SP), MEIO_DIA)

    assert [(s.dispositivo.pk, [p.media for p in s.pontos]) for s in ambas] == [
        (aqui.pk, [12.0]),
        (ali.pk, [24.0]),
    ]


# --- out of readings ---


def test_a_window_of_hours_shows_each_pair_of_readings() -> None:
    de = medidor()
    factories.leituras(de, factories.escada(MEIO_DIA, 5 * MIN, [1000, 1001, 1003, 1003]))

    # The pair that ends at 12:05 counts in the minute that ends then.
    assert [(p.inicio, p.media) for p in de_perto(de).pontos] == [
        (MEIO_DIA + 4 * MIN, 12.0),
        (MEIO_DIA + 9 * MIN, 24.0),
        (MEIO_DIA + 14 * MIN, 0.0),
    ]


def test_several_readings_in_a_minute_give_consumption_over_hours_not_a_mean_of_rates() -> None:
    de = medidor(intervalo_esperado_s=60)
    factories.leituras(de, [(MEIO_DIA, 0), (MEIO_DIA + MIN / 6, 1), (MEIO_DIA + MIN, 1)])

    assert [p.media for p in de_perto(de).pontos] == [
        pytest.approx(60.0)
    ]  # 1 kWh in a minute, not (360 + 0) / 2


def test_seen_closely_a_register_is_what_the_ledger_made_of_it() -> None:
    """A reset counts its lower bound, a spike and what is discarded nothing, a tolerated dip is no reading, a jump is a gap."""
    de = medidor()
    Dispositivo.objects.filter(pk=de.pk).update(consumo_maximo_hora=100, tolerancia_queda=1)
    factories.leituras(de, factories.escada(MEIO_DIA, 5 * MIN, [1000, 1001, 5, 6, 9000, 8, 7.5, 9, 9.5, 10]))
    RevisaoLeitura.objects.create(
        dispositivo=de, leitura_em=MEIO_DIA + 40 * MIN, decisao="DESCARTADA", motivo="teste"
    )
    drain()

    # 9000 and the 9.5 of 12:40 are left out, so is 7.5: the pair around each of them takes ten minutes.
    assert [p.media for p in de_perto(de).pontos] == pytest.approx([12.0, 60.0, 12.0, 12.0, 6.0, 6.0])


def test_seen_closely_a_jump_that_nobody_has_approved_is_a_gap() -> None:
    de = medidor()
    Dispositivo.objects.filter(pk=de.pk).update(consumo_maximo_hora=100)
    factories.leituras(de, factories.escada(MEIO_DIA, 5 * MIN, [1000, 1001, 9001, 9002, 9003, 9004]))

    assert [p.media for p in de_perto(de).pontos] == [12.0, None, 12.0, 12.0, 12.0]


def test_seen_closely_a_value_is_times_the_factor_in_force() -> None:
    de, em = (
        medidor(),
        factories.dispositivo(
            factories.gateway(factories.conta()), "D03", "TEMPERATURA", "°C", "INSTANTANEA"
        ),
    )
    Dispositivo.objects.update(fator_conversao=10)
    for um in (de, em):
        VigenciaParametros.objects.create(
            dispositivo=um, desde=MEIO_DIA + 7 * MIN, fator_conversao=2, motivo="TC"
        )
        factories.leituras(um, factories.escada(MEIO_DIA, 5 * MIN, [5, 6, 7]))

    assert [p.media for p in de_perto(de).pontos] == [120.0, 24.0]
    assert [(p.media, p.ultimo) for p in de_perto(em).pontos] == [(50.0, 50.0), (60.0, 60.0), (14.0, 14.0)]


def test_where_the_readings_were_dropped_a_gauge_is_drawn_out_of_blocks() -> None:
    em = sensor()
    factories.leituras(em, factories.escada(MEIO_DIA, 5 * MIN, [5, 6, 7, 8]))
    ConsumoCongelado.objects.create(ate=MEIO_DIA + UM_DIA)
    LeituraDispositivo.objects.all().delete()

    achada = do_dia(em)

    assert achada.passo == QUARTO
    assert [(p.media, p.minimo, p.maximo) for p in achada.pontos] == [(6.0, 5.0, 7.0), (8.0, 8.0, 8.0)]


def test_seen_closely_an_outage_is_a_gap_and_not_a_long_mean() -> None:
    de = medidor()
    antes = factories.escada(MEIO_DIA - timedelta(hours=4), 5 * MIN, range(20))
    factories.leituras(de, [*antes, *factories.escada(MEIO_DIA, 5 * MIN, range(100, 110))])

    achada = de_perto(de)

    assert [p.media for p in achada.pontos].count(None) == 1
    assert max(p.media for p in achada.pontos if p.media is not None) == 12.0


def test_a_gauge_has_mean_least_greatest_and_last_and_may_be_negative() -> None:
    de = sensor()
    factories.leituras(de, [(MEIO_DIA, -5), (MEIO_DIA + MIN, 2), (MEIO_DIA + 2 * MIN, -3)])

    assert do_dia(de).pontos == [Ponto(MEIO_DIA, -2.0, -5.0, 2.0, 3, ultimo=-3.0)]
    assert do_dia(de, DIA - timedelta(days=5)).pontos == [Ponto(MEIO_DIA, -2.0, -5.0, 2.0, 3, ultimo=-3.0)]


# --- resolution ---


@pytest.mark.parametrize(
    ("duracao", "pontos", "passo"),
    [
        (timedelta(hours=6), 800, MIN),
        (timedelta(hours=6), 300, 5 * MIN),
        (timedelta(hours=25), 800, 5 * MIN),
        (UM_DIA, 200, QUARTO),
        (7 * UM_DIA, 800, QUARTO),
        (7 * UM_DIA, 360, timedelta(hours=1)),
        (31 * UM_DIA + timedelta(hours=1), 800, timedelta(hours=1)),
        (31 * UM_DIA, 360, UM_DIA),
        (396 * UM_DIA, 800, UM_DIA),
        (396 * UM_DIA, 360, MES),
        (3000 * UM_DIA, 800, MES),
    ],
)
def test_the_step_follows_the_window_and_the_room(duracao: timedelta, pontos: int, passo: timedelta) -> None:
    assert passo_para(duracao, pontos) == passo


@pytest.fixture(params=["as it is", pytest.param("kept", marks=pytest.mark.timescale)])
def guardar(request: pytest.FixtureRequest, transactional_db: None) -> Any:
    """Has the sums kept, on TimescaleDB."""

    def guarda() -> None:
        with connection.cursor() as cursor:
            for rollup in rollups.ROLLUPS:
                cursor.execute(f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, NULL)")

    if request.param == "as it is":
        yield lambda: None
        return
    yield guarda
    rollups.drop(connection)
    rollups.create(connection, timescale=True)


@pytest.mark.parametrize("zona", ["America/Sao_Paulo", "America/Manaus", "America/Noronha", "Asia/Kolkata"])
@pytest.mark.parametrize("passo", [QUARTO, timedelta(hours=1), UM_DIA, MES])
def test_points_of_any_step_and_zone_hold_the_blocks_of_their_bucket(
    guardar: Callable[[], None], passo: timedelta, zona: str
) -> None:
    de, zone = medidor(), ZoneInfo(zona)
    primeiro = datetime(2019, 2, 13, 5, 30, tzinfo=UTC)
    feitos = ConsumoBloco.objects.bulk_create(
        ConsumoBloco(
            dispositivo=de, bloco=primeiro + n * QUARTO, conta_id=de.conta_id, gateway_id=de.gateway_id, consumo=Decimal(n % 7),
            leituras=3, fracao_medida=Decimal(1), qualidade="MEDIDO",
        )
        for n in range(5 * 96 if passo < MES else 45 * 96)
    )  # fmt: skip
    guardar()
    janela = Janela(
        datetime(2019, 2, 14, tzinfo=zone),
        datetime(2019, 2, 18 if passo < MES else 28, tzinfo=zone),
        passo,
        zone,
    )

    def balde(instante: datetime) -> datetime:
        if passo < UM_DIA:
            return datetime.fromtimestamp(
                janela.inicio.timestamp()
                + (instante - janela.inicio.astimezone(UTC)) // passo * passo.total_seconds(),
                UTC,
            )
        local = datetime.combine(instante.astimezone(zone), datetime.min.time(), zone)
        return (local.replace(day=1) if passo == MES else local).astimezone(UTC)

    esperados: dict[datetime, list[Decimal]] = {}
    for bloco in feitos:
        if janela.inicio.timestamp() <= bloco.bloco.timestamp() < janela.fim.timestamp():
            assert bloco.consumo is not None
            esperados.setdefault(balde(bloco.bloco), []).append(bloco.consumo)

    pontos = serie(de, janela, datetime(2019, 2, 18, 12, 38, tzinfo=SP)).pontos

    assert {p.inicio.astimezone(UTC): p.media for p in pontos} == {
        inicio: pytest.approx(float(sum(consumos)) / len(consumos) * 4)
        for inicio, consumos in esperados.items()
    }


def test_an_hour_in_which_a_device_changed_gateways_is_one_point(guardar: Callable[[], None]) -> None:
    de = medidor()
    outro = factories.gateway(de.conta, "GW-2")
    inicio = datetime(2019, 2, 14, 15, tzinfo=UTC)
    for n, gateway in enumerate((de.gateway, de.gateway, outro, outro)):
        ConsumoBloco.objects.create(
            dispositivo=de, bloco=inicio + n * QUARTO, conta_id=de.conta_id, gateway_id=gateway.pk, consumo=Decimal(n), leituras=3,
            fracao_medida=Decimal(1), qualidade="MEDIDO",
        )  # fmt: skip
    guardar()
    janela = Janela(inicio, inicio + timedelta(hours=2), timedelta(hours=1), SP)

    assert serie(de, janela, inicio + UM_DIA).pontos == [Ponto(inicio, 6.0, None, None, 12)]


def test_a_day_with_one_interpolated_block_is_not_marked_and_one_with_many_is() -> None:
    de = medidor()
    inicio = datetime(2026, 1, 5, tzinfo=SP)
    for dia, interpolados in ((0, 1), (1, 20)):
        ConsumoBloco.objects.bulk_create(
            ConsumoBloco(
                dispositivo=de, bloco=inicio + dia * UM_DIA + n * QUARTO, conta_id=de.conta_id, gateway_id=de.gateway_id, leituras=3,
                consumo=Decimal(1), fracao_medida=Decimal(n >= interpolados), qualidade="MEDIDO" if n >= interpolados else "INTERPOLADO",
            )
            for n in range(96)
        )  # fmt: skip

    pontos = do_dia(de, date(2025, 12, 1)).pontos

    assert [p.qualidade for p in pontos] == [Qualidade.MEDIDO, Qualidade.INTERPOLADO]
    assert pontos[1].media == 4.0


def test_daily_buckets_of_a_gauge_are_local_days() -> None:
    de = sensor()
    tarde = datetime(2026, 2, 18, 23, 30, tzinfo=SP)  # the 19th in UTC
    factories.leituras(de, [(tarde, 20), (tarde - timedelta(hours=12), 10)])

    (ponto,) = do_dia(de, date(2025, 12, 1), date(2026, 2, 20)).pontos

    assert ponto.inicio.astimezone(SP) == datetime(2026, 2, 18, tzinfo=SP)
    assert (ponto.media, ponto.minimo, ponto.maximo, ponto.ultimo) == (15.0, 10.0, 20.0, 20.0)
