"""Prepare the ledger: hypertable, queue, audit trail and sums.

It makes blocks a hypertable, queues what is to be computed, writes the audit trail, and sums the blocks.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from tds_new.migrations import _sums
from tds_new.migrations._consumo_mensal import create_sum_of_readings
from tds_new.migrations._timescale import drop_sum, is_hypertable

PARTITIONS = 8

HYPERTABLE = """
SELECT create_hypertable('tds_new_consumo_15min', by_range('bloco', INTERVAL '14 days'), create_default_indexes => false,
    if_not_exists => true, migrate_data => true);
ALTER TABLE tds_new_consumo_15min SET (
    timescaledb.compress, timescaledb.compress_segmentby = 'dispositivo_id, conta_id', timescaledb.compress_orderby = 'bloco DESC');
SELECT add_compression_policy('tds_new_consumo_15min', INTERVAL '45 days', if_not_exists => true);
"""

# New readings queue their 15 minutes to be computed, in the transaction that stores them, whoever does. It is one row a
# block and partition, however many devices there are, so it costs a batch little.
MARKS = f"""
CREATE FUNCTION tds_new_marca_leituras() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
    SELECT dispositivo_id % {PARTITIONS}, min(time), max(time), array_agg(DISTINCT dispositivo_id)
    FROM novas GROUP BY dispositivo_id % {PARTITIONS}, date_bin('15 minutes', time, 'epoch');
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_marca_leituras AFTER INSERT ON tds_new_leitura_dispositivo
    REFERENCING NEW TABLE AS novas FOR EACH STATEMENT EXECUTE FUNCTION tds_new_marca_leituras();

CREATE FUNCTION tds_new_marca(dispositivo bigint, inicio timestamptz, fim timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
    VALUES (dispositivo % {PARTITIONS}, inicio, fim, ARRAY[dispositivo]);
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
"""

MARKS_REVERSE = """
DROP TRIGGER tds_new_auditoria_fixa ON tds_new_auditoria_medicao;
DROP TRIGGER tds_new_marca_gateway ON tds_new_gateway;
DROP TRIGGER tds_new_marca_dispositivo ON tds_new_dispositivo;
DROP TRIGGER tds_new_marca_registro ON tds_new_vigencia_parametros;
DROP TRIGGER tds_new_marca_registro ON tds_new_revisao_leitura;
DROP TRIGGER tds_new_marca_registro ON tds_new_troca_medidor;
DROP TRIGGER tds_new_marca_leituras ON tds_new_leitura_dispositivo;
DROP FUNCTION tds_new_auditoria_fixa(), tds_new_marca_gateway(), tds_new_marca_dispositivo(), tds_new_marca_registro(),
    tds_new_audita(bigint, text, text, jsonb, jsonb), tds_new_marca(bigint, timestamptz, timestamptz), tds_new_marca_leituras();
"""

# The worker computes all readings that are there already. Rows of the queue are short-lived, so it is vacuumed often.
START = f"""
INSERT INTO tds_new_consumo_particao (id) SELECT generate_series(0, {PARTITIONS - 1});
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
    SELECT id % {PARTITIONS}, '-infinity', 'infinity', ARRAY[id] FROM tds_new_dispositivo d
    WHERE EXISTS (SELECT FROM tds_new_leitura_dispositivo WHERE dispositivo_id = d.id);
ALTER TABLE tds_new_consumo_pendente SET (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 2000);
ALTER TABLE tds_new_consumo_pendente ALTER COLUMN dispositivos SET STORAGE EXTERNAL;
ALTER TABLE tds_new_consumo_particao SET (fillfactor = 10);
CREATE INDEX tds_new_consumo_pendente_fila ON tds_new_consumo_pendente (particao, id);
"""


# What ``enable_timescale`` has copied until then: it starts from the beginning. TimescaleDB drops hypertables one by
# one.
DISCARD_MOVE = (
    "DROP FUNCTION IF EXISTS tds_new_leitura_dispositivo_nova(), tds_new_consumo_15min_nova() CASCADE",
    "DROP TABLE IF EXISTS tds_new_leitura_dispositivo_nova",
    "DROP TABLE IF EXISTS tds_new_consumo_15min_nova",
    "DROP TABLE IF EXISTS tds_new_mudanca_timescale",
)


def create(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Make blocks a hypertable where readings are one, and sum blocks.

    The sums of blocks replace the sum of readings.
    """
    timescale = is_hypertable(editor.connection, "tds_new_leitura_dispositivo")
    if timescale:
        editor.execute(HYPERTABLE)
    drop_sum(editor.connection, _sums.MONTHS)
    _sums.create_sums(editor.connection, _sums.OF_DEVICES, timescale=timescale)


def restore(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Sum readings again.

    Blocks go with migration 0005, so a move that was stopped in the copy is discarded.
    """
    _sums.drop_sums(editor.connection, _sums.OF_DEVICES)
    create_sum_of_readings(editor)
    for statement in DISCARD_MOVE:
        editor.execute(statement)
    if is_hypertable(editor.connection, "tds_new_consumo_15min"):
        editor.execute("SELECT remove_compression_policy('tds_new_consumo_15min', if_exists => true)")


class Migration(migrations.Migration):
    dependencies = [("tds_new", "0005_consumo")]

    operations = [
        migrations.RunPython(create, restore),
        migrations.RunSQL(MARKS, MARKS_REVERSE),
        migrations.RunSQL(
            START, "DELETE FROM tds_new_consumo_particao; DROP INDEX tds_new_consumo_pendente_fila;"
        ),
    ]
