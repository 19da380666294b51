"""The admin's forms: a gateway's capacity is a form error, and a device's Conta follows from its gateway."""

from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from tds_new.models import Conta, Dispositivo, Gateway, User
from tests.admin.test_pages import device, url

pytestmark = pytest.mark.django_db


@pytest.fixture
def gateway() -> Gateway:
    conta = Conta.objects.create(name="Condomínio Aurora")
    return Gateway.objects.create(conta=conta, codigo="GW-1", mac="AA-BB-CC-00-00-01")


@pytest.fixture
def root(client: Client) -> Client:
    client.force_login(User.objects.create_superuser("root@example.com"))
    return client


def device_form(of: Gateway, codigo: str = "D09", **fields: Any) -> dict[str, Any]:
    form = {
        "gateway": of.pk,
        "codigo": codigo,
        "nome": "",
        "status": "ATIVO",
        "tipo": "MEDIDOR",
        "grandeza": "ENERGIA",
    }
    form |= {"unidade": "kWh", "tipo_leitura": "ACUMULADA", "slave_id": "", "register_modbus": ""}
    form |= {
        "fator_conversao": "1",
        "valor_maximo_registro": "",
        "consumo_maximo_hora": "",
        "tolerancia_queda": "",
    }
    form |= {"unidade_consumo": "", "carimbo": "FIM", "papel": "CONSUMO", "medidor_pai": ""}
    return {**form, **fields}


def gateway_form(like: Gateway, new_devices: int = 0, **fields: Any) -> dict[str, Any]:
    form: dict[str, Any] = {
        "conta": like.conta_id, "codigo": like.codigo, "mac": like.mac, "device_id": "", "nome": "",
        "descricao": "",
        "is_active": "on", "qte_max_dispositivos": like.qte_max_dispositivos, "intervalo_esperado_s": 300,
        "aceita_leituras_desde_0": "2024-01-01", "aceita_leituras_desde_1": "00:00:00",
        "latitude": "", "longitude": "",
        "firmware_version": "", "dispositivos-INITIAL_FORMS": 0, "dispositivos-TOTAL_FORMS": new_devices,
        **fields,
    }  # fmt: skip
    for n in range(new_devices):
        prefix = f"dispositivos-{n}-"
        row = {
            "codigo": f"N{n:02}",
            "nome": "",
            "grandeza": "ENERGIA",
            "unidade": "kWh",
            "tipo_leitura": "ACUMULADA",
            "status": "ATIVO",
        }
        form |= {prefix + name: value for name, value in row.items()}
    return form


def test_a_device_takes_the_conta_of_its_gateway_whatever_is_posted(root: Client, gateway: Gateway) -> None:
    other = Conta.objects.create(name="Outra")
    answer = root.post(url("dispositivo", "add"), device_form(gateway, conta=other.pk))
    assert answer.status_code == 302
    assert Dispositivo.objects.get().conta == gateway.conta


def test_a_devices_metering_parameters_are_entered_and_empty_ones_are_defaults(
    root: Client, gateway: Gateway
) -> None:
    entered = {
        "fator_conversao": "2.5",
        "valor_maximo_registro": "1000000",
        "consumo_maximo_hora": "40.5",
        "tolerancia_queda": "0.2",
    }
    assert root.post(url("dispositivo", "add"), device_form(gateway, **entered)).status_code == 302
    one = Dispositivo.objects.get()
    parameters = (
        one.fator_conversao,
        one.valor_maximo_registro,
        one.consumo_maximo_hora,
        one.tolerancia_queda,
    )
    assert parameters == (Decimal("2.5"), Decimal(1_000_000), Decimal("40.5"), Decimal("0.2"))

    def after(**fields: str) -> tuple[Decimal | None, ...]:
        answer = root.post(url("dispositivo", "change", one.pk), device_form(gateway, **fields))
        assert answer.status_code == 302
        one.refresh_from_db()
        return one.valor_maximo_registro, one.consumo_maximo_hora, one.tolerancia_queda

    assert after() == (None, Decimal(1000), Decimal("0.1"))
    assert after(sem_limite="on", tolerancia_queda="0") == (None, None, Decimal(0))
    assert after(unidade="pulsos", unidade_consumo="kWh", fator_conversao="0.001") == (
        None,
        Decimal(1_000_000),
        Decimal(100),
    )


@pytest.mark.parametrize(
    ("field", "value"),
    [("valor_maximo_registro", "0"), ("consumo_maximo_hora", "-1"), ("tolerancia_queda", "-0.1")],
)
def test_a_metering_parameter_that_means_nothing_is_a_form_error(
    root: Client, gateway: Gateway, field: str, value: str
) -> None:
    answer = root.post(url("dispositivo", "add"), device_form(gateway, **{field: value}))
    assert list(answer.context["adminform"].errors) == [field]
    assert not Dispositivo.objects.exists()


def test_a_device_too_many_is_a_form_error(root: Client, gateway: Gateway) -> None:
    for n in range(8):
        device(gateway, f"D{n:02}")
    answer = root.post(url("dispositivo", "add"), device_form(gateway))
    assert answer.status_code == 200
    assert "gateway" in answer.context["adminform"].errors
    assert Dispositivo.objects.count() == 8


def test_a_gateway_is_registered_with_its_devices_on_one_page(root: Client, gateway: Gateway) -> None:
    form = gateway_form(gateway, new_devices=8, mac="AABBCC0000FF", codigo="GW-2")
    answer = root.post(url("gateway", "add"), form)
    assert answer.status_code == 302
    assert Gateway.objects.get(codigo="GW-2").mac == "aa:bb:cc:00:00:ff"
    assert Dispositivo.objects.filter(gateway__codigo="GW-2", conta=gateway.conta).count() == 8


@pytest.mark.parametrize("page", ["add", "change"])
def test_more_devices_on_a_gateways_page_than_it_holds_are_a_form_error(
    root: Client, gateway: Gateway, page: str
) -> None:
    form = gateway_form(
        gateway, new_devices=9, **({"mac": "aa:bb:cc:00:00:ff", "codigo": "GW-2"} if page == "add" else {})
    )
    answer = root.post(url("gateway", page, *([gateway.pk] if page == "change" else [])), form)
    assert answer.status_code == 200
    assert "comporta 8 dispositivos; com estes seriam 9" in answer.content.decode()
    assert not Dispositivo.objects.exists()


def test_a_capacity_below_the_devices_registered_is_a_form_error(root: Client, gateway: Gateway) -> None:
    device(gateway, "D01")
    device(gateway, "D02")
    devices = {"dispositivos-TOTAL_FORMS": 0}
    answer = root.post(
        url("gateway", "change", gateway.pk), gateway_form(gateway, qte_max_dispositivos=1, **devices)
    )
    assert "qte_max_dispositivos" in answer.context["adminform"].errors


@pytest.mark.parametrize("mac", ["", "xx:bb:cc:00:00:01", "aa:bb:cc:00:00", "AABBCC000001"])
def test_a_bad_or_taken_mac_is_a_form_error(root: Client, gateway: Gateway, mac: str) -> None:
    answer = root.post(url("gateway", "add"), gateway_form(gateway, mac=mac, codigo="GW-2"))
    assert answer.status_code == 200
    assert "mac" in answer.context["adminform"].errors
