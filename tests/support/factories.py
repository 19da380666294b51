"""Make objects, readings and blocks for tests."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from tds_new.metering.worker import drain
from tds_new.models import (
    ConsumoBloco,
    Conta,
    ContaAtividade,
    ContaMembership,
    Dispositivo,
    Gateway,
    LeituraDispositivo,
    User,
)

BLOCK = timedelta(minutes=15)
PASSWORD = "uma senha bem comprida 42"
_serial = count(1)


def conta(name: str = "Condomínio Aurora", **fields: Any) -> Conta:
    return Conta.objects.create(name=name, **fields)


def person(email: str, *contas: Conta, role: str = "viewer", **fields: Any) -> User:
    user = User.objects.create_user(email, PASSWORD, **fields)
    for one in contas:
        ContaMembership.objects.create(conta=one, user=user, role=role)
    return user


def gateway(
    owner: Conta, codigo: str = "GW-1", *, online: bool = True, seen: datetime | None = None, **fields: Any
) -> Gateway:
    mac = f"02:00:00:00:{next(_serial) // 256:02x}:{next(_serial) % 256:02x}"
    new = Gateway.objects.create(conta=owner, codigo=codigo, mac=mac, qte_max_dispositivos=1000, **fields)
    Gateway.objects.filter(pk=new.pk).update(is_online=online, last_seen=seen)
    new.refresh_from_db()
    return new


def device(
    behind: Gateway,
    codigo: str = "D01",
    grandeza: str = "ENERGIA",
    unidade: str = "kWh",
    tipo_leitura: str = "ACUMULADA",
) -> Dispositivo:
    return Dispositivo.objects.create(
        gateway=behind, codigo=codigo, grandeza=grandeza, unidade=unidade, tipo_leitura=tipo_leitura
    )


def readings(of: Dispositivo, timed_values: Iterable[tuple[datetime, Any]]) -> None:
    """Store readings as the platform does, and compute the consumption."""
    rows = [
        LeituraDispositivo(
            time=when,
            valor=Decimal(str(value)),
            dispositivo=of,
            gateway_id=of.gateway_id,
            conta_id=of.conta_id,
            unidade=of.unidade,
            tipo_leitura=of.tipo_leitura,
        )
        for when, value in timed_values
    ]
    LeituraDispositivo.objects.bulk_create(rows)
    latest = max(row.time for row in rows)
    of.last_seen = max(filter(None, (of.last_seen, latest)))
    Dispositivo.objects.filter(pk=of.pk).update(last_seen=of.last_seen)
    activity, _ = ContaAtividade.objects.get_or_create(conta_id=of.conta_id)
    ContaAtividade.objects.filter(pk=activity.pk).update(
        ingestao_seq=activity.ingestao_seq + 1, ultima_leitura=latest
    )
    drain()


def block(
    of: Dispositivo,
    start: datetime,
    consumption: Any = 1,
    fraction: Any = 1,
    quality: str = "MEDIDO",
    **fields: Any,
) -> ConsumoBloco:
    """A block as the worker computes it, not saved; ``fraction`` of it is measured."""
    values = {"conta_id": of.conta_id, "gateway_id": of.gateway_id, "leituras": 3, **fields}
    return ConsumoBloco(
        dispositivo=of,
        bloco=start,
        consumo=None if consumption is None else Decimal(str(consumption)),
        fracao_medida=Decimal(str(fraction)),
        qualidade=quality,
        **values,
    )


def points(start: datetime, step: timedelta, values: Iterable[float]) -> list[tuple[datetime, float]]:
    """Return ``values`` with their times, a ``step`` apart from ``start`` on."""
    return [(start + i * step, value) for i, value in enumerate(values)]
