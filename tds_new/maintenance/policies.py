"""TimescaleDB's policies for our tables, run in a session of our own.

A server's background jobs may fail where the same work succeeds in a session (TimescaleDB 2.22.1 on
PostgreSQL 15.20: ``cannot drop portal "" while it is being set up``), or be switched off; and late data
should not wait for their next run.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection

from tds_new.maintenance.record import LATE_AFTER, RETRY
from tds_new.storage.hypertables import READINGS
from tds_new.storage.rollups import ROLLUPS, Rollup
from tds_new.storage.timescale import is_hypertable

REFRESH = "refresh_continuous_aggregate"

# job_stats has '-infinity' for a job that never succeeded. Our record has the runs made here, and those that
# were seen of TimescaleDB's scheduler.
FIND = f"""
SELECT j.job_id, replace(j.proc_name, 'policy_', ''), coalesce(c.view_name, j.hypertable_name),
    j.schedule_interval, CASE WHEN isfinite(s.last_successful_finish) THEN s.last_successful_finish END,
    coalesce(s.last_successful_finish > clock_timestamp() - {LATE_AFTER} * j.schedule_interval, false),
    coalesce(m.ultima_execucao > clock_timestamp() - CASE WHEN m.erro = '' THEN j.schedule_interval
        ELSE least(j.schedule_interval, INTERVAL '{RETRY}') END, false)
FROM timescaledb_information.jobs j
LEFT JOIN timescaledb_information.continuous_aggregates c
    ON j.hypertable_name IN (c.materialization_hypertable_name, c.view_name)
LEFT JOIN timescaledb_information.job_stats s USING (job_id)
LEFT JOIN tds_new_manutencao_execucao m
    ON m.nome = replace(j.proc_name, 'policy_', '') || ' ' || coalesce(c.view_name, j.hypertable_name)
WHERE j.proc_name IN ('policy_refresh_continuous_aggregate', 'policy_compression')
  AND coalesce(c.view_name, j.hypertable_name) LIKE 'tds\\_new\\_%'
"""
# Refresh changed ranges one by one; by default more than 10 are merged into one range with everything
# between.
REFRESH_ONE_BY_ONE = """
SELECT set_config(name, '1000', false) FROM pg_settings
WHERE name = 'timescaledb.materializations_per_refresh_window'
"""
# The time that a rollup is materialised up to, where its policy's part of it ends, and where the bucket ends
# that is filling now.
MATERIALISED = """
SELECT to_timestamp(greatest(w.watermark, 0) / 1e6), {policy_end}, {bucket} + INTERVAL '{length}',
    a.mat_hypertable_id
FROM _timescaledb_catalog.continuous_agg a
JOIN _timescaledb_catalog.continuous_aggs_watermark w USING (mat_hypertable_id)
WHERE a.user_view_name = '{name}'
"""
REFRESH_FROM = "CALL refresh_continuous_aggregate(%s, %s::timestamptz, %s::timestamptz)"
# The ranges that sessions are about to sum; older versions keep no list of them.
HAS_RANGES = "SELECT to_regclass('_timescaledb_catalog.continuous_aggs_materialization_ranges') IS NOT NULL"
RANGES_BEING_SUMMED = """
SELECT 1 FROM _timescaledb_catalog.continuous_aggs_materialization_ranges
WHERE materialization_id = %s LIMIT 1
"""
WAIT_S, GIVE_UP_S, TRIES = 0.1, 120.0, 3
COMPRESSION = """
SELECT h.hypertable_name, (j.config ->> 'compress_after')::interval FROM timescaledb_information.hypertables h
LEFT JOIN timescaledb_information.jobs j
    ON j.hypertable_name = h.hypertable_name AND j.proc_name = 'policy_compression'
WHERE h.hypertable_name IN ('tds_new_leitura_dispositivo', 'tds_new_consumo_15min') ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy of TimescaleDB: what it does to which table, and how often.

    ``scheduled_success``: when TimescaleDB's scheduler last succeeded with it, None if never;
    ``scheduler_works``: whether that is recent; ``ran_lately``: whether our record has a run within the
    interval.
    """

    job_id: int
    kind: str
    table: str
    interval: timedelta
    scheduled_success: datetime | None
    scheduler_works: bool
    ran_lately: bool

    @property
    def name(self) -> str:
        """The task's name in the record."""
        return f"{self.kind} {self.table}"

    @property
    def due(self) -> bool:
        """Whether the maintenance should run it now.

        A refresh is always due: it costs nothing if nothing changed.
        """
        return self.kind == REFRESH or not (self.scheduler_works or self.ran_lately)


def is_timescale(connection: Connection[Any]) -> bool:
    """Return whether readings are a hypertable.

    The extension may be installed before ``enable_timescale`` has moved the tables.
    """
    return is_hypertable(connection, READINGS.name)


def find(connection: Connection[Any]) -> list[Policy]:
    """Return our tables' policies, in the order in which they build on each other.

    Empty on plain PostgreSQL.
    """
    if not is_timescale(connection):
        return []
    order = [rollup.name for rollup in ROLLUPS]
    found = [Policy(*row) for row in connection.execute(FIND)]
    return sorted(
        found, key=lambda p: (p.kind != REFRESH, order.index(p.table) if p.table in order else 0, p.table)
    )


def run(connection: Connection[Any], policy: Policy) -> None:
    """Do the policy's work, in transactions of its own.

    The connection must be in autocommit mode. Raises psycopg.Error.
    """
    call(connection, f"CALL run_job({policy.job_id:d})")
    if policy.kind == REFRESH:
        rollup = next(rollup for rollup in ROLLUPS if rollup.name == policy.table)
        _refresh_open_end(connection, rollup)
        _wait_for_others(connection, rollup)


def call(connection: Connection[Any], statement: str, parameters: Sequence[object] = ()) -> None:
    """Call a procedure that stores buckets.

    It is called again where another session has just stored the same ones. The connection must be in
    autocommit mode. Raises psycopg.Error.
    """
    for _ in range(TRIES - 1):
        try:
            connection.execute(statement, parameters)
            return
        except psycopg.errors.UniqueViolation:
            time.sleep(WAIT_S)
    connection.execute(statement, parameters)


class Extent(NamedTuple):
    """The extent up to which a rollup is materialised.

    Up to ``until``. Its policy refreshes it up to ``policy_end``; the bucket that is filling now ends at
    ``running_end``. ``hypertable`` is the id of the table that holds it.
    """

    until: datetime
    policy_end: datetime
    running_end: datetime
    hypertable: int


def materialised(connection: Connection[Any], rollup: Rollup) -> Extent | None:
    """Return how far ``rollup`` is materialised; None if it is not on TimescaleDB."""
    policy_end = rollup.bucket_of(f"now() - {rollup.open_interval}")
    statement = MATERIALISED.format(
        policy_end=policy_end, bucket=rollup.bucket_of("now()"), length=rollup.length, name=rollup.name
    )
    row = connection.execute(statement).fetchone()
    return Extent(*row) if row else None


def _refresh_open_end(connection: Connection[Any], rollup: Rollup) -> None:
    """Refresh what is materialised beyond the policy's end, too.

    A refresh up to NULL by hand materialises buckets that are still filling. Queries no longer compute them
    then, and no policy refreshes them until they are over. Such a refresh of a rollup that sums this one does
    the same.
    """
    extent = materialised(connection, rollup)
    if extent is None:
        return
    until = extent.until
    for upper in (upper for upper in ROLLUPS if upper.base is rollup):
        above = materialised(connection, upper)
        if above is not None and above.until > above.policy_end:
            until = max(until, extent.running_end)
    if until > extent.policy_end:
        connection.execute(REFRESH_FROM, [rollup.name, extent.policy_end, until])


def _wait_for_others(connection: Connection[Any], rollup: Rollup) -> None:
    """Wait until no other session is summing a part of the rollup.

    Such a session may be the server's own job or one of ours. The wait ends after ``GIVE_UP_S`` seconds.
    """
    extent, deadline = materialised(connection, rollup), time.monotonic() + GIVE_UP_S
    if extent is None or not (connection.execute(HAS_RANGES).fetchone() or (False,))[0]:
        return
    statement = RANGES_BEING_SUMMED, [extent.hypertable]
    while connection.execute(*statement).fetchone() and time.monotonic() < deadline:
        time.sleep(WAIT_S)


def set_compression(connection: Connection[Any], days: int) -> None:
    """Set the policies that compress chunks older than ``days`` days; none if 0."""
    if not is_timescale(connection):
        return
    wanted = timedelta(days=days) if days else None
    for table, compressed_after in connection.execute(COMPRESSION).fetchall():
        if compressed_after == wanted:
            continue
        if compressed_after is not None:
            connection.execute("SELECT remove_compression_policy(%s)", [table])
        if wanted is not None:
            connection.execute("SELECT add_compression_policy(%s, %s::interval)", [table, wanted])
