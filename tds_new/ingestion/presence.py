"""Signs of life of gateways and devices, and the counters that pages follow."""

from collections import Counter
from collections.abc import Iterable
from datetime import datetime

import msgspec
from psycopg import Connection, Cursor

from tds_new.models.silence import TOLERATED_SILENCE_SQL

# The rows are locked in the order of their ids, so that several writers cannot deadlock.
SEE_GATEWAYS = """
WITH sighting AS (
    SELECT *
    FROM unnest(%(ids)s::bigint[], %(seen)s::timestamptz[], %(online)s::boolean[], %(firmware)s::text[])
        AS s (id, seen, online, firmware)
), locked AS (
    SELECT g.id, g.conta_id, g.is_online
    FROM tds_new_gateway g JOIN sighting USING (id)
    ORDER BY g.id FOR NO KEY UPDATE OF g
), updated AS (
    UPDATE tds_new_gateway g SET
        last_seen = greatest(g.last_seen, s.seen),
        is_online = s.online,
        firmware_version = coalesce(s.firmware, g.firmware_version)
    FROM sighting s JOIN locked USING (id) WHERE g.id = s.id
)
SELECT DISTINCT locked.conta_id FROM locked JOIN sighting s USING (id) WHERE locked.is_online <> s.online
"""
SEE_DEVICES = """
WITH sighting AS (
    SELECT * FROM unnest(%(ids)s::bigint[], %(seen)s::timestamptz[]) AS s (id, seen)
), locked AS (
    SELECT d.id FROM tds_new_dispositivo d JOIN sighting s USING (id)
    WHERE d.last_seen IS NULL OR d.last_seen < s.seen ORDER BY d.id FOR NO KEY UPDATE OF d
)
UPDATE tds_new_dispositivo d SET last_seen = s.seen
FROM sighting s JOIN locked USING (id) WHERE d.id = s.id
"""
COUNT_ACTIVITY = """
INSERT INTO tds_new_conta_atividade AS a (conta_id, ingestao_seq, status_seq, ultima_leitura)
SELECT n.*
FROM unnest(%(contas)s::bigint[], %(ingested)s::bigint[], %(status)s::bigint[], %(last)s::timestamptz[])
    AS n (conta_id, ingestao_seq, status_seq, ultima_leitura)
JOIN tds_new_conta c ON c.id = n.conta_id
ORDER BY n.conta_id
ON CONFLICT (conta_id) DO UPDATE SET
    ingestao_seq = a.ingestao_seq + excluded.ingestao_seq,
    status_seq = a.status_seq + excluded.status_seq,
    ultima_leitura = greatest(a.ultima_leitura, excluded.ultima_leitura)
"""
MARK_SILENT = f"""
WITH silent AS (
    UPDATE tds_new_gateway SET is_online = false
    WHERE is_online AND (last_seen IS NULL OR last_seen < now() - {TOLERATED_SILENCE_SQL})
    RETURNING id, conta_id
)
SELECT array_agg(id), conta_id FROM silent GROUP BY conta_id
"""
MARK_ALL_CHANGED = "UPDATE tds_new_conta_atividade SET ingestao_seq = ingestao_seq + 1"


class Sighting(msgspec.Struct, gc=False):
    """A gateway's latest sign of life, or its last will (then ``seen_at`` is None)."""

    conta_id: int
    seen_at: datetime | None
    online: bool
    firmware: str | None = None


class Activity(msgspec.Struct, gc=False):
    """The changes of a batch besides its readings.

    ``gateways`` has the sightings by gateway id, ``devices`` the latest reading times by device id,
    ``contas`` the latest reading times by Conta id.
    """

    gateways: dict[int, Sighting] = {}
    devices: dict[int, datetime] = {}
    contas: dict[int, datetime] = {}

    def __bool__(self) -> bool:
        return bool(self.gateways or self.devices or self.contas)

    def add_older(self, older: "Activity") -> None:
        """Merge an ``older`` activity that is not written yet; newer values win."""
        for gateway_id, sighting in older.gateways.items():
            newer = self.gateways.setdefault(gateway_id, sighting)
            newer.seen_at = newer.seen_at or sighting.seen_at
            newer.firmware = newer.firmware or sighting.firmware
        for mine, others in ((self.devices, older.devices), (self.contas, older.contas)):
            for key, moment in others.items():
                if key not in mine or mine[key] < moment:
                    mine[key] = moment


def record_activity(cursor: Cursor, activity: Activity) -> None:
    """Write signs of life, latest reading times and the Contas' counters."""
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
    """Set the gateways offline that have been silent for too long; return their ids."""
    rows = cursor.execute(MARK_SILENT).fetchall()
    _count_activity(cursor, {}, [conta_id for _, conta_id in rows])
    return [gateway_id for ids, _ in rows for gateway_id in ids]


def mark_all_changed(connection: Connection) -> None:
    """Raise every Conta's counter, so that pages served before ask again."""
    connection.execute(MARK_ALL_CHANGED)


def _count_activity(cursor: Cursor, ingested: dict[int, datetime], changed: Iterable[int]) -> None:
    """Raise the counters of Contas.

    ``ingested`` has the latest reading times of Contas with new readings; ``changed`` names a Conta once for
    each change of a gateway's state.
    """
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
