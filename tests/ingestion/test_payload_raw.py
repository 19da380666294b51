"""What each reading keeps of its message, and what is kept of the message once."""

import json
import re
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from django.conf import settings as django_settings
from django.db import connection
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest_django import Settings

from tds_new.ingestion.lossless import load_json, storable
from tds_new.ingestion.message import Message
from tds_new.ingestion.payload_raw import MAX_COPY_BYTES, REST_KEY, TAIL, split_message
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.models import Dispositivo, Gateway, LeituraDispositivo, MensagemResto
from tests.support.ingestion import NOW, OTHER_MAC, World, execute, message, reading, stamp, stored, telemetry

PREFIX = django_settings.MQTT_TOPIC_PREFIX
TIMES_MESSAGE = 8  # a message is stored in so many times its own bytes at the most


def blob(size: int, seed: int = 0) -> str:
    """Text of ``size`` characters that compression makes little of."""
    return Random(seed).randbytes(size).hex()[:size]


def rows(statement: str, *parameters: Any) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return cursor.fetchall()


def restored(row: LeituraDispositivo) -> dict[str, Any]:
    """The message of a reading, put together of what is kept."""
    assert row.payload_raw is not None
    kept = dict(row.payload_raw)
    fingerprint = kept.pop(REST_KEY, None)
    if fingerprint is not None:
        [rest] = MensagemResto.objects.filter(gateway=row.gateway_id, impressao=fingerprint)
        assert not kept.keys() & rest.campos.keys()
        kept |= rest.campos
    return kept


def dangling() -> list[Any]:
    """References without a rest, and rests to which no reading refers."""
    return rows(
        """
        SELECT * FROM (
            SELECT DISTINCT gateway_id, (payload_raw ->> %s)::uuid AS impressao
            FROM tds_new_leitura_dispositivo WHERE payload_raw ? %s) reference
        FULL JOIN tds_new_mensagem_resto r USING (gateway_id, impressao)
        WHERE reference.gateway_id IS NULL OR r.gateway_id IS NULL
        """,
        REST_KEY,
        REST_KEY,
    )


# --- the form -----------------------------------------------------------------------------------------------

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=30) | st.integers(0, 3000).map(blob),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
NAMES = st.text(max_size=8) | st.sampled_from(["timestamp", "gateway_mac", "seq", REST_KEY, "extra"])
ENTRIES = st.fixed_dictionaries(
    {"dispositivo_codigo": st.text(min_size=1, max_size=3), "valor": st.integers()},
    optional={"unidade": st.text(max_size=4), "extra": VALUES, REST_KEY: VALUES},
)


@pytest.mark.once
@settings(max_examples=300)
@given(
    st.dictionaries(NAMES.filter(lambda name: name != "leituras"), VALUES, max_size=8),
    st.lists(ENTRIES, min_size=1, max_size=60),
    st.booleans(),
)
def test_every_field_of_the_sender_is_kept_in_a_small_multiple_of_the_message(
    fields: dict[str, Any], entries: list[Any], indented: bool
) -> None:
    document = {**fields, "leituras": entries}
    text = storable(load_json(json.dumps(document)))
    wanted = json.loads(text)
    found = split_message(json.dumps(wanted, indent=1) if indented else text)
    rest = json.loads(found.rest.fields) if found.rest else {}
    size = len(found.rest.fields.encode()) if found.rest else 0
    assert len(found.entries) == len(entries)
    for index, entry in enumerate(found.entries):
        payload_raw = found.head + entry + TAIL
        size += len(payload_raw.encode())
        kept = json.loads(payload_raw)
        assert len(found.head.encode()) <= MAX_COPY_BYTES + 100
        reference = kept.pop(REST_KEY, None)
        assert reference == (str(found.rest.fingerprint) if found.rest else None)
        assert not kept.keys() & rest.keys()
        assert kept | rest == wanted | {"leituras": [wanted["leituras"][index]]}
    assert size <= TIMES_MESSAGE * len(text.encode())


@pytest.mark.once
@pytest.mark.parametrize("readings", [1, 8, 250, 1600])
def test_the_fields_of_the_contract_are_with_each_reading(readings: int) -> None:
    fields = {"gateway_mac": "aa:bb:cc:dd:ee:ff", "timestamp": "2026-02-18T14:30:00Z", "seq": 123_456}
    entry = {"dispositivo_codigo": "D", "valor": 1}
    found = split_message(json.dumps({**fields, "leituras": [entry] * readings}, separators=(",", ":")))
    assert found.rest is None
    assert json.loads(found.head + found.entries[-1] + TAIL) == fields | {"leituras": [entry]}


@pytest.mark.once
def test_small_fields_stay_where_large_ones_go() -> None:
    small = {"timestamp": "2026-02-18T14:30:00Z", "versao": 2, "local": "térreo"}
    large = {"log": blob(2000), "seq": int("9" * 1100)}
    document = {**large, **small, "leituras": [{"dispositivo_codigo": "D", "valor": 1}]}
    found = split_message(json.dumps(document))
    assert found.rest is not None
    assert json.loads(found.rest.fields) == large
    kept = json.loads(found.head + found.entries[0] + TAIL)
    assert kept == small | {"leituras": document["leituras"], REST_KEY: str(found.rest.fingerprint)}


# --- the tables ---------------------------------------------------------------------------------------------


def many(world: World, number: int) -> list[str]:
    """Register devices; return their codes."""
    codes = [f"M{n:04}" for n in range(number)]
    Dispositivo.objects.bulk_create(
        Dispositivo(conta=world.conta, gateway=world.gateway, codigo=code, tipo_leitura="INSTANTANEA")
        for code in codes
    )
    return codes


@pytest.mark.parametrize(
    ("readings", "more"),
    [
        (250, {"log": blob(43_000)}),
        (1200, {"log": blob(900)}),
        (1000, {f"n{number}": number for number in range(80)}),
        (600, {REST_KEY: blob(1000), "log": blob(20_000)}),
        (250, {"log": blob(300_000)}),
    ],
)
def test_a_hostile_message_is_stored_in_a_small_multiple_of_its_size(
    world: World, processor: TelemetryProcessor, readings: int, more: dict[str, Any]
) -> None:
    entries = [{"dispositivo_codigo": code, "valor": 1.5} for code in many(world, readings)]
    sent = telemetry(*entries, timestamp=stamp(), **more)
    assert processor.process([sent]).stored == readings
    [(texts, columns)] = rows(
        "SELECT sum(octet_length(payload_raw::text)), sum(pg_column_size(payload_raw)) "
        "FROM tds_new_leitura_dispositivo"
    )
    [(rest_texts, rest_columns)] = rows(
        "SELECT sum(octet_length(campos::text)), sum(pg_column_size(campos)) FROM tds_new_mensagem_resto"
    )
    assert texts + rest_texts <= TIMES_MESSAGE * len(sent.payload)
    # jsonb takes more than text for small numbers.
    assert columns + rest_columns <= 2 * TIMES_MESSAGE * len(sent.payload)
    whole = json.loads(sent.payload)
    for number, row in enumerate(LeituraDispositivo.objects.order_by("dispositivo_id")[:3]):
        assert restored(row) == whole | {"leituras": [entries[number]]}


def test_other_fields_up_to_1024_bytes_are_with_the_reading(
    world: World, processor: TelemetryProcessor
) -> None:
    sent = telemetry(reading(), log=blob(990), versao=2)
    processor.process([sent])
    assert LeituraDispositivo.objects.get().payload_raw == json.loads(sent.payload)
    assert not MensagemResto.objects.exists()


def test_a_message_that_comes_again_stores_nothing_more(world: World, processor: TelemetryProcessor) -> None:
    first = telemetry(reading(), reading("D02"), log=blob(2000))
    processor.process([first])
    [rest] = MensagemResto.objects.all()
    assert (rest.gateway, rest.dia, rest.campos) == (world.gateway, NOW.date(), {"log": blob(2000)})
    processor.process([first, first, message(first.payload, retain=True)])
    for seed in range(1, 30):  # the same readings with other fields, and with other values
        processor.process([telemetry(reading(), reading("D02"), log=blob(2000, seed))])
        processor.process([telemetry(reading(valor=7), reading("D02", valor=8), log=blob(2000, -seed))])
    assert MensagemResto.objects.get() == rest
    assert dangling() == []


def test_only_messages_with_a_new_reading_leave_a_rest(world: World, processor: TelemetryProcessor) -> None:
    processor.process([telemetry(reading(), log=blob(2000))])
    result = processor.process(
        [
            telemetry(reading(), log=blob(2000, 1)),  # a duplicate
            telemetry(reading("D99"), log=blob(2000, 2)),  # rejected
            telemetry(reading(), reading(minute=1), log=blob(2000, 3)),  # one of two is new
            telemetry(reading(minute=2), log="short"),  # new, without a rest
            telemetry(reading(minute=2), log=blob(2000, 4)),  # a duplicate of that one
            telemetry(reading(minute=3), log=blob(2000, 5)),
        ]
    )
    assert (result.stored, result.duplicates) == (3, 3)
    kept = {rest.campos["log"] for rest in MensagemResto.objects.all()}
    assert kept == {blob(2000), blob(2000, 3), blob(2000, 5)}
    assert dangling() == []


def test_equal_rests_of_a_gateway_are_one_row_a_day(world: World, processor: TelemetryProcessor) -> None:
    other = Gateway.objects.create(conta=world.conta, codigo="GW-B", mac=OTHER_MAC)
    Dispositivo.objects.create(gateway=other, codigo="D01", unidade="kWh")
    batch = [telemetry(reading(minute=-minute), log=blob(2000)) for minute in (0, 1, 24 * 60, 48 * 60)]
    batch.append(telemetry(reading(), log=blob(2000), topic=f"{PREFIX}/{OTHER_MAC}/telemetry"))
    for one in (batch[:1], batch, batch):
        processor.process(one)
    days = {(world.gateway.pk, (NOW - timedelta(minutes=m)).date()) for m in (0, 1, 24 * 60, 48 * 60)}
    found = MensagemResto.objects.values_list("gateway_id", "dia")
    assert sorted(found) == sorted(days | {(other.pk, NOW.date())})
    assert len(stored()) == 5


@pytest.mark.parametrize("extra", ["1e400000", "9" * 60_000, "[" * 900 + "]" * 900])
def test_a_rest_that_jsonb_cannot_hold_costs_no_reading(processor: TelemetryProcessor, extra: str) -> None:
    sent = f'{{"x": [{extra}, "{"z" * 3000}"], "leituras": [{json.dumps(reading())}]}}'.encode()
    processor.process([telemetry(reading(minute=1)), message(sent), telemetry(reading(minute=2))])
    assert [minute for _, minute, _ in stored()] == [0, 1, 2]
    assert dangling() == []


def test_no_rest_is_kept_where_payloads_are_not(processor: TelemetryProcessor, settings: Settings) -> None:
    settings.TDS_STORE_PAYLOAD_RAW = False
    TelemetryProcessor(processor._connection).process([telemetry(reading(), log=blob(2000))])
    assert LeituraDispositivo.objects.get().payload_raw is None
    assert not MensagemResto.objects.exists()


def test_a_gateway_without_readings_is_deleted_with_its_rests(
    world: World, processor: TelemetryProcessor
) -> None:
    processor.process([telemetry(reading(), log=blob(2000))])
    execute("DELETE FROM tds_new_leitura_dispositivo")
    execute("DELETE FROM tds_new_consumo_pendente")
    Dispositivo.objects.filter(gateway=world.gateway).delete()
    world.gateway.delete()
    assert not MensagemResto.objects.exists()


def test_the_documented_query_gives_the_message_of_a_reading(
    world: World, processor: TelemetryProcessor
) -> None:
    page = (django_settings.BASE_DIR / "docs" / "data-model.md").read_text(encoding="utf-8")
    found = re.search(r"```sql\n(SELECT [^`]*tds_new_mensagem_resto[^`]*)```", page)
    assert found
    sent: list[Message] = [
        telemetry(reading(), log=blob(2000), versao=2),
        telemetry(reading(minute=1), versao=3),
        telemetry(reading(minute=-24 * 60), log=blob(2000), versao=2),
    ]
    processor.process(sent)
    answers = [row[-1] for row in rows(found[1])]
    assert sorted(map(json.loads, answers), key=str) == sorted(
        (json.loads(one.payload) for one in sent), key=str
    )
