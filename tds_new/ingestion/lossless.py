"""JSON read without loss: numbers stay as written, repeated keys are remembered.

It reads payloads that the typed decoder cannot take, and is pure: no Django, no MQTT client, no database.
"""

import json
import re
from collections import Counter
from typing import Any

import msgspec

from tds_new.ingestion.refusal import MessageRefusedError, Reason


class Number(str):
    """A JSON number as it was written."""

    __slots__ = ()


class Constant(str):
    """NaN, Infinity or -Infinity: not JSON, but many encoders write them."""

    __slots__ = ()


class Object(dict[str, Any]):
    """A JSON object that remembers which keys were there more than once."""

    repeated: frozenset[str] = frozenset()


def _object(pairs: list[tuple[str, Any]]) -> Object:
    result = Object(pairs)
    if len(result) != len(pairs):
        counts = Counter(key for key, _ in pairs)
        result.repeated = frozenset(key for key, count in counts.items() if count > 1)
    return result


_BLANKS = re.compile(r"[ \t\r\n]*")
_decoder = json.JSONDecoder(
    parse_float=Number, parse_int=Number, parse_constant=Constant, object_pairs_hook=_object
)


def load_json(text: str) -> Any:
    """Return any JSON value; numbers stay text.

    Raises MessageRefusedError if ``text`` is not JSON or nested too deeply.
    """
    try:
        return _decoder.decode(text)
    except RecursionError:
        raise MessageRefusedError(Reason.JSON_INVALIDO, "nested too deeply") from None
    except ValueError as error:
        raise MessageRefusedError(Reason.JSON_INVALIDO, str(error)[:200]) from error


def load_items(text: str, position: int) -> list[Any]:
    """Return the complete items of a JSON array; ``position`` is behind its bracket.

    It ends at the array's end, or before the first item that is not JSON.
    """
    items = []
    try:
        while True:
            item, position = _decoder.raw_decode(text, _skip_blanks(text, position))
            items.append(item)
            position = _skip_blanks(text, position)
            if text[position : position + 1] != ",":
                return items
            position += 1
    except (ValueError, RecursionError):
        return items


def _skip_blanks(text: str, position: int) -> int:
    blanks = _BLANKS.match(text, position)
    return blanks.end() if blanks else position


def storable(document: Any) -> str:
    """Return ``document`` as JSON that jsonb takes.

    It has no NUL, no lone surrogate, no NaN, and no number beyond the range of numeric.
    """
    return msgspec.json.encode(_plain(document)).decode()


def _plain(value: Any) -> Any:
    if isinstance(value, Number):
        return msgspec.Raw(value.encode()) if _fits_numeric(value) else str(value)
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {clean_text(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value


def _fits_numeric(literal: str) -> bool:
    """Whether a JSON number is within the range of numeric."""
    _, _, exponent = literal.lower().partition("e")
    return len(literal) < 1000 and (not exponent or abs(int(exponent[:20])) < 1000)


def clean_text(value: str) -> str:
    """Return ``value`` as PostgreSQL's text can hold it.

    NUL and lone surrogates become U+FFFD.
    """
    if value.isascii():
        return value.replace("\0", "\ufffd")
    return value.replace("\0", "\ufffd").encode("utf-16", "surrogatepass").decode("utf-16", "replace")
