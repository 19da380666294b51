"""Create the tables of the retention and of the maintenance.

They keep what the retention leaves of readings that it drops, and the record of the maintenance.
"""

import django.db.models.deletion
from django.db import migrations, models

MARK = """INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
    SELECT dispositivo_id % 8, min(time), max(time), array_agg(DISTINCT dispositivo_id)
    FROM novas GROUP BY dispositivo_id % 8, date_bin('15 minutes', time, 'epoch');"""

# Once the retention has dropped a Conta's readings, its history may be blocks alone.
PROTECTION = """
CREATE OR REPLACE FUNCTION tds_new_protege_conta() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tds_new_leitura_dispositivo WHERE conta_id = OLD.id)
            OR EXISTS (SELECT FROM tds_new_consumo_15min WHERE conta_id = OLD.id) THEN
        RAISE EXCEPTION 'conta % has readings and cannot be deleted; deactivate it instead', OLD.name
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END $$;
"""
PROTECTION_REVERSE = """
CREATE OR REPLACE FUNCTION tds_new_protege_conta() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tds_new_leitura_dispositivo WHERE conta_id = OLD.id) THEN
        RAISE EXCEPTION 'conta % has readings and cannot be deleted; deactivate it instead', OLD.name
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END $$;
"""

# Nothing is added to what is closed: the ingestion rejects such readings, and the database itself stores none.
MARKS = f"""
CREATE OR REPLACE FUNCTION tds_new_marca_leituras() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tds_new_consumo_congelado WHERE ate > (SELECT min(time) FROM novas)) THEN
        RAISE EXCEPTION 'consumption before % is closed', (SELECT ate FROM tds_new_consumo_congelado) USING ERRCODE = 'check_violation';
    END IF;
    {MARK}
    RETURN NULL;
END $$;
"""
MARKS_REVERSE = f"""
CREATE OR REPLACE FUNCTION tds_new_marca_leituras() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    {MARK}
    RETURN NULL;
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("tds_new", "0006_ledger")]

    operations = [
        migrations.CreateModel(
            name="ManutencaoExecucao",
            fields=[
                (
                    "nome",
                    models.CharField(max_length=120, primary_key=True, serialize=False, verbose_name="nome"),
                ),
                ("ultima_execucao", models.DateTimeField(verbose_name="última execução")),
                ("ultimo_sucesso", models.DateTimeField(null=True, verbose_name="último sucesso")),
                (
                    "erro",
                    models.TextField(
                        blank=True,
                        db_default="",
                        default="",
                        help_text="Da última execução; vazio quando deu certo.",
                        verbose_name="erro",
                    ),
                ),
                (
                    "prazo",
                    models.DateTimeField(
                        help_text="Até quando deve dar certo de novo.", null=True, verbose_name="prazo"
                    ),
                ),
            ],
            options={
                "verbose_name": "manutenção",
                "verbose_name_plural": "manutenção",
                "db_table": "tds_new_manutencao_execucao",
                "ordering": ["nome"],
            },
        ),
        migrations.CreateModel(
            name="ConsumoAncora",
            fields=[
                (
                    "pk",
                    models.CompositePrimaryKey(
                        "dispositivo_id",
                        "leitura_em",
                        blank=True,
                        editable=False,
                        primary_key=True,
                        serialize=False,
                    ),
                ),
                (
                    "dispositivo",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tds_new.dispositivo",
                    ),
                ),
                ("leitura_em", models.DateTimeField()),
                ("final_ate", models.DateTimeField()),
                ("valor", models.DecimalField(decimal_places=4, max_digits=15)),
                ("tipo_leitura", models.CharField(max_length=12)),
                ("unidade", models.CharField(max_length=10)),
                (
                    "conta",
                    models.ForeignKey(
                        db_index=False,
                        on_delete=django.db.models.deletion.PROTECT,
                        related_name="+",
                        to="tds_new.conta",
                    ),
                ),
                (
                    "gateway",
                    models.ForeignKey(
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.DO_NOTHING,
                        related_name="+",
                        to="tds_new.gateway",
                    ),
                ),
            ],
            options={"db_table": "tds_new_consumo_ancora"},
        ),
        migrations.CreateModel(
            name="ConsumoCongelado",
            fields=[
                ("id", models.SmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("ate", models.DateTimeField()),
            ],
            options={
                "db_table": "tds_new_consumo_congelado",
                "constraints": [
                    models.CheckConstraint(
                        condition=models.Q(("id", 1)), name="tds_new_consumo_congelado_unico"
                    )
                ],
            },
        ),
        migrations.RunSQL(PROTECTION, PROTECTION_REVERSE),
        migrations.RunSQL(MARKS, MARKS_REVERSE),
    ]
