"""Gives every database the schema of a new one, wherever its migrations began.

Until migrations were frozen, some of them changed after they had been applied. A database that was migrated by an
earlier version of them lacks what came later: columns, a key, an index, the present text of two functions, columns of
the sums, what keeps the sums' buckets single. A database that has it all stays as it is.
"""

from typing import Any

from django.db import NotSupportedError, migrations, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from tds_new.migrations import _sums
from tds_new.migrations._timescale import is_hypertable

# 0005 and 0007. Where an anchor has no ``final_ate``, what lies before the border of retention was final, so it stays.
TABLES = """
ALTER TABLE tds_new_consumo_pendente
    ADD COLUMN IF NOT EXISTS tentar_em timestamptz,
    ADD COLUMN IF NOT EXISTS erro text DEFAULT '' NOT NULL;
ALTER TABLE tds_new_manutencao_execucao ADD COLUMN IF NOT EXISTS prazo timestamptz;
CREATE INDEX IF NOT EXISTS tds_new_consumo_bloco
    ON tds_new_consumo_15min USING brin (bloco) WITH (autosummarize = on, pages_per_range = 32);

ALTER TABLE tds_new_consumo_ancora ADD COLUMN IF NOT EXISTS final_ate timestamptz;
UPDATE tds_new_consumo_ancora
    SET final_ate = coalesce((SELECT ate FROM tds_new_consumo_congelado), date_bin('15 minutes', leitura_em, 'epoch'))
    WHERE final_ate IS NULL;
ALTER TABLE tds_new_consumo_ancora ALTER COLUMN final_ate SET NOT NULL;
DO $$
BEGIN
    IF (SELECT indnkeyatts FROM pg_index WHERE indexrelid = 'tds_new_consumo_ancora_pkey'::regclass) = 1 THEN
        ALTER TABLE tds_new_consumo_ancora DROP CONSTRAINT tds_new_consumo_ancora_pkey,
            ADD CONSTRAINT tds_new_consumo_ancora_pkey PRIMARY KEY (dispositivo_id, leitura_em);
    END IF;
END $$;
"""

# 0007 and 0009, as their last versions have them.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION tds_new_marca_leituras() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tds_new_consumo_congelado WHERE ate > (SELECT min(time) FROM novas)) THEN
        RAISE EXCEPTION 'consumption before % is closed', (SELECT ate FROM tds_new_consumo_congelado) USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
    SELECT dispositivo_id % 8, min(time), max(time), array_agg(DISTINCT dispositivo_id)
    FROM novas GROUP BY dispositivo_id % 8, date_bin('15 minutes', time, 'epoch');
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tds_new_muda_grandeza() RETURNS trigger LANGUAGE plpgsql
SET timescaledb.max_tuples_decompressed_per_dml_transaction = 0 AS $$
BEGIN
    IF to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL THEN
        PERFORM FROM tds_new_consumo_particao WHERE id = NEW.id % 8 FOR UPDATE;
        UPDATE tds_new_consumo_15min SET leituras = leituras WHERE dispositivo_id = NEW.id AND consumo IS NOT NULL;
    END IF;
    UPDATE tds_new_conta_atividade SET consumo_seq = consumo_seq + 1 WHERE conta_id = NEW.conta_id;
    RETURN NULL;
END $$;
"""

# 0002: older databases compress readings by dispositivo_id alone. What is compressed already stays as it is.
SEGMENTS = "dispositivo_id, conta_id, gateway_id, unidade, tipo_leitura"
SEGMENTS_OF_READINGS = """
SELECT string_agg(attname, ', ' ORDER BY segmentby_column_index) FROM timescaledb_information.compression_settings
WHERE hypertable_name = 'tds_new_leitura_dispositivo' AND segmentby_column_index IS NOT NULL
"""
COMPRESS_BY_SEGMENTS = f"""
ALTER TABLE tds_new_leitura_dispositivo SET (timescaledb.compress, timescaledb.compress_orderby = 'time DESC',
    timescaledb.compress_segmentby = '{SEGMENTS}')
"""

# 0006 and 0009: a sum is of an earlier version where it has no peak, where months are not made of days, and where
# nothing keeps its buckets single.
HAS_PEAK = "SELECT 1 FROM pg_attribute WHERE attrelid = %s::regclass AND attname = 'pico'"
MONTHS_OF_DAYS = """
SELECT 1 FROM pg_depend d JOIN pg_rewrite r ON d.classid = 'pg_rewrite'::regclass AND d.objid = r.oid
WHERE r.ev_class = 'tds_new_consumo_mensal'::regclass AND d.refobjid = 'tds_new_consumo_diario'::regclass
"""
AGGREGATE_OF_DAYS = """
SELECT 1 FROM timescaledb_information.continuous_aggregates
WHERE view_name = 'tds_new_consumo_mensal' AND view_definition LIKE '%%tds_new_consumo_diario%%'
"""
IS_SINGLE = """
SELECT 1 FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relname = %s AND i.indisunique
"""
GRANTS = """
SELECT format('GRANT %%s ON %%I TO %%s', a.privilege_type, c.relname,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = %s::regclass AND a.grantee <> c.relowner
"""


def _answers(connection: BaseDatabaseWrapper, query: str, *parameters: str) -> list[Any]:
    """Return the first column of what ``query`` finds."""
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return [row[0] for row in cursor.fetchall()]


def _are_as_they_should_be(connection: BaseDatabaseWrapper, *, timescale: bool) -> bool:
    """Return whether every sum is of the last version."""
    have_peaks = all(_answers(connection, HAS_PEAK, name) for name in _sums.ALL)
    are_single = not timescale or all(_answers(connection, IS_SINGLE, f"{name}_chave") for name in _sums.ALL)
    months = AGGREGATE_OF_DAYS if timescale else MONTHS_OF_DAYS
    return have_peaks and are_single and bool(_answers(connection, months))


def repair_sums(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Make the sums again where one is of an earlier version.

    The rights that others had on them stay. On TimescaleDB they are empty then and answered from the blocks,
    until they are refreshed in the next minutes.
    """
    connection = editor.connection
    timescale = is_hypertable(connection, "tds_new_consumo_15min")
    if _are_as_they_should_be(connection, timescale=timescale):
        return
    grants = [grant for name in _sums.ALL for grant in _answers(connection, GRANTS, name)]
    _sums.drop_sums(connection, _sums.ALL)
    _sums.create_sums(connection, _sums.ALL, timescale=timescale)
    with connection.cursor() as cursor:
        for grant in grants:
            cursor.execute(grant)


def repair_compression(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Have readings compressed by everything that hardly changes for a device.

    Versions of TimescaleDB that refuse this while anything is compressed keep what they have; no figure depends on it.
    """
    connection = editor.connection
    if not is_hypertable(connection, "tds_new_leitura_dispositivo"):
        return
    if _answers(connection, SEGMENTS_OF_READINGS) == [SEGMENTS]:
        return
    try:
        with transaction.atomic(connection.alias), connection.cursor() as cursor:
            cursor.execute(COMPRESS_BY_SEGMENTS)
    except NotSupportedError:
        pass


class Migration(migrations.Migration):
    dependencies = [("tds_new", "0012_reconstrucao")]

    operations = [
        migrations.RunSQL(TABLES, migrations.RunSQL.noop),
        migrations.RunSQL(FUNCTIONS, migrations.RunSQL.noop),
        migrations.RunPython(repair_compression, migrations.RunPython.noop),
        migrations.RunPython(repair_sums, migrations.RunPython.noop),
    ]
