"""The dashboard: figures, filters, empty states, polls."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.cache import cache
from django.core.management import call_command
from django.db import DatabaseError
from django.test import Client
from django.urls import reverse
from django.utils.timezone import now

from tds_new.models import ConsumoBloco, Conta, ContaAtividade, Dispositivo, Gateway
from tests.support import factories

pytestmark = pytest.mark.django_db
MIN = timedelta(minutes=1)


@pytest.fixture
def dona() -> Conta:
    return factories.conta()


@pytest.fixture
def client(dona: Conta) -> Client:
    novo = Client()
    novo.force_login(
        factories.pessoa("ana@example.com", dona), backend="django.contrib.auth.backends.ModelBackend"
    )
    return novo


@pytest.fixture
def agora(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Noon of 18 February 2026 in São Paulo, for the dashboard."""
    momento = datetime(2026, 2, 18, 15, 2, 30, tzinfo=UTC)
    monkeypatch.setattr("tds_new.web.views.dashboard.now", lambda: momento)
    return momento


@pytest.fixture
def medida(dona: Conta, agora: datetime) -> Conta:
    """Energy (two meters), water and temperature; one gateway silent for an hour."""
    ligado = factories.gateway(dona, "GW-1", visto=agora - MIN)
    mudo = factories.gateway(dona, "GW-2", online=False, visto=agora - 60 * MIN)
    for gateway, fim, kwh in ((ligado, agora - MIN, 1), (mudo, agora - 60 * MIN, 3)):
        inicio = fim - 24 * 5 * MIN
        factories.leituras(
            factories.dispositivo(gateway),
            factories.escada(inicio, 5 * MIN, [1000 + kwh * i for i in range(25)]),
        )
    agua = factories.dispositivo(ligado, "D02", "AGUA", "m³")
    factories.leituras(agua, factories.escada(agora - 20 * MIN, 5 * MIN, [10.0, 10.1, 10.2, 10.3]))
    camara = factories.dispositivo(ligado, "D03", "TEMPERATURA", "°C", "INSTANTANEA")
    factories.leituras(camara, factories.escada(agora - 20 * MIN, 5 * MIN, [-18.0, -17.5, -17.0, -18.25]))
    return dona


def dados(client: Client, dona: Conta, consulta: str = "", **cabecalhos: str) -> Any:
    return client.get(reverse("painel-dados", args=[dona.pk]) + consulta, headers=cabecalhos)


def cartao(payload: dict[str, Any], identidade: str) -> dict[str, Any]:
    return next(c for c in payload["cartoes"] if c["id"] == identidade)


def test_cards_say_the_months_consumption_who_is_online_and_the_last_reading(
    client: Client, medida: Conta
) -> None:
    payload = dados(client, medida).json()

    energia = cartao(payload, "ENERGIA-kWh")
    assert (Decimal(energia["valor"]), energia["exibe"], energia["un"]) == (24 + 72, "96,00", "kWh")
    assert (energia["linha"], energia["ate"]) == ("1 a 18/02, até 12:01", "2026-02-18T15:01:30Z")
    assert cartao(payload, "AGUA-m³")["exibe"] == "0,30"
    assert [c["id"] for c in payload["cartoes"]] == [
        "ENERGIA-kWh",
        "AGUA-m³",
        "demanda",
        "gateways",
        "dispositivos",
        "ultima",
    ]
    gateways = cartao(payload, "gateways")
    assert (gateways["exibe"], gateways["un"], gateways["estado"], gateways["palavra"]) == (
        "1",
        "de 2",
        "critico",
        "1 offline",
    )
    assert cartao(payload, "dispositivos")["exibe"] == "3"
    ultima = cartao(payload, "ultima")
    assert (ultima["instante"], ultima["linha"]) == ("2026-02-18T15:01:30Z", "18/02/2026 12:01")


def test_bars_follow_the_contas_own_calendar_and_stand_beside_the_year_before(
    client: Client, dona: Conta, agora: datetime
) -> None:
    Conta.objects.update(timezone="America/Manaus")
    de = factories.dispositivo(factories.gateway(dona), tipo="INCREMENTAL")
    virada = datetime(2026, 2, 1, 4, tzinfo=UTC)  # midnight in Manaus
    factories.leituras(de, [(virada - MIN, 5), (virada, 7), (datetime(2025, 2, 9, tzinfo=UTC), 3)])

    (energia,) = dados(client, dona).json()["barras"]

    assert [(m["valor"], m["anterior"]) for m in energia["meses"][-2:]] == [(5.0, None), (7.0, 3.0)]
    assert energia["comparada"] is True
    assert "Em cinza, o mesmo mês do ano anterior." in energia["resumo"]


# --- the month before, what it rests on, demand ---


def blocos(
    de: Dispositivo,
    inicio: datetime,
    fim: datetime,
    consumo: str,
    fracao: str = "1",
    qualidade: str = "MEDIDO",
) -> None:
    ConsumoBloco.objects.bulk_create(
        ConsumoBloco(
            dispositivo=de, bloco=inicio + n * 15 * MIN, conta_id=de.conta_id, gateway_id=de.gateway_id, consumo=Decimal(consumo),
            leituras=3, fracao_medida=Decimal(fracao), qualidade=qualidade,
        )
        for n in range((fim - inicio) // (15 * MIN))
    )  # fmt: skip


JANEIRO, FEVEREIRO = (datetime(2026, mes, 1, 3, tzinfo=UTC) for mes in (1, 2))
CORTE = datetime(2026, 2, 18, 15, tzinfo=UTC)  # the start of the block of `agora`
CORTE_DE_JANEIRO = CORTE.replace(month=1)


@pytest.fixture
def medidor(dona: Conta, agora: datetime) -> Dispositivo:
    de = factories.dispositivo(factories.gateway(dona, visto=agora))
    Dispositivo.objects.update(last_seen=CORTE - MIN)
    ContaAtividade.objects.create(conta=dona, ultima_leitura=agora)
    return Dispositivo.objects.get(pk=de.pk)


@pytest.mark.parametrize(
    ("antes", "depois", "detalhe", "falado"),
    [
        ("1", "1.06", "▲ 6,0% ante 1 a 18/01 (1.680 kWh)", "6,0% acima do período de 1 a 18/01"),
        ("1", "0.5", "▼ 50% ante 1 a 18/01 (1.680 kWh)", "50% abaixo do período de 1 a 18/01"),
        ("1", "1.009", "estável ante 1 a 18/01 (1.680 kWh)", ""),
        ("0", "1", "antes 0 kWh, de 1 a 18/01", ""),
    ],
)
def test_the_month_is_compared_with_the_same_stretch_of_the_one_before(
    client: Client, dona: Conta, medidor: Dispositivo, antes: str, depois: str, detalhe: str, falado: str
) -> None:
    blocos(medidor, JANEIRO, FEVEREIRO, antes)  # all of January: what lies after the 18th, 12:00, stays out
    blocos(medidor, FEVEREIRO, CORTE, depois)

    energia = cartao(dados(client, dona).json(), "ENERGIA-kWh")

    assert (energia["detalhe"].replace("\u00a0", " "), energia["falado"]) == (detalhe, falado)
    assert Decimal(energia["anterior"]) == 1680 * Decimal(antes)
    assert (energia["qualidade"], energia["cobertura"]) == ("100% medido", "1.0000")
    assert energia["linha"] == "1 a 18/02, até 12:00"


def test_what_was_measured_too_little_is_not_compared_and_says_why(
    client: Client, dona: Conta, medidor: Dispositivo
) -> None:
    blocos(medidor, JANEIRO, FEVEREIRO, "1")
    meio = FEVEREIRO + timedelta(days=12)
    blocos(medidor, FEVEREIRO, meio, "1")
    blocos(medidor, meio, CORTE, "1", "0", "INTERPOLADO")

    energia = cartao(dados(client, dona).json(), "ENERGIA-kWh")

    assert energia["detalhe"] == "sem comparação: só 68,5% medido"
    assert energia["qualidade"] == "68,5% medido · ◐ 31,4% interpolado"


def test_a_little_that_was_estimated_is_not_called_nothing(
    client: Client, dona: Conta, medidor: Dispositivo
) -> None:
    blocos(medidor, FEVEREIRO, CORTE - 15 * MIN, "1")
    blocos(medidor, CORTE - 15 * MIN, CORTE, "1", "0.5", "ESTIMADO")

    assert (
        cartao(dados(client, dona).json(), "ENERGIA-kWh")["qualidade"]
        == "99,9% medido · ≈ menos de 0,1% estimado"
    )


def test_a_month_before_that_was_measured_too_little_is_no_measure(
    client: Client, dona: Conta, medidor: Dispositivo
) -> None:
    blocos(medidor, JANEIRO, CORTE_DE_JANEIRO, "1", "0.9", "ESTIMADO")
    blocos(medidor, FEVEREIRO, CORTE, "1")

    assert (
        cartao(dados(client, dona).json(), "ENERGIA-kWh")["detalhe"]
        == "sem comparação: só 90% medido de 1 a 18/01"
    )


def test_without_a_month_before_nothing_is_compared(
    client: Client, dona: Conta, medidor: Dispositivo
) -> None:
    blocos(medidor, FEVEREIRO, CORTE, "1")

    assert (
        cartao(dados(client, dona).json(), "ENERGIA-kWh")["detalhe"]
        == "sem comparação: nada medido de 1 a 18/01"
    )


def test_the_peak_demand_says_when_and_of_which_meter(
    client: Client, dona: Conta, medidor: Dispositivo
) -> None:
    outro = factories.dispositivo(medidor.gateway, "D02")
    blocos(medidor, FEVEREIRO, CORTE, "1")
    quando = datetime(2026, 2, 11, 21, 45, tzinfo=UTC)
    blocos(outro, quando, quando + 15 * MIN, "103")
    blocos(outro, CORTE, CORTE + 15 * MIN, "900")  # not over yet

    demanda = cartao(dados(client, dona).json(), "demanda")

    assert (demanda["exibe"], demanda["un"], demanda["linha"]) == ("412", "kW", "11/02, das 18:45 às 19:00")
    assert (Decimal(demanda["valor"]), demanda["detalhe"]) == (412, "D02")
    assert (
        demanda["qualidade"] == "72,3% medido"
    )  # D02 measured next to nothing since its first block on the 11th


def test_a_peak_out_of_blocks_with_holes_is_not_determined(
    client: Client, dona: Conta, medidor: Dispositivo
) -> None:
    blocos(medidor, FEVEREIRO, CORTE, "1", "0.9")

    demanda = cartao(dados(client, dona).json(), "demanda")

    assert (demanda["valor"], demanda["exibe"], demanda["linha"], demanda["qualidade"]) == (
        None,
        "—",
        "Não apurada",
        "90% medido",
    )


def test_a_reading_that_is_not_computed_yet_leaves_no_empty_page(
    client: Client, dona: Conta, medidor: Dispositivo
) -> None:
    payload = dados(client, dona).json()

    energia = cartao(payload, "ENERGIA-kWh")
    assert (energia["exibe"], energia["linha"]) == ("—", "Calculando o consumo…")
    assert [g["id"] for g in payload["graficos"]] == ["kW"]


def test_no_chart_mixes_units_and_registers_are_drawn_as_rates(client: Client, medida: Conta) -> None:
    graficos = dados(client, medida).json()["graficos"]

    assert [g["id"] for g in graficos] == ["kW", "m³/h", "°C"]
    assert all({s["un"] for s in g["series"]} == {g["un"]} for g in graficos)
    assert [g["titulo"] for g in graficos] == [
        "Potência média (kW)",
        "Vazão média de água (m³/h)",
        "Temperatura (°C)",
    ]
    kw = graficos[0]["series"]
    assert [s["nome"] for s in kw] == ["D01 (GW-1)", "D01 (GW-2)"]
    assert [{p[1] for p in s["pontos"]} for s in kw] == [{12.0}, {36.0}]
    assert graficos[2]["series"][0]["pontos"][-1][1:4] == [-18.25, -18.25, -18.25]
    assert graficos[2]["zero"] is False


def test_an_interval_that_is_not_over_is_explained_in_the_caption(client: Client, medida: Conta) -> None:
    potencia, _agua, temperatura = dados(client, medida).json()["graficos"]

    assert potencia["resumo"].endswith("Pontilhado: o intervalo que ainda não terminou.")  # read a minute ago
    assert "Pontilhado" not in temperatura["resumo"]  # read five minutes ago


def test_bars_have_13_local_months_and_name_the_unfinished_one(client: Client, medida: Conta) -> None:
    energia = dados(client, medida).json()["barras"][0]

    assert [m["mes"] for m in energia["meses"]][::6] == ["fev/25", "ago/25", "fev/26"]
    assert (
        energia["meses"][-1].items()
        >= {"mes": "fev/26", "valor": 96.0, "exibe": "96,00", "anterior": None, "parcial": True}.items()
    )
    assert energia["meses"][0].items() >= {"valor": None, "cobertura": None, "medido": "—"}.items()
    assert "vai até 18/02" in energia["resumo"]
    assert energia["comparada"] is False


def test_last_readings_show_the_registers_digits_and_the_meters_time(client: Client, medida: Conta) -> None:
    linhas = dados(client, medida).json()["leituras"]["linhas"]

    assert len(linhas) == 10
    assert (linhas[0]["dispositivo"], linhas[0]["valor"], linhas[0]["quando"]) == (
        "D01 (GW-1)",
        "1.024",
        "18/02/2026 12:01",
    )
    assert {"D03", "D02"} <= {linha["dispositivo"] for linha in linhas}
    assert "−18,3" in {linha["valor"] for linha in linhas}


def test_silent_gateways_are_listed_with_what_they_affect(client: Client, medida: Conta) -> None:
    (mudo,) = dados(client, medida).json()["offline"]["linhas"]

    assert (mudo["nome"], mudo["desde"], mudo["afeta"]) == (
        "GW-2",
        "último sinal em 18/02/2026 11:02",
        "afeta 1 dispositivo",
    )


def test_while_no_consumer_runs_no_gateway_stays_online(
    client: Client, medida: Conta, agora: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the consumer takes ``is_online`` back; the pages look at the clock."""
    depois = agora + timedelta(hours=3)
    for modulo in ("painel", "listas"):
        monkeypatch.setattr(f"tds_new.web.views.{modulo}.now", lambda: depois)

    payload = dados(client, medida).json()
    lista = client.get(reverse("gateway-lista", args=[medida.pk])).context["linhas"]

    gateways = cartao(payload, "gateways")
    assert (gateways["exibe"], gateways["estado"], gateways["palavra"]) == ("0", "critico", "2 offline")
    assert (payload["offline"]["vazio"], payload["offline"]["total"]) == ("", 2)
    assert [linha["nome"] for linha in payload["offline"]["linhas"]] == ["GW-2", "GW-1"]
    assert [linha["palavra"] for linha in lista] == ["Offline", "Offline"]


def test_a_gateway_that_was_never_heard_is_being_installed_and_not_offline(
    client: Client, dona: Conta, agora: datetime
) -> None:
    factories.gateway(dona, "GW-1", visto=agora - MIN)
    factories.gateway(dona, "GW-2", online=False)

    payload = dados(client, dona).json()

    gateways = cartao(payload, "gateways")
    assert (gateways["exibe"], gateways["un"], gateways["estado"], gateways["palavra"]) == (
        "1",
        "de 2",
        "info",
        "1 em implantação",
    )
    (novo,) = payload["offline"]["linhas"]
    assert (novo["nome"], novo["estado"], payload["offline"]["total"]) == ("GW-2", "info", 0)

    Gateway.objects.filter(codigo="GW-1").update(is_online=False)
    gateways = cartao(dados(client, dona).json(), "gateways")
    assert (gateways["estado"], gateways["palavra"]) == ("critico", "1 offline, 1 em implantação")


def test_the_page_holds_it_all_without_scripts(client: Client, medida: Conta) -> None:
    pagina = client.get(reverse("painel", args=[medida.pk])).text

    for texto in (
        "96,00",
        "1.024",
        "−18,3",
        "último sinal em 18/02/2026 11:02",
        "Potência média (kW)",
        "fev/26 *",
        "Horário de Brasília (GMT-3)",
    ):
        assert texto in pagina
    embutido = json.loads(
        pagina.split('<script id="dados" type="application/json">')[1].split("</script>")[0]
    )
    assert embutido["graficos"] == dados(client, medida).json()["graficos"]


def test_text_from_the_field_is_escaped(client: Client, dona: Conta, agora: datetime) -> None:
    mau = "</script><b>"
    factories.leituras(
        factories.dispositivo(factories.gateway(dona, "<i>gw</i>"), mau),
        factories.escada(agora - 9 * MIN, 5 * MIN, [1, 2]),
    )

    pagina = client.get(reverse("painel", args=[dona.pk])).text

    assert mau not in pagina
    assert "<i>gw" not in pagina
    assert "&lt;/script&gt;&lt;b&gt;" in pagina


# --- filters ---


def test_a_device_filter_narrows_every_block(client: Client, medida: Conta) -> None:
    mudo = Dispositivo.objects.get(gateway__codigo="GW-2")

    payload = dados(client, medida, f"?disp={mudo.pk}").json()

    assert [s["id"] for g in payload["graficos"] for s in g["series"]] == [mudo.pk]
    assert cartao(payload, "ENERGIA-kWh")["exibe"] == "72,00"
    assert payload["barras"][0]["meses"][-1]["valor"] == 72
    assert {linha["gateway"] for linha in payload["leituras"]["linhas"]} == {"GW-2"}
    assert cartao(payload, "gateways")["un"] == "de 1"


@pytest.mark.parametrize("forma", ["?disp={0},{1}", "?disp={0}&disp={1}"])
def test_several_devices_come_as_a_list_or_as_repeated_fields(
    client: Client, medida: Conta, forma: str
) -> None:
    ids = list(Dispositivo.objects.filter(codigo="D01").values_list("pk", flat=True))

    payload = dados(client, medida, forma.format(*ids)).json()

    assert {s["id"] for g in payload["graficos"] for s in g["series"]} == set(ids)


@pytest.mark.parametrize(("periodo", "passo_min", "dias"), [("24h", 5, 1), ("7d", 15, 7), ("30d", 60, 30)])
def test_periods_set_the_window_and_the_bucket(
    client: Client, medida: Conta, periodo: str, passo_min: int, dias: int
) -> None:
    janela = dados(client, medida, f"?periodo={periodo}").json()["janela"]

    assert janela["passo"] == passo_min * 60_000
    assert janela["ate"] - janela["de"] == dias * 86_400_000


def test_dates_are_local_and_both_included(client: Client, medida: Conta) -> None:
    payload = dados(client, medida, "?periodo=datas&de=2026-02-17&ate=2026-02-18").json()

    assert payload["janela"]["de"] == datetime(2026, 2, 17, 3, tzinfo=UTC).timestamp() * 1000
    assert payload["janela"]["ate"] == datetime(2026, 2, 19, 3, tzinfo=UTC).timestamp() * 1000
    assert payload["titulo"] == "17/02/2026 – 18/02/2026"
    assert len(payload["leituras"]["linhas"]) == 10


@pytest.mark.parametrize(
    ("consulta", "aviso"),
    [
        ("periodo=ano", "Não conhecemos esse período."),
        ("periodo=datas", "Informe as duas datas"),
        ("periodo=datas&de=2026-02-31&ate=x", "Informe as duas datas"),
        ("de=2026-02-18&ate=2026-02-01", "igual ou posterior a 18/02/2026"),
        ("de=2027-02-18&ate=2027-02-19", "hoje ou antes"),
        ("de=0001-01-01&ate=9999-12-31", "fora do que guardamos"),
        ("de=2020-01-01&ate=2026-01-01", "até 13 meses"),
        ("disp=abc", "que esta conta não tem"),
        ("disp=99999999999999999999999", "que esta conta não tem"),
        ("disp=%00&periodo=%00", "que esta conta não tem"),
    ],
)
def test_nonsense_is_ignored_and_said(client: Client, medida: Conta, consulta: str, aviso: str) -> None:
    pagina = client.get(reverse("painel", args=[medida.pk]) + "?" + consulta)

    assert pagina.status_code == 200
    assert aviso in pagina.text
    assert dados(client, medida, "?" + consulta).status_code == 200


@pytest.mark.parametrize(
    "consulta", ["", "periodo=", "de=&ate=", "disp=", "disp=,,", "periodo=24h&de=&ate=&disp="]
)
def test_empty_fields_mean_the_default_without_a_word(client: Client, medida: Conta, consulta: str) -> None:
    response = client.get(reverse("painel", args=[medida.pk]) + "?" + consulta)

    assert response.status_code == 200
    assert response.context["filtro"].periodo == "24h"
    assert response.context["filtro"].avisos == []


def test_another_contas_device_is_no_different_from_one_that_does_not_exist(
    client: Client, medida: Conta
) -> None:
    alheio = factories.dispositivo(factories.gateway(factories.conta("Outra")), "SEGREDO")

    pagina = client.get(reverse("painel", args=[medida.pk]) + f"?disp={alheio.pk}").text

    assert "que esta conta não tem" in pagina
    assert "SEGREDO" not in pagina


# --- empty states ---


def test_a_conta_without_gateways_says_who_makes_them(client: Client, dona: Conta) -> None:
    pagina = client.get(reverse("painel", args=[dona.pk])).text

    assert "Ainda não recebemos nenhuma leitura desta conta." in pagina
    assert "cadastra o gateway e os seus dispositivos" in pagina


def test_registered_but_silent_is_another_sentence(client: Client, dona: Conta) -> None:
    factories.dispositivo(factories.gateway(dona, online=False))

    pagina = client.get(reverse("painel", args=[dona.pk])).text

    assert "Assim que o primeiro gateway enviar" in pagina
    assert "Em implantação: ainda não se comunicou" in pagina


def test_a_period_without_readings_names_the_last_one(client: Client, medida: Conta) -> None:
    payload = dados(client, medida, "?de=2026-02-01&ate=2026-02-02").json()

    assert all(
        g["vazio"].startswith("Nenhuma leitura de 01/02/2026 – 02/02/2026. A última foi em 18/02/2026")
        for g in payload["graficos"]
    )
    assert payload["leituras"]["vazio"].startswith("Nenhuma leitura de 01/02/2026")


def test_a_block_that_fails_says_so_and_leaves_the_others(
    client: Client, medida: Conta, monkeypatch: pytest.MonkeyPatch
) -> None:
    def falhar(*_args: object) -> None:
        raise DatabaseError("canceling statement due to statement timeout")

    monkeypatch.setattr("tds_new.web.dashboard.charts.series", falhar)
    response = client.get(reverse("painel", args=[medida.pk]))

    assert response.status_code == 200
    assert "Não foi possível carregar este bloco." in response.text
    assert "96,00" in response.text
    assert "statement timeout" not in response.text
    assert response.context["etag"] == ""
    assert "ETag" not in dados(client, medida)


def test_months_that_are_over_are_remembered_for_a_while_where_they_are_costly(
    client: Client, dona: Conta, medidor: Dispositivo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tds_new.web.dashboard.cache.DEMORADO_S", 0)
    monkeypatch.setattr("tds_new.web.dashboard.cache.VEZES", 1_000_000)
    cache.clear()
    blocos(medidor, JANEIRO, FEVEREIRO, "1")
    blocos(medidor, FEVEREIRO, CORTE - 60 * MIN, "1")
    antes = dados(client, dona).json()["barras"][0]["meses"]
    ConsumoBloco.objects.filter(bloco__lt=FEVEREIRO).delete()
    blocos(medidor, CORTE - 60 * MIN, CORTE, "1")

    depois = dados(client, dona).json()["barras"][0]["meses"]
    escolhido = dados(client, dona, f"?disp={medidor.pk}").json()["barras"][0]["meses"]
    cache.clear()

    assert (antes[-2]["valor"], depois[-2]["valor"], escolhido[-2]["valor"]) == (2976, 2976, None)
    assert depois[-1]["valor"] == antes[-1]["valor"] + 4


# --- polls ---


def test_an_unchanged_dashboard_is_a_304_that_costs_no_heavy_query(
    client: Client, medida: Conta, django_assert_max_num_queries: Any
) -> None:
    etag = dados(client, medida)["ETag"]

    with django_assert_max_num_queries(4):  # session, person, Conta, counters
        igual = dados(client, medida, **{"if-none-match": etag})

    assert (igual.status_code, igual.content, igual["ETag"]) == (304, b"", etag)
    assert "no-cache" in igual["Cache-Control"]


def test_the_first_poll_of_a_page_is_already_conditional(client: Client, medida: Conta) -> None:
    pagina = client.get(reverse("painel", args=[medida.pk]) + "?periodo=7d")

    assert (
        dados(client, medida, "?periodo=7d", **{"if-none-match": pagina.context["etag"]}).status_code == 304
    )


def test_a_compressed_answer_still_compares(client: Client, medida: Conta) -> None:
    comprimida = dados(client, medida, **{"accept-encoding": "gzip"})

    assert comprimida["Content-Encoding"] == "gzip"
    assert dados(client, medida, **{"if-none-match": comprimida["ETag"]}).status_code == 304


def de_outra_pessoa(client: Client, dona: Conta, _monkeypatch: pytest.MonkeyPatch) -> None:
    client.force_login(
        factories.pessoa("bia@example.com", dona), backend="django.contrib.auth.backends.ModelBackend"
    )


def cinco_minutos_depois(_client: Client, _dona: Conta, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "tds_new.web.views.dashboard.now", lambda: datetime(2026, 2, 18, 15, 7, 30, tzinfo=UTC)
    )


@pytest.mark.parametrize(
    "mudanca",
    [
        lambda _c, dona, _m: ContaAtividade.objects.filter(conta=dona).update(ingestao_seq=99),
        lambda _c, dona, _m: ContaAtividade.objects.filter(conta=dona).update(status_seq=99),
        lambda _c, dona, _m: ContaAtividade.objects.filter(conta=dona).update(consumo_seq=99),
        lambda client, _d, _m: client.cookies.load({"django_language": "en"}),
        de_outra_pessoa,
        cinco_minutos_depois,
    ],
    ids=[
        "a batch was stored",
        "a gateway changed state",
        "consumption was computed",
        "another language",
        "another person",
        "time went by",
    ],
)
def test_whatever_changes_the_dashboard_changes_its_etag(
    client: Client, medida: Conta, monkeypatch: pytest.MonkeyPatch, mudanca: Any
) -> None:
    etag = dados(client, medida)["ETag"]

    mudanca(client, medida, monkeypatch)

    assert dados(client, medida, **{"if-none-match": etag}).status_code == 200


def test_other_filters_have_other_etags_and_seq_has_none(client: Client, medida: Conta) -> None:
    etags = {
        dados(client, medida, consulta)["ETag"] for consulta in ("", "?periodo=7d", "?disp=1", "?disp=1,2")
    }

    assert len(etags) == 4
    assert dados(client, medida, "?seq=5")["ETag"] == dados(client, medida)["ETag"]


def test_polls_do_not_keep_a_session_alive(client: Client, medida: Conta) -> None:
    sessao = Session.objects.get()
    Session.objects.update(expire_date=sessao.expire_date - timedelta(hours=11))
    antes = Session.objects.values().get()

    completa = dados(client, medida)
    igual = dados(client, medida, **{"if-none-match": completa["ETag"]})

    assert not completa.cookies
    assert not igual.cookies
    assert Session.objects.values().get() == antes


def test_a_session_ends_after_its_twelve_hours_whatever_was_polled(client: Client, medida: Conta) -> None:
    assert dados(client, medida).status_code == 200
    Session.objects.update(expire_date=now() - timedelta(seconds=1))

    assert dados(client, medida).status_code == 401
    call_command("clearsessions")
    assert Session.objects.count() == 0


# --- size ---


def muitos(dona: Conta, quantos: int, agora: datetime) -> None:
    gateway = Gateway.objects.first() or factories.gateway(dona)
    existentes = gateway.dispositivos.count()
    novos = [
        Dispositivo(conta=dona, gateway=gateway, codigo=f"M{n:03}", unidade="kWh", last_seen=agora - MIN)
        for n in range(existentes, existentes + quantos)
    ]
    Dispositivo.objects.bulk_create(novos)


@pytest.mark.parametrize("nome", ["painel", "painel-dados", "dispositivo-lista", "gateway-lista"])
def test_the_number_of_queries_does_not_grow_with_the_devices(
    client: Client,
    dona: Conta,
    agora: datetime,
    nome: str,
    django_assert_num_queries: Any,
    django_assert_max_num_queries: Any,
) -> None:
    muitos(dona, 10, agora)
    client.get(reverse(nome, args=[dona.pk]))
    with django_assert_max_num_queries(16) as dez:
        client.get(reverse(nome, args=[dona.pk]))
    muitos(dona, 490, agora)

    with django_assert_num_queries(len(dez)):
        assert client.get(reverse(nome, args=[dona.pk])).status_code == 200


def test_at_most_four_devices_of_a_unit_are_drawn_unasked_and_eight_asked_for(
    client: Client, dona: Conta, agora: datetime
) -> None:
    muitos(dona, 12, agora)
    ContaAtividade.objects.create(conta=dona, ultima_leitura=agora)
    ids = ",".join(str(pk) for pk in Dispositivo.objects.values_list("pk", flat=True))

    (sem,) = dados(client, dona).json()["graficos"]
    (com,) = dados(client, dona, f"?disp={ids}").json()["graficos"]

    assert (len(sem["series"]), len(com["series"])) == (4, 8)
    assert sem["mostrados"] == "Mostrando 4 de 12 dispositivos; escolha outros em Filtros."


# --- lists ---


def test_the_lists_show_states_in_words(client: Client, medida: Conta) -> None:
    Gateway.objects.create(conta=medida, codigo="GW-3", mac="02:ff:00:00:00:01")
    Gateway.objects.filter(codigo="GW-1").update(last_seen=now())
    dispositivos = client.get(reverse("dispositivo-lista", args=[medida.pk])).text
    gateways = client.get(reverse("gateway-lista", args=[medida.pk])).text

    assert "Atrasado" in dispositivos
    assert all(palavra in gateways for palavra in ("Online", "Offline", "Em implantação"))


@pytest.mark.parametrize("consulta", ["q=GW-2", "q=gw-2&pagina=zzz", "q=GW-2&pagina=99999"])
def test_the_lists_are_searched_and_paged_within_the_conta(
    client: Client, medida: Conta, consulta: str
) -> None:
    factories.dispositivo(factories.gateway(factories.conta("Outra"), "GW-2"), "ALHEIO")

    dispositivos = client.get(reverse("dispositivo-lista", args=[medida.pk]) + "?" + consulta)

    assert [linha["objeto"].gateway.codigo for linha in dispositivos.context["linhas"]] == ["GW-2"]
    assert "ALHEIO" not in dispositivos.text


@pytest.mark.parametrize("nome", ["dispositivo-lista", "gateway-lista"])
@pytest.mark.parametrize("busca", ["%00", "'; DROP TABLE", "%25_%5C", "x" * 5000])
def test_a_search_that_finds_nothing_says_so(client: Client, medida: Conta, nome: str, busca: str) -> None:
    response = client.get(reverse(nome, args=[medida.pk]) + f"?q={busca}")

    assert response.status_code == 200
    assert busca == "%00" or "com essa busca" in response.text


# --- what a poll carries ---


def marcas(payload: dict[str, Any]) -> str:
    return "".join(marca for g in payload["graficos"] for s in g["series"] for _indice, marca in s["partes"])


def pontos(payload: dict[str, Any]) -> list[Any]:
    return [ponto for g in payload["graficos"] for s in g["series"] for ponto in s["pontos"]]


def test_a_poll_carries_only_the_parts_that_changed_late_readings_included(
    client: Client, medida: Conta, agora: datetime
) -> None:
    tudo = dados(client, medida).json()
    assert pontos(dados(client, medida, "?tem=" + marcas(tudo)).json()) == []

    camara = Dispositivo.objects.get(codigo="D03")
    factories.leituras(camara, [(agora - timedelta(hours=20), -10)])
    depois = dados(client, medida, "?tem=" + marcas(tudo)).json()

    assert [p[1] for p in pontos(depois)] == [-10.0]
    assert len(pontos(dados(client, medida).json())) == len(pontos(tudo)) + 1


@pytest.mark.parametrize("tem", ["x", "%00", "abcdef!", "abcdefg", "á" * 6])
def test_marks_that_make_no_sense_bring_the_whole(client: Client, medida: Conta, tem: str) -> None:
    assert pontos(dados(client, medida, f"?tem={tem}").json()) == pontos(dados(client, medida).json())


def test_a_poll_of_a_busy_dashboard_stays_small(client: Client, dona: Conta, agora: datetime) -> None:
    gateway = factories.gateway(dona, visto=agora)
    for n in range(8):
        sensor = factories.dispositivo(gateway, f"D{n}", "TEMPERATURA", "°C", "INSTANTANEA")
        factories.leituras(
            sensor,
            factories.escada(
                agora - 1435 * MIN, 5 * MIN, [20 + (i * 7919 + n * 104_729) % 1000 / 100 for i in range(288)]
            ),
        )
    disp = "?disp=" + ",".join(str(pk) for pk in Dispositivo.objects.values_list("pk", flat=True))
    tem = marcas(dados(client, dona, disp).json())
    factories.leituras(sensor, [(agora + timedelta(seconds=1), 21.5)])

    poll = dados(client, dona, f"{disp}&tem={tem}", **{"accept-encoding": "gzip"})

    assert poll["Content-Encoding"] == "gzip"
    assert len(poll.content) <= 6 * 1024
    assert len(tem) < 3000
