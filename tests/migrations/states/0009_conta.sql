--@ all
CREATE TABLE "tds_new_consumo_vida" ("primeiro" timestamp with time zone NOT NULL, "ultimo" timestamp with time zone NOT NULL, "conta_id" bigint NOT NULL, "dispositivo_id" bigint NOT NULL, PRIMARY KEY ("conta_id", "dispositivo_id"));

--@ all
CREATE FUNCTION tds_new_vida_de(conta bigint, dispositivo bigint) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    de timestamptz := (SELECT min(bloco) FROM tds_new_consumo_15min
                       WHERE dispositivo_id = dispositivo AND conta_id = conta AND consumo IS NOT NULL);
    ate timestamptz := (SELECT max(bloco) FROM tds_new_consumo_15min
                        WHERE dispositivo_id = dispositivo AND conta_id = conta AND consumo IS NOT NULL);
BEGIN
    DELETE FROM tds_new_consumo_vida WHERE conta_id = conta AND dispositivo_id = dispositivo;
    IF de IS NOT NULL THEN
        INSERT INTO tds_new_consumo_vida (conta_id, dispositivo_id, primeiro, ultimo) VALUES (conta, dispositivo, de, ate);
    END IF;
END $$;

CREATE FUNCTION tds_new_vida_cresce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tds_new_consumo_vida AS v (conta_id, dispositivo_id, primeiro, ultimo)
    SELECT conta_id, dispositivo_id, min(bloco), max(bloco) FROM novos WHERE consumo IS NOT NULL GROUP BY 1, 2
    ON CONFLICT (conta_id, dispositivo_id) DO UPDATE
        SET primeiro = least(v.primeiro, excluded.primeiro), ultimo = greatest(v.ultimo, excluded.ultimo)
        WHERE excluded.primeiro < v.primeiro OR excluded.ultimo > v.ultimo;
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_vida_cresce AFTER INSERT ON tds_new_consumo_15min
    REFERENCING NEW TABLE AS novos FOR EACH STATEMENT EXECUTE FUNCTION tds_new_vida_cresce();

-- After the statement, so of many that went the first looks anew, and the others find that they were at no end.
CREATE FUNCTION tds_new_vida_encolhe() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_vida_de(conta_id, dispositivo_id) FROM tds_new_consumo_vida
    WHERE conta_id = OLD.conta_id AND dispositivo_id = OLD.dispositivo_id AND OLD.bloco IN (primeiro, ultimo);
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_vida_encolhe AFTER DELETE ON tds_new_consumo_15min FOR EACH ROW EXECUTE FUNCTION tds_new_vida_encolhe();

-- A block with gauges alone that gets consumption, or the other way round.
CREATE FUNCTION tds_new_vida_muda() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_vida_de(NEW.conta_id, NEW.dispositivo_id);
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_vida_muda AFTER UPDATE ON tds_new_consumo_15min
    FOR EACH ROW WHEN ((OLD.consumo IS NULL) <> (NEW.consumo IS NULL)) EXECUTE FUNCTION tds_new_vida_muda();

INSERT INTO tds_new_consumo_vida (conta_id, dispositivo_id, primeiro, ultimo)
    SELECT conta_id, dispositivo_id, min(bloco), max(bloco) FROM tds_new_consumo_15min WHERE consumo IS NOT NULL GROUP BY 1, 2;

--@ plain 5eab68c fdfd22f, timescale 5eab68c 6e9adb5 fdfd22f
CREATE FUNCTION tds_new_muda_grandeza() RETURNS trigger LANGUAGE plpgsql
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0 AS $$
BEGIN
    PERFORM FROM tds_new_consumo_particao WHERE id = NEW.id % 8 FOR UPDATE;
    UPDATE tds_new_consumo_15min SET leituras = leituras WHERE dispositivo_id = NEW.id AND consumo IS NOT NULL;
    UPDATE tds_new_conta_atividade SET consumo_seq = consumo_seq + 1 WHERE conta_id = NEW.conta_id;
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_muda_grandeza AFTER UPDATE OF grandeza, unidade ON tds_new_dispositivo
    FOR EACH ROW WHEN ((OLD.grandeza, OLD.unidade) IS DISTINCT FROM (NEW.grandeza, NEW.unidade)) EXECUTE FUNCTION tds_new_muda_grandeza();

--@ plain 2d6fcd3, timescale 2d6fcd3 1ec4966
CREATE FUNCTION tds_new_muda_grandeza() RETURNS trigger LANGUAGE plpgsql
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0 AS $$
BEGIN
    IF to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL THEN
        PERFORM FROM tds_new_consumo_particao WHERE id = NEW.id % 8 FOR UPDATE;
        UPDATE tds_new_consumo_15min SET leituras = leituras WHERE dispositivo_id = NEW.id AND consumo IS NOT NULL;
    END IF;
    UPDATE tds_new_conta_atividade SET consumo_seq = consumo_seq + 1 WHERE conta_id = NEW.conta_id;
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_muda_grandeza AFTER UPDATE OF grandeza, unidade ON tds_new_dispositivo
    FOR EACH ROW WHEN ((OLD.grandeza, OLD.unidade) IS DISTINCT FROM (NEW.grandeza, NEW.unidade)) EXECUTE FUNCTION tds_new_muda_grandeza();

--@ plain all
CREATE VIEW tds_new_consumo_parte_do_dia AS
SELECT date_bin('1 day', bloco, TIMESTAMPTZ '2000-01-01 05:00Z') AS dia,
    CASE extract(hour FROM bloco AT TIME ZONE 'UTC') WHEN 2 THEN 2 WHEN 3 THEN 3 WHEN 4 THEN 4 ELSE 5 END AS hora_utc,
    conta_id, gateway_id, dispositivo_id,
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
GROUP BY 1, 2, 3, 4, 5;

--@ plain 5eab68c
CREATE VIEW tds_new_consumo_conta_horario AS
SELECT date_trunc('hour', b.bloco, 'UTC') AS hora, b.conta_id, d.grandeza, d.unidade,
    sum(b.consumo) AS consumo,
    count(*) AS blocos,
    sum(b.fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE b.qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE b.qualidade = 'ESTIMADO') AS blocos_estimados
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4;

--@ plain 5eab68c
CREATE VIEW tds_new_consumo_conta_diario AS
SELECT date_trunc('day', hora, 'America/Sao_Paulo') AS dia, conta_id, grandeza, unidade,
    sum(consumo) AS consumo,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4;

--@ timescale 5eab68c 6e9adb5 fdfd22f 2d6fcd3
CREATE MATERIALIZED VIEW tds_new_consumo_parte_do_dia
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 day', bloco, "offset" => INTERVAL '5 hours') AS dia,
    CASE extract(hour FROM bloco AT TIME ZONE 'UTC') WHEN 2 THEN 2 WHEN 3 THEN 3 WHEN 4 THEN 4 ELSE 5 END AS hora_utc,
    conta_id, gateway_id, dispositivo_id,
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
GROUP BY 1, 2, 3, 4, 5 WITH NO DATA;
CREATE INDEX tds_new_consumo_parte_do_dia_chave ON tds_new_consumo_parte_do_dia (dispositivo_id, dia DESC);

--@ timescale 5eab68c
SELECT add_continuous_aggregate_policy('tds_new_consumo_parte_do_dia', start_offset => NULL, end_offset => INTERVAL '1 day',
    schedule_interval => INTERVAL '10 minutes', if_not_exists => true, buckets_per_batch => 0);

--@ timescale 1ec4966
CREATE MATERIALIZED VIEW tds_new_consumo_parte_do_dia
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 day', bloco, "offset" => INTERVAL '5 hours') AS dia,
    CASE extract(hour FROM bloco AT TIME ZONE 'UTC') WHEN 2 THEN 2 WHEN 3 THEN 3 WHEN 4 THEN 4 ELSE 5 END AS hora_utc,
    conta_id, gateway_id, dispositivo_id,
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
GROUP BY 1, 2, 3, 4, 5 WITH NO DATA;

--@ timescale 1ec4966
DO $do$ BEGIN EXECUTE (SELECT format('CREATE UNIQUE INDEX tds_new_consumo_parte_do_dia_chave ON %I.%I (dispositivo_id, dia DESC, hora_utc, conta_id, gateway_id)',
    materialization_hypertable_schema, materialization_hypertable_name)
    FROM timescaledb_information.continuous_aggregates WHERE view_name = 'tds_new_consumo_parte_do_dia'); END $do$;

--@ timescale 6e9adb5 fdfd22f 2d6fcd3 1ec4966
SELECT add_continuous_aggregate_policy('tds_new_consumo_parte_do_dia', start_offset => NULL, end_offset => INTERVAL '86400 seconds',
    schedule_interval => INTERVAL '600 seconds', if_not_exists => true, buckets_per_batch => 0);

--@ timescale 5eab68c 6e9adb5
CREATE MATERIALIZED VIEW tds_new_consumo_conta_horario
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 hour', b.bloco) AS hora, b.conta_id, d.grandeza, d.unidade,
    sum(b.consumo) AS consumo,
    count(*) AS blocos,
    sum(b.fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE b.qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE b.qualidade = 'ESTIMADO') AS blocos_estimados
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4 WITH NO DATA;
CREATE INDEX tds_new_consumo_conta_horario_chave ON tds_new_consumo_conta_horario (conta_id, hora DESC);

--@ timescale 5eab68c
SELECT add_continuous_aggregate_policy('tds_new_consumo_conta_horario', start_offset => NULL, end_offset => INTERVAL '1 hour',
    schedule_interval => INTERVAL '5 minutes', if_not_exists => true, buckets_per_batch => 0);

--@ timescale fdfd22f 2d6fcd3
CREATE MATERIALIZED VIEW tds_new_consumo_conta_horario
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 hour', b.bloco) AS hora, b.conta_id, d.grandeza, d.unidade,
    sum(b.consumo) AS consumo,
    count(*) AS blocos,
    sum(b.fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE b.qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE b.qualidade = 'ESTIMADO') AS blocos_estimados,
    max(b.consumo) FILTER (WHERE b.fracao_medida = 1 AND b.qualidade = 'MEDIDO') AS pico
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4 WITH NO DATA;
CREATE INDEX tds_new_consumo_conta_horario_chave ON tds_new_consumo_conta_horario (conta_id, hora DESC);

--@ timescale 1ec4966
CREATE MATERIALIZED VIEW tds_new_consumo_conta_horario
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 hour', b.bloco) AS hora, b.conta_id, d.grandeza, d.unidade,
    sum(b.consumo) AS consumo,
    count(*) AS blocos,
    sum(b.fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE b.qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE b.qualidade = 'ESTIMADO') AS blocos_estimados,
    max(b.consumo) FILTER (WHERE b.fracao_medida = 1 AND b.qualidade = 'MEDIDO') AS pico
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 1ec4966
DO $do$ BEGIN EXECUTE (SELECT format('CREATE UNIQUE INDEX tds_new_consumo_conta_horario_chave ON %I.%I (conta_id, hora DESC, grandeza, unidade)',
    materialization_hypertable_schema, materialization_hypertable_name)
    FROM timescaledb_information.continuous_aggregates WHERE view_name = 'tds_new_consumo_conta_horario'); END $do$;

--@ timescale 6e9adb5 fdfd22f 2d6fcd3 1ec4966
SELECT add_continuous_aggregate_policy('tds_new_consumo_conta_horario', start_offset => NULL, end_offset => INTERVAL '3600 seconds',
    schedule_interval => INTERVAL '300 seconds', if_not_exists => true, buckets_per_batch => 0);

--@ timescale 5eab68c 6e9adb5
CREATE MATERIALIZED VIEW tds_new_consumo_conta_diario
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 day', hora, 'America/Sao_Paulo') AS dia, conta_id, grandeza, unidade,
    sum(consumo) AS consumo,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4 WITH NO DATA;
CREATE INDEX tds_new_consumo_conta_diario_chave ON tds_new_consumo_conta_diario (conta_id, dia DESC);

--@ timescale 5eab68c
SELECT add_continuous_aggregate_policy('tds_new_consumo_conta_diario', start_offset => NULL, end_offset => INTERVAL '1 day',
    schedule_interval => INTERVAL '10 minutes', if_not_exists => true, buckets_per_batch => 0);

--@ timescale fdfd22f 2d6fcd3
CREATE MATERIALIZED VIEW tds_new_consumo_conta_diario
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 day', hora, 'America/Sao_Paulo') AS dia, conta_id, grandeza, unidade,
    sum(consumo) AS consumo,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4 WITH NO DATA;
CREATE INDEX tds_new_consumo_conta_diario_chave ON tds_new_consumo_conta_diario (conta_id, dia DESC);

--@ timescale 1ec4966
CREATE MATERIALIZED VIEW tds_new_consumo_conta_diario
WITH (timescaledb.continuous, timescaledb.materialized_only = false, timescaledb.create_group_indexes = false) AS
SELECT time_bucket('1 day', hora, 'America/Sao_Paulo') AS dia, conta_id, grandeza, unidade,
    sum(consumo) AS consumo,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4 WITH NO DATA;

--@ timescale 1ec4966
DO $do$ BEGIN EXECUTE (SELECT format('CREATE UNIQUE INDEX tds_new_consumo_conta_diario_chave ON %I.%I (conta_id, dia DESC, grandeza, unidade)',
    materialization_hypertable_schema, materialization_hypertable_name)
    FROM timescaledb_information.continuous_aggregates WHERE view_name = 'tds_new_consumo_conta_diario'); END $do$;

--@ timescale 6e9adb5 fdfd22f 2d6fcd3 1ec4966
SELECT add_continuous_aggregate_policy('tds_new_consumo_conta_diario', start_offset => NULL, end_offset => INTERVAL '86400 seconds',
    schedule_interval => INTERVAL '600 seconds', if_not_exists => true, buckets_per_batch => 0);

--@ plain fdfd22f 2d6fcd3
CREATE VIEW tds_new_consumo_conta_horario AS
SELECT date_trunc('hour', b.bloco, 'UTC') AS hora, b.conta_id, d.grandeza, d.unidade,
    sum(b.consumo) AS consumo,
    count(*) AS blocos,
    sum(b.fracao_medida) AS blocos_medidos,
    count(*) FILTER (WHERE b.qualidade = 'INTERPOLADO') AS blocos_interpolados,
    count(*) FILTER (WHERE b.qualidade = 'ESTIMADO') AS blocos_estimados,
    max(b.consumo) FILTER (WHERE b.fracao_medida = 1 AND b.qualidade = 'MEDIDO') AS pico
FROM tds_new_consumo_15min b JOIN tds_new_dispositivo d ON d.id = b.dispositivo_id
WHERE b.consumo IS NOT NULL
GROUP BY 1, 2, 3, 4;

--@ plain fdfd22f 2d6fcd3
CREATE VIEW tds_new_consumo_conta_diario AS
SELECT date_trunc('day', hora, 'America/Sao_Paulo') AS dia, conta_id, grandeza, unidade,
    sum(consumo) AS consumo,
    sum(blocos)::bigint AS blocos,
    sum(blocos_medidos) AS blocos_medidos,
    sum(blocos_interpolados)::bigint AS blocos_interpolados,
    sum(blocos_estimados)::bigint AS blocos_estimados,
    max(pico) AS pico
FROM tds_new_consumo_conta_horario
GROUP BY 1, 2, 3, 4;
