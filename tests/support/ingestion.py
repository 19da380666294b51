"""A Conta with a gateway and three devices, its messages and readings."""

import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from tds_new.ingestion.message import Message
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.models import Conta, Dispositivo, Gateway, LeituraDispositivo, MensagemRejeitada
from tds_new.storage.session import connect

PREFIX = "tds_new/devices"
MAC = "aa:bb:cc:dd:ee:0a"  # gateway A of tests.support.brokers
OTHER_MAC = "aa:bb:cc:dd:ee:0b"
TOPIC = f"{PREFIX}/{MAC}/telemetry"
# Whole seconds, so that stored times compare equal; recent, so that no chunk is old.
NOW = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)


class Clock:
    """A clock that only moves when told to."""

    def __init__(self) -> None:
        self.time = 1_000.0

    def __call__(self) -> float:
        return self.time


class World:
    """The registry that most tests need: a gateway with three devices."""

    def __init__(self) -> None:
        self.conta = Conta.objects.create(name="Condomínio Aurora")
        self.gateway = Gateway.objects.create(conta=self.conta, codigo="GW-A", mac=MAC)
        create = Dispositivo.objects.create
        self.d01 = create(gateway=self.gateway, codigo="D01", unidade="kWh", tipo_leitura="INCREMENTAL")
        self.d02 = create(
            gateway=self.gateway, codigo="D02", unidade="m³", grandeza="AGUA", tipo_leitura="ACUMULADA"
        )
        self.d03 = create(
            gateway=self.gateway,
            codigo="D03",
            unidade="°C",
            grandeza="TEMPERATURA",
            tipo_leitura="INSTANTANEA",
        )


def reading(codigo: str = "D01", valor: Any = 1.5, minute: int = 0, **more: Any) -> dict[str, Any]:
    """One entry of ``leituras``, ``minute`` minutes after :data:`NOW`."""
    return {"dispositivo_codigo": codigo, "valor": valor, "timestamp": stamp(minute), **more}


def stamp(minute: float = 0) -> str:
    return (NOW + timedelta(minutes=minute)).isoformat()


def payload(*readings: Any, **more: Any) -> bytes:
    """A telemetry payload."""
    return json.dumps({"leituras": list(readings), **more}, ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def message(
    content: bytes = b"", topic: str = TOPIC, received_at: datetime | None = None, **more: Any
) -> Message:
    """A message as the transport hands it over."""
    return Message(topic, content, received_at or NOW + timedelta(minutes=30), **more)


def telemetry(*readings: Any, topic: str = TOPIC, **more: Any) -> Message:
    """A telemetry message of these readings."""
    return message(payload(*readings, **more), topic)


def stored() -> list[tuple[str, int, Decimal]]:
    """Return the stored readings: device code, minute after :data:`NOW`, value."""
    rows = LeituraDispositivo.objects.order_by("dispositivo__codigo", "time").values_list(
        "dispositivo__codigo", "time", "valor"
    )
    return [(codigo, round((time - NOW).total_seconds() / 60), valor) for codigo, time, valor in rows]


def rejected() -> list[tuple[str, int | None]]:
    """The rejected rows in order: reason and reading."""
    return list(MensagemRejeitada.objects.order_by("id").values_list("motivo", "leitura_indice"))


def execute(statement: str, *parameters: Any) -> None:
    """Run one statement in the test database."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def queue_all(*devices: Dispositivo) -> None:
    """Queue all readings of these devices to be computed, as a change of their gateway does."""
    for device in devices:
        execute("SELECT tds_new_marca(%s, '-infinity', 'infinity')", device.pk)


@pytest.fixture
def world(transactional_db: None) -> World:
    """A fresh registry, visible to other sessions."""
    return World()


@pytest.fixture
def clock() -> Clock:
    """The clock of the fixture ``processor``.

    Its batches are a second apart unless a test says otherwise.
    """
    return Clock()


@pytest.fixture
def processor(world: World, clock: Clock) -> Iterator[TelemetryProcessor]:
    """A processor on a session of its own that looks every gateway up again."""
    with connect("test") as session:
        processor = TelemetryProcessor(session, clock=clock)
        processor._resolver._max_age = 0  # tests of the cache set their own
        yield processor
