"""Sum blocks by Conta and by parts of days.

Also keep since when each device has measured for a Conta.
"""

import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from tds_new.migrations import _sums
from tds_new.migrations._timescale import is_hypertable

# The data extent follows the blocks, whoever writes them. A device's blocks are written by one session at a time, so
# nobody else changes its row meanwhile.
EXTENTS = """
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
"""
EXTENTS_REVERSE = """
DROP TRIGGER tds_new_vida_muda ON tds_new_consumo_15min;
DROP TRIGGER tds_new_vida_encolhe ON tds_new_consumo_15min;
DROP TRIGGER tds_new_vida_cresce ON tds_new_consumo_15min;
DROP FUNCTION tds_new_vida_muda(), tds_new_vida_encolhe(), tds_new_vida_cresce(), tds_new_vida_de(bigint, bigint);
"""

# A Conta's sums are by the quantity and unit that a device has now. TimescaleDB sums again only what it sees change, so
# the blocks are written again as they are, while the worker of these devices waits. Plain PostgreSQL's views need nothing.
QUANTITY = """
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
"""
QUANTITY_REVERSE = """
DROP TRIGGER tds_new_muda_grandeza ON tds_new_dispositivo;
DROP FUNCTION tds_new_muda_grandeza();
"""


UNIQUE = "SELECT count(*) FROM pg_indexes WHERE indexname = ANY(%s)"


def create(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Create the new sums.

    On TimescaleDB, make those of devices again where no unique index keeps buckets single.
    """
    timescale = is_hypertable(editor.connection, "tds_new_consumo_15min")
    with editor.connection.cursor() as cursor:
        cursor.execute(UNIQUE, [[f"{name}_chave" for name in _sums.OF_DEVICES]])
        (found,) = cursor.fetchone() or (0,)
    if timescale and found < len(_sums.OF_DEVICES):
        _sums.drop_sums(editor.connection, _sums.OF_DEVICES)
        _sums.create_sums(editor.connection, _sums.OF_DEVICES, timescale=timescale)
    _sums.create_sums(editor.connection, _sums.NEW_WITH_CONTAS, timescale=timescale)


def drop(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the sums that this migration brought."""
    _sums.drop_sums(editor.connection, _sums.NEW_WITH_CONTAS)


class Migration(migrations.Migration):
    dependencies = [
        ("tds_new", "0008_revisao"),
    ]

    operations = [
        migrations.CreateModel(
            name="ConsumoContaDiario",
            fields=[
                ("blocos", models.BigIntegerField()),
                ("blocos_medidos", models.DecimalField(decimal_places=4, max_digits=20)),
                ("blocos_interpolados", models.BigIntegerField()),
                ("blocos_estimados", models.BigIntegerField()),
                ("grandeza", models.CharField(max_length=20)),
                ("unidade", models.CharField(max_length=10)),
                ("consumo", models.DecimalField(decimal_places=6, max_digits=30)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "dia",
                        "conta_id",
                        "grandeza",
                        "unidade",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("dia", models.DateTimeField()),
            ],
            options={
                "db_table": "tds_new_consumo_conta_diario",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="ConsumoContaHorario",
            fields=[
                ("blocos", models.BigIntegerField()),
                ("blocos_medidos", models.DecimalField(decimal_places=4, max_digits=20)),
                ("blocos_interpolados", models.BigIntegerField()),
                ("blocos_estimados", models.BigIntegerField()),
                ("grandeza", models.CharField(max_length=20)),
                ("unidade", models.CharField(max_length=10)),
                ("consumo", models.DecimalField(decimal_places=6, max_digits=30)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "hora",
                        "conta_id",
                        "grandeza",
                        "unidade",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("hora", models.DateTimeField()),
            ],
            options={
                "db_table": "tds_new_consumo_conta_horario",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="ConsumoParteDoDia",
            fields=[
                ("minimo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("maximo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("soma", models.DecimalField(decimal_places=6, max_digits=30, null=True)),
                ("ultimo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("blocos", models.BigIntegerField()),
                ("blocos_medidos", models.DecimalField(decimal_places=4, max_digits=20)),
                ("blocos_interpolados", models.BigIntegerField()),
                ("blocos_estimados", models.BigIntegerField()),
                ("amostras", models.BigIntegerField(null=True)),
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "dia",
                        "hora_utc",
                        "conta_id",
                        "gateway_id",
                        "dispositivo_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("dia", models.DateTimeField()),
                ("hora_utc", models.IntegerField()),
                ("consumo", models.DecimalField(decimal_places=6, max_digits=27, null=True)),
                ("leituras", models.BigIntegerField()),
            ],
            options={
                "db_table": "tds_new_consumo_parte_do_dia",
                "managed": False,
            },
        ),
        migrations.CreateModel(
            name="ConsumoVida",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "conta_id",
                        "dispositivo_id",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                ("primeiro", models.DateTimeField()),
                ("ultimo", models.DateTimeField()),
                (
                    "conta",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tds_new.conta",
                    ),
                ),
                (
                    "dispositivo",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tds_new.dispositivo",
                    ),
                ),
            ],
            options={
                "db_table": "tds_new_consumo_vida",
            },
        ),
        migrations.RunSQL(EXTENTS, EXTENTS_REVERSE),
        migrations.RunSQL(QUANTITY, QUANTITY_REVERSE),
        migrations.RunPython(create, drop),
    ]
