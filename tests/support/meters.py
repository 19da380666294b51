"""Meters with a history that people have to look at, for tests of the admin."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from django.contrib.auth.models import Permission
from django.db.models import Sum
from django.test import Client
from django.urls import reverse

from tds_new.models import ConsumoBloco, Dispositivo, LeituraEmRevisao, User
from tests.support import factories

START = datetime(2026, 3, 2, 12, tzinfo=UTC)  # 9:00 in Sao Paulo, 8:00 in Manaus
STEP = timedelta(minutes=15)
SPIKE = (1000, 1010, 1020, 9000, 1030, 1040)
JUMP = (1000, 1010, 1020, 50_000, 50_010, 50_020, 50_030)
ROLLOVER = (99_980, 99_990, 5, 15, 25, 35)
RESTART = (1000, 1010, 4, 14, 24, 34)
EXCESS = (1000, 1010, 1020, 1220, 1420, 1620, 1820)  # really faster than 100 an hour
EDITOR = ("view_leituraemrevisao", "change_leituraemrevisao", "add_trocamedidor")
ON_MANY = ("see", "discard", "undo")  # what is decided on several readings of the list at once


def meter(
    values: Iterable[float], codigo: str = "D01", timezone: str = "America/Sao_Paulo", **fields: Any
) -> Dispositivo:
    """A register in kWh, read every 15 minutes, that counts at most 100 an hour."""
    gateway = factories.gateway(factories.conta(f"Conta de {codigo}", timezone=timezone), f"GW-{codigo}")
    device = factories.device(gateway, codigo)
    parameters: dict[str, Any] = {
        "consumo_maximo_hora": Decimal(100),
        "valor_maximo_registro": Decimal(100_000),
        "tolerancia_queda": Decimal(0),
        **fields,
    }
    Dispositivo.objects.filter(pk=device.pk).update(**parameters)
    device.refresh_from_db()
    points = factories.points(START, STEP, values)
    if points:
        factories.readings(device, points)
    return device


def total(device: Dispositivo) -> Decimal:
    """Return the consumption in all blocks of the device."""
    found: Decimal = ConsumoBloco.objects.filter(dispositivo=device.pk).aggregate(n=Sum("consumo"))["n"]
    return found


def row(device: Dispositivo, number: int) -> LeituraEmRevisao:
    """The device's reading ``number`` in the list for review."""
    return LeituraEmRevisao.objects.get(dispositivo=device, leitura_em=START + number * STEP)


def person(*permissions: str, email: str = "ana@example.com") -> Client:
    """Somebody of the staff who may do only this."""
    user = User.objects.create_user(email, factories.PASSWORD, is_staff=True)
    user.user_permissions.set(
        Permission.objects.filter(content_type__app_label="tds_new", codename__in=permissions)
    )
    client = Client()
    client.force_login(user)
    return client


def superuser(email: str = "root@example.com") -> Client:
    """Somebody who may do everything."""
    client = Client()
    client.force_login(User.objects.create_superuser(email, factories.PASSWORD))
    return client


def url(model: str, page: str, *args: Any) -> str:
    return reverse(f"admin:tds_new_{model}_{page}", args=args)


def decide(
    client: Client,
    action: str,
    rows: Iterable[LeituraEmRevisao],
    motivo: str | None = "visto no local",
    **fields: Any,
) -> Any:
    """Confirm a decision on ``rows`` with a ``motivo``; return the last response.

    Without a ``motivo`` the page is asked for that asks for one.
    """
    confirmed = {} if motivo is None else {"confirmar": "sim", "motivo": motivo}
    if action in ON_MANY:
        data = {"action": action, "_selected_action": [one.chave for one in rows], **fields, **confirmed}
        return client.post(url("leituraemrevisao", "changelist"), data, follow=True)
    for one in rows:
        address = url("leituraemrevisao", "decide", one.chave, action)
        response: Any = (
            client.get(address, fields, follow=True)
            if motivo is None
            else client.post(address, {**fields, **confirmed}, follow=True)
        )
    return response


def device_form(device: Dispositivo, **fields: str) -> dict[str, Any]:
    """Return the form data of ``device``'s page with only ``fields`` changed."""
    form = {
        "gateway": device.gateway_id,
        "codigo": device.codigo,
        "nome": device.nome,
        "status": device.status,
        "tipo": device.tipo,
    }
    form |= {"grandeza": device.grandeza, "unidade": device.unidade, "tipo_leitura": device.tipo_leitura}
    form |= {
        "slave_id": "",
        "register_modbus": "",
        "fator_conversao": "1",
        "tolerancia_queda": "0",
        "motivo": "",
        "unidade_consumo": device.unidade_consumo,
        "carimbo": device.carimbo,
        "papel": device.papel,
        "medidor_pai": device.medidor_pai_id or "",
    }
    return {**form, "valor_maximo_registro": "100000", "consumo_maximo_hora": "100", **fields}


def said(response: Any) -> str:
    """The messages on a page."""
    return " ".join(str(message) for message in response.context["messages"])


def errors(response: Any) -> dict[str, Any]:
    """The errors of an admin form; empty if it was accepted."""
    context = response.context
    return dict(context["adminform"].errors) if context and "adminform" in context else {}
