"""Gateways and devices of a Conta: their states, and whether anything changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum, auto

from django.db.models import DateTimeField, ExpressionWrapper, Q, Value

from tds_new.models import Conta, ContaAtividade, Dispositivo, Gateway
from tds_new.models.silence import tolerated_silence, tolerated_silence_expression


@dataclass(frozen=True, slots=True)
class Sequences:
    """Counters that rise with a Conta's data and states.

    ``ingestion`` rises with every batch that stores readings of the Conta, ``status`` with every change of a
    gateway's state, ``consumption`` with every change of computed blocks. ``last_reading`` is None before the
    first.
    """

    ingestion: int
    status: int
    last_reading: datetime | None
    consumption: int = 0


class GatewayState(Enum):
    """A gateway's state; one that was never heard is being commissioned."""

    INACTIVE = auto()
    COMMISSIONING = auto()
    ONLINE = auto()
    OFFLINE = auto()


@dataclass(frozen=True, slots=True)
class SilentGateway:
    """A gateway that is not heard, its state, and how many active devices it has."""

    gateway: Gateway
    state: GatewayState
    devices: int


def sequences(conta: Conta) -> Sequences:
    """Return the Conta's counters; they are zero before its first message."""
    row = (
        ContaAtividade.objects.filter(conta=conta)
        .values_list("ingestao_seq", "status_seq", "ultima_leitura", "consumo_seq")
        .first()
    )
    return Sequences(*row) if row else Sequences(0, 0, None)


def active_devices(conta: Conta, active: Sequence[Gateway] | None = None) -> list[Dispositivo]:
    """Return the devices that are expected to send, by gateway's code and own code.

    Their ``gateway`` is set to the one in ``active``, which is looked up where it is not given: each gateway
    object is made once, while a join would make ten of each in a large fleet. Their ``medidor_pai`` is set to
    the one among them.
    """
    active = active_gateways(conta) if active is None else active
    gateways = {gateway.pk: gateway for gateway in active}
    devices = Dispositivo.objects.filter(conta=conta, gateway__conta=conta, gateway__is_active=True)
    expected = []
    for device in devices.exclude(status=Dispositivo.Status.INATIVO).order_by(
        "gateway__codigo", "codigo", "pk"
    ):
        if gateway := gateways.get(device.gateway_id):
            device.gateway = gateway
            expected.append(device)
    by_id = {device.pk: device for device in expected}
    for device in expected:
        if main := by_id.get(device.medidor_pai_id):
            device.medidor_pai = main
    return expected


def active_gateways(conta: Conta) -> list[Gateway]:
    """Return the Conta's active gateways by code."""
    return list(Gateway.objects.filter(conta=conta, is_active=True).order_by("codigo", "pk"))


def tolerance(gateway: Gateway) -> timedelta:
    """Return how old a sign of life, or a device's newest reading, may be."""
    return tolerated_silence(gateway.intervalo_esperado_s)


def has_recent_data(device: Dispositivo, now: datetime) -> bool:
    """Return whether the device's newest reading, by the meter's time, is recent."""
    return device.last_seen is not None and now - device.last_seen <= tolerance(device.gateway)


def gateway_state(gateway: Gateway, now: datetime) -> GatewayState:
    """Return the state of a gateway at ``now``.

    ``is_online`` alone does not tell, because only a running consumer clears it.
    """
    if not gateway.is_active:
        return GatewayState.INACTIVE
    if gateway.last_seen is None:
        return GatewayState.COMMISSIONING
    heard = gateway.is_online and now - gateway.last_seen <= tolerance(gateway)
    return GatewayState.ONLINE if heard else GatewayState.OFFLINE


def online(now: datetime) -> Q:
    """Return the condition for gateways whose state is ONLINE at ``now``."""
    tolerated = tolerated_silence_expression()
    since = ExpressionWrapper(Value(now, DateTimeField()) - tolerated, DateTimeField())
    return Q(is_active=True, is_online=True, last_seen__gte=since)


def silent_gateways(
    gateways: Sequence[Gateway], devices: Sequence[Dispositivo], now: datetime
) -> list[SilentGateway]:
    """Return the gateways that are not heard, with how many of ``devices`` they have.

    Offline gateways come first, the longest silent of them first; then those that were never heard.
    """
    found = [
        SilentGateway(gateway, state, sum(d.gateway_id == gateway.pk for d in devices))
        for gateway in gateways
        if (state := gateway_state(gateway, now)) in (GatewayState.OFFLINE, GatewayState.COMMISSIONING)
    ]
    return sorted(found, key=_longest_silent_first)


def _longest_silent_first(silent: SilentGateway) -> tuple[bool, datetime, str]:
    gateway = silent.gateway
    return gateway.last_seen is None, gateway.last_seen or gateway.created_at, gateway.codigo
