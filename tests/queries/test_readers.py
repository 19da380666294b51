"""The readers of readings: windows, newest readings, the fleet, whose figures are whose; the same on both databases."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from tds_new.models import Conta, Dispositivo, Gateway
from tds_new.queries import fleet
from tds_new.queries.consumption import consumo_por_mes
from tds_new.queries.latest import ultimas_leituras
from tds_new.queries.local_calendar import meses_ate
from tds_new.queries.series import series
from tds_new.queries.window import Janela
from tests.support import factories

SP = ZoneInfo("America/Sao_Paulo")
DIA = date(2026, 2, 18)
MEIO_DIA = datetime(2026, 2, 18, 12, 0, tzinfo=SP)
MIN, SEGUNDO = timedelta(minutes=1), timedelta(seconds=1)

pytestmark = pytest.mark.django_db


def transferir(gateway: Gateway, para: Conta) -> None:
    gateway.conta = para
    gateway.save()


def test_after_a_transfer_the_new_conta_sees_nothing_of_the_old_one() -> None:
    antiga, nova = factories.conta("Antiga"), factories.conta("Nova")
    gateway = factories.gateway(antiga)
    medidor = factories.dispositivo(gateway, tipo="INCREMENTAL")
    factories.leituras(medidor, factories.escada(MEIO_DIA, 5 * MIN, [1, 2, 3]))
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
    medidor = factories.dispositivo(factories.gateway(factories.conta("Dona")))
    factories.leituras(medidor, factories.escada(MEIO_DIA, 5 * MIN, [0, 1]))
    outra = factories.conta("Outra")

    assert series(outra, [medidor], Janela.entre(DIA, DIA, SP)) == []
    assert ultimas_leituras(outra, [medidor], Janela.entre(DIA, DIA, SP), MEIO_DIA) == []


def test_months_follow_the_local_calendar_and_sum_their_devices() -> None:
    dona = factories.conta()
    um, dois = (
        factories.dispositivo(factories.gateway(dona, g), tipo="INCREMENTAL") for g in ("GW-1", "GW-2")
    )
    virada = datetime(2026, 2, 1, tzinfo=SP)
    factories.leituras(um, [(virada - MIN, "123.45"), (virada, "67.89")])
    factories.leituras(dois, [(virada, "22.5")])
    agua = factories.dispositivo(um.gateway, "D02", "AGUA", "m³", "INCREMENTAL")
    factories.leituras(agua, [(virada, 3)])

    energia, agua_por_mes = consumo_por_mes(dona, None, MEIO_DIA)

    assert (energia.grandeza, energia.unidade, agua_por_mes.unidade) == ("ENERGIA", "kWh", "m³")
    assert [m.mes for m in energia.meses] == meses_ate(date(2026, 2, 1), 13)
    assert [m.total for m in energia.meses[-3:]] == [None, Decimal("123.45"), Decimal("90.39")]
    assert consumo_por_mes(dona, [dois], MEIO_DIA)[0].meses[-1].total == Decimal("22.5")


def test_temperatures_have_no_consumption() -> None:
    dona = factories.conta()
    factories.leituras(
        factories.dispositivo(factories.gateway(dona), "D03", "TEMPERATURA", "°C", "INSTANTANEA"),
        [(MEIO_DIA, 20)],
    )

    assert consumo_por_mes(dona, None, MEIO_DIA) == []


def test_the_newest_readings_are_newest_by_the_meters_time() -> None:
    dona = factories.conta()
    gateway = factories.gateway(dona)
    for n in range(15):
        factories.leituras(
            factories.dispositivo(gateway, f"D{n:02}"),
            factories.escada(MEIO_DIA - n * MIN, -30 * MIN, [n, n + 100]),
        )
    dispositivos = fleet.dispositivos_ativos(dona)

    por_hora = ultimas_leituras(
        dona, dispositivos, Janela.ultimos(timedelta(hours=24), MEIO_DIA, SP), MEIO_DIA
    )
    no_passado = ultimas_leituras(
        dona, dispositivos, Janela.entre(DIA, DIA, SP), MEIO_DIA + timedelta(days=9), quantas=20
    )

    assert [r.dispositivo.codigo for r in por_hora] == [f"D{n:02}" for n in range(10)]
    assert len(no_passado) == 20
    assert [r.time for r in no_passado] == sorted((r.time for r in no_passado), reverse=True)


def test_a_device_has_data_within_three_intervals_and_at_least_five_minutes() -> None:
    lento, rapido = (factories.gateway(factories.conta(), intervalo_esperado_s=s) for s in (600, 10))
    de_lento, de_rapido = (
        Dispositivo(gateway=lento, last_seen=MEIO_DIA),
        Dispositivo(gateway=rapido, last_seen=MEIO_DIA),
    )

    assert fleet.com_dados(de_lento, MEIO_DIA + 30 * MIN)
    assert not fleet.com_dados(de_lento, MEIO_DIA + 31 * MIN)
    assert fleet.com_dados(de_rapido, MEIO_DIA + 5 * MIN)
    assert not fleet.com_dados(de_rapido, MEIO_DIA + 6 * MIN)
    assert not fleet.com_dados(Dispositivo(gateway=lento), MEIO_DIA)


@pytest.mark.parametrize(
    ("campos", "idade", "esperada"),
    [
        ({}, 5 * MIN, "ONLINE"),
        ({}, 5 * MIN + SEGUNDO, "OFFLINE"),  # nobody took is_online back: the consumer is dead
        ({"intervalo_esperado_s": 600}, 30 * MIN, "ONLINE"),
        ({"intervalo_esperado_s": 600}, 30 * MIN + SEGUNDO, "OFFLINE"),
        ({"online": False}, SEGUNDO, "OFFLINE"),  # its last will came
        ({}, None, "EM_IMPLANTACAO"),
        ({"online": False}, None, "EM_IMPLANTACAO"),
        ({"is_active": False}, SEGUNDO, "INATIVO"),
        ({"is_active": False}, None, "INATIVO"),
    ],
)
def test_a_gateway_is_online_while_its_last_sign_of_life_is_recent(
    campos: dict[str, Any], idade: timedelta | None, esperada: str
) -> None:
    campos = {"intervalo_esperado_s": 60, **campos}
    gateway = factories.gateway(
        factories.conta(), visto=None if idade is None else MEIO_DIA - idade, **campos
    )

    assert fleet.situacao(gateway, MEIO_DIA).name == esperada
    assert Gateway.objects.filter(fleet.online(MEIO_DIA)).exists() == (esperada == "ONLINE")


def test_silent_gateways_come_longest_silent_first_with_what_they_affect_and_new_ones_last() -> None:
    dona = factories.conta()
    factories.gateway(dona, "A", visto=MEIO_DIA)
    recente = factories.gateway(dona, "B", online=False, visto=MEIO_DIA - MIN)
    antigo = factories.gateway(dona, "C", online=False, visto=MEIO_DIA - 99 * MIN)
    nunca = factories.gateway(dona, "D", online=False)
    for codigo in ("D01", "D02"):
        factories.dispositivo(antigo, codigo)

    mudos = fleet.mudos(fleet.gateways_ativos(dona), fleet.dispositivos_ativos(dona), MEIO_DIA)

    assert [(m.gateway, m.situacao.name, m.dispositivos) for m in mudos] == [
        (antigo, "OFFLINE", 2),
        (recente, "OFFLINE", 0),
        (nunca, "EM_IMPLANTACAO", 0),
    ]


@pytest.mark.parametrize(
    ("dias", "passo", "baldes"),
    [
        (1, 5 * MIN, 288),
        (2, 15 * MIN, 192),
        (7, 15 * MIN, 672),
        (31, 60 * MIN, 744),
        (365, timedelta(days=1), 365),
    ],
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


def test_a_rolling_window_ends_with_the_current_bucket() -> None:
    janela = Janela.ultimos(timedelta(hours=24), datetime(2026, 2, 18, 15, 7, 30, tzinfo=UTC), SP)

    assert janela.fim == datetime(2026, 2, 18, 12, 10, tzinfo=SP)
    assert janela.inicio == datetime(2026, 2, 17, 12, 10, tzinfo=SP)
