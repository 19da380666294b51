-- The sums of blocks, as TimescaleDB has them, in the order in which they are refreshed. storage/rollups.py
-- makes them, from one list of columns, with a unique index and a refresh policy each; on plain PostgreSQL
-- they are views of the same names (views.sql). :'zone' is the platform's.

-- Consumption of each device by the hour.
CREATE MATERIALIZED VIEW tds_new_consumo_horario
WITH (timescaledb.continuous, timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 hour', bloco) AS hora, conta_id, gateway_id, dispositivo_id,
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
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4
WITH NO DATA;

-- Consumption of each device by the day of the platform's zone.
CREATE MATERIALIZED VIEW tds_new_consumo_diario
WITH (timescaledb.continuous, timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 day', bloco, :'zone') AS dia, conta_id, gateway_id, dispositivo_id,
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
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4
WITH NO DATA;

-- Consumption of each device by the month of the platform's zone.
CREATE MATERIALIZED VIEW tds_new_consumo_mensal
WITH (timescaledb.continuous, timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 month', dia, :'zone') AS mes_referencia, conta_id, gateway_id, dispositivo_id,
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
    last(ultimo, dia) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4
WITH NO DATA;

-- Consumption of each device by the parts that days of every Brazilian zone are made of: from 2, 3, 4 and 5
-- o'clock UTC on.
CREATE MATERIALIZED VIEW tds_new_consumo_parte_do_dia
WITH (timescaledb.continuous, timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 day', bloco, "offset" => INTERVAL '5 hours') AS dia,
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
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4, 5
WITH NO DATA;

-- Consumption of each Conta by the hour, by the structure of its devices.
CREATE MATERIALIZED VIEW tds_new_consumo_conta_horario
WITH (timescaledb.continuous, timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 hour', bloco) AS hora, b.conta_id, d.grandeza, d.papel, d.atras,
    coalesce(nullif(d.unidade_consumo, ''), d.unidade) AS unidade,
    sum(consumo) AS consumo,
    count(*) AS blocos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4, 5, 6
WITH NO DATA;

-- Consumption of each Conta by the day of the platform's zone, by the structure of its devices.
CREATE MATERIALIZED VIEW tds_new_consumo_conta_diario
WITH (timescaledb.continuous, timescaledb.materialized_only = false,
    timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 day', hora, :'zone') AS dia, conta_id, grandeza, papel, atras, unidade,
    sum(consumo) AS consumo,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4, 5, 6
WITH NO DATA;
