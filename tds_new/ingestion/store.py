"""The only writer of readings; its caller opens one transaction for each batch."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

import msgspec
from psycopg import Connection, Cursor
from psycopg.errors import UniqueViolation

from tds_new.ingestion.payload_raw import TAIL, Rest, split_message

Key = tuple[int, datetime]  # of a reading: its device and its time

# A temporary table of the session, emptied at each commit.
STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_reading (
    ordinal integer NOT NULL, "time" timestamptz NOT NULL, gateway_id bigint NOT NULL,
    dispositivo_id bigint NOT NULL, valor numeric(15, 4) NOT NULL, payload_raw jsonb
) ON COMMIT DELETE ROWS;
"""
COPY_READINGS = """
COPY staged_reading (ordinal, "time", gateway_id, dispositivo_id, valor, payload_raw) FROM STDIN
"""
CHUNK_LINES = 1000  # readings that are handed to COPY together
LARGE = 8192  # characters; the readings of larger messages are handed over by themselves

# Tenant, unit and kind are those of the device at this moment, not those of the cache. A device's readings
# are inserted together, so that they touch the same page of the index; of two readings with the same time the
# first received comes first.
INSERT_READINGS = """
INSERT INTO tds_new_leitura_dispositivo
    ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura, payload_raw)
SELECT s."time", d.conta_id, d.gateway_id, d.id, s.valor, d.unidade, d.tipo_leitura, s.payload_raw
FROM staged_reading s
JOIN tds_new_dispositivo d ON d.id = s.dispositivo_id AND d.gateway_id = s.gateway_id
ORDER BY s.dispositivo_id, s."time", s.ordinal
"""
# Looking for conflicts costs a quarter of the insert, and conflicts come only after a redelivery: so this is
# used only after the plain insert has failed.
SKIP_KNOWN = """ON CONFLICT (dispositivo_id, "time") DO NOTHING"""
RETURN_KEYS = """ RETURNING dispositivo_id, "time\""""

# Used only after an insert that stored fewer rows than were staged: it finds the readings of which another
# value is stored, and those whose device is gone. The bounds limit the look-up to the chunks concerned.
COMPARE_STORED = """
SELECT s.ordinal, d.id IS NULL, l.valor
FROM staged_reading s
LEFT JOIN tds_new_dispositivo d ON d.id = s.dispositivo_id AND d.gateway_id = s.gateway_id
LEFT JOIN LATERAL (
    SELECT valor FROM tds_new_leitura_dispositivo
    WHERE dispositivo_id = s.dispositivo_id AND "time" = s."time" AND "time" BETWEEN %(first)s AND %(last)s
) l ON true
WHERE d.id IS NULL OR l.valor <> s.valor
ORDER BY s.ordinal
"""

# The order of the rows keeps two consumers that store the same rests from waiting for each other.
INSERT_RESTS = """
INSERT INTO tds_new_mensagem_resto (gateway_id, impressao, dia, campos)
SELECT gateway_id, impressao, dia, campos::jsonb
FROM unnest(%s::bigint[], %s::uuid[], %s::date[], %s::text[]) AS rest (gateway_id, impressao, dia, campos)
ORDER BY gateway_id, impressao, dia
ON CONFLICT DO NOTHING
"""


class StagedReading(msgspec.Struct, frozen=True, gc=False):
    """A reading ready to be stored.

    ``message`` is the number of its message in the batch, ``index`` its place in ``leituras``.
    """

    message: int
    index: int
    time: datetime
    gateway_id: int
    conta_id: int
    device_id: int
    valor: Decimal


class Stored(msgspec.Struct, frozen=True):
    """The outcome of staged readings.

    ``inserted`` counts the new ones, ``duplicates`` those that were stored already; ``conflicts`` are those
    of which another value is stored, each with that value.
    """

    inserted: int
    duplicates: int
    conflicts: list[tuple[StagedReading, Decimal]]


class StagedRest(NamedTuple):
    """The rest of a message; ``message`` is its number in the batch."""

    message: int
    gateway_id: int
    rest: Rest


class StagedRows(msgspec.Struct):
    """Staged readings as rows for COPY, in ``chunks``, and their messages' ``rests``."""

    chunks: list[str] = []
    rests: list[StagedRest] = []


class StaleRegistryError(Exception):
    """A device was deleted, or moved to another gateway, after it was looked up."""


def prepare_session(connection: Connection) -> None:
    """Create this session's staging table."""
    connection.execute(STAGING)


def copy_readings(readings: list[StagedReading], texts: dict[int, str]) -> StagedRows:
    """Return readings as rows for COPY.

    ``texts`` has their messages' JSON by message number; without it, ``payload_raw`` stays NULL. Raises
    ValueError if a text is no message.
    """
    rows = StagedRows()
    lines: list[str] = []
    moment: datetime | None = None
    time = head = ""
    number = -1
    entries: list[str] | None = None
    for ordinal, r in enumerate(readings):
        if r.message != number:
            number, text, entries = r.message, texts.get(r.message), None
            if lines and (len(lines) >= CHUNK_LINES or (text is not None and len(text) > LARGE)):
                rows.chunks.append("".join(lines))
                lines = []
            if text is not None:
                message = split_message(text)
                head, entries = message.head, message.entries
                if _needs_escape(text):
                    head, entries = _escaped(head), [_escaped(entry) for entry in entries]
                if message.rest is not None:
                    rows.rests.append(StagedRest(number, r.gateway_id, message.rest))
        if r.time is not moment:  # the readings of one message mostly share their time
            moment, time = r.time, r.time.isoformat()
        payload_raw = "\\N" if entries is None else f"{head}{entries[r.index]}{TAIL}"
        lines.append(f"{ordinal}\t{time}\t{r.gateway_id}\t{r.device_id}\t{r.valor}\t{payload_raw}\n")
    rows.chunks.append("".join(lines))
    return rows


def insert_readings(cursor: Cursor, readings: list[StagedReading], rows: StagedRows) -> Stored:
    """Store readings, and the rests of the messages of which a reading was new.

    ``rows`` are the same readings as :func:`copy_readings` returns them. Raises StaleRegistryError if a
    reading's device is no longer there.
    """
    if not readings:
        return Stored(0, 0, [])
    with cursor.copy(COPY_READINGS) as copy:
        for chunk in rows.chunks:
            copy.write(chunk)
    new: set[Key] | None = None  # the keys of the new readings, if not all are new
    try:
        with cursor.connection.transaction():
            inserted = cursor.execute(INSERT_READINGS).rowcount
    except UniqueViolation:
        inserted = cursor.execute(INSERT_READINGS + SKIP_KNOWN + (RETURN_KEYS if rows.rests else "")).rowcount
        if rows.rests:
            new = set(cursor.fetchall())
    if rows.rests:
        _insert_rests(cursor, readings, rows.rests, new)
    if inserted == len(readings):
        return Stored(inserted, 0, [])
    conflicts = _find_conflicts(cursor, readings)
    return Stored(inserted, len(readings) - inserted - len(conflicts), conflicts)


def _insert_rests(
    cursor: Cursor, readings: list[StagedReading], rests: list[StagedRest], new: set[Key] | None
) -> None:
    """Store the rests of the messages that brought a new reading.

    ``new`` has the keys of the new readings; None if all are new. A message that is delivered again, whatever
    has changed in its other fields, stores nothing. A rest's day is that of its message's newest new reading;
    a gateway's equal rests of a day are one row.
    """
    newest: dict[int, datetime] = {}
    with_rest = {rest.message for rest in rests}
    for r in readings:
        if new is not None:
            key = r.device_id, r.time
            if key not in new:
                continue
            new.remove(key)  # of two readings with one key the first was stored
        if r.message in with_rest:
            newest[r.message] = max(r.time, newest.get(r.message, r.time))
    rows = {
        (gateway_id, rest.fingerprint, newest[message].date()): rest.fields
        for message, gateway_id, rest in rests
        if message in newest
    }
    if rows:
        cursor.execute(INSERT_RESTS, [*map(list, zip(*rows, strict=True)), list(rows.values())])


def _find_conflicts(cursor: Cursor, readings: list[StagedReading]) -> list[tuple[StagedReading, Decimal]]:
    """Return the staged readings of which another value is stored, with it."""
    times = [r.time for r in readings]
    conflicts = []
    for ordinal, has_no_device, valor in cursor.execute(
        COMPARE_STORED, {"first": min(times), "last": max(times)}
    ):
        if has_no_device:
            raise StaleRegistryError
        conflicts.append((readings[ordinal], valor))
    return conflicts


def _needs_escape(text: str) -> bool:
    return "\\" in text or "\n" in text or "\r" in text or "\t" in text


def _escaped(text: str) -> str:
    """Escape text for COPY's text format."""
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
