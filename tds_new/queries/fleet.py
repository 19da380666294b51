"""Gateways and devices of a Conta, and whether they are heard."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from django.db.models import DateTimeField, DurationField, ExpressionWrapper, F, Q, Value
from django.db.models.functions import Greatest

from tds_new.models import Conta, ContaAtividade, Dispositivo, Gateway

MIN_TOLERANCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class Sequences:
    """How far a Conta's data and states have come; they change with every batch stored, every change of state
    and every change of computed consumption."""

    ingestion: int
    status: int
    last_reading: datetime | None
    consumption: int = 0


class GatewayState(Enum):
    """How a gateway is. One that was never heard is being installed, and not offline."""

    INACTIVE = auto()
    COMMISSIONING = auto()
    ONLINE = auto()
    OFFLINE = auto()


@dataclass(frozen=True, slots=True)
class SilentGateway:
    """A gateway that is not heard, why, and how many active devices that concerns."""

    gateway: Gateway
    state: GatewayState
    devices: int


def sequences(conta: Conta) -> Sequences:
    """The Conta's counters, zero before its first message."""
    row = (
        ContaAtividade.objects.filter(conta=conta)
        .values_list("ingestao_seq", "status_seq", "ultima_leitura", "consumo_seq")
        .first()
    )
    return Sequences(*row) if row else Sequences(0, 0, None)


def active_devices(conta: Conta, active: Sequence[Gateway] | None = None) -> list[Dispositivo]:
    """The Conta's devices that are expected to send, with their gateways (``active``, where known), in the order people know them."""
    active = active_gateways(conta) if active is None else active
    gateways = {
        gateway.pk: gateway for gateway in active
    }  # once each: joined, a large fleet's would be made ten times
    devices = Dispositivo.objects.filter(conta=conta, gateway__conta=conta, gateway__is_active=True)
    found = []
    for device in devices.exclude(status=Dispositivo.Status.INATIVO).order_by(
        "gateway__codigo", "codigo", "pk"
    ):
        if gateway := gateways.get(device.gateway_id):
            device.gateway = gateway
            found.append(device)
    return found


def active_gateways(conta: Conta) -> list[Gateway]:
    """The Conta's active gateways by code."""
    return list(Gateway.objects.filter(conta=conta, is_active=True).order_by("codigo", "pk"))


def tolerance(gateway: Gateway) -> timedelta:
    """How old a gateway's last sign of life or its device's newest reading may be: three intervals, at least five minutes."""
    return max(3 * timedelta(seconds=gateway.intervalo_esperado_s), MIN_TOLERANCE)


def has_recent_data(device: Dispositivo, now: datetime) -> bool:
    """Whether the device's newest reading, by the meter's time, is recent."""
    return device.last_seen is not None and now - device.last_seen <= tolerance(device.gateway)


def gateway_state(gateway: Gateway, now: datetime) -> GatewayState:
    """How a gateway is at ``now``. ``is_online`` alone does not say it: only a running consumer takes it back."""
    if not gateway.is_active:
        return GatewayState.INACTIVE
    if gateway.last_seen is None:
        return GatewayState.COMMISSIONING
    heard = gateway.is_online and now - gateway.last_seen <= tolerance(gateway)
    return GatewayState.ONLINE if heard else GatewayState.OFFLINE


def online(now: datetime) -> Q:
    """The same for the database: the gateways whose :func:`gateway_state` is ONLINE."""
    seconds = Greatest(3 * F("intervalo_esperado_s"), int(MIN_TOLERANCE.total_seconds()))
    tolerated = ExpressionWrapper(seconds * Value(timedelta(seconds=1)), DurationField())
    since = ExpressionWrapper(Value(now, DateTimeField()) - tolerated, DateTimeField())
    return Q(is_active=True, is_online=True, last_seen__gte=since)


def silent_gateways(
    gateways: Sequence[Gateway], devices: Sequence[Dispositivo], now: datetime
) -> list[SilentGateway]:
    """The gateways that are not heard: those offline, the longest silent first, then those that were never heard."""
    found = [
        (s, g)
        for g in gateways
        if (s := gateway_state(g, now)) in (GatewayState.OFFLINE, GatewayState.COMMISSIONING)
    ]
    found.sort(
        key=lambda pair: (pair[1].last_seen is None, pair[1].last_seen or pair[1].created_at, pair[1].codigo)
    )
    return [SilentGateway(g, s, sum(d.gateway_id == g.pk for d in devices)) for s, g in found]
