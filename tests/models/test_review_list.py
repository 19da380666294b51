"""The list of readings under review: what waits for a person, what for readings, and what is decided."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import IntegrityError, transaction
from django.utils.timezone import now

from tds_new.models import (
    ConsumoPendente,
    Conta,
    Dispositivo,
    Gateway,
    LeituraEmRevisao,
    OcorrenciaMedicao,
    RevisaoLeitura,
)

OLD, NEW = timedelta(hours=2), timedelta(minutes=10)  # three expected intervals are 15 minutes


@pytest.fixture
def device(db: None) -> Dispositivo:
    gateway = Gateway.objects.create(
        conta=Conta.objects.create(name="Aurora"), codigo="G", mac="aa:bb:cc:dd:ee:01"
    )
    return Dispositivo.objects.create(gateway=gateway, codigo="D")


def found(device: Dispositivo, classe: str, age: timedelta = OLD, **fields: Any) -> datetime:
    """Have the ledger find something; return the time of the reading."""
    moment = now() - age
    values = {"valor": 50, "valor_base": 40, "inicio": moment - NEW, "regra": "6e", "numeros": {"limite": 7}}
    OcorrenciaMedicao.objects.create(
        dispositivo=device, conta_id=device.conta_id, leitura_em=moment, classe=classe, **values | fields
    )
    return moment


def decide(device: Dispositivo, moment: datetime, decisao: str = "", **fields: Any) -> RevisaoLeitura:
    return RevisaoLeitura.objects.create(dispositivo=device, leitura_em=moment, decisao=decisao, **fields)


def listed() -> tuple[str, bool]:
    row = LeituraEmRevisao.objects.get()
    return row.situacao, row.espera


@pytest.mark.parametrize(
    ("classe", "fields", "age", "state"),
    [
        ("IMPLAUSIVEL", {"espera": True}, NEW, "ESPERA"),
        ("EXCESSO", {"espera": True}, OLD, "ESPERA"),
        ("INCOMUM", {"espera": True}, NEW, "ESPERA"),
        ("VIRADA", {"espera": True}, OLD, "ESPERA"),
        ("TRANSFERENCIA", {"espera": True}, OLD, "ESPERA"),
        ("SUSPEITA", {"espera": True}, OLD, "ESPERA"),
        ("SUSPEITA", {"espera": True}, NEW, "AGUARDA"),
        ("REINICIO", {}, NEW, "RESOLVIDA"),
        ("RETORNO", {}, NEW, "RESOLVIDA"),
        ("TROCA", {}, NEW, "RESOLVIDA"),
    ],
)
def test_what_waits_for_a_person(
    device: Dispositivo, classe: str, fields: dict[str, Any], age: timedelta, state: str
) -> None:
    found(device, classe, age, **fields)
    assert listed() == (state, state == "ESPERA")


def test_a_decided_suspect_waits_for_a_person_where_the_ledger_is_in_doubt(device: Dispositivo) -> None:
    moment = found(device, "SUSPEITA", NEW, espera=True)
    OcorrenciaMedicao.objects.update(decidida_em=moment + NEW)
    assert listed() == ("ESPERA", True)


def test_tolerated_falls_are_not_listed(device: Dispositivo) -> None:
    found(device, "QUEDA")
    assert not LeituraEmRevisao.objects.exists()


@pytest.mark.parametrize("decisao", ["APROVADA", "DESCARTADA", "VISTA", "REINICIO", "RETORNO"])
def test_a_decision_is_shown_while_it_is_computed_and_later(device: Dispositivo, decisao: str) -> None:
    moment = found(device, "IMPLAUSIVEL", espera=True)
    decide(device, moment, decisao)
    assert listed() == (decisao, False)
    OcorrenciaMedicao.objects.all().delete()
    row = LeituraEmRevisao.objects.get()
    assert (row.situacao, row.decisao_codigo, row.espera) == (decisao, decisao, False)
    assert (row.classe, row.classe_decisao) == ("", "IMPLAUSIVEL")
    assert (row.regra, row.numeros, row.valor_base) == ("6e", {"limite": 7}, 40)


def test_a_corrected_value_waits_again_only_where_it_is_out_of_the_ordinary_too(device: Dispositivo) -> None:
    moment = found(device, "IMPLAUSIVEL", espera=True)
    decide(device, moment, valor_corrigido=Decimal(45))
    assert listed() == ("CORRIGIDA", False)
    OcorrenciaMedicao.objects.update(valor=45)
    assert listed() == ("ESPERA", True)
    OcorrenciaMedicao.objects.all().delete()
    row = LeituraEmRevisao.objects.get()
    assert (row.situacao, row.valor, row.valor_corrigido) == ("CORRIGIDA", 50, 45)


def test_what_a_decision_needs(device: Dispositivo) -> None:
    moment = now()
    conta = device.conta
    for decisao, fields in (
        ("", {}),
        ("OUTRA", {}),
        ("ATRIBUIDA", {}),
        ("VISTA", {"atribuida_a": conta}),
        ("", {"valor_corrigido": 1, "atribuida_a": conta}),
    ):
        with pytest.raises(IntegrityError), transaction.atomic():
            decide(device, moment, decisao, **fields)
    for decisao, fields in (
        ("", {"valor_corrigido": 1}),
        ("REINICIO", {"valor_corrigido": 1}),
        ("ATRIBUIDA", {"atribuida_a": conta}),
    ):
        decide(device, moment, decisao, **fields).delete()


def test_a_change_of_a_decision_is_computed_and_of_its_reason_is_not(device: Dispositivo) -> None:
    decision = decide(device, now(), "VISTA")
    for change, queued in (
        ({"motivo": "porque"}, 0),
        ({"valor_corrigido": 7}, 2),
        ({"decisao": "ATRIBUIDA", "atribuida_a": device.conta}, 2),
    ):
        ConsumoPendente.objects.all().delete()
        RevisaoLeitura.objects.filter(pk=decision.pk).update(**change)
        assert ConsumoPendente.objects.count() == queued


@pytest.mark.parametrize(
    ("change", "queued"),
    [({"carimbo": "INICIO"}, 1), ({"unidade_consumo": "kWh"}, 0), ({"papel": "INJECAO"}, 0)],
    ids=str,
)
def test_what_of_a_device_is_computed_again(device: Dispositivo, change: dict[str, str], queued: int) -> None:
    Dispositivo.objects.filter(pk=device.pk).update(**change)
    assert ConsumoPendente.objects.count() == queued
