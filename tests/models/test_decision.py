"""A decision on a reading, made by the ORM: what is refused, and that the rest does what it says."""

from decimal import Decimal
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, connection, transaction

from tds_new.metering.worker import drain
from tds_new.models import Dispositivo, RevisaoLeitura
from tests.support import factories
from tests.support.meters import JUMP, START, STEP, meter, row, total

pytestmark = pytest.mark.django_db


def decision(device: Dispositivo, number: int = 3, **fields: Any) -> RevisaoLeitura:
    return RevisaoLeitura(
        dispositivo=device, leitura_em=START + number * STEP, motivo="visto no local", **fields
    )


def test_a_corrected_value_alone_counts_once_it_is_stored() -> None:
    device = meter((1000, 1010, 1111, 1030))
    RevisaoLeitura.objects.create(
        dispositivo=device, leitura_em=START + 2 * STEP, valor_corrigido="1020", motivo="dígito trocado"
    )
    drain()
    assert total(device) == 30
    assert row(device, 2).situacao == "CORRIGIDA"


@pytest.mark.parametrize(
    ("decisao", "counted"),
    [("APROVADA", 49_030), ("RETORNO", 50), ("VISTA", 50), ("REINICIO", 50_050), ("DESCARTADA", 20)],
)
def test_a_decision_counts_once_it_is_stored(decisao: str, counted: int) -> None:
    device = meter(JUMP)
    new = decision(device, decisao=decisao)
    new.full_clean()
    new.save()
    drain()
    assert (total(device), row(device, 3).situacao) == (counted, decisao)


@pytest.mark.parametrize(
    ("fields", "name", "said"),
    [
        ({}, "decisao", "Escolha uma decisão, ou informe o valor certo."),
        ({"decisao": "TALVEZ"}, "decisao", "não é uma opção válida"),
        ({"decisao": "ATRIBUIDA"}, "atribuida_a", "Escolha a conta para a qual o consumo conta."),
        ({"decisao": "VISTA", "number": 99}, "leitura_em", "não tem leitura nesse instante"),
        (
            {"decisao": "REINICIO", "valor_corrigido": Decimal(-1)}, "decisao",
            "Um registrador que recomeçou do zero não mostra valor negativo.",
        ),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_is_refused_in_words(fields: dict[str, Any], name: str, said: str) -> None:
    with pytest.raises(ValidationError) as refused:
        decision(meter(JUMP), **fields).full_clean()
    assert said in str(refused.value.message_dict[name])


@pytest.mark.parametrize("decisao", ["REINICIO", "RETORNO"])
def test_increments_take_no_decision_of_registers(decisao: str) -> None:
    device = meter(())
    Dispositivo.objects.filter(pk=device.pk).update(tipo_leitura="INCREMENTAL")
    device.refresh_from_db()
    factories.readings(device, factories.points(START, STEP, (1, 2, 3, 5000)))
    with pytest.raises(ValidationError, match="não é de um registrador"):
        decision(device, decisao=decisao).full_clean()
    decision(device, decisao="APROVADA").full_clean()


def test_consumption_is_attributed_to_one_of_the_two_contas_and_at_a_change_of_conta_only() -> None:
    device, other, third = meter((1000, 1010)), factories.conta("Outra"), factories.conta("Terceira")
    first = device.conta
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tds_new_dispositivo SET conta_id = %s WHERE id = %s", [other.pk, device.pk])
    device.refresh_from_db()
    factories.readings(device, factories.points(START + 2 * STEP, STEP, (1020, 1030)))
    for number, conta, said in (
        (1, first, "primeira leitura depois de uma mudança de conta"),
        (2, third, "para a conta de antes ou para a de depois"),
    ):
        with pytest.raises(ValidationError, match=said):
            decision(device, number, decisao="ATRIBUIDA", atribuida_a=conta).full_clean()
    with pytest.raises(ValidationError, match="Só se escolhe uma conta ao atribuir"):
        decision(device, 2, decisao="VISTA", atribuida_a=first).full_clean()
    decision(device, 2, decisao="ATRIBUIDA", atribuida_a=other).full_clean()


@pytest.mark.parametrize("fields", [{}, {"decisao": "TALVEZ"}, {"decisao": "ATRIBUIDA"}])
def test_the_database_refuses_it_too(fields: dict[str, str]) -> None:
    device = meter(JUMP)
    with pytest.raises(IntegrityError), transaction.atomic():
        decision(device, **fields).save()
