"""The form of ``payload_raw``: what each stored reading keeps of its message.

It is pure: no Django, no MQTT client, no database. ``payload_raw`` is the message with this reading alone in
``leituras``. Of the message's other fields each reading has a copy of those that are small: timestamp,
gateway_mac and seq first, then the smallest first, as far as they fit in ``MAX_COPY_BYTES`` and the copies of
all readings in ``MAX_COPIES`` times the message. The other fields are the message's rest. It is kept once,
and ``payload_raw`` refers to it by ``REST_KEY``. So a message is stored in a small multiple of its own size,
whatever is in it and however many readings share it.
"""

from hashlib import blake2b
from typing import Any
from uuid import UUID

import msgspec

# The key in ``payload_raw`` whose value is the rest's fingerprint; the table of rests has this name too. A
# field of the sender that has this name is always in the rest, so no sender can forge the reference.
REST_KEY = "tds_new_mensagem_resto"
MAX_COPY_BYTES = 1024  # of other fields with each reading
MAX_COPIES = 3  # times the message's size, for the other fields with all its readings together
_FIRST = frozenset({"timestamp", "gateway_mac", "seq"})

_decode_fields = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_entries = msgspec.json.Decoder(list[msgspec.Raw]).decode
_encode = msgspec.json.Encoder().encode


class Rest(msgspec.Struct, frozen=True, gc=False):
    """Fields of a message that are kept once.

    ``fields`` is a JSON object; ``fingerprint`` names it.
    """

    fields: str
    fingerprint: UUID


class RawMessage(msgspec.Struct, frozen=True, gc=False):
    """A message taken apart.

    ``head``, one of ``entries`` (those of ``leituras``) and ``TAIL`` are the ``payload_raw`` of that reading,
    as JSON. ``rest`` is None if each reading has a copy of all other fields.
    """

    head: str
    entries: list[str]
    rest: Rest | None = None


TAIL = "]}"


def split_message(text: str) -> RawMessage:
    """Take a message apart, given as JSON with a list ``leituras``.

    Raises ValueError if it is another text.
    """
    fields = _decode_fields(text)
    entries = [str(entry, "utf-8") for entry in _decode_entries(fields.pop("leituras"))]
    others = _encode(fields)
    if len(others) <= _room(text, entries) and REST_KEY not in fields:
        return RawMessage(_head(others), entries)
    return _with_rest(text, fields, entries)


def _with_rest(text: str, fields: dict[str, msgspec.Raw], entries: list[str]) -> RawMessage:
    """Copy the fields for which there is room, and put the others into the rest."""
    room = _room(text, entries)
    sizes = {name: len(_encode({name: value})) for name, value in fields.items()}
    copied: dict[str, Any] = {}
    for name in sorted(fields, key=lambda name: (name not in _FIRST, sizes[name])):
        if name != REST_KEY and sizes[name] <= room:
            room -= sizes[name]
            copied[name] = fields.pop(name)
    if not fields:
        return RawMessage(_head(_encode(copied)), entries)
    others = _encode(fields)
    fingerprint = UUID(bytes=blake2b(others, digest_size=16).digest())
    copied[REST_KEY] = str(fingerprint)
    return RawMessage(_head(_encode(copied)), entries, Rest(others.decode(), fingerprint))


def _room(text: str, entries: list[str]) -> int:
    """Return how many bytes of other fields each reading has a copy of."""
    return min(MAX_COPY_BYTES, MAX_COPIES * len(text) // max(len(entries), 1))


def _head(fields: bytes) -> str:
    """Return what comes before a reading, given the JSON object of the other fields."""
    return fields[:-1].decode() + (',"leituras":[' if len(fields) > 2 else '"leituras":[')
