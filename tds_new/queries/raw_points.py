"""Readings as points of a chart, for windows of hours: finer than blocks."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import connection

from tds_new.metering.rules.segments import NEVER_BASES_SQL
from tds_new.models import Conta
from tds_new.queries.points import Point, Series
from tds_new.queries.window import Window

# A pair of neighbouring readings gives a mean rate over the time between them: the register's difference, or
# the increment, times the factor in force, divided by the hours. It counts in the bucket in which the pair
# ends; an increment whose stamp is the start of its interval counts in the pair that begins with it. The
# ledger's judgements apply: discarded and suspect readings and dips are left out; a corrected value stands
# for the one received; rollovers, resets and meter changes count as the ledger counts them; an implausible
# jump counts nothing. Two more cases leave a bucket without a value: a register that went down and is not
# computed yet, and a pair further apart than the device's rhythm allows (3 intervals or 2 buckets: an outage,
# where nobody knows when the consumption happened). The rhythm is the expected interval or, for a device that
# sends more seldom, its mean. Every access is bound by device and time, the primary key; conta_id excludes
# what a transferred device measured for others.
VALID_READINGS = f"""
    SELECT reading.time, coalesce(review.valor_corrigido, reading.valor) AS valor,
        occurrence.classe, occurrence.consumo AS counted
    FROM tds_new_leitura_dispositivo reading
    LEFT JOIN tds_new_ocorrencia_medicao occurrence
        ON occurrence.dispositivo_id = reading.dispositivo_id AND occurrence.leitura_em = reading.time
    LEFT JOIN tds_new_revisao_leitura review
        ON review.dispositivo_id = reading.dispositivo_id AND review.leitura_em = reading.time
    WHERE reading.dispositivo_id = device.id AND reading.conta_id = device.conta_id
      AND reading.unidade = device.unidade AND reading.tipo_leitura = device.tipo_leitura
      AND coalesce(occurrence.classe, '') NOT IN ({NEVER_BASES_SQL})
      AND coalesce(review.decisao, '') <> 'DESCARTADA'
"""
POINTS = f"""
WITH device AS (
    SELECT device.id, device.conta_id, device.unidade, device.tipo_leitura, device.fator_conversao,
        device.carimbo, device.tipo_leitura = 'INSTANTANEA' AS gauge,
        make_interval(secs => gateway.intervalo_esperado_s) AS expected
    FROM tds_new_dispositivo device JOIN tds_new_gateway gateway ON gateway.id = device.gateway_id
    WHERE device.id = ANY(%(devices)s) AND device.conta_id = %(conta)s
),
raw AS (
    SELECT device.*, valid.* FROM device CROSS JOIN LATERAL (
        {VALID_READINGS} AND reading.time >= %(start)s AND reading.time <= %(end)s
    ) valid
    UNION ALL
    SELECT device.*, valid.* FROM device CROSS JOIN LATERAL (
        {VALID_READINGS} AND reading.time < %(start)s AND reading.time >= %(earliest)s
        ORDER BY reading.time DESC LIMIT 1
    ) valid
    WHERE NOT device.gauge
),
reading AS (
    SELECT raw.id, tipo_leitura, gauge, expected, time, valor * factor AS valor,
        time - lag(time) OVER neighbours AS elapsed,
        factor * CASE
            WHEN tipo_leitura = 'INCREMENTAL' AND carimbo = 'INICIO' THEN lag(valor) OVER neighbours
            WHEN tipo_leitura = 'INCREMENTAL' THEN valor
            WHEN classe = 'IMPLAUSIVEL' THEN NULL
            ELSE coalesce(counted, valor - lag(valor) OVER neighbours) END AS consumption
    FROM raw CROSS JOIN LATERAL (
        SELECT coalesce((
            SELECT dated.fator_conversao FROM tds_new_vigencia_parametros dated
            WHERE dated.dispositivo_id = raw.id AND dated.desde <= raw.time ORDER BY dated.desde DESC LIMIT 1
        ), raw.fator_conversao) AS factor
    ) in_force
    WHERE NOT gauge OR time < %(end)s
    WINDOW neighbours AS (PARTITION BY raw.id ORDER BY time)
),
rhythm AS (
    SELECT id, greatest(3 * greatest(max(expected), avg(elapsed)), 2 * %(step)s::interval) AS max_gap
    FROM reading GROUP BY id
),
pair AS (
    SELECT reading.*, max_gap,
        elapsed <= max_gap AND (consumption >= 0 OR tipo_leitura <> 'ACUMULADA') AS counts,
        CASE WHEN gauge THEN time ELSE time - interval '1 microsecond' END AS moment
    FROM reading JOIN rhythm USING (id)
    WHERE gauge OR elapsed IS NOT NULL
)
SELECT id, date_bin(%(step)s, moment, %(start)s) AS bucket, count(*),
    extract(epoch FROM max(max_gap))::float8,
    CASE WHEN gauge THEN avg(valor) ELSE
        sum(consumption) FILTER (WHERE counts) * 3600
        / nullif(sum(extract(epoch FROM elapsed)) FILTER (WHERE counts), 0) END::float8,
    CASE WHEN gauge THEN min(valor) END::float8,
    CASE WHEN gauge THEN max(valor) END::float8,
    CASE WHEN gauge THEN (array_agg(valor ORDER BY time DESC))[1] END::float8
FROM pair
WHERE moment >= %(start)s AND moment < %(end)s
GROUP BY id, gauge, bucket
ORDER BY id, bucket
"""

# The greatest distance of the reading before the window, for the first pair.
LOOK_BACK = timedelta(days=31)


def fill(conta: Conta, series: Sequence[Series], window: Window) -> None:
    """Fill ``series``, all of devices of ``conta``, with points out of their readings."""
    by_id = {s.device.pk: s for s in series}
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "devices": list(by_id),
        "start": window.start,
        "end": window.end,
        "earliest": window.start - LOOK_BACK,
        "step": window.step,
    }
    with connection.cursor() as cursor:
        cursor.execute(POINTS, parameters)
        for pk, start, readings, max_gap_s, mean, minimum, maximum, last in cursor.fetchall():
            by_id[pk].max_gap_s = max_gap_s
            by_id[pk].points.append(Point(start, mean, minimum, maximum, readings, last=last))
