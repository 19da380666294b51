"""Make readings a hypertable on TimescaleDB; keep what has readings.

To delete a Conta, gateway or device with readings is refused.
"""

from django.db import migrations
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from tds_new.migrations._timescale import ensure_timescale, is_hypertable

# What hardly ever changes for a device is kept once a batch of 1,000 readings: 9.6 bytes a reading, 11.6 by dispositivo_id alone.
HYPERTABLE = """
SELECT create_hypertable('tds_new_leitura_dispositivo', by_range('time', INTERVAL '7 days'), create_default_indexes => false,
    if_not_exists => true);
ALTER TABLE tds_new_leitura_dispositivo SET (
    timescaledb.compress, timescaledb.compress_orderby = 'time DESC',
    timescaledb.compress_segmentby = 'dispositivo_id, conta_id, gateway_id, unidade, tipo_leitura');
SELECT add_compression_policy('tds_new_leitura_dispositivo', INTERVAL '45 days', if_not_exists => true);
"""

# numeric(15,4) holds NaN; consumption must never.
CHECKS = """
ALTER TABLE tds_new_leitura_dispositivo ADD CONSTRAINT tds_new_leitura_valor_finito CHECK (valor <> 'NaN'::numeric);
"""

# The lock waits for batches being stored and keeps new ones out until the deletion has committed; the consumer's insert joins
# tds_new_dispositivo, so a reading never outlives its device.
PROTECTION = """
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
"""

PROTECTION_REVERSE = """
DROP TRIGGER tds_new_protege_conta ON tds_new_conta;
DROP FUNCTION tds_new_protege_conta();
DROP TRIGGER tds_new_protege_dispositivo ON tds_new_dispositivo;
DROP FUNCTION tds_new_protege_dispositivo();
"""

# last_seen, is_online and the counters change with every batch: room in the page keeps those updates off the indexes (HOT).
FILLFACTOR = """
ALTER TABLE tds_new_gateway SET (fillfactor = 70);
ALTER TABLE tds_new_dispositivo SET (fillfactor = 70);
ALTER TABLE tds_new_conta_atividade SET (fillfactor = 50);
"""
FILLFACTOR_REVERSE = FILLFACTOR.replace("SET (fillfactor = 70)", "RESET (fillfactor)").replace(
    "SET (fillfactor = 50)", "RESET (fillfactor)"
)


def create_hypertable(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Turn the table, which is still empty, into a hypertable.

    Its chunks have a week and are compressed after 45 days.
    """
    if ensure_timescale(editor.connection):
        editor.execute(HYPERTABLE)


def keep_hypertable(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Remove the policy, so that no job outlives the table.

    The table itself goes with migration 0001.
    """
    if is_hypertable(editor.connection, "tds_new_leitura_dispositivo"):
        editor.execute("SELECT remove_compression_policy('tds_new_leitura_dispositivo', if_exists => true)")


class Migration(migrations.Migration):
    dependencies = [("tds_new", "0001_initial")]

    operations = [
        migrations.RunPython(create_hypertable, keep_hypertable),
        migrations.RunSQL(
            CHECKS, "ALTER TABLE tds_new_leitura_dispositivo DROP CONSTRAINT tds_new_leitura_valor_finito"
        ),
        migrations.RunSQL(PROTECTION, PROTECTION_REVERSE),
        migrations.RunSQL(FILLFACTOR, FILLFACTOR_REVERSE),
    ]
