"""The audit trail of metering: it names who signs and nobody else, is read in words, and stays as long as its device."""

from decimal import Decimal

import pytest
from django.contrib.auth.models import AnonymousUser
from django.db import connection, transaction
from django.db.utils import ProgrammingError
from django.utils.timezone import now

from tds_new.models import AuditoriaMedicao, ConsumoPendente, Conta, Dispositivo, TrocaMedidor, User, VigenciaParametros
from tds_new.models.medicao import assinar
from tests import fabrica
from tests.medidores import JUMP, START, STEP, decide, device_form, meter, person, row, superuser, url

signed = pytest.mark.django_db(transaction=True)  # each statement a transaction of its own, as outside the tests


def entry(device: Dispositivo, author: User | None = None, **fields: object) -> TrocaMedidor:
    values = {"ocorrida_em": START + 3 * STEP, "leitura_final": Decimal(1020), "leitura_inicial": Decimal(50_000), "motivo": "queimado"}
    return TrocaMedidor.objects.create(dispositivo=device, registrado_por=author, **{**values, **fields})


def trail(device: Dispositivo) -> list[tuple[str, str, str]]:
    found = AuditoriaMedicao.objects.filter(dispositivo=device).exclude(tabela="tds_new_dispositivo").order_by("id")
    return list(found.values_list("acao", "usuario", "motivo"))


@signed
def test_only_a_signature_puts_a_change_down_to_somebody() -> None:
    device, ana = meter(JUMP), User.objects.create_user("ana@example.com")
    change = entry(device, ana)
    change.leitura_final = Decimal(1021)
    change.save()
    with transaction.atomic():
        assinar(User.objects.create_user("rui@example.com"), "engano")
        change.delete()
    entry(device, ana, motivo="outra")
    assert trail(device) == [
        ("INSERT", "", "queimado"), ("UPDATE", "", "queimado"), ("DELETE", "rui@example.com", "engano"), ("INSERT", "", "outra"),
    ]  # fmt: skip


@signed
def test_a_signature_outside_a_transaction_is_refused_because_it_would_be_lost() -> None:
    with pytest.raises(transaction.TransactionManagementError):
        assinar(AnonymousUser())


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
        ("INSERT", "", "queimado"), ("UPDATE", "root@example.com", "visto"), ("DELETE", "ana@example.com", "era outro medidor"),
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
    root.post(url("trocamedidor", "changelist"), {"action": "delete_selected", "_selected_action": [change.pk], "post": "yes"})
    assert [did for did, _, _ in trail(device)] == ["INSERT"]
    assert root.post(page, {"post": "yes", "motivo": "x"}).status_code == 302
    assert not TrocaMedidor.objects.exists()


@signed
def test_a_devices_own_parameters_are_signed_too() -> None:
    device, root = meter(JUMP), superuser()
    form = device_form(
        device, fator_conversao="2,5", valor_maximo_registro="100.000,5", consumo_maximo_hora="", motivo="TC medido em campo"
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
    assert [(did, who) for did, who, _ in trail(device)] == [("INSERT", "ana@example.com"), ("UPDATE", "root@example.com")]
    assert not ConsumoPendente.objects.exists()


@signed
@pytest.mark.parametrize("statement", ["DELETE FROM tds_new_auditoria_medicao", "UPDATE tds_new_auditoria_medicao SET usuario = 'x'"])
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
    assert {pk for pending in ConsumoPendente.objects.all() for pk in pending.dispositivos} == {device.pk, other.pk}


@pytest.mark.django_db
def test_the_trail_is_read_in_words_in_the_contas_time_and_by_device() -> None:
    device, other = meter(JUMP, timezone="America/Manaus"), meter(JUMP, "D02")
    change, root = entry(device), superuser()
    entry(other)
    change.leitura_final, change.ocorrida_em = Decimal("1021.5"), START
    change.save()
    answer = root.get(url("auditoriamedicao", "changelist"), {"dispositivo__exact": device.pk, "tabela": "tds_new_troca_medidor"})
    page = answer.content.decode()
    assert "Leitura final do medidor antigo: 1.020 → 1.021,5" in page
    assert "Ocorrida em: 02/03/2026\u00a008:45:00 → 02/03/2026\u00a008:00:00" in page
    assert "Leitura inicial do medidor novo: 50.000</div>" in page
    assert "Troca de medidor<br>Alterado" in page
    assert "(sem assinatura)" in page
    assert "queimado" in page
    assert {one.dispositivo for one in answer.context["cl"].queryset} == {device}
    for query in ({"conta": device.conta_id}, {"q": device.gateway.mac}, {"acao": "UPDATE", "tabela": "tds_new_troca_medidor"}):
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
    VigenciaParametros.objects.create(dispositivo=device, desde=START, fator_conversao=Decimal(40), motivo="TC novo")
    other = fabrica.gateway(device.conta, "GW-2")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tds_new_dispositivo SET gateway_id = %s WHERE id = %s", [other.pk, device.pk])
    page = root.get(url("auditoriamedicao", "changelist")).content.decode()
    assert "Decisão: Descartada" in page
    assert "Classe na decisão: Salto implausível" in page
    assert "Fator de conversão: 40" in page
    assert f"Gateway: {device.gateway} → {other}" in page
    assert "root@example.com" in page
