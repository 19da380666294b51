"""Sums of blocks: continuous aggregates on TimescaleDB, views on plain PostgreSQL, with the same names.

Of each device: hours, the parts of days that all of Brazil's calendars are made of, days and months. Of each Conta, by quantity and unit:
hours and days, so that a question about a thousand devices reads a few rows. Days, parts and hours sit on the blocks, months on the days
and a Conta's days on its hours: a bucket in a zone costs several microseconds a row, so a month of 1,000 devices took 27 s from its
3 million blocks and takes 3 s from its 31,000 days. So what others sit on is refreshed before them (``ROLLUPS`` is in order). Late data
costs only the buckets that it falls in.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper


@dataclass(frozen=True, slots=True)
class Rollup:
    """One of them: its name, its time column, what it selects out of which time column, its bucket, and its refresh policy.

    ``bucket``: on TimescaleDB and on plain PostgreSQL; ``length``: its length. ``end``: what is younger is not kept; ``every``: how often
    the server refreshes. ``key``: by what it is looked up, and by the time; ``rest``: what else tells its rows apart. ``base``: the one
    that it sits on, where not on the blocks.
    """

    name: str
    column: str
    select: str
    time: str
    bucket: tuple[str, str]
    length: str
    end: timedelta
    every: timedelta
    key: str = "dispositivo_id"
    rest: str = "conta_id, gateway_id"
    base: "Rollup | None" = None

    @property
    def index(self) -> str:
        """The name of the index on its rows."""
        return f"{self.name}_chave"

    @property
    def open_interval(self) -> str:
        """``end`` as SQL."""
        return f"INTERVAL '{int(self.end.total_seconds())} seconds'"

    def bucket_of(self, time: str) -> str:
        """The SQL for the bucket of ``time`` (SQL too) on TimescaleDB."""
        return self.bucket[0].format(time=time, zone=_zone())


HOUR = "time_bucket('1 hour', {time})", "date_trunc('hour', {time}, 'UTC')"
DAY = "time_bucket('1 day', {time}, '{zone}')", "date_trunc('day', {time}, '{zone}')"
MONTH = "time_bucket('1 month', {time}, '{zone}')", "date_trunc('month', {time}, '{zone}')"
# From 5 o'clock UTC on, when the last of Brazil's days has begun.
DAY_FROM_5 = (
    """time_bucket('1 day', {time}, "offset" => INTERVAL '5 hours')""",
    "date_bin('1 day', {time}, TIMESTAMPTZ '2000-01-01 05:00Z')",
)

# A day counts for the month's daily mean where a block of it has readings that are not gauges'. ``pico`` is the greatest block among
# those that determine a peak (docs/metering.md), so that a peak is looked for only where it can be.
SUMS = """
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    {last} AS ultimo
FROM tds_new_consumo_15min"""
BLOCKS = f"""
SELECT {{bucket}} AS {{column}}, conta_id, gateway_id, dispositivo_id,{SUMS}
GROUP BY 1, 2, 3, 4"""
# The days of Brazil begin at 2, 3, 4 or 5 o'clock UTC: the hours from 2, 3 and 4 on are parts of their own, the rest of a day is one.
PARTS = f"""
SELECT {{bucket}} AS {{column}},
    CASE extract(hour FROM bloco AT TIME ZONE 'UTC') WHEN 2 THEN 2 WHEN 3 THEN 3 WHEN 4 THEN 4 ELSE 5 END AS hora_utc,
    conta_id, gateway_id, dispositivo_id,{SUMS}
GROUP BY 1, 2, 3, 4, 5"""
DAYS = """
SELECT {bucket} AS {column}, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(count(*) FILTER (WHERE blocos_lidos > 0), 0), 4) AS media_diaria,
    sum(leituras)::bigint AS leituras_count,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras)::bigint AS amostras,
    {last} AS ultimo
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4"""
# A device's unit stays as it is while it has readings; where people give it another quantity, a trigger has its blocks summed again.
OF_CONTAS = """
SELECT {bucket} AS {column}, b.conta_id, d.grandeza, d.unidade,
    sum(b.consumo) AS consumo,
    count(*) AS blocos,
    sum(b.fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE b.qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE b.qualidade = 'ESTIMADO') AS blocos_estimados,
    max(b.consumo) FILTER (WHERE b.fracao_medida = 1 AND b.qualidade = 'MEDIDO') AS pico
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4"""
DAYS_OF_CONTAS = """
SELECT {bucket} AS {column}, conta_id, grandeza, unidade,
    sum(consumo) AS consumo,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4"""

OPEN_HOUR, OPEN_DAY = timedelta(hours=1), timedelta(days=1)
OFTEN, SELDOM = timedelta(minutes=5), timedelta(minutes=10)
HOURLY = Rollup("tds_new_consumo_horario", "hora", BLOCKS, "bloco", HOUR, "1 hour", OPEN_HOUR, OFTEN)
DAY_PARTS = Rollup(
    "tds_new_consumo_parte_do_dia",
    "dia",
    PARTS,
    "bloco",
    DAY_FROM_5,
    "1 day",
    OPEN_DAY,
    SELDOM,
    rest="hora_utc, conta_id, gateway_id",
)
DAILY = Rollup("tds_new_consumo_diario", "dia", BLOCKS, "bloco", DAY, "1 day", OPEN_DAY, SELDOM)
# A month's end must lie within the month before, or its policy would never have a whole bucket.
MONTHLY = Rollup(
    "tds_new_consumo_mensal", "mes_referencia", DAYS, "dia", MONTH, "1 month", OPEN_DAY, SELDOM, base=DAILY
)
WHAT = "grandeza, unidade"
CONTA_HOURLY = Rollup(
    "tds_new_consumo_conta_horario",
    "hora",
    OF_CONTAS,
    "b.bloco",
    HOUR,
    "1 hour",
    OPEN_HOUR,
    OFTEN,
    "conta_id",
    WHAT,
)
CONTA_DAILY = Rollup(
    "tds_new_consumo_conta_diario",
    "dia",
    DAYS_OF_CONTAS,
    "hora",
    DAY,
    "1 day",
    OPEN_DAY,
    SELDOM,
    "conta_id",
    WHAT,
    CONTA_HOURLY,
)
OF_DEVICES = (HOURLY, DAILY, MONTHLY)
ROLLUPS = (*OF_DEVICES, DAY_PARTS, CONTA_HOURLY, CONTA_DAILY)

CONTINUOUS = """
CREATE MATERIALIZED VIEW {name}
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS {select} WITH NO DATA;
"""
# Unique, on the table that TimescaleDB keeps the view in: two refreshes side by side (the server's own job, ours, somebody's by hand) of
# stretches that overlap would both store their buckets, and the sums be twice what they are from then on (2.22.1: 17,942 of 21,960 days,
# `test_no_refresh_stores_a_bucket_twice`). So the second one fails, and what it had to do is left for the next.
KEEPER = """
SELECT format('%I.%I', materialization_hypertable_schema, materialization_hypertable_name)
FROM timescaledb_information.continuous_aggregates WHERE view_name = '{name}'
"""
UNIQUE = "CREATE UNIQUE INDEX {index} ON {keeper} ({key}, {column} DESC, {rest})"
# No start: late data of any age is followed up, and only buckets that changed are computed again. What is younger than the end is
# answered from the blocks themselves.
POLICY = """
SELECT add_continuous_aggregate_policy('{name}', start_offset => NULL, end_offset => {end},
    schedule_interval => INTERVAL '{every} seconds', if_not_exists => true{single});
"""
# In one batch: what fails is taken back as a whole. Older versions know no batches.
SINGLE = ", buckets_per_batch => 0"
KNOWS_BATCHES = "SELECT 1 FROM pg_proc WHERE proname = 'add_continuous_aggregate_policy' AND 'buckets_per_batch' = ANY(proargnames)"


ZONE = re.compile(r"(?:time_bucket\('1 mon[^)]*|date_trunc\('month'[^)]*), '([^']+)'")


def statements(rollup: Rollup, *, timescale: bool) -> str:
    """The SQL that creates ``rollup`` on TimescaleDB, or on plain PostgreSQL."""
    bucket = (
        rollup.bucket_of(rollup.time)
        if timescale
        else rollup.bucket[1].format(time=rollup.time, zone=_zone())
    )
    if timescale:
        last = f"last(ultimo, {rollup.time}) FILTER (WHERE ultimo IS NOT NULL)"
    else:
        last = f"(array_agg(ultimo ORDER BY {rollup.time} DESC) FILTER (WHERE ultimo IS NOT NULL))[1]"
    select = rollup.select.format(bucket=bucket, column=rollup.column, last=last)
    if not timescale:
        return f"CREATE VIEW {rollup.name} AS {select}"
    return CONTINUOUS.format(name=rollup.name, select=select)


def _zone() -> str:
    return str(settings.TDS_TIME_ZONE).replace("'", "''")


def create(connection: BaseDatabaseWrapper, *, timescale: bool, which: Iterable[Rollup] = ROLLUPS) -> None:
    """Create them all, or ``which``, empty, with their refresh policies where there are any."""
    with connection.cursor() as cursor:
        cursor.execute(KNOWS_BATCHES)
        single = SINGLE if cursor.fetchone() else ""
        for rollup in which:
            cursor.execute(statements(rollup, timescale=timescale))
            if timescale:
                cursor.execute(KEEPER.format(name=rollup.name))
                (keeper,) = cursor.fetchone() or ("",)
                columns = {"key": rollup.key, "column": rollup.column, "rest": rollup.rest}
                cursor.execute(UNIQUE.format(index=rollup.index, keeper=keeper, **columns))
                cursor.execute(
                    POLICY.format(
                        name=rollup.name,
                        end=rollup.open_interval,
                        every=int(rollup.every.total_seconds()),
                        single=single,
                    )
                )


def zone_of(connection: BaseDatabaseWrapper) -> str | None:
    """The zone that days and months were made for; None where there are none yet."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_get_viewdef(to_regclass(%s))", [MONTHLY.name])
        row = cursor.fetchone()
    found = ZONE.search(row[0] or "") if row else None
    return found[1] if found else None


def drop(connection: BaseDatabaseWrapper, which: Iterable[Rollup] = ROLLUPS) -> None:
    """Drop them all, or ``which``, whichever kind each is."""
    with connection.cursor() as cursor:
        for rollup in reversed(tuple(which)):
            drop_one(cursor, rollup.name)


def drop_one(cursor: CursorWrapper, name: str) -> None:
    """Drop a continuous aggregate or a view."""
    cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")
    if cursor.fetchone():
        cursor.execute(
            "SELECT 1 FROM timescaledb_information.continuous_aggregates WHERE view_name = %s", [name]
        )
        if cursor.fetchone():
            cursor.execute(f"DROP MATERIALIZED VIEW {name}")
            return
    cursor.execute(f"DROP VIEW IF EXISTS {name}")
