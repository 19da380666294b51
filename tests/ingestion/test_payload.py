"""Readings in a payload: which are accepted, and why the others are refused.

A bad reading costs only itself: its good neighbours survive.
"""

import json
import sys
from datetime import UTC, datetime
from decimal import Decimal

import pytest

from tds_new.ingestion.payload import Reading, Telemetry, parse_telemetry
from tds_new.ingestion.refusal import Reason
from tds_new.models import Motivo

pytestmark = pytest.mark.once

TIME = "2026-02-18T14:30:00Z"
GOOD = '{"dispositivo_codigo":"OK","valor":1.5}'


def message(*readings: str, rest: str = "") -> bytes:
    """A message of readings given as JSON text; ``rest`` are further members of the message."""
    return f'{{"timestamp":"{TIME}","leituras":[{",".join(readings)}]{rest}}}'.encode(
        "utf-8", "surrogatepass"
    )


def parse_beside_good_ones(reading: str) -> Telemetry:
    """The message's readings with a good neighbour on each side, which must survive."""
    telemetry = parse_telemetry(message(GOOD, reading, GOOD))
    neighbours = [r for r in telemetry.readings if r.codigo == "OK"]
    assert [(r.index, r.valor) for r in neighbours] == [(0, Decimal("1.5")), (2, Decimal("1.5"))]
    return telemetry


def one(reading: str) -> Reading:
    """The only other reading; it must be good."""
    telemetry = parse_beside_good_ones(reading)
    assert telemetry.refusals == []
    return next(r for r in telemetry.readings if r.codigo != "OK")


def refused(reading: str) -> Reason:
    """Return the reason for which the reading was refused; it must be."""
    telemetry = parse_beside_good_ones(reading)
    assert len(telemetry.readings) == 2
    (refusal,) = telemetry.refusals
    assert refusal.index == 1
    assert refusal.detail
    return refusal.reason


def with_valor(literal: str) -> str:
    return f'{{"dispositivo_codigo":"D","valor":{literal}}}'


def with_time(literal: str) -> str:
    return f'{{"dispositivo_codigo":"D","valor":1,"timestamp":{literal}}}'


def test_reasons_are_the_contracts() -> None:
    assert {reason.value for reason in Reason} == set(Motivo.values)
    assert len(Reason) == 16


# --- values -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("literal", "valor"),
    [
        ("123.45", "123.45"), ('"67.8900"', "67.89"), ("-5", "-5"), ("0", "0"), ("-0", "0"), ("-0.0", "0"),
        ('"-0"', "0"),
        ('"+1.5"', "1.5"), ('"007"', "7"), ("1e3", "1000"), ("1.5E+2", "150"), ('"1e-2"', "0.01"),
        (" 7 ", "7"), ('"\\u0031"', "1"),
        # half-even at the fourth decimal
        ("0.00005", "0"), ("0.00015", "0.0002"), ("0.00025", "0.0002"), ("0.000250001", "0.0003"),
        ("-0.00005", "0"),
        ("-0.00015", "-0.0002"), ("2.675", "2.675"), ("0.1234499999999999999999999999999999999999", "0.1234"),
        ("1e-400", "0"), ("1e-9999", "0"), ("0e9999", "0"), ("0.0e-9999", "0"),
        # numeric(15,4)
        ("99999999999.9999", "99999999999.9999"), ("-99999999999.9999", "-99999999999.9999"),
        ("99999999999.99994999", "99999999999.9999"),
        ("9.99999999999999e10", "99999999999.9999"),
    ],
)  # fmt: skip
def test_a_number_is_kept_exactly_to_four_decimals(literal: str, valor: str) -> None:
    found = one(with_valor(literal)).valor
    assert found == Decimal(valor)
    assert found.is_finite()
    assert not (found.is_zero() and found.is_signed())


@pytest.mark.parametrize(
    "literal",
    [
        "NaN", "Infinity", "-Infinity", '"NaN"', '"Infinity"', '"-inf"', '"sNaN"', "1e400", '"1e400"',
        "-1e400", "1e999999999",
        '"1e999999999"', "1e99999999999999999999", "123456789012345678901234567890", "100000000000",
        "-100000000000",
        "99999999999.99995", '"99999999999.99995"', "9" * 5000, f'"{"9" * 5000}"', f"1.{'0' * 401}",
        "null", "true", "false", "[]", "[1]", "{}", '""', '" "', '" 1"', '"1 "', '"1\\n"', '"12,5"',
        '"1.234,5"', '"1_000"', '"1 000"',
        '"0x10"', '"1e"', '"."', '".5"', '"5."', '"--1"', '"+-1"', '"1.2.3"', '"１２"', '"١٢٣"', '"²"',
        '"−5"', '"½"',
        '"\\u0000"', '"1\\u0000"', '"\\ud800"', '"kWh"',
    ],
)  # fmt: skip
def test_what_is_no_number_or_too_large_costs_only_itself(literal: str) -> None:
    assert refused(with_valor(literal)) is Reason.VALOR_INVALIDO


# --- times --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2026-02-18T14:29:30-03:00", "2026-02-18T17:29:30+00:00"),
        ("2026-02-18T14:29:30z", "2026-02-18T14:29:30+00:00"),
        ("2026-02-18 14:29:30Z", "2026-02-18T14:29:30+00:00"),
        ("2026-02-18T14:29Z", "2026-02-18T14:29:00+00:00"),
        ("20260218T142930Z", "2026-02-18T14:29:30+00:00"),
        ("2026-W08-3T14:29:30Z", "2026-02-18T14:29:30+00:00"),
        ("2026-02-18T14:29:30.5+0530", "2026-02-18T08:59:30.500000+00:00"),
        ("2026-02-18T14:29:30.123456789Z", "2026-02-18T14:29:30.123457+00:00"),
        (
            "2018-11-04T00:30:00-03:00",
            "2018-11-04T03:30:00+00:00",
        ),  # not on the clocks of Sao Paulo; with an offset it is an instant
        (
            "1970-01-01T00:00:00Z",
            "1970-01-01T00:00:00+00:00",
        ),  # too old for a gateway, but that is the registry's to say
        ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00+00:00"),
        ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59+00:00"),
    ],
)
def test_any_iso_8601_with_an_offset_is_an_instant_in_utc(text: str, instant: str) -> None:
    time = one(with_time(f'"{text}"')).time
    assert time.tzinfo is UTC
    assert time.isoformat() == instant


@pytest.mark.parametrize(
    ("literal", "reason"),
    [
        *[
            (literal, Reason.TIMESTAMP_INVALIDO)
            for literal in (
                '"2026-02-18T14:30:00"', '"2026-02-18"', '"2026-02-18T14:30:60Z"', '"2026-02-30T00:00:00Z"',
                '"2026-13-01T00:00:00Z"',
                '"2026-02-18T25:00:00Z"', '"2026-02-18T14:30:00+24:00"', '"18/02/2026 14:30"', "1771425000",
                '"1771425000"',
                "1771425000000", "1771425000.5", '""', '" "', '"now"', "true", "[]", "{}",
                '"2026-02-18T14:30:00Z\\u0000"',
                '"\\ud800"', '"２０２６-02-18T14:30:00Z"', '"2026-02-18T14:30:00+05:70"',
                '"2026-02-18T14:30:00-0360"',
                '"20260218T143000+05:30:75"', '"2026-02-18T14:30:00xZ"', '"2026-02-18T14:30:00\\u0000Z"',
                '"2026-02-18T14:30:00.5\ufeffZ"',
            )
        ],
        ('"0001-01-01T00:00:00+14:00"', Reason.TIMESTAMP_ANTIGO),
        ('"9999-12-31T23:59:59-03:00"', Reason.TIMESTAMP_FUTURO),
    ],
)  # fmt: skip
def test_a_time_that_is_none_costs_only_its_reading(literal: str, reason: Reason) -> None:
    assert refused(with_time(literal)) is reason


def test_midnight_as_24_00_is_the_next_day_or_refused_but_never_another_time() -> None:
    telemetry = parse_beside_good_ones(with_time('"2026-02-18T24:00:00Z"'))
    if sys.version_info >= (3, 13):
        assert telemetry.readings[1].time == datetime(2026, 2, 19, tzinfo=UTC)
    else:
        assert [r.reason for r in telemetry.refusals] == [Reason.TIMESTAMP_INVALIDO]


def test_a_null_time_is_no_time_of_its_own() -> None:
    assert one(with_time("null")).time == datetime(2026, 2, 18, 14, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    "time",
    ["", '"timestamp":"2026-02-18T14:30:00",', '"timestamp":5,', '"timestamp":[],', '"timestamp":null,'],
)
def test_without_a_message_time_only_readings_with_their_own_are_good(time: str) -> None:
    own = f'{{"dispositivo_codigo":"D","valor":1,"timestamp":"{TIME}"}}'
    telemetry = parse_telemetry(f'{{{time}"leituras":[{GOOD},{own}]}}'.encode())
    assert [r.index for r in telemetry.readings] == [1]
    assert [(r.reason, r.index) for r in telemetry.refusals] == [(Reason.TIMESTAMP_INVALIDO, 0)]


# --- the form of a reading ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reading", "reason"),
    [
        *[(literal, Reason.ESQUEMA_INVALIDO) for literal in ("null", "1", '"x"', "[]", "true", "{}")],
        ('{"valor":1}', Reason.ESQUEMA_INVALIDO),
        ('{"dispositivo_codigo":"D"}', Reason.ESQUEMA_INVALIDO),
        ('{"dispositivo_codigo":5,"valor":1}', Reason.ESQUEMA_INVALIDO),
        ('{"dispositivo_codigo":null,"valor":1}', Reason.ESQUEMA_INVALIDO),
        ('{"dispositivo_codigo":"","valor":1}', Reason.ESQUEMA_INVALIDO),
        ('{"dispositivo_codigo":"D","valor":1,"unidade":5}', Reason.UNIDADE_INVALIDA),
        ('{"dispositivo_codigo":"D","valor":1,"unidade":["kWh"]}', Reason.UNIDADE_INVALIDA),
        # repeated keys: which of the two was meant?
        ('{"dispositivo_codigo":"D","valor":1,"valor":2}', Reason.ESQUEMA_INVALIDO),
        ('{"dispositivo_codigo":"D","valor":1,"valor":1}', Reason.ESQUEMA_INVALIDO),
        ('{"dispositivo_codigo":"D","valor":1,"\\u0076alor":2}', Reason.ESQUEMA_INVALIDO),
        ('{"dispositivo_codigo":"D","dispositivo_codigo":"E","valor":1}', Reason.ESQUEMA_INVALIDO),
        ('{"dispositivo_codigo":"D","valor":1,"unidade":"kWh","unidade":"Wh"}', Reason.ESQUEMA_INVALIDO),
        (
            f'{{"dispositivo_codigo":"D","valor":1,"timestamp":"{TIME}","timestamp":"2020-01-01T00:00:00Z"}}',
            Reason.ESQUEMA_INVALIDO,
        ),
    ],
)  # fmt: skip
def test_a_reading_of_another_form_costs_only_itself(reading: str, reason: Reason) -> None:
    assert refused(reading) is reason


@pytest.mark.parametrize(
    "reading",
    [
        '{"dispositivo_codigo":"D","valor":1,"qualidade":"boa","canal":3}',
        '{"dispositivo_codigo":"D","valor":1,"x":1,"x":2}',
        '{"dispositivo_codigo":"D","valor":1,"x":"valor"}',
        '{"dispositivo_codigo":"D","valor":1,"x":{"valor":7,"timestamp":"x","unidade":4}}',
        '{"dispositivo_codigo":"D","valor":1,"x":"\\u0000"}',
        '{"dispositivo_codigo":"D","valor":1,"x":"\\ud800"}',
        '{"dispositivo_codigo":"D","valor":1,"x":1e400000}',
        '{"dispositivo_codigo":"D","valor":1,"unidade":null}',
        '{"\\u0064ispositivo_codigo":"D","valor":1}',
    ],
)
def test_extra_fields_are_ignored(reading: str) -> None:
    found = one(reading)
    assert (found.codigo, found.valor, found.unidade) == ("D", Decimal(1), None)


@pytest.mark.parametrize("kind", ["plain", "escaped"])
def test_text_beyond_ascii_comes_through_in_either_spelling(kind: str) -> None:
    reading = json.dumps(
        {"dispositivo_codigo": "Água 1", "valor": 1, "unidade": "m³"}, ensure_ascii=kind == "escaped"
    )
    found = one(reading)
    assert (found.codigo, found.unidade) == ("Água 1", "m³")
