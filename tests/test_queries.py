"""The readers of readings: buckets, rates, months, newest readings; the same on both databases."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from tds_new.models import Conta, Dispositivo, Gateway
from tds_new.queries import frota
from tds_new.queries.calendario import meses_ate
from tds_new.queries.consumo import consumo_por_mes
from tds_new.queries.janela import Janela
from tds_new.queries.recentes import ultimas_leituras
from tds_new.queries.series import Serie, series
from tests import fabrica

SP = ZoneInfo("America/Sao_Paulo")
DIA = date(2026, 2, 18)
MEIO_DIA = datetime(2026, 2, 18, 12, 0, tzinfo=SP)
MIN = timedelta(minutes=1)

pytestmark = pytest.mark.django_db


def do_dia(dispositivo: Dispositivo, de: date = DIA, ate: date = DIA) -> Serie:
    dispositivo = Dispositivo.objects.select_related("gateway").get(pk=dispositivo.pk)
    return series(dispositivo.conta, [dispositivo], Janela.entre(de, ate, SP))[0]


def test_a_register_is_drawn_as_the_mean_rate_between_its_readings() -> None:
    medidor = fabrica.dispositivo(fabrica.gateway(fabrica.conta()))
    fabrica.leituras(medidor, fabrica.escada(MEIO_DIA, 5 * MIN, [1000, 1001, 1003, 1003]))

    pontos = do_dia(medidor).pontos

    # The pair that ends at 12:05 fills the bucket of 12:00.
    assert [(p.inicio, p.media) for p in pontos] == [(MEIO_DIA, 12.0), (MEIO_DIA + 5 * MIN, 24.0), (MEIO_DIA + 10 * MIN, 0.0)]


def test_several_readings_in_a_bucket_give_consumption_over_hours_not_a_mean_of_rates() -> None:
    medidor = fabrica.dispositivo(fabrica.gateway(fabrica.conta(), intervalo_esperado_s=60))
    fabrica.leituras(medidor, [(MEIO_DIA, 0), (MEIO_DIA + MIN, 1), (MEIO_DIA + 5 * MIN, 1)])

    assert [p.media for p in do_dia(medidor).pontos] == [pytest.approx(12.0)]  # 1 kWh in 5 minutes, not (60 + 0) / 2


def test_a_register_that_goes_down_leaves_a_gap() -> None:
    medidor = fabrica.dispositivo(fabrica.gateway(fabrica.conta()))
    fabrica.leituras(medidor, fabrica.escada(MEIO_DIA, 5 * MIN, [1000, 1001, 5, 6]))

    assert [p.media for p in do_dia(medidor).pontos] == [12.0, None, 12.0]


def test_an_outage_is_a_gap_and_not_a_long_mean() -> None:
    medidor = fabrica.dispositivo(fabrica.gateway(fabrica.conta()))
    antes = fabrica.escada(MEIO_DIA - timedelta(hours=6), 5 * MIN, range(30))
    fabrica.leituras(medidor, [*antes, *fabrica.escada(MEIO_DIA, 5 * MIN, range(100, 110))])

    serie = do_dia(medidor)

    assert [p.media for p in serie.pontos].count(None) == 1
    assert max(p.media for p in serie.pontos if p.media is not None) == 12.0
    assert serie.lacuna < 3600


def test_a_device_that_sends_once_a_day_still_has_a_line() -> None:
    medidor = fabrica.dispositivo(fabrica.gateway(fabrica.conta()))
    fabrica.leituras(medidor, fabrica.escada(MEIO_DIA - timedelta(days=4), timedelta(days=1), [0, 24, 72, 96, 120]))

    assert [p.media for p in do_dia(medidor, DIA - timedelta(days=6)).pontos] == [1.0, 2.0, 1.0, 1.0]


def test_the_pair_across_the_start_of_the_window_counts() -> None:
    medidor = fabrica.dispositivo(fabrica.gateway(fabrica.conta()))
    meia_noite = datetime(2026, 2, 18, tzinfo=SP)
    fabrica.leituras(medidor, [(meia_noite - 2 * MIN, 10), (meia_noite + 3 * MIN, 11)])

    assert [(p.inicio, p.media) for p in do_dia(medidor).pontos] == [(meia_noite, 12.0)]


def test_increments_are_summed_over_their_hours() -> None:
    medidor = fabrica.dispositivo(fabrica.gateway(fabrica.conta()), tipo="INCREMENTAL")
    fabrica.leituras(medidor, fabrica.escada(MEIO_DIA, 5 * MIN, [9, 0.5, 1]))

    assert [p.media for p in do_dia(medidor).pontos] == [6.0, 12.0]


def test_a_gauge_has_mean_least_and_greatest_and_may_be_negative() -> None:
    sensor = fabrica.dispositivo(fabrica.gateway(fabrica.conta()), "D03", "TEMPERATURA", "°C", "INSTANTANEA")
    fabrica.leituras(sensor, [(MEIO_DIA, -5), (MEIO_DIA + MIN, -3), (MEIO_DIA + 2 * MIN, 2)])

    (ponto,) = do_dia(sensor).pontos

    assert (ponto.inicio, ponto.media, ponto.minimo, ponto.maximo, ponto.leituras) == (MEIO_DIA, -2.0, -5.0, 2.0, 3)


def test_two_devices_with_one_code_stay_two_series() -> None:
    dona = fabrica.conta()
    aqui, ali = (fabrica.dispositivo(fabrica.gateway(dona, codigo), "D01") for codigo in ("GW-1", "GW-2"))
    fabrica.leituras(aqui, fabrica.escada(MEIO_DIA, 5 * MIN, [0, 1]))
    fabrica.leituras(ali, fabrica.escada(MEIO_DIA, 5 * MIN, [500, 502]))

    ambas = series(dona, list(Dispositivo.objects.order_by("pk")), Janela.entre(DIA, DIA, SP))

    assert [(s.dispositivo.pk, [p.media for p in s.pontos]) for s in ambas] == [(aqui.pk, [12.0]), (ali.pk, [24.0])]


def transferir(gateway: Gateway, para: Conta) -> None:
    gateway.conta = para
    gateway.save()


def test_after_a_transfer_the_new_conta_sees_nothing_of_the_old_one() -> None:
    antiga, nova = fabrica.conta("Antiga"), fabrica.conta("Nova")
    gateway = fabrica.gateway(antiga)
    medidor = fabrica.dispositivo(gateway, tipo="INCREMENTAL")
    fabrica.leituras(medidor, fabrica.escada(MEIO_DIA, 5 * MIN, [1, 2, 3]))
    transferir(gateway, nova)
    medidor = Dispositivo.objects.select_related("gateway").get()
    janela = Janela.entre(DIA, DIA, SP)

    assert medidor.conta == nova
    assert series(nova, [medidor], janela)[0].pontos == []
    assert ultimas_leituras(nova, [medidor], janela, MEIO_DIA) == []
    assert consumo_por_mes(nova, None, MEIO_DIA) == []
    assert consumo_por_mes(nova, [medidor], MEIO_DIA) == []
    assert consumo_por_mes(antiga, None, MEIO_DIA)[0].meses[-1].total == 6


def test_a_foreign_device_is_not_read_even_if_handed_in() -> None:
    medidor = fabrica.dispositivo(fabrica.gateway(fabrica.conta("Dona")))
    fabrica.leituras(medidor, fabrica.escada(MEIO_DIA, 5 * MIN, [0, 1]))
    outra = fabrica.conta("Outra")

    assert series(outra, [medidor], Janela.entre(DIA, DIA, SP)) == []
    assert ultimas_leituras(outra, [medidor], Janela.entre(DIA, DIA, SP), MEIO_DIA) == []


def test_months_follow_the_local_calendar_and_sum_their_devices() -> None:
    dona = fabrica.conta()
    um, dois = (fabrica.dispositivo(fabrica.gateway(dona, g), tipo="INCREMENTAL") for g in ("GW-1", "GW-2"))
    virada = datetime(2026, 2, 1, tzinfo=SP)
    fabrica.leituras(um, [(virada - MIN, "123.45"), (virada, "67.89")])
    fabrica.leituras(dois, [(virada, "22.5")])
    agua = fabrica.dispositivo(um.gateway, "D02", "AGUA", "m³", "INCREMENTAL")
    fabrica.leituras(agua, [(virada, 3)])

    energia, agua_por_mes = consumo_por_mes(dona, None, MEIO_DIA)

    assert (energia.grandeza, energia.unidade, agua_por_mes.unidade) == ("ENERGIA", "kWh", "m³")
    assert [m.mes for m in energia.meses] == meses_ate(date(2026, 2, 1), 13)
    assert [m.total for m in energia.meses[-3:]] == [None, Decimal("123.45"), Decimal("90.39")]
    assert consumo_por_mes(dona, [dois], MEIO_DIA)[0].meses[-1].total == Decimal("22.5")


def test_temperatures_have_no_consumption() -> None:
    dona = fabrica.conta()
    fabrica.leituras(fabrica.dispositivo(fabrica.gateway(dona), "D03", "TEMPERATURA", "°C", "INSTANTANEA"), [(MEIO_DIA, 20)])

    assert consumo_por_mes(dona, None, MEIO_DIA) == []


def test_the_newest_readings_are_newest_by_the_meters_time() -> None:
    dona = fabrica.conta()
    gateway = fabrica.gateway(dona)
    for n in range(15):
        fabrica.leituras(fabrica.dispositivo(gateway, f"D{n:02}"), fabrica.escada(MEIO_DIA - n * MIN, -30 * MIN, [n, n + 100]))
    dispositivos = frota.dispositivos_ativos(dona)

    por_hora = ultimas_leituras(dona, dispositivos, Janela.ultimos(timedelta(hours=24), MEIO_DIA, SP), MEIO_DIA)
    no_passado = ultimas_leituras(dona, dispositivos, Janela.entre(DIA, DIA, SP), MEIO_DIA + timedelta(days=9), quantas=20)

    assert [r.dispositivo.codigo for r in por_hora] == [f"D{n:02}" for n in range(10)]
    assert len(no_passado) == 20
    assert [r.time for r in no_passado] == sorted((r.time for r in no_passado), reverse=True)


def test_a_device_has_data_within_three_intervals_and_at_least_five_minutes() -> None:
    lento, rapido = (fabrica.gateway(fabrica.conta(), intervalo_esperado_s=s) for s in (600, 10))
    de_lento, de_rapido = Dispositivo(gateway=lento, last_seen=MEIO_DIA), Dispositivo(gateway=rapido, last_seen=MEIO_DIA)

    assert frota.com_dados(de_lento, MEIO_DIA + 30 * MIN)
    assert not frota.com_dados(de_lento, MEIO_DIA + 31 * MIN)
    assert frota.com_dados(de_rapido, MEIO_DIA + 5 * MIN)
    assert not frota.com_dados(de_rapido, MEIO_DIA + 6 * MIN)
    assert not frota.com_dados(Dispositivo(gateway=lento), MEIO_DIA)


def test_offline_gateways_come_longest_silent_first_with_what_they_affect() -> None:
    dona = fabrica.conta()
    fabrica.gateway(dona, "A", visto=MEIO_DIA)
    recente = fabrica.gateway(dona, "B", online=False, visto=MEIO_DIA - MIN)
    antigo = fabrica.gateway(dona, "C", online=False, visto=MEIO_DIA - 99 * MIN)
    nunca = fabrica.gateway(dona, "D", online=False)
    for codigo in ("D01", "D02"):
        fabrica.dispositivo(antigo, codigo)

    mudos = frota.offline(frota.gateways_ativos(dona), frota.dispositivos_ativos(dona))

    assert [(m.gateway, m.dispositivos) for m in mudos] == [(antigo, 2), (recente, 0), (nunca, 0)]


@pytest.mark.parametrize(
    ("dias", "passo", "baldes"),
    [(1, 5 * MIN, 288), (2, 15 * MIN, 192), (7, 15 * MIN, 672), (31, 60 * MIN, 744), (365, timedelta(days=1), 365)],
)
def test_bucket_sizes_keep_every_chart_under_800_points(dias: int, passo: timedelta, baldes: int) -> None:
    janela = Janela.entre(DIA, DIA + timedelta(days=dias - 1), SP)

    assert janela.passo == passo
    assert (janela.fim - janela.inicio) / janela.passo == baldes
    assert 2 <= len(janela.marcas()) <= 9


def test_a_day_of_25_hours_is_whole_and_its_marks_are_local() -> None:
    nova_iorque = ZoneInfo("America/New_York")
    janela = Janela.entre(date(2026, 11, 1), date(2026, 11, 1), nova_iorque)

    assert janela.fim.timestamp() - janela.inicio.timestamp() == 25 * 3600
    assert [m.astimezone(nova_iorque).hour for m in janela.marcas()] == [0, 6, 12, 18]


def test_daily_buckets_are_local_days() -> None:
    sensor = fabrica.dispositivo(fabrica.gateway(fabrica.conta()), "D03", "TEMPERATURA", "°C", "INSTANTANEA")
    tarde = datetime(2026, 2, 18, 23, 30, tzinfo=SP)  # the 19th in UTC
    fabrica.leituras(sensor, [(tarde, 20), (tarde - timedelta(hours=12), 10)])

    (ponto,) = do_dia(sensor, date(2025, 12, 1), date(2026, 2, 20)).pontos

    assert ponto.inicio.astimezone(SP) == datetime(2026, 2, 18, tzinfo=SP)
    assert ponto.media == 15.0


def test_a_rolling_window_ends_with_the_current_bucket() -> None:
    janela = Janela.ultimos(timedelta(hours=24), datetime(2026, 2, 18, 15, 7, 30, tzinfo=UTC), SP)

    assert janela.fim == datetime(2026, 2, 18, 12, 10, tzinfo=SP)
    assert janela.inicio == datetime(2026, 2, 17, 12, 10, tzinfo=SP)
