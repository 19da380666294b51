"""Monthly consumption out of readings, frozen.

This is what ``tds_new_consumo_mensal`` was before there were blocks.
"""

from django.conf import settings
from django.db.backends.base.schema import BaseDatabaseSchemaEditor

from tds_new.migrations._timescale import is_hypertable

# INCREMENTAL: the sum. ACUMULADA: last register less first. Gauges have no consumption. NULL where nothing applies.
TOTAL = """
    CASE WHEN count(*) FILTER (WHERE tipo_leitura <> 'INSTANTANEA') > 0 THEN
        coalesce(sum(valor) FILTER (WHERE tipo_leitura = 'INCREMENTAL'), 0)
        + coalesce({last} - {first}, 0)
    END"""

SELECT = """
SELECT {month} AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    {total} AS total_consumo,
    round(({total}) / nullif(count(DISTINCT date_trunc('day', time, '{zone}')) FILTER (WHERE tipo_leitura <> 'INSTANTANEA'), 0), 4)
        AS media_diaria,
    count(*) AS leituras_count
FROM tds_new_leitura_dispositivo
GROUP BY 1, 2, 3, 4"""

ACUMULADA = "FILTER (WHERE tipo_leitura = 'ACUMULADA')"

TIMESCALE = {
    "month": "time_bucket('1 month', time, '{zone}')",
    "last": f"last(valor, time) {ACUMULADA}",
    "first": f"first(valor, time) {ACUMULADA}",
}
PLAIN = {
    "month": "date_trunc('month', time, '{zone}')",
    "last": f"(array_agg(valor ORDER BY time DESC) {ACUMULADA})[1]",
    "first": f"(array_agg(valor ORDER BY time) {ACUMULADA})[1]",
}
AGGREGATE = """
CREATE MATERIALIZED VIEW tds_new_consumo_mensal WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
{select} WITH NO DATA
"""
# No start: late readings of any age are followed up; only ranges that changed are computed again. The current month
# is answered from the readings themselves. Not at once: a job that runs while migration 0006 replaces the sum ends in
# a deadlock.
POLICY = """
SELECT add_continuous_aggregate_policy('tds_new_consumo_mensal', start_offset => NULL, end_offset => INTERVAL '1 day',
    schedule_interval => INTERVAL '15 minutes', initial_start => now() + INTERVAL '1 hour')
"""


def _select(parts: dict[str, str]) -> str:
    zone = settings.TDS_TIME_ZONE.replace("'", "''")
    total = TOTAL.format(last=parts["last"], first=parts["first"])
    return SELECT.format(month=parts["month"].format(zone=zone), total=total, zone=zone)


def create_sum_of_readings(editor: BaseDatabaseSchemaEditor) -> None:
    """Create ``tds_new_consumo_mensal`` over readings.

    Its months are those of ``TDS_TIME_ZONE``.
    """
    if is_hypertable(editor.connection, "tds_new_leitura_dispositivo"):
        editor.execute(AGGREGATE.format(select=_select(TIMESCALE)), params=None)
        editor.execute(POLICY, params=None)
    else:
        editor.execute(f"CREATE VIEW tds_new_consumo_mensal AS {_select(PLAIN)}", params=None)
