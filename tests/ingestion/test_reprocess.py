"""Rejected messages processed again.

Those whose cause is removed are stored, the others keep their new reason, and twice changes nothing.
"""

import psycopg
import pytest

from tds_new.ingestion import rejected
from tds_new.ingestion.message import Message
from tds_new.ingestion.reprocess import ReprocessResult, reprocess
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.models import Dispositivo, Gateway, MensagemRejeitada
from tests.support.ingestion import MAC, NOW, OTHER_MAC, PREFIX, World, message, reading, stored, telemetry

OTHER_TOPIC = f"{PREFIX}/{OTHER_MAC}/telemetry"


def again() -> tuple[int, int]:
    """Process everything again; return how many were accepted and refused."""
    result: ReprocessResult = reprocess(MensagemRejeitada.objects.all())
    return result.accepted, result.refused


def open_rows() -> list[tuple[str, int | None]]:
    return list(
        MensagemRejeitada.objects.filter(reprocessada_em=None)
        .order_by("id")
        .values_list("motivo", "leitura_indice")
    )


def register(world: World) -> Gateway:
    gateway = Gateway.objects.create(conta=world.conta, codigo="GW-B", mac=OTHER_MAC)
    Dispositivo.objects.create(gateway=gateway, codigo="D01")
    return gateway


def process(processor: TelemetryProcessor, *messages: Message) -> None:
    processor.process(messages)


def test_messages_of_a_gateway_registered_later_are_stored_once(
    world: World, processor: TelemetryProcessor
) -> None:
    process(
        processor,
        *[telemetry(reading(minute=n), topic=OTHER_TOPIC) for n in range(3)],
        telemetry(reading(), topic=f"{PREFIX}/x/telemetry"),
    )
    assert again() == (0, 4)
    gateway = register(world)
    assert again() == (3, 1)
    assert len(stored()) == 3
    assert open_rows() == [("gateway_desconhecido", None)]
    assert again() == (0, 1)
    assert len(stored()) == 3
    gateway.refresh_from_db()
    assert (gateway.is_online, gateway.last_seen) == (False, None)  # an old message is no sign of life


def test_what_is_refused_again_keeps_the_new_reason_and_owner(
    world: World, processor: TelemetryProcessor
) -> None:
    process(processor, message(b"{", OTHER_TOPIC))
    gateway = register(world)
    assert again() == (0, 1)
    row = MensagemRejeitada.objects.get()
    assert (row.motivo, row.gateway, row.conta, row.reprocessada_em) == (
        "json_invalido",
        gateway,
        world.conta,
        None,
    )


def test_each_bad_reading_of_a_message_that_is_in_now_gets_a_row(
    world: World, processor: TelemetryProcessor
) -> None:
    process(processor, telemetry(reading("D99"), reading(), reading(valor="x"), topic=OTHER_TOPIC))
    gateway = register(world)
    assert again() == (1, 0)
    assert len(stored()) == 1
    assert sorted(open_rows()) == [("dispositivo_desconhecido", 0), ("valor_invalido", 2)]
    row = MensagemRejeitada.objects.get(leitura_indice=0)
    assert (row.gateway, row.conta, row.topico) == (gateway, world.conta, OTHER_TOPIC)
    assert again() == (0, 2)
    assert MensagemRejeitada.objects.count() == 3
    Dispositivo.objects.create(gateway=gateway, codigo="D99")
    assert again() == (1, 1)
    assert open_rows() == [("valor_invalido", 2)]
    assert len(stored()) == 2


def test_a_message_of_many_bad_readings_is_not_copied_for_each(
    world: World, processor: TelemetryProcessor
) -> None:
    process(processor, telemetry(*[reading("D99", minute=n) for n in range(200)], topic=OTHER_TOPIC))
    register(world)
    again()
    assert MensagemRejeitada.objects.count() == 51


def test_a_reading_is_tried_by_the_clock_of_its_arrival(world: World, processor: TelemetryProcessor) -> None:
    process(processor, telemetry(reading(minute=50)))  # twenty minutes ahead when it came
    MensagemRejeitada.objects.update(recebida_em=NOW)
    assert again() == (0, 1)
    assert open_rows() == [("timestamp_futuro", 0)]


def test_a_conflict_stays_one(world: World, processor: TelemetryProcessor) -> None:
    process(processor, telemetry(reading(valor=1)), telemetry(reading(valor=2)))
    assert again() == (0, 1)
    assert (len(stored()), open_rows()) == (1, [("conflito", 0)])


def test_an_old_last_will_does_not_set_a_gateway_offline(world: World, processor: TelemetryProcessor) -> None:
    process(
        processor,
        message(b"offline", f"{PREFIX}/{MAC}/status"),
        message(b"offline", f"{PREFIX}/{OTHER_MAC}/status"),
    )
    gateway = register(world)
    Gateway.objects.update(is_online=True)
    assert again() == (1, 0)
    gateway.refresh_from_db()
    assert gateway.is_online


def test_a_database_that_fails_is_said_and_nothing_is_marked(
    world: World, processor: TelemetryProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    process(processor, telemetry(reading("D99")))

    def fail(*_: object) -> None:
        raise psycopg.OperationalError

    monkeypatch.setattr(TelemetryProcessor, "process", fail)
    with pytest.raises(psycopg.OperationalError):
        again()
    assert open_rows() == [("dispositivo_desconhecido", 0)]


def test_a_large_payload_is_not_copied_for_each_of_its_bad_readings(
    world: World, processor: TelemetryProcessor
) -> None:
    bad = [reading(valor="x", note="n" * 1200) for _ in range(45)]
    process(processor, telemetry(reading(), *bad, topic=OTHER_TOPIC))
    register(world)
    size = len(bytes(MensagemRejeitada.objects.get().payload))
    assert again() == (1, 0)
    assert len(open_rows()) == rejected.MAX_COPIED_BYTES // size < len(bad)
