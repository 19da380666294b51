"""A device's own parameters hold for all of its past.

A change of them is explained, asks for a reason, and is in the trail with it.
"""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client

from tds_new.metering.worker import drain
from tds_new.models import (
    AuditoriaMedicao,
    ConsumoBloco,
    ConsumoCongelado,
    Dispositivo,
    LeituraDispositivo,
    VigenciaParametros,
)
from tests.support.meters import JUMP, START, device_form, errors, meter, person, said, superuser, total, url

pytestmark = pytest.mark.django_db
PLAIN = (1000, 1010, 1020, 1030)


def change(client: Client, device: Dispositivo, **fields: str) -> Any:
    """Return the response of the device's page to a change of ``fields``."""
    return client.post(url("dispositivo", "change", device.pk), device_form(device, **fields), follow=True)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fator_conversao", "40"),
        ("valor_maximo_registro", ""),
        ("consumo_maximo_hora", "99,5"),
        ("tolerancia_queda", "0,5"),
    ],
)
def test_what_changes_all_consumption_asks_for_a_reason_and_keeps_it_in_the_trail(
    field: str, value: str
) -> None:
    device, root = meter(PLAIN), superuser()
    before = AuditoriaMedicao.objects.count()
    for motivo in ("", "   ", "x" * 201):
        assert list(errors(change(root, device, **{field: value}, motivo=motivo))) == ["motivo"]
    assert AuditoriaMedicao.objects.count() == before
    assert errors(change(root, device, **{field: value}, motivo="TC conferido")) == {}
    last = AuditoriaMedicao.objects.latest("id")
    assert (last.usuario, last.motivo, last.depois[field] != last.antes[field]) == (
        "root@example.com",
        "TC conferido",
        True,
    )


def test_the_factor_of_all_history_is_changed_with_a_warning() -> None:
    device, root = meter(PLAIN), superuser()
    answer = change(root, device, fator_conversao="40", motivo="TC conferido")
    assert "valem para toda a sua história. Tudo isso é recalculado" in said(answer)
    drain()
    assert total(device) == 1200


def test_nothing_is_asked_where_nothing_that_counts_changes() -> None:
    device, root = meter(PLAIN), superuser()
    same = {"fator_conversao": "1,000", "valor_maximo_registro": "100.000,00", "tolerancia_queda": "0"}
    answer = change(root, device, nome="Bloco B", **same)
    assert errors(answer) == {}
    assert "recalculado" not in said(answer)
    device.refresh_from_db()
    assert device.nome == "Bloco B"


def test_nothing_is_asked_of_a_device_that_has_measured_nothing() -> None:
    device, root = meter(()), superuser()
    assert errors(change(root, device, fator_conversao="40")) == {}
    device.refresh_from_db()
    assert device.fator_conversao == Decimal(40)


def test_blocks_of_readings_that_are_no_longer_kept_are_figures_too(monkeypatch: pytest.MonkeyPatch) -> None:
    device, root = meter(PLAIN), superuser()
    monkeypatch.setattr(Dispositivo, "has_readings", lambda _: False)
    assert list(errors(change(root, device, fator_conversao="40"))) == ["motivo"]
    LeituraDispositivo.objects.all().delete()
    ConsumoBloco.objects.all().delete()
    assert errors(change(root, device, fator_conversao="40")) == {}


def test_the_page_says_when_the_parameters_hold_and_leads_to_dated_ones() -> None:
    device, root = meter(JUMP, timezone="America/Manaus"), superuser()
    address = url("dispositivo", "change", device.pk)
    add = f"{url('vigenciaparametros', 'add')}?dispositivo={device.pk}"
    dated = f'<a href="{add}">Para mudar a partir de uma data, registre uma vigência.</a>'
    page = root.get(address).content.decode()
    assert "Os parâmetros do dispositivo valem para toda a sua história." in page
    assert dated in page
    VigenciaParametros.objects.create(dispositivo=device, desde=START, fator_conversao=Decimal(40))
    ConsumoCongelado.objects.create(ate=datetime(2026, 3, 1, 4, tzinfo=UTC))
    page = root.get(address).content.decode()
    assert "valem do começo até 02/03/2026\u00a008:00:00 (GMT-4), a primeira mudança com data." in page
    assert "só o que é de antes de 01/03/2026\u00a000:00:00 (GMT-4)" in page
    english = root.get(address, HTTP_ACCEPT_LANGUAGE="en").content.decode()
    assert (
        "hold from the beginning until Mar 2, 2026\u00a008:00:00 (GMT-4), the first dated change." in english
    )
    assert "Reason for the change" in english


def test_who_only_looks_is_asked_for_no_reason_and_led_nowhere_else() -> None:
    device = meter(JUMP)
    page = person("view_dispositivo").get(url("dispositivo", "change", device.pk))
    assert page.status_code == 200
    assert "Motivo da mudança" not in page.content.decode()
    assert url("vigenciaparametros", "add") not in page.content.decode()
    editor = person("view_dispositivo", "change_dispositivo", email="rui@example.com").get(
        url("dispositivo", "change", device.pk)
    )
    assert "registre uma vigência" in editor.content.decode()
    assert url("vigenciaparametros", "add") not in editor.content.decode()


def test_a_new_device_is_asked_for_no_reason() -> None:
    page = superuser().get(url("dispositivo", "add")).content.decode()
    assert "Motivo da mudança" not in page
    assert "Fator de conversão" in page
