"""Raw readings of devices as points of a chart: for stretches of hours, finer than blocks."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from django.db import connection

from tds_new.models import Conta
from tds_new.queries.points import Point, Series
from tds_new.queries.window import Window

# A pair of neighbouring readings gives a mean rate over the time between them: the register's difference, or the increment, times the
# factor in force, divided by the hours. It counts in the bucket in which the pair ends. What the ledger has found is kept to: discarded,
# suspect and tolerated readings are left out, rollovers, resets and meter changes count what they count, an implausible jump nothing.
# Two things more leave a bucket without a value: a register that went down and is not computed yet, and a pair further apart than the
# device's rhythm allows (3 intervals or 2 buckets: an outage, where nobody knows when the consumption happened). The rhythm is the
# expected interval or, for a device that sends more seldom, its mean.
# Every access is bound by device and time, the primary key; conta_id keeps out what a transferred device measured for others.
VALID_READINGS = """
    SELECT r.time, r.valor, o.classe, o.consumo AS contado
    FROM tds_new_leitura_dispositivo r
    LEFT JOIN tds_new_ocorrencia_medicao o ON o.dispositivo_id = r.dispositivo_id AND o.leitura_em = r.time
    WHERE r.dispositivo_id = a.id AND r.conta_id = a.conta_id AND r.unidade = a.unidade AND r.tipo_leitura = a.tipo_leitura
      AND coalesce(o.classe, '') NOT IN ('SUSPEITA', 'QUEDA')
      AND NOT EXISTS (SELECT FROM tds_new_revisao_leitura v
          WHERE v.dispositivo_id = r.dispositivo_id AND v.leitura_em = r.time AND v.decisao = 'DESCARTADA')
"""
POINTS = f"""
WITH alvo AS (
    SELECT d.id, d.conta_id, d.unidade, d.tipo_leitura, d.fator_conversao, make_interval(secs => g.intervalo_esperado_s) AS intervalo
    FROM tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id
    WHERE d.id = ANY(%(dispositivos)s) AND d.conta_id = %(conta)s
),
bruta AS (
    SELECT a.*, l.* FROM alvo a CROSS JOIN LATERAL (
        {VALID_READINGS} AND r.time >= %(inicio)s AND r.time <= %(fim)s
    ) l
    UNION ALL
    SELECT a.*, l.* FROM alvo a CROSS JOIN LATERAL (
        {VALID_READINGS} AND r.time < %(inicio)s AND r.time >= %(antes)s ORDER BY r.time DESC LIMIT 1
    ) l
    WHERE a.tipo_leitura <> 'INSTANTANEA'
),
leitura AS (
    SELECT b.id, tipo_leitura, intervalo, time, valor * fator AS valor, time - lag(time) OVER w AS duracao,
        fator * CASE
            WHEN tipo_leitura = 'INCREMENTAL' THEN valor
            WHEN classe = 'IMPLAUSIVEL' THEN NULL
            ELSE coalesce(contado, valor - lag(valor) OVER w) END AS consumo
    FROM bruta b CROSS JOIN LATERAL (
        SELECT coalesce((SELECT p.fator_conversao FROM tds_new_vigencia_parametros p
            WHERE p.dispositivo_id = b.id AND p.desde <= b.time ORDER BY p.desde DESC LIMIT 1), b.fator_conversao) AS fator
    ) f
    WHERE tipo_leitura <> 'INSTANTANEA' OR time < %(fim)s
    WINDOW w AS (PARTITION BY b.id ORDER BY time)
),
ritmo AS (
    SELECT id, greatest(3 * greatest(max(intervalo), avg(duracao)), 2 * %(passo)s::interval) AS lacuna FROM leitura GROUP BY id
),
par AS (
    SELECT l.*, lacuna, tipo_leitura = 'INSTANTANEA' AS instantanea,
        duracao <= lacuna AND (consumo >= 0 OR tipo_leitura = 'INCREMENTAL') AS vale,
        CASE WHEN tipo_leitura = 'INSTANTANEA' THEN time ELSE time - interval '1 microsecond' END AS momento
    FROM leitura l JOIN ritmo USING (id)
    WHERE tipo_leitura = 'INSTANTANEA' OR duracao IS NOT NULL
)
SELECT id, date_bin(%(passo)s, momento, %(inicio)s) AS balde, count(*), extract(epoch FROM max(lacuna))::float8,
    CASE WHEN instantanea THEN avg(valor)
        ELSE sum(consumo) FILTER (WHERE vale) * 3600 / nullif(sum(extract(epoch FROM duracao)) FILTER (WHERE vale), 0) END::float8,
    CASE WHEN instantanea THEN min(valor) END::float8,
    CASE WHEN instantanea THEN max(valor) END::float8,
    CASE WHEN instantanea THEN (array_agg(valor ORDER BY time DESC))[1] END::float8
FROM par
WHERE momento >= %(inicio)s AND momento < %(fim)s
GROUP BY id, instantanea, balde
ORDER BY id, balde
"""

# How far back the reading before the window may lie, for the first pair.
LOOK_BACK = timedelta(days=31)


def fill(conta: Conta, series: Sequence[Series], window: Window) -> None:
    """Fill ``series``, all of devices of ``conta``, with the points of their readings."""
    by_id = {s.device.pk: s for s in series}
    parameters: dict[str, Any] = {
        "conta": conta.pk,
        "dispositivos": list(by_id),
        "inicio": window.start,
        "fim": window.end,
        "antes": window.start - LOOK_BACK,
        "passo": window.step,
    }
    with connection.cursor() as cursor:
        cursor.execute(POINTS, parameters)
        for pk, start, readings, max_gap_s, mean, minimum, maximum, last in cursor.fetchall():
            by_id[pk].max_gap_s = max_gap_s
            by_id[pk].points.append(Point(start, mean, minimum, maximum, readings, last=last))
