"""A history of readings, made in the database itself, compressed as shipped."""

import math
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import Connection

from lab.benchmarks.load import EPOCH, WEEK
from tds_new.maintenance import scheduler
from tds_new.storage.timescale import has_timescale

DAY = timedelta(days=1)
HISTORY_DAYS = 182  # 26 chunks; compression begins after 45 days

# Rows in the order of arrival. Devices report at moments of their own within a step; registers grow,
# temperatures swing with the day.
FILL = """
INSERT INTO tds_new_leitura_dispositivo
    ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura)
SELECT t + %(step)s * (d.id %% 97 / 97.0), d.conta_id, d.gateway_id, d.id,
    round((CASE d.tipo_leitura
        WHEN 'INSTANTANEA' THEN 22 + 6 * sin(extract(epoch FROM t) / 13750) + random()
        ELSE 1000 + extract(epoch FROM t - %(origin)s) / 3600 * (0.2 + d.id %% 13 / 10.0) + random() * 0.1
    END)::numeric, 3), d.unidade, d.tipo_leitura
FROM (
    SELECT %(day)s::timestamptz + n * %(step)s::interval AS t FROM generate_series(0, %(steps)s - 1) AS n
) AS moment
CROSS JOIN tds_new_dispositivo d
ORDER BY t, d.id
"""
EMPTY = "TRUNCATE tds_new_leitura_dispositivo"
COMPRESSION = "SELECT job_id FROM timescaledb_information.jobs WHERE proc_name = 'policy_compression'"
DESCRIBE = """
SELECT count(*), count(*) FILTER (WHERE is_compressed), hypertable_size('tds_new_leitura_dispositivo')
FROM timescaledb_information.chunks WHERE hypertable_name = 'tds_new_leitura_dispositivo'
"""


def empty(connection: Connection[Any]) -> None:
    """Delete all readings."""
    connection.execute(EMPTY)


def fill(connection: Connection[Any], rows: int, until: datetime, progress: Callable[[int], None]) -> int:
    """Store ``rows`` readings or a few more; return how many.

    They are of the registered devices.

    They are spread evenly over the days before ``until`` (midnight UTC). ``connection`` is in autocommit
    mode: each day is one transaction, and each full week is then compressed where the shipped policy says so,
    as chunks are weeks from the epoch on. ``progress`` is told after each day how many rows are there.
    """
    devices = _scalar(connection, "SELECT count(*) FROM tds_new_dispositivo")
    steps = max(1, math.ceil(rows / max(1, devices) / HISTORY_DAYS))
    origin = until - HISTORY_DAYS * DAY
    jobs = [job for (job,) in connection.execute(COMPRESSION).fetchall()] if has_timescale(connection) else []
    connection.execute("SET work_mem = '256MB'")
    # Without triggers: the consumption of a history was computed long ago.
    connection.execute("SET session_replication_role = replica")
    stored = 0
    for number in range(HISTORY_DAYS):
        day = origin + number * DAY
        parameters = {"day": day, "steps": steps, "step": DAY / steps, "origin": origin}
        stored += connection.execute(FILL, parameters).rowcount
        progress(stored)
        if (day + DAY - EPOCH) % WEEK == timedelta(0):
            _run_jobs(connection, jobs)
    return stored


def _run_jobs(connection: Connection[Any], jobs: list[int]) -> None:
    """Run the shipped compression policies now, on what is old enough."""
    for job in jobs:
        connection.execute(f"CALL run_job({int(job)})")


def settle(connection: Connection[Any]) -> None:
    """Bring a filled database to the state of one that has grown.

    Sums are refreshed, statistics taken, everything is on disk.
    """
    scheduler.refresh(connection)
    connection.execute("VACUUM (ANALYZE)")
    connection.execute("CHECKPOINT")


def describe(connection: Connection[Any]) -> dict[str, int]:
    """Return the readings' chunks, those compressed, and the bytes with indexes."""
    try:
        chunks, compressed, size = connection.execute(DESCRIBE).fetchone() or (0, 0, 0)
    except psycopg.errors.UndefinedTable:  # plain PostgreSQL
        chunks = compressed = 0
        size = _scalar(connection, "SELECT pg_total_relation_size('tds_new_leitura_dispositivo')")
    return {"chunks": chunks, "compressed": compressed, "bytes": size}


def _scalar(connection: Connection[Any], query: str) -> int:
    row = connection.execute(query).fetchone()
    return int(row[0]) if row else 0
