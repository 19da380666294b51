"""Meter changes, dated parameters and decisions entered by hand.

They check refusals and their words, the zone of times, and the consumption.
"""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import transaction
from django.test import Client
from django.utils import translation
from django.utils.timezone import now

from tds_new.admin.fields import NumberField
from tds_new.metering.worker import drain
from tds_new.models import (
    ConsumoCongelado,
    ConsumoPendente,
    Dispositivo,
    RevisaoLeitura,
    TrocaMedidor,
    User,
    VigenciaParametros,
)
from tests.support import factories
from tests.support.meters import (
    JUMP,
    RESTART,
    SPIKE,
    START,
    STEP,
    errors,
    meter,
    person,
    said,
    superuser,
    total,
    url,
)

pytestmark = pytest.mark.django_db
CHANGE = {
    "ocorrida_em_0": "02/03/2026",
    "ocorrida_em_1": "09:40:00",
    "leitura_final": "1020",
    "leitura_inicial": "50000",
    "motivo": "queimado",
}
DATED = {
    "desde_0": "02/03/2026", "desde_1": "09:20:00", "fator_conversao": "40",
    "valor_maximo_registro": "100000",
    "consumo_maximo_hora": "100", "tolerancia_queda": "", "motivo": "TC novo",
}  # fmt: skip
DECISION = {
    "leitura_em_0": "02/03/2026",
    "leitura_em_1": "09:45:00",
    "decisao": "DESCARTADA",
    "motivo": "leitura de teste",
}
KINDS: dict[str, tuple[dict[str, str], type[Any]]] = {
    "trocamedidor": (CHANGE, TrocaMedidor),
    "vigenciaparametros": (DATED, VigenciaParametros),
    "revisaoleitura": (DECISION, RevisaoLeitura),
}


def add(client: Client, model: str, device: Dispositivo, **fields: str) -> Any:
    """Return the response of the page that adds an entry of ``device``."""
    return client.post(
        f"{url(model, 'add')}?dispositivo={device.pk}", {**KINDS[model][0], **fields}, follow=True
    )


@pytest.fixture
def root() -> Client:
    return superuser()


def test_a_change_is_entered_in_the_contas_time_with_decimal_commas_and_signed(root: Client) -> None:
    device = meter(JUMP, timezone="America/Manaus")
    page = root.get(f"{url('trocamedidor', 'add')}?dispositivo={device.pk}").content.decode()
    assert "Na hora da conta: America/Manaus, hoje GMT-4." in page
    assert "Em kWh." in page
    assert 'data-admin-utc-offset="-14400"' in page  # the clock beside the field uses this

    assert (
        errors(
            add(
                root,
                "trocamedidor",
                device,
                ocorrida_em_1="08:40:00",
                leitura_final="1.021,5",
                leitura_inicial="49998,25",
            )
        )
        == {}
    )
    change = TrocaMedidor.objects.get()
    assert change.ocorrida_em == START + timedelta(minutes=40)
    assert (change.leitura_final, change.leitura_inicial) == (Decimal("1021.5"), Decimal("49998.25"))
    assert (change.registrado_por, change.motivo) == (User.objects.get(), "queimado")
    drain()
    assert total(device) == Decimal("53.25")  # 20 + 1.5 + 1.75 + 30

    shown = root.get(url("trocamedidor", "change", change.pk)).content.decode()
    assert 'value="1021,5"' in shown
    assert 'value="08:40:00"' in shown
    listed = root.get(url("trocamedidor", "changelist")).content.decode()
    assert "02/03/2026\u00a008:40:00 (GMT-4)" in listed
    assert "1.021,5\u00a0kWh" in listed


def test_a_change_altered_or_deleted_computes_its_time_again(root: Client) -> None:
    device = meter(JUMP)
    add(root, "trocamedidor", device)
    drain()
    change = TrocaMedidor.objects.get()
    assert (
        errors(
            root.post(
                url("trocamedidor", "change", change.pk), {**CHANGE, "leitura_inicial": "49990"}, follow=True
            )
        )
        == {}
    )
    drain()
    assert total(device) == 60
    root.post(url("trocamedidor", "delete", change.pk), {"post": "yes", "motivo": "engano"})
    drain()
    assert total(device) == 50


@pytest.mark.parametrize(
    ("fields", "name", "words"),
    [
        ({"ocorrida_em_0": "31/12/2999"}, "ocorrida_em", "ainda não aconteceu"),
        ({"ocorrida_em_0": "31/12/9999", "ocorrida_em_1": "23:59:59"}, "ocorrida_em", "ainda não aconteceu"),
        ({"ocorrida_em_0": "01/01/0001"}, "ocorrida_em", "Confira o ano"),
        ({"ocorrida_em_0": "30/02/2026"}, "ocorrida_em", ""),
        ({"leitura_final": "-1"}, "leitura_final", "não mostra valor negativo"),
        ({"leitura_inicial": "-0,1"}, "leitura_inicial", "não mostra valor negativo"),
        (
            {"leitura_final": "100000,0001"},
            "leitura_final",
            "Acima do valor máximo do registrador, que é 100.000",
        ),
        ({"leitura_inicial": "200000"}, "leitura_inicial", "Acima do valor máximo"),
        ({"leitura_final": "12.345"}, "leitura_final", "Escreva 12345 ou 12,345"),
        ({"leitura_final": "1,23456"}, "leitura_final", ""),
        ({"motivo": ""}, "motivo", ""),
    ],
)
def test_a_change_that_cannot_be_is_refused_in_words(
    root: Client, fields: dict[str, str], name: str, words: str
) -> None:
    found = errors(add(root, "trocamedidor", meter(JUMP), **fields))
    assert list(found) == [name]
    assert words in str(found[name])
    assert not TrocaMedidor.objects.exists()


def test_words_are_english_where_the_page_is(root: Client) -> None:
    device = meter(JUMP)
    address = f"{url('trocamedidor', 'add')}?dispositivo={device.pk}"
    form = {**CHANGE, "ocorrida_em_0": "2999-12-31", "leitura_final": "12,345"}
    answer = root.post(address, form, HTTP_ACCEPT_LANGUAGE="en")
    assert "has not taken place yet" in answer.content.decode()
    assert "Write 12345 or 12.345" in answer.content.decode()


def test_the_capacity_is_the_one_in_force_on_each_side_of_the_change(root: Client) -> None:
    device = meter(JUMP)
    assert (
        errors(
            add(
                root,
                "vigenciaparametros",
                device,
                desde_1=CHANGE["ocorrida_em_1"],
                valor_maximo_registro="1000000",
            )
        )
        == {}
    )
    assert errors(
        add(root, "trocamedidor", device, leitura_inicial="500000", leitura_final="100001")
    ).keys() == {"leitura_final"}
    assert errors(add(root, "trocamedidor", device, leitura_inicial="500000")) == {}


@pytest.mark.parametrize("kind", ["INCREMENTAL", "INSTANTANEA"])
def test_only_a_register_is_changed(root: Client, kind: str) -> None:
    device = meter(())
    Dispositivo.objects.filter(pk=device.pk).update(tipo_leitura=kind)
    assert "Só um medidor de leitura acumulada" in str(errors(add(root, "trocamedidor", device)))
    page = root.get(url("dispositivo", "change", device.pk)).content.decode()
    assert url("trocamedidor", "add") + "?" not in page
    assert url("vigenciaparametros", "add") + "?" in page


@pytest.mark.parametrize("model", KINDS)
def test_two_entries_at_one_moment_are_refused_in_words(root: Client, model: str) -> None:
    device = meter(SPIKE)
    assert errors(add(root, model, device)) == {}
    assert "já tem um registro deste tipo nesse mesmo instante" in str(errors(add(root, model, device)))
    assert KINDS[model][1].objects.count() == 1


@pytest.mark.parametrize("model", KINDS)
def test_what_is_closed_is_not_entered_nor_explained_otherwise(root: Client, model: str) -> None:
    device, other = meter(SPIKE), meter(SPIKE, "D02")
    add(root, model, device)
    ConsumoCongelado.objects.create(ate=datetime(2026, 3, 3, 3, tzinfo=UTC))
    assert "O consumo até 03/03/2026 00:00 está fechado" in str(errors(add(root, model, other)))
    again = root.post(
        url(model, "change", KINDS[model][1].objects.get().pk), {**KINDS[model][0], "motivo": "outro"}
    )
    assert "está fechado" in str(errors(again))


@pytest.mark.parametrize("model", KINDS)
def test_an_entry_needs_its_device_and_says_where_to_find_it(root: Client, model: str) -> None:
    for query in ("", "?dispositivo=0", "?dispositivo=x", "?dispositivo=99999999999999999999"):
        answer = root.get(url(model, "add") + query, follow=True)
        assert answer.redirect_chain[-1][0] == url("dispositivo", "changelist")
        assert "Abra o dispositivo" in said(answer)


def test_values_that_do_not_fit_the_readings_around_are_stored_with_a_warning(root: Client) -> None:
    device = meter(JUMP)
    text = said(add(root, "trocamedidor", device, leitura_final="1019", leitura_inicial="50001"))
    assert (
        "A leitura final é menor que a leitura anterior à troca (1.020\u00a0kWh em 02/03/2026\u00a009:30:00 "
        "(GMT-3))" in text
    )
    assert "A leitura inicial é maior que a leitura posterior à troca (50.000\u00a0kWh" in text
    assert "é −2\u00a0kWh: a leitura de 02/03/2026\u00a009:45:00 fica em revisão." in text
    rounded = said(
        add(root, "trocamedidor", meter(JUMP, "D02"), leitura_final="1019", leitura_inicial="49998")
    )
    assert "confira" in rounded
    assert "em revisão" not in rounded  # together both meters counted something, so it is accepted
    assert "confira" not in said(add(root, "trocamedidor", device, ocorrida_em_1="09:36:00"))


@pytest.mark.parametrize(
    ("values", "moment", "change", "warned"),
    [
        (JUMP, "09:40:00", ("1110", "49989,9"), "é 100,1\u00a0kWh, e o máximo plausível é 100\u00a0kWh"),
        (JUMP, "09:40:00", ("1110", "49990"), ""),
        (
            (1000, 1010, 9000, 5),
            "09:40:00",
            ("1040", "0"),
            "",
        ),  # the spike before is no base
        (
            (1000, 1010, 9000, 5),
            "09:40:00",
            ("1110", "0"),
            "é 105\u00a0kWh, e o máximo plausível é 100\u00a0kWh",
        ),
        ((1000, 1010), "09:40:00", ("5000", "0"), ""),  # nothing was read since
    ],
)
def test_a_change_that_gives_more_than_is_plausible_warns_with_the_two_numbers(
    root: Client, values: tuple[float, ...], moment: str, change: tuple[str, str], warned: str
) -> None:
    answer = add(
        root,
        "trocamedidor",
        meter(values),
        ocorrida_em_1=moment,
        leitura_final=change[0],
        leitura_inicial=change[1],
    )
    assert errors(answer) == {}
    assert warned in said(answer)
    assert ("máximo plausível" in said(answer)) == bool(warned)
    assert "confira" not in said(answer)


def test_nothing_is_too_much_where_the_maximum_is_not_known_or_somebody_has_approved_the_reading(
    root: Client,
) -> None:
    unknown, approved = meter(JUMP, consumo_maximo_hora=None), meter(JUMP, "D02")
    add(root, "revisaoleitura", approved, decisao="APROVADA")
    for device in (unknown, approved):
        answer = add(root, "trocamedidor", device, leitura_final="5000", leitura_inicial="0")
        assert errors(answer) == {}
        assert "máximo plausível" not in said(answer)


def test_dated_parameters_begin_with_those_in_force_and_hold_from_their_moment_on(root: Client) -> None:
    device = meter((1000, 1010, 1020, 1030))
    page = root.get(f"{url('vigenciaparametros', 'add')}?dispositivo={device.pk}").content.decode()
    for value in (
        'name="fator_conversao" value="1"',
        'name="consumo_maximo_hora" value="100"',
        'value="100000"',
    ):
        assert value in page
    assert (
        errors(
            add(
                root,
                "vigenciaparametros",
                device,
                desde_1="09:15:00",
                fator_conversao="2,5",
                tolerancia_queda="0,5",
            )
        )
        == {}
    )
    dated = VigenciaParametros.objects.get()
    assert (dated.desde, dated.fator_conversao, dated.tolerancia_queda) == (
        START + STEP,
        Decimal("2.5"),
        Decimal("0.5"),
    )
    drain()
    assert total(device) == 60  # 10 x 1 + 20 x 2.5
    root.post(url("vigenciaparametros", "delete", dated.pk), {"post": "yes", "motivo": "engano"})
    drain()
    assert total(device) == 30


def test_planned_parameters_are_entered_ahead_but_not_by_a_slip_of_the_pen(root: Client) -> None:
    device = meter(SPIKE)
    ahead = now().astimezone(device.conta.zone) + timedelta(days=30)
    assert errors(add(root, "vigenciaparametros", device, desde_0=f"{ahead:%d/%m/%Y}")) == {}
    assert "até um ano à frente" in str(errors(add(root, "vigenciaparametros", device, desde_0="01/01/2099")))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("fator_conversao", "0"),
        ("fator_conversao", ""),
        ("valor_maximo_registro", "0"),
        ("consumo_maximo_hora", "-1"),
        ("tolerancia_queda", "-1"),
    ],
)  # fmt: skip
def test_parameters_that_mean_nothing_are_refused(root: Client, field: str, value: str) -> None:
    assert list(errors(add(root, "vigenciaparametros", meter(()), **{field: value}))) == [field]


def test_a_decision_is_on_a_reading_that_is_there_and_keeps_what_it_was_taken_on(root: Client) -> None:
    device = meter(SPIKE)
    assert "não tem leitura nesse instante" in str(
        errors(add(root, "revisaoleitura", device, leitura_em_1="09:46:00"))
    )
    assert errors(add(root, "revisaoleitura", device)) == {}
    decision = RevisaoLeitura.objects.get()
    assert (decision.leitura_em, decision.conta_id) == (START + 3 * STEP, device.conta_id)
    assert (decision.classe, decision.valor, decision.inicio, decision.valor_base) == (
        "SUSPEITA",
        9000,
        START + 2 * STEP,
        1020,
    )
    drain()
    shown = root.get(url("revisaoleitura", "change", decision.pk)).content.decode()
    assert "9.000\u00a0kWh · Leitura suspeita · base 1.020\u00a0kWh" in shown

    form = {
        "motivo": "melhor explicado",
        "decisao": "APROVADA",
        "leitura_em_0": "01/03/2026",
        "leitura_em_1": "00:00",
    }
    root.post(url("revisaoleitura", "change", decision.pk), form)
    decision.refresh_from_db()
    assert (decision.motivo, decision.decisao, decision.leitura_em) == (
        "melhor explicado",
        "DESCARTADA",
        START + 3 * STEP,
    )


@pytest.mark.parametrize(
    ("values", "moment", "refusal"),
    [
        (RESTART, "09:30:00", "As leituras seguintes já mostraram o que esta foi"),
        (SPIKE, "09:45:00", "As leituras seguintes já mostraram o que esta foi"),
        (RESTART, "09:15:00", "Esta leitura não é um salto"),
    ],
)
@pytest.mark.parametrize("decision", ["APROVADA", "REINICIO"])
def test_what_is_settled_offers_no_jump_into_the_totals(
    root: Client, values: tuple[float, ...], moment: str, refusal: str, decision: str
) -> None:
    answer = add(root, "revisaoleitura", meter(values), leitura_em_1=moment, decisao=decision)
    assert refusal in str(errors(answer))
    assert not RevisaoLeitura.objects.exists()


def test_a_reading_that_is_accepted_is_discarded(root: Client) -> None:
    device = meter(RESTART)
    assert errors(add(root, "revisaoleitura", device, leitura_em_1="09:15:00")) == {}
    drain()
    decision = RevisaoLeitura.objects.get()
    assert (decision.valor, decision.classe) == (1010, "")
    assert total(device) == 34  # 4 from zero, then three times 10


def test_a_reason_given_better_computes_nothing_again(root: Client) -> None:
    device = meter(SPIKE)
    add(root, "trocamedidor", device, ocorrida_em_0="01/03/2026")
    drain()
    change = TrocaMedidor.objects.get()
    root.post(
        url("trocamedidor", "change", change.pk),
        {**CHANGE, "ocorrida_em_0": "01/03/2026", "motivo": "melhor explicado"},
    )
    change.refresh_from_db()
    assert change.motivo == "melhor explicado"
    assert not ConsumoPendente.objects.exists()
    change.registrado_por = None
    change.save()
    assert not ConsumoPendente.objects.exists()
    change.leitura_final += 1
    change.save()
    assert ConsumoPendente.objects.exists()


def test_the_devices_page_leads_to_all_of_it(root: Client) -> None:
    device = meter(JUMP, timezone="America/Rio_Branco")
    add(root, "trocamedidor", device, ocorrida_em_1="06:00:00", leitura_final="1", leitura_inicial="0")
    add(root, "vigenciaparametros", device)
    page = root.get(url("dispositivo", "change", device.pk)).content.decode()
    for model in ("trocamedidor", "vigenciaparametros", "revisaoleitura"):
        assert f'href="{url(model, "add")}?dispositivo={device.pk}"' in page
    for model in ("leituraemrevisao", "auditoriamedicao", "trocamedidor", "vigenciaparametros"):
        assert f'href="{url(model, "changelist")}?dispositivo__exact={device.pk}"' in page
        assert root.get(f"{url(model, 'changelist')}?dispositivo__exact={device.pk}").status_code == 200
    assert "Leituras em revisão (1)" in page
    assert "02/03/2026\u00a006:00:00 (GMT-5)" in page
    assert "× 40" in page


def test_staff_see_and_enter_only_what_they_may(root: Client) -> None:
    device = meter(JUMP)
    client = person("view_dispositivo", "view_trocamedidor")
    page = client.get(url("dispositivo", "change", device.pk)).content.decode()
    assert url("trocamedidor", "add") not in page
    assert url("auditoriamedicao", "changelist") not in page
    assert add(client, "trocamedidor", device).status_code == 403
    assert client.get(url("vigenciaparametros", "changelist")).status_code == 403


@pytest.mark.parametrize("model", KINDS)
def test_lists_are_searched_by_device_gateway_and_conta_and_filtered_by_conta(
    root: Client, model: str, django_assert_max_num_queries: Any
) -> None:
    devices = [meter(SPIKE, f"D{n}") for n in range(2)]
    for device in devices:
        assert errors(add(root, model, device)) == {}
    address = url(model, "changelist")
    for query in (
        {"q": "D1"},
        {"q": devices[1].gateway.mac},
        {"q": "Conta de D1"},
        {"conta": str(devices[1].conta_id)},
    ):
        assert [entry.dispositivo for entry in root.get(address, query).context["cl"].queryset] == [
            devices[1]
        ]
    with django_assert_max_num_queries(25) as few:
        assert len(root.get(address).context["cl"].queryset) == 2
    number = len(few)
    for n in range(2, 8):
        add(root, model, meter(SPIKE, f"D{n}"))
    with django_assert_max_num_queries(number):
        assert len(root.get(address).context["cl"].queryset) == 8


def test_an_hour_that_the_conta_did_not_have_or_had_twice_is_a_form_error(root: Client) -> None:
    device = meter(())
    for day, hour in (("04/11/2018", "00:30:00"), ("17/02/2018", "23:30:00")):
        assert list(errors(add(root, "trocamedidor", device, ocorrida_em_0=day, ocorrida_em_1=hour))) == [
            "ocorrida_em"
        ]


@pytest.mark.parametrize(
    ("language", "text", "number"),
    [
        ("pt-br", "1234,5", "1234.5"), ("pt-br", "1.234,5", "1234.5"),
        ("pt-br", " 1 234 567,5 ", "1234567.5"),
        ("pt-br", "1234.5", "1234.5"), ("pt-br", "1.234.567", "1234567"),
        ("pt-br", "0.125", "0.125"), ("pt-br", "0,125", "0.125"),
        ("pt-br", "\u22125", "-5"),
        ("pt-br", "1.234", None), ("pt-br", "12.34,5", None), ("pt-br", "1,2,3", None),
        ("pt-br", "1e3", "1000"), ("pt-br", "NaN", None),
        ("en", "1,234.5", "1234.5"), ("en", "1234.567", "1234.567"),
        ("en", "1,234,567", "1234567"), ("en", "1,234", None),
        ("en", "1,5", "1.5"),
    ],
)  # fmt: skip
def test_a_number_is_read_as_the_language_writes_it_and_never_guessed(
    language: str, text: str, number: str | None
) -> None:
    with translation.override(language):
        field = NumberField(max_digits=15, decimal_places=4)
        if number is None:
            with pytest.raises(ValidationError):
                field.clean(text)
        else:
            assert field.clean(text) == Decimal(number)


def test_a_device_without_readings_is_deleted_with_all_that_was_entered(root: Client) -> None:
    device = meter(())
    add(root, "trocamedidor", device, leitura_inicial="0")
    add(root, "vigenciaparametros", device)
    with transaction.atomic():
        root.post(url("dispositivo", "delete", device.pk), {"post": "yes"})
    assert not Dispositivo.objects.filter(pk=device.pk).exists()
    assert not factories.Conta.objects.filter(dispositivos=device.pk).exists()
