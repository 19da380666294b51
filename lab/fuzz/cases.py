"""Hostile messages by seed and number.

Each is a function of the two, so that one of a million can be made again alone.
"""

from collections.abc import Callable
from random import Random
from typing import NamedTuple

from lab.fuzz import literals
from lab.fuzz.fleet import Fleet, FleetGateway

MAX_TOPIC = 65_535
_BAD_MESSAGE_TIMES = (*literals.BAD_TIMES, "null")
_GOOD_READING = '{"dispositivo_codigo":"D01","valor":1},'
INVALID_UTF8 = (
    b"\xff",
    b"\xc3",
    b"\xc0\x80",
    b"\xed\xa0\x80",
    b"\xf4\x90\x80\x80",
    b"\xe2\x82",
    b"\x80",
    b"\xf0\x9f\x98",
    b"\xef\xbf\xbe",
    b"\0",
)
WORDS = (
    b'"valor"', b'"timestamp"', b'"leituras"', b'"dispositivo_codigo"', b'"unidade"', b'"seq"',
    b'"gateway_mac"', b"null", b"1e400", b"-", b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\\u0000",
    b"\\ud800", b"NaN", b"\xef\xbb\xbf", b"\0", b" ", b"\n", b"0", b"9", b"e", b".",
)  # fmt: skip


class Case(NamedTuple):
    """One message: ``kind`` names what was done to it.

    ``topic`` is as it comes over the wire.
    """

    number: int
    kind: str
    topic: bytes
    payload: bytes
    retain: bool = False


def good_case(number: int, fleet: Fleet, prefix: str) -> Case:
    """Return a message with which nothing is wrong.

    It must be stored whatever its neighbours are.

    Good messages have numbers of their own, below 0.
    """
    gateway = fleet.gateways[0]
    day, hour, minute = 1 + number // 86_400 % 28, number // 3600 % 24, number // 60 % 60
    stamp = f"2026-02-{day:02}T{hour:02}:{minute:02}:{number % 60:02}.5Z"
    readings = ",".join(f'{{"dispositivo_codigo":"D0{n}","valor":{number}.{n}}}' for n in (1, 2, 3))
    payload = (
        f'{{"gateway_mac":"{gateway.mac}","timestamp":"{stamp}","leituras":[{readings}],"seq":{number}}}'
    )
    return Case(-1 - number, "good", f"{prefix}/{gateway.mac}/telemetry".encode(), payload.encode())


def make_case(seed: int, number: int, fleet: Fleet, prefix: str) -> Case:
    """Return the case of this number, which is below 2**64."""
    r = Random(seed << 64 | number)
    chance = r.random()
    if chance < 0.03:
        return Case(number, "noise", _address(r, fleet.gateways[0], prefix, "telemetry"), _noise(r))
    gateway = fleet.gateways[0 if chance < 0.75 else 1 if chance < 0.96 else 2]
    if chance > 0.94:
        name, topic, gateway = _strange_topic(r, fleet, prefix)
        if name.startswith("other_kind"):
            return Case(number, name, topic, _other_kind(r), r.random() < 0.3)
        return Case(number, name, topic, _telemetry(r, gateway)[1].encode("utf-8", "surrogatepass"))
    topic = _address(r, gateway, prefix, "telemetry")
    kind, text = _telemetry(r, gateway)
    payload = text.encode("utf-8", "surrogatepass")
    if r.random() < 0.35:
        name, payload = _mangle(r, payload)
        kind = f"{kind}+{name}" if kind != "plain" else name
    return Case(number, kind, topic, payload, r.random() < 0.02)


# --- topics -------------------------------------------------------------------------------------------------


def _spelling(r: Random, mac: str) -> str:
    form = r.randrange(8)
    if form < 4:
        return mac
    written = mac.replace(":", ("", "-", ":", "")[form - 4])
    return written.upper() if r.random() < 0.6 else "".join(r.choice((c, c.upper())) for c in written)


def _address(r: Random, gateway: FleetGateway, prefix: str, kind: str) -> bytes:
    identifier = gateway.name if gateway.name and r.random() < 0.5 else _spelling(r, gateway.mac)
    return f"{prefix}/{identifier}/{kind}".encode()


def _strange_topic(r: Random, fleet: Fleet, prefix: str) -> tuple[str, bytes, FleetGateway]:
    gateway = fleet.gateways[r.randrange(3)]
    form = r.random()
    if form < 0.3:
        kind = r.choice(("heartbeat", "status"))
        return f"other_kind_{kind}", _address(r, gateway, prefix, kind), gateway
    if form < 0.45:
        return "inactive", _address(r, fleet.gateways[2], prefix, "telemetry"), fleet.gateways[2]
    if form < 0.55:
        return "unknown", f"{prefix}/{_spelling(r, fleet.stranger)}/telemetry".encode(), gateway
    mac = gateway.mac
    spelt = _spelling(r, mac)
    identifier = r.choice((
        fleet.stranger, mac[:-1], mac + ":00", mac.replace(":", "-", 1), mac.replace(":", "."),
        mac.replace("0", "O"), mac.replace("a", "а"), "+", "#", "$", "", " " + mac, mac + " ", mac + "\n",
        mac + "\0", "gw 1", "GW-0.B", "x" * 32, "x" * 33, "😀", "..", "%00", mac + "/" + mac,
    ))  # fmt: skip
    whole = r.choice((
        f"{prefix}/{identifier}/telemetry", f"{prefix}/{identifier}/telemetry",
        f"{prefix}/{identifier}/status", f"{prefix}/{spelt}/Telemetry", f"{prefix}/{spelt}/telemetry/",
        f"/{prefix}/{spelt}/telemetry", f"{prefix}//{spelt}/telemetry", f"{prefix}/{spelt}",
        f"{prefix}/{spelt}/", f"{prefix}/{spelt}/ack", f"{prefix}/{spelt}/commands/x",
        f"{prefix}/{spelt}/telemetry/x", f"{prefix.upper()}/{spelt}/telemetry", prefix, "",
        f"$SYS/{prefix}/{spelt}/telemetry", f"$share/g/{prefix}/{spelt}/telemetry", f"{prefix}/+/telemetry",
        f"{prefix}/#", "#", "+", "/", "/" * r.choice((2, 200, 5_000)),
        f"{prefix}/{'a' * r.choice((40, 60_000))}/telemetry", f"{prefix}/{spelt}/tele\0metry",
        f"{prefix}/{spelt}/{'x/' * 200}", f"{prefix}s/{spelt}/telemetry", f"{spelt}/telemetry",
        f"{prefix}/{r.randrange(10**9)}/telemetry",
    )).encode()  # fmt: skip
    if r.random() < 0.15:
        at = r.randrange(len(whole) + 1)
        whole = whole[:at] + r.choice(INVALID_UTF8) + whole[at:]
    return "topic", whole[:MAX_TOPIC], gateway


def _other_kind(r: Random) -> bytes:
    return r.choice((
        b"", b" ", b"online", b"offline", b" ONLINE\n", b"Offline", b"on", b"\xffonline", b"online\0", b"{}",
        b"[]", b"null", b"1", b"\xef\xbb\xbf{}", b'{"firmware_version":"1.2","uptime_s":5,"rssi":-70}',
        b'{"firmware_version":"\\u0000\\ud800"}', b'{"firmware_version":5}', b"[" * 3_000,
        b'{"firmware_version":"' + b"v" * 300 + b'"}', b'{"a":1,"a":2}', b"\0", b'{"uptime_s":1e999}',
        b"x" * 70_000, b'{"firmware_version":"\\ud800"}',
    ))  # fmt: skip


# --- documents ----------------------------------------------------------------------------------------------


_REPEATED_KEYS = (
    '"leituras":[]', '"timestamp":null', '"seq":1', '"gateway_mac":null', '"leituras":null',
    '"l\\u0065ituras":[]', '"x":1,"x":2',
)  # fmt: skip
_REPEATED_READING_KEYS = (
    '"valor":1', '"valor":null', '"timestamp":null', '"unidade":null', '"dispositivo_codigo":"D02"',
    '"val\\u006fr":2', '"y":1,"y":2',
)  # fmt: skip
# As many as a message may have, one more, and far more; the last is read by the tolerant parser alone.
_MANY_READINGS = tuple(
    '{"leituras":[' + ",".join([first, *["1"] * more]) + '],"seq":9}'
    for first, more in (("1", 1_999), ("{}", 2_000), ("[[1],2]", 30_000), ("NaN", 2_000))
)
_NO_READINGS = (
    "null", "1", "[]", '"D01"', "{}", "true", "NaN", '{"valor":1}', '{"dispositivo_codigo":"D01"}', "[{}]",
    "-0",
)  # fmt: skip


def _telemetry(r: Random, gateway: FleetGateway) -> tuple[str, str]:
    """Return what was done to a telemetry message, and its text."""
    if r.random() < 0.06:
        return "top_level", _other_top_level(r)
    hostile = r.random()
    bad = 0.0 if hostile < 0.2 else 0.3
    count = r.choice((0, 1, 1, 2, 2, 3, 3, 3, 4, 6)) if r.random() < 0.995 else r.choice((60, 200, 700))
    readings = "[" + ",".join([_reading(r, gateway, bad) for _ in range(count)]) + "]"
    fields = [f'"leituras":{readings}']
    if r.random() < 0.85:
        fields.append(
            f'"timestamp":{literals.time(r) if r.random() < 0.92 else r.choice(_BAD_MESSAGE_TIMES)}'
        )
    if r.random() < 0.4:
        claimed = (
            _spelling(r, gateway.mac)
            if r.random() < 0.85
            else r.choice(("0e:00:00:00:00:01", "", "x", "\\u0000", gateway.mac[:-1], "0A-"))
        )
        fields.append(
            f'"gateway_mac":"{claimed}"'
            if r.random() < 0.95
            else f'"gateway_mac":{r.choice(("null", "1", "[]", "{}", "true"))}'
        )
    if r.random() < 0.3:
        fields.append(f'"seq":{r.randrange(10**6) if r.random() < 0.6 else r.choice(literals.SEQUENCES)}')
    kind = "readings" if bad else "plain"
    if hostile > 0.8:
        kind = "extra"
        fields.append(literals.extra_field(r))
    if hostile > 0.96:
        kind = "repeated_key"
        again = r.choice(_REPEATED_KEYS)
        fields.extend((again, again) if "x" in again and "l" not in again else (again,))
    if r.random() < 0.5:
        r.shuffle(fields)
    return kind, "{" + r.choice((",", ",", ", ", " ,\n\t")).join(fields) + "}"


def _reading(r: Random, gateway: FleetGateway, bad: float) -> str:
    """Return the text of a reading.

    With the probability ``bad`` something is wrong with it.
    """
    device = gateway.devices[0] if r.random() < 0.3 else r.choice(gateway.devices)
    codigo = f'"{device.codigo}"'
    valor = r.choice(literals.GOOD_VALUES)(r)
    unidade = r.choice(literals.UNITS[device.unidade]) if r.random() < 0.5 else ""
    own_time = literals.time(r) if r.random() < 0.5 else ""
    more = ""
    if r.random() < bad:
        form = r.randrange(8)
        if form == 0:
            return r.choice(_NO_READINGS)
        if form == 1:
            unidade = r.choice(literals.BAD_UNITS)
        elif form == 2:
            own_time = r.choice(literals.BAD_TIMES)
        elif form == 3:
            codigo = r.choice(
                (f'"{r.choice(literals.HOSTILE_TEXT)}"', "1", "null", "[]", '"D09"', '"D04"', '"D0\\u0031"')
            )
        elif form == 4:
            more = "," + r.choice(_REPEATED_READING_KEYS)
        elif form == 5:
            more = "," + literals.extra_field(r)
        else:
            valor = r.choice(literals.BAD_VALUES)(r)
    text = f'{{"dispositivo_codigo":{codigo},"valor":{valor}'
    if unidade:
        text += f',"unidade":{unidade}'
    if own_time:
        text += f',"timestamp":{own_time}'
    return text + more + "}"


def _other_top_level(r: Random) -> str:
    return r.choice((
        "", " ", "null", "true", "1", "-", "NaN", '"x"', "[]", "[1]", "{}", '[{"leituras":[]}]',
        '{"leituras":null}', '{"leituras":{}}', "[" * 50_000, '{"leituras":"x"}', '{"leituras":1}',
        '{"timestamp":"2026-02-18T14:30:00Z"}', '{"leituras":[]', '{"leituras":[]}}', '{"leituras":[],}',
        "[" * 900, "{'leituras':[]}", '{"Leituras":[]}', '{"leituras":[],"seq":7}', "{" * 3_000,
        '{"a":' * 1_500, '{"leituras":[' * 700, '{"leituras":[]}\0', '\ufeff{"leituras":[]}',
        '{"leituras":[]}{"leituras":[]}', '{"leituras":[' + "{}," * 400 + "{}]}", '{"leituras":[[[[[]]]]]}',
        "x" * 70_000,
        '{"leituras":[' + _GOOD_READING * 100 + '{}],"timestamp":"2026-02-18T14:30:00Z"}',
        "\x0b{}", '"\\ud800"', "\t\n\r {}", *_MANY_READINGS,
    ))  # fmt: skip


# --- bytes --------------------------------------------------------------------------------------------------


def _noise(r: Random) -> bytes:
    if r.random() < 0.5:
        return r.randbytes(r.choice((0, 1, 2, 5, 40, 300)))
    return b"".join(r.choice(WORDS) for _ in range(r.randrange(40)))


def _mangle(r: Random, payload: bytes) -> tuple[str, bytes]:
    """Return what was done to the bytes of a payload, and the result."""
    form = r.randrange(11)
    at = r.randrange(len(payload) + 1)
    return _MANGLERS[form](r, payload, at)


def _flip_bits(r: Random, payload: bytes, _: int) -> tuple[str, bytes]:
    data = bytearray(payload or b"\0")
    for _ in range(r.choice((1, 1, 2, 3, 8))):
        data[r.randrange(len(data))] ^= 1 << r.randrange(8)
    return "bits_flipped", bytes(data)


def _insert(r: Random, payload: bytes, at: int) -> tuple[str, bytes]:
    return "inserted", payload[:at] + r.choice(WORDS) + payload[at:]


def _copy(r: Random, payload: bytes, at: int) -> tuple[str, bytes]:
    return "copied", payload[:at] + payload[at : at + r.choice((1, 5, 30, 100))] * 2 + payload[at:]


def _change_digits(r: Random, payload: bytes, _: int) -> tuple[str, bytes]:
    digits = (r.choice(b"0123456789") if 48 <= byte < 58 and r.random() < 0.05 else byte for byte in payload)
    return "digit", bytes(digits)


def _change_encoding(r: Random, payload: bytes, _: int) -> tuple[str, bytes]:
    utf16 = payload.decode("utf-8", "replace").encode("utf-16", "surrogatepass")
    return r.choice((("bom", b"\xef\xbb\xbf" + payload), ("utf16", utf16), ("trailing", payload + b"\0")))


def _add_blanks(r: Random, payload: bytes, _: int) -> tuple[str, bytes]:
    if r.random() < 0.97:
        return "blanks", payload.replace(b",", b" , ").replace(b":[", b":\r\n[")
    size = r.choice((65_536, 65_537, 70_000, 300_000)) - min(len(payload), 60_000)
    return "padded", payload + b" " * size


_Mangler = Callable[[Random, bytes, int], tuple[str, bytes]]
# As often as each is to be chosen. The third argument is a place in the payload.
_MANGLERS: tuple[_Mangler, ...] = (
    lambda _, payload, at: ("truncated", payload[:at]),
    _flip_bits,
    _flip_bits,
    lambda r, payload, at: ("invalid_utf8", payload[:at] + r.choice(INVALID_UTF8) + payload[at:]),
    _insert,
    _insert,
    lambda r, payload, at: ("cut_out", payload[:at] + payload[at + r.choice((1, 1, 2, 10, 50)) :]),
    _copy,
    _change_digits,
    _change_encoding,
    _add_blanks,
)
