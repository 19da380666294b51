"""Main and sub-meters on the screens, what may still move, and what waits for a person."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tds_new.models import ConsumoEstado, Conta, ContaAtividade, Dispositivo, OcorrenciaMedicao, User
from tests.support import factories

pytestmark = pytest.mark.django_db
NOON = datetime(2026, 2, 18, 15, 2, 30, tzinfo=UTC)
START = datetime(2026, 2, 5, 8, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


@pytest.fixture(autouse=True)
def noon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Noon of 18 February 2026 in São Paulo, for the pages."""
    for module in ("dashboard", "export", "lists"):
        monkeypatch.setattr(f"tds_new.web.views.{module}.timezone", SimpleNamespace(now=lambda: NOON))


def meter(conta: Conta, codigo: str, amount: object = None, **fields: Any) -> Dispositivo:
    gateway = conta.gateways.first() or factories.gateway(conta, seen=NOON)
    device = Dispositivo(gateway=gateway, codigo=codigo, last_seen=NOON, **fields)
    device.save()
    if amount is not None:
        factories.block(device, START, amount).save(force_insert=True)
    return device


@pytest.fixture
def building() -> Conta:
    """A main meter with two sub-meters, panels that feed in, water in pulses, and a note."""
    conta = factories.conta()
    main = meter(conta, "GERAL", 30)
    meter(conta, "AP1", 12, medidor_pai=main)
    meter(conta, "AP2", 10, medidor_pai=main)
    meter(conta, "SOL", 20, papel="INJECAO")
    meter(conta, "T", 7, papel="INFORMATIVO")
    meter(conta, "AGUA", 3, grandeza="AGUA", unidade="pulsos", unidade_consumo="m³")
    ContaAtividade.objects.create(conta=conta, ultima_leitura=NOON)
    return conta


def logged_in(conta: Conta, **fields: Any) -> Client:
    client = Client()
    ana = User.objects.first() or factories.person("ana@example.com", conta, **fields)
    client.force_login(ana)
    return client


def payload_of(conta: Conta, query: str = "") -> Any:
    return logged_in(conta).get(reverse("dashboard-data", args=[conta.pk]) + query).json()


def test_totals_say_what_they_are_made_of_and_injection_stands_apart(building: Conta) -> None:
    meter(building, "OUTRO", "0.001", unidade="MWh")
    payload = payload_of(building)

    consumption = {card["id"]: card for card in payload["cards"] if "-" in card["id"]}
    assert {key: (Decimal(card["value"]), card["sources"]) for key, card in consumption.items()} == {
        "ENERGIA-kWh": (31, "soma de 2 medidores principais"),
        "ENERGIA-kWh-INJECAO": (20, "1 medidor de injeção"),
        "AGUA-m³": (3, "1 medidor"),
    }
    assert [card["title"] for card in consumption.values()] == [
        "Energia no mês",
        "Energia injetada",
        "Água no mês",
    ]
    assert {bars["id"]: bars["months"][-1]["value"] for bars in payload["bars"]} == {
        "ENERGIA-kWh": 31.0,
        "ENERGIA-kWh-INJECAO": 20.0,
        "AGUA-m³": 3.0,
    }


def test_one_main_meter_is_said_in_the_singular(building: Conta) -> None:
    (energy, *_rest) = payload_of(building)["cards"]

    assert energy["sources"] == "1 medidor principal"


def test_sub_meters_stand_below_their_main_meter_with_what_they_do_not_cover(building: Conta) -> None:
    rows = payload_of(building)["meters"]["rows"]

    figures = [(r["name"], r["depth"], r["role"], f"{r['value']} {r['unit']}", r["share"]) for r in rows]
    assert figures == [
        ("GERAL", 0, "Consumo", "30,00 kWh", ""),
        ("AP1", 1, "Consumo", "12,00 kWh", "40%"),
        ("AP2", 1, "Consumo", "10,00 kWh", "33,3%"),
        ("Não coberto pelos 2 submedidores", 1, "", "8,00 kWh", "26,6%"),
        ("SOL", 0, "Injeção", "20,00 kWh", ""),
        ("T", 0, "Informativo", "7,00 kWh", ""),
        ("AGUA", 0, "Consumo", "3,00 m³", ""),
    ]
    assert [r["rest"] for r in rows] == [False, False, False, True, False, False, False]
    assert {r["notice"] for r in rows} == {""}


def test_a_negative_rest_is_shown_as_it_is_with_a_notice(building: Conta) -> None:
    main = Dispositivo.objects.get(codigo="GERAL")
    meter(building, "AP3", "9.5", medidor_pai=main)

    rest = next(row for row in payload_of(building)["meters"]["rows"] if row["rest"])

    assert (rest["value"], rest["share"]) == ("\u22121,50", "")
    assert rest["notice"].startswith("Os submedidores somam mais do que o medidor principal.")


def test_a_conta_of_one_meter_has_no_table_of_meters() -> None:
    conta = factories.conta()
    meter(conta, "D01", 5)

    assert payload_of(conta)["meters"]["rows"] == []


def test_a_selection_is_totalled_without_counting_twice(building: Conta) -> None:
    pks = dict(Dispositivo.objects.values_list("codigo", "pk"))

    def total(*codes: str) -> tuple[str, str] | None:
        cards = payload_of(building, f"?disp={','.join(str(pks[code]) for code in codes)}")["cards"]
        return next(((c["shown"], c["sources"]) for c in cards if c["id"] == "ENERGIA-kWh"), None)

    assert total("GERAL", "AP1") == ("30,00", "1 medidor principal")
    assert total("AP1", "AP2") == ("22,00", "soma de 2 medidores")
    assert total("T") is None


def test_the_page_shows_the_structure_in_words(building: Conta) -> None:
    client = logged_in(building)

    page = client.get(reverse("dashboard", args=[building.pk])).content.decode()
    devices = client.get(reverse("device-list", args=[building.pk])).content.decode()
    found = client.get(reverse("device-list", args=[building.pk]) + "?q=AP1").content.decode()

    assert "Não coberto pelos 2 submedidores" in page
    table = page.partition('<table class="table" id="meters">')[2]
    assert table.index(">GERAL") < table.index(">AP1") < table.index("Não coberto") < table.index(">SOL")
    assert devices.index(">GERAL<") < devices.index(">AP1<") < devices.index(">AP2<") < devices.index(">SOL<")
    assert "Informativo" in devices
    assert "consumo em m³" in devices
    assert '<span class="visually-hidden">submedidor de GERAL</span>' in devices
    assert '<span class="meta behind">submedidor de GERAL</span>' in found  # its main meter is not shown


# --- what may still move ---


def settle(codigo: str, settled: datetime, provisional: datetime | None = None) -> None:
    ConsumoEstado.objects.update_or_create(
        dispositivo=Dispositivo.objects.get(codigo=codigo),
        defaults={"assentado_ate": settled, "provisorio_desde": provisional},
    )


def test_a_month_that_may_still_move_says_so(building: Conta) -> None:
    turn = datetime(2026, 2, 1, 3, tzinfo=UTC)  # the turn of the month in São Paulo
    for month in (11, 12):
        factories.block(Dispositivo.objects.get(codigo="GERAL"), datetime(2025, month, 9, tzinfo=UTC)).save(
            force_insert=True
        )
    factories.block(Dispositivo.objects.get(codigo="GERAL"), turn - QUARTER).save(force_insert=True)
    settle("GERAL", turn - 4 * QUARTER, turn - 4 * QUARTER)
    settle("AP1", turn - 900 * QUARTER, turn - 900 * QUARTER)  # a sub-meter is in no total

    payload = payload_of(building)

    energy, injection, _water = payload["bars"]
    assert [m["provisional"] for m in energy["months"][-4:]] == [False, False, True, True]
    assert not any(m["provisional"] for m in injection["months"])
    assert "… provisório" in energy["summary"]
    assert "provisório" not in injection["summary"]
    cards = {card["id"]: card["provisional"] for card in payload["cards"]}
    assert (cards["ENERGIA-kWh"], cards["AGUA-m³"]) == ("provisório desde 31/01, 23:00", "")
    rows = {row["name"]: row["provisional"] for row in payload["meters"]["rows"]}
    assert (rows["GERAL"], rows["AP2"]) == ("provisório desde 31/01, 23:00", "")


def test_figures_say_up_to_when_they_are_settled_and_final(building: Conta, settings: Any) -> None:
    settle("GERAL", NOON - 6 * QUARTER)
    settle("AGUA", datetime(2025, 12, 25, 15, tzinfo=UTC))

    energy, water = payload_of(building)["finality"]

    assert (energy["name"], energy["settled"], energy["final"]) == ("Energia", "18/02, 10:32", "03/01/2026")
    assert (water["name"], water["settled"], water["final"]) == ("Água", "25/12, 12:00", "24/12/2025")
    settings.TDS_MAX_LATENESS_DAYS = 10
    assert payload_of(building)["finality"][0]["final"] == "07/02/2026"


@pytest.mark.parametrize(("staff", "linked"), [(True, True), (False, False)])
def test_what_waits_for_a_person_is_counted_and_linked_for_those_who_decide(
    building: Conta, staff: bool, linked: bool
) -> None:
    device = Dispositivo.objects.get(codigo="GERAL")
    OcorrenciaMedicao.objects.create(
        dispositivo=device,
        conta_id=building.pk,
        leitura_em=START,
        valor=1,
        inicio=START - QUARTER,
        valor_base=0,
        classe="IMPLAUSIVEL",
        espera=True,
    )
    client = logged_in(building, is_staff=staff, is_superuser=staff)

    page = client.get(reverse("dashboard", args=[building.pk])).content.decode()

    assert "1 leitura fora do comum espera a decisão de uma pessoa." in page
    address = reverse("admin:tds_new_leituraemrevisao_changelist")
    assert (f'href="{address}?conta={building.pk}&amp;situacao=ESPERA"' in page) is linked
    if linked:
        assert client.get(f"{address}?conta={building.pk}&situacao=ESPERA").status_code == 200


def test_a_net_register_may_be_below_zero_everywhere(building: Conta) -> None:
    meter(building, "SALDO", -90, tipo_leitura="SALDO")

    payload = payload_of(building)

    assert payload["cards"][0]["shown"] == "\u221260,00"
    assert payload["bars"][0]["months"][-1]["value"] == -60.0
    assert payload["bars"][0]["months"][-1]["shown"] == "\u221260,00"


# --- as a file ---


def lines_of(conta: Conta, query: str = "", **headers: str) -> list[list[str]]:
    response = logged_in(conta).get(reverse("consumption-csv", args=[conta.pk]) + query, headers=headers)
    assert response["Content-Type"] == "text/csv; charset=utf-8"
    text = response.content.decode("utf-8")
    assert text[0] == "\ufeff"
    return [line.split(";") for line in text[1:].splitlines()]


def test_the_file_has_role_main_meter_and_how_final_each_figure_is(building: Conta) -> None:
    Dispositivo.objects.filter(codigo="AP1").update(nome="=1+1")
    factories.block(
        Dispositivo.objects.get(codigo="AP2"), datetime(2025, 11, 9, tzinfo=UTC), "2.500001"
    ).save(force_insert=True)
    settle("GERAL", NOON - 6 * QUARTER, NOON - 6 * QUARTER)
    settle("AP2", NOON - 6 * QUARTER)

    headings, *rows = lines_of(building)
    _headings, *november = lines_of(building, "?mes=2025-11")

    assert headings[5:8] == ["Papel", "Medidor principal", "Consumo"]
    figures = {row[1]: (row[5], row[6], row[7], row[8], row[9], row[10]) for row in rows}
    assert figures == {
        "GERAL": ("Consumo", "", "30", "kWh", "8", "Provisório"),
        "AP1": ("Consumo", "GERAL", "12", "kWh", "", "Em aberto"),
        "AP2": ("Consumo", "GERAL", "10", "kWh", "", "Em aberto"),
        "SOL": ("Injeção", "", "20", "kWh", "", "Em aberto"),
        "T": ("Informativo", "", "7", "kWh", "", "Em aberto"),
        "AGUA": ("Consumo", "", "3", "m³", "", "Em aberto"),
    }
    assert [row[2] for row in rows if row[1] == "AP1"] == ["'=1+1"]
    assert rows[0][11:] == ["2026-02-18T10:32:30-03:00"] * 2
    assert {row[1]: (row[0], row[7], row[10]) for row in november}["AP2"] == ("2025-11", "2,500001", "Final")
    assert {row[1]: row[10] for row in november}["GERAL"] == "Sem dados"


@pytest.mark.parametrize("query", ["?mes=2026-13", "?mes=x", "?mes=0001-01", "?disp=9999999"])
def test_a_file_of_nonsense_is_that_of_this_month(building: Conta, query: str) -> None:
    assert lines_of(building, query) == lines_of(building)


def test_a_file_of_chosen_meters_has_no_others_and_english_has_points(building: Conta) -> None:
    pk = Dispositivo.objects.get(codigo="AP1").pk
    factories.block(Dispositivo.objects.get(codigo="AP1"), START + QUARTER, "0.5").save(force_insert=True)

    headings, row = lines_of(building, f"?disp={pk}", **{"accept-language": "en"})

    assert (headings[5], row[1], row[7]) == ("Role", "AP1", "12.5")
