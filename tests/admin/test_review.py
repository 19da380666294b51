"""The list of readings out of the ordinary: who sees it, and the decisions on it.

Also the effect of a decision on consumption, and how it is undone.
"""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.utils.timezone import now

from tds_new.admin import decisions, review
from tds_new.admin.cases import cases_of
from tds_new.admin.decisions import BY_NAME
from tds_new.metering.worker import drain
from tds_new.models import (
    AuditoriaMedicao,
    ConsumoCongelado,
    ConsumoEstado,
    Dispositivo,
    LeituraEmRevisao,
    MensagemRejeitada,
    OcorrenciaMedicao,
    RevisaoLeitura,
    TrocaMedidor,
    User,
    VigenciaParametros,
)
from tds_new.queries.waiting import waiting_readings
from tests.support import factories
from tests.support.meters import (
    EDITOR,
    EXCESS,
    JUMP,
    ON_MANY,
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


def offered(page: Any) -> list[str]:
    """Return the decisions that a reading's page offers, in order."""
    return [choice.decision.name for choice in page.context["choices"]]


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
    assert [r.dispositivo for r in listed(client, classe="SUSPEITA")] == [spike]
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
    assert offered(answer) == ["discard", "correct"]  # it is settled: nothing jumps into the totals


def test_an_approved_jump_counts_after_the_worker_and_stays_in_the_list_to_be_undone() -> None:
    device, client = meter(JUMP), superuser()
    assert total(device) == 50
    asked = decide(client, "approve", [row(device, 3)], motivo=None)
    assert "mar/26: de 50\u00a0kWh para 49.030\u00a0kWh (+48.980\u00a0kWh)" in asked.content.decode()
    assert not RevisaoLeitura.objects.exists()

    answer = decide(client, "approve", [row(device, 3)])
    assert "Decisão registrada. O consumo é recalculado em segundos." in said(answer)
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
    device, client = meter(RESTART), superuser()
    assert total(device) == 44  # 10, 4 counted from zero, and three times 10
    decide(client, "discard", [row(device, 2)])
    drain()
    assert total(device) == 10  # three are left after the fall: one too few
    assert row(device, 2).situacao == "DESCARTADA"
    decide(client, "undo", [row(device, 2)])
    drain()
    assert total(device) == 44
    assert [r.classe for r in listed(client)] == ["REINICIO"]


@pytest.mark.parametrize("action", ON_MANY)
def test_several_are_decided_on_one_page(action: str) -> None:
    devices, client = [meter(JUMP, f"D{n}") for n in range(3)], superuser()
    if action == "undo":
        decide(client, "discard", [row(device, 3) for device in devices])
        drain()
    rows = [row(device, 3) for device in devices]
    asked = decide(client, action, rows, motivo=None)
    assert len(asked.context["items"]) == 3
    assert all(item["told"].totals for item in asked.context["items"])
    assert "3 " in said(decide(client, action, rows))
    assert RevisaoLeitura.objects.count() == (0 if action == "undo" else 3)


def test_of_too_many_readings_the_effect_is_not_looked_up(monkeypatch: pytest.MonkeyPatch) -> None:
    devices = [meter(JUMP, f"D{n}") for n in range(3)]
    monkeypatch.setattr(review, "EFFECTS_AT_ONCE", 2)
    asked = decide(superuser(), "discard", [row(device, 3) for device in devices], motivo=None)
    assert {item["told"] for item in asked.context["items"]} == {None}
    assert "São leituras demais para calcular aqui" in asked.content.decode()


@pytest.mark.parametrize("action", ["approve", "discard", "undo", "declare_change"])
@pytest.mark.parametrize("motivo", ["", "   ", "x" * 201])
def test_nothing_is_decided_without_a_reason(action: str, motivo: str) -> None:
    device, client = meter(JUMP), superuser()
    if action == "undo":
        decide(client, "discard", [row(device, 3)])
    before = RevisaoLeitura.objects.count()
    answer = decide(client, action, [row(device, 3)], motivo=motivo, **change_form(row(device, 3)))
    assert "motivo" in answer.context["reason"].errors
    assert (RevisaoLeitura.objects.count(), TrocaMedidor.objects.count()) == (before, 0)


LINE = tuple(round(12_345 + 0.2 * n, 1) for n in range(8))
IN_DOUBT = (*LINE, 90, 90.2, 90.4, 90.6)
OFFERED: list[tuple[tuple[float, ...], int, list[str]]] = [
    (SPIKE, 3, ["discard", "correct"]),
    (ROLLOVER, 2, ["discard", "return", "declare_change", "correct"]),
    (RESTART, 2, ["discard", "return", "declare_change", "correct"]),
    (IN_DOUBT, 8, ["see", "discard", "return", "restart", "declare_change", "correct"]),
    (EXCESS, 3, ["raise_maximum", "see", "discard", "return", "declare_change", "correct"]),
    (JUMP, 3, ["see", "discard", "return", "declare_change", "correct", "approve"]),
    ((*LINE, 5000, 5000.2, 5000.4, 5000.6), 8,
     ["see", "discard", "return", "restart", "declare_change", "correct"]),
    ((*LINE, -5, -4.8, -4.6, -4.4), 8, ["see", "discard", "return", "declare_change", "correct"]),
    ((*LINE, 77_000), 8, ["see", "discard", "return", "declare_change", "correct", "approve"]),
]  # fmt: skip


@pytest.mark.parametrize(("values", "number", "names"), OFFERED)
def test_only_decisions_that_do_something_are_offered_and_the_safe_one_first(
    values: tuple[float, ...], number: int, names: list[str]
) -> None:
    device, client = meter(values), superuser()
    one = row(device, number)
    answer = client.get(url("leituraemrevisao", "change", one.chave))
    assert offered(answer) == names
    weights = {choice.decision.name: choice.weight for choice in answer.context["choices"]}
    assert [name for name, weight in weights.items() if weight == "first"] == names[
        : one.situacao == "ESPERA"
    ]
    assert weights.get("approve", "quiet") == "quiet"
    for name in BY_NAME.keys() - set(names):
        decide(client, name, [one], conta=one.conta_id, valor_corrigido="1", **change_form(one))
    assert not RevisaoLeitura.objects.exists()
    assert not TrocaMedidor.objects.exists()
    assert not VigenciaParametros.objects.exists()


def test_increments_take_four_decisions_and_the_first_of_a_chain_two() -> None:
    device, client = meter(()), superuser()
    Dispositivo.objects.filter(pk=device.pk).update(tipo_leitura="INCREMENTAL")
    device.refresh_from_db()
    factories.readings(device, factories.points(START, STEP, (5000, 1, 5000, 2)))
    pages = [client.get(url("leituraemrevisao", "change", row(device, n).chave)) for n in (0, 2)]
    assert [set(offered(page)) for page in pages] == [
        {"discard", "correct", "raise_maximum"},
        {"see", "discard", "correct", "approve", "raise_maximum"},
    ]


def test_one_that_does_not_fit_stops_all_of_them() -> None:
    jump, rollover = meter(JUMP, "D1"), meter(ROLLOVER, "D2")
    answer = decide(superuser(), "see", [row(jump, 3), row(rollover, 2)])
    assert "Só se marcam como vistas leituras que esperam" in said(answer)
    assert not RevisaoLeitura.objects.exists()


def test_what_is_decided_is_decided_once_and_undone_before_it_is_decided_otherwise() -> None:
    device, client = meter(JUMP), superuser()
    one = row(device, 3)
    decide(client, "discard", [one])
    one = row(device, 3)
    assert "desfaça antes a decisão" in said(decide(client, "discard", [one]))
    assert "ninguém decidiu ainda" in said(decide(client, "approve", [one]))
    assert RevisaoLeitura.objects.get().decisao == "DESCARTADA"


def test_of_two_who_decide_at_once_one_does(monkeypatch: pytest.MonkeyPatch) -> None:
    device, client = meter(JUMP), superuser()
    open_, decided = row(device, 3), "alguém decidiu ao mesmo tempo"
    decide(client, "discard", [open_])
    monkeypatch.setattr(review, "refusal_of", lambda *_: "")  # both checked before either stored
    monkeypatch.setattr(review, "cases_of", lambda rows: cases_of([open_] if rows else []))
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
    return {**form, **fields}


def test_a_declared_change_is_filled_with_what_the_readings_suggest_and_leaves_the_jump_out() -> None:
    device, client = meter(JUMP, timezone="America/Manaus"), superuser()
    one = row(device, 3)
    form = decide(client, "declare_change", [one], motivo=None).context["form"]
    assert f"{form['ocorrida_em'].value():%d/%m/%Y %H:%M:%S}" == "02/03/2026 08:45:00"
    assert (form["leitura_final"].value(), form["leitura_inicial"].value()) == ("1020", "50000")
    assert "America/Manaus" in form.as_p()

    assert "Troca registrada." in said(decide(client, "declare_change", [one], **change_form(one)))
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
    assert [(one.classe, one.situacao) for one in listed(client, classe="TROCA")] == [("TROCA", "RESOLVIDA")]
    address, change = url("leituraemrevisao", "change", row(device, 3).chave), TrocaMedidor.objects.get()
    page = client.get(address)
    link = f'<a href="{url("trocamedidor", "change", change.pk)}">Alterar ou excluir a troca</a>'
    words = (
        "Troca de medidor em 02/03/2026\u00a008:45:00 (GMT-4): final 1.020\u00a0kWh, inicial 50.000\u00a0kWh."
    )
    assert f"{words} {link}" in page.content.decode()
    assert offered(page) == ["discard", "correct"]
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
    assert "Mais 1 leitura: de comum para Troca de medidor" in asked  # the change stays, for the next one
    decide(client, "discard", [row(device, 3)])
    assert [(one.leitura_em, one.situacao) for one in listed(client)] == [(START + 3 * STEP, "DESCARTADA")]
    drain()
    assert {(one.leitura_em, one.classe, one.situacao) for one in listed(client)} == {
        (START + 3 * STEP, "", "DESCARTADA"), (START + 4 * STEP, "TROCA", "RESOLVIDA"),
    }  # fmt: skip


def test_a_change_that_gives_too_much_is_stored_with_the_two_numbers_and_the_reading_stays() -> None:
    device, client = meter(JUMP), superuser()
    one = row(device, 3)
    answer = decide(
        client,
        "declare_change",
        [one],
        **change_form(one, leitura_final="1.120,5", leitura_inicial="49.990,0"),
    )
    assert (
        "Com a troca o consumo de 02/03/2026\u00a009:30:00 a 02/03/2026\u00a009:45:00 é 110,5\u00a0kWh, e o "
        "máximo plausível é 100\u00a0kWh: "
        "a leitura de 02/03/2026\u00a009:45:00 fica em revisão."
    ) in said(answer)
    drain()
    assert row(device, 3).classe == "IMPLAUSIVEL"
    page = client.get(url("leituraemrevisao", "change", one.chave))
    assert url("trocamedidor", "change", TrocaMedidor.objects.get().pk) in page.content.decode()
    assert offered(page) == ["see", "discard", "return", "correct", "approve"]


def test_a_change_that_gives_just_what_is_plausible_is_stored_without_a_warning() -> None:
    device, client = meter(JUMP), superuser()
    one = row(device, 3)
    answer = decide(
        client, "declare_change", [one], **change_form(one, leitura_final="1115", leitura_inicial="49995")
    )
    assert "máximo plausível" not in said(answer)
    drain()
    assert (row(device, 3).classe, row(device, 3).consumo) == ("TROCA", 100)


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
    form = decide(superuser(), "declare_change", [row(device, 2)], motivo=None).context["form"]
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
    assert list(answer.context["form"].errors) == [name]
    assert not TrocaMedidor.objects.exists()


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
        (
            ("view_leituraemrevisao", "change_leituraemrevisao"),
            ["see", "discard", "return", "correct", "approve"],
        ),
        (EDITOR, ["see", "discard", "return", "declare_change", "correct", "approve"]),
    ],
)
def test_staff_see_with_one_permission_and_act_with_another(
    permissions: tuple[str, ...], actions: list[str]
) -> None:
    device, client = meter(JUMP), person(*permissions)
    one = row(device, 3)
    assert listed(client) == [one]
    page = client.get(url("leituraemrevisao", "change", one.chave))
    assert [choice.decision.name for choice in page.context["choices"]] == actions
    for action in ("approve", "discard", "declare_change", "correct", "raise_maximum"):
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


def test_a_corrected_value_counts_instead_of_the_received_one() -> None:
    device, client = meter(JUMP), superuser()
    asked = decide(client, "correct", [row(device, 3)], motivo=None, valor="1030")
    assert asked.context["form"]["valor_corrigido"].value() == "1030"
    assert "Recebido: 50.000\u00a0kWh." in asked.content.decode()
    seen = client.post(
        url("leituraemrevisao", "decide", row(device, 3).chave, "correct"),
        {"valor_corrigido": "1.025,5", "ver": "sim", "motivo": "anotado no local"},
    )
    assert "mar/26: de 50\u00a0kWh para 25,5\u00a0kWh" in seen.content.decode()
    assert 'value="anotado no local"' in seen.content.decode()
    assert not RevisaoLeitura.objects.exists()
    assert "Valor corrigido." in said(decide(client, "correct", [row(device, 3)], valor_corrigido="1.025,5"))
    drain()
    assert total(device) == 25.5  # the next three are now the jump, one too few
    one = row(device, 3)
    assert (one.situacao, one.valor_corrigido) == ("CORRIGIDA", Decimal("1025.5"))
    shown = client.get(url("leituraemrevisao", "change", one.chave)).content.decode()
    assert "<s>50.000</s> 1.025,5" in shown


def test_a_corrected_value_that_waits_again_takes_a_decision_with_it() -> None:
    device, client = meter(JUMP), superuser()
    decide(client, "correct", [row(device, 3)], valor_corrigido="49990")
    drain()
    assert (row(device, 3).situacao, row(device, 3).valor) == ("ESPERA", 49_990)
    decide(client, "approve", [row(device, 3)])
    drain()
    revisao = RevisaoLeitura.objects.get()
    assert (revisao.decisao, revisao.valor_corrigido) == ("APROVADA", 49_990)
    assert total(device) == 49_030
    assert row(device, 3).situacao == "APROVADA"


@pytest.mark.parametrize(
    ("fields", "name"),
    [
        ({"valor_corrigido": ""}, "valor_corrigido"),
        ({"valor_corrigido": "12.345"}, "valor_corrigido"),
        ({"valor_corrigido": "-5", "decisao": "REINICIO"}, "decisao"),
        ({"valor_corrigido": "5", "decisao": "DESCARTADA"}, "decisao"),
    ],
)
def test_a_value_that_cannot_be_meant_is_a_form_error(fields: dict[str, str], name: str) -> None:
    device = meter(JUMP)
    answer = decide(superuser(), "correct", [row(device, 3)], **fields)
    assert list(answer.context["form"].errors) == [name]
    assert not RevisaoLeitura.objects.exists()


def conflict(one: LeituraEmRevisao, value: str, codigo: str | None = None) -> MensagemRejeitada:
    """Another value for the same device and time, as ingestion sets it aside."""
    received = (
        f'{{"leituras": [{{"dispositivo_codigo": "{codigo or one.dispositivo.codigo}", "valor": {value}}}]}}'
    )
    return MensagemRejeitada.objects.create(
        gateway=one.gateway,
        conta=one.conta,
        topico="tds_new/devices/aabbcc000001/telemetry",
        motivo="conflito",
        payload=received.encode(),
        leitura_indice=0,
        detalhe=f"{one.leitura_em.isoformat()}: {value} received, {one.valor} stored",
    )


def test_another_value_that_was_set_aside_is_taken_by_a_click() -> None:
    device, client = meter(JUMP), superuser()
    one = row(device, 3)
    message = conflict(one, "1030.5")
    conflict(one, "7.0", codigo="OTHER")
    address = url("leituraemrevisao", "change", one.chave)
    choice = next(c for c in client.get(address).context["choices"] if c.decision.name == "correct")
    assert (choice.button, choice.query) == ("Usar 1.030,5\u00a0kWh", "?valor=1030.5")
    listed_ = client.get(url("mensagemrejeitada", "changelist")).content.decode()
    use = url("mensagemrejeitada", "use", message.pk)
    assert f'<a href="{use}">Usar este valor</a>' in listed_
    asked = client.get(use, follow=True)
    assert asked.context["form"]["valor_corrigido"].value() == "1030.5"
    decide(client, "correct", [one], valor_corrigido="1.030,5")
    drain()
    assert total(device) == 30.5


def test_the_value_of_a_conflict_is_used_of_an_ordinary_reading_too() -> None:
    device, client = meter((1000, 1010, 1020)), superuser()
    ordinary = LeituraEmRevisao(
        dispositivo=device,
        gateway=device.gateway,
        conta=device.conta,
        leitura_em=START + STEP,
        valor=Decimal("1010.0000"),
    )
    asked = client.get(url("mensagemrejeitada", "use", conflict(ordinary, "1015.5").pk), follow=True)
    form = asked.context["adminform"].form
    assert (form["valor_corrigido"].value(), form["leitura_em"].value().strftime("%H:%M")) == (
        "1015,5",
        "09:15",
    )
    client.post(f"{url('revisaoleitura', 'add')}?dispositivo={device.pk}", {
        "leitura_em_0": "02/03/2026", "leitura_em_1": "09:15:00", "valor_corrigido": "1015,5", "motivo": "x",
    })  # fmt: skip
    assert RevisaoLeitura.objects.get().valor_corrigido == Decimal("1015.5")
    elsewhere = conflict(ordinary, "1", codigo="NOBODY")
    assert "Não se sabe de que leitura" in said(
        client.get(url("mensagemrejeitada", "use", elsewhere.pk), follow=True)
    )


def test_a_raised_maximum_holds_from_the_reading_on_and_keeps_the_other_parameters() -> None:
    device, client = meter(EXCESS, fator_conversao=Decimal(2)), superuser()
    one = row(device, 3)
    form = decide(client, "raise_maximum", [one], motivo=None).context["form"]
    assert (form["consumo_maximo_hora"].value(), f"{form['desde'].value():%H:%M}") == ("1000", "09:45")
    fields = {"desde_0": "02/03/2026", "desde_1": "09:45:00"}
    late = decide(
        client, "raise_maximum", [one], consumo_maximo_hora="1000", **{**fields, "desde_1": "09:46:00"}
    )
    assert list(late.context["form"].errors) == ["desde"]
    assert "Máximo por hora aumentado." in said(
        decide(client, "raise_maximum", [one], consumo_maximo_hora="1.000,5", **fields)
    )
    drain()
    dated = VigenciaParametros.objects.get()
    assert (dated.desde, dated.consumo_maximo_hora, dated.fator_conversao, dated.valor_maximo_registro) == (
        one.leitura_em, Decimal("1000.5"), 2, 100_000,
    )  # fmt: skip
    assert total(device) == 1640
    assert not LeituraEmRevisao.objects.exists()


def test_the_heading_and_the_sidebar_say_how_many_wait_and_for_whom() -> None:
    client = superuser()
    assert "Nenhuma à espera de alguém" in client.get(url("leituraemrevisao", "changelist")).content.decode()
    assert "Leituras em revisão (" not in client.get(url("gateway", "changelist")).content.decode()
    meter(JUMP, "D1"), meter(JUMP, "D2"), meter(SPIKE, "D3")
    page = client.get(url("leituraemrevisao", "changelist"))
    assert page.context["waiting"] == (2, 0)
    assert "2 à espera de alguém" in page.content.decode()
    assert "Leituras em revisão (2)" in client.get("/admin/").content.decode()


def test_a_decision_before_the_present_rules_is_kept_for_the_rebuild() -> None:
    device, client = meter(JUMP), superuser()
    ConsumoEstado.objects.update_or_create(
        dispositivo=device, defaults={"segunda_edicao_desde": START + timedelta(days=1)}
    )
    page = client.get(url("leituraemrevisao", "change", row(device, 3).chave)).content.decode()
    assert "só muda o consumo quando alguém rodar rebuild_consumption" in page
    assert "rebuild_consumption" in said(decide(client, "return", [row(device, 3)]))
    assert RevisaoLeitura.objects.get().decisao == "RETORNO"


def test_dips_are_on_the_page_of_their_device_by_day() -> None:
    device = meter([1000 + n - (1.5 if n % 8 == 5 else 0) for n in range(100)], tolerancia_queda=Decimal(2))
    assert not LeituraEmRevisao.objects.exists()
    page = superuser().get(url("dispositivo", "change", device.pk))
    assert page.context["dips"] == [("03/03/2026", 5, "0,5\u00a0kWh"), ("02/03/2026", 7, "0,5\u00a0kWh")]
    assert "Quedas toleradas por dia" in page.content.decode()


def test_what_waits_is_counted_as_the_list_has_it() -> None:
    devices = [meter(values, f"D{n}") for n, values in enumerate((JUMP, JUMP, EXCESS, SPIKE, IN_DOUBT))]
    recent, at = meter((), "D9"), now() - timedelta(minutes=1)
    factories.readings(recent, [(at - STEP * (2 - n), value) for n, value in enumerate((1000, 1010, 4))])
    decide(superuser(), "correct", [row(devices[0], 3)], valor_corrigido="49990")  # waits again
    decide(superuser("rui@example.com"), "see", [row(devices[1], 3)])
    drain()
    listed_ = LeituraEmRevisao.objects
    counted = listed_.filter(situacao="ESPERA").count(), listed_.filter(situacao="AGUARDA").count()
    assert waiting_readings() == counted
    assert counted[0] > 4
    assert counted[1] == 1
