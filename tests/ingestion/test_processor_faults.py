"""A database that fails.

A failure that passes by itself stores nothing and raises; one that a message causes costs only that message.
"""

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
import pytest
from psycopg import Cursor
from pytest_django import Settings

from tds_new.ingestion import payload as parsing
from tds_new.ingestion import preparation
from tds_new.ingestion.payload_raw import REST_KEY
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.models import (
    ContaAtividade,
    LeituraDispositivo,
    MensagemRejeitada,
    MensagemResto,
    RejeicaoContador,
)
from tests.support.ingestion import (
    MAC,
    PREFIX,
    Clock,
    World,
    execute,
    message,
    payload,
    reading,
    rejected,
    stored,
    telemetry,
)


@pytest.fixture
def failing(world: World) -> Iterator[None]:
    """Readings of the value 666 fail with the SQLSTATE in the session's setting ``test.sqlstate``."""
    execute("""
        CREATE FUNCTION test_fail() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF NEW.valor = 666 AND current_setting('test.sqlstate', true) <> '' THEN
                RAISE EXCEPTION 'made by the test' USING ERRCODE = current_setting('test.sqlstate');
            END IF;
            RETURN NEW;
        END $$""")
    execute(
        "CREATE TRIGGER test_fail BEFORE INSERT ON tds_new_leitura_dispositivo "
        "FOR EACH ROW EXECUTE FUNCTION test_fail()"
    )
    yield
    execute("DROP TRIGGER test_fail ON tds_new_leitura_dispositivo")
    execute("DROP FUNCTION test_fail()")


def fail_with(processor: TelemetryProcessor, sqlstate: str) -> None:
    processor._connection.execute("SELECT set_config('test.sqlstate', %s, false)", [sqlstate])


BATCH = [
    telemetry(reading(minute=1)),
    telemetry(reading("D02", 666)),
    message(b"{"),
    message(b"", f"{PREFIX}/{MAC}/heartbeat"),
]


@pytest.mark.parametrize(
    "sqlstate",
    [
     "40001", "40P01", "57014", "55P03", "25006", "25P03", "53100", "53200", "53400", "57P01", "58030",
     "08006", "42P01", "42703", "42501", "XX000",
    ],
)  # fmt: skip
def test_what_is_not_one_rows_fault_raises_and_stores_nothing(
    processor: TelemetryProcessor, failing: None, sqlstate: str
) -> None:
    fail_with(processor, sqlstate)
    with pytest.raises(psycopg.Error) as caught:
        processor.process(BATCH)
    assert caught.value.sqlstate == sqlstate
    assert (stored(), rejected(), RejeicaoContador.objects.count(), ContaAtividade.objects.count()) == (
        [],
        [],
        0,
        0,
    )
    fail_with(processor, "")
    assert processor.process(BATCH).stored == 2
    assert rejected() == [("json_invalido", None)]


def test_a_batch_whose_commit_was_not_answered_is_rejected_once(
    processor: TelemetryProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    transaction = processor._connection.transaction

    @contextmanager
    def unanswered(*args: Any, **kwargs: Any) -> Iterator[Any]:
        with transaction(*args, **kwargs) as inner:
            yield inner
        raise psycopg.OperationalError("the connection was lost")

    monkeypatch.setattr(processor._connection, "transaction", unanswered)
    with pytest.raises(psycopg.OperationalError):
        processor.process([message(b"{")])
    monkeypatch.undo()
    processor.process([message(b"{")])
    assert rejected() == [("json_invalido", None)]
    assert RejeicaoContador.objects.get().total == 1
    processor.process([message(b"{")])  # another one like it, sent again
    assert rejected() == [("json_invalido", None)] * 2


@pytest.mark.parametrize("sqlstate", ["22003", "22P02", "23502", "23514", "54000", "23503"])
def test_a_message_that_the_database_refuses_costs_only_itself(
    processor: TelemetryProcessor, failing: None, sqlstate: str
) -> None:
    fail_with(processor, sqlstate)
    batch = [
        telemetry(reading(minute=number, valor=666 if number == 5 else number), timestamp="x")
        for number in range(11)
    ]
    result = processor.process([*batch, message(b"{")])
    assert [minute for _, minute, _ in stored()] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10]
    row = MensagemRejeitada.objects.get(motivo="esquema_invalido")
    assert bytes(row.payload) == batch[5].payload
    assert "made by the test" in row.detalhe
    assert (result.messages, result.stored, dict(result.rejected)) == (
        12,
        10,
        {"esquema_invalido": 1, "json_invalido": 1},
    )
    assert LeituraDispositivo.objects.filter(payload_raw__isnull=True).count() == 0


@pytest.mark.parametrize("error", [ValueError, KeyError, RecursionError, UnicodeEncodeError])
def test_a_fault_of_this_program_costs_only_the_message_that_shows_it(
    world: World, processor: TelemetryProcessor, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    original = preparation.parse_telemetry

    def parse(content: bytes) -> Any:
        if b"poison" in content:
            raise (
                UnicodeEncodeError("utf-8", "x", 0, 1, "made by the test")
                if error is UnicodeEncodeError
                else error("made by the test")
            )
        return original(content)

    monkeypatch.setattr(preparation, "parse_telemetry", parse)
    result = processor.process(
        [telemetry(reading(minute=1)), telemetry(reading(), poison=1, seq=5), telemetry(reading(minute=2))]
    )
    assert (result.stored, rejected()) == (2, [("esquema_invalido", None)])
    assert [answer.payload for answer in result.answers] == [b'{"seq": 5, "erro": "esquema_invalido"}']


@pytest.mark.parametrize("error", [MemoryError, OSError])
def test_a_machine_in_trouble_is_no_messages_fault(
    world: World, processor: TelemetryProcessor, monkeypatch: pytest.MonkeyPatch, error: type[Exception]
) -> None:
    monkeypatch.setattr(preparation, "parse_telemetry", lambda _: (_ for _ in ()).throw(error()))
    with pytest.raises(error):
        processor.process([telemetry(reading())])
    assert rejected() == []


def test_a_read_only_database_stores_nothing(world: World, processor: TelemetryProcessor) -> None:
    processor._connection.execute("SET default_transaction_read_only = on")
    with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
        processor.process(BATCH)
    processor._connection.execute("SET default_transaction_read_only = off")
    assert processor.process(BATCH).stored == 2


def test_a_locked_table_is_waited_for_by_the_caller(world: World, processor: TelemetryProcessor) -> None:
    processor._connection.execute("SET lock_timeout = '50ms'")
    with psycopg.connect(
        processor._connection.info.dsn, password=processor._connection.info.password
    ) as other:
        other.execute("LOCK TABLE tds_new_leitura_dispositivo")
        with pytest.raises(psycopg.errors.LockNotAvailable):
            processor.process(BATCH)
    assert processor.process(BATCH).stored == 2


def test_a_lost_session_raises_and_another_goes_on(world: World, processor: TelemetryProcessor) -> None:
    execute("SELECT pg_terminate_backend(%s)", processor._connection.info.backend_pid)
    with pytest.raises(psycopg.OperationalError):
        processor.process(BATCH)
    with psycopg.connect(
        processor._connection.info.dsn, password=processor._connection.info.password, autocommit=True
    ) as other:
        processor.use(other)
        assert processor.process(BATCH).stored == 2


# --- payload_raw --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("extra", "kept"),
    [
        ('"a\\u0000b"', "a\ufffdb"), ('"\\ud800"', "\ufffd"), ("NaN", "NaN"),
        ('"\\u00b3\\ud83d\\ude00"', "³😀"), ("1e30", 10**30),
        ('{"a":[1,null,"<b>\\\\\\n\\t"]}', {"a": [1, None, "<b>\\\n\t"]}),
    ],
)  # fmt: skip
def test_extra_fields_are_kept_as_jsonb_can_hold_them(
    processor: TelemetryProcessor, extra: str, kept: object
) -> None:
    one = json.dumps(reading())
    sent = f'{{"x": {extra}, "leituras": [{one}, {one.replace("D01", "D02")}]}}'.encode()
    processor.process([message(sent)])
    assert rejected() == []
    for row in LeituraDispositivo.objects.select_related("dispositivo"):
        assert row.payload_raw is not None
        assert row.payload_raw["x"] == kept
        assert [r["dispositivo_codigo"] for r in row.payload_raw["leituras"]] == [row.dispositivo.codigo]


@pytest.mark.parametrize("extra", ["1e400000", "[" * 900 + "]" * 900, "9" * 60_000])
def test_what_jsonb_cannot_hold_costs_no_reading(processor: TelemetryProcessor, extra: str) -> None:
    sent = f'{{"x": {extra}, "leituras": [{json.dumps(reading())}]}}'.encode()
    processor.process([telemetry(reading(minute=1)), message(sent), telemetry(reading(minute=2))])
    assert [minute for _, minute, _ in stored()] == [0, 1, 2]
    assert LeituraDispositivo.objects.filter(payload_raw__isnull=True).count() <= 1


def test_a_number_that_jsonb_cannot_hold_is_kept_as_text_at_once(
    processor: TelemetryProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Halving a batch for one message is dear: whoever may send one may send thousands."""
    monkeypatch.delattr(TelemetryProcessor, "_isolate")
    for minute, literal in enumerate(("1e400000", "2.5E-99999", "7" * 60_000, "0." + "0" * 50_000 + "1")):
        sent = payload(reading(minute=minute)).replace(
            b'{"leituras"', b'{"x": %s, "leituras"' % literal.encode()
        )
        processor.process([message(sent)])
        raw = LeituraDispositivo.objects.get(time=reading(minute=minute)["timestamp"]).payload_raw or {}
        if fingerprint := raw.get(REST_KEY):
            raw |= MensagemResto.objects.get(impressao=fingerprint).campos
        assert raw["x"] == literal


def test_only_the_payload_that_cannot_be_kept_is_left_out(
    processor: TelemetryProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parsing, "_HUGE_NUMBER", re.compile("(?!)"))  # as if one were overlooked
    sent = payload(reading()).replace(b'{"leituras"', b'{"x": 1e400000, "leituras"')
    processor.process([telemetry(reading(minute=number)) for number in range(1, 8)] + [message(sent)])
    assert LeituraDispositivo.objects.get(payload_raw__isnull=True).time.isoformat() == reading()["timestamp"]
    assert LeituraDispositivo.objects.count() == 8


def test_payloads_are_not_kept_where_the_setting_says_so(
    processor: TelemetryProcessor, settings: Settings
) -> None:
    settings.TDS_STORE_PAYLOAD_RAW = False
    TelemetryProcessor(processor._connection).process([telemetry(reading())])
    assert LeituraDispositivo.objects.get().payload_raw is None


# --- cost ---------------------------------------------------------------------------------------------------


class CountingCursor(Cursor[Any]):
    """A cursor that counts statements."""

    count = 0

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        CountingCursor.count += 1
        return super().execute(*args, **kwargs)

    def copy(self, *args: Any, **kwargs: Any) -> Any:
        CountingCursor.count += 1
        return super().copy(*args, **kwargs)


def test_the_number_of_statements_does_not_depend_on_the_size_of_a_batch(
    processor: TelemetryProcessor, clock: Clock
) -> None:
    processor._connection.cursor_factory = CountingCursor
    counts = []
    for size in (2, 300):
        clock.time += 1
        batch = [
            telemetry(reading(minute=-size * 3 - n), reading("D02", minute=-n), reading("D99"))
            for n in range(size)
        ]
        batch += [*batch, telemetry(reading("D02", "77")), telemetry(reading("D02", "78"))]
        CountingCursor.count = 0
        assert processor.process(batch).messages == 2 * size + 2
        counts.append(CountingCursor.count)
    assert counts[0] == counts[1]
    assert counts[0] <= 12
