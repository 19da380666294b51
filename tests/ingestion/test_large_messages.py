"""Messages over 64 KiB: complete readings are stored, one row is kept, and the answer is final."""

import json
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest

from tds_new.ingestion.message import Message
from tds_new.ingestion.payload import MAX_ELEMENTS, MAX_PAYLOAD_BYTES, parse_large
from tds_new.ingestion.refusal import MessageRefusedError
from tds_new.ingestion.reprocess import reprocess
from tds_new.ingestion.telemetry_processor import BatchResult, TelemetryProcessor
from tds_new.models import Dispositivo, LeituraDispositivo, MensagemRejeitada, RejeicaoContador
from tests.support.ingestion import (
    MAC,
    NOW,
    OTHER_MAC,
    PREFIX,
    TOPIC,
    World,
    message,
    payload,
    reading,
    stamp,
    stored,
)

COUNT = 1_000  # readings of some 100 bytes
REFUSED = b'{"seq": 7, "erro": "mensagem_grande"}'


def large(*more: Any, count: int = COUNT, **fields: Any) -> bytes:
    """A payload of so many readings of D01, a minute apart, and then ``more``."""
    readings = [reading("D01", number, minute=-number, nota="x" * 40) for number in range(count)]
    return payload(*readings, *more, **{"seq": 7, **fields})


def process(processor: TelemetryProcessor, content: bytes, size: int = 0) -> BatchResult:
    return processor.process([Message(TOPIC, content, NOW, size=size)])


def the_row() -> MensagemRejeitada:
    row = MensagemRejeitada.objects.get()
    assert (row.motivo, row.leitura_indice) == ("mensagem_grande", None)
    return row


def test_all_readings_of_a_large_message_are_stored_and_it_is_refused_once(
    world: World, processor: TelemetryProcessor
) -> None:
    sent = large(reading("D99"), reading("D98"), reading("D02", "x"))
    assert len(sent) > MAX_PAYLOAD_BYTES
    result = process(processor, sent)
    assert (result.stored, dict(result.rejected)) == (COUNT, {"mensagem_grande": 1})
    assert [answer.payload for answer in result.answers] == [REFUSED]
    row = the_row()
    assert bytes(row.payload) == sent[:MAX_PAYLOAD_BYTES]
    assert row.gateway_id == world.gateway.id
    assert row.detalhe == (
        f"{len(sent)} bytes; at most 65536; good readings 1000 of 1003, "
        "dispositivo_desconhecido 2, valor_invalido 1"
    )
    assert RejeicaoContador.objects.get().total == 1
    assert LeituraDispositivo.objects.filter(payload_raw=None).count() == 0


@pytest.mark.parametrize("tolerant", [False, True])
def test_of_a_message_that_was_cut_the_complete_readings_are_stored(
    world: World, processor: TelemetryProcessor, tolerant: bool
) -> None:
    whole = b'{"seq": 7, ' + (b'"versao": NaN, ' if tolerant else b"") + large(count=2 * COUNT)[1:]
    cut = whole[:150_000]
    complete = cut.count(b"}", cut.index(b'"leituras"'))
    assert complete > COUNT
    result = process(processor, cut, size=5_000_000)
    assert result.stored == complete
    assert [answer.payload for answer in result.answers] == [REFUSED]
    assert the_row().detalhe.startswith(f"5000000 bytes; at most 65536; good readings {complete} of")


def cut_payload(**fields: Any) -> bytes:
    """A payload whose fields come before its readings, and which ends in the last of them."""
    head = json.dumps({"timestamp": stamp(), **fields})[:-1]
    body = json.dumps([reading("D01", number, minute=-number) for number in range(COUNT)])
    return f'{head}, "leituras": {body}'.encode()[:-5] + b" " * MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    ("content", "stored_readings", "reason", "seq"),
    [
        (cut_payload(seq=7), COUNT - 1, "mensagem_grande", 7),
        (cut_payload(seq=7, gateway_mac=MAC), COUNT - 1, "mensagem_grande", 7),
        (cut_payload(seq=7, gateway_mac=OTHER_MAC), 0, "mac_divergente", 7),
        (cut_payload(), COUNT - 1, "mensagem_grande", None),
        (cut_payload(seq=7).replace(b'"leituras"', b'"x"'), 0, "mensagem_grande", 7),
        (cut_payload(seq=7).replace(b'"timestamp"', b"timestamp", 1), 0, "mensagem_grande", 7),
        (cut_payload(seq=7).replace(b'"valor": 500', b'"valor": 5,5'), 500, "mensagem_grande", 7),
        (cut_payload(seq=7)[:-1] + b"\xff", COUNT - 1, "mensagem_grande", 7),
        (b'{"seq": 7, "leituras": [], "x": [' + b"1," * 50_000, 0, "mensagem_grande", 7),
        (b'{"seq": 7, "x": ' + b"[" * 70_000, 0, "mensagem_grande", 7),
        (b'{"x": [' + b'"",' * 50_000 + b'""], "leituras": 5, "seq": 7}', 0, "mensagem_grande", 7),
        (b'{"x": "' + b"x" * 70_000 + b'", "leituras": 5, "seq": 7}', 0, "esquema_invalido", 7),
        (
            b'{"seq": 7, "x": ' + b"[" * 950 + b"]" * 950 + b', "leituras": [' + b" " * 70_000,
            0,
            "mensagem_grande",
            7,
        ),
        (b"x" * 70_000, 0, "mensagem_grande", None),
        (b"\xff" * 70_000, 0, "mensagem_grande", None),
        (b"[" + b" " * 70_000, 0, "mensagem_grande", None),
    ],
    ids=range(16),
)
def test_what_can_be_used_of_a_large_message_that_is_broken(
    world: World,
    processor: TelemetryProcessor,
    content: bytes,
    stored_readings: int,
    reason: str,
    seq: int | None,
) -> None:
    result = process(processor, content)
    assert (result.stored, dict(result.rejected)) == (stored_readings, {reason: 1})
    assert [(answer.seq, answer.error) for answer in result.answers] == ([(seq, reason)] if seq else [])


def test_a_large_heartbeat_and_a_large_status_are_refused(
    world: World, processor: TelemetryProcessor
) -> None:
    content = b" " * (MAX_PAYLOAD_BYTES + 1)
    result = processor.process(
        [message(content, f"{PREFIX}/{MAC}/heartbeat"), message(content, f"{PREFIX}/{MAC}/status")]
    )
    assert (dict(result.rejected), result.answers) == ({"mensagem_grande": 2}, [])


def test_processed_again_it_stores_what_is_kept_of_it_and_stays_refused(
    world: World, processor: TelemetryProcessor
) -> None:
    process(processor, large(reading("D99"), timestamp=stamp()))
    before, detail = len(stored()), the_row().detalhe
    LeituraDispositivo.objects.all().delete()
    again = reprocess(MensagemRejeitada.objects.all())
    assert (again.accepted, again.refused) == (0, 1)
    assert 0 < len(stored()) < before
    assert the_row().detalhe == detail
    assert the_row().reprocessada_em is None


def test_a_message_delivered_again_changes_nothing(world: World, processor: TelemetryProcessor) -> None:
    sent = large()
    for redelivered in (False, True):
        processor.process([Message(TOPIC, sent, NOW, redelivered=redelivered)])
    assert (len(stored()), RejeicaoContador.objects.get().total) == (COUNT, 1)
    assert the_row().motivo == "mensagem_grande"


@pytest.mark.once
@pytest.mark.parametrize(
    "body",
    [
        b"1,",
        b"{},",
        b'"",',
        b"[],",
        b'{"a":1},',
        b'"ab",',
        b"NaN,",
        b'{"a":',
        b"[",
        b'{"dispositivo_codigo":"',
    ],
)
@pytest.mark.parametrize("end", [b"", b'1],"leituras":[{"valor":NaN}]}'])
def test_a_large_message_of_many_values_takes_little_memory(body: bytes, end: bytes) -> None:
    content = b'{"leituras":[' * (not end) + b'{"x":[' * bool(end) + body * (1_000_000 // len(body)) + end
    tracemalloc.start()
    with suppress(MessageRefusedError):
        parse_large(content)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 40_000_000


@pytest.mark.once
def test_a_message_of_2000_readings_with_every_field_is_below_the_limit_of_values() -> None:
    entry = reading("D01", 1, nota="x", canal=3, fase="a") | {"timestamp": stamp()}
    text = json.dumps({"leituras": [entry] * 2_000, "x": 1})
    assert text.count(",") + text.count("[") + text.count("{") < MAX_ELEMENTS / 2


def test_a_device_registered_later_gets_its_readings_of_the_part_that_is_kept(
    world: World, processor: TelemetryProcessor
) -> None:
    process(processor, payload(reading("D99"), timestamp=stamp(), seq=7, x="x" * MAX_PAYLOAD_BYTES))
    assert stored() == []
    Dispositivo.objects.create(gateway=world.gateway, codigo="D99")
    assert reprocess(MensagemRejeitada.objects.all()).refused == 1
    assert len(stored()) == 1
