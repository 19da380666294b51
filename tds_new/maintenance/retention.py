"""Drops raw readings older than ``TDS_RAW_RETENTION_DAYS``; every figure stays.

First it sets the border: no reading before it is stored from then on, and each device's last ones before it
become its anchors (docs/metering.md). Then it drops the readings before the border, and what was kept of
their messages. If it is killed in between, the next run continues.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection, Cursor
from psycopg.types.json import Jsonb

from tds_new.maintenance.policies import is_timescale
from tds_new.metering import anchors
from tds_new.metering.times import from_datetime, to_datetime

READINGS = "tds_new_leitura_dispositivo"
BATCH = 10_000
AT_ONCE = 200  # devices whose anchors are chosen together

# The border is the edge of a chunk on TimescaleDB and of a UTC day on plain PostgreSQL; no block crosses it.
CHUNK_BORDER = f"""
SELECT max(range_end) FROM timescaledb_information.chunks
WHERE hypertable_name = '{READINGS}' AND range_end <= clock_timestamp() - %s * INTERVAL '1 day'
"""
DAY_BORDER = f"""
SELECT max(border) FROM (
    SELECT date_trunc('day', clock_timestamp() - %s * INTERVAL '1 day', 'UTC') AS border) b
WHERE EXISTS (
    SELECT FROM tds_new_dispositivo d JOIN {READINGS} l ON l.dispositivo_id = d.id AND l.time < border)
"""
FROZEN = "SELECT ate FROM tds_new_consumo_congelado"
CHUNKS = f"""
SELECT count(*),
    coalesce(sum(pg_total_relation_size(format('%%I.%%I', chunk_schema, chunk_name)::regclass)), 0)::bigint
FROM timescaledb_information.chunks WHERE hypertable_name = '{READINGS}' AND range_end <= %s
"""
COUNT = f"SELECT count(*) FROM {READINGS} WHERE time < %s"

MOVING = "SELECT to_regclass('tds_new_mudanca_timescale')"

# Readings are found by a device's key, as the worker finds them (``tds_new.metering.worker.SESSION``):
# without statistics the planner would prefer to read all of them.
BY_KEY = (
    "SET LOCAL enable_hashjoin = off",
    "SET LOCAL enable_mergejoin = off",
    "SET LOCAL enable_material = off",
)
# No worker computes and no reading is stored meanwhile; both wait some milliseconds.
LOCK_WORKERS = "SELECT id FROM tds_new_consumo_particao ORDER BY id FOR UPDATE"
LOCK_READINGS = f"LOCK TABLE {READINGS} IN SHARE ROW EXCLUSIVE MODE"
WAITING = "SELECT count(*) FROM tds_new_consumo_pendente WHERE inicio < %s"
CHOSEN = """
CREATE TEMPORARY TABLE chosen_anchor (
    id bigint PRIMARY KEY, final_ate timestamptz NOT NULL, origin timestamptz NOT NULL, estado jsonb
) ON COMMIT DROP
"""
CHOOSE = "INSERT INTO chosen_anchor VALUES (%s, %s, %s, %s)"
FORGET = """
DELETE FROM tds_new_consumo_ancora a USING chosen_anchor b
WHERE a.dispositivo_id = b.id AND a.leitura_em < b.origin
"""
# Decisions on anchors hold for good: a discarded reading becomes none, a corrected one keeps the value that
# counts, and other decisions are kept. OFFSET 0 keeps the planner from joining the whole history: each
# device's readings are few, found by its key.
ANCHOR = f"""
INSERT INTO tds_new_consumo_ancora (
    dispositivo_id, leitura_em, final_ate, valor, tipo_leitura, unidade, conta_id, gateway_id, decisao,
    atribuida_a_id)
SELECT d.id, l.time, d.final_ate, coalesce(r.valor_corrigido, l.valor), l.tipo_leitura, l.unidade, l.conta_id,
    l.gateway_id, coalesce(r.decisao, ''), r.atribuida_a_id
FROM chosen_anchor d
CROSS JOIN LATERAL (
    SELECT * FROM {READINGS} l WHERE l.dispositivo_id = d.id AND l.time < %(border)s
        AND l.time >= greatest(d.origin, (SELECT ate FROM tds_new_consumo_congelado), '-infinity') OFFSET 0) l
LEFT JOIN tds_new_revisao_leitura r ON r.dispositivo_id = d.id AND r.leitura_em = l.time
WHERE r.decisao IS DISTINCT FROM 'DESCARTADA'
"""
ADVANCE = """
UPDATE tds_new_consumo_ancora a SET final_ate = b.final_ate FROM chosen_anchor b WHERE a.dispositivo_id = b.id
"""
KEEP_STATES = """
INSERT INTO tds_new_consumo_retomada (dispositivo_id, leitura_em, estado)
SELECT id, origin, estado FROM chosen_anchor WHERE estado IS NOT NULL
ON CONFLICT (dispositivo_id, leitura_em) DO NOTHING
"""
FORGET_STATES = """
DELETE FROM tds_new_consumo_retomada r USING chosen_anchor b
WHERE r.dispositivo_id = b.id AND r.leitura_em < b.origin
"""
FREEZE = """
INSERT INTO tds_new_consumo_congelado (id, ate) VALUES (1, %s)
ON CONFLICT (id) DO UPDATE SET ate = greatest(tds_new_consumo_congelado.ate, excluded.ate)
"""
DROP_CHUNKS = f"SELECT count(*) FROM drop_chunks('{READINGS}', older_than => %s::timestamptz)"
DEVICES = "SELECT id FROM tds_new_dispositivo ORDER BY id"
DELETE = f"""
DELETE FROM {READINGS} WHERE dispositivo_id = %(device)s AND time < %(border)s AND time <= (
    SELECT max(time) FROM (
        SELECT time FROM {READINGS} WHERE dispositivo_id = %(device)s AND time < %(border)s
        ORDER BY time LIMIT {BATCH}) first)
"""
# The newest reading of each of these rests is before the border.
DELETE_RESTS = f"""
DELETE FROM tds_new_mensagem_resto WHERE ctid = ANY(ARRAY(
    SELECT ctid FROM tds_new_mensagem_resto WHERE dia < (%s::timestamptz AT TIME ZONE 'UTC')::date
    ORDER BY dia LIMIT {BATCH}))
"""


class NotYetError(Exception):
    """Nothing can be dropped now; the text says why.

    Consumption of the readings is still to be computed, or they are being moved to TimescaleDB.
    """


@dataclass(frozen=True, slots=True)
class Expired:
    """The readings before ``border``, which are too old.

    They are counted in ``chunks`` and ``bytes`` on TimescaleDB, else in ``readings``.
    """

    border: datetime
    chunks: int | None = None
    bytes: int | None = None
    readings: int | None = None

    def __str__(self) -> str:
        if self.chunks is not None:
            what = f"{self.chunks} chunks of readings ({(self.bytes or 0) / 1e6:.1f} MB)"
        else:
            what = f"{self.readings} readings"
        return f"{what} before {self.border:%Y-%m-%d %H:%MZ}"


def find(connection: Connection[Any], days: int) -> Expired | None:
    """Return the readings older than ``days`` days; None if none is, or ``days`` is 0."""
    if not days:
        return None
    border = _border(connection, days)
    if border is None:
        return None
    if is_timescale(connection):
        return Expired(border, *connection.execute(CHUNKS, [border]).fetchone() or ())
    return Expired(border, readings=(connection.execute(COUNT, [border]).fetchone() or (0,))[0])


def _border(connection: Connection[Any], days: int) -> datetime | None:
    row = connection.execute(CHUNK_BORDER if is_timescale(connection) else DAY_BORDER, [days]).fetchone()
    return row[0] if row else None


def apply(connection: Connection[Any], days: int) -> datetime | None:
    """Drop readings older than ``days`` days; return the border that was reached.

    Everything before the border is final. Return None if there was nothing to drop, or ``days`` is 0. The
    connection must be in autocommit mode. Raises NotYetError, psycopg.Error.
    """
    border = _border(connection, days) if days else None
    if border is None:
        return None
    if (connection.execute(MOVING).fetchone() or (None,))[0] is not None:
        raise NotYetError("enable_timescale is at work; nothing is dropped")
    _freeze(connection, border)
    while connection.execute(DELETE_RESTS, [border]).rowcount > 0:
        pass
    if is_timescale(connection):
        connection.execute(DROP_CHUNKS, [border])
    else:
        _delete(connection, border)
    return border


def _freeze(connection: Connection[Any], border: datetime) -> None:
    """Set the border and the anchors.

    Raises NotYetError while ranges before the border wait to be computed.
    """
    row = connection.execute(FROZEN).fetchone()
    if row and row[0] >= border:
        return
    with connection.transaction():
        for statement in BY_KEY:
            connection.execute(statement)
        connection.execute(LOCK_WORKERS)
        connection.execute(LOCK_READINGS)
        waiting = connection.execute(WAITING, [border]).fetchone()
        if waiting and waiting[0]:
            raise NotYetError(
                f"{waiting[0]} ranges before {border:%Y-%m-%d %H:%MZ} wait for process_consumption; "
                "nothing is dropped"
            )
        _choose(connection, border)
        connection.execute(FORGET)
        connection.execute(ANCHOR, {"border": border})
        connection.execute(ADVANCE)
        connection.execute(KEEP_STATES)
        connection.execute(FORGET_STATES)
        connection.execute(FREEZE, [border])


def _choose(connection: Connection[Any], border: datetime) -> None:
    """Note from where on each device's readings are kept."""
    connection.execute(CHOSEN)
    devices = [device for (device,) in connection.execute(DEVICES).fetchall()]
    with Cursor(connection) as cursor:
        for at in range(0, len(devices), AT_ONCE):
            rows = [
                (
                    anchor.device_id,
                    to_datetime(anchor.final),
                    to_datetime(anchor.origin),
                    None if anchor.state is None else Jsonb(anchor.state._asdict()),
                )
                for anchor in anchors.choose(cursor, devices[at : at + AT_ONCE], from_datetime(border))
            ]
            cursor.executemany(CHOOSE, rows)


def _delete(connection: Connection[Any], border: datetime) -> None:
    """Delete the readings before ``border`` in small transactions."""
    for (device,) in connection.execute(DEVICES).fetchall():
        while connection.execute(DELETE, {"device": device, "border": border}).rowcount > 0:
            pass
