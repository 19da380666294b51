"""The list of readings out of the ordinary: who sees it, and the decisions on it.

Also the effect of a decision on consumption, and how it is undone.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from tds_new.admin import decisions, review
from tds_new.metering.worker import drain
from tds_new.models import (
    AuditoriaMedicao,
    ConsumoCongelado,
    LeituraEmRevisao,
    OcorrenciaMedicao,
    RevisaoLeitura,
    TrocaMedidor,
    User,
)
from tests.support import factories
from tests.support.meters import (
    EDITOR,
    JUMP,
    RESTART,
    ROLLOVER,
    SPIKE,
    START,
    STEP,
    decide,
    meter,
    person,
    row,
    said,
    superuser,
    total,
    url,
)

pytestmark = pytest.mark.django_db


def listed(client: Any, **query: Any) -> list[LeituraEmRevisao]:
    return list(client.get(url("leituraemrevisao", "changelist"), query).context["cl"].queryset)


def test_the_list_has_each_class_with_its_value_base_and_jump_and_what_waits_comes_first() -> None:
    devices = [meter(values, f"D{n}") for n, values in enumerate((SPIKE, JUMP, ROLLOVER, RESTART))]
    meter((1000, 1010, 1009.9, 1020), "QUIET", tolerancia_queda=Decimal(1))  # a tolerated dip needs no review
    found = listed(superuser())
    assert (found[0].dispositivo, found[0].classe, found[0].situacao) == (devices[1], "IMPLAUSIVEL", "ESPERA")
    assert {(r.dispositivo_id, r.classe, r.situacao) for r in found[1:]} == {
        (devices[0].pk, "SUSPEITA", "RESOLVIDA"), (devices[2].pk, "VIRADA", "RESOLVIDA"),
        (devices[3].pk, "REINICIO", "RESOLVIDA"),
    }  # fmt: skip
    spike = row(devices[0], 3)
    assert (spike.valor, spike.valor_base, spike.salto, spike.inicio) == (9000, 1020, 7980, START + 2 * STEP)
    assert (spike.gateway, spike.conta) == (devices[0].gateway, devices[0].conta)


def test_a_reading_that_still_waits_for_others_waits_for_people_too() -> None:
    device = meter((1000, 1010, 9000))
    assert row(device, 2).situacao == "ESPERA"


def test_times_are_the_contas_and_numbers_are_written_as_in_the_language() -> None:
    meter(SPIKE, timezone="America/Manaus")
    client = superuser()
    page = client.get(url("leituraemrevisao", "changelist")).content.decode()
    assert '02/03/2026 <br>08:45:00 <span class="quiet">GMT-4</span>' in page
    assert "9.000\u00a0kWh" in page
    assert "+7.980\u00a0kWh" in page
    english = client.get(url("leituraemrevisao", "changelist"), HTTP_ACCEPT_LANGUAGE="en").content.decode()
    assert "9,000\u00a0kWh" in english
    assert "Mar 2, 2026 <br>08:45:00" in english
    assert "Suspect reading" in english


def test_filters_by_class_conta_state_and_device() -> None:
    spike, jump = meter(SPIKE, "D1"), meter(JUMP, "D2")
    client = superuser()
    assert [r.dispositivo for r in listed(client, classe__exact="SUSPEITA")] == [spike]
    assert [r.dispositivo for r in listed(client, conta=jump.conta_id)] == [jump]
    assert [r.dispositivo for r in listed(client, situacao="ESPERA")] == [jump]
    assert [r.dispositivo for r in listed(client, dispositivo__exact=spike.pk)] == [spike]
    assert [r.dispositivo for r in listed(client, q=jump.gateway.mac)] == [jump]
    assert (
        listed(client, conta="99999999999999999999")
        == listed(client, conta="x")
        == listed(client, situacao="nada")
        == []
    )


def test_a_list_of_twelve_asks_as_much_as_a_list_of_two(django_assert_max_num_queries: Any) -> None:
    client = superuser()
    for n in range(2):
        meter(SPIKE, f"A{n}")
    listed(client)
    with django_assert_max_num_queries(20) as few:
        listed(client)
    for n in range(10):
        meter(SPIKE, f"B{n}")
    with django_assert_max_num_queries(len(few)):
        assert len(listed(client)) == 12


def test_the_page_of_a_reading_shows_five_neighbours_on_each_side_and_what_may_be_done() -> None:
    device = meter((*range(1000, 1070, 10), 9000, *range(1070, 1140, 10)))
    one = row(device, 7)
    answer = superuser().get(url("leituraemrevisao", "change", one.chave))
    lines = answer.context["lines"]
    assert [line.here for line in lines] == [False] * 5 + [True] + [False] * 5
    assert [line.value for line in lines][:7] == [
        "1.020",
        "1.030",
        "1.040",
        "1.050",
        "1.060",
        "9.000",
        "1.070",
    ]
    assert [line.base for line in lines] == [False] * 4 + [True] + [False] * 6
    assert [d.name for d, _ in answer.context["decisions"]] == ["approve", "discard", "declare_change"]


def test_an_approved_jump_counts_after_the_worker_and_stays_in_the_list_to_be_undone() -> None:
    device, client = meter(JUMP), superuser()
    assert total(device) == 50
    asked = decide(client, "approve", [row(device, 3)], motivo=None)
    assert "Passam a contar 48.980\u00a0kWh" in asked.content.decode()
    assert not RevisaoLeitura.objects.exists()

    answer = decide(client, "approve", [row(device, 3)])
    assert "1 leitura aprovada" in said(answer)
    drain()
    assert total(device) == 49_030
    assert not OcorrenciaMedicao.objects.filter(dispositivo=device).exists()
    one = row(device, 3)
    assert (one.situacao, one.classe, one.classe_decisao, one.valor, one.valor_base) == (
        "APROVADA",
        "",
        "IMPLAUSIVEL",
        50_000,
        1020,
    )
    page = client.get(url("leituraemrevisao", "changelist")).content.decode()
    assert "root@example.com" in page
    assert "Salto implausível" in page

    assert "1 decisão desfeita" in said(decide(client, "undo", [one], motivo="era outro medidor"))
    drain()
    assert total(device) == 50
    assert row(device, 3).situacao == "ESPERA"


def test_a_discarded_reading_counts_for_nothing_and_can_be_undone() -> None:
    device, client = meter((1000, 1010, 4, 1020)), superuser()
    assert total(device) == 14  # 10, and 4 counted from zero; 1020 is then too much
    assert [r.classe for r in listed(client)] == ["SUSPEITA", "REINICIO"]
    decide(client, "discard", [row(device, 2)])
    drain()
    assert total(device) == 20
    assert [r.situacao for r in listed(client)] == ["DESCARTADA"]
    decide(client, "undo", [row(device, 2)])
    drain()
    assert total(device) == 14
    assert [r.classe for r in listed(client)] == ["SUSPEITA", "REINICIO"]


def test_several_are_decided_on_one_page() -> None:
    devices, client = [meter(JUMP, f"D{n}") for n in range(3)], superuser()
    rows = [row(device, 3) for device in devices]
    asked = decide(client, "approve", rows, motivo=None)
    assert len(asked.context["items"]) == 3
    assert "3 leituras aprovadas" in said(decide(client, "approve", rows))
    drain()
    assert {total(device) for device in devices} == {Decimal(49_030)}


@pytest.mark.parametrize("action", ["approve", "discard", "undo", "declare_change"])
@pytest.mark.parametrize("motivo", ["", "   ", "x" * 201])
def test_nothing_is_decided_without_a_reason(action: str, motivo: str) -> None:
    device, client = meter(JUMP), superuser()
    if action == "undo":
        decide(client, "approve", [row(device, 3)])
    before = RevisaoLeitura.objects.count()
    answer = decide(client, action, [row(device, 3)], motivo=motivo, **change_form(row(device, 3)))
    assert "motivo" in answer.context["form"].errors
    assert (RevisaoLeitura.objects.count(), TrocaMedidor.objects.count()) == (before, 0)


@pytest.mark.parametrize("values", [ROLLOVER, RESTART])
def test_only_what_is_not_accepted_is_approved(values: tuple[float, ...]) -> None:
    device, client = meter(values), superuser()
    answer = decide(client, "approve", [row(device, 2)])
    assert "Só se aprovam leituras suspeitas e saltos implausíveis" in said(answer)
    page = client.get(url("leituraemrevisao", "change", row(device, 2).chave))
    assert "approve" not in [d.name for d, _ in page.context["decisions"]]
    assert not RevisaoLeitura.objects.exists()


def test_one_that_does_not_fit_stops_all_of_them() -> None:
    jump, rollover = meter(JUMP, "D1"), meter(ROLLOVER, "D2")
    decide(superuser(), "approve", [row(jump, 3), row(rollover, 2)])
    assert not RevisaoLeitura.objects.exists()


def test_what_is_decided_is_decided_once_and_undone_before_it_is_decided_otherwise() -> None:
    device, client = meter(JUMP), superuser()
    one = row(device, 3)
    decide(client, "discard", [one])
    assert "desfaça antes a decisão" in said(decide(client, "discard", [one]))
    assert "ninguém decidiu ainda" in said(decide(client, "approve", [one]))
    assert RevisaoLeitura.objects.get().decisao == "DESCARTADA"


def test_of_two_who_decide_at_once_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    device, client = meter(JUMP), superuser()
    open_, decided = row(device, 3), "alguém decidiu ao mesmo tempo"
    decide(client, "discard", [open_])
    monkeypatch.setattr(review, "refusal_of", lambda *_: "")  # both checked before either stored
    assert decided in said(decide(client, "approve", [open_]))
    assert RevisaoLeitura.objects.get().decisao == "DESCARTADA"
    monkeypatch.setattr(
        RevisaoLeitura.objects, "filter", lambda **_: RevisaoLeitura.objects.none()
    )  # somebody has undone it by now
    assert decided in said(decide(client, "undo", [open_]))


@pytest.mark.parametrize("action", ["approve", "discard", "undo", "declare_change"])
def test_what_is_closed_is_decided_no_more(action: str) -> None:
    device, client = meter(JUMP), superuser()
    if action == "undo":
        decide(client, "approve", [row(device, 3)])
    ConsumoCongelado.objects.create(ate=START + timedelta(days=1))
    before = RevisaoLeitura.objects.count()
    assert "O consumo até 03/03/2026 09:00 está fechado" in said(decide(client, action, [row(device, 3)]))
    assert (RevisaoLeitura.objects.count(), TrocaMedidor.objects.count()) == (before, 0)


def test_no_more_are_decided_at_once_than_fit_a_page(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, client = [row(meter(JUMP, f"D{n}"), 3) for n in range(3)], superuser()
    monkeypatch.setattr(decisions, "AT_ONCE", 2)
    assert "Decida até 2 leituras por vez" in said(decide(client, "discard", rows))
    assert not RevisaoLeitura.objects.exists()


def test_after_a_transfer_a_reading_and_its_decision_stay_with_the_conta_that_it_was_read_for() -> None:
    device, other, client = meter(JUMP), factories.conta("Outra"), superuser()
    decide(client, "discard", [row(device, 3)])
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tds_new_dispositivo SET conta_id = %s WHERE id = %s", [other.pk, device.pk])
    assert row(device, 3).conta == device.conta
    drain()
    assert row(device, 3).conta == device.conta
    assert listed(client, conta=other.pk) == []


def test_a_reading_that_has_left_the_list_meanwhile_is_said_to_have() -> None:
    device, client = meter((1000, 1010, 9000)), superuser()
    one = row(device, 2)
    OcorrenciaMedicao.objects.filter(dispositivo=device).delete()
    assert "não estão mais na lista" in said(decide(client, "approve", [one]))


def change_form(of: LeituraEmRevisao, **fields: str) -> dict[str, str]:
    """Return the form data of a meter change for one reading."""
    local = of.leitura_em.astimezone(of.conta.zone)
    form = {
        "ocorrida_em_0": f"{local:%d/%m/%Y}",
        "ocorrida_em_1": f"{local:%H:%M:%S}",
        "leitura_final": "1020",
        "leitura_inicial": "50000",
    }
    return {f"{of.chave}-{name}": value for name, value in {**form, **fields}.items()}


def test_a_declared_change_is_filled_with_what_the_readings_suggest_and_leaves_the_jump_out() -> None:
    device, client = meter(JUMP, timezone="America/Manaus"), superuser()
    one = row(device, 3)
    form = decide(client, "declare_change", [one], motivo=None).context["items"][0]["change"]
    assert f"{form['ocorrida_em'].value():%d/%m/%Y %H:%M:%S}" == "02/03/2026 08:45:00"
    assert (form["leitura_final"].value(), form["leitura_inicial"].value()) == ("1020", "50000")
    assert "America/Manaus" in form.as_p()

    assert "1 troca registrada" in said(decide(client, "declare_change", [one], **change_form(one)))
    change = TrocaMedidor.objects.get()
    assert (change.ocorrida_em, change.leitura_final, change.leitura_inicial) == (
        one.leitura_em,
        1020,
        50_000,
    )
    assert (change.motivo, change.registrado_por) == ("visto no local", User.objects.get())
    drain()
    assert total(device) == 50
    assert OcorrenciaMedicao.objects.get(dispositivo=device).classe == "TROCA"


def test_a_declared_change_stays_in_the_list_with_the_way_back(django_assert_max_num_queries: Any) -> None:
    device, client = meter(JUMP, timezone="America/Manaus"), superuser()
    decide(client, "declare_change", [row(device, 3)], **change_form(row(device, 3)))
    drain()
    assert [(one.classe, one.situacao) for one in listed(client, classe__exact="TROCA")] == [
        ("TROCA", "RESOLVIDA")
    ]
    address, change = url("leituraemrevisao", "change", row(device, 3).chave), TrocaMedidor.objects.get()
    page = client.get(address)
    link = f'<a href="{url("trocamedidor", "change", change.pk)}">Alterar ou excluir a troca</a>'
    words = (
        "Troca de medidor em 02/03/2026\u00a008:45:00 (GMT-4): final 1.020\u00a0kWh, inicial 50.000\u00a0kWh."
    )
    assert f"{words} {link}" in page.content.decode()
    assert [d.name for d, _ in page.context["decisions"]] == ["discard"]
    assert words in person("view_leituraemrevisao").get(address).content.decode()
    assert link not in person("view_leituraemrevisao", email="rui@example.com").get(address).content.decode()

    client.post(url("trocamedidor", "delete", change.pk), {"post": "yes", "motivo": "era outro medidor"})
    drain()
    assert row(device, 3).situacao == "ESPERA"


def test_a_discarded_reading_at_a_change_is_listed_once_and_leaves_the_change_to_the_next_one() -> None:
    device, client = meter(JUMP), superuser()
    decide(client, "declare_change", [row(device, 3)], **change_form(row(device, 3)))
    drain()
    asked = decide(client, "discard", [row(device, 3)], motivo=None).content.decode()
    assert "a próxima leitura passa a ser a primeira do medidor novo" in asked
    decide(client, "discard", [row(device, 3)])
    assert [(one.leitura_em, one.situacao) for one in listed(client)] == [(START + 3 * STEP, "DESCARTADA")]
    drain()
    assert {(one.leitura_em, one.classe, one.situacao) for one in listed(client)} == {
        (START + 3 * STEP, "", "DESCARTADA"), (START + 4 * STEP, "TROCA", "RESOLVIDA"),
    }  # fmt: skip


def test_a_change_that_gives_too_much_is_stored_with_the_two_numbers_and_the_reading_stays_suspect() -> None:
    device, client = meter(JUMP), superuser()
    one = row(device, 3)
    answer = decide(
        client,
        "declare_change",
        [one],
        **change_form(one, leitura_final="1.040,5", leitura_inicial="49.990,0"),
    )
    assert (
        "Com a troca o consumo de 02/03/2026\u00a009:30:00 a 02/03/2026\u00a009:45:00 é 30,5\u00a0kWh, e o "
        "máximo plausível é 25\u00a0kWh: "
        "a leitura de 02/03/2026\u00a009:45:00 fica suspeita."
    ) in said(answer)
    drain()
    assert row(device, 3).classe == "SUSPEITA"
    page = client.get(url("leituraemrevisao", "change", one.chave))
    assert url("trocamedidor", "change", TrocaMedidor.objects.get().pk) in page.content.decode()
    assert [d.name for d, _ in page.context["decisions"]] == ["approve", "discard"]


def test_a_change_that_gives_just_what_is_plausible_is_stored_without_a_warning() -> None:
    device, client = meter(JUMP), superuser()
    one = row(device, 3)
    answer = decide(
        client, "declare_change", [one], **change_form(one, leitura_final="1040", leitura_inicial="49995")
    )
    assert "máximo plausível" not in said(answer)
    drain()
    assert (row(device, 3).classe, row(device, 3).consumo) == ("TROCA", 25)


def test_a_declared_change_counts_what_both_meters_counted() -> None:
    device, client = meter(JUMP), superuser()
    one = row(device, 3)
    decide(
        client,
        "declare_change",
        [one],
        **change_form(one, leitura_final="1.022,5", leitura_inicial="49995,5"),
    )
    drain()
    assert total(device) == 57  # 20 + (2.5 + 4.5) + 30


def test_where_the_register_began_again_a_new_meter_is_taken_to_begin_at_zero() -> None:
    device = meter(RESTART)
    form = decide(superuser(), "declare_change", [row(device, 2)], motivo=None).context["items"][0]["change"]
    assert (form["leitura_final"].value(), form["leitura_inicial"].value()) == ("1010", "0")


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"ocorrida_em_1": "09:30:00"}, "ocorrida_em"),  # the base's own time
        ({"ocorrida_em_1": "09:45:01"}, "ocorrida_em"),  # after the reading
        ({"ocorrida_em_1": "25:00"}, "ocorrida_em"),
        ({"leitura_final": "-1"}, "leitura_final"),
        ({"leitura_final": "100000,1"}, "leitura_final"),
        ({"leitura_inicial": "12.345"}, "leitura_inicial"),  # 12345, or 12 and a bit?
        ({"leitura_inicial": "abc"}, "leitura_inicial"),
    ],
)
def test_a_change_that_explains_nothing_or_no_register_shows_is_a_form_error(
    fields: dict[str, str], name: str
) -> None:
    device, client = meter(JUMP), superuser()
    one = row(device, 3)
    answer = decide(client, "declare_change", [one], **change_form(one, **fields))
    assert list(answer.context["items"][0]["change"].errors) == [name]
    assert not TrocaMedidor.objects.exists()


def test_one_change_a_device() -> None:
    device, client = meter((1000, 1010, 9000, 9100)), superuser()
    assert "uma só leitura de cada dispositivo" in said(
        decide(client, "declare_change", [row(device, 2), row(device, 3)])
    )


def test_a_reading_with_a_fraction_of_a_second_is_named_by_its_second() -> None:
    device = meter(())
    times = [START, START + STEP + timedelta(milliseconds=500)]
    factories.readings(device, zip(times, (1000, 9000), strict=True))
    client, one = superuser(), LeituraEmRevisao.objects.get()
    decide(client, "declare_change", [one], **change_form(one, leitura_final="1000", leitura_inicial="9000"))
    assert TrocaMedidor.objects.get().ocorrida_em == times[1]


@pytest.mark.parametrize(
    ("permissions", "actions"),
    [
        (("view_leituraemrevisao",), []),
        (("view_leituraemrevisao", "add_trocamedidor"), []),
        (("view_leituraemrevisao", "change_leituraemrevisao"), ["approve", "discard"]),
        (EDITOR, ["approve", "discard", "declare_change"]),
    ],
)
def test_staff_see_with_one_permission_and_act_with_another(
    permissions: tuple[str, ...], actions: list[str]
) -> None:
    device, client = meter(JUMP), person(*permissions)
    one = row(device, 3)
    assert listed(client) == [one]
    page = client.get(url("leituraemrevisao", "change", one.chave))
    assert [d.name for d, _ in page.context["decisions"]] == actions
    for action in ("approve", "discard", "declare_change"):
        if action not in actions:
            decide(client, action, [one], **change_form(one))
    assert (RevisaoLeitura.objects.count(), TrocaMedidor.objects.count()) == (0, 0)
    assert person(email="nobody@example.com").get(url("leituraemrevisao", "changelist")).status_code == 403


@pytest.mark.parametrize("page", ["add", "delete"])
def test_readings_are_neither_added_nor_deleted_here(page: str) -> None:
    device = meter(JUMP)
    args = [row(device, 3).chave] if page == "delete" else []
    assert superuser().post(url("leituraemrevisao", page, *args), {"post": "yes"}).status_code == 403


@pytest.mark.parametrize("key", ["1", "x-y", "1-99999999999999999999999", "0-0"])
def test_a_reading_that_is_not_there_is_no_error(key: str) -> None:
    assert superuser().get(url("leituraemrevisao", "change", key)).status_code == 302


def test_the_trail_names_who_decided_why_and_who_undid_it() -> None:
    device = meter(JUMP)
    decide(superuser(), "approve", [row(device, 3)], motivo="obra no local")
    decide(person(*EDITOR), "undo", [row(device, 3)], motivo="engano")
    trail = (
        AuditoriaMedicao.objects.filter(dispositivo=device)
        .order_by("id")
        .values_list("acao", "usuario", "motivo")
    )
    assert list(trail)[-2:] == [
        ("INSERT", "root@example.com", "obra no local"),
        ("DELETE", "ana@example.com", "engano"),
    ]
