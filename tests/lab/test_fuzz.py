"""Fuzzing: a slice of it, its oracle, and pipelines wrong on purpose."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from decimal import ROUND_HALF_UP, Context, Decimal
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from lab.fuzz.cases import Case, good_case, make_case
from lab.fuzz.comparison import Totals
from lab.fuzz.database import DatabaseChecker
from lab.fuzz.fleet import make_fleet
from lab.fuzz.hypothesis_cases import check_drawn
from lab.fuzz.memory import MemoryChecker
from lab.fuzz.oracle import Expectation, expect
from lab.fuzz.run import Fuzzer, markdown
from lab.management.commands import fuzz_ingest
from tds_new.ingestion import (
    lossless,
    payload,
    payload_raw,
    preparation,
    rejected,
    store,
    telemetry_processor,
)
from tds_new.ingestion.payload import Telemetry
from tds_new.ingestion.refusal import MessageRefusedError, Reason
from tds_new.ingestion.transport.routing import Router
from tds_new.storage.session import connect

PREFIX = "tds_new/devices"
FLEET = make_fleet(0)
MAC = FLEET.gateways[0].mac
TOPIC = f"{PREFIX}/{MAC}/telemetry".encode()
# One seed for every change, so that a red run is the change's doing; other seeds by FUZZ_SEED and the
# command.
SEED = int(os.environ.get("FUZZ_SEED") or 20261121)


def test_a_slice_goes_through_whole(transactional_db: None, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(f"\n[OK] fuzz seed {SEED} (FUZZ_SEED={SEED} repeats it)")
    result = Fuzzer(SEED, lambda: connect("fuzz"), print, check_drawn).run(10_000)
    assert result.passed, markdown(result)
    assert result.complete
    assert result.cases == 10_000
    assert result.totals.cases["in the database"] > 1_000
    assert result.totals.unchecked < 200
    assert result.sent_again
    # A slice without the reasons and kinds that it is for would pass too.
    # No gateway has a limit here.
    assert result.totals.reasons.keys() == {reason.value for reason in Reason} - {"limite_excedido"}
    assert min(result.duplicates, result.conflicts) > 10


# --- the cases and the oracle are pure ----------------------------------------------------------------------


@pytest.mark.once
def test_one_seed_gives_the_same_cases_in_any_order() -> None:
    cases = [make_case(7, number, FLEET, PREFIX) for number in range(300)]
    assert [make_case(7, number, FLEET, PREFIX) for number in reversed(range(300))] == cases[::-1]
    assert [make_case(8, number, FLEET, PREFIX) for number in range(300)] != cases
    assert len({case.payload for case in cases}) > 250


def expectation(leitura: str, more: str = "", topic: bytes = TOPIC) -> Expectation:
    return expect(
        topic, f'{{"timestamp":"2026-02-18T14:30:00Z","leituras":[{leitura}]{more}}}'.encode(), FLEET, PREFIX
    )


@pytest.mark.once
@pytest.mark.parametrize(
    ("literal", "valor"),
    [
        ("1.00005", "1.0000"),
        ("1.00015", "1.0002"),
        ("-0.00005", "0"),
        ("-0", "0"),
        ('"+007.5"', "7.5"),
        ("1e-400", "0"),
        ("2.5e3", "2500"),
        ("99999999999.99994999", "99999999999.9999"),
        ("99999999999.99995", None),
        ("1e11", None),
        ("NaN", None),
        ("1e400", None),
        ('"12,5"', None),
        ('"1_0"', None),
        ('"٣"', None),
        ("true", None),
        ("null", None),
        ('" 5"', None),
        ("9" * 30, None),
    ],
)
def test_the_oracle_knows_values(literal: str, valor: str | None) -> None:
    (expected,) = expectation(f'{{"dispositivo_codigo":"D01","valor":{literal}}}').readings
    assert expected.faults == (frozenset() if valor else {"valor_invalido"})
    assert valor is None or expected.valor == Decimal(valor)


@pytest.mark.once
@pytest.mark.parametrize(
    ("time", "fault"),
    [
        ("2026-02-18T14:30:00-03:00", ""),
        ("2026-03-02T12:05:00Z", ""),
        ("2026-03-02T12:05:00.000001Z", "timestamp_futuro"),
        ("2026-01-01T12:00:00Z", ""),
        ("2026-01-01T11:59:59.999999Z", "timestamp_antigo"),
        ("0001-01-01T00:00:00+14:00", "timestamp_antigo"),
        ("2026-02-18T14:30:00", "timestamp_invalido"),
        ("2026-02-18T23:59:60Z", "timestamp_invalido"),
        ("2026-02-30T00:00:00Z", "timestamp_invalido"),
        ("2026-02-18T14:30:00+05:70", "timestamp_invalido"),
    ],
)
def test_the_oracle_knows_times(time: str, fault: str) -> None:
    (expected,) = expectation(f'{{"dispositivo_codigo":"D01","valor":1,"timestamp":"{time}"}}').readings
    assert expected.faults == (frozenset({fault}) if fault else frozenset())


@pytest.mark.once
def test_the_oracle_knows_whole_messages() -> None:
    good = '{"dispositivo_codigo":"D01","valor":1}'
    assert expectation(good, ',"seq":5') == expectation(good)._replace(seq=5)
    assert expectation(good, ',"seq":5,"seq":5').refused == {"esquema_invalido"}
    assert expectation(good, ',"gateway_mac":"0a:00"').refused == {"mac_divergente"}
    assert expectation("", topic=f"{PREFIX}/{FLEET.stranger}/telemetry".encode()).refused == {
        "gateway_desconhecido"
    }
    assert expectation("", topic=f"{PREFIX}/{FLEET.gateways[2].mac}/telemetry".encode()).refused == {
        "gateway_inativo"
    }
    assert expectation(
        "", topic=f"{PREFIX}/{MAC.replace(':', '-').upper()}/telemetry".encode()
    ) == expectation("")
    assert expectation("", topic=f"$SYS/{PREFIX}/{MAC}/telemetry".encode()).refused == {"topico_invalido"}
    assert expect(TOPIC, b"\xff", FLEET, PREFIX).refused == {"json_invalido"}
    assert expect(TOPIC, b"x" * 65_537, FLEET, PREFIX).refused >= {"mensagem_grande"}
    assert not expect(TOPIC, b"[" * 50_000, FLEET, PREFIX).checkable


# --- pipelines that are wrong on purpose --------------------------------------------------------------------

Patch = pytest.MonkeyPatch


def _parsing(patch: Patch, change: Callable[[Telemetry], Telemetry]) -> None:
    right = preparation.parse_telemetry
    patch.setattr(preparation, "parse_telemetry", lambda content: change(right(content)))


def _bad_readings_cost_their_message(patch: Patch) -> None:
    def change(telemetry: Telemetry) -> Telemetry:
        if telemetry.refusals:
            raise MessageRefusedError(telemetry.refusals[0].reason, "one is bad")
        return telemetry

    _parsing(patch, change)


def _bad_readings_are_forgotten(patch: Patch) -> None:
    _parsing(
        patch,
        lambda telemetry: Telemetry(
            telemetry.readings, [], telemetry.gateway_mac, telemetry.seq, telemetry.text
        ),
    )


def _values_become_floats(patch: Patch) -> None:
    right = payload._valor
    patch.setattr(
        payload,
        "_valor",
        lambda literal, form: Decimal(repr(float(right(literal, form)))).quantize(Decimal("0.001")),
    )


def _bytes_are_decoded_outside(patch: Patch) -> None:
    right = preparation.parse_telemetry
    patch.setattr(preparation, "parse_telemetry", lambda content: right(content.decode().encode()))


def _no_dashes_in_topics(patch: Patch) -> None:
    right = preparation.parse_topic
    patch.setattr(
        preparation, "parse_topic", lambda topic, prefix: None if "-" in topic else right(topic, prefix)
    )


def _topics_must_be_utf8(patch: Patch) -> None:
    right = Router._route
    patch.setattr(Router, "_route", lambda self, raw: right(self, raw.decode().encode()))


def _nobody_compares_macs(patch: Patch) -> None:
    patch.setattr(preparation, "check_gateway_mac", lambda *_: None)


def _the_future_is_stored(patch: Patch) -> None:
    right = preparation._refusal_of

    def refusal_of(*args: Any) -> Any:
        refusal = right(*args)
        return None if refusal and refusal.reason is Reason.TIMESTAMP_FUTURO else refusal

    patch.setattr(preparation, "_refusal_of", refusal_of)


def _everything_is_answered(patch: Patch) -> None:
    patch.setattr(preparation, "NOT_ANSWERED", frozenset())


def _whole_messages_with_each_reading(patch: Patch) -> None:
    patch.setattr(payload_raw, "_room", lambda *_: 1_000_000)


IN_MEMORY: dict[str, Callable[[Patch], None]] = {
    "bad readings cost their message": _bad_readings_cost_their_message,
    "bad readings are forgotten": _bad_readings_are_forgotten,
    "values become floats": _values_become_floats,
    "half up": lambda patch: patch.setattr(payload, "_CONTEXT", Context(prec=40, rounding=ROUND_HALF_UP)),
    "the last of two keys wins": lambda patch: patch.setattr(payload, "_READING_KEYS", frozenset()),
    "bytes are decoded outside": _bytes_are_decoded_outside,
    "surrogates stay": lambda patch: patch.setattr(lossless, "clean_text", lambda text: text),
    "no dashes in topics": _no_dashes_in_topics,
    "topics must be UTF-8": _topics_must_be_utf8,
    "nobody compares MACs": _nobody_compares_macs,
    "the future is stored": _the_future_is_stored,
    "everything is answered": _everything_is_answered,
    "whole messages with each reading": _whole_messages_with_each_reading,
    "text for COPY as it is": lambda patch: patch.setattr(store, "_escaped", lambda text: text),
}

OVERWRITE = "ON CONFLICT (dispositivo_id, time) DO UPDATE SET valor = excluded.valor"
COUNT_NOTHING = "SELECT %(gateways)s, %(reasons)s, %(totals)s, %(first)s, %(last)s"


def _inserting(old: str, new: str) -> Callable[[Patch], None]:
    assert old in store.INSERT_READINGS
    return lambda patch: patch.setattr(store, "INSERT_READINGS", store.INSERT_READINGS.replace(old, new))


def _another_readings_message(patch: Patch) -> None:
    def split(text: str) -> payload_raw.RawMessage:
        right = payload_raw.split_message(text)
        return payload_raw.RawMessage(right.head, right.entries[:1] * len(right.entries), right.rest)

    patch.setattr(store, "split_message", split)


IN_DATABASE: dict[str, Callable[[Patch], None]] = {
    "the last value wins": lambda patch: patch.setattr(store, "SKIP_KNOWN", OVERWRITE),
    "conflicts are forgotten": lambda patch: patch.setattr(telemetry_processor, "_conflicts", lambda *_: []),
    "nothing is rejected": lambda patch: patch.setattr(rejected, "insert_rejected", lambda *_: None),
    "rejects are not counted": lambda patch: patch.setattr(rejected, "COUNT_REJECTED", COUNT_NOTHING),
    "delivered again, rejected again": lambda patch: patch.setattr(
        rejected, "FIND_REJECTED", "SELECT 0 WHERE %s IS NULL"
    ),
    "another reading's raw message": _another_readings_message,
    "rests are forgotten": lambda patch: patch.setattr(store, "_insert_rests", lambda *_: None),
    "one tenant's for all": _inserting(
        "d.conta_id, d.gateway_id, d.id, s.valor",
        "(SELECT min(id) FROM tds_new_conta), d.gateway_id, d.id, s.valor",
    ),
    "NUL stays": lambda patch: patch.setattr(lossless, "clean_text", lambda text: text),
}


@pytest.fixture
def memory() -> Iterator[MemoryChecker]:
    made = MemoryChecker(FLEET, PREFIX, Totals())
    yield made
    made.close()


def check_in_memory(memory: MemoryChecker, cases: int) -> None:
    for start in range(0, cases, 100):
        memory.run([make_case(SEED, number, FLEET, PREFIX) for number in range(start, start + 100)])
        if memory.totals.failures:
            return


@pytest.mark.once
@pytest.mark.parametrize("name", sorted(IN_MEMORY))
def test_a_wrong_pipeline_is_caught(name: str, monkeypatch: Patch, memory: MemoryChecker) -> None:
    IN_MEMORY[name](monkeypatch)
    check_in_memory(memory, 5_000)
    assert memory.totals.failures
    assert f"case {memory.totals.failures[0].case.number} " in str(memory.totals.failures[0])


@pytest.mark.once
@pytest.mark.parametrize("name", sorted(IN_DATABASE))
def test_a_wrong_store_is_caught(
    name: str, monkeypatch: Patch, transactional_db: None, settings: Any
) -> None:
    IN_DATABASE[name](monkeypatch)
    totals = Totals()
    with connect("fuzz") as session, connect("looking") as looking:
        stored = DatabaseChecker(
            telemetry_processor.TelemetryProcessor(session),
            looking,
            PREFIX,
            totals,
            keep=settings.TDS_REJECTED_KEEP,
        )
        for number in range(5):
            if not totals.failures:
                stored.run(SEED, range(number * 200, number * 200 + 200), number)
        stored.close()
    assert totals.failures


@pytest.mark.once
def test_a_case_that_goes_wrong_is_shrunk(monkeypatch: Patch, memory: MemoryChecker) -> None:
    _nobody_compares_macs(monkeypatch)
    filling = '{"dispositivo_codigo":"D01","valor":1},' * 50
    case = Case(4, "made", TOPIC, f'{{"leituras":[{filling}{{}}],"gateway_mac":"x"}}'.encode())
    memory.run([case])
    (failure,) = memory.totals.failures
    assert failure.case == case
    assert len(failure.payload) < 100 < len(case.payload)
    assert memory.problems_of(case._replace(payload=failure.payload))


@pytest.mark.once
def test_what_hypothesis_draws_is_judged_and_shrunk(monkeypatch: Patch, memory: MemoryChecker) -> None:
    check_drawn(memory, SEED, 100)
    assert not memory.totals.failures
    assert memory.totals.kinds["drawn"] == 100
    _bad_readings_are_forgotten(monkeypatch)
    check_drawn(memory, SEED, 500)
    assert [failure.path for failure in memory.totals.failures] == ["drawn by hypothesis"]


@pytest.mark.once
def test_the_good_messages_are_good(memory: MemoryChecker) -> None:
    for number in (0, 1, 86_399, 2_000_000):
        case = good_case(number, FLEET, PREFIX)
        assert memory.problems_of(case) == []
        assert [expected.faults for expected in expect(case.topic, case.payload, FLEET, PREFIX).readings] == [
            frozenset()
        ] * 3


# --- the command --------------------------------------------------------------------------------------------


@pytest.mark.once
def test_the_command_says_what_it_found(monkeypatch: Patch) -> None:
    monkeypatch.setitem(
        sys.modules, "lab.fuzz.hypothesis_cases", None
    )  # as where hypothesis is not installed
    said, warned = StringIO(), StringIO()
    call_command("fuzz_ingest", cases=600, seed=3, database="plain", stdout=said, stderr=warned)
    assert "| cases | 600 |" in said.getvalue()
    assert "| failures | 0 |" in said.getvalue()
    assert warned.getvalue().count("[WARN] hypothesis is not installed") == 1


@pytest.mark.once
def test_the_command_ends_with_1_where_anything_went_wrong(
    transactional_db: None, monkeypatch: Patch, tmp_path: Path
) -> None:
    server = SimpleNamespace(url=lambda: "")
    monkeypatch.setattr(fuzz_ingest, "DatabaseEnvironment", lambda *_, **__: nullcontext(server))
    monkeypatch.setattr(fuzz_ingest, "connect_to", lambda *_: connect("fuzz"))
    _nobody_compares_macs(monkeypatch)
    with pytest.raises(SystemExit, match="1"):
        call_command(
            "fuzz_ingest",
            cases=600,
            seed=3,
            output=tmp_path / "fuzz.md",
            stdout=StringIO(),
            stderr=StringIO(),
        )
    assert "[ERROR] seed 3: case " in (tmp_path / "fuzz.md").read_text(encoding="utf-8")


@pytest.mark.once
def test_the_time_limit_ends_a_run_and_is_said(transactional_db: None) -> None:
    result = Fuzzer(SEED, lambda: connect("fuzz"), print).run(1_000_000, limit=0)
    assert not result.complete
    assert "(ended early)" in markdown(result)


@pytest.mark.once
@pytest.mark.parametrize("wrong", [{"cases": 0}, {"seed": -1}])
def test_nonsense_is_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(CommandError):
        call_command("fuzz_ingest", **wrong)
