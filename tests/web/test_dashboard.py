"""The dashboard: figures, filters, empty states, polls."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
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
def owner() -> Conta:
    return factories.conta()


@pytest.fixture
def client(owner: Conta) -> Client:
    new = Client()
    new.force_login(factories.person("ana@example.com", owner))
    return new


def set_clock(monkeypatch: pytest.MonkeyPatch, moment: datetime) -> None:
    """Let it be ``moment`` for the pages, and for nothing else."""
    for module in ("dashboard", "lists"):
        monkeypatch.setattr(f"tds_new.web.views.{module}.timezone", SimpleNamespace(now=lambda: moment))


@pytest.fixture
def noon(monkeypatch: pytest.MonkeyPatch) -> datetime:
    """Noon of 18 February 2026 in São Paulo, for the dashboard."""
    moment = datetime(2026, 2, 18, 15, 2, 30, tzinfo=UTC)
    set_clock(monkeypatch, moment)
    return moment


@pytest.fixture
def measured_conta(owner: Conta, noon: datetime) -> Conta:
    """Energy (two meters), water and temperature; one gateway silent for an hour."""
    connected = factories.gateway(owner, "GW-1", seen=noon - MIN)
    silent = factories.gateway(owner, "GW-2", online=False, seen=noon - 60 * MIN)
    for gateway, end, kwh in ((connected, noon - MIN, 1), (silent, noon - 60 * MIN, 3)):
        start = end - 24 * 5 * MIN
        factories.readings(
            factories.device(gateway),
            factories.points(start, 5 * MIN, [1000 + kwh * i for i in range(25)]),
        )
    water = factories.device(connected, "D02", "AGUA", "m³")
    factories.readings(water, factories.points(noon - 20 * MIN, 5 * MIN, [10.0, 10.1, 10.2, 10.3]))
    freezer = factories.device(connected, "D03", "TEMPERATURA", "°C", "INSTANTANEA")
    factories.readings(freezer, factories.points(noon - 20 * MIN, 5 * MIN, [-18.0, -17.5, -17.0, -18.25]))
    return owner


def data(client: Client, owner: Conta, query: str = "", **headers: str) -> Any:
    return client.get(reverse("dashboard-data", args=[owner.pk]) + query, headers=headers)


def card(payload: dict[str, Any], card_id: str) -> dict[str, Any]:
    return next(c for c in payload["cards"] if c["id"] == card_id)


def test_cards_say_the_months_consumption_who_is_online_and_the_last_reading(
    client: Client, measured_conta: Conta
) -> None:
    payload = data(client, measured_conta).json()

    energy = card(payload, "ENERGIA-kWh")
    assert (Decimal(energy["value"]), energy["shown"], energy["unit"]) == (24 + 72, "96,00", "kWh")
    assert (energy["line"], energy["end"]) == ("1 a 18/02, até 12:01", "2026-02-18T15:01:30Z")
    assert card(payload, "AGUA-m³")["shown"] == "0,30"
    assert [c["id"] for c in payload["cards"]] == [
        "ENERGIA-kWh",
        "AGUA-m³",
        "demand",
        "gateways",
        "devices",
        "latest",
    ]
    gateways = card(payload, "gateways")
    assert (gateways["shown"], gateways["unit"], gateways["state"], gateways["word"]) == (
        "1",
        "de 2",
        "critical",
        "1 offline",
    )
    assert card(payload, "devices")["shown"] == "3"
    latest = card(payload, "latest")
    assert (latest["instant"], latest["line"]) == ("2026-02-18T15:01:30Z", "18/02/2026 12:01")


def test_bars_follow_the_contas_own_calendar_and_stand_beside_the_year_before(
    client: Client, owner: Conta, noon: datetime
) -> None:
    Conta.objects.update(timezone="America/Manaus")
    device = factories.device(factories.gateway(owner), tipo_leitura="INCREMENTAL")
    turn = datetime(2026, 2, 1, 4, tzinfo=UTC)  # midnight in Manaus
    interval = timedelta(seconds=device.gateway.intervalo_esperado_s)
    factories.readings(device, [(turn, 5), (turn + interval, 7)])
    other = factories.device(device.gateway, "D02", tipo_leitura="INCREMENTAL")
    factories.readings(other, [(datetime(2025, 2, 9, tzinfo=UTC), 3)])

    (energy,) = data(client, owner).json()["bars"]

    assert [(m["value"], m["previous"]) for m in energy["months"][-2:]] == [(5.0, None), (7.0, 3.0)]
    assert energy["compared"] is True
    assert "Em cinza, o mesmo mês do ano anterior." in energy["summary"]


# --- the month before, what it rests on, demand ---


def store_blocks(
    device: Dispositivo,
    start: datetime,
    end: datetime,
    consumption: str,
    fraction: str = "1",
    quality: str = "MEDIDO",
) -> None:
    ConsumoBloco.objects.bulk_create(
        factories.block(device, start + n * 15 * MIN, consumption, fraction, quality)
        for n in range((end - start) // (15 * MIN))
    )


JANUARY, FEBRUARY = (datetime(2026, month, 1, 3, tzinfo=UTC) for month in (1, 2))
CUTOFF = datetime(2026, 2, 18, 15, tzinfo=UTC)  # the start of the block of `noon`
JANUARY_CUTOFF = CUTOFF.replace(month=1)


@pytest.fixture
def meter(owner: Conta, noon: datetime) -> Dispositivo:
    device = factories.device(factories.gateway(owner, seen=noon))
    Dispositivo.objects.update(last_seen=CUTOFF - MIN)
    ContaAtividade.objects.create(conta=owner, ultima_leitura=noon)
    return Dispositivo.objects.get(pk=device.pk)


@pytest.mark.parametrize(
    ("before", "after", "detail", "spoken"),
    [
        ("1", "1.06", "▲ 6,0% ante 1 a 18/01 (1.680 kWh)", "6,0% acima do período de 1 a 18/01"),
        ("1", "0.5", "▼ 50% ante 1 a 18/01 (1.680 kWh)", "50% abaixo do período de 1 a 18/01"),
        ("1", "1.009", "estável ante 1 a 18/01 (1.680 kWh)", ""),
        ("0", "1", "antes 0 kWh, de 1 a 18/01", ""),
    ],
)
def test_the_month_is_compared_with_the_same_stretch_of_the_one_before(
    client: Client, owner: Conta, meter: Dispositivo, before: str, after: str, detail: str, spoken: str
) -> None:
    store_blocks(
        meter, JANUARY, FEBRUARY, before
    )  # all of January: what lies after the 18th, 12:00, stays out
    store_blocks(meter, FEBRUARY, CUTOFF, after)

    energy = card(data(client, owner).json(), "ENERGIA-kWh")

    assert (energy["detail"].replace("\u00a0", " "), energy["spoken"]) == (detail, spoken)
    assert Decimal(energy["previous"]) == 1680 * Decimal(before)
    assert (energy["quality"], energy["coverage"]) == ("100% medido", "1.0000")
    assert energy["line"] == "1 a 18/02, até 12:00"


def test_what_was_measured_too_little_is_not_compared_and_says_why(
    client: Client, owner: Conta, meter: Dispositivo
) -> None:
    store_blocks(meter, JANUARY, FEBRUARY, "1")
    middle = FEBRUARY + timedelta(days=12)
    store_blocks(meter, FEBRUARY, middle, "1")
    store_blocks(meter, middle, CUTOFF, "1", "0", "INTERPOLADO")

    energy = card(data(client, owner).json(), "ENERGIA-kWh")

    assert energy["detail"] == "sem comparação: só 68,5% medido"
    assert energy["quality"] == "68,5% medido · ◐ 31,4% interpolado"


def test_a_little_that_was_estimated_is_not_called_nothing(
    client: Client, owner: Conta, meter: Dispositivo
) -> None:
    store_blocks(meter, FEBRUARY, CUTOFF - 15 * MIN, "1")
    store_blocks(meter, CUTOFF - 15 * MIN, CUTOFF, "1", "0.5", "ESTIMADO")

    assert (
        card(data(client, owner).json(), "ENERGIA-kWh")["quality"]
        == "99,9% medido · ≈ menos de 0,1% estimado"
    )


def test_a_month_before_that_was_measured_too_little_is_no_measure(
    client: Client, owner: Conta, meter: Dispositivo
) -> None:
    store_blocks(meter, JANUARY, JANUARY_CUTOFF, "1", "0.9", "ESTIMADO")
    store_blocks(meter, FEBRUARY, CUTOFF, "1")

    assert (
        card(data(client, owner).json(), "ENERGIA-kWh")["detail"]
        == "sem comparação: só 90% medido de 1 a 18/01"
    )


def test_without_a_month_before_nothing_is_compared(client: Client, owner: Conta, meter: Dispositivo) -> None:
    store_blocks(meter, FEBRUARY, CUTOFF, "1")

    assert (
        card(data(client, owner).json(), "ENERGIA-kWh")["detail"]
        == "sem comparação: nada medido de 1 a 18/01"
    )


def test_the_peak_demand_says_when_and_of_which_meter(
    client: Client, owner: Conta, meter: Dispositivo
) -> None:
    other = factories.device(meter.gateway, "D02")
    store_blocks(meter, FEBRUARY, CUTOFF, "1")
    when = datetime(2026, 2, 11, 21, 45, tzinfo=UTC)
    store_blocks(other, when, when + 15 * MIN, "103")
    store_blocks(other, CUTOFF, CUTOFF + 15 * MIN, "900")  # not over yet

    demand = card(data(client, owner).json(), "demand")

    assert (demand["shown"], demand["unit"], demand["line"]) == ("412", "kW", "11/02, das 18:45 às 19:00")
    assert (Decimal(demand["value"]), demand["detail"]) == (412, "D02")
    assert (
        demand["quality"] == "72,3% medido"
    )  # D02 measured next to nothing since its first block on the 11th


def test_a_peak_out_of_blocks_with_holes_is_not_determined(
    client: Client, owner: Conta, meter: Dispositivo
) -> None:
    store_blocks(meter, FEBRUARY, CUTOFF, "1", "0.9")

    demand = card(data(client, owner).json(), "demand")

    assert (demand["value"], demand["shown"], demand["line"], demand["quality"]) == (
        None,
        "—",
        "Não apurada",
        "90% medido",
    )


def test_a_reading_that_is_not_computed_yet_leaves_no_empty_page(
    client: Client, owner: Conta, meter: Dispositivo
) -> None:
    payload = data(client, owner).json()

    energy = card(payload, "ENERGIA-kWh")
    assert (energy["shown"], energy["line"]) == ("—", "Calculando o consumo…")
    assert [g["id"] for g in payload["charts"]] == ["kW"]


def test_no_chart_mixes_units_and_registers_are_drawn_as_rates(client: Client, measured_conta: Conta) -> None:
    charts = data(client, measured_conta).json()["charts"]

    assert [g["id"] for g in charts] == ["kW", "m³/h", "°C"]
    assert all({s["unit"] for s in g["series"]} == {g["unit"]} for g in charts)
    assert [g["title"] for g in charts] == [
        "Potência média (kW)",
        "Vazão média de água (m³/h)",
        "Temperatura (°C)",
    ]
    kw = charts[0]["series"]
    assert [s["name"] for s in kw] == ["D01 (GW-1)", "D01 (GW-2)"]
    assert [{p[1] for p in s["points"]} for s in kw] == [{12.0}, {36.0}]
    assert charts[2]["series"][0]["points"][-1][1:4] == [-18.25, -18.25, -18.25]
    assert charts[2]["from_zero"] is False


def test_an_interval_that_is_not_over_is_explained_in_the_caption(
    client: Client, measured_conta: Conta
) -> None:
    power, _water, temperature = data(client, measured_conta).json()["charts"]

    assert power["summary"].endswith("Pontilhado: o intervalo que ainda não terminou.")  # read a minute ago
    assert "Pontilhado" not in temperature["summary"]  # read five minutes ago


def test_bars_have_13_local_months_and_name_the_unfinished_one(client: Client, measured_conta: Conta) -> None:
    energy = data(client, measured_conta).json()["bars"][0]

    assert [m["month"] for m in energy["months"]][::6] == ["fev/25", "ago/25", "fev/26"]
    assert (
        energy["months"][-1].items()
        >= {"month": "fev/26", "value": 96.0, "shown": "96,00", "previous": None, "partial": True}.items()
    )
    assert energy["months"][0].items() >= {"value": None, "coverage": None, "measured": "—"}.items()
    assert "vai até 18/02" in energy["summary"]
    assert energy["compared"] is False


def test_last_readings_show_the_registers_digits_and_the_meters_time(
    client: Client, measured_conta: Conta
) -> None:
    rows = data(client, measured_conta).json()["readings"]["rows"]

    assert len(rows) == 10
    assert (rows[0]["device"], rows[0]["value"], rows[0]["when"]) == (
        "D01 (GW-1)",
        "1.024",
        "18/02/2026 12:01",
    )
    assert {"D03", "D02"} <= {row["device"] for row in rows}
    assert "−18,3" in {row["value"] for row in rows}


def test_silent_gateways_are_listed_with_what_they_affect(client: Client, measured_conta: Conta) -> None:
    (silent,) = data(client, measured_conta).json()["offline"]["rows"]

    assert (silent["name"], silent["since"], silent["affects"]) == (
        "GW-2",
        "último sinal em 18/02/2026 11:02",
        "afeta 1 dispositivo",
    )


def test_while_no_consumer_runs_no_gateway_stays_online(
    client: Client, measured_conta: Conta, noon: datetime, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only the consumer takes ``is_online`` back; the pages look at the clock."""
    after = noon + timedelta(hours=3)
    set_clock(monkeypatch, after)

    payload = data(client, measured_conta).json()
    rows = client.get(reverse("gateway-list", args=[measured_conta.pk])).context["rows"]

    gateways = card(payload, "gateways")
    assert (gateways["shown"], gateways["state"], gateways["word"]) == ("0", "critical", "2 offline")
    assert (payload["offline"]["empty"], payload["offline"]["total"]) == ("", 2)
    assert [row["name"] for row in payload["offline"]["rows"]] == ["GW-2", "GW-1"]
    assert [row["label"] for row in rows] == ["Offline", "Offline"]


def test_a_gateway_that_was_never_heard_is_being_installed_and_not_offline(
    client: Client, owner: Conta, noon: datetime
) -> None:
    factories.gateway(owner, "GW-1", seen=noon - MIN)
    factories.gateway(owner, "GW-2", online=False)

    payload = data(client, owner).json()

    gateways = card(payload, "gateways")
    assert (gateways["shown"], gateways["unit"], gateways["state"], gateways["word"]) == (
        "1",
        "de 2",
        "info",
        "1 em implantação",
    )
    (new,) = payload["offline"]["rows"]
    assert (new["name"], new["state"], payload["offline"]["total"]) == ("GW-2", "info", 0)

    Gateway.objects.filter(codigo="GW-1").update(is_online=False)
    gateways = card(data(client, owner).json(), "gateways")
    assert (gateways["state"], gateways["word"]) == ("critical", "1 offline, 1 em implantação")


def test_the_page_holds_it_all_without_scripts(client: Client, measured_conta: Conta) -> None:
    page = client.get(reverse("dashboard", args=[measured_conta.pk])).text

    for text in (
        "96,00",
        "1.024",
        "−18,3",
        "último sinal em 18/02/2026 11:02",
        "Potência média (kW)",
        "fev/26 *",
        "Horário de Brasília (GMT-3)",
    ):
        assert text in page
    embedded = json.loads(
        page.split('<script id="dashboard-data" type="application/json">')[1].split("</script>")[0]
    )
    assert embedded["charts"] == data(client, measured_conta).json()["charts"]


def test_text_from_the_field_is_escaped(client: Client, owner: Conta, noon: datetime) -> None:
    bad = "</script><b>"
    factories.readings(
        factories.device(factories.gateway(owner, "<i>gw</i>"), bad),
        factories.points(noon - 9 * MIN, 5 * MIN, [1, 2]),
    )

    page = client.get(reverse("dashboard", args=[owner.pk])).text

    assert bad not in page
    assert "<i>gw" not in page
    assert "&lt;/script&gt;&lt;b&gt;" in page


# --- filters ---


def test_a_device_filter_narrows_every_block(client: Client, measured_conta: Conta) -> None:
    silent = Dispositivo.objects.get(gateway__codigo="GW-2")

    payload = data(client, measured_conta, f"?disp={silent.pk}").json()

    assert [s["id"] for g in payload["charts"] for s in g["series"]] == [silent.pk]
    assert card(payload, "ENERGIA-kWh")["shown"] == "72,00"
    assert payload["bars"][0]["months"][-1]["value"] == 72
    assert {row["gateway"] for row in payload["readings"]["rows"]} == {"GW-2"}
    assert card(payload, "gateways")["unit"] == "de 1"


@pytest.mark.parametrize("form", ["?disp={0},{1}", "?disp={0}&disp={1}"])
def test_several_devices_come_as_a_list_or_as_repeated_fields(
    client: Client, measured_conta: Conta, form: str
) -> None:
    ids = list(Dispositivo.objects.filter(codigo="D01").values_list("pk", flat=True))

    payload = data(client, measured_conta, form.format(*ids)).json()

    assert {s["id"] for g in payload["charts"] for s in g["series"]} == set(ids)


@pytest.mark.parametrize(("preset", "step_min", "days"), [("24h", 5, 1), ("7d", 15, 7), ("30d", 60, 30)])
def test_periods_set_the_window_and_the_bucket(
    client: Client, measured_conta: Conta, preset: str, step_min: int, days: int
) -> None:
    window = data(client, measured_conta, f"?periodo={preset}").json()["window"]

    assert window["step"] == step_min * 60_000
    assert window["end"] - window["start"] == days * 86_400_000


def test_dates_are_local_and_both_included(client: Client, measured_conta: Conta) -> None:
    payload = data(client, measured_conta, "?periodo=datas&de=2026-02-17&ate=2026-02-18").json()

    assert payload["window"]["start"] == datetime(2026, 2, 17, 3, tzinfo=UTC).timestamp() * 1000
    assert payload["window"]["end"] == datetime(2026, 2, 19, 3, tzinfo=UTC).timestamp() * 1000
    assert payload["title"] == "17/02/2026 – 18/02/2026"
    assert len(payload["readings"]["rows"]) == 10


@pytest.mark.parametrize(
    ("query", "notice"),
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
def test_nonsense_is_ignored_and_said(client: Client, measured_conta: Conta, query: str, notice: str) -> None:
    page = client.get(reverse("dashboard", args=[measured_conta.pk]) + "?" + query)

    assert page.status_code == 200
    assert notice in page.text
    assert data(client, measured_conta, "?" + query).status_code == 200


@pytest.mark.parametrize(
    "query", ["", "periodo=", "de=&ate=", "disp=", "disp=,,", "periodo=24h&de=&ate=&disp="]
)
def test_empty_fields_mean_the_default_without_a_word(
    client: Client, measured_conta: Conta, query: str
) -> None:
    response = client.get(reverse("dashboard", args=[measured_conta.pk]) + "?" + query)

    assert response.status_code == 200
    assert response.context["filter"].preset == "24h"
    assert response.context["filter"].notices == []


def test_another_contas_device_is_no_different_from_one_that_does_not_exist(
    client: Client, measured_conta: Conta
) -> None:
    foreign = factories.device(factories.gateway(factories.conta("Outra")), "SEGREDO")

    page = client.get(reverse("dashboard", args=[measured_conta.pk]) + f"?disp={foreign.pk}").text

    assert "que esta conta não tem" in page
    assert "SEGREDO" not in page


# --- empty states ---


def test_a_conta_without_gateways_says_who_makes_them(client: Client, owner: Conta) -> None:
    page = client.get(reverse("dashboard", args=[owner.pk])).text

    assert "Ainda não recebemos nenhuma leitura desta conta." in page
    assert "cadastra o gateway e os seus dispositivos" in page


def test_registered_but_silent_is_another_sentence(client: Client, owner: Conta) -> None:
    factories.device(factories.gateway(owner, online=False))

    page = client.get(reverse("dashboard", args=[owner.pk])).text

    assert "Assim que o primeiro gateway enviar" in page
    assert "Em implantação: ainda não se comunicou" in page


def test_a_period_without_readings_names_the_last_one(client: Client, measured_conta: Conta) -> None:
    payload = data(client, measured_conta, "?de=2026-02-01&ate=2026-02-02").json()

    assert all(
        g["empty"].startswith("Nenhuma leitura de 01/02/2026 – 02/02/2026. A última foi em 18/02/2026")
        for g in payload["charts"]
    )
    assert payload["readings"]["empty"].startswith("Nenhuma leitura de 01/02/2026")


def test_a_block_that_fails_says_so_and_leaves_the_others(
    client: Client, measured_conta: Conta, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_args: object) -> None:
        raise DatabaseError("canceling statement due to statement timeout")

    monkeypatch.setattr("tds_new.web.dashboard.read.series", fail)
    response = client.get(reverse("dashboard", args=[measured_conta.pk]))

    assert response.status_code == 200
    assert "Não foi possível carregar este bloco." in response.text
    assert "96,00" in response.text
    assert "statement timeout" not in response.text
    assert response.context["etag"] == ""
    assert "ETag" not in data(client, measured_conta)


def test_months_that_are_over_are_remembered_for_a_while_where_they_are_costly(
    client: Client, owner: Conta, meter: Dispositivo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tds_new.web.dashboard.cache.COSTLY_S", 0)
    monkeypatch.setattr("tds_new.web.dashboard.cache.TIMES", 1_000_000)
    cache.clear()
    store_blocks(meter, JANUARY, FEBRUARY, "1")
    store_blocks(meter, FEBRUARY, CUTOFF - 60 * MIN, "1")
    before = data(client, owner).json()["bars"][0]["months"]
    ConsumoBloco.objects.filter(bloco__lt=FEBRUARY).delete()
    store_blocks(meter, CUTOFF - 60 * MIN, CUTOFF, "1")

    after = data(client, owner).json()["bars"][0]["months"]
    chosen = data(client, owner, f"?disp={meter.pk}").json()["bars"][0]["months"]
    cache.clear()

    assert (before[-2]["value"], after[-2]["value"], chosen[-2]["value"]) == (2976, 2976, None)
    assert after[-1]["value"] == before[-1]["value"] + 4


# --- polls ---


def test_an_unchanged_dashboard_is_a_304_that_costs_no_heavy_query(
    client: Client, measured_conta: Conta, django_assert_max_num_queries: Any
) -> None:
    etag = data(client, measured_conta)["ETag"]

    with django_assert_max_num_queries(4):  # session, person, Conta, counters
        unchanged = data(client, measured_conta, **{"if-none-match": etag})

    assert (unchanged.status_code, unchanged.content, unchanged["ETag"]) == (304, b"", etag)
    assert "no-cache" in unchanged["Cache-Control"]


def test_the_first_poll_of_a_page_is_already_conditional(client: Client, measured_conta: Conta) -> None:
    page = client.get(reverse("dashboard", args=[measured_conta.pk]) + "?periodo=7d")

    assert (
        data(client, measured_conta, "?periodo=7d", **{"if-none-match": page.context["etag"]}).status_code
        == 304
    )


def test_a_compressed_answer_still_compares(client: Client, measured_conta: Conta) -> None:
    compressed = data(client, measured_conta, **{"accept-encoding": "gzip"})

    assert compressed["Content-Encoding"] == "gzip"
    assert data(client, measured_conta, **{"if-none-match": compressed["ETag"]}).status_code == 304


def by_another_person(client: Client, owner: Conta, _monkeypatch: pytest.MonkeyPatch) -> None:
    client.force_login(factories.person("bia@example.com", owner))


def five_minutes_later(_client: Client, _owner: Conta, monkeypatch: pytest.MonkeyPatch) -> None:
    set_clock(monkeypatch, datetime(2026, 2, 18, 15, 7, 30, tzinfo=UTC))


@pytest.mark.parametrize(
    "change",
    [
        lambda _c, owner, _m: ContaAtividade.objects.filter(conta=owner).update(ingestao_seq=99),
        lambda _c, owner, _m: ContaAtividade.objects.filter(conta=owner).update(status_seq=99),
        lambda _c, owner, _m: ContaAtividade.objects.filter(conta=owner).update(consumo_seq=99),
        lambda client, _d, _m: client.cookies.load({"django_language": "en"}),
        by_another_person,
        five_minutes_later,
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
    client: Client, measured_conta: Conta, monkeypatch: pytest.MonkeyPatch, change: Any
) -> None:
    etag = data(client, measured_conta)["ETag"]

    change(client, measured_conta, monkeypatch)

    assert data(client, measured_conta, **{"if-none-match": etag}).status_code == 200


def test_other_filters_have_other_etags_and_seq_has_none(client: Client, measured_conta: Conta) -> None:
    etags = {
        data(client, measured_conta, query)["ETag"] for query in ("", "?periodo=7d", "?disp=1", "?disp=1,2")
    }

    assert len(etags) == 4
    assert data(client, measured_conta, "?seq=5")["ETag"] == data(client, measured_conta)["ETag"]


def test_polls_do_not_keep_a_session_alive(client: Client, measured_conta: Conta) -> None:
    session = Session.objects.get()
    Session.objects.update(expire_date=session.expire_date - timedelta(hours=11))
    before = Session.objects.values().get()

    complete = data(client, measured_conta)
    unchanged = data(client, measured_conta, **{"if-none-match": complete["ETag"]})

    assert not complete.cookies
    assert not unchanged.cookies
    assert Session.objects.values().get() == before


def test_a_session_ends_after_its_twelve_hours_whatever_was_polled(
    client: Client, measured_conta: Conta
) -> None:
    assert data(client, measured_conta).status_code == 200
    Session.objects.update(expire_date=now() - timedelta(seconds=1))

    assert data(client, measured_conta).status_code == 401
    call_command("clearsessions")
    assert Session.objects.count() == 0


# --- size ---


def many_devices(owner: Conta, count: int, noon: datetime) -> None:
    gateway = Gateway.objects.first() or factories.gateway(owner)
    existing = gateway.dispositivos.count()
    new = [
        Dispositivo(conta=owner, gateway=gateway, codigo=f"M{n:03}", unidade="kWh", last_seen=noon - MIN)
        for n in range(existing, existing + count)
    ]
    Dispositivo.objects.bulk_create(new)


@pytest.mark.parametrize("name", ["dashboard", "dashboard-data", "device-list", "gateway-list"])
def test_the_number_of_queries_does_not_grow_with_the_devices(
    client: Client,
    owner: Conta,
    noon: datetime,
    name: str,
    django_assert_num_queries: Any,
    django_assert_max_num_queries: Any,
) -> None:
    many_devices(owner, 10, noon)
    client.get(reverse(name, args=[owner.pk]))
    with django_assert_max_num_queries(16) as ten:
        client.get(reverse(name, args=[owner.pk]))
    many_devices(owner, 490, noon)

    with django_assert_num_queries(len(ten)):
        assert client.get(reverse(name, args=[owner.pk])).status_code == 200


def test_at_most_four_devices_of_a_unit_are_drawn_unasked_and_eight_asked_for(
    client: Client, owner: Conta, noon: datetime
) -> None:
    many_devices(owner, 12, noon)
    ContaAtividade.objects.create(conta=owner, ultima_leitura=noon)
    ids = ",".join(str(pk) for pk in Dispositivo.objects.values_list("pk", flat=True))

    (without,) = data(client, owner).json()["charts"]
    (with_,) = data(client, owner, f"?disp={ids}").json()["charts"]

    assert (len(without["series"]), len(with_["series"])) == (4, 8)
    assert without["devices_shown"] == "Mostrando 4 de 12 dispositivos; escolha outros em Filtros."


# --- lists ---


def test_the_lists_show_states_in_words(client: Client, measured_conta: Conta) -> None:
    Gateway.objects.create(conta=measured_conta, codigo="GW-3", mac="02:ff:00:00:00:01")
    Gateway.objects.filter(codigo="GW-1").update(last_seen=now())
    devices = client.get(reverse("device-list", args=[measured_conta.pk])).text
    gateways = client.get(reverse("gateway-list", args=[measured_conta.pk])).text

    assert "Atrasado" in devices
    assert all(word in gateways for word in ("Online", "Offline", "Em implantação"))


@pytest.mark.parametrize("query", ["q=GW-2", "q=gw-2&pagina=zzz", "q=GW-2&pagina=99999"])
def test_the_lists_are_searched_and_paged_within_the_conta(
    client: Client, measured_conta: Conta, query: str
) -> None:
    factories.device(factories.gateway(factories.conta("Outra"), "GW-2"), "ALHEIO")

    devices = client.get(reverse("device-list", args=[measured_conta.pk]) + "?" + query)

    assert [row["object"].gateway.codigo for row in devices.context["rows"]] == ["GW-2"]
    assert "ALHEIO" not in devices.text


@pytest.mark.parametrize("name", ["device-list", "gateway-list"])
@pytest.mark.parametrize("search", ["%00", "'; DROP TABLE", "%25_%5C", "x" * 5000])
def test_a_search_that_finds_nothing_says_so(
    client: Client, measured_conta: Conta, name: str, search: str
) -> None:
    response = client.get(reverse(name, args=[measured_conta.pk]) + f"?q={search}")

    assert response.status_code == 200
    assert search == "%00" or "com essa busca" in response.text


# --- what a poll carries ---


def marks_of(payload: dict[str, Any]) -> str:
    return "".join(mark for g in payload["charts"] for s in g["series"] for _index, mark in s["parts"])


def points_of(payload: dict[str, Any]) -> list[Any]:
    return [point for g in payload["charts"] for s in g["series"] for point in s["points"]]


def test_a_poll_carries_only_the_parts_that_changed_late_readings_included(
    client: Client, measured_conta: Conta, noon: datetime
) -> None:
    everything = data(client, measured_conta).json()
    assert points_of(data(client, measured_conta, "?tem=" + marks_of(everything)).json()) == []

    freezer = Dispositivo.objects.get(codigo="D03")
    factories.readings(freezer, [(noon - timedelta(hours=20), -10)])
    after = data(client, measured_conta, "?tem=" + marks_of(everything)).json()

    assert [p[1] for p in points_of(after)] == [-10.0]
    assert len(points_of(data(client, measured_conta).json())) == len(points_of(everything)) + 1


@pytest.mark.parametrize("has", ["x", "%00", "abcdef!", "abcdefg", "á" * 6])
def test_marks_that_make_no_sense_bring_the_whole(client: Client, measured_conta: Conta, has: str) -> None:
    assert points_of(data(client, measured_conta, f"?tem={has}").json()) == points_of(
        data(client, measured_conta).json()
    )


def test_a_poll_of_a_busy_dashboard_stays_small(client: Client, owner: Conta, noon: datetime) -> None:
    gateway = factories.gateway(owner, seen=noon)
    for n in range(8):
        sensor = factories.device(gateway, f"D{n}", "TEMPERATURA", "°C", "INSTANTANEA")
        factories.readings(
            sensor,
            factories.points(
                noon - 1435 * MIN, 5 * MIN, [20 + (i * 7919 + n * 104_729) % 1000 / 100 for i in range(288)]
            ),
        )
    disp = "?disp=" + ",".join(str(pk) for pk in Dispositivo.objects.values_list("pk", flat=True))
    has = marks_of(data(client, owner, disp).json())
    factories.readings(sensor, [(noon + timedelta(seconds=1), 21.5)])

    poll = data(client, owner, f"{disp}&tem={has}", **{"accept-encoding": "gzip"})

    assert poll["Content-Encoding"] == "gzip"
    assert len(poll.content) <= 6 * 1024
    assert len(has) < 3000
