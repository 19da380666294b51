"""The sums of blocks as migrations make them, frozen.

They are views on plain PostgreSQL and continuous aggregates on TimescaleDB. Live code makes them from
``tds_new.storage.rollups``. To change a sum, change it there and add a migration with a frozen module of its
own.
"""

from collections.abc import Iterable

from django.conf import settings
from django.db.backends.base.base import BaseDatabaseWrapper

from tds_new.migrations._timescale import drop_sum

HOURS, DAYS, MONTHS = "tds_new_consumo_horario", "tds_new_consumo_diario", "tds_new_consumo_mensal"
DAY_PARTS = "tds_new_consumo_parte_do_dia"
CONTA_HOURS, CONTA_DAYS = "tds_new_consumo_conta_horario", "tds_new_consumo_conta_diario"
# Each after the one that it sums.
OF_DEVICES = (HOURS, DAYS, MONTHS)
NEW_WITH_CONTAS = (DAY_PARTS, CONTA_HOURS, CONTA_DAYS)
ALL = OF_DEVICES + NEW_WITH_CONTAS

OVER_BLOCKS = """
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    {last_by_block} AS ultimo
FROM tds_new_consumo_15min"""
SELECTS = {
    HOURS: f"""
SELECT {{hour_of_block}} AS hora, conta_id, gateway_id, dispositivo_id,{OVER_BLOCKS}
GROUP BY 1, 2, 3, 4""",
    DAYS: f"""
SELECT {{day_of_block}} AS dia, conta_id, gateway_id, dispositivo_id,{OVER_BLOCKS}
GROUP BY 1, 2, 3, 4""",
    MONTHS: """
SELECT {month_of_day} AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(count(*) FILTER (WHERE blocos_lidos > 0), 0), 4) AS media_diaria,
    sum(leituras)::bigint AS leituras_count,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras)::bigint AS amostras,
    {last_by_day} AS ultimo
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4""",
    DAY_PARTS: f"""
SELECT {{day_from_5}} AS dia,
    CASE extract(hour FROM bloco AT TIME ZONE 'UTC') WHEN 2 THEN 2 WHEN 3 THEN 3 WHEN 4 THEN 4 ELSE 5 END AS hora_utc,
    conta_id, gateway_id, dispositivo_id,{OVER_BLOCKS}
GROUP BY 1, 2, 3, 4, 5""",
    CONTA_HOURS: """
SELECT {hour_of_conta_block} AS hora, b.conta_id, d.grandeza, d.unidade,
    sum(b.consumo) AS consumo,
    count(*) AS blocos,
    sum(b.fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE b.qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE b.qualidade = 'ESTIMADO') AS blocos_estimados,
    max(b.consumo) FILTER (WHERE b.fracao_medida = 1 AND b.qualidade = 'MEDIDO') AS pico
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4""",
    CONTA_DAYS: """
SELECT {day_of_hour} AS dia, conta_id, grandeza, unidade,
    sum(consumo) AS consumo,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4""",
}
TIMESCALE = {
    "hour_of_block": "time_bucket('1 hour', bloco)",
    "hour_of_conta_block": "time_bucket('1 hour', b.bloco)",
    "day_of_block": "time_bucket('1 day', bloco, '{zone}')",
    "day_of_hour": "time_bucket('1 day', hora, '{zone}')",
    "day_from_5": """time_bucket('1 day', bloco, "offset" => INTERVAL '5 hours')""",
    "month_of_day": "time_bucket('1 month', dia, '{zone}')",
    "last_by_block": "last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL)",
    "last_by_day": "last(ultimo, dia) FILTER (WHERE ultimo IS NOT NULL)",
}
PLAIN = {
    "hour_of_block": "date_trunc('hour', bloco, 'UTC')",
    "hour_of_conta_block": "date_trunc('hour', b.bloco, 'UTC')",
    "day_of_block": "date_trunc('day', bloco, '{zone}')",
    "day_of_hour": "date_trunc('day', hora, '{zone}')",
    "day_from_5": "date_bin('1 day', bloco, TIMESTAMPTZ '2000-01-01 05:00Z')",
    "month_of_day": "date_trunc('month', dia, '{zone}')",
    "last_by_block": "(array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1]",
    "last_by_day": "(array_agg(ultimo ORDER BY dia DESC) FILTER (WHERE ultimo IS NOT NULL))[1]",
}

AGGREGATE = """
CREATE MATERIALIZED VIEW {name}
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
{select} WITH NO DATA
"""
MATERIALIZED_IN = """
SELECT format('%%I.%%I', materialization_hypertable_schema, materialization_hypertable_name)
FROM timescaledb_information.continuous_aggregates WHERE view_name = %s
"""
# Unique: two refreshes side by side would store the buckets that both compute, and the sums be twice what they are.
KEYS = {
    HOURS: "dispositivo_id, hora DESC, conta_id, gateway_id",
    DAYS: "dispositivo_id, dia DESC, conta_id, gateway_id",
    MONTHS: "dispositivo_id, mes_referencia DESC, conta_id, gateway_id",
    DAY_PARTS: "dispositivo_id, dia DESC, hora_utc, conta_id, gateway_id",
    CONTA_HOURS: "conta_id, hora DESC, grandeza, unidade",
    CONTA_DAYS: "conta_id, dia DESC, grandeza, unidade",
}
# No start: late data of any age is followed up. What is younger than the end is answered from the blocks themselves.
POLICY = """
SELECT add_continuous_aggregate_policy('{name}', start_offset => NULL, end_offset => INTERVAL '{end} seconds',
    schedule_interval => INTERVAL '{every} seconds', if_not_exists => true{one_batch})
"""
HOURLY, OTHERS = {"end": 3_600, "every": 300}, {"end": 86_400, "every": 600}
# In one batch: what fails is taken back as a whole. Older versions know no batches.
ONE_BATCH = ", buckets_per_batch => 0"
KNOWS_BATCHES = """
SELECT 1 FROM pg_proc WHERE proname = 'add_continuous_aggregate_policy' AND 'buckets_per_batch' = ANY(proargnames)
"""


def select(name: str, *, timescale: bool) -> str:
    """Return what the sum ``name`` selects.

    Its days and months are those of ``TDS_TIME_ZONE``.
    """
    zone = str(settings.TDS_TIME_ZONE).replace("'", "''")
    parts = TIMESCALE if timescale else PLAIN
    return SELECTS[name].format(**{part: text.format(zone=zone) for part, text in parts.items()})


def create_sums(connection: BaseDatabaseWrapper, names: Iterable[str], *, timescale: bool) -> None:
    """Create these sums, empty.

    On TimescaleDB they get their unique indexes and refresh policies.
    """
    with connection.cursor() as cursor:
        for name in names:
            if not timescale:
                cursor.execute(f"CREATE VIEW {name} AS {select(name, timescale=False)}")
                continue
            cursor.execute(AGGREGATE.format(name=name, select=select(name, timescale=True)))
            cursor.execute(MATERIALIZED_IN, [name])
            (table,) = cursor.fetchone() or ("",)
            cursor.execute(f"CREATE UNIQUE INDEX {name}_chave ON {table} ({KEYS[name]})")
            cursor.execute(KNOWS_BATCHES)
            one_batch = ONE_BATCH if cursor.fetchone() else ""
            times = HOURLY if name in (HOURS, CONTA_HOURS) else OTHERS
            cursor.execute(POLICY.format(name=name, one_batch=one_batch, **times))


def drop_sums(connection: BaseDatabaseWrapper, names: Iterable[str]) -> None:
    """Drop these sums, whichever kind each is."""
    for name in reversed(tuple(names)):
        drop_sum(connection, name)
