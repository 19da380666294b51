"""The worker as a process that follows the readings, dies, and runs several times at once.

Also the rebuild of all consumption.
"""

import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from random import Random
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import connection, connections, transaction

from tds_new.metering import ledger, queue
from tds_new.metering.rebuild import PORTION, Rebuild
from tds_new.metering.rules import blocks
from tds_new.metering.rules.blocks import Chain, Computation
from tds_new.metering.rules.meter import Meter
from tds_new.metering.worker import Worker, drain
from tds_new.models import (
    ConsumoBloco,
    ConsumoParticao,
    ConsumoPendente,
    ConsumoReconstrucao,
    Dispositivo,
    LeituraDispositivo,
    OcorrenciaMedicao,
)
from tests.support import factories
from tests.support.consumers import ConsumerProcess, database_url
from tests.support.ingestion import queue_all
from tests.support.waiting import until

START = datetime(2026, 3, 2, 3, tzinfo=UTC)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def devices() -> list[Dispositivo]:
    gateway = factories.gateway(factories.conta())
    return [factories.device(gateway, f"D{number:02}") for number in range(10)]


def readings(devices: list[Dispositivo], count: int, seed: int = 1) -> list[LeituraDispositivo]:
    """Registers that grow and sometimes begin again, in any order."""
    random, found = Random(seed), []
    for device in devices:
        value = Decimal(0)
        for number in range(count):
            value = (
                Decimal(0) if random.random() < 0.02 else value + Decimal(random.randrange(20_000)) / 10_000
            )
            found.append(
                LeituraDispositivo(
                    time=START + timedelta(seconds=300 * number + random.randrange(100)),
                    valor=value,
                    dispositivo=device,
                    gateway_id=device.gateway_id,
                    conta_id=device.conta_id,
                    unidade=device.unidade,
                    tipo_leitura=device.tipo_leitura,
                )
            )
    random.shuffle(found)
    return found


def figures() -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """Every row of the ledger."""
    blocks = ConsumoBloco.objects.order_by("dispositivo_id", "bloco", "conta_id").values_list()
    return list(blocks), list(
        OcorrenciaMedicao.objects.order_by("dispositivo_id", "leitura_em").values_list()
    )


def reference(stored: list[LeituraDispositivo]) -> tuple[list[tuple[object, ...]], list[tuple[object, ...]]]:
    """The ledger computed once, from everything."""
    ConsumoBloco.objects.all().delete()
    OcorrenciaMedicao.objects.all().delete()
    call_command("rebuild_consumption", stdout=StringIO())
    assert ConsumoBloco.objects.count() > len(stored) // 4
    return figures()


def run_command(name: str) -> "subprocess.Popen[bytes]":
    environment = {**ConsumerProcess.environment(), "DATABASE_URL": database_url()}
    return subprocess.Popen(
        [sys.executable, "manage.py", name], cwd=settings.BASE_DIR, env=environment, stdout=subprocess.DEVNULL
    )


def run_worker() -> "subprocess.Popen[bytes]":
    return run_command("process_consumption")


@pytest.fixture
def process() -> Iterator["subprocess.Popen[bytes]"]:
    process = run_worker()
    yield process
    process.kill()
    process.wait()


def following() -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT FROM pg_stat_activity"
            " WHERE application_name = 'tds_new_consumption' AND datname = current_database() AND state = "
            "'idle'"
        )
        return cursor.fetchone() is not None


def computed() -> bool:
    return not ConsumoPendente.objects.exists()


def test_the_process_follows_the_readings_and_stops_in_order(
    devices: list[Dispositivo], process: "subprocess.Popen[bytes]"
) -> None:
    for batch in (readings(devices[:5], 20), readings(devices[5:], 20, seed=2)):
        LeituraDispositivo.objects.bulk_create(batch)
        until(computed, "the queue is empty")
    found = figures()
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    assert found == reference(readings(devices, 20))


def test_a_killed_worker_leaves_nothing_undone(devices: list[Dispositivo]) -> None:
    stored = readings(devices, 100)
    for number in range(4):
        process = run_worker()
        LeituraDispositivo.objects.bulk_create(stored[number::4])
        until(lambda: ConsumoBloco.objects.exists() or computed(), "it has begun")
        process.kill()
        process.wait()
    drain()
    found = figures()
    assert found == reference(stored)


def test_workers_side_by_side_agree_with_one(devices: list[Dispositivo]) -> None:
    stored, failures, done = readings(devices, 60), list[BaseException](), threading.Event()

    def work() -> None:
        try:
            while not done.is_set():
                drain()
        except BaseException as error:
            failures.append(error)
        finally:
            connections["default"].close()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for at in range(0, len(stored), 50):
        LeituraDispositivo.objects.bulk_create(stored[at : at + 50])
    done.set()
    for thread in threads:
        thread.join()
    drain()
    assert failures == []
    found = figures()
    assert found == reference(stored)


def test_rebuilding_changes_nothing_and_says_so(devices: list[Dispositivo]) -> None:
    stored = readings(devices, 50)
    for at in range(0, len(stored), 37):
        LeituraDispositivo.objects.bulk_create(stored[at : at + 37])
        drain()
    before, said = figures(), StringIO()
    call_command(
        "rebuild_consumption", "--gateway", devices[0].gateway.mac.upper().replace(":", "-"), stdout=said
    )
    assert "done; 0 block rows differed" in said.getvalue()
    assert figures() == before


def test_rebuilding_mends_what_was_tampered_with_from_a_time_on(devices: list[Dispositivo]) -> None:
    LeituraDispositivo.objects.bulk_create(readings(devices[:1], 50))
    drain()
    before, said = figures(), StringIO()
    last = ConsumoBloco.objects.order_by("-bloco").values_list("bloco", flat=True)[0]
    ConsumoBloco.objects.filter(bloco=last).update(consumo=1_000_000)
    call_command("rebuild_consumption", "--from", last.isoformat(), stdout=said)
    assert "done; 1 block rows differed" in said.getvalue()
    assert figures() == before


@pytest.fixture
def queued() -> Iterator[Callable[[], list[int]]]:
    """Says which devices were queued from their beginning on, as often as they were."""
    with connection.cursor() as cursor:
        cursor.execute(
            """
            CREATE TABLE queue_probe (dispositivo bigint);
            CREATE FUNCTION queue_probe() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN INSERT INTO queue_probe SELECT unnest(NEW.dispositivos); RETURN NULL; END $$;
            CREATE TRIGGER queue_probe AFTER INSERT ON tds_new_consumo_pendente
                FOR EACH ROW WHEN (NEW.inicio = '-infinity') EXECUTE FUNCTION queue_probe();
            """
        )

        def found() -> list[int]:
            cursor.execute("SELECT dispositivo FROM queue_probe ORDER BY 1")
            return [pk for (pk,) in cursor.fetchall()]

        yield found
        cursor.execute(
            "DROP TRIGGER queue_probe ON tds_new_consumo_pendente; DROP FUNCTION queue_probe; DROP TABLE "
            "queue_probe"
        )


def killed_midway(devices: list[Dispositivo], withheld: int) -> set[int]:
    """Start a run and kill it when all of its first portion is computed but a partition.

    Return what is left: the devices in the partition ``withheld``.
    """
    first, others = [d.pk for d in devices[:PORTION]], [d.pk for d in devices[PORTION:]]
    left = {pk for pk in first if pk % ConsumoParticao.PARTICOES == withheld}
    with transaction.atomic():
        ConsumoParticao.objects.select_for_update().get(pk=withheld)
        process = run_command("rebuild_consumption")
        try:
            until(
                lambda: ConsumoReconstrucao.objects.filter(entregues=PORTION).exists(), "a portion is queued"
            )
            until(
                lambda: queue.to_rebuild(connection, first).keys() == left,
                "all but what is withheld is computed",
            )
        finally:
            process.kill()
            process.wait()
    return left | set(others)


def test_a_run_that_was_killed_is_gone_on_with_and_no_device_is_done_twice(
    devices: list[Dispositivo], queued: Callable[[], list[int]]
) -> None:
    devices += [factories.device(devices[0].gateway, f"E{number:02}") for number in range(25)]
    LeituraDispositivo.objects.bulk_create(readings(devices, 30))
    drain()
    before, said = figures(), StringIO()
    ConsumoBloco.objects.update(consumo=1_000_000)

    left = killed_midway(devices, withheld=devices[1].pk % ConsumoParticao.PARTICOES)
    mended = (
        ConsumoBloco.objects.exclude(consumo=1_000_000).values_list("dispositivo_id", flat=True).distinct()
    )
    assert set(mended) == {device.pk for device in devices} - left
    call_command("rebuild_consumption", stdout=said)

    assert (
        f"[OK] going on with {len(left)} devices that are left of {len(devices)}; --anew starts over"
        in said.getvalue()
    )
    assert figures() == before
    assert queued() == sorted(device.pk for device in devices)
    assert not ConsumoReconstrucao.objects.exists()
    call_command("rebuild_consumption", stdout=(said := StringIO()))
    assert f"[OK] {len(devices)} devices to compute" in said.getvalue()
    assert "done; 0 block rows differed" in said.getvalue()


def test_a_run_that_was_stopped_waits_for_its_own_options_or_is_forgotten(devices: list[Dispositivo]) -> None:
    LeituraDispositivo.objects.bulk_create(readings(devices, 3))
    ConsumoReconstrucao.objects.create(pedido="", dispositivos=[d.pk for d in devices], entregues=4)

    call_command("rebuild_consumption", "--gateway", devices[0].gateway.codigo, stdout=(said := StringIO()))
    assert "[OK] 10 devices to compute" in said.getvalue()
    assert "[WARN] a run with no options was stopped; give the same to go on with it" in said.getvalue()
    call_command("rebuild_consumption", "--anew", stdout=(said := StringIO()))
    assert "[OK] 10 devices to compute" in said.getvalue()
    assert "[WARN]" not in said.getvalue()


def test_readings_that_arrive_meanwhile_are_not_taken_for_differences(
    devices: list[Dispositivo], monkeypatch: pytest.MonkeyPatch
) -> None:
    def store(device: Dispositivo, minutes_ago: float, value: int) -> None:
        LeituraDispositivo.objects.create(
            time=datetime.now(UTC) - timedelta(minutes=minutes_ago),
            valor=value,
            dispositivo=device,
            gateway_id=device.gateway_id,
            conta_id=device.conta_id,
            unidade=device.unidade,
            tipo_leitura=device.tipo_leitura,
        )

    for number in range(40):
        store(devices[0], 200 - 5 * number, number)
    drain()
    next_portion = Rebuild.next_portion

    def meanwhile(rebuild: Rebuild) -> bool:
        store(devices[0], 0, 50)
        return next_portion(rebuild)

    monkeypatch.setattr(Rebuild, "next_portion", meanwhile)
    call_command("rebuild_consumption", stdout=(said := StringIO()))
    assert "done; 0 block rows differed" in said.getvalue()
    assert re.search(r"\[OK\] and [12] of the newest blocks, which readings go on filling", said.getvalue())


def test_the_bar_moves_within_a_long_history(devices: list[Dispositivo]) -> None:
    long = readings(devices[:1], 500)
    for number, reading in enumerate(sorted(long, key=lambda one: one.time)):
        reading.time = START + timedelta(days=number - 500)
    LeituraDispositivo.objects.bulk_create(long)
    drain()
    call_command("rebuild_consumption", "--gateway", devices[0].gateway.codigo, stdout=(said := StringIO()))
    percents = [int(found) for found in re.findall(r"\r *(\d+) %", said.getvalue())]
    assert percents == sorted(percents)
    assert percents[-1] == 100
    assert len(set(percents)) > len(devices) + 2  # one device takes five steps


def test_rebuilding_what_is_not_there_is_said() -> None:
    with pytest.raises(CommandError, match="no gateway has this code"):
        call_command("rebuild_consumption", "--gateway", "GW-404")
    with pytest.raises(CommandError, match="ISO 8601 with an offset"):
        call_command("rebuild_consumption", "--from", "2026-02-01")


def test_readings_are_marked_in_their_own_transaction(devices: list[Dispositivo]) -> None:
    LeituraDispositivo.objects.bulk_create(readings(devices, 3))
    with connection.cursor() as cursor:
        cursor.execute("SELECT DISTINCT unnest(dispositivos) FROM tds_new_consumo_pendente ORDER BY 1")
        assert [pk for (pk,) in cursor.fetchall()] == sorted(device.pk for device in devices)


@pytest.fixture
def refused(devices: list[Dispositivo]) -> Iterator[Dispositivo]:
    """A device whose blocks the database refuses."""
    with connection.cursor() as cursor:
        cursor.execute(
            f"ALTER TABLE tds_new_consumo_15min ADD CONSTRAINT refused CHECK (dispositivo_id <> "
            f"{devices[3].pk})"
        )
        yield devices[3]
        cursor.execute("ALTER TABLE tds_new_consumo_15min DROP CONSTRAINT IF EXISTS refused")


def test_a_device_that_cannot_be_computed_keeps_nobody_waiting(
    devices: list[Dispositivo], refused: Dispositivo
) -> None:
    stored = readings(devices, 30)
    LeituraDispositivo.objects.bulk_create(stored[:100])
    with pytest.raises(CommandError, match=f"devices {refused.pk} .id. cannot be computed.*refused"):
        call_command("process_consumption", "--once", stdout=StringIO())
    LeituraDispositivo.objects.bulk_create(stored[100:])
    drain()  # what is deferred is not tried again and again
    held = ConsumoPendente.objects.get()
    assert held.dispositivos == [refused.pk]
    assert held.inicio <= min(r.time for r in stored if r.dispositivo_id == refused.pk)
    assert held.fim >= max(r.time for r in stored if r.dispositivo_id == refused.pk)
    assert set(ConsumoBloco.objects.values_list("dispositivo_id", flat=True)) == {d.pk for d in devices} - {
        refused.pk
    }
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tds_new_consumo_15min DROP CONSTRAINT refused")
    call_command("process_consumption", "--once", stdout=StringIO())
    found = figures()
    assert computed()
    assert found == reference(stored)


def test_a_database_that_fails_for_everybody_holds_nobody_back(devices: list[Dispositivo]) -> None:
    LeituraDispositivo.objects.bulk_create(readings(devices, 3))
    before = ConsumoPendente.objects.count()
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE tds_new_consumo_15min RENAME COLUMN leituras TO counted")
        try:
            with pytest.raises(psycopg.ProgrammingError, match="leituras"):
                drain()
        finally:
            cursor.execute("ALTER TABLE tds_new_consumo_15min RENAME COLUMN counted TO leituras")
    assert ConsumoPendente.objects.filter(tentar_em=None).count() == before
    drain()
    assert computed()


def test_an_error_of_our_own_stops_one_device_only(
    devices: list[Dispositivo], monkeypatch: pytest.MonkeyPatch
) -> None:
    def compute_chains(chains: list[Chain], meter: Meter, **options: Any) -> Computation:
        if meter.base.dip_tolerance == 70_000:
            raise ZeroDivisionError("seven")
        return blocks.compute_chains(chains, meter, **options)

    Dispositivo.objects.filter(pk=devices[5].pk).update(tolerancia_queda=7)
    monkeypatch.setattr(ledger, "compute_chains", compute_chains)
    stored = readings(devices, 10)
    LeituraDispositivo.objects.bulk_create(stored)
    with pytest.raises(
        CommandError, match=f"devices {devices[5].pk} .id. cannot be computed.*ZeroDivisionError: seven"
    ):
        call_command("rebuild_consumption", stdout=StringIO())
    assert set(ConsumoBloco.objects.values_list("dispositivo_id", flat=True)) == {d.pk for d in devices} - {
        devices[5].pk
    }


def test_rebuilding_beside_a_worker_waits_for_it(
    devices: list[Dispositivo], process: "subprocess.Popen[bytes]"
) -> None:
    LeituraDispositivo.objects.bulk_create(readings(devices, 100))
    until(following, "the worker follows")
    call_command("rebuild_consumption", stdout=StringIO())
    assert queue.to_rebuild(connection, [d.pk for d in devices]) == {}
    until(computed, "the queue is empty")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0
    found = figures()
    assert found == reference(readings(devices, 100))


def test_neither_late_readings_nor_what_is_computed_again_wait_while_others_come(
    devices: list[Dispositivo],
) -> None:
    """New readings before every look at the queue, as from gateways that never pause."""
    LeituraDispositivo.objects.bulk_create(readings(devices, 4))
    drain()
    last = {}
    for device in devices:
        last[device] = LeituraDispositivo.objects.create(
            time=START - timedelta(days=60),
            valor=0,
            dispositivo=device,
            gateway_id=device.gateway_id,
            conta_id=device.conta_id,
            unidade=device.unidade,
            tipo_leitura=device.tipo_leitura,
        )
    ConsumoBloco.objects.filter(dispositivo=devices[0]).update(consumo=1)
    queue_all(devices[0])
    worker = Worker()
    for number in range(4):
        for reading in readings(devices, 5 + number)[4 + number :: 5 + number]:
            reading.time += timedelta(days=1, hours=number)
            reading.save(force_insert=True)
        worker._pass()
    worker._disconnect()
    assert ConsumoBloco.objects.filter(bloco__lt=START - timedelta(days=59)).values(
        "dispositivo"
    ).distinct().count() == len(devices)
    assert queue.to_rebuild(connection, [d.pk for d in devices]) == {}
    drain()
    found = figures()
    call_command("rebuild_consumption", stdout=StringIO())
    assert found == figures()


def test_figures_of_long_ago_that_change_are_told(devices: list[Dispositivo]) -> None:
    told: list[int] = []
    worker = Worker(on_late=lambda: told.append(1))
    LeituraDispositivo.objects.bulk_create(readings(devices, 3))
    worker._pass()
    assert told
    told.clear()
    for reading in readings(devices, 3):
        reading.time = datetime.now(UTC) - timedelta(minutes=5)
        reading.save(force_insert=True)
        break
    worker._pass()
    assert not told
    assert computed()
    worker._disconnect()
