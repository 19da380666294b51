-- The present text of every view. A test holds a migrated database to be equal to this file. :'zone' is the
-- platform's (TDS_TIME_ZONE when the database was made); psql reads this file with -v zone=America/Sao_Paulo.

-- Readings for people to decide on, or that somebody has decided on: what the ledger found out of the
-- ordinary, with the decision. Two halves and no full join, so that the first is found by its classes,
-- however many tolerated dips there are. A reading that was corrected waits again where the ledger finds the
-- corrected value out of the ordinary. What the next readings will show is set apart from what waits for a person.
CREATE VIEW tds_new_leitura_em_revisao AS
SELECT x.dispositivo_id || '-' || (extract(epoch FROM x.leitura_em) * 1000000)::bigint AS chave,
    x.dispositivo_id, d.gateway_id,
    coalesce(x.conta_id, d.conta_id) AS conta_id, x.leitura_em, x.valor,
    x.inicio, x.valor_base, x.valor - x.valor_base AS salto,
    x.consumo, x.classe, x.classe_decisao, y.situacao,
    y.situacao = 'ESPERA' AS espera, x.decisao_id, x.regra, x.numeros, x.valor_corrigido, x.decisao
FROM (
    SELECT o.dispositivo_id, o.conta_id, o.leitura_em, o.valor, o.inicio, o.valor_base, o.consumo, o.classe,
        coalesce(r.classe, '') AS classe_decisao, r.id AS decisao_id, o.regra, o.numeros, r.valor_corrigido,
        coalesce(r.decisao, '') AS decisao,
        o.espera AND (r.id IS NULL OR r.decisao = '' AND r.valor_corrigido = o.valor) AS undecided,
        o.classe = 'SUSPEITA' AND o.decidida_em IS NULL AS fresh
    FROM tds_new_ocorrencia_medicao o
    LEFT JOIN tds_new_revisao_leitura r ON r.dispositivo_id = o.dispositivo_id AND r.leitura_em = o.leitura_em
    WHERE o.classe IN ('SUSPEITA', 'IMPLAUSIVEL', 'EXCESSO', 'INCOMUM', 'REINICIO', 'RETORNO', 'VIRADA', 'TROCA',
        'TRANSFERENCIA')
    UNION ALL
    SELECT r.dispositivo_id, r.conta_id, r.leitura_em, r.valor,
        coalesce(o.inicio, r.inicio), coalesce(o.valor_base, r.valor_base),
        o.consumo, coalesce(o.classe, ''), r.classe, r.id, coalesce(o.regra, r.regra),
        coalesce(o.numeros, r.numeros), r.valor_corrigido, r.decisao, false, false
    FROM tds_new_revisao_leitura r
    LEFT JOIN tds_new_ocorrencia_medicao o ON o.dispositivo_id = r.dispositivo_id AND o.leitura_em = r.leitura_em
    WHERE o.classe IS NULL OR o.classe IN ('QUEDA')
) x
JOIN tds_new_dispositivo d ON d.id = x.dispositivo_id
JOIN tds_new_gateway g ON g.id = d.gateway_id
CROSS JOIN LATERAL (SELECT CASE
    WHEN x.decisao <> '' THEN x.decisao
    WHEN x.undecided AND x.fresh AND x.leitura_em > now() - 3 * g.intervalo_esperado_s * INTERVAL '1 second'
        THEN 'AGUARDA'
    WHEN x.undecided THEN 'ESPERA'
    WHEN x.decisao_id IS NOT NULL THEN 'CORRIGIDA'
    ELSE 'RESOLVIDA' END AS situacao) y;

-- The sums of blocks, as plain PostgreSQL has them. storage/rollups.py makes them, from one list of columns;
-- on TimescaleDB they are continuous aggregates of the same names (continuous_aggregates.sql).

-- Consumption of each device by the hour.
CREATE VIEW tds_new_consumo_horario AS
SELECT date_trunc('hour', bloco, 'UTC') AS hora, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo,
    max(maximo) AS maximo,
    sum(soma) AS soma,
    sum(amostras) AS amostras,
    (array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4;

-- Consumption of each device by the day of the platform's zone.
CREATE VIEW tds_new_consumo_diario AS
SELECT date_trunc('day', bloco, :'zone') AS dia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo,
    max(maximo) AS maximo,
    sum(soma) AS soma,
    sum(amostras) AS amostras,
    (array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4;

-- Consumption of each device by the month of the platform's zone.
CREATE VIEW tds_new_consumo_mensal AS
SELECT date_trunc('month', dia, :'zone') AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(count(*) FILTER (WHERE blocos_lidos > 0), 0), 4) AS media_diaria,
    sum(leituras)::bigint AS leituras_count,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico,
    min(minimo) AS minimo,
    max(maximo) AS maximo,
    sum(soma) AS soma,
    sum(amostras)::bigint AS amostras,
    (array_agg(ultimo ORDER BY dia DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4;

-- Consumption of each device by the parts that days of every Brazilian zone are made of: from 2, 3, 4 and 5
-- o'clock UTC on.
CREATE VIEW tds_new_consumo_parte_do_dia AS
SELECT date_bin('1 day', bloco, TIMESTAMPTZ '2000-01-01 05:00Z') AS dia,
    CASE extract(hour FROM bloco AT TIME ZONE 'UTC')
        WHEN 2 THEN 2 WHEN 3 THEN 3 WHEN 4 THEN 4 ELSE 5 END AS hora_utc,
    conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo,
    max(maximo) AS maximo,
    sum(soma) AS soma,
    sum(amostras) AS amostras,
    (array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4, 5;

-- Consumption of each Conta by the hour, by the structure of its devices.
CREATE VIEW tds_new_consumo_conta_horario AS
SELECT date_trunc('hour', bloco, 'UTC') AS hora, b.conta_id, d.grandeza, d.papel, d.atras,
    coalesce(nullif(d.unidade_consumo, ''), d.unidade) AS unidade,
    sum(consumo) AS consumo,
    count(*) AS blocos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6;

-- Consumption of each Conta by the day of the platform's zone, by the structure of its devices.
CREATE VIEW tds_new_consumo_conta_diario AS
SELECT date_trunc('day', hora, :'zone') AS dia, conta_id, grandeza, papel, atras, unidade,
    sum(consumo) AS consumo,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4, 5, 6;
