"""The queue of stale ranges: no range is lost, whatever happens beside, and a transaction takes no more than it can hold."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import Cursor

from tds_new.consumption import queue
from tds_new.consumption.worker import django_session
from tds_new.ingestion import database
from tds_new.models import ConsumoParticao, ConsumoPendente, Dispositivo
from tests import fabrica

START = datetime(2026, 3, 2, 3, tzinfo=UTC)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def device() -> Dispositivo:
    return fabrica.dispositivo(fabrica.gateway(fabrica.conta()))


def let_time_pass() -> None:
    time.sleep(0.6)


def try_at_once() -> None:
    """As ``process_consumption --once`` beside: it waits for whoever has the row."""
    with database.connect("beside") as beside:
        beside.execute("SET lock_timeout = '100ms'")
        try:
            beside.execute(queue.RETRY_NOW)
        except psycopg.errors.LockNotAvailable:
            return


@pytest.mark.parametrize("meanwhile", [let_time_pass, try_at_once])
def test_a_new_range_of_a_device_that_is_held_back_is_never_lost(device: Dispositivo, meanwhile: Callable[[], None]) -> None:
    """The moment at which it is tried again comes between looking for what is held and widening it."""

    class Interrupted(Cursor[Any]):
        def execute(self, query: Any, *args: Any, **kwargs: Any) -> Any:
            found = super().execute(query, *args, **kwargs)
            if query == queue.HELD:
                meanwhile()
            return found

    partition = device.pk % ConsumoParticao.PARTICOES
    held = {"particao": partition, "dispositivos": [device.pk], "inicio": START, "fim": START}
    ConsumoPendente.objects.create(**held, tentar_em=datetime.now(UTC) + timedelta(milliseconds=500), erro="refused")
    new = START + timedelta(hours=1)
    ConsumoPendente.objects.create(**{**held, "inicio": new, "fim": new})
    with django_session().transaction(), Interrupted(django_session()) as cursor:
        rounds, _ = queue.take(cursor, partition, anew=False)
    waits = ConsumoPendente.objects.filter(fim=new).exists()
    assert waits or [span.device_id for spans in rounds for span in spans] == [device.pk]
