"""Signs of life: gateways and devices seen, gateways that have gone silent, and the counters that pages follow."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import msgspec
from psycopg import Cursor

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
