"""Drops raw readings older than ``TDS_RAW_RETENTION_DAYS``; every figure stays.

First it sets the border: no reading before it is stored from then on, and each device's last ones before it
become its anchors (docs/metering.md). Then it drops the readings before the border. If it is killed in
between, the next run continues.
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from tds_new.maintenance.policies import is_timescale
from tds_new.metering.rules.segments import NEVER_BASES_SQL

READINGS = "tds_new_leitura_dispositivo"
BATCH = 10_000

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
# The anchors of a device are its readings from a base on: the last base before the block of the last base
# before the border. From them that block and all after it can be computed again, exactly as if nothing had
# been dropped. A base is a reading that the ledger accepted, decided by nothing later. A device that has been
# silent since the last time keeps its anchors.
BASE = f"""
SELECT l.time FROM {READINGS} l
WHERE l.dispositivo_id = d.id AND l.time < {{before}}
  AND l.time >= coalesce((SELECT ate FROM tds_new_consumo_congelado), '-infinity')
  AND NOT EXISTS (SELECT FROM tds_new_ocorrencia_medicao o
      WHERE o.dispositivo_id = d.id AND o.leitura_em = l.time AND o.classe IN ({NEVER_BASES_SQL}))
  AND NOT EXISTS (SELECT FROM tds_new_ocorrencia_medicao o
      WHERE o.dispositivo_id = d.id AND o.inicio < l.time AND coalesce(o.decidida_em, 'infinity') > l.time)
  AND NOT EXISTS (SELECT FROM tds_new_revisao_leitura r
      WHERE r.dispositivo_id = d.id AND r.leitura_em = l.time AND r.decisao = 'DESCARTADA')
ORDER BY l.time DESC LIMIT 1
"""
BASES = f"""
CREATE TEMPORARY TABLE anchor_base ON COMMIT DROP AS
SELECT d.id, last_base.final_ate, origin.time AS origin
FROM tds_new_dispositivo d
CROSS JOIN LATERAL (SELECT date_bin('15 minutes', time, 'epoch') AS final_ate
    FROM ({BASE.format(before="%(border)s")}) u) last_base
LEFT JOIN LATERAL ({BASE.format(before="last_base.final_ate + INTERVAL '1 microsecond'")}) origin ON true
"""
# The origin is missing if the last base is the device's first, or the base before it is an anchor: anchors
# stay then.
FORGET = """
DELETE FROM tds_new_consumo_ancora a USING anchor_base b
WHERE a.dispositivo_id = b.id AND a.leitura_em < b.origin
"""
# Decisions on anchors hold for good: a discarded reading becomes none, and an approved one is marked. OFFSET
# 0 keeps the planner from joining the whole history: each device's readings are few, found by its key.
ANCHOR = f"""
INSERT INTO tds_new_consumo_ancora (
    dispositivo_id, leitura_em, final_ate, valor, tipo_leitura, unidade, conta_id, gateway_id, decisao)
SELECT d.id, l.time, d.final_ate, coalesce(r.valor_corrigido, l.valor), l.tipo_leitura, l.unidade,
    l.conta_id, l.gateway_id, coalesce(r.decisao, '')
FROM (
    SELECT dispositivo_id AS id, max(final_ate) AS final_ate, NULL AS origin FROM tds_new_consumo_ancora
        WHERE NOT EXISTS (SELECT FROM anchor_base b WHERE b.id = dispositivo_id) GROUP BY 1
    UNION ALL SELECT id, final_ate, origin FROM anchor_base) d
CROSS JOIN LATERAL (
    SELECT * FROM {READINGS} l WHERE l.dispositivo_id = d.id AND l.time < %(border)s
        AND l.time >= greatest(d.origin, (SELECT ate FROM tds_new_consumo_congelado), '-infinity') OFFSET 0) l
LEFT JOIN tds_new_revisao_leitura r ON r.dispositivo_id = d.id AND r.leitura_em = l.time
WHERE r.decisao IS DISTINCT FROM 'DESCARTADA'
"""
ADVANCE = """
UPDATE tds_new_consumo_ancora a SET final_ate = b.final_ate FROM anchor_base b WHERE a.dispositivo_id = b.id
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
        connection.execute(BASES, {"border": border})
        connection.execute(FORGET)
        connection.execute(ANCHOR, {"border": border})
        connection.execute(ADVANCE)
        connection.execute(FREEZE, [border])


def _delete(connection: Connection[Any], border: datetime) -> None:
    """Delete the readings before ``border`` in small transactions."""
    for (device,) in connection.execute(DEVICES).fetchall():
        while connection.execute(DELETE, {"device": device, "border": border}).rowcount > 0:
            pass
