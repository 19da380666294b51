"""Thousands of payloads, with any content and in either parser."""

import json
import math
from contextlib import suppress
from datetime import UTC, datetime, timedelta, timezone
from decimal import ROUND_HALF_EVEN, Decimal, localcontext
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tds_new.ingestion.payload import LIMIT, MAX_PAYLOAD_BYTES, Telemetry, parse_object, parse_telemetry
from tds_new.ingestion.refusal import MessageRefusedError
from tests.ingestion.test_payload import message, with_valor

pytestmark = pytest.mark.once

# A nested field of a reading's own name sends the message to the tolerant parser, and changes nothing else.
DETOUR = {"detour": {"valor": 0}}

FIRST, LAST = datetime(1970, 1, 2), datetime(2100, 1, 1)  # noqa: DTZ001 - hypothesis takes naive ones
INSTANTS = st.datetimes(FIRST, LAST).map(lambda moment: moment.replace(tzinfo=UTC))
ZONES = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
TIMES = st.builds(lambda moment, zone: moment.astimezone(zone).isoformat(), INSTANTS, ZONES)
NUMBERS = st.one_of(
    st.integers(-(10**13), 10**13).map(str),
    st.decimals(-(10**12), 10**12, places=6).map(str),
    st.floats(allow_nan=False, allow_infinity=False).map(repr),
    st.from_regex(r"-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,4})?", fullmatch=True),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text() | st.sampled_from(["valor", "timestamp"]), inner, max_size=4)
    ),
    max_leaves=12,
)
READINGS = st.fixed_dictionaries(
    {
        "dispositivo_codigo": st.text(
            st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=20
        )
    },
    optional={
        "valor": st.integers()
        | st.floats()
        | st.text(max_size=10)
        | st.decimals(-(10**6), 10**6, places=5).map(str),
        "unidade": st.text(max_size=10) | st.none() | st.integers(),
        "timestamp": TIMES | st.text(max_size=30) | st.none(),
        "extra": JSON,
    },
)
MESSAGES = st.fixed_dictionaries(
    {"leituras": st.lists(READINGS | JSON, max_size=5)},
    optional={
        "timestamp": TIMES | st.none(),
        "seq": st.integers() | JSON,
        "gateway_mac": st.text() | st.none(),
        "extra": JSON,
    },
)


def outcome(document: dict[str, Any], *, ascii_only: bool) -> Any:
    text = json.dumps(document, ensure_ascii=ascii_only)
    try:
        telemetry = parse_telemetry(text.encode("utf-8", "surrogatepass"))
    except MessageRefusedError as error:
        return error.refusal.reason
    return (
        telemetry.readings,
        [(r.reason, r.index) for r in telemetry.refusals],
        telemetry.gateway_mac,
        telemetry.seq,
    )


@settings(max_examples=300)
@given(
    st.binary()
    | st.text().map(lambda text: text.encode("utf-8", "surrogatepass"))
    | JSON.map(lambda value: json.dumps(value).encode())
)
def test_no_bytes_raise_anything_but_a_named_refusal(payload: bytes) -> None:
    for parse in (parse_telemetry, parse_object):
        with suppress(MessageRefusedError):  # any other error fails the test
            parse(payload)


@settings(max_examples=300)
@given(MESSAGES, st.data())
def test_a_message_with_any_byte_changed_raises_nothing_else(
    document: dict[str, Any], data: st.DataObject
) -> None:
    payload = bytearray(json.dumps(document).encode())
    for _ in range(data.draw(st.integers(1, 3))):
        payload[data.draw(st.integers(0, len(payload) - 1))] = data.draw(st.integers(0, 255))
    with suppress(MessageRefusedError):
        assert isinstance(parse_telemetry(bytes(payload)), Telemetry)


@settings(max_examples=500)
@given(MESSAGES, st.booleans())
def test_both_ways_through_the_parser_find_the_same(document: dict[str, Any], ascii_only: bool) -> None:
    assert outcome(document, ascii_only=ascii_only) == outcome(document | DETOUR, ascii_only=ascii_only)


@settings(max_examples=200)
@given(MESSAGES)
def test_each_reading_is_either_good_or_refused_and_its_text_is_json(document: dict[str, Any]) -> None:
    try:
        telemetry = parse_telemetry(json.dumps(document).encode())
    except MessageRefusedError:
        return
    indices = [r.index for r in telemetry.readings] + [r.index for r in telemetry.refusals]
    assert sorted(i for i in indices if i is not None) == list(range(len(document["leituras"])))
    if telemetry.readings:
        assert len(json.loads(telemetry.text)["leituras"]) == len(document["leituras"])


@settings(max_examples=500)
@given(NUMBERS, st.booleans())
def test_every_accepted_valor_is_the_exact_number_quantised_half_even(literal: str, quoted: bool) -> None:
    with localcontext(prec=5000, Emax=99_999, Emin=-99_999):
        exact = Decimal(literal)
        expected = (
            exact.quantize(Decimal("0.0001"), rounding=ROUND_HALF_EVEN) if exact.adjusted() < 30 else exact
        )
        fits = abs(expected) < LIMIT or exact.is_zero()
    telemetry = parse_telemetry(message(with_valor(f'"{literal}"' if quoted else literal)))
    assert [r.valor for r in telemetry.readings] == ([0 if exact.is_zero() else expected] if fits else [])
    assert all(math.isfinite(r.valor) and len(str(r.valor)) <= 18 for r in telemetry.readings)


@settings(max_examples=300)
@given(INSTANTS, ZONES)
def test_a_time_is_the_same_instant_in_whatever_zone_it_was_written(moment: datetime, zone: timezone) -> None:
    text = moment.astimezone(zone).isoformat()
    (reading,) = parse_telemetry(
        message(f'{{"dispositivo_codigo":"D","valor":1,"timestamp":"{text}"}}')
    ).readings
    assert (reading.time, reading.time.tzinfo) == (moment, UTC)


@settings(max_examples=30)
@given(
    st.integers(0, MAX_PAYLOAD_BYTES),
    st.sampled_from([b"[", b'{"a":', b'{"leituras":[', b'"', b"9", b"\\", b"\xf0"]),
)
def test_long_runs_of_anything_end_in_a_refusal(length: int, unit: bytes) -> None:
    with pytest.raises(MessageRefusedError):
        parse_telemetry((unit * (length // len(unit)))[:length])
