"""The only writer of readings: one transaction a batch. The SQL of the write path is here and in ``rejected``."""

from datetime import datetime
from decimal import Decimal

import msgspec
from psycopg import Connection, Cursor
from psycopg.errors import UniqueViolation

# Temporary tables of the session, emptied at each commit.
STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS etapa_mensagem (mensagem integer NOT NULL, payload jsonb NOT NULL) ON COMMIT DELETE ROWS;
CREATE TEMPORARY TABLE IF NOT EXISTS etapa_leitura (
    ordem integer NOT NULL, mensagem integer NOT NULL, indice integer NOT NULL, "time" timestamptz NOT NULL,
    gateway_id bigint NOT NULL, dispositivo_id bigint NOT NULL, valor numeric(15, 4) NOT NULL
) ON COMMIT DELETE ROWS;
"""
COPY_MESSAGES = "COPY etapa_mensagem (mensagem, payload) FROM STDIN"
COPY_READINGS = (
    'COPY etapa_leitura (ordem, mensagem, indice, "time", gateway_id, dispositivo_id, valor) FROM STDIN'
)

# Tenant, unit and kind are the device's at this moment, not the cache's. payload_raw is the message with this reading alone.
# A device's readings together keep to the same page of the index; of two at one time the one that came first is first.
INSERT_READINGS = """
INSERT INTO tds_new_leitura_dispositivo
    ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura, payload_raw)
SELECT e."time", d.conta_id, d.gateway_id, d.id, e.valor, d.unidade, d.tipo_leitura,
       jsonb_set(m.payload, '{leituras}', '[]'::jsonb || (m.payload -> 'leituras' -> e.indice))
FROM etapa_leitura e
JOIN tds_new_dispositivo d ON d.id = e.dispositivo_id AND d.gateway_id = e.gateway_id
LEFT JOIN etapa_mensagem m ON m.mensagem = e.mensagem
ORDER BY e.dispositivo_id, e."time", e.ordem
"""
# Looking for conflicts costs a quarter of the insert, and there are none but after a redelivery: so only where the plain insert fails.
SKIP_KNOWN = """ON CONFLICT (dispositivo_id, "time") DO NOTHING"""

# Only after an insert that stored fewer rows than were staged: which of them are another value, and which have no device any more.
# The bounds keep the look-up to the chunks concerned.
COMPARE_STORED = """
SELECT e.ordem, d.id IS NULL, l.valor
FROM etapa_leitura e
LEFT JOIN tds_new_dispositivo d ON d.id = e.dispositivo_id AND d.gateway_id = e.gateway_id
LEFT JOIN LATERAL (
    SELECT valor FROM tds_new_leitura_dispositivo
    WHERE dispositivo_id = e.dispositivo_id AND "time" = e."time" AND "time" BETWEEN %(first)s AND %(last)s
) l ON true
WHERE d.id IS NULL OR l.valor <> e.valor
ORDER BY e.ordem
"""


class StagedReading(msgspec.Struct, frozen=True, gc=False):
    """A reading ready to be stored. ``message`` is its message's number in the batch, ``index`` its place in ``leituras``."""

    message: int
    index: int
    time: datetime
    gateway_id: int
    conta_id: int
    device_id: int
    valor: Decimal


class Stored(msgspec.Struct, frozen=True):
    """What came of the staged readings: how many were new, how many known already, and those that contradict a stored one."""

    inserted: int
    duplicates: int
    conflicts: list[tuple[StagedReading, Decimal]]


class StaleRegistryError(Exception):
    """A device has gone, or moved to another gateway, since it was looked up: resolve again."""


def prepare_session(connection: Connection) -> None:
    """Create this session's staging tables."""
    connection.execute(STAGING)


def copy_readings(readings: list[StagedReading]) -> str:
    """Readings as COPY takes them."""
    lines: list[str] = []
    moment: datetime | None = None
    text = ""
    for order, r in enumerate(readings):
        if r.time is not moment:  # one message's readings mostly share their time
            moment, text = r.time, r.time.isoformat()
        lines.append(f"{order}\t{r.message}\t{r.index}\t{text}\t{r.gateway_id}\t{r.device_id}\t{r.valor}\n")
    return "".join(lines)


def copy_payloads(payloads: dict[int, str]) -> str:
    """Messages' JSON as COPY takes it, by message number."""
    return "".join([f"{number}\t{_escaped(text)}\n" for number, text in payloads.items()])


def insert_readings(cursor: Cursor, readings: list[StagedReading], rows: str, payloads: str) -> Stored:
    """Store readings, given with their :func:`copy_readings`; without :func:`copy_payloads` ``payload_raw`` stays NULL.

    Raises StaleRegistryError where a reading's device is no longer there.
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
    times = [r.time for r in readings]
    conflicts = []
    for order, has_no_device, valor in cursor.execute(
        COMPARE_STORED, {"first": min(times), "last": max(times)}
    ):
        if has_no_device:
            raise StaleRegistryError
        conflicts.append((readings[order], valor))
    return Stored(inserted, len(readings) - inserted - len(conflicts), conflicts)


def _escaped(text: str) -> str:
    """Text for COPY's text format."""
    if "\\" in text:
        text = text.replace("\\", "\\\\")
    if "\n" in text or "\r" in text or "\t" in text:
        text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return text
