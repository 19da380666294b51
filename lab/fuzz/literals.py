"""The pieces of hostile messages, as they are written in JSON.

They are values, times, units and whole fields.
"""

import json
from collections.abc import Callable
from datetime import timedelta, timezone
from random import Random

from lab.fuzz.fleet import NOW

Make = Callable[[Random], str]

GOOD_VALUES: tuple[Make, ...] = (
    lambda r: str(r.randrange(-1_000, 10_000_000)),
    lambda r: f"{r.randrange(100_000_000_000) / 1_000:.3f}",
    lambda r: f"{r.randrange(-(10**15) + 1, 10**15) / 10_000:.4f}",
    lambda r: f'"{r.randrange(10**9)}.{r.randrange(10_000):04}"',
    lambda r: f"-{r.randrange(60)}.{r.randrange(10)}",
    lambda r: f"{r.randrange(10**7)}.{r.randrange(10**4):04}5",  # a tie: half-even
    lambda r: f"{r.randrange(10**7)}.{r.randrange(10**4):04}5{'0' * r.randrange(20)}{r.choice('01')}",
    lambda r: f"{r.randrange(1, 10)}.{r.randrange(10**6)}e{r.choice(('', '+', '-'))}{r.randrange(10)}",
    lambda r: f'"{r.choice(("+", "-", "", "00"))}{r.randrange(10**6)}"',
    lambda r: r.choice(
        (
            "0",
            "-0",
            "-0.0",
            "0e5",
            "-0E-9",
            '"-0"',
            "1e-400",
            "-1e-9999",
            "0.00005",
            "0.00015",
            "-0.00005",
            "2.5e-4",
        )
    ),
    lambda r: r.choice(
        ("99999999999.9999", "-99999999999.9999", "99999999999.99994999", "9.99999999999999e10", "0.0001")
    ),
)
BAD_VALUES: tuple[Make, ...] = (
    lambda r: r.choice(
        (
            "NaN",
            "Infinity",
            "-Infinity",
            "1e400",
            "-1e999",
            "1e11",
            "100000000000",
            "99999999999.99995",
            "9e9999",
        )
    ),
    lambda r: r.choice(
        (
            '"NaN"',
            '"inf"',
            '"1_000"',
            '"12,5"',
            '" 5"',
            '"5 "',
            '"٣"',
            '"１２"',
            '"0x10"',
            '""',
            '"1e"',
            '".5"',
            '"5."',
            '"--1"',
        )
    ),
    lambda r: r.choice(
        (
            "null",
            "true",
            "false",
            "[]",
            "{}",
            "[1]",
            '{"valor":1}',
            '"\\u0000"',
            '"1\\u0000"',
            '"\\ud800"',
            '"abc"',
        )
    ),
    lambda r: str(r.randrange(10**29, 10**30)),
    lambda r: f'"{r.randrange(10**29, 10**30)}.{r.randrange(10**9)}"',
    lambda r: "9" * r.choice((12, 41, 309, 4_301, 5_000)),
    lambda r: f"1e{r.choice(('', '-'))}{'9' * r.randrange(4, 12)}",
    lambda r: f"0.{'0' * r.choice((300, 399, 400, 500))}1",
    lambda r: f"0e{'9' * r.randrange(3, 9)}",
)
HOSTILE_TEXT = (
    "\\u0000", "a\\u0000b", "\\ud800", "\\udfff\\ud800", "\\ud83d\\ude00", "😀", "e\u0301", "\u202e",
    "\ufeff",
    "\\n", "\\\\", '\\"', "\\/", "%s", "'; DROP TABLE tds_new_conta; --", "=1+1", "<script>alert(1)</script>",
    "x" * 300, "\\u0044\\u0030\\u0031", "", " ", "D01 ", "d01", "Ｄ01", "\\t", "\\b", "\x7f", "\u2028",
    "../../etc/passwd", "\\u00e1gua", "$", "#", "+", "\\N", "{}",
)  # fmt: skip
BAD_TIMES = (
    '"1970-01-01T00:00:00Z"', '"2999-01-01T00:00:00Z"', '"0001-01-01T00:00:00+14:00"',
    '"9999-12-31T23:59:59.9999999Z"', "0", "1771425000", '"9999-12-31T23:59:59-14:00"',
    '"0000-01-01T00:00:00Z"', '"2026-02-18T14:30:00"', '"2026-02-30T00:00:00Z"', '"2026-02-18T24:00:00Z"',
    '"2026-02-18T23:59:60Z"', '"2016-12-31T23:59:60Z"', '"2026-02-18T14:30:00+24:00"',
    '"2026-02-18T14:30:00+23:59"', "true", "[]", "{}", '"2026-02-18T14:30:00-23:59"',
    '"2026-02-18T14:30:00-03:00[America/Sao_Paulo]"', '"2026-02-18"', '"14:30:00Z"', '""', '"now"', '"Z"',
    '"1771425000"', '"1771425000000"', '"20260218T143000Z"', '"2026-W08-3T10:00:00Z"', '"2026-049T10:00:00Z"',
    '"2026-02-18T14Z"', '"\\u0000"', '"2026-02-18T14:30:00Z\\u0000"', '"2026-02-18T14:30:00\\u005a"',
    '"2026-02-18T14:30:00.Z"', '"2026-02-18T14:30:00,5Z"', "1e400", "NaN", '"2026-02-18t14:30:00z"',
    '"2026-02-18 14:30:00 Z"', '"２０２６-02-18T14:30:00Z"', '"2026-02-18T14:30:00+1:00"',
    '"-2026-02-18T14:30:00Z"', '"2018-11-04T00:30:00-03:00"', '"2026-02-18T14:30:00-00:00"',
    '"2026-02-18T14:30:00\u221203:00"', '"2026-02-18T14:30:00+01:00:30"',
)  # fmt: skip
UNITS = {
    "kWh": ('"kWh"', '"kWh "', '"KWH"', '"Wh"', '" mwh"', '"ｋＷｈ"', '"\\u006bWh"', "null"),
    "m³": ('"m³"', '"m3"', '"M^3"', '"L"', '"litros"', '"\\u006d\\u00b3"', "null"),
    "m3": ('"m³"', '"m3"', '"l"', "null"),
    "°C": ('"°C"', '"ºC"', '"℃"', '"\\u00b0C"', "null"),
}
BAD_UNITS = (
    '"kilowatt-hora"',
    '"kvarh"',
    '"kW"',
    '"m"',
    '""',
    "1",
    "[]",
    "true",
    '"\\u0000"',
    '"\\ud800"',
    '"kW\\u0000h"',
    '"' + "u" * 40 + '"',
)
SEQUENCES = (
    "0", "1", "-1", "-0", "12", "9223372036854775807", "9223372036854775808", "-9223372036854775809", "1e3",
    "1.0", '"5"', "null", "true", "99999999999999999999", "9" * 25, "[]",
)  # fmt: skip


def time(r: Random) -> str:
    """Return a time within the horizon, in one of its spellings."""
    moment = NOW - timedelta(
        seconds=r.randrange(-240, 30 * 86_400), microseconds=r.choice((0, 0, 0, r.randrange(1_000_000)))
    )
    form = r.randrange(8)
    if form < 3:
        return f'"{moment.replace(microsecond=0, tzinfo=None).isoformat()}Z"'
    if form == 3:
        return (
            f'"{moment.isoformat()}{r.randrange(1_000):03}"'.replace(
                "+00:00", f".{r.randrange(10**6):06}" if "." not in str(moment) else ""
            )[:-1]
            + 'Z"'
        )
    away = r.choice((-180, -240, -300, -120, 0, 330, 840, -720, r.randrange(-1_439, 1_440)))
    local = moment.astimezone(timezone(timedelta(minutes=away))).isoformat()
    return f'"{local}"' if form < 7 else f'"{local.replace("T", " ")}"'


def extra_field(r: Random) -> str:
    """Return a field that the contract does not know."""
    name = r.choice(
        ("extra", "valor2", "", "a\\u0000", "\\ud800", "leitura", "fw", "x" * 100, "tds_new_mensagem_resto")
    )
    return f'"{name}":{extra_value(r)}'


_STRANGE_NUMBERS = (
    "NaN", "-Infinity", "1e999", "1e-999", "9" * 400, "1e400000", "-0.0", "1E+2", "9" * 5_000, "1e131071",
    "1e-16383",
)  # fmt: skip


def extra_value(r: Random) -> str:
    """Return any JSON value, or what some parsers take for one."""
    form = r.randrange(12)
    if form == 0:
        return (
            '{"valor":1,"timestamp":"x","leituras":[{"dispositivo_codigo":"D01"}],'
            '"seq":1,"gateway_mac":"y","unidade":null}'
        )
    if form == 1:
        depth = r.choice((5, 60, 150, 400, 900, 1_100, 3_000, 20_000))
        return "[" * depth + "]" * depth if r.random() < 0.5 else '{"a":' * depth + "1" + "}" * depth
    if form == 2:
        return r.choice(_STRANGE_NUMBERS)
    if form < 6:
        return f'"{r.choice(HOSTILE_TEXT)}"'
    if form == 6:
        return json.dumps({f"k{i}": i for i in range(r.choice((1, 10, 300)))})
    if form == 7:
        return '{"a":1,"a":2,"":{"":[]}}'
    return r.choice(
        (
            "1",
            "null",
            "true",
            f'"{"y" * 2000}"',
            "[]",
            "{}",
            '"x"',
            "[null,[1,2,{}]]",
            "1.5",
            '"' + "y" * r.choice((10, 2_000)) + '"',
        )
    )
