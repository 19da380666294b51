"""Objects and readings for tests of the web and the queries."""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import count
from typing import Any

from tds_new.metering.worker import drain
from tds_new.models import (
    Conta,
    ContaAtividade,
    ContaMembership,
    Dispositivo,
    Gateway,
    LeituraDispositivo,
    User,
)

SENHA = "uma senha bem comprida 42"
_serial = count(1)


def conta(name: str = "Condomínio Aurora", **campos: Any) -> Conta:
    return Conta.objects.create(name=name, **campos)


def pessoa(email: str, *contas: Conta, role: str = "viewer", **campos: Any) -> User:
    user = User.objects.create_user(email, SENHA, **campos)
    for uma in contas:
        ContaMembership.objects.create(conta=uma, user=user, role=role)
    return user


def gateway(
    dono: Conta, codigo: str = "GW-1", *, online: bool = True, visto: datetime | None = None, **campos: Any
) -> Gateway:
    mac = f"02:00:00:00:{next(_serial) // 256:02x}:{next(_serial) % 256:02x}"
    novo = Gateway.objects.create(conta=dono, codigo=codigo, mac=mac, qte_max_dispositivos=1000, **campos)
    Gateway.objects.filter(pk=novo.pk).update(is_online=online, last_seen=visto)
    novo.refresh_from_db()
    return novo


def dispositivo(
    em: Gateway, codigo: str = "D01", grandeza: str = "ENERGIA", unidade: str = "kWh", tipo: str = "ACUMULADA"
) -> Dispositivo:
    return Dispositivo.objects.create(
        gateway=em, codigo=codigo, grandeza=grandeza, unidade=unidade, tipo_leitura=tipo
    )


def leituras(de: Dispositivo, pontos: Iterable[tuple[datetime, Any]]) -> None:
    """Readings as the platform leaves them: stored, with ``last_seen`` and the Conta's counters, and their consumption computed."""
    linhas = [
        LeituraDispositivo(
            time=quando,
            valor=Decimal(str(valor)),
            dispositivo=de,
            gateway_id=de.gateway_id,
            conta_id=de.conta_id,
            unidade=de.unidade,
            tipo_leitura=de.tipo_leitura,
        )
        for quando, valor in pontos
    ]
    LeituraDispositivo.objects.bulk_create(linhas)
    ultima = max(linha.time for linha in linhas)
    de.last_seen = max(filter(None, (de.last_seen, ultima)))
    Dispositivo.objects.filter(pk=de.pk).update(last_seen=de.last_seen)
    atividade, _ = ContaAtividade.objects.get_or_create(conta_id=de.conta_id)
    ContaAtividade.objects.filter(pk=atividade.pk).update(
        ingestao_seq=atividade.ingestao_seq + 1, ultima_leitura=ultima
    )
    drain()


def escada(inicio: datetime, passo: timedelta, valores: Iterable[float]) -> list[tuple[datetime, float]]:
    """``valores`` at equal distances from ``inicio`` on."""
    return [(inicio + i * passo, valor) for i, valor in enumerate(valores)]
