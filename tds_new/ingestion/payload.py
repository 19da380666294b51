"""Bytes to readings: the only place that knows the payload's form. Pure: no Django, no MQTT client, no database.

Two ways through. The fast one is a typed decoder; whatever it cannot take as it stands (not valid, or ambiguous: a repeated key, an
escaped NUL) goes through the tolerant one, which looks at each reading alone, so that a bad one costs only itself.
"""

import json
import re
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Annotated, Any, NoReturn

import msgspec

from tds_new.ingestion.rejection import MessageRefusedError, Reason, Refusal
from tds_new.mac import normalise_mac

MAX_PAYLOAD_BYTES = 65_536
QUANTUM = Decimal("0.0001")
LIMIT = Decimal(10) ** 11  # numeric(15,4)
ZERO = Decimal(0)
_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN)

# A JSON number, or a numeric string: the same with leading zeros and a plus sign allowed. Anything that float() or Decimal() would
# take besides (NaN, 1_000, other alphabets' digits, blanks, a decimal comma) is no value.
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")
_NUMERIC_STRING = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")

AwareDatetime = Annotated[datetime, msgspec.Meta(tz=True)]


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One reading: ``time`` is aware and in UTC, ``valor`` has at most four decimals, ``index`` is its place in ``leituras``."""

    index: int
    codigo: str
    valor: Decimal
    unidade: str | None
    time: datetime


class Telemetry(msgspec.Struct, frozen=True, gc=False):
    """A telemetry message: its good readings, why the others were refused, and its text as jsonb can hold it."""

    readings: list[Reading]
    refusals: list[Refusal]
    gateway_mac: str | None
    seq: int | None
    text: str


class _Leitura(msgspec.Struct, gc=False):
    dispositivo_codigo: str
    valor: msgspec.Raw
    unidade: str | None = None
    timestamp: AwareDatetime | None = None


class _Envelope(msgspec.Struct, gc=False):
    leituras: list[_Leitura]
    gateway_mac: str | None = None
    timestamp: AwareDatetime | None = None
    seq: int | None = None


_decoder = msgspec.json.Decoder(_Envelope)


class _RefusedError(Exception):
    """One reading cannot be used."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(detail)
        self.reason, self.detail = reason, detail


def parse_telemetry(payload: bytes) -> Telemetry:
    """The readings of a telemetry payload.

    Raises MessageRefusedError where nothing in it can be used: too large, not UTF-8, not JSON, not an object with ``leituras``.
    """
    text = decode_text(payload)
    if "\\u0000" in text:
        return _parse_tolerant(text)
    try:
        envelope = _decoder.decode(text)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return _parse_tolerant(text)
    leituras = envelope.leituras
    own_times = sum(1 for leitura in leituras if leitura.timestamp is not None)
    if (
        text.count('"valor"') != len(leituras)
        or text.count('"dispositivo_codigo"') != len(leituras)
        or text.count('"timestamp"') != own_times + (envelope.timestamp is not None)
        or text.count('"leituras"') != 1
    ):
        return _parse_tolerant(text)  # a key may be there twice
    readings: list[Reading] = []
    refusals: list[Refusal] = []
    for index, leitura in enumerate(leituras):
        literal = bytes(leitura.valor).decode()
        if "\\" in literal:
            return _parse_tolerant(text)
        try:
            valor = _valor(literal[1:-1], _NUMERIC_STRING) if literal[:1] == '"' else _valor(literal, _NUMBER)
            time = _in_utc(leitura.timestamp or envelope.timestamp)
        except _RefusedError as error:
            refusals.append(Refusal(error.reason, error.detail, index))
        else:
            readings.append(Reading(index, leitura.dispositivo_codigo, valor, leitura.unidade, time))
    return Telemetry(readings, refusals, envelope.gateway_mac, envelope.seq, text)


def decode_text(payload: bytes) -> str:
    """The payload as text. Raises MessageRefusedError where it is too large or not UTF-8."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageRefusedError(Reason.LIMITE_EXCEDIDO, f"{len(payload)} bytes; at most {MAX_PAYLOAD_BYTES}")
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise MessageRefusedError(Reason.JSON_INVALIDO, f"not UTF-8 at byte {error.start}") from error


def check_gateway_mac(claimed: str | None, mac: str) -> None:
    """Raise MessageRefusedError where the payload names another gateway than the topic does."""
    if claimed is not None and claimed != mac and normalise_mac(claimed) != mac:
        raise MessageRefusedError(Reason.MAC_DIVERGENTE, f"gateway_mac {claimed[:60]!r} is not the topic's gateway {mac}")


def _valor(literal: str, form: re.Pattern[str]) -> Decimal:
    """The exact value, rounded half-even to four decimals; raises _RefusedError where it is none or out of numeric(15,4)."""
    if not form.fullmatch(literal):
        raise _RefusedError(Reason.VALOR_INVALIDO, f"valor {literal[:60]!r} is not a number")
    valor = Decimal(literal)
    if valor.adjusted() < 11:
        exponent = valor.as_tuple().exponent
        if isinstance(exponent, int) and not -4 <= exponent <= 0:
            valor = valor.quantize(QUANTUM, context=_CONTEXT)
        if abs(valor) < LIMIT:
            return valor or ZERO  # -0 is 0
    elif not valor:
        return ZERO
    raise _RefusedError(Reason.VALOR_INVALIDO, f"valor {literal[:60]} does not fit numeric(15,4)")


def _in_utc(time: datetime | None) -> datetime:
    if time is None:
        raise _RefusedError(Reason.TIMESTAMP_INVALIDO, "no timestamp, neither in the reading nor in the message")
    if time.tzinfo is UTC:
        return time
    try:
        return time.astimezone(UTC)
    except OverflowError:
        early = time.year == 1
        raise _RefusedError(
            Reason.TIMESTAMP_ANTIGO if early else Reason.TIMESTAMP_FUTURO, f"timestamp {time.isoformat()} is outside the calendar"
        ) from None


# --- the tolerant way ---------------------------------------------------------------------------------------------------------


class _Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


class _Constant(str):
    """NaN, Infinity or -Infinity: not JSON, but many encoders write them."""

    __slots__ = ()


class _Object(dict[str, Any]):
    """A JSON object that remembers which keys were there more than once."""

    repeated: frozenset[str] = frozenset()


def _object(pairs: list[tuple[str, Any]]) -> _Object:
    result = _Object(pairs)
    if len(result) != len(pairs):
        seen: set[str] = set()
        result.repeated = frozenset(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
    return result


def load_json(text: str) -> Any:
    """Any JSON value; numbers stay text. Raises MessageRefusedError where it is not JSON or nested too deeply."""
    try:
        return json.loads(text, parse_float=_Number, parse_int=_Number, parse_constant=_Constant, object_pairs_hook=_object)
    except RecursionError:
        raise MessageRefusedError(Reason.JSON_INVALIDO, "nested too deeply") from None
    except ValueError as error:
        raise MessageRefusedError(Reason.JSON_INVALIDO, str(error)[:200]) from error


def _parse_tolerant(text: str) -> Telemetry:
    document = load_json(text)
    if not isinstance(document, _Object):
        _refuse_schema("the payload is not an object")
    leituras = document.get("leituras")
    if not isinstance(leituras, list):
        _refuse_schema("leituras is missing or not a list")
    if repeated := document.repeated & {"leituras", "timestamp", "gateway_mac", "seq"}:
        _refuse_schema(f"keys are there twice: {', '.join(sorted(repeated))}")
    mac = document.get("gateway_mac")
    if mac is not None and type(mac) is not str:
        raise MessageRefusedError(Reason.MAC_DIVERGENTE, "gateway_mac is not a string")
    readings: list[Reading] = []
    refusals: list[Refusal] = []
    for index, leitura in enumerate(leituras):
        try:
            readings.append(_reading(index, leitura, document.get("timestamp")))
        except _RefusedError as error:
            refusals.append(Refusal(error.reason, error.detail, index))
    seq = document.get("seq")
    number = int(seq) if isinstance(seq, _Number) and seq.lstrip("-").isdigit() and len(seq) <= 20 else None
    return Telemetry(readings, refusals, mac, number, _storable(document))


def _refuse_schema(detail: str) -> NoReturn:
    raise MessageRefusedError(Reason.ESQUEMA_INVALIDO, detail)


def _reading(index: int, leitura: Any, message_time: Any) -> Reading:
    if not isinstance(leitura, _Object):
        raise _RefusedError(Reason.ESQUEMA_INVALIDO, "the reading is not an object")
    if leitura.repeated:
        raise _RefusedError(Reason.ESQUEMA_INVALIDO, f"keys are there twice: {', '.join(sorted(leitura.repeated))}"[:200])
    codigo, valor, unidade = leitura.get("dispositivo_codigo"), leitura.get("valor"), leitura.get("unidade")
    if type(codigo) is not str or not codigo:
        raise _RefusedError(Reason.ESQUEMA_INVALIDO, "dispositivo_codigo is missing or not a string")
    if "valor" not in leitura:
        raise _RefusedError(Reason.ESQUEMA_INVALIDO, "valor is missing")
    if not isinstance(valor, str) or isinstance(valor, _Constant):
        raise _RefusedError(Reason.VALOR_INVALIDO, f"valor {str(valor)[:60]!r} is not a number")
    if unidade is not None and type(unidade) is not str:
        raise _RefusedError(Reason.UNIDADE_INVALIDA, "unidade is not a string")
    exact = _valor(valor, _NUMBER if isinstance(valor, _Number) else _NUMERIC_STRING)
    own_time = leitura.get("timestamp")
    return Reading(index, codigo, exact, unidade, _in_utc(_time(message_time if own_time is None else own_time)))


def _time(value: Any) -> datetime | None:
    if value is None:
        return None
    if type(value) is not str:
        raise _RefusedError(Reason.TIMESTAMP_INVALIDO, f"timestamp {str(value)[:60]!r} is not ISO 8601 text")
    try:
        time = datetime.fromisoformat(value)
    except ValueError:
        raise _RefusedError(Reason.TIMESTAMP_INVALIDO, f"timestamp {value[:60]!r} is not ISO 8601") from None
    if time.utcoffset() is None:
        raise _RefusedError(Reason.TIMESTAMP_INVALIDO, f"timestamp {value[:60]!r} has no offset; add Z or -03:00")
    return time


def _storable(document: Any) -> str:
    """The document as JSON that jsonb takes: no NUL, no lone surrogate, no NaN, no number past numeric's range."""
    return msgspec.json.encode(_plain(document)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, _Number):
        return msgspec.Raw(value.encode()) if _fits_numeric(value) else str(value)
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _fits_numeric(literal: str) -> bool:
    _, _, exponent = literal.lower().partition("e")
    return len(literal) < 1000 and (not exponent or abs(int(exponent[:20])) < 1000)


def clean_text(value: str) -> str:
    """``value`` as PostgreSQL's text can hold it: NUL and lone surrogates become U+FFFD."""
    return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def parse_object(payload: bytes) -> dict[str, Any]:
    """A heartbeat's optional JSON object. Raises MessageRefusedError where it is neither empty nor an object."""
    text = decode_text(payload)
    if not text.strip():
        return {}
    document = load_json(text)
    if not isinstance(document, dict):
        _refuse_schema("the payload is not an object")
    return document
