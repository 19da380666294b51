"""The expected outcome of a message, derived from the contract.

It uses Python's ``json`` and ``Decimal``, and nothing of the pipeline.

Where the contract leaves a choice (a number of 500 decimals, an ISO 8601 week date, nesting near the
interpreter's limit), a reading or a message is *open*: it may be stored, but then as computed here, or
rejected, but then with a reason.
"""

import json
import re
import unicodedata
from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Any, NamedTuple

from lab.fuzz.fleet import ACCEPTS_SINCE, NOW, Fleet, FleetGateway, KnownDevice

MAX_BYTES = 65_536
MAX_READINGS = 2_000
DEEP = 200  # brackets from which on a parser may give up
TOLERANCE = timedelta(minutes=5)
NOTHING: frozenset[str] = frozenset()
LARGE = frozenset({"mensagem_grande"})

_CONTEXT = Context(prec=20_000, rounding=ROUND_HALF_EVEN, Emax=10**9, Emin=-(10**9))
_STRING = re.compile(r"[+-]?[0-9]+(\.[0-9]+)?([eE][+-]?[0-9]+)?")
_PARTS = re.compile(r"[+-]?([0-9]+)(?:\.([0-9]+))?(?:[eE][+-]?([0-9]+))?")
_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[Tt ]([0-9]{2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]+))?"
    r"(?:[Zz]|([+-])([0-9]{2}):?([0-9]{2}))"
)
_KINDS = ("telemetry", "heartbeat", "status")
_DAY = 86_400_000_000
# Units that one can be converted into another: their kind, and a power of ten.
_POWERS = {
    "wh": ("energy", 0),
    "kwh": ("energy", 3),
    "mwh": ("energy", 6),
    "l": ("volume", 0),
    "litro": ("volume", 0),
    "litros": ("volume", 0),
    "m3": ("volume", 3),
    "m^3": ("volume", 3),
}


class Expected(NamedTuple):
    """The expected outcome of one reading.

    It is stored where ``faults`` is empty (and, where it is ``open``, perhaps not). ``time`` is in
    microseconds since the year 1.
    """

    faults: frozenset[str]
    open: bool = False
    gateway_id: int = 0
    conta_id: int = 0
    device_id: int = 0
    time: int = 0
    valor: Decimal = Decimal(0)


class Expectation(NamedTuple):
    """The expected outcome of one message.

    It is rejected as a whole for one of ``refused``, or else it has its ``readings``.

    An ``open`` message may be rejected as a whole too; one that is not ``checkable`` is too deep to be read
    here, or large and broken. A ``large`` message is rejected as a whole, and its good readings are stored.
    ``seq`` is to be answered; where it is None there is no answer, but one of ``seq_open`` may be.
    """

    refused: frozenset[str] = NOTHING
    readings: tuple[Expected, ...] = ()
    open: bool = False
    checkable: bool = True
    large: bool = False
    seq: int | None = None
    seq_open: frozenset[int] = frozenset()
    gateway_id: int | None = None
    conta_id: int | None = None


class _Number(str):
    """A JSON number as written."""


class _Constant(str):
    """One of NaN, Infinity and -Infinity."""


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as written, repeated keys included."""

    def get(self, key: str) -> Any:
        return next((value for name, value in reversed(self) if name == key), None)

    def count_of(self, key: str) -> int:
        return sum(name == key for name, _ in self)


def microseconds(moment: datetime) -> int:
    """Return an aware time as microseconds since the year 1 in UTC."""
    offset = moment.utcoffset() or timedelta()
    since = moment.replace(tzinfo=None) - datetime(1, 1, 1)  # noqa: DTZ001
    return (since - offset) // timedelta(microseconds=1)


EARLIEST, LATEST = microseconds(ACCEPTS_SINCE), microseconds(NOW + TOLERANCE)


def expect(topic: bytes, payload: bytes, fleet: Fleet, prefix: str) -> Expectation:
    """Return the expected outcome of one message."""
    levels = topic.decode("utf-8", "replace").split("/")
    if (
        levels[:-2] != prefix.split("/")
        or levels[-1] not in _KINDS
        or not re.fullmatch(r"[A-Za-z0-9_.:-]{1,32}", levels[-2])
    ):
        return Expectation(frozenset({"topico_invalido"}))
    gateway = fleet.find(levels[-2])
    if gateway is None:
        return Expectation(frozenset({"gateway_desconhecido"}))
    expectation = (
        _content(levels[-1], payload, gateway)
        if gateway.is_active
        else Expectation(frozenset({"gateway_inativo"}))
    )
    return expectation._replace(gateway_id=gateway.id, conta_id=gateway.conta_id)


def written(text: str) -> Any:
    """Parse JSON, with its numbers as they are written and repeated keys kept.

    None if it is nested too deeply. Raises ValueError.
    """
    try:
        return json.loads(
            text, parse_float=_Number, parse_int=_Number, parse_constant=_Constant, object_pairs_hook=_Pairs
        )
    except RecursionError:
        return None


def brings(document: Any, index: int, device: KnownDevice, valor: Decimal) -> bool:
    """Return whether a message, as :func:`written`, has this reading here."""
    if document is None:
        return True
    entries = document.get("leituras")
    if type(entries) is not list or index >= len(entries) or not isinstance(entries[index], _Pairs):
        return False
    entry = entries[index]
    unit = entry.get("unidade")
    shift = _shift(unit, device.unidade) if type(unit) is str else 0
    return (
        shift is not None
        and entry.get("dispositivo_codigo") == device.codigo
        and _exact(entry.get("valor"), shift)[0] == valor
    )


def _content(kind: str, payload: bytes, gateway: FleetGateway) -> Expectation:
    if len(payload) > MAX_BYTES:
        return _large(payload, gateway) if kind == "telemetry" else Expectation(LARGE)
    # Its number may be found in spite of that, and answered.
    not_json = Expectation(frozenset({"json_invalido"}), seq_open=_numbers(payload))
    try:
        text = payload.decode()
    except UnicodeDecodeError:
        return not_json
    if kind == "status":
        return (
            Expectation()
            if text.strip().lower() in ("online", "offline")
            else Expectation(frozenset({"esquema_invalido"}))
        )
    if kind == "heartbeat" and not text.strip():
        return Expectation()
    deep = payload.count(b"[") + payload.count(b"{") > DEEP
    try:
        document = written(text)
    except ValueError:
        return not_json
    if document is None and text.strip() != "null":
        return Expectation(checkable=False, seq_open=_numbers(payload))
    if kind == "heartbeat":
        return Expectation(
            NOTHING if isinstance(document, _Pairs) else frozenset({"esquema_invalido"}), open=deep
        )
    return _telemetry(document, gateway)._replace(open=deep)


def _large(payload: bytes, gateway: FleetGateway) -> Expectation:
    """Return the expectation of telemetry that is too large.

    Of one that is broken the contract leaves open which readings are complete.
    """
    broken = Expectation(
        LARGE | {"esquema_invalido", "mac_divergente"},
        checkable=False,
        large=True,
        seq_open=_numbers(payload),
    )
    try:
        document = written(payload.decode())
    except ValueError:
        return broken
    if document is None or payload.count(b"[") + payload.count(b"{") > DEEP:
        return broken
    expectation = _telemetry(document, gateway)
    return expectation if expectation.refused else expectation._replace(refused=LARGE, large=True)


def _numbers(payload: bytes) -> frozenset[int]:
    """Return every integer in these bytes that may be a message's number."""
    return frozenset(int(seq) for seq in re.findall(rb'"seq"\s*:\s*(-?[0-9]{1,25})', payload))


def _telemetry(document: Any, gateway: FleetGateway) -> Expectation:
    if not isinstance(document, _Pairs):
        return Expectation(frozenset({"esquema_invalido"}))
    faults = set()
    entries, mac = document.get("leituras"), document.get("gateway_mac")
    is_list = type(entries) is list
    if (
        not is_list
        or len(entries) > MAX_READINGS
        or any(document.count_of(key) > 1 for key in ("leituras", "timestamp", "gateway_mac", "seq"))
    ):
        faults.add("esquema_invalido")
    if mac is not None and (type(mac) is not str or not _names(mac, gateway)):
        faults.add("mac_divergente")
    seq, seq_open = _sequence(document)
    if faults:
        return Expectation(frozenset(faults), seq=seq, seq_open=seq_open)
    readings = tuple(_reading(entry, document.get("timestamp"), gateway) for entry in entries)
    return Expectation(readings=readings, seq=seq, seq_open=seq_open)


def _names(mac: str, gateway: FleetGateway) -> bool:
    return mac.lower() in (gateway.mac, gateway.mac.replace(":", "-"), gateway.mac.replace(":", ""))


def _sequence(document: _Pairs) -> tuple[int | None, frozenset[int]]:
    """Return the number to be answered, and those that may be answered.

    A number may be answered where its key is there twice, or where it is beyond what a gateway counts with.
    """
    written_as = [value for key, value in document if key == "seq"]
    numbers = frozenset(
        int(seq)
        for seq in written_as
        if type(seq) is _Number and len(seq) <= 25 and re.fullmatch(r"-?[0-9]+", seq)
    )
    if len(written_as) == 1 and all(-(2**63) <= number < 2**63 for number in numbers):
        return next(iter(numbers), None), frozenset()
    return None, numbers


def _reading(entry: Any, message_time: Any, gateway: FleetGateway) -> Expected:
    if not isinstance(entry, _Pairs):
        return Expected(frozenset({"esquema_invalido"}))
    faults = set()
    keys = ("dispositivo_codigo", "valor", "unidade", "timestamp")
    codigo, unidade, own_time = (
        entry.get("dispositivo_codigo"),
        entry.get("unidade"),
        entry.get("timestamp"),
    )
    if (
        any(entry.count_of(key) > 1 for key in keys)
        or type(codigo) is not str
        or not codigo
        or not entry.count_of("valor")
    ):
        faults.add("esquema_invalido")
    device = next((d for d in gateway.devices if d.codigo == codigo), None) if type(codigo) is str else None
    if device is None:
        faults.add("dispositivo_desconhecido")
    elif not device.is_active:
        faults.add("dispositivo_inativo")
    shift = 0
    if unidade is not None:
        found = _shift(unidade, device.unidade) if device is not None and type(unidade) is str else None
        if type(unidade) is not str or (device is not None and found is None):
            faults.add("unidade_invalida")
        shift = found or 0
    valor, open_value = _exact(entry.get("valor"), shift)
    if valor is None:
        faults.add("valor_invalido")
    time, late, open_time = _instant(message_time if own_time is None else own_time)
    faults |= late
    if faults or device is None or valor is None or time is None:
        # An open point counts as a fault beside others: the rejection may name it.
        extra = ({"valor_invalido"} if open_value else set()) | (
            {"timestamp_invalido"} if open_time else set()
        )
        return Expected(frozenset(faults | extra))
    return Expected(NOTHING, open_value or open_time, gateway.id, gateway.conta_id, device.id, time, valor)


def _shift(sent: str, registered: str) -> int | None:
    """Return the power of ten from a unit to the registered one.

    None if one cannot be converted into the other.
    """
    one, other = (
        unicodedata.normalize("NFKC", unit.strip().replace("º", "°")) for unit in (sent, registered)
    )
    if one == other:
        return 0
    (kind, power), (wanted, base) = (
        _POWERS.get("".join(unit.lower().split()), (unit, 0)) for unit in (one, other)
    )
    return power - base if kind == wanted else None


def _exact(value: Any, shift: int) -> tuple[Decimal | None, bool]:
    """numeric(15,4) half-even of a value times 10 ** ``shift``.

    None if it is no number or does not fit. True if it has more digits than a parser must accept.
    """
    if type(value) is str:
        if not _STRING.fullmatch(value):
            return None, False
    elif type(value) is not _Number:
        return None, False
    parts = _PARTS.fullmatch(value)
    assert parts is not None
    whole, decimals, exponent = (group or "" for group in parts.groups())
    unusual = len(whole) > 40 or len(decimals) > 400 or len(exponent) > 4
    if len(exponent) > 6:
        return (
            (Decimal(0), True)
            if not (whole + decimals).strip("0") or "e-" in value.lower()
            else (None, False)
        )
    exact = Decimal(value).scaleb(shift, context=_CONTEXT)
    if exact and exact.adjusted() >= 11:
        return None, False
    rounded = (
        Decimal(0)
        if exact.adjusted() < -6 or not exact
        else exact.quantize(Decimal("0.0001"), context=_CONTEXT)
    )
    return (rounded or Decimal(0), unusual) if abs(rounded) < 10**11 else (None, False)


def _instant(value: Any) -> tuple[int | None, frozenset[str], bool]:
    """Return microseconds since the year 1, faults, and whether it is open.

    Open is a time that may be rejected for its form.
    """
    if type(value) is not str:
        return None, frozenset({"timestamp_invalido"}), False
    strict = _TIME.fullmatch(value)
    try:
        if strict:
            moment = _calculate(strict)
        else:
            if not re.fullmatch(r"[-+0-9TtWZz:., ]+", value):
                raise ValueError
            loose = datetime.fromisoformat(value)
            if loose.utcoffset() is None:
                raise ValueError
            moment = microseconds(loose)
    except ValueError:
        return None, frozenset({"timestamp_invalido"}), False
    if moment > LATEST:
        return (
            moment,
            frozenset(
                {"timestamp_futuro"}
                | (NOTHING if strict and moment < 3_652_058 * _DAY else {"timestamp_invalido"})
            ),
            False,
        )
    if moment < EARLIEST:
        return (
            moment,
            frozenset({"timestamp_antigo"} | (NOTHING if strict else {"timestamp_invalido"})),
            False,
        )
    return moment, NOTHING, not strict


def _calculate(match: re.Match[str]) -> int:
    """Calculate microseconds by the calendar's arithmetic.

    More than six decimals are rounded to the nearest microsecond. Raises ValueError.
    """
    year, month, day, hour, minute, second = (int(part) for part in match.groups()[:6])
    fraction, sign, offset_hours, offset_minutes = match.groups()[6:]
    away = int(offset_hours or 0), int(offset_minutes or 0)
    if hour > 23 or minute > 59 or second > 59 or away[0] > 23 or away[1] > 59:
        raise ValueError("no such time")
    micro = (int(f"{fraction:0<7}"[:7]) + 5) // 10 if fraction else 0
    seconds = (
        hour * 3600 + minute * 60 + second - (away[0] * 3600 + away[1] * 60) * (-1 if sign == "-" else 1)
    )
    return (date(year, month, day).toordinal() - 1) * _DAY + seconds * 1_000_000 + micro
