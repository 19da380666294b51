--@ plain all
DROP VIEW IF EXISTS tds_new_consumo_mensal;

--@ plain e7a68ef
CREATE VIEW tds_new_consumo_horario AS
SELECT date_trunc('hour', bloco, 'UTC') AS hora, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    (array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4;

--@ plain e7a68ef
CREATE VIEW tds_new_consumo_diario AS
SELECT date_trunc('day', bloco, 'America/Sao_Paulo') AS dia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    (array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4;

--@ plain e7a68ef
CREATE VIEW tds_new_consumo_mensal AS
SELECT date_trunc('month', bloco, 'America/Sao_Paulo') AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(bit_count(bit_or(1::bigint << extract(day FROM bloco AT TIME ZONE 'America/Sao_Paulo')::integer)
        FILTER (WHERE leituras > 0 AND consumo IS NOT NULL)::bit(64)), 0), 4) AS media_diaria,
    sum(leituras) AS leituras_count,
    count(*) AS blocos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    (array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4;

--@ timescale all
SELECT create_hypertable('tds_new_consumo_15min', by_range('bloco', INTERVAL '14 days'), create_default_indexes => false,
    if_not_exists => true, migrate_data => true);
ALTER TABLE tds_new_consumo_15min SET (
    timescaledb.compress, timescaledb.compress_segmentby = 'dispositivo_id, conta_id', timescaledb.compress_orderby = 'bloco DESC');
SELECT add_compression_policy('tds_new_consumo_15min', INTERVAL '45 days', if_not_exists => true);

--@ timescale all
DROP MATERIALIZED VIEW tds_new_consumo_mensal;

--@ timescale e7a68ef 0adbdf7
CREATE MATERIALIZED VIEW tds_new_consumo_horario WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 hour', bloco) AS hora, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale e7a68ef
SELECT add_continuous_aggregate_policy('tds_new_consumo_horario', start_offset => NULL, end_offset => INTERVAL '1 hour', schedule_interval => INTERVAL '5 minutes',
    if_not_exists => true);

--@ timescale 0b03257
CREATE MATERIALIZED VIEW tds_new_consumo_horario WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 hour', bloco) AS hora, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 16b45a2 8d4c5c0
CREATE MATERIALIZED VIEW tds_new_consumo_horario WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 hour', bloco) AS hora, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 0adbdf7 0b03257 16b45a2
SELECT add_continuous_aggregate_policy('tds_new_consumo_horario', start_offset => NULL, end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '5 minutes', if_not_exists => true);

--@ timescale e7a68ef 0adbdf7
CREATE MATERIALIZED VIEW tds_new_consumo_diario WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 day', bloco, 'America/Sao_Paulo') AS dia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale e7a68ef
SELECT add_continuous_aggregate_policy('tds_new_consumo_diario', start_offset => NULL, end_offset => INTERVAL '1 day', schedule_interval => INTERVAL '10 minutes',
    if_not_exists => true);

--@ timescale 0b03257
CREATE MATERIALIZED VIEW tds_new_consumo_diario WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 day', bloco, 'America/Sao_Paulo') AS dia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 5eab68c 6e9adb5
CREATE MATERIALIZED VIEW tds_new_consumo_horario
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 hour', bloco) AS hora, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;
CREATE INDEX tds_new_consumo_horario_chave ON tds_new_consumo_horario (dispositivo_id, hora DESC);

--@ timescale 8d4c5c0 5eab68c
SELECT add_continuous_aggregate_policy('tds_new_consumo_horario', start_offset => NULL, end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '5 minutes', if_not_exists => true, buckets_per_batch => 0);

--@ timescale 16b45a2 8d4c5c0
CREATE MATERIALIZED VIEW tds_new_consumo_diario WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 day', bloco, 'America/Sao_Paulo') AS dia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 0adbdf7 0b03257 16b45a2
SELECT add_continuous_aggregate_policy('tds_new_consumo_diario', start_offset => NULL, end_offset => INTERVAL '1 day',
    schedule_interval => INTERVAL '10 minutes', if_not_exists => true);

--@ timescale e7a68ef 0adbdf7
CREATE MATERIALIZED VIEW tds_new_consumo_mensal WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 month', bloco, 'America/Sao_Paulo') AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(bit_count(bit_or(1::bigint << extract(day FROM bloco AT TIME ZONE 'America/Sao_Paulo')::integer)
        FILTER (WHERE leituras > 0 AND consumo IS NOT NULL)::bit(64)), 0), 4) AS media_diaria,
    sum(leituras) AS leituras_count,
    count(*) AS blocos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale e7a68ef
SELECT add_continuous_aggregate_policy('tds_new_consumo_mensal', start_offset => NULL, end_offset => INTERVAL '1 day', schedule_interval => INTERVAL '10 minutes',
    if_not_exists => true);

--@ timescale 0b03257
CREATE MATERIALIZED VIEW tds_new_consumo_mensal WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 month', dia, 'America/Sao_Paulo') AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(count(*) FILTER (WHERE blocos_lidos > 0), 0), 4) AS media_diaria,
    sum(leituras)::bigint AS leituras_count,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras)::bigint AS amostras,
    last(ultimo, dia) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 1ec4966
CREATE MATERIALIZED VIEW tds_new_consumo_horario
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 hour', bloco) AS hora, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 1ec4966
DO $do$ BEGIN EXECUTE (SELECT format('CREATE UNIQUE INDEX tds_new_consumo_horario_chave ON %I.%I (dispositivo_id, hora DESC, conta_id, gateway_id)',
    materialization_hypertable_schema, materialization_hypertable_name)
    FROM timescaledb_information.continuous_aggregates WHERE view_name = 'tds_new_consumo_horario'); END $do$;

--@ timescale 6e9adb5 1ec4966
SELECT add_continuous_aggregate_policy('tds_new_consumo_horario', start_offset => NULL, end_offset => INTERVAL '3600 seconds',
    schedule_interval => INTERVAL '300 seconds', if_not_exists => true, buckets_per_batch => 0);

--@ timescale 5eab68c 6e9adb5
CREATE MATERIALIZED VIEW tds_new_consumo_diario
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 day', bloco, 'America/Sao_Paulo') AS dia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;
CREATE INDEX tds_new_consumo_diario_chave ON tds_new_consumo_diario (dispositivo_id, dia DESC);

--@ timescale 8d4c5c0 5eab68c
SELECT add_continuous_aggregate_policy('tds_new_consumo_diario', start_offset => NULL, end_offset => INTERVAL '1 day',
    schedule_interval => INTERVAL '10 minutes', if_not_exists => true, buckets_per_batch => 0);

--@ timescale 16b45a2 8d4c5c0
CREATE MATERIALIZED VIEW tds_new_consumo_mensal WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 month', dia, 'America/Sao_Paulo') AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(count(*) FILTER (WHERE blocos_lidos > 0), 0), 4) AS media_diaria,
    sum(leituras)::bigint AS leituras_count,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras)::bigint AS amostras,
    last(ultimo, dia) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 0adbdf7 0b03257 16b45a2
SELECT add_continuous_aggregate_policy('tds_new_consumo_mensal', start_offset => NULL, end_offset => INTERVAL '1 day',
    schedule_interval => INTERVAL '10 minutes', if_not_exists => true);

--@ plain 0b03257
CREATE VIEW tds_new_consumo_horario AS
SELECT date_trunc('hour', bloco, 'UTC') AS hora, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    (array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4;

--@ plain 0b03257
CREATE VIEW tds_new_consumo_diario AS
SELECT date_trunc('day', bloco, 'America/Sao_Paulo') AS dia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    (array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4;

--@ plain 0b03257
CREATE VIEW tds_new_consumo_mensal AS
SELECT date_trunc('month', dia, 'America/Sao_Paulo') AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(count(*) FILTER (WHERE blocos_lidos > 0), 0), 4) AS media_diaria,
    sum(leituras)::bigint AS leituras_count,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras)::bigint AS amostras,
    (array_agg(ultimo ORDER BY dia DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4;

--@ plain 16b45a2
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
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    (array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4;

--@ plain 16b45a2
CREATE VIEW tds_new_consumo_diario AS
SELECT date_trunc('day', bloco, 'America/Sao_Paulo') AS dia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    (array_agg(ultimo ORDER BY bloco DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4;

--@ plain 16b45a2
CREATE VIEW tds_new_consumo_mensal AS
SELECT date_trunc('month', dia, 'America/Sao_Paulo') AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(count(*) FILTER (WHERE blocos_lidos > 0), 0), 4) AS media_diaria,
    sum(leituras)::bigint AS leituras_count,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras)::bigint AS amostras,
    (array_agg(ultimo ORDER BY dia DESC) FILTER (WHERE ultimo IS NOT NULL))[1] AS ultimo
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4;

--@ timescale 1ec4966
CREATE MATERIALIZED VIEW tds_new_consumo_diario
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 day', bloco, 'America/Sao_Paulo') AS dia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS consumo,
    sum(leituras) AS leituras,
    count(*) AS blocos,
    count(*) FILTER (WHERE leituras > 0 AND consumo IS NOT NULL) AS blocos_lidos,
    sum(fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE qualidade = 'ESTIMADO') AS blocos_estimados,
    max(consumo) FILTER (WHERE fracao_medida = 1 AND qualidade = 'MEDIDO') AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras) AS amostras,
    last(ultimo, bloco) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_15min
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 1ec4966
DO $do$ BEGIN EXECUTE (SELECT format('CREATE UNIQUE INDEX tds_new_consumo_diario_chave ON %I.%I (dispositivo_id, dia DESC, conta_id, gateway_id)',
    materialization_hypertable_schema, materialization_hypertable_name)
    FROM timescaledb_information.continuous_aggregates WHERE view_name = 'tds_new_consumo_diario'); END $do$;

--@ timescale 6e9adb5 1ec4966
SELECT add_continuous_aggregate_policy('tds_new_consumo_diario', start_offset => NULL, end_offset => INTERVAL '86400 seconds',
    schedule_interval => INTERVAL '600 seconds', if_not_exists => true, buckets_per_batch => 0);

--@ timescale 5eab68c 6e9adb5
CREATE MATERIALIZED VIEW tds_new_consumo_mensal
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 month', dia, 'America/Sao_Paulo') AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(count(*) FILTER (WHERE blocos_lidos > 0), 0), 4) AS media_diaria,
    sum(leituras)::bigint AS leituras_count,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras)::bigint AS amostras,
    last(ultimo, dia) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4 WITH NO DATA;
CREATE INDEX tds_new_consumo_mensal_chave ON tds_new_consumo_mensal (dispositivo_id, mes_referencia DESC);

--@ timescale 8d4c5c0 5eab68c
SELECT add_continuous_aggregate_policy('tds_new_consumo_mensal', start_offset => NULL, end_offset => INTERVAL '1 day',
    schedule_interval => INTERVAL '10 minutes', if_not_exists => true, buckets_per_batch => 0);

--@ timescale 1ec4966
CREATE MATERIALIZED VIEW tds_new_consumo_mensal
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 month', dia, 'America/Sao_Paulo') AS mes_referencia, conta_id, gateway_id, dispositivo_id,
    sum(consumo) AS total_consumo,
    round(sum(consumo) / nullif(count(*) FILTER (WHERE blocos_lidos > 0), 0), 4) AS media_diaria,
    sum(leituras)::bigint AS leituras_count,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico,
    min(minimo) AS minimo, max(maximo) AS maximo, sum(soma) AS soma, sum(amostras)::bigint AS amostras,
    last(ultimo, dia) FILTER (WHERE ultimo IS NOT NULL) AS ultimo
FROM tds_new_consumo_diario
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 1ec4966
DO $do$ BEGIN EXECUTE (SELECT format('CREATE UNIQUE INDEX tds_new_consumo_mensal_chave ON %I.%I (dispositivo_id, mes_referencia DESC, conta_id, gateway_id)',
    materialization_hypertable_schema, materialization_hypertable_name)
    FROM timescaledb_information.continuous_aggregates WHERE view_name = 'tds_new_consumo_mensal'); END $do$;

--@ timescale 6e9adb5 1ec4966
SELECT add_continuous_aggregate_policy('tds_new_consumo_mensal', start_offset => NULL, end_offset => INTERVAL '86400 seconds',
    schedule_interval => INTERVAL '600 seconds', if_not_exists => true, buckets_per_batch => 0);

--@ all
CREATE FUNCTION tds_new_marca_leituras() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
    SELECT dispositivo_id % 8, min(time), max(time), array_agg(DISTINCT dispositivo_id)
    FROM novas GROUP BY dispositivo_id % 8, date_bin('15 minutes', time, 'epoch');
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_marca_leituras AFTER INSERT ON tds_new_leitura_dispositivo
    REFERENCING NEW TABLE AS novas FOR EACH STATEMENT EXECUTE FUNCTION tds_new_marca_leituras();

CREATE FUNCTION tds_new_marca(dispositivo bigint, inicio timestamptz, fim timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
    VALUES (dispositivo % 8, inicio, fim, ARRAY[dispositivo]);
$$;

CREATE FUNCTION tds_new_audita(dispositivo bigint, tabela text, acao text, antes jsonb, depois jsonb) RETURNS void LANGUAGE sql AS $$
    INSERT INTO tds_new_auditoria_medicao (dispositivo_id, tabela, acao, antes, depois, usuario)
    SELECT dispositivo, tabela, acao, antes, depois,
        coalesce(nullif(current_setting('tds.usuario', true), ''),
                 (SELECT email FROM tds_new_user WHERE id = (coalesce(depois, antes) ->> 'registrado_por_id')::bigint), '')
    WHERE EXISTS (SELECT FROM tds_new_dispositivo WHERE id = dispositivo);
$$;

-- What people enter takes effect where it says: a meter change and a decision at their moment, parameters until the next change.
CREATE FUNCTION tds_new_marca_registro() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    linha jsonb;
    alvo bigint;
    momento timestamptz;
BEGIN
    IF TG_OP = 'UPDATE' AND to_jsonb(OLD) = to_jsonb(NEW) THEN
        RETURN NULL;
    END IF;
    FOREACH linha IN ARRAY CASE TG_OP WHEN 'INSERT' THEN ARRAY[to_jsonb(NEW)] WHEN 'DELETE' THEN ARRAY[to_jsonb(OLD)]
                           ELSE ARRAY[to_jsonb(OLD), to_jsonb(NEW)] END LOOP
        alvo := (linha ->> 'dispositivo_id')::bigint;
        momento := (linha ->> TG_ARGV[0])::timestamptz;
        PERFORM tds_new_marca(alvo, momento, CASE TG_TABLE_NAME WHEN 'tds_new_vigencia_parametros' THEN coalesce(
            (SELECT min(desde) FROM tds_new_vigencia_parametros WHERE dispositivo_id = alvo AND desde > momento), 'infinity')
            ELSE momento END);
    END LOOP;
    PERFORM tds_new_audita(alvo, TG_TABLE_NAME, TG_OP, CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END,
        CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END);
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_marca_registro AFTER INSERT OR UPDATE OR DELETE ON tds_new_troca_medidor
    FOR EACH ROW EXECUTE FUNCTION tds_new_marca_registro('ocorrida_em');
CREATE TRIGGER tds_new_marca_registro AFTER INSERT OR UPDATE OR DELETE ON tds_new_revisao_leitura
    FOR EACH ROW EXECUTE FUNCTION tds_new_marca_registro('leitura_em');
CREATE TRIGGER tds_new_marca_registro AFTER INSERT OR UPDATE OR DELETE ON tds_new_vigencia_parametros
    FOR EACH ROW EXECUTE FUNCTION tds_new_marca_registro('desde');

CREATE FUNCTION tds_new_marca_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    campos text[] := ARRAY['fator_conversao', 'valor_maximo_registro', 'consumo_maximo_hora', 'tolerancia_queda', 'gateway_id'];
BEGIN
    PERFORM tds_new_marca(NEW.id, '-infinity', CASE WHEN OLD.gateway_id <> NEW.gateway_id THEN 'infinity' ELSE coalesce(
        (SELECT min(desde) FROM tds_new_vigencia_parametros WHERE dispositivo_id = NEW.id), 'infinity') END);
    PERFORM tds_new_audita(NEW.id, TG_TABLE_NAME, TG_OP,
        (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(OLD)) WHERE key = ANY(campos)),
        (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(NEW)) WHERE key = ANY(campos)));
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_marca_dispositivo
    AFTER UPDATE OF fator_conversao, valor_maximo_registro, consumo_maximo_hora, tolerancia_queda, gateway_id ON tds_new_dispositivo
    FOR EACH ROW WHEN ((OLD.fator_conversao, OLD.valor_maximo_registro, OLD.consumo_maximo_hora, OLD.tolerancia_queda, OLD.gateway_id)
        IS DISTINCT FROM (NEW.fator_conversao, NEW.valor_maximo_registro, NEW.consumo_maximo_hora, NEW.tolerancia_queda, NEW.gateway_id))
    EXECUTE FUNCTION tds_new_marca_dispositivo();

CREATE FUNCTION tds_new_marca_gateway() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_marca(id, '-infinity', 'infinity') FROM tds_new_dispositivo WHERE gateway_id = NEW.id;
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_marca_gateway AFTER UPDATE OF intervalo_esperado_s ON tds_new_gateway
    FOR EACH ROW WHEN (OLD.intervalo_esperado_s IS DISTINCT FROM NEW.intervalo_esperado_s) EXECUTE FUNCTION tds_new_marca_gateway();

CREATE FUNCTION tds_new_auditoria_fixa() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is never changed' USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER tds_new_auditoria_fixa BEFORE UPDATE ON tds_new_auditoria_medicao
    FOR EACH ROW EXECUTE FUNCTION tds_new_auditoria_fixa();

--@ all
INSERT INTO tds_new_consumo_particao (id) SELECT generate_series(0, 7);
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
    SELECT id % 8, '-infinity', 'infinity', ARRAY[id] FROM tds_new_dispositivo d
    WHERE EXISTS (SELECT FROM tds_new_leitura_dispositivo WHERE dispositivo_id = d.id);
ALTER TABLE tds_new_consumo_pendente SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
ALTER TABLE tds_new_consumo_pendente ALTER COLUMN dispositivos SET STORAGE EXTERNAL;
ALTER TABLE tds_new_consumo_particao SET (fillfactor = 10);
CREATE INDEX tds_new_consumo_pendente_fila ON tds_new_consumo_pendente (particao, id);
