"""Whole payloads: which are refused and why, the ``seq`` to answer, the gateway's name, heartbeats."""

import tracemalloc
from contextlib import suppress
from typing import Any

import pytest

from tds_new.ingestion import payload as parsing
from tds_new.ingestion.payload import (
    MAX_PAYLOAD_BYTES,
    MAX_READINGS,
    Telemetry,
    check_gateway_mac,
    parse_object,
    parse_telemetry,
    sequence_of,
)
from tds_new.ingestion.refusal import MAX_DESCRIBED, MessageRefusedError, Reason
from tests.ingestion.test_payload import GOOD, TIME, message, with_valor

pytestmark = pytest.mark.once

MAC = "aa:bb:cc:dd:ee:ff"


def refused_whole(payload: bytes) -> Reason:
    with pytest.raises(MessageRefusedError) as caught:
        parse_telemetry(payload)
    assert caught.value.refusal.index is None
    return caught.value.refusal.reason


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        *[
            (payload, Reason.JSON_INVALIDO)
            for payload in (
                b"", b" ", b"{", b"x", b"\xff", b"\xc0\x80", b"\xed\xa0\x80",
                b'{"leituras":[]}\0', b'{"leituras":[]} x', b'{"leituras":[],}',
                b"\xef\xbb\xbf" + message(GOOD), message(GOOD).decode().encode("utf-16"),
                message(GOOD).decode().encode("utf-32"),
                message(with_valor("01")), message(with_valor("+1")), message(with_valor("1.")),
                message(with_valor("'1'")),
                message('{"dispositivo_codigo":"D","valor":1,"x":"a\nb"}'),
                message('{"dispositivo_codigo":"D\0","valor":1}'),
                b"[" * 30_000, b"[" * 30_000 + b"]" * 30_000, b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
                message(GOOD, rest=f',"x":{"[" * 30_000}{"]" * 30_000}'),
            )
        ],
        *[
            (payload, Reason.ESQUEMA_INVALIDO)
            for payload in (
                b"[]", b"1", b'"x"', b"null", b"true", b"NaN", b"{}", b'{"leituras":null}',
                b'{"leituras":{}}', b'{"leituras":"x"}',
                b'{"leituras":[],"leituras":[]}', message(GOOD, rest=f',"timestamp":"{TIME}"'),
                message(GOOD, rest=f',"gateway_mac":"{MAC}","gateway_mac":"11:22:33:44:55:66"'),
                message(GOOD, rest=',"seq":1,"seq":2'),
                message(GOOD, rest=',"seq":1,"\\u0073eq":2'),
            )
        ],
        (message(GOOD, rest=',"gateway_mac":5'), Reason.MAC_DIVERGENTE),
        (message(GOOD) + b" " * (MAX_PAYLOAD_BYTES + 1 - len(message(GOOD))), Reason.MENSAGEM_GRANDE),
        (b"\xff" * (MAX_PAYLOAD_BYTES + 1), Reason.MENSAGEM_GRANDE),
    ],
)  # fmt: skip
def test_a_message_of_which_nothing_can_be_used_is_refused(payload: bytes, reason: Reason) -> None:
    assert refused_whole(payload) is reason


def test_the_largest_message_is_read() -> None:
    payload = message(GOOD)
    assert len(parse_telemetry(payload + b" " * (MAX_PAYLOAD_BYTES - len(payload))).readings) == 1


# --- many readings ------------------------------------------------------------------------------------------

BAD = '{"dispositivo_codigo":"D","valor":NaN}'  # the typed decoder cannot take it
MESSAGES_OF_MANY = {
    "typed": lambda count: message(*[GOOD] * count),
    "tolerant": lambda count: message(*[GOOD] * (count - 1), BAD),
    "tolerant, counted first": lambda count: message(*["1"] * count),
}


@pytest.fixture
def large_messages(monkeypatch: pytest.MonkeyPatch) -> None:
    """More readings than 64 KiB have room for, so that the typed decoder has its bound tried too."""
    monkeypatch.setattr(parsing, "MAX_PAYLOAD_BYTES", 10**6)


@pytest.mark.parametrize("name", MESSAGES_OF_MANY)
def test_as_many_readings_as_are_allowed_are_read_and_one_more_is_not(
    name: str, large_messages: None
) -> None:
    make = MESSAGES_OF_MANY[name]
    telemetry = parse_telemetry(make(MAX_READINGS))
    assert len(telemetry.readings) + len(telemetry.refusals) == MAX_READINGS == 2_000
    assert refused_whole(make(MAX_READINGS + 1)) is Reason.ESQUEMA_INVALIDO


@pytest.mark.parametrize("name", MESSAGES_OF_MANY)
def test_of_too_many_readings_none_is_looked_at(
    name: str, large_messages: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at: list[object] = []
    for function in ("_reading", "_is_plain", "_in_utc", "storable"):
        monkeypatch.setattr(parsing, function, lambda *args: looked_at.append(args))
    refused_whole(MESSAGES_OF_MANY[name](MAX_READINGS + 1))
    assert not looked_at


def test_far_too_many_readings_are_counted_and_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(parsing, "load_json")
    assert refused_whole(b'{"leituras":[' + b"1," * 30_000 + b"1]}") is Reason.ESQUEMA_INVALIDO


def test_commas_elsewhere_are_no_readings() -> None:
    (refusal,) = parse_telemetry(message("1", rest=f',"x":[{"1," * 5_000}1]')).refusals
    assert refusal.reason is Reason.ESQUEMA_INVALIDO


@pytest.mark.parametrize("valor", ['"x"', "[]", "1e400", "1e30", "NaN"])
def test_of_many_bad_readings_all_are_named_and_the_first_described(valor: str) -> None:
    refusals = parse_telemetry(message(*[with_valor(valor)] * 400, "1")).refusals
    assert [refusal.index for refusal in refusals] == list(range(401))
    assert {refusal.reason for refusal in refusals[:-1]} == {Reason.VALOR_INVALIDO}
    assert [bool(refusal.detail) for refusal in refusals] == [True] * MAX_DESCRIBED + [False] * 350 + [True]


@pytest.mark.parametrize("time", ["2026-02-18T14:30:00.5-03:00", "x" * 1_000, "2026-02-18T14:30:00", ""])
def test_the_time_of_a_message_is_read_once(time: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may be as long as the message, and its readings hundreds."""
    right, read = parsing._time, []
    monkeypatch.setattr(parsing, "_time", lambda value: read.append(value) or right(value))
    content = f'{{"timestamp":"{time}","leituras":[{",".join([BAD, *[with_valor("1")] * 300])}]}}'
    telemetry = parse_telemetry(content.encode())
    assert read == [time]
    assert len(telemetry.readings) + len(telemetry.refusals) == 301


@pytest.mark.parametrize("depth", [100, 400, 700, 900, 960, 990])
@pytest.mark.parametrize("good", [GOOD, '{"dispositivo_codigo":"OK","valor":NaN}'])
def test_a_deep_extra_field_is_kept_or_the_message_refused_but_nothing_else_happens(
    good: str, depth: int
) -> None:
    with suppress(MessageRefusedError):
        telemetry = parse_telemetry(message(good, rest=f',"x":{"[" * depth}{"]" * depth}'))
        assert len(telemetry.readings) + len(telemetry.refusals) == 1


@pytest.mark.parametrize(
    ("literal", "seq"),
    [
        ("7", 7), ("0", 0), ("-1", -1), ("9223372036854775807", 2**63 - 1),
        ("9223372036854775808", None), ("1" + "0" * 30, None), ("1" + "0" * 5000, None), ("1.0", None),
        ("1e3", None), ("true", None),
        ("null", None), ('"7"', None), ("[7]", None), ("NaN", None),
    ],
)  # fmt: skip
def test_seq_is_an_integer_or_not_there(literal: str, seq: int | None) -> None:
    telemetry = parse_telemetry(message(GOOD, rest=f',"seq":{literal}'))
    assert telemetry.seq == seq
    assert len(telemetry.readings) == 1


@pytest.mark.parametrize("claimed", [None, MAC, MAC.upper(), "AABBCCDDEEFF", "aa-bb-cc-dd-ee-ff"])
def test_the_payload_may_name_its_gateway_in_any_spelling(claimed: str | None) -> None:
    check_gateway_mac(Telemetry([], [], claimed, None, ""), MAC)


@pytest.mark.parametrize(
    "claimed", ["", "aa:bb:cc:dd:ee:00", "ａa:bb:cc:dd:ee:ff", "x" * 10_000, "\0", "\ud800", f"{MAC}\n"]
)
def test_another_gateway_in_the_payload_is_refused(claimed: str) -> None:
    with pytest.raises(MessageRefusedError) as caught:
        check_gateway_mac(Telemetry([], [], claimed, 7, ""), MAC)
    assert (caught.value.refusal.reason, caught.value.seq) == (Reason.MAC_DIVERGENTE, 7)


@pytest.mark.parametrize(
    ("payload", "seq"),
    [
        (b'{"seq":7}', 7),
        (b'{"leituras":[{"seq":1}],"seq" : -7 }', -7),
        (b'\xef\xbb\xbf{"seq":7}', 7),
        (b'{"seq":7,"leituras":[{"valor":1', 7),
        (b'{"leituras":[{"valor":1,5}],"seq":7}', 7),
        (b'{"leituras":[{"valor":NaN}],"seq":7,"timestamp":}', 7),
        (b'{"x":"\xff","seq":7}', 7),
        (b'{"x":"\\"","seq":7,"y":"\\', 7),
        (b'{"seq":7,"x":' + b"[" * 30_000, 7),
        (b'{"a":{"seq":1},"b":[{"seq":2}],"seq":7,', 7),
        (b'{"seq":"7","leituras":[', None),
        (b'{"seq":7', None),  # of a longer number, perhaps
        (b'{"seq":7.5,"leituras":[', None),
        (b'{"leituras":[{"seq":7},', None),
        (b'{"x":"\\"seq\\":7, ","leituras":[', None),
        (b'{"x":"a","seq":7,", "leituras":[', 7),
        (b'[{"seq":7}', None),
        (b'"seq":7,', None),
        (b'{"seq":9223372036854775808,', None),
        (b'{"a":[' + b'{"seq":1},' * 4 + b'],"seq":7,', None),  # not looked for any further
        (b"", None),
        (b"\xff", None),
    ],
)
def test_the_number_of_a_refused_message_is_found_outside_strings_and_inside_one_bracket(
    payload: bytes, seq: int | None
) -> None:
    assert sequence_of(payload) == seq


def test_looking_for_the_number_of_a_refused_message_builds_no_tree() -> None:
    for tail in (b"{},", b"1,", b'"",', b'\\"', b'"seq":1,[', b'{"seq":1,'):
        payload = b'{"seq":7,"x":[' + tail * (MAX_PAYLOAD_BYTES // len(tail))
        tracemalloc.start()
        assert sequence_of(payload) == 7
        assert sequence_of(payload.removeprefix(b'{"seq":7,')) is None
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 20 * MAX_PAYLOAD_BYTES


@pytest.mark.parametrize("payload", [b"", b"  \n", b"{}", b'{"firmware_version":"1"}'])
def test_a_heartbeat_is_empty_or_an_object(payload: bytes) -> None:
    found: dict[str, Any] = parse_object(payload)
    assert set(found) <= {"firmware_version"}


@pytest.mark.parametrize(
    "payload", [b"[]", b"1", b"x", b"\xff", b"[" * 30_000, b" " * (MAX_PAYLOAD_BYTES + 1)]
)
def test_any_other_heartbeat_is_refused(payload: bytes) -> None:
    with pytest.raises(MessageRefusedError):
        parse_object(payload)
