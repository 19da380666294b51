"""The policies that TimescaleDB has for our tables, and doing their work in a session of our own.

A server's background jobs may fail where the same work succeeds in a session (TimescaleDB 2.22.1 on PostgreSQL 15.20: ``cannot drop
portal "" while it is being set up``), or be switched off; and late data should not wait for their next turn.
"""

import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import psycopg
from psycopg import Connection

from tds_new.maintenance.record import AGAIN, LATE_AFTER
from tds_new.storage.hypertables import READINGS
from tds_new.storage.rollups import ROLLUPS, Rollup
from tds_new.storage.timescale import is_hypertable

REFRESH = "refresh_continuous_aggregate"

# job_stats says '-infinity' of what never succeeded. Our record holds what was run here, and what was seen of the scheduler's runs.
FIND = f"""
SELECT j.job_id, replace(j.proc_name, 'policy_', ''), coalesce(c.view_name, j.hypertable_name), j.schedule_interval,
    CASE WHEN isfinite(s.last_successful_finish) THEN s.last_successful_finish END,
    coalesce(s.last_successful_finish > clock_timestamp() - {LATE_AFTER} * j.schedule_interval, false),
    coalesce(m.ultima_execucao > clock_timestamp() - CASE WHEN m.erro = '' THEN j.schedule_interval
        ELSE least(j.schedule_interval, INTERVAL '{AGAIN}') END, false)
FROM timescaledb_information.jobs j
LEFT JOIN timescaledb_information.continuous_aggregates c ON j.hypertable_name IN (c.materialization_hypertable_name, c.view_name)
LEFT JOIN timescaledb_information.job_stats s USING (job_id)
LEFT JOIN tds_new_manutencao_execucao m
    ON m.nome = replace(j.proc_name, 'policy_', '') || ' ' || coalesce(c.view_name, j.hypertable_name)
WHERE j.proc_name IN ('policy_refresh_continuous_aggregate', 'policy_compression')
  AND coalesce(c.view_name, j.hypertable_name) LIKE 'tds\\_new\\_%'
"""
# Changed stretches are refreshed one by one; more than 10 would by default be taken for one, with everything between.
ALONE = """
SELECT set_config(name, '1000', false) FROM pg_settings WHERE name = 'timescaledb.materializations_per_refresh_window'
"""
# Where a rollup is kept up to, where its policy's part of it ends, and where the bucket ends that is filling now.
KEPT = """
SELECT to_timestamp(greatest(w.watermark, 0) / 1e6), {policy_end}, {bucket} + INTERVAL '{length}', a.mat_hypertable_id
FROM _timescaledb_catalog.continuous_agg a JOIN _timescaledb_catalog.continuous_aggs_watermark w USING (mat_hypertable_id)
WHERE a.user_view_name = '{name}'
"""
REFRESH_FROM = "CALL refresh_continuous_aggregate(%s, %s::timestamptz, %s::timestamptz)"
# What a session has taken for its own and not summed yet; older versions keep no list of it.
HAS_RANGES = "SELECT to_regclass('_timescaledb_catalog.continuous_aggs_materialization_ranges') IS NOT NULL"
IN_HAND = "SELECT 1 FROM _timescaledb_catalog.continuous_aggs_materialization_ranges WHERE materialization_id = %s LIMIT 1"
WAIT_S, GIVE_UP_S, TRIES = 0.1, 120.0, 3
COMPRESSION = """
SELECT h.hypertable_name, (j.config ->> 'compress_after')::interval FROM timescaledb_information.hypertables h
LEFT JOIN timescaledb_information.jobs j ON j.hypertable_name = h.hypertable_name AND j.proc_name = 'policy_compression'
WHERE h.hypertable_name IN ('tds_new_leitura_dispositivo', 'tds_new_consumo_15min') ORDER BY 1
"""


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy: what it does to which table, how often, and when TimescaleDB's scheduler last succeeded with it."""

    job_id: int
    kind: str
    table: str
    interval: timedelta
    scheduled_success: datetime | None
    scheduler_works: bool
    ran_lately: bool

    @property
    def name(self) -> str:
        """Its name in the record."""
        return f"{self.kind} {self.table}"

    @property
    def due(self) -> bool:
        """Whether it is ours to run now. A refresh always is: what did not change costs it nothing."""
        return self.kind == REFRESH or not (self.scheduler_works or self.ran_lately)


def is_timescale(connection: Connection[Any]) -> bool:
    """Whether readings are a hypertable. (The extension may be there, and they not yet: ``enable_timescale``.)"""
    return is_hypertable(connection, READINGS.name)


def find(connection: Connection[Any]) -> list[Policy]:
    """Our tables' policies, in the order in which they build on each other. Empty on plain PostgreSQL."""
    if not is_timescale(connection):
        return []
    order = [rollup.name for rollup in ROLLUPS]
    found = [Policy(*row) for row in connection.execute(FIND)]
    return sorted(
        found, key=lambda p: (p.kind != REFRESH, order.index(p.table) if p.table in order else 0, p.table)
    )


def run(connection: Connection[Any], policy: Policy) -> None:
    """Do the policy's work, in transactions of its own; the connection must be in autocommit mode. Raises psycopg.Error."""
    for _ in range(TRIES - 1):
        try:
            connection.execute(f"CALL run_job({policy.job_id:d})")
            break
        except (
            psycopg.errors.UniqueViolation
        ):  # another session has just stored the same buckets; what they lack is left to be done
            time.sleep(WAIT_S)
    else:
        connection.execute(f"CALL run_job({policy.job_id:d})")
    if policy.kind == REFRESH:
        rollup = next(rollup for rollup in ROLLUPS if rollup.name == policy.table)
        _refresh_open_end(connection, rollup)
        _wait_for_others(connection, rollup)


def _kept(connection: Connection[Any], rollup: Rollup) -> tuple[datetime, datetime, datetime, int] | None:
    policy_end = rollup.bucket_of(f"now() - {rollup.open_interval}")
    statement = KEPT.format(
        policy_end=policy_end, bucket=rollup.bucket_of("now()"), length=rollup.length, name=rollup.name
    )
    row: tuple[datetime, datetime, datetime, int] | None = connection.execute(statement).fetchone()
    return row


def _refresh_open_end(connection: Connection[Any], rollup: Rollup) -> None:
    """Follow up what is kept beyond the policy's end, too.

    A refresh up to NULL by hand keeps buckets that are still filling. They are no longer computed at each question then, and no policy
    looks at them until they are over. So does one of a rollup that sits on this one.
    """
    kept = _kept(connection, rollup)
    if kept is None:
        return
    until, policy_end, running_end, _ = kept
    for upper in ROLLUPS:
        if upper.base is rollup and (above := _kept(connection, upper)) and above[0] > above[1]:
            until = max(until, running_end)
    if until > policy_end:
        connection.execute(REFRESH_FROM, [rollup.name, policy_end, until])


def _wait_for_others(connection: Connection[Any], rollup: Rollup) -> None:
    """Another session may have taken a part of it (the server's own job, ours): what sits on it needs that part."""
    kept, deadline = _kept(connection, rollup), time.monotonic() + GIVE_UP_S
    if kept is None or not (connection.execute(HAS_RANGES).fetchone() or (False,))[0]:
        return
    while connection.execute(IN_HAND, [kept[3]]).fetchone() and time.monotonic() < deadline:
        time.sleep(WAIT_S)


def set_compression(connection: Connection[Any], days: int) -> None:
    """Have what is older than ``days`` days compressed from now on; nothing where ``days`` is 0."""
    for table, compressed_after in (
        connection.execute(COMPRESSION).fetchall() if is_timescale(connection) else ()
    ):
        wanted = timedelta(days=days) if days else None
        if compressed_after == wanted:
            continue
        if compressed_after is not None:
            connection.execute("SELECT remove_compression_policy(%s)", [table])
        if wanted is not None:
            connection.execute("SELECT add_compression_policy(%s, %s::interval)", [table, wanted])
