"""Hours, days and months as sums of blocks: continuous aggregates on TimescaleDB, views on plain PostgreSQL, with the same names.

Hours and days sit on the blocks, months on the days: a bucket in a zone costs several microseconds a row, so a month of 1,000 devices
took 27 s from its 3 million blocks and takes 3 s from its 31,000 days. So days are refreshed before months (``ROLLUPS`` is in order).
Late data costs only the buckets that it falls in.
"""

from dataclasses import dataclass

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.utils import CursorWrapper


@dataclass(frozen=True, slots=True)
class Rollup:
    """One of the three: its name, its time column, its bucket (PostgreSQL unit) and whether that follows the platform's zone."""

    name: str
    column: str
    unit: str
    local: bool


HORARIO = Rollup("tds_new_consumo_horario", "hora", "hour", local=False)
DIARIO = Rollup("tds_new_consumo_diario", "dia", "day", local=True)
MENSAL = Rollup("tds_new_consumo_mensal", "mes_referencia", "month", local=True)
ROLLUPS = (HORARIO, DIARIO, MENSAL)

# A day counts for the month's daily mean where a block of it has readings that are not gauges'. ``pico`` is the greatest block among
# those that determine a peak (docs/metering.md), so that a peak is looked for only where it can be.
BLOCKS = """
SELECT {bucket} AS {column}, conta_id, gateway_id, dispositivo_id,
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
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4"""
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

CONTINUOUS = """
CREATE MATERIALIZED VIEW {name} WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS {select} WITH NO DATA;
"""
# No start: late data of any age is followed up, and only buckets that changed are computed again. What is younger than the end is
# answered from the blocks themselves. A month's end must lie within the month before, or its policy would never have a whole bucket.
POLICY = """
SELECT add_continuous_aggregate_policy('{name}', start_offset => NULL, end_offset => INTERVAL '{end}',
    schedule_interval => INTERVAL '{every}', if_not_exists => true{single});
"""
# In one batch: TimescaleDB 2.22.1 refreshes in several where it may, and then two refreshes side by side (the server's own job, ours,
# somebody's by hand) materialise buckets twice. Older versions know no batches.
SINGLE = ", buckets_per_batch => 0"
KNOWS_BATCHES = "SELECT 1 FROM pg_proc WHERE proname = 'add_continuous_aggregate_policy' AND 'buckets_per_batch' = ANY(proargnames)"
POLICIES = {HORARIO.name: ("1 hour", "5 minutes"), DIARIO.name: ("1 day", "10 minutes"), MENSAL.name: ("1 day", "10 minutes")}


def statements(rollup: Rollup, *, timescale: bool) -> str:
    """The SQL that creates ``rollup`` on TimescaleDB, or on plain PostgreSQL."""
    zone = settings.TDS_TIME_ZONE.replace("'", "''") if rollup.local else "UTC"
    of, time = (DAYS, "dia") if rollup is MENSAL else (BLOCKS, "bloco")
    if timescale:
        bucket = f"time_bucket('1 {rollup.unit}', {time}, '{zone}')" if rollup.local else f"time_bucket('1 {rollup.unit}', {time})"
        last = f"last(ultimo, {time}) FILTER (WHERE ultimo IS NOT NULL)"
    else:
        bucket = f"date_trunc('{rollup.unit}', {time}, '{zone}')"
        last = f"(array_agg(ultimo ORDER BY {time} DESC) FILTER (WHERE ultimo IS NOT NULL))[1]"
    select = of.format(bucket=bucket, column=rollup.column, last=last)
    if not timescale:
        return f"CREATE VIEW {rollup.name} AS {select}"
    return CONTINUOUS.format(name=rollup.name, select=select)


def create(connection: BaseDatabaseWrapper, *, timescale: bool) -> None:
    """Create all three, empty, with their refresh policies where there are any."""
    with connection.cursor() as cursor:
        cursor.execute(KNOWS_BATCHES)
        single = SINGLE if cursor.fetchone() else ""
        for rollup in ROLLUPS:
            cursor.execute(statements(rollup, timescale=timescale))
            if timescale:
                end, every = POLICIES[rollup.name]
                cursor.execute(POLICY.format(name=rollup.name, end=end, every=every, single=single))


def drop(connection: BaseDatabaseWrapper) -> None:
    """Drop all three, whichever kind each is."""
    with connection.cursor() as cursor:
        for rollup in reversed(ROLLUPS):
            drop_one(cursor, rollup.name)


def drop_one(cursor: CursorWrapper, name: str) -> None:
    """Drop a continuous aggregate or a view."""
    cursor.execute("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")
    if cursor.fetchone():
        cursor.execute("SELECT 1 FROM timescaledb_information.continuous_aggregates WHERE view_name = %s", [name])
        if cursor.fetchone():
            cursor.execute(f"DROP MATERIALIZED VIEW {name}")
            return
    cursor.execute(f"DROP VIEW IF EXISTS {name}")
