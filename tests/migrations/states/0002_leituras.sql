--@ timescale all
CREATE EXTENSION IF NOT EXISTS timescaledb;

--@ timescale bd4fbee
SELECT create_hypertable('tds_new_leitura_dispositivo', by_range('time', INTERVAL '7 days'), create_default_indexes => false,
    if_not_exists => true);
ALTER TABLE tds_new_leitura_dispositivo SET (
    timescaledb.compress, timescaledb.compress_segmentby = 'dispositivo_id', timescaledb.compress_orderby = 'time DESC');
SELECT add_compression_policy('tds_new_leitura_dispositivo', INTERVAL '45 days', if_not_exists => true);

--@ timescale 7e5b77f
SELECT create_hypertable('tds_new_leitura_dispositivo', by_range('time', INTERVAL '7 days'), create_default_indexes => false,
    if_not_exists => true);
ALTER TABLE tds_new_leitura_dispositivo SET (
    timescaledb.compress, timescaledb.compress_orderby = 'time DESC',
    timescaledb.compress_segmentby = 'dispositivo_id, conta_id, gateway_id, unidade, tipo_leitura');
SELECT add_compression_policy('tds_new_leitura_dispositivo', INTERVAL '45 days', if_not_exists => true);

--@ all
ALTER TABLE tds_new_leitura_dispositivo ADD CONSTRAINT tds_new_leitura_valor_finito CHECK (valor <> 'NaN'::numeric);

--@ all
CREATE FUNCTION tds_new_protege_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM tds_new_leitura_dispositivo WHERE dispositivo_id = OLD.id) THEN
        LOCK TABLE tds_new_leitura_dispositivo IN SHARE ROW EXCLUSIVE MODE;
    END IF;
    IF EXISTS (SELECT FROM tds_new_leitura_dispositivo WHERE dispositivo_id = OLD.id) THEN
        RAISE EXCEPTION 'device % has readings and cannot be deleted; deactivate it instead', OLD.codigo
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER tds_new_protege_dispositivo BEFORE DELETE ON tds_new_dispositivo
    FOR EACH ROW EXECUTE FUNCTION tds_new_protege_dispositivo();

-- A Conta keeps the history of devices that have since moved to another Conta.
CREATE FUNCTION tds_new_protege_conta() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tds_new_leitura_dispositivo WHERE conta_id = OLD.id) THEN
        RAISE EXCEPTION 'conta % has readings and cannot be deleted; deactivate it instead', OLD.name
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END $$;
CREATE TRIGGER tds_new_protege_conta BEFORE DELETE ON tds_new_conta
    FOR EACH ROW EXECUTE FUNCTION tds_new_protege_conta();

--@ all
ALTER TABLE tds_new_gateway SET (fillfactor = 70);
ALTER TABLE tds_new_dispositivo SET (fillfactor = 70);
ALTER TABLE tds_new_conta_atividade SET (fillfactor = 50);
