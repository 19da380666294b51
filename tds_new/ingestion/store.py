"""The only writer of readings; its caller opens one transaction for each batch."""

from datetime import datetime
from decimal import Decimal

import msgspec
from psycopg import Connection, Cursor
from psycopg.errors import UniqueViolation

# Temporary tables of the session, emptied at each commit.
STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_message (message integer NOT NULL, payload jsonb NOT NULL)
ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS staged_reading (
    ordinal integer NOT NULL, message integer NOT NULL, place integer NOT NULL, "time" timestamptz NOT NULL,
    gateway_id bigint NOT NULL, dispositivo_id bigint NOT NULL, valor numeric(15, 4) NOT NULL
) ON COMMIT DELETE ROWS;
"""
COPY_MESSAGES = "COPY staged_message (message, payload) FROM STDIN"
COPY_READINGS = (
    'COPY staged_reading (ordinal, message, place, "time", gateway_id, dispositivo_id, valor) FROM STDIN'
)

# Tenant, unit and kind are those of the device at this moment, not those of the cache. payload_raw is the
# message with this reading alone. A device's readings are inserted together, so that they touch the same page
# of the index; of two readings with the same time the first received comes first.
INSERT_READINGS = """
INSERT INTO tds_new_leitura_dispositivo
    ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura, payload_raw)
SELECT s."time", d.conta_id, d.gateway_id, d.id, s.valor, d.unidade, d.tipo_leitura,
       jsonb_set(m.payload, '{leituras}', '[]'::jsonb || (m.payload -> 'leituras' -> s.place))
FROM staged_reading s
JOIN tds_new_dispositivo d ON d.id = s.dispositivo_id AND d.gateway_id = s.gateway_id
LEFT JOIN staged_message m ON m.message = s.message
ORDER BY s.dispositivo_id, s."time", s.ordinal
"""
# Looking for conflicts costs a quarter of the insert, and conflicts come only after a redelivery: so this is
# used only after the plain insert has failed.
SKIP_KNOWN = """ON CONFLICT (dispositivo_id, "time") DO NOTHING"""

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


class StaleRegistryError(Exception):
    """A device was deleted, or moved to another gateway, after it was looked up."""


def prepare_session(connection: Connection) -> None:
    """Create this session's staging tables."""
    connection.execute(STAGING)


def copy_readings(readings: list[StagedReading]) -> str:
    """Return readings as rows for COPY."""
    lines: list[str] = []
    moment: datetime | None = None
    text = ""
    for ordinal, r in enumerate(readings):
        if r.time is not moment:  # the readings of one message mostly share their time
            moment, text = r.time, r.time.isoformat()
        lines.append(f"{ordinal}\t{r.message}\t{r.index}\t{text}\t{r.gateway_id}\t{r.device_id}\t{r.valor}\n")
    return "".join(lines)


def copy_payloads(payloads: dict[int, str]) -> str:
    """Return messages' JSON, by message number, as rows for COPY."""
    return "".join([f"{number}\t{_escaped(text)}\n" for number, text in payloads.items()])


def insert_readings(cursor: Cursor, readings: list[StagedReading], rows: str, payloads: str) -> Stored:
    """Store readings.

    ``rows`` are the same readings as :func:`copy_readings` returns them, ``payloads`` their messages as
    :func:`copy_payloads` returns them; if that is empty, ``payload_raw`` stays NULL. Raises
    StaleRegistryError if a reading's device is no longer there.
    """
    if not readings:
        return Stored(0, 0, [])
    if payloads:
        with cursor.copy(COPY_MESSAGES) as copy:
            copy.write(payloads)
    with cursor.copy(COPY_READINGS) as copy:
        copy.write(rows)
    try:
        with cursor.connection.transaction():
            inserted = cursor.execute(INSERT_READINGS).rowcount
    except UniqueViolation:
        inserted = cursor.execute(INSERT_READINGS + SKIP_KNOWN).rowcount
    if inserted == len(readings):
        return Stored(inserted, 0, [])
    conflicts = _find_conflicts(cursor, readings)
    return Stored(inserted, len(readings) - inserted - len(conflicts), conflicts)


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


def _escaped(text: str) -> str:
    """Escape text for COPY's text format."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text or "\r" in text or "\t" in text:
        text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return text
