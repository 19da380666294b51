"""The audit trail of metering names the person who signs, and nobody else.

It is shown in words, and stays as long as its device.
"""

import re
from decimal import Decimal
from typing import Any

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.db.utils import ProgrammingError
from django.test import Client
from django.utils.timezone import now

from tds_new.models import (
    AuditoriaMedicao,
    ConsumoPendente,
    Conta,
    Dispositivo,
    Gateway,
    TrocaMedidor,
    User,
    VigenciaParametros,
)
from tds_new.storage.audit import sign
from tests.support import factories
from tests.support.meters import JUMP, START, STEP, decide, device_form, meter, person, row, superuser, url

signed = pytest.mark.django_db(
    transaction=True
)  # each statement a transaction of its own, as outside the tests


def entry(device: Dispositivo, author: User | None = None, **fields: object) -> TrocaMedidor:
    values = {
        "ocorrida_em": START + 3 * STEP,
        "leitura_final": Decimal(1020),
        "leitura_inicial": Decimal(50_000),
        "motivo": "queimado",
    }
    return TrocaMedidor.objects.create(dispositivo=device, registrado_por=author, **{**values, **fields})


def trail(device: Dispositivo) -> list[tuple[str, str, str]]:
    found = (
        AuditoriaMedicao.objects.filter(dispositivo=device)
        .exclude(tabela="tds_new_dispositivo")
        .order_by("id")
    )
    return list(found.values_list("acao", "usuario", "motivo"))


def move(device: Dispositivo, gateway: Gateway) -> None:
    """Move a device as no page does: readings stay with their gateway."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tds_new_dispositivo SET gateway_id = %s WHERE id = %s", [gateway.pk, device.pk]
        )


def listed(client: Client, **query: str) -> str:
    """Return the list's text."""
    return str(client.get(url("auditoriamedicao", "changelist"), query).content.decode())


@signed
def test_only_a_signature_puts_a_change_down_to_somebody() -> None:
    device, ana = meter(JUMP), User.objects.create_user("ana@example.com")
    change = entry(device, ana)
    change.leitura_final = Decimal(1021)
    change.save()
    with transaction.atomic():
        sign(User.objects.create_user("rui@example.com"), "engano")
        change.delete()
    entry(device, ana, motivo="outra")
    assert trail(device) == [
        ("INSERT", "", "queimado"), ("UPDATE", "", "queimado"),
        ("DELETE", "rui@example.com", "engano"), ("INSERT", "", "outra"),
    ]  # fmt: skip


@signed
def test_a_signature_outside_a_transaction_is_refused_because_it_would_be_lost() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        sign(AnonymousUser())


@signed
def test_pages_sign_what_is_saved_and_deleted_on_them() -> None:
    device, root = meter(JUMP), superuser()
    change = entry(device)
    form = {
        "ocorrida_em_0": "02/03/2026",
        "ocorrida_em_1": "09:45:00",
        "leitura_final": "1022",
        "leitura_inicial": "50000",
        "motivo": "visto",
    }
    root.post(url("trocamedidor", "change", change.pk), form)
    ana = person("view_trocamedidor", "delete_trocamedidor")
    ana.post(url("trocamedidor", "delete", change.pk), {"post": "yes", "motivo": "era outro medidor"})
    assert trail(device) == [
        ("INSERT", "", "queimado"), ("UPDATE", "root@example.com", "visto"),
        ("DELETE", "ana@example.com", "era outro medidor"),
    ]  # fmt: skip


@signed
def test_nothing_is_deleted_without_a_reason() -> None:
    device, root = meter(JUMP), superuser()
    change = entry(device)
    page = url("trocamedidor", "delete", change.pk)
    for motivo in ({}, {"motivo": "  "}, {"motivo": "x" * 201}):
        answer = root.post(page, {"post": "yes", **motivo})
        assert answer.status_code == 200
        assert answer.context["form"].errors["motivo"]
    root.post(
        url("trocamedidor", "changelist"),
        {"action": "delete_selected", "_selected_action": [change.pk], "post": "yes"},
    )
    assert [did for did, _, _ in trail(device)] == ["INSERT"]
    assert root.post(page, {"post": "yes", "motivo": "x"}).status_code == 302
    assert not TrocaMedidor.objects.exists()


@signed
def test_a_devices_own_parameters_are_signed_too() -> None:
    device, root = meter(JUMP), superuser()
    form = device_form(
        device,
        fator_conversao="2,5",
        valor_maximo_registro="100.000,5",
        consumo_maximo_hora="",
        sem_limite="on",
        motivo="TC medido em campo",
    )
    assert root.post(url("dispositivo", "change", device.pk), form).status_code == 302
    last = AuditoriaMedicao.objects.latest("id")
    assert (last.usuario, last.motivo) == ("root@example.com", "TC medido em campo")
    assert (last.depois["fator_conversao"], last.depois["valor_maximo_registro"]) == (2.5, 100_000.5)
    page = root.get(url("auditoriamedicao", "changelist")).content.decode()
    assert "Fator de conversão: 1 → 2,5" in page
    assert "Valor máximo do registrador: 100.000 → 100.000,5" in page
    assert "Consumo máximo por hora: 100 → —" in page


@signed
def test_who_is_deleted_stays_named_and_the_entries_stay() -> None:
    device, root = meter(JUMP), superuser()
    ana = person("view_leituraemrevisao", "change_leituraemrevisao")
    decide(ana, "discard", [row(device, 3)], motivo="teste")
    ConsumoPendente.objects.all().delete()
    root.post(url("user", "delete", User.objects.get(email="ana@example.com").pk), {"post": "yes"})
    assert not User.objects.filter(email="ana@example.com").exists()
    assert [(did, who) for did, who, _ in trail(device)] == [
        ("INSERT", "ana@example.com"),
        ("UPDATE", "root@example.com"),
    ]
    assert not ConsumoPendente.objects.exists()


@signed
@pytest.mark.parametrize(
    "statement",
    ["DELETE FROM tds_new_auditoria_medicao", "UPDATE tds_new_auditoria_medicao SET usuario = 'x'"],
)
def test_nothing_in_the_trail_is_changed_or_deleted(statement: str) -> None:
    device = meter(JUMP)
    entry(device)
    before = trail(device)
    with pytest.raises(ProgrammingError, match="audit trail"), connection.cursor() as cursor:
        cursor.execute(statement)
    assert trail(device) == before != []


@signed
@pytest.mark.parametrize("model", ["dispositivo", "gateway", "conta"])
def test_the_trail_goes_with_its_device(model: str) -> None:
    device, other, root = meter(()), meter((), "D02"), superuser()
    for one in (device, other):
        entry(one)
        VigenciaParametros.objects.create(dispositivo=one, desde=now(), motivo="TC")
    pk = {"dispositivo": device.pk, "gateway": device.gateway_id, "conta": device.conta_id}[model]
    assert "engano" not in root.get(url(model, "delete", pk)).content.decode()
    assert root.post(url(model, "delete", pk), {"post": "yes"}).status_code == 302
    assert not Dispositivo.objects.filter(pk=device.pk).exists()
    assert Conta.objects.filter(pk=device.conta_id).exists() == (model != "conta")
    assert set(AuditoriaMedicao.objects.values_list("dispositivo", flat=True)) == {other.pk}


@signed
def test_the_trail_goes_with_its_device_in_whatever_order_the_rows_go() -> None:
    device = meter(())
    entry(device)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DELETE FROM tds_new_auditoria_medicao")
        cursor.execute("DELETE FROM tds_new_troca_medidor")  # writes a line again
        cursor.execute("DELETE FROM tds_new_dispositivo")
    assert not AuditoriaMedicao.objects.exists()


@signed
def test_an_entry_moved_to_another_device_is_in_both_trails_and_computed_for_both() -> None:
    device, other = meter(JUMP), meter(JUMP, "D02")
    change = entry(device)
    ConsumoPendente.objects.all().delete()
    change.dispositivo = other
    change.save()
    assert [did for did, _, _ in trail(device)] == ["INSERT", "UPDATE"]
    assert [did for did, _, _ in trail(other)] == ["UPDATE"]
    assert {pk for pending in ConsumoPendente.objects.all() for pk in pending.dispositivos} == {
        device.pk,
        other.pk,
    }


@pytest.mark.django_db
def test_the_trail_is_read_in_words_in_the_contas_time_and_by_device() -> None:
    device, other = meter(JUMP, timezone="America/Manaus"), meter(JUMP, "D02")
    change, root = entry(device), superuser()
    entry(other)
    change.leitura_final, change.ocorrida_em = Decimal("1021.5"), START
    change.save()
    answer = root.get(
        url("auditoriamedicao", "changelist"),
        {"dispositivo__exact": device.pk, "tabela": "tds_new_troca_medidor"},
    )
    page = answer.content.decode()
    assert "Leitura final do medidor antigo: 1.020 → 1.021,5" in page
    assert "Ocorrida em: 02/03/2026\u00a008:45:00 → 02/03/2026\u00a008:00:00" in page
    assert "Leitura inicial do medidor novo: 50.000</div>" in page
    assert "Troca de medidor<br>Alteração" in page
    assert "(sem assinatura)" in page
    assert "queimado" in page
    assert {one.dispositivo for one in answer.context["cl"].queryset} == {device}
    for query in (
        {"conta": device.conta_id},
        {"q": device.gateway.mac},
        {"acao": "UPDATE", "tabela": "tds_new_troca_medidor"},
    ):
        found = root.get(url("auditoriamedicao", "changelist"), query).context["cl"].queryset
        assert {one.dispositivo for one in found} == {device}
    one = AuditoriaMedicao.objects.latest("id")
    assert "1.021,5" in root.get(url("auditoriamedicao", "change", one.pk)).content.decode()
    for page_name, args in (("add", []), ("change", [one.pk]), ("delete", [one.pk])):
        assert root.post(url("auditoriamedicao", page_name, *args), {"post": "yes"}).status_code == 403


@pytest.mark.django_db
def test_decisions_and_parameters_are_read_in_words() -> None:
    device, root = meter(JUMP), superuser()
    decide(root, "discard", [row(device, 3)], motivo="teste")
    VigenciaParametros.objects.create(
        dispositivo=device, desde=START, fator_conversao=Decimal(40), motivo="TC novo"
    )
    other = factories.gateway(device.conta, "GW-2")
    move(device, other)
    page = root.get(url("auditoriamedicao", "changelist")).content.decode()
    assert "Decisão: Descartada" in page
    assert "Classe na decisão: Salto implausível" in page
    assert "Fator de conversão: 40" in page
    assert f"Gateway: {device.gateway} → {other}" in page
    assert "root@example.com" in page


@pytest.mark.django_db
def test_what_a_device_measures_and_in_what_unit_is_in_the_trail() -> None:
    device, root = meter(()), superuser()
    changed = {"grandeza": "AGUA", "unidade": "m³", "tipo_leitura": "INCREMENTAL"}
    assert (
        root.post(
            url("dispositivo", "change", device.pk), device_form(device, **changed, motivo="cadastro errado")
        ).status_code
        == 302
    )
    page = listed(root, tabela__exact="tds_new_dispositivo", acao__exact="UPDATE")
    assert "<div>Grandeza: Energia → Água</div>" in page
    assert "<div>Unidade: kWh → m³</div>" in page
    assert (
        "<div>Tipo de leitura: Acumulada (registrador) → Incremental (desde a leitura anterior)</div>" in page
    )
    last = AuditoriaMedicao.objects.latest("id")
    assert (last.usuario, last.motivo) == ("root@example.com", "cadastro errado")


@pytest.mark.django_db
def test_a_device_begins_its_trail_with_its_parameters_and_zero_is_one_of_them() -> None:
    gateway, root = factories.gateway(factories.conta(timezone="America/Manaus")), superuser()
    form = {
        **device_form(Dispositivo(gateway=gateway, codigo="D07")),
        "fator_conversao": "40",
        "consumo_maximo_hora": "",
        "sem_limite": "on",
        "tolerancia_queda": "0",
    }
    assert root.post(url("dispositivo", "add"), form).status_code == 302
    begun = AuditoriaMedicao.objects.get()
    assert (begun.tabela, begun.acao, begun.usuario, begun.antes) == (
        "tds_new_dispositivo",
        "INSERT",
        "root@example.com",
        None,
    )
    page = listed(root)
    assert "Dispositivo<br>Inclusão" in page
    for line in (
        f"Gateway: {gateway}",
        "Grandeza: Energia",
        "Unidade: kWh",
        "Fator de conversão: 40",
        "Valor máximo do registrador: 100.000",
    ):
        assert f"<div>{line}</div>" in page
    assert "<div>Tolerância de queda: 0</div>" in page
    assert "Consumo máximo por hora" not in page


@signed
def test_an_entry_that_is_deleted_shows_its_zeros_too() -> None:
    device, root = meter(JUMP), superuser()
    change = entry(device, leitura_inicial=Decimal(0))
    root.post(url("trocamedidor", "delete", change.pk), {"post": "yes", "motivo": "engano"})
    assert "<div>Leitura inicial do medidor novo: 0</div>" in listed(root, acao__exact="DELETE")


@pytest.mark.django_db
def test_a_device_stored_as_it_was_leaves_no_trail() -> None:
    device = meter(JUMP)
    before = AuditoriaMedicao.objects.count()
    device.nome = "Bloco B"
    device.save()
    assert AuditoriaMedicao.objects.count() == before


def gateway_form(gateway: Gateway, **fields: Any) -> dict[str, Any]:
    """Return the form data of the page of ``gateway``."""
    form = {
        "conta": gateway.conta_id,
        "codigo": gateway.codigo,
        "mac": gateway.mac,
        "device_id": "",
        "nome": "",
        "descricao": "",
    }
    form |= {
        "is_active": "on",
        "qte_max_dispositivos": 1000,
        "intervalo_esperado_s": 300,
        "latitude": "",
        "longitude": "",
    }
    form |= {
        "aceita_leituras_desde_0": "2024-01-01",
        "aceita_leituras_desde_1": "00:00:00",
        "firmware_version": "",
    }
    return {**form, "dispositivos-INITIAL_FORMS": 0, "dispositivos-TOTAL_FORMS": 0, **fields}


@pytest.mark.django_db
def test_a_gateways_interval_is_in_the_trail_of_each_of_its_devices_with_the_reason() -> None:
    device, other, root = meter(JUMP), meter(JUMP, "D02"), superuser()
    beside = factories.device(device.gateway, "D03")
    address = url("gateway", "change", device.gateway_id)
    refused = root.post(address, gateway_form(device.gateway, intervalo_esperado_s=60))
    assert list(refused.context["adminform"].errors) == ["motivo"]
    assert root.post(address, gateway_form(device.gateway)).status_code == 302
    assert not AuditoriaMedicao.objects.filter(tabela="tds_new_gateway").exists()
    assert (
        root.post(
            address, gateway_form(device.gateway, intervalo_esperado_s=3600, motivo="envia de hora em hora")
        ).status_code
        == 302
    )
    written = AuditoriaMedicao.objects.filter(tabela="tds_new_gateway").values_list(
        "dispositivo", "usuario", "motivo"
    )
    assert set(written) == {(one.pk, "root@example.com", "envia de hora em hora") for one in (device, beside)}
    page = listed(root, dispositivo__exact=str(device.pk))
    assert "Gateway<br>Alteração" in page
    assert "<div>Intervalo esperado (s): 300 → 3.600</div>" in page
    assert "Gateway<br>Alteração" not in listed(root, dispositivo__exact=str(other.pk))


@pytest.mark.django_db
def test_the_interval_of_a_gateway_without_readings_asks_for_no_reason() -> None:
    device, root = meter(()), superuser()
    assert (
        root.post(
            url("gateway", "change", device.gateway_id), gateway_form(device.gateway, intervalo_esperado_s=60)
        ).status_code
        == 302
    )
    looked = person("view_gateway").get(url("gateway", "change", device.gateway_id)).content.decode()
    assert "Motivo da mudança" not in looked


@pytest.mark.django_db
def test_gateways_named_in_the_trail_are_asked_for_at_once(django_assert_max_num_queries: Any) -> None:
    device, root = meter(JUMP), superuser()
    others = [factories.gateway(device.conta, f"GW-{n}") for n in range(12)]
    move(device, others[0])
    listed(root)
    with django_assert_max_num_queries(25) as few:
        assert f"→ {others[0]}" in listed(root)
    for other in others[1:]:
        move(device, other)
    with django_assert_max_num_queries(len(few)):
        page = listed(root)
    assert all(f"→ {other}" in page for other in others)


@pytest.mark.django_db
def test_a_change_is_called_by_its_kind_and_its_contas_time_and_never_by_its_table() -> None:
    device, root = meter(JUMP, timezone="America/Rio_Branco"), superuser()
    entry(device)
    one = AuditoriaMedicao.objects.latest("id")
    at = one.em.astimezone(device.conta.zone)
    page = root.get(url("auditoriamedicao", "change", one.pk)).content.decode()
    assert f"Troca de medidor, inclusão, {at:%d/%m/%Y %H:%M}" in page
    for text in (page, listed(root)):
        assert not re.search(r">[^<]*tds_new_[^<]*<", text)
    assert '<span class="label">motivo</span> queimado' in listed(root)


@pytest.mark.django_db
def test_what_changed_of_a_final_month_is_read_in_words() -> None:
    device = meter((1000, 1010))
    AuditoriaMedicao.objects.create(
        dispositivo=device,
        tabela="tds_new_consumo_15min",
        acao="UPDATE",
        antes={"mes": "2026-01", "conta_id": device.conta_id, "consumo": "12345.700000"},
        depois={"mes": "2026-01", "conta_id": device.conta_id, "consumo": "0.500000"},
        usuario="rebuild_consumption",
    )
    page = superuser().get(url("auditoriamedicao", "changelist")).content.decode()
    assert "Consumo de 01/2026: 12.345,7 kWh → 0,5 kWh" in page.replace("\N{NO-BREAK SPACE}", " ")
    assert "Consumo fechado" in page
