"""The queue loses no range, whatever runs concurrently.

A transaction dequeues no more than it can hold.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.db.models.functions import Now
from psycopg import Cursor

from tds_new.metering import inputs, ledger, queue
from tds_new.metering.worker import drain
from tds_new.models import ConsumoBloco, ConsumoParticao, ConsumoPendente, Dispositivo, LeituraDispositivo
from tds_new.storage import session
from tests.support import factories
from tests.support.ingestion import queue_all

START = datetime(2026, 3, 2, 3, tzinfo=UTC)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def device() -> Dispositivo:
    return factories.device(factories.gateway(factories.conta()))


def let_time_pass() -> None:
    """Wait until the deferred range may be tried again."""
    while ConsumoPendente.objects.filter(tentar_em__gt=Now()).exists():
        time.sleep(0.01)


def try_at_once() -> None:
    """As ``process_consumption --once`` beside: it waits for whoever has the row."""
    with session.connect("beside") as beside:
        beside.execute("SET lock_timeout = '100ms'")
        try:
            beside.execute(queue.RETRY_NOW)
        except psycopg.errors.LockNotAvailable:
            return


@pytest.mark.parametrize("meanwhile", [let_time_pass, try_at_once])
def test_a_new_range_of_a_deferred_device_is_never_lost(
    device: Dispositivo, meanwhile: Callable[[], None]
) -> None:
    """The moment at which it is tried again comes between looking for deferred ranges and widening one."""

    class Interrupted(Cursor[Any]):
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            found = super().execute(query, *args, **kwargs)
            if query == queue.DEFERRED:
                meanwhile()
            return found

    partition = device.pk % ConsumoParticao.PARTICOES
    held = {"particao": partition, "dispositivos": [device.pk], "inicio": START, "fim": START}
    ConsumoPendente.objects.create(
        **held, tentar_em=datetime.now(UTC) + timedelta(milliseconds=500), erro="refused"
    )
    new = START + timedelta(hours=1)
    ConsumoPendente.objects.create(**{**held, "inicio": new, "fim": new})
    with session.of_django().transaction(), Interrupted(session.of_django()) as cursor:
        rounds, _ = queue.dequeue(cursor, partition, long_ranges=False)
    waits = ConsumoPendente.objects.filter(fim=new).exists()
    assert waits or [span.device_id for spans in rounds for span in spans] == [device.pk]


def register(device: Dispositivo, days: float, seconds: int) -> list[LeituraDispositivo]:
    """A register that counts one at each reading."""
    of = {name: getattr(device, name) for name in ("conta_id", "gateway_id", "unidade", "tipo_leitura")}
    number = int(days * 86_400) // seconds
    return [
        LeituraDispositivo(dispositivo=device, time=START + n * timedelta(seconds=seconds), valor=n, **of)
        for n in range(number)
    ]


def blocks() -> list[Any]:
    return list(ConsumoBloco.objects.order_by("dispositivo_id", "bloco").values_list())


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record how many readings each computation had in memory."""
    found: list[int] = []

    def load_chains(*arguments: Any) -> Any:
        chains = inputs.load_chains(*arguments)
        found.append(sum(len(chain.times) for some in chains.values() for chain in some))
        return chains

    monkeypatch.setattr(ledger, "load_chains", load_chains)
    return found


@pytest.mark.parametrize("interval", [60, 300])  # as the gateway says, and not
def test_a_transaction_holds_so_many_readings_however_often_devices_send(
    interval: int, loaded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three days of every minute: 4,320 readings a device, of devices in one partition."""
    gateway = factories.gateway(factories.conta(), intervalo_esperado_s=interval)
    devices = [factories.device(gateway, f"D{n:02}") for n in range(1 + 2 * ConsumoParticao.PARTICOES)]
    devices = [
        device
        for device in devices
        if device.pk % ConsumoParticao.PARTICOES == devices[0].pk % ConsumoParticao.PARTICOES
    ]
    LeituraDispositivo.objects.bulk_create(
        [reading for device in devices for reading in register(device, 3, 60)]
    )
    ConsumoPendente.objects.all().delete()
    queue_all(*devices)
    drain()
    expected = blocks()
    assert len(expected) == len(devices) * 3 * 96
    for module in (ledger, queue):
        monkeypatch.setattr(module, "STEP_READINGS", 1000)
        monkeypatch.setattr(module, "MAX_READINGS", 2000)
    ConsumoBloco.objects.all().delete()
    loaded.clear()
    queue_all(*devices)
    drain()
    # And what is read around the ranges; where hours are new, those of the day before are judged again.
    assert max(loaded) < 2000 + 2 * 1_600
    assert len(loaded) >= len(devices) * 4320 // 2000
    assert blocks() == expected


def test_short_ranges_of_devices_that_send_often_are_taken_by_and_by(
    loaded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Twelve hours of every ten seconds that came in two-hour batches, as after an outage."""
    monkeypatch.setattr(queue, "MAX_READINGS", 2000)
    gateway = factories.gateway(factories.conta(), intervalo_esperado_s=10)
    device = factories.device(gateway)
    readings = register(device, 0.5, 10)
    for at in range(0, len(readings), 720):
        LeituraDispositivo.objects.bulk_create(readings[at : at + 720])
    drain()
    assert max(loaded) < 5000
    assert len(blocks()) == 48


def test_a_backlog_is_not_read_again_for_each_of_its_ranges(
    loaded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Forty days that were stored before any was computed: a range ends where the next one waits."""
    monkeypatch.setattr(queue, "MAX_QUEUED", 100)
    device = factories.device(factories.gateway(factories.conta(), intervalo_esperado_s=900))
    readings = register(device, 40, 900)
    for at in range(0, len(readings), 96):
        LeituraDispositivo.objects.bulk_create(readings[at : at + 96])
    drain()
    assert sum(loaded) < 2 * len(readings)
    assert len(blocks()) == len(readings)
