"""Gateways and devices of a Conta, and whether they are heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from tds_new.models import Conta, ContaAtividade, Dispositivo, Gateway

TOLERANCIA_MINIMA = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Sequencias:
    """How far a Conta's data and states have come; they change with every batch stored, every change of state
    and every change of computed consumption."""

    ingestao: int
    status: int
    ultima_leitura: datetime | None
    consumo: int = 0


@dataclass(frozen=True, slots=True)
class GatewayOffline:
    """A gateway that is not heard, and how many active devices that concerns."""

    gateway: Gateway
    dispositivos: int


def sequencias(conta: Conta) -> Sequencias:
    """The Conta's counters, zero before its first message."""
    linha = ContaAtividade.objects.filter(conta=conta).values_list("ingestao_seq", "status_seq", "ultima_leitura", "consumo_seq").first()
    return Sequencias(*linha) if linha else Sequencias(0, 0, None)


def dispositivos_ativos(conta: Conta) -> list[Dispositivo]:
    """The Conta's devices that are expected to send, with their gateways, in the order people know them."""
    return list(
        Dispositivo.objects.filter(conta=conta, gateway__conta=conta, gateway__is_active=True)
        .exclude(status=Dispositivo.Status.INATIVO)
        .select_related("gateway")
        .order_by("gateway__codigo", "codigo", "pk")
    )


def gateways_ativos(conta: Conta) -> list[Gateway]:
    """The Conta's active gateways by code."""
    return list(Gateway.objects.filter(conta=conta, is_active=True).order_by("codigo", "pk"))


def tolerancia(gateway: Gateway) -> timedelta:
    """How old the newest reading of a device may be: three intervals of its gateway, at least five minutes."""
    return max(3 * timedelta(seconds=gateway.intervalo_esperado_s), TOLERANCIA_MINIMA)


def com_dados(dispositivo: Dispositivo, agora: datetime) -> bool:
    """Whether the device's newest reading, by the meter's time, is recent."""
    return dispositivo.last_seen is not None and agora - dispositivo.last_seen <= tolerancia(dispositivo.gateway)


def offline(gateways: Sequence[Gateway], dispositivos: Sequence[Dispositivo]) -> list[GatewayOffline]:
    """The gateways that are not heard, the longest silent first; those never heard come last."""
    mudos = [g for g in gateways if not g.is_online]
    mudos.sort(key=lambda g: (g.last_seen is None, g.last_seen, g.codigo) if g.last_seen else (True, g.created_at, g.codigo))
    return [GatewayOffline(g, sum(d.gateway_id == g.pk for d in dispositivos)) for g in mudos]
