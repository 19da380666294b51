"""The structure of meters on the pages of devices and Contas."""

import json
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from tds_new.models import AuditoriaMedicao, Conta, Dispositivo, Gateway
from tests.support import factories
from tests.support.meters import device_form, errors, person, said, superuser, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def gateway() -> Gateway:
    return factories.gateway(factories.conta("Aurora"), "GW-1")


def meter(gateway: Gateway, codigo: str, main: Dispositivo | None = None, **fields: Any) -> Dispositivo:
    return Dispositivo.objects.create(gateway=gateway, codigo=codigo, medidor_pai=main, **fields)


def post(client: Client, device: Dispositivo, **fields: Any) -> Any:
    """Change a device on its page."""
    parameters = {"consumo_maximo_hora": "1000", "valor_maximo_registro": ""}
    form = device_form(device, **{**parameters, **fields})
    return client.post(url("dispositivo", "change", device.pk), form, follow=True)


def found(client: Client, **query: Any) -> list[str]:
    answer = client.get(url("dispositivo", "main_meters"), query)
    return [one["text"].split(" · ")[0] for one in json.loads(answer.content)["results"]]


def test_a_main_meter_is_chosen_and_the_page_says_what_that_changes(gateway: Gateway) -> None:
    main, device = meter(gateway, "M"), meter(gateway, "A")
    answer = post(superuser(), device, medidor_pai=main.pk)
    assert errors(answer) == {}
    assert "O seu consumo está no de M e não se soma ao total da conta." in said(answer)
    assert "em até um minuto; nenhum consumo é recalculado." in said(answer)
    device.refresh_from_db()
    assert (device.medidor_pai, device.atras) == (main, True)


@pytest.mark.parametrize(
    ("of_main", "fields", "text"),
    [
        (
            {},
            {"papel": "INJECAO"},
            "M não conta para ele, porque tem outro papel. Soma-se ao total de injeção",
        ),
        ({"status": "INATIVO"}, {}, "M não conta para ele, porque está inativo. Soma-se ao total de consumo"),
        ({"grandeza": "AGUA"}, {}, "M não conta para ele, porque mede outra grandeza."),
        ({}, {"papel": "INFORMATIVO"}, "Não entra em nenhum total da conta."),
    ],
)
def test_a_main_meter_that_does_not_count_is_said_to(
    gateway: Gateway, of_main: dict[str, str], fields: dict[str, str], text: str
) -> None:
    main, device = meter(gateway, "M", **of_main), meter(gateway, "A")
    assert text in said(post(superuser(), device, medidor_pai=main.pk, **fields))


def test_a_main_meter_that_changes_says_what_becomes_of_its_sub_meters(gateway: Gateway) -> None:
    main = meter(gateway, "M")
    for codigo in "AB":
        meter(gateway, codigo, main)
    answer = post(superuser(), main, papel="INJECAO")
    assert "não se somam ao total: 0 de 2." in said(answer)


def test_what_cannot_be_a_main_meter_is_refused_in_words(gateway: Gateway) -> None:
    main = meter(gateway, "M")
    below = meter(gateway, "A", main)
    other = factories.gateway(factories.conta("Outra"), "GW-2")
    foreign, root = meter(other, "F"), superuser()
    assert "ficaria atrás de si mesmo" in str(errors(post(root, main, medidor_pai=main.pk)))
    assert "ficaria atrás de si mesmo" in str(errors(post(root, main, medidor_pai=below.pk)))
    assert "é de outra conta" in str(errors(post(root, below, medidor_pai=foreign.pk)))


def test_the_search_finds_meters_of_the_conta_that_are_not_behind_the_device(gateway: Gateway) -> None:
    main = meter(gateway, "M")
    below = meter(gateway, "A", main)
    meter(gateway, "B", below)
    meter(gateway, "X1", nome="Cobertura")
    meter(factories.gateway(factories.conta("Outra"), "GW-2"), "F")
    root = superuser()
    assert found(root, de=main.pk) == ["X1 Cobertura"]
    assert found(root, de=below.pk) == ["M", "X1 Cobertura"]
    assert found(root, de=below.pk, term="gw-1 cober") == ["X1 Cobertura"]
    assert "F" in found(root)
    assert person("view_conta").get(url("dispositivo", "main_meters")).status_code == 403
    page = root.get(url("dispositivo", "change", below.pk)).content.decode()
    assert f'data-ajax--url="{url("dispositivo", "main_meters")}?de={below.pk}"' in page
    assert "M · GW-1 · Energia" in page


def test_the_pages_show_main_meters_with_their_sub_meters(gateway: Gateway) -> None:
    main = meter(gateway, "M1", nome="Entrada")
    below = meter(gateway, "A1", main)
    meter(gateway, "B1", below, papel="INJECAO")
    meter(gateway, "LONE")
    root = superuser()

    def listed(model: str, pk: int, client: Client = root) -> str:
        page = client.get(url(model, "change", pk)).content.decode()
        return page.partition('<section class="module meter structure">')[2].partition("</section>")[0]

    tree = listed("dispositivo", below.pk)
    assert [tree.index(text) for text in ("M1 Entrada", "<strong>A1</strong>", "B1")] == sorted(
        tree.index(text) for text in ("M1 Entrada", "<strong>A1</strong>", "B1")
    )
    assert [f"depth-{depth}" in tree for depth in range(4)] == [True, True, True, False]
    assert "o principal não conta para ele: soma-se ao total da conta" in tree
    conta = listed("conta", gateway.conta_id)
    assert "M1 Entrada" in conta
    assert "LONE" not in conta
    alone = meter(gateway, "OUT")
    assert listed("dispositivo", alone.pk) == ""
    assert listed("conta", gateway.conta_id, person("view_conta")) == ""
    assert listed("conta", Conta.objects.create(name="Vazia").pk) == ""


def test_the_page_says_what_empty_parameters_mean(gateway: Gateway) -> None:
    water = meter(gateway, "W", grandeza="AGUA", unidade="m³")
    gauge = meter(gateway, "T", grandeza="TEMPERATURA", unidade="°C")
    root = superuser()
    page = root.get(url("dispositivo", "change", water.pk)).content.decode()
    assert 'placeholder="padrão: 100\u00a0m³/h"' in page
    assert "Vazio: o padrão, 0,01\u00a0m³." in page
    assert (
        'placeholder="padrão: sem limite"'
        in root.get(url("dispositivo", "change", gauge.pk)).content.decode()
    )
    new = root.get(url("dispositivo", "add")).content.decode()
    assert "Energia 1.000\u00a0kWh/h, Água 100\u00a0m³/h, Gás 1.000\u00a0m³/h" in new


def test_no_limit_is_said_and_not_left_out(gateway: Gateway) -> None:
    device, root = meter(gateway, "A"), superuser()
    assert errors(post(root, device, consumo_maximo_hora="", sem_limite="on")) == {}
    device.refresh_from_db()
    assert device.consumo_maximo_hora is None
    assert 'name="sem_limite" id="id_sem_limite" checked' in root.get(
        url("dispositivo", "change", device.pk)
    ).content.decode().replace('aria-describedby="id_sem_limite_helptext" ', "")
    assert list(errors(post(root, device, consumo_maximo_hora="5", sem_limite="on"))) == [
        "consumo_maximo_hora"
    ]
    assert errors(post(root, device, consumo_maximo_hora="")) == {}
    device.refresh_from_db()
    assert device.consumo_maximo_hora == Decimal(1000)


def test_pulses_need_to_be_of_something(gateway: Gateway) -> None:
    device, root = meter(gateway, "A"), superuser()
    for unit in ("", "m³", "pulsos"):
        answer = post(root, device, unidade="Pulsos", unidade_consumo=unit)
        assert "informe a unidade do consumo (kWh, Wh, MWh)" in str(errors(answer))
    assert errors(post(root, device, unidade="pulsos", unidade_consumo="kwh")) == {}
    other = meter(gateway, "T", grandeza="OUTRA", unidade="pulsos")
    assert errors(post(root, other)) == {}


def test_a_coarse_unit_warns(gateway: Gateway) -> None:
    device, root = meter(gateway, "A"), superuser()
    assert "o passo mais fino é de 0,1 kWh" in said(post(root, device, unidade="MWh"))
    assert "passo mais fino" not in said(post(root, device, unidade="MWh", nome="Entrada"))


def test_the_trail_names_main_meters(gateway: Gateway) -> None:
    main, device, root = meter(gateway, "M", nome="Entrada"), meter(gateway, "A"), superuser()
    post(root, device, medidor_pai=main.pk, motivo="planta nova")
    page = root.get(url("auditoriamedicao", "changelist")).content.decode()
    assert "<div>Medidor principal: — → M Entrada</div>" in page
    assert AuditoriaMedicao.objects.latest("id").motivo == "planta nova"
