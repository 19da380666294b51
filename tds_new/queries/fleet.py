"""Gateways and devices of a Conta, and whether they are heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, Q, Value
from django.db.models.functions import Greatest

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


class Situacao(Enum):
    """How a gateway is. One that was never heard is being installed, and not offline."""

    INATIVO = auto()
    EM_IMPLANTACAO = auto()
    ONLINE = auto()
    OFFLINE = auto()


@dataclass(frozen=True, slots=True)
class GatewayMudo:
    """A gateway that is not heard, why, and how many active devices that concerns."""

    gateway: Gateway
    situacao: Situacao
    dispositivos: int


def sequencias(conta: Conta) -> Sequencias:
    """The Conta's counters, zero before its first message."""
    linha = (
        ContaAtividade.objects.filter(conta=conta)
        .values_list("ingestao_seq", "status_seq", "ultima_leitura", "consumo_seq")
        .first()
    )
    return Sequencias(*linha) if linha else Sequencias(0, 0, None)


def dispositivos_ativos(conta: Conta, ativos: Sequence[Gateway] | None = None) -> list[Dispositivo]:
    """The Conta's devices that are expected to send, with their gateways (``ativos``, where known), in the order people know them."""
    ativos = gateways_ativos(conta) if ativos is None else ativos
    gateways = {
        gateway.pk: gateway for gateway in ativos
    }  # once each: joined, a large fleet's would be made ten times
    dispositivos = Dispositivo.objects.filter(conta=conta, gateway__conta=conta, gateway__is_active=True)
    achados = []
    for dispositivo in dispositivos.exclude(status=Dispositivo.Status.INATIVO).order_by(
        "gateway__codigo", "codigo", "pk"
    ):
        if gateway := gateways.get(dispositivo.gateway_id):
            dispositivo.gateway = gateway
            achados.append(dispositivo)
    return achados


def gateways_ativos(conta: Conta) -> list[Gateway]:
    """The Conta's active gateways by code."""
    return list(Gateway.objects.filter(conta=conta, is_active=True).order_by("codigo", "pk"))


def tolerancia(gateway: Gateway) -> timedelta:
    """How old a gateway's last sign of life or its device's newest reading may be: three intervals, at least five minutes."""
    return max(3 * timedelta(seconds=gateway.intervalo_esperado_s), TOLERANCIA_MINIMA)


def com_dados(dispositivo: Dispositivo, agora: datetime) -> bool:
    """Whether the device's newest reading, by the meter's time, is recent."""
    return dispositivo.last_seen is not None and agora - dispositivo.last_seen <= tolerancia(
        dispositivo.gateway
    )


def situacao(gateway: Gateway, agora: datetime) -> Situacao:
    """How a gateway is at ``agora``. ``is_online`` alone does not say it: only a running consumer takes it back."""
    if not gateway.is_active:
        return Situacao.INATIVO
    if gateway.last_seen is None:
        return Situacao.EM_IMPLANTACAO
    ouvido = gateway.is_online and agora - gateway.last_seen <= tolerancia(gateway)
    return Situacao.ONLINE if ouvido else Situacao.OFFLINE


def online(agora: datetime) -> Q:
    """The same for the database: the gateways whose :func:`situacao` is ONLINE."""
    segundos = Greatest(3 * F("intervalo_esperado_s"), int(TOLERANCIA_MINIMA.total_seconds()))
    tolerado = ExpressionWrapper(segundos * Value(timedelta(seconds=1)), DurationField())
    desde = ExpressionWrapper(Value(agora, DateTimeField()) - tolerado, DateTimeField())
    return Q(is_active=True, is_online=True, last_seen__gte=desde)


def mudos(
    gateways: Sequence[Gateway], dispositivos: Sequence[Dispositivo], agora: datetime
) -> list[GatewayMudo]:
    """The gateways that are not heard: those offline, the longest silent first, then those that were never heard."""
    achados = [
        (s, g) for g in gateways if (s := situacao(g, agora)) in (Situacao.OFFLINE, Situacao.EM_IMPLANTACAO)
    ]
    achados.sort(
        key=lambda par: (par[1].last_seen is None, par[1].last_seen or par[1].created_at, par[1].codigo)
    )
    return [GatewayMudo(g, s, sum(d.gateway_id == g.pk for d in dispositivos)) for s, g in achados]
