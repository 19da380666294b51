"""Other values that came for a stored reading, and were set aside as conflicts."""

import json
import re
from datetime import UTC, datetime
from decimal import Decimal
from typing import NamedTuple
from urllib.parse import urlencode

from django.urls import reverse

from tds_new.models import Dispositivo, LeituraEmRevisao, MensagemRejeitada, Motivo, RevisaoLeitura

SHOWN = 5  # values of one reading: nobody compares more
LOOKED_THROUGH = 50  # conflicts of a gateway at one time
# The detail of a conflict, as ingestion writes it.
DETAIL = re.compile(r"(\S+): (-?[0-9]+(?:\.[0-9]+)?) received, (-?[0-9]+(?:\.[0-9]+)?) stored")


class OtherValue(NamedTuple):
    """A value that was set aside (register units), with its message and arrival."""

    message_id: int
    received_at: datetime
    value: Decimal


class Conflict(NamedTuple):
    """A conflict: the device's code if the message tells it, the time, both values."""

    codigo: str
    time: datetime
    value: Decimal
    stored: Decimal


def conflict_of(message: MensagemRejeitada) -> Conflict | None:
    """Return what a set-aside message contradicts; None if it is no conflict."""
    found = DETAIL.match(message.detalhe) if message.motivo == Motivo.CONFLITO else None
    if found is None:
        return None
    time, value, stored = found.groups()
    return Conflict(_codigo(message), datetime.fromisoformat(time), Decimal(value), Decimal(stored))


def other_values(device: Dispositivo, time: datetime, stored: Decimal | None) -> list[OtherValue]:
    """Return the values set aside for a device's reading, the newest first.

    ``stored``: the value that was received first and is stored.
    """
    about = f"{time.astimezone(UTC).isoformat()}: "
    messages = MensagemRejeitada.objects.filter(
        gateway=device.gateway_id, motivo=Motivo.CONFLITO, detalhe__startswith=about
    ).order_by("-id")[:LOOKED_THROUGH]
    found: dict[Decimal, OtherValue] = {}
    for message in messages:
        conflict = conflict_of(message)
        if conflict is not None and conflict.stored == stored and _is_about(conflict, device):
            found.setdefault(conflict.value, OtherValue(message.pk, message.recebida_em, conflict.value))
    return list(found.values())[:SHOWN]


def device_of(message: MensagemRejeitada) -> Dispositivo | None:
    """Return the device that a conflict is about; None if that cannot be told."""
    conflict = conflict_of(message)
    if conflict is None or not conflict.codigo:
        return None
    devices = Dispositivo.objects.filter(gateway=message.gateway_id)
    return (
        devices.filter(codigo=conflict.codigo).first()
        or devices.filter(codigo__iexact=conflict.codigo).first()
    )


def address_of_use(device: Dispositivo, conflict: Conflict) -> str:
    """Return where the value of a conflict is put in the place of the stored one.

    It is the page of the decision that there is on the reading; that of the reading if it is under review;
    else that of a new decision.
    """
    taken = RevisaoLeitura.objects.filter(dispositivo=device, leitura_em=conflict.time).first()
    row = LeituraEmRevisao.objects.filter(dispositivo=device, leitura_em=conflict.time).first()
    if row is not None and (taken is None or not taken.decisao):
        address = reverse("admin:tds_new_leituraemrevisao_decide", args=[row.pk, "correct"])
        return f"{address}?{urlencode({'valor': conflict.value})}"
    if taken is not None:
        return reverse("admin:tds_new_revisaoleitura_change", args=[taken.pk])
    query = {
        "dispositivo": device.pk,
        "leitura_em": conflict.time.isoformat(),
        "valor_corrigido": conflict.value,
    }
    return f"{reverse('admin:tds_new_revisaoleitura_add')}?{urlencode(query)}"


def _is_about(conflict: Conflict, device: Dispositivo) -> bool:
    """Return whether a conflict is about this device, not another of its gateway."""
    return not conflict.codigo or conflict.codigo.casefold() == device.codigo.casefold()


def _codigo(message: MensagemRejeitada) -> str:
    """Return the code of the device in the message; empty if it has another form."""
    try:
        document = json.loads(bytes(message.payload))
        codigo = document["leituras"][message.leitura_indice]["dispositivo_codigo"]
    except (ValueError, LookupError, TypeError):
        return ""
    return str(codigo).strip()
