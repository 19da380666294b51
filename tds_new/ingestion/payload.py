"""Bytes to readings: the only module that knows the form of the payload.

It is pure: no Django, no MQTT client, no database. There are two parsers. The fast one is a typed decoder. A
payload that it cannot take, because something is invalid or ambiguous (a repeated key, an escaped NUL), goes
to the tolerant parser. That one looks at each reading by itself, so that a bad reading costs only itself.
"""

import re
from collections.abc import Callable
from datetime import UTC, datetime
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from time import thread_time
from typing import Annotated, Any, NoReturn, TypeVar

import msgspec

from tds_new.ingestion.lossless import Constant, Number, Object, load_items, load_json, storable
from tds_new.ingestion.lossless import clean_text as clean_text
from tds_new.ingestion.refusal import MessageRefusedError, Reason, Refusal, Refusals
from tds_new.mac import normalise_mac
from tds_new.units import largest_unit

MAX_PAYLOAD_BYTES = 65_536
MAX_ELEMENTS = 50_000  # values in a message over the limit; 2,000 readings have some 10,000
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_READINGS = 2_000  # in one message
QUANTUM = Decimal("0.0001")
LIMIT = Decimal(10) ** 11  # numeric(15,4)
LARGEST_EXPONENT = 16  # what is larger fits in no unit
ZERO = Decimal(0)
_CONTEXT = Context(prec=40, rounding=ROUND_HALF_EVEN)
_EXACT = Context(prec=1000)  # no number that _NUMBER takes has so many digits

# A JSON number. A numeric string may have leading zeros and a plus sign too. float() and Decimal() would take
# more (NaN, 1_000, digits of other alphabets, blanks); those, and a decimal comma, are rejected.
_NUMBER = re.compile(r"-?[0-9]{1,40}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")
_is_plain = re.compile(r"-?[0-9]{1,11}(?:\.[0-9]{1,4})?").fullmatch
_NUMERIC_STRING = re.compile(r"[+-]?[0-9]{1,40}(?:\.[0-9]{1,400})?(?:[eE][+-]?[0-9]{1,4})?")
# An escaped NUL, which jsonb rejects, or an escaped ASCII character, which may be part of a key.
_ESCAPED_ASCII = re.compile(r"\\u00[0-7]")
# ISO 8601 as datetime.fromisoformat reads it. That function alone would also take 14:30:00xZ, take +05:70 for
# +06:10, and stop reading at a NUL.
_ISO_8601 = re.compile(
    r"[0-9]{4}(?:-?[0-9]{2}-?[0-9]{2}|-?W[0-9]{2}(?:-?[0-9])?)"
    r"[Tt ][0-9]{2}(?::?[0-9]{2}(?::?[0-9]{2}(?:[.,][0-9]+)?)?)?"
    r"(?:[Zz]|[+-][0-9]{2}(?::?[0-5][0-9]){0,2})?"
)
# A number of a field that is only kept, and that jsonb may not take. It is looked for in one pass.
_HUGE_NUMBER = re.compile(r"[0-9.][eE][+-]?[0-9]{4}|(?<![0-9])[0-9]{1000}")
_READINGS_BEGIN = re.compile(r'"leituras"[ \t\r\n]*:[ \t\r\n]*\[')
_KEYS = frozenset({"leituras", "timestamp", "gateway_mac", "seq"})
_READING_KEYS = frozenset({"dispositivo_codigo", "valor", "unidade", "timestamp"})

Text = TypeVar("Text", str, bytes)
AwareDatetime = Annotated[datetime, msgspec.Meta(tz=True)]


class Reading(msgspec.Struct, frozen=True, gc=False):
    """One reading of a message.

    ``index`` is its place in ``leituras``, ``valor`` has at most four decimals, ``time`` is aware and in UTC.
    ``exact`` is the value before rounding, where that changed it. A value that is too large for its
    ``unidade`` is given in the largest unit of that kind.
    """

    index: int
    codigo: str
    valor: Decimal
    unidade: str | None
    time: datetime
    exact: Decimal | None = None


class Telemetry(msgspec.Struct, frozen=True, gc=False):
    """A telemetry message.

    ``readings`` are those that can be used, ``refusals`` say why the others cannot; ``text`` is the message
    as jsonb can hold it. ``processor_time`` is what reading it took, in seconds, where it is large or the
    typed decoder cannot take it; else 0.
    """

    readings: list[Reading]
    refusals: list[Refusal]
    gateway_mac: str | None
    seq: int | None
    text: str
    processor_time: float = 0.0


class _TypedReading(msgspec.Struct, gc=False):
    dispositivo_codigo: Annotated[str, msgspec.Meta(min_length=1)]
    valor: msgspec.Raw
    unidade: str | None = None
    timestamp: AwareDatetime | None = None


SequenceNumber = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]


class _Envelope(msgspec.Struct, gc=False):
    leituras: list[_TypedReading]
    gateway_mac: str | None = None
    timestamp: AwareDatetime | None = None
    seq: SequenceNumber | None = None


class _Numbered(msgspec.Struct, gc=False):
    """A message of which only the number is wanted: the decoder skips the rest."""

    seq: SequenceNumber | None = None


class _Counted(msgspec.Struct, gc=False):
    """A message of which only the number of readings is wanted.

    Nothing in them is decoded.
    """

    leituras: list[msgspec.Raw]


_decoder = msgspec.json.Decoder(_Envelope)
_number_decoder = msgspec.json.Decoder(_Numbered)
_find_numbers = re.compile(rb'"seq"[ \t\r\n]*:[ \t\r\n]*(-?[0-9]{1,19})[ \t\r\n]*[,}]').finditer
MAX_CANDIDATES = 4  # places in a broken message at which its number is looked for
_counter = msgspec.json.Decoder(_Counted)


class _RefusedError(Exception):
    """One reading cannot be used.

    ``detail`` may be a function that returns it: of thousands of bad readings only the first are described.
    """

    def __init__(self, reason: Reason, detail: str | Callable[[], str]) -> None:
        super().__init__()
        self.reason, self.detail = reason, detail


class _AmbiguousError(Exception):
    """The typed decoder cannot tell what a reading means."""


def parse_telemetry(payload: bytes) -> Telemetry:
    """Return the readings of a telemetry payload.

    Raises MessageRefusedError if nothing in it can be used: too large, not UTF-8, not JSON, not an object
    with ``leituras``, or with too many of them.
    """
    return _parse(decode_text(payload))


def parse_large(payload: bytes) -> Telemetry:
    """Return the complete readings of a telemetry payload over the limit.

    It may be the beginning of one. Where it is no JSON, because it was cut or is broken, these are the
    readings before the break. Raises MessageRefusedError if nothing in it can be used.
    """
    return _measured(_parse_large, payload)


def _parse_large(payload: bytes) -> Telemetry:
    try:
        text = payload.decode()
    except UnicodeDecodeError as error:
        text = payload[: error.start].decode()
    try:
        return _parse(text)
    except MessageRefusedError as error:
        if error.refusal.reason is not Reason.JSON_INVALIDO:
            raise
    try:
        return _parse_beginning(text)
    except RecursionError:
        raise MessageRefusedError(Reason.MENSAGEM_GRANDE, "nested too deeply") from None


def _parse(text: str) -> Telemetry:
    if "\\u00" in text and _ESCAPED_ASCII.search(text):
        return _parse_tolerant(text)
    try:
        envelope = _decoder.decode(text)
    except (ValueError, RecursionError):  # msgspec's errors are ValueErrors
        return _parse_tolerant(text)
    _check_count(len(envelope.leituras), envelope.seq)
    # Count the quotation marks of the decoded keys and strings: a text with no more of them has no other key
    # and no key twice.
    quotes = (
        2
        + 4 * ((envelope.gateway_mac is not None) + (envelope.timestamp is not None))
        + 2 * (envelope.seq is not None)
    )
    readings: list[Reading] = []
    refusals = Refusals()
    for index, entry in enumerate(envelope.leituras):
        literal, unidade, own_time = bytes(entry.valor).decode(), entry.unidade, entry.timestamp
        quotes += 6 if unidade is None else 10
        if own_time is not None:
            quotes += 4
        try:
            if _is_plain(literal):  # as nearly every meter writes it: exact and in range; -0 becomes 0
                valor, exact = Decimal(literal) or ZERO, None
            else:
                quotes += 2 * (literal[0] == '"')
                valor, unidade, exact = _valor_of_other_form(literal, unidade)
            time = own_time or envelope.timestamp
            if time is None or time.tzinfo is not UTC:
                time = _in_utc(time)
            readings.append(Reading(index, entry.dispositivo_codigo, valor, unidade, time, exact))
        except _AmbiguousError:
            return _parse_tolerant(text)
        except _RefusedError as error:
            refusals.add(error.reason, error.detail, index)
    has_more = text.count('"') != quotes  # fields that are only kept, or repeated ones
    if (has_more or refusals.all) and (_HUGE_NUMBER.search(text) or _may_repeat_keys(text, envelope)):
        return _parse_tolerant(text)
    return Telemetry(readings, refusals.all, envelope.gateway_mac, envelope.seq, text)


def _may_repeat_keys(text: str, envelope: _Envelope) -> bool:
    """Whether a key that matters may be repeated."""
    entries = envelope.leituras
    own_times = sum(entry.timestamp is not None for entry in entries)
    return (
        text.count('"valor"') != len(entries)
        or text.count('"dispositivo_codigo"') != len(entries)
        or text.count('"timestamp"') != own_times + (envelope.timestamp is not None)
        or text.count('"unidade"') != sum(entry.unidade is not None for entry in entries)
        or text.count('"gateway_mac"') != (envelope.gateway_mac is not None)
        or text.count('"seq"') != (envelope.seq is not None)
        or text.count('"leituras"') != 1
    )


def decode_text(payload: bytes) -> str:
    """Return the payload as text.

    Raises MessageRefusedError if it is too large or not UTF-8.
    """
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MessageRefusedError(
            Reason.MENSAGEM_GRANDE, f"{len(payload)} bytes; at most {MAX_PAYLOAD_BYTES}"
        )
    try:
        return payload.decode()
    except UnicodeDecodeError as error:
        raise MessageRefusedError(Reason.JSON_INVALIDO, f"not UTF-8 at byte {error.start}") from error


def sequence_of(payload: bytes) -> int | None:
    """Return the ``seq`` of a message that was refused as a whole, if it has one.

    Such a message is kept as rejected, so its gateway need not keep it. No tree is built: the decoder skips
    all but the number. In a message that is no JSON, as one that was cut, the number is looked for outside
    strings and inside one bracket.
    """
    payload = payload.removeprefix(BYTE_ORDER_MARK)
    try:
        return _number_decoder.decode(payload).seq
    except (ValueError, RecursionError):
        pass
    if payload.lstrip()[:1] != b"{":
        return None
    for count, found in enumerate(_find_numbers(payload)):
        if count == MAX_CANDIDATES:
            break
        if _is_top_level(payload[: found.start()]):
            number = int(found[1])
            return number if -(2**63) <= number < 2**63 else None
    return None


def _is_top_level(before: bytes) -> bool:
    """Whether what comes after these bytes of a JSON object is one of its own keys.

    That is outside strings and inside one bracket.
    """
    parts = before.replace(b"\\\\", b"").replace(b'\\"', b"").split(b'"')
    outside = b"".join(parts[::2])
    opened = outside.count(b"{") + outside.count(b"[")
    return len(parts) % 2 == 1 and opened - outside.count(b"}") - outside.count(b"]") == 1


def _sequence(document: Object) -> int | None:
    """The number of a message: an integer of 64 bits."""
    seq = document.get("seq")
    if not isinstance(seq, Number) or len(seq) > 20 or not seq.lstrip("-").isdigit():
        return None
    number = int(seq)
    return number if -(2**63) <= number < 2**63 else None


def check_gateway_mac(telemetry: Telemetry, mac: str) -> None:
    """Raise MessageRefusedError if the payload names another gateway than the topic.

    ``mac`` is that of the topic's gateway.
    """
    claimed = telemetry.gateway_mac
    if claimed is not None and claimed != mac and normalise_mac(claimed) != mac:
        raise MessageRefusedError(
            Reason.MAC_DIVERGENTE,
            f"gateway_mac {claimed[:60]!r} is not the topic's gateway {mac}",
            telemetry.seq,
        )


def _valor_of_other_form(literal: str, unidade: str | None) -> tuple[Decimal, str | None, Decimal | None]:
    """Return value, unit and exact value of a literal that is no plain number.

    Raises _RefusedError if it is not a value, _AmbiguousError if it is a string with escapes.
    """
    if literal[0] != '"':
        return _numeric(_valor(literal, _NUMBER), unidade)
    if _is_plain(literal[1:-1]):
        return Decimal(literal[1:-1]) or ZERO, unidade, None
    if "\\" in literal:
        raise _AmbiguousError
    return _numeric(_valor(literal[1:-1], _NUMERIC_STRING), unidade)


def _valor(literal: str, form: re.Pattern[str]) -> Decimal:
    """The exact value of ``literal``.

    Raises _RefusedError if it is not of the ``form`` or too large in any unit.
    """
    if not form.fullmatch(literal):
        raise _RefusedError(Reason.VALOR_INVALIDO, lambda: f"valor {literal[:60]!r} is not a number")
    valor = Decimal(literal)
    if valor and valor.adjusted() > LARGEST_EXPONENT:
        raise _too_large(lambda: literal)
    return valor


def _numeric(exact: Decimal, unidade: str | None) -> tuple[Decimal, str | None, Decimal | None]:
    """Return a value as numeric(15,4) holds it, its unit, and the exact value.

    The last is None if it is no other. What is too large is given in the largest unit of its kind. Raises
    _RefusedError if it is too large there too.
    """
    valor = rounded(exact)
    if valor is None and unidade is not None:
        unidade, factor = largest_unit(unidade)
        exact = times(exact, factor)
        valor = rounded(exact)
    if valor is None:
        raise _too_large(lambda: f"{exact:f}")
    return valor, unidade, None if valor == exact else exact


def rounded(exact: Decimal) -> Decimal | None:
    """Return a value rounded half-even to four decimals.

    None if it does not fit numeric(15,4).
    """
    if not exact:
        return ZERO
    if exact.adjusted() > 10:
        return None
    exponent = exact.as_tuple().exponent
    if isinstance(exponent, int) and not -4 <= exponent <= 0:
        exact = exact.quantize(QUANTUM, context=_CONTEXT)
    return exact or ZERO if abs(exact) < LIMIT else None


def times(value: Decimal, factor: Fraction) -> Decimal:
    """Return the exact product of a value and a unit's factor, a power of ten."""
    return _EXACT.divide(_EXACT.multiply(value, factor.numerator), factor.denominator)


def _too_large(literal: Callable[[], str]) -> _RefusedError:
    return _RefusedError(Reason.VALOR_INVALIDO, lambda: f"valor {literal()[:60]} does not fit numeric(15,4)")


def _in_utc(time: datetime | None) -> datetime:
    """The same instant in UTC.

    Raises _RefusedError if there is no time, or UTC has no date for it.
    """
    if time is None:
        raise _RefusedError(
            Reason.TIMESTAMP_INVALIDO, "no timestamp, neither in the reading nor in the message"
        )
    if time.tzinfo is UTC:
        return time
    try:
        return time.astimezone(UTC)
    except OverflowError:
        early = time.year == 1
        raise _RefusedError(
            Reason.TIMESTAMP_ANTIGO if early else Reason.TIMESTAMP_FUTURO,
            lambda: f"timestamp {time.isoformat()} is outside the calendar",
        ) from None


# --- the tolerant parser ------------------------------------------------------------------------------------


def _parse_tolerant(text: str) -> Telemetry:
    """Parse a message of any form.

    Raises MessageRefusedError if nothing in it can be used.
    """
    return _measured(_parse_any_form, text)


def _parse_any_form(text: str) -> Telemetry:
    if len(text) > MAX_PAYLOAD_BYTES:
        _check_elements(text)
    if text.count(",") >= MAX_READINGS:
        _count_readings(text)
    try:
        return _telemetry(load_json(text))
    except RecursionError:  # the parser goes deeper than Python can follow afterwards
        raise MessageRefusedError(Reason.JSON_INVALIDO, "nested too deeply") from None


def _measured(parse: Callable[[Text], Telemetry], content: Text) -> Telemetry:
    """Return what ``parse`` makes of a content, or raise what it raises.

    Either says how much processor time that took.
    """
    started = thread_time()
    try:
        telemetry = parse(content)
    except MessageRefusedError as error:
        error.processor_time = thread_time() - started
        raise
    return msgspec.structs.replace(telemetry, processor_time=thread_time() - started)


def _count_readings(text: str) -> None:
    """Raise MessageRefusedError if a message has too many readings.

    Nothing is made of them before that. Text that the typed decoder cannot take, as one with NaN, is counted
    when it is loaded.
    """
    try:
        count = len(_counter.decode(text).leituras)
    except (ValueError, RecursionError):
        return
    _check_count(count)


def _check_elements(text: str) -> None:
    """Raise MessageRefusedError if a large message has too many values.

    The objects made of them would take too much memory.
    """
    elements = text.count(",") + text.count("[") + text.count("{")
    if elements > MAX_ELEMENTS:
        raise MessageRefusedError(
            Reason.MENSAGEM_GRANDE, f"{elements} commas and brackets; at most {MAX_ELEMENTS}"
        )


def _parse_beginning(text: str) -> Telemetry:
    """Parse a large message that is no JSON, as far as its readings are complete.

    Fields after ``leituras`` are not known. Raises MessageRefusedError if nothing in it can be used.
    """
    _check_elements(text)
    found = _READINGS_BEGIN.search(text)
    if found is None:
        raise MessageRefusedError(Reason.MENSAGEM_GRANDE, "not JSON, and without leituras before the break")
    try:
        document = load_json(f'{text[: found.start()]}"leituras":[]}}')
    except MessageRefusedError as error:
        detail = f"not JSON before leituras: {error.refusal.detail}"
        raise MessageRefusedError(Reason.MENSAGEM_GRANDE, detail) from None
    if isinstance(document, Object):
        document["leituras"] = load_items(text, found.end())
    return _telemetry(document)


def _telemetry(document: Any) -> Telemetry:
    if not isinstance(document, Object):
        _refuse_schema("the payload is not an object")
    leituras, seq = document.get("leituras"), _sequence(document)
    if not isinstance(leituras, list):
        _refuse_schema("leituras is missing or not a list", seq)
    if repeated := document.repeated & _KEYS:
        _refuse_schema(f"keys are there twice: {', '.join(sorted(repeated))}", seq)
    mac = document.get("gateway_mac")
    if mac is not None and type(mac) is not str:
        raise MessageRefusedError(Reason.MAC_DIVERGENTE, "gateway_mac is not a string", seq)
    _check_count(len(leituras), seq)
    readings: list[Reading] = []
    refusals = Refusals()
    message_time = _MessageTime(document.get("timestamp"))
    for index, entry in enumerate(leituras):
        try:
            readings.append(_reading(index, entry, message_time))
        except _RefusedError as error:
            refusals.add(error.reason, error.detail, index)
    return Telemetry(readings, refusals.all, mac, seq, storable(document) if readings else "")


def _refuse_schema(detail: str, seq: int | None = None) -> NoReturn:
    """Refuse the message, of number ``seq``: it is JSON of another form."""
    raise MessageRefusedError(Reason.ESQUEMA_INVALIDO, detail, seq)


def _check_count(count: int, seq: int | None = None) -> None:
    """Refuse a message with too many readings.

    Whatever they are, they would cost too much at once. ``seq`` is the message's number, where it is known.
    """
    if count > MAX_READINGS:
        _refuse_schema(f"{count} readings; at most {MAX_READINGS} in a message", seq)


class _MessageTime:
    """The time of a message, for its readings without one.

    It is read once, however many they are.
    """

    def __init__(self, value: Any) -> None:
        self._value = value
        self._outcome: datetime | _RefusedError | None = None

    def read(self) -> datetime:
        """Return it in UTC. Raises _RefusedError if there is none or it cannot be used."""
        if self._outcome is None:
            try:
                self._outcome = _in_utc(_time(self._value))
            except _RefusedError as error:
                detail = error.detail if isinstance(error.detail, str) else error.detail()
                self._outcome = _RefusedError(error.reason, detail)
        if isinstance(self._outcome, _RefusedError):
            raise _RefusedError(self._outcome.reason, self._outcome.detail)
        return self._outcome


def _reading(index: int, entry: Any, message_time: _MessageTime) -> Reading:
    """An entry of ``leituras`` as a reading.

    Raises _RefusedError if it cannot be used.
    """
    if not isinstance(entry, Object):
        raise _RefusedError(Reason.ESQUEMA_INVALIDO, "the reading is not an object")
    if repeated := entry.repeated & _READING_KEYS:
        names = ", ".join(sorted(repeated))
        raise _RefusedError(Reason.ESQUEMA_INVALIDO, f"keys are there twice: {names}")
    codigo, valor, unidade = entry.get("dispositivo_codigo"), entry.get("valor"), entry.get("unidade")
    if type(codigo) is not str or not codigo:
        raise _RefusedError(Reason.ESQUEMA_INVALIDO, "dispositivo_codigo is missing or not a string")
    if "valor" not in entry:
        raise _RefusedError(Reason.ESQUEMA_INVALIDO, "valor is missing")
    if not isinstance(valor, str) or isinstance(valor, Constant):
        raise _RefusedError(Reason.VALOR_INVALIDO, lambda: f"valor {str(valor)[:60]!r} is not a number")
    if unidade is not None and type(unidade) is not str:
        raise _RefusedError(Reason.UNIDADE_INVALIDA, "unidade is not a string")
    rounded_valor, unidade, exact = _numeric(
        _valor(valor, _NUMBER if isinstance(valor, Number) else _NUMERIC_STRING), unidade
    )
    own_time = entry.get("timestamp")
    time = message_time.read() if own_time is None else _in_utc(_time(own_time))
    return Reading(index, codigo, rounded_valor, unidade, time, exact)


def _time(value: Any) -> datetime | None:
    """The time of a reading or a message, None without one.

    Raises _RefusedError for anything that is no time.
    """
    if value is None:
        return None
    if type(value) is not str:
        raise _RefusedError(
            Reason.TIMESTAMP_INVALIDO, lambda: f"timestamp {str(value)[:60]!r} is not ISO 8601 text"
        )
    try:
        # As the fast parser reads it: a ninth decimal is rounded the same.
        return msgspec.convert(value, AwareDatetime)
    except ValueError:
        pass
    try:
        time = datetime.fromisoformat(value) if _ISO_8601.fullmatch(value) else None
    except ValueError:
        time = None
    if time is None:
        raise _RefusedError(Reason.TIMESTAMP_INVALIDO, lambda: f"timestamp {value[:60]!r} is not ISO 8601")
    if time.utcoffset() is None:
        raise _RefusedError(
            Reason.TIMESTAMP_INVALIDO, lambda: f"timestamp {value[:60]!r} has no offset; add Z or -03:00"
        )
    return time


def parse_object(payload: bytes) -> dict[str, Any]:
    """Return the JSON object of a heartbeat, empty if it has none.

    Raises MessageRefusedError if the payload is neither empty nor an object.
    """
    text = decode_text(payload)
    if not text.strip():
        return {}
    document = load_json(text)
    if not isinstance(document, dict):
        _refuse_schema("the payload is not an object")
    return document
