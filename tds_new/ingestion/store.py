"""The only writer of readings: one transaction a batch. The SQL of the write path is here and in ``set_aside``."""

from collections import Counter
from collections.abc import Iterable
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

# Rows are locked in the order of their ids, so that several writers never wait for each other in a circle.
SEE_GATEWAYS = """
WITH vista AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(seen)s::timestamptz[], %(online)s::boolean[], %(firmware)s::text[])
        AS v (id, seen, online, firmware)
), antes AS (
    SELECT g.id, g.conta_id, g.is_online FROM tds_new_gateway g JOIN vista USING (id) ORDER BY g.id FOR NO KEY UPDATE OF g
), depois AS (
    UPDATE tds_new_gateway g SET
        last_seen = greatest(g.last_seen, v.seen),
        is_online = v.online,
        firmware_version = coalesce(v.firmware, g.firmware_version)
    FROM vista v JOIN antes USING (id) WHERE g.id = v.id
)
SELECT DISTINCT antes.conta_id FROM antes JOIN vista v USING (id) WHERE antes.is_online <> v.online
"""
SEE_DEVICES = """
WITH vista AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(seen)s::timestamptz[]) AS v (id, seen)
), presa AS (
    SELECT d.id FROM tds_new_dispositivo d JOIN vista v USING (id)
    WHERE d.last_seen IS NULL OR d.last_seen < v.seen ORDER BY d.id FOR NO KEY UPDATE OF d
)
UPDATE tds_new_dispositivo d SET last_seen = v.seen FROM vista v JOIN presa USING (id) WHERE d.id = v.id
"""
COUNT_ACTIVITY = """
INSERT INTO tds_new_conta_atividade AS a (conta_id, ingestao_seq, status_seq, ultima_leitura)
SELECT v.* FROM unnest(%(contas)s::bigint[], %(ingested)s::bigint[], %(status)s::bigint[], %(last)s::timestamptz[])
    AS v (conta_id, ingestao_seq, status_seq, ultima_leitura)
JOIN tds_new_conta c ON c.id = v.conta_id
ORDER BY v.conta_id
ON CONFLICT (conta_id) DO UPDATE SET
    ingestao_seq = a.ingestao_seq + excluded.ingestao_seq,
    status_seq = a.status_seq + excluded.status_seq,
    ultima_leitura = greatest(a.ultima_leitura, excluded.ultima_leitura)
"""
MARK_SILENT = """
WITH muda AS (
    UPDATE tds_new_gateway SET is_online = false
    WHERE is_online AND (last_seen IS NULL OR last_seen < now() - greatest(3 * intervalo_esperado_s, 300) * INTERVAL '1 second')
    RETURNING id, conta_id
)
SELECT array_agg(id), conta_id FROM muda GROUP BY conta_id
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


class Sighting(msgspec.Struct, gc=False):
    """A gateway's latest sign of life, or its last will."""

    conta_id: int
    seen_at: datetime | None
    online: bool
    firmware: str | None = None


class Activity(msgspec.Struct, gc=False):
    """What a batch changes besides readings: gateways seen, devices' latest reading times, tenants with new data."""

    gateways: dict[int, Sighting] = {}
    devices: dict[int, datetime] = {}
    contas: dict[int, datetime] = {}

    def __bool__(self) -> bool:
        return bool(self.gateways or self.devices or self.contas)


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


def record_activity(cursor: Cursor, activity: Activity) -> None:
    """Write gateways' signs of life, devices' latest times and tenants' counters."""
    changed: Iterable[int] = ()
    if activity.gateways:
        gateways = activity.gateways
        cursor.execute(
            SEE_GATEWAYS,
            {
                "ids": list(gateways),
                "seen": [s.seen_at for s in gateways.values()],
                "online": [s.online for s in gateways.values()],
                "firmware": [s.firmware for s in gateways.values()],
            },
        )
        changed = [conta_id for (conta_id,) in cursor.fetchall()]
    if activity.devices:
        cursor.execute(SEE_DEVICES, {"ids": list(activity.devices), "seen": list(activity.devices.values())})
    _count_activity(cursor, activity.contas, changed)


def mark_silent(cursor: Cursor) -> list[int]:
    """Set gateways offline that gave no sign of life for three of their intervals, at least 5 minutes; return their ids."""
    rows = cursor.execute(MARK_SILENT).fetchall()
    _count_activity(cursor, {}, [conta_id for _, conta_id in rows])
    return [gateway_id for ids, _ in rows for gateway_id in ids]


def _count_activity(cursor: Cursor, ingested: dict[int, datetime], changed: Iterable[int]) -> None:
    status = Counter(changed)
    contas = sorted(ingested.keys() | status.keys())
    if contas:
        parameters = {
            "contas": contas,
            "ingested": [int(conta in ingested) for conta in contas],
            "status": [int(conta in status) for conta in contas],
            "last": [ingested.get(conta) for conta in contas],
        }
        cursor.execute(COUNT_ACTIVITY, parameters)
