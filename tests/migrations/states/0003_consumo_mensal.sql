--@ plain all
CREATE VIEW tds_new_consumo_mensal AS
SELECT date_trunc('month', time, 'America/Sao_Paulo') AS mes_referencia, conta_id, gateway_id, dispositivo_id,

    CASE WHEN count(*) FILTER (WHERE tipo_leitura <> 'INSTANTANEA') > 0 THEN
        coalesce(sum(valor) FILTER (WHERE tipo_leitura = 'INCREMENTAL'), 0)
        + coalesce((array_agg(valor ORDER BY time DESC) FILTER (WHERE tipo_leitura = 'ACUMULADA'))[1] - (array_agg(valor ORDER BY time) FILTER (WHERE tipo_leitura = 'ACUMULADA'))[1], 0)
    END AS total_consumo,
    round((
    CASE WHEN count(*) FILTER (WHERE tipo_leitura <> 'INSTANTANEA') > 0 THEN
        coalesce(sum(valor) FILTER (WHERE tipo_leitura = 'INCREMENTAL'), 0)
        + coalesce((array_agg(valor ORDER BY time DESC) FILTER (WHERE tipo_leitura = 'ACUMULADA'))[1] - (array_agg(valor ORDER BY time) FILTER (WHERE tipo_leitura = 'ACUMULADA'))[1], 0)
    END) / nullif(count(DISTINCT date_trunc('day', time, 'America/Sao_Paulo')) FILTER (WHERE tipo_leitura <> 'INSTANTANEA'), 0), 4)
        AS media_diaria,
    count(*) AS leituras_count
FROM tds_new_leitura_dispositivo
GROUP BY 1, 2, 3, 4;

--@ timescale all
CREATE MATERIALIZED VIEW tds_new_consumo_mensal WITH (timescaledb.continuous, timescaledb.materialized_only = false) AS
SELECT time_bucket('1 month', time, 'America/Sao_Paulo') AS mes_referencia, conta_id, gateway_id, dispositivo_id,

    CASE WHEN count(*) FILTER (WHERE tipo_leitura <> 'INSTANTANEA') > 0 THEN
        coalesce(sum(valor) FILTER (WHERE tipo_leitura = 'INCREMENTAL'), 0)
        + coalesce(last(valor, time) FILTER (WHERE tipo_leitura = 'ACUMULADA') - first(valor, time) FILTER (WHERE tipo_leitura = 'ACUMULADA'), 0)
    END AS total_consumo,
    round((
    CASE WHEN count(*) FILTER (WHERE tipo_leitura <> 'INSTANTANEA') > 0 THEN
        coalesce(sum(valor) FILTER (WHERE tipo_leitura = 'INCREMENTAL'), 0)
        + coalesce(last(valor, time) FILTER (WHERE tipo_leitura = 'ACUMULADA') - first(valor, time) FILTER (WHERE tipo_leitura = 'ACUMULADA'), 0)
    END) / nullif(count(DISTINCT date_trunc('day', time, 'America/Sao_Paulo')) FILTER (WHERE tipo_leitura <> 'INSTANTANEA'), 0), 4)
        AS media_diaria,
    count(*) AS leituras_count
FROM tds_new_leitura_dispositivo
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale bd4fbee
SELECT add_continuous_aggregate_policy('tds_new_consumo_mensal', start_offset => NULL, end_offset => INTERVAL '1 day', schedule_interval => INTERVAL '15 minutes');

--@ timescale 9c4e0f2
SELECT add_continuous_aggregate_policy('tds_new_consumo_mensal', start_offset => NULL, end_offset => INTERVAL '1 day', schedule_interval => INTERVAL '15 minutes', initial_start => now() + INTERVAL '1 hour');
