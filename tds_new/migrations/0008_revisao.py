"""List readings for people to decide on, and keep the audit trail whole.

What a decision was taken on is kept.
"""

from decimal import Decimal

import django.core.validators
from django.db import migrations, models

# What a decision was taken on is kept with it, whoever enters it: the ledger follows the decision, and then finds
# nothing any more.
EVIDENCE = """
CREATE FUNCTION tds_new_evidencia() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT conta_id, valor, classe, inicio, valor_base INTO NEW.conta_id, NEW.valor, NEW.classe, NEW.inicio, NEW.valor_base
        FROM tds_new_ocorrencia_medicao WHERE dispositivo_id = NEW.dispositivo_id AND leitura_em = NEW.leitura_em;
    IF NOT FOUND THEN
        NEW.classe := '';
        SELECT conta_id, valor INTO NEW.conta_id, NEW.valor
            FROM tds_new_leitura_dispositivo WHERE dispositivo_id = NEW.dispositivo_id AND time = NEW.leitura_em;
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER tds_new_evidencia BEFORE INSERT ON tds_new_revisao_leitura FOR EACH ROW EXECUTE FUNCTION tds_new_evidencia();
"""
EVIDENCE_REVERSE = """
DROP TRIGGER tds_new_evidencia ON tds_new_revisao_leitura;
DROP FUNCTION tds_new_evidencia();
"""

# Two halves and no full join, so that the first is found by its classes, however many tolerated dips there are.
VIEW = """
CREATE VIEW tds_new_leitura_em_revisao AS
SELECT x.dispositivo_id || '-' || (extract(epoch FROM x.leitura_em) * 1000000)::bigint AS chave, x.dispositivo_id, d.gateway_id,
    coalesce(x.conta_id, d.conta_id) AS conta_id, x.leitura_em, x.valor, x.inicio, x.valor_base, x.valor - x.valor_base AS salto,
    x.consumo, x.classe, x.classe_decisao, x.situacao, x.situacao = 'ESPERA' AS espera, x.decisao_id
FROM (
    SELECT o.dispositivo_id, o.conta_id, o.leitura_em, o.valor, o.inicio, o.valor_base, o.consumo, o.classe,
        coalesce(r.classe, '') AS classe_decisao, r.id AS decisao_id,
        CASE WHEN r.id IS NOT NULL THEN r.decisao
             WHEN o.classe = 'IMPLAUSIVEL' OR o.classe = 'SUSPEITA' AND o.decidida_em IS NULL THEN 'ESPERA'
             ELSE 'RESOLVIDA' END AS situacao
    FROM tds_new_ocorrencia_medicao o
    LEFT JOIN tds_new_revisao_leitura r ON r.dispositivo_id = o.dispositivo_id AND r.leitura_em = o.leitura_em
    WHERE o.classe IN ('SUSPEITA', 'IMPLAUSIVEL', 'REINICIO', 'VIRADA')
    UNION ALL
    SELECT r.dispositivo_id, r.conta_id, r.leitura_em, r.valor, coalesce(o.inicio, r.inicio), coalesce(o.valor_base, r.valor_base),
        o.consumo, coalesce(o.classe, ''), r.classe, r.id, r.decisao
    FROM tds_new_revisao_leitura r
    LEFT JOIN tds_new_ocorrencia_medicao o ON o.dispositivo_id = r.dispositivo_id AND o.leitura_em = r.leitura_em
    WHERE o.classe IS NULL OR o.classe IN ('TROCA', 'QUEDA')
) x JOIN tds_new_dispositivo d ON d.id = x.dispositivo_id;
"""

# The trail names who signs the transaction, and nobody else. What is only said about an entry computes nothing again.
TRAIL = """
CREATE OR REPLACE FUNCTION tds_new_audita(dispositivo bigint, tabela text, acao text, antes jsonb, depois jsonb) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO tds_new_auditoria_medicao (dispositivo_id, tabela, acao, antes, depois, usuario, motivo)
    SELECT dispositivo, tabela, acao, antes, depois, coalesce(current_setting('tds.usuario', true), ''),
        left(coalesce(nullif(current_setting('tds.motivo', true), ''), depois ->> 'motivo', ''), 200)
    WHERE EXISTS (SELECT FROM tds_new_dispositivo WHERE id = dispositivo);
$$;

CREATE OR REPLACE FUNCTION tds_new_marca_registro() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ditos text[] := ARRAY['motivo', 'registrado_por_id', 'registrado_em', 'conta_id', 'valor', 'classe', 'inicio', 'valor_base'];
    antes jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    depois jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    linha jsonb;
    alvo bigint;
    momento timestamptz;
BEGIN
    IF antes = depois THEN
        RETURN NULL;
    END IF;
    FOREACH linha IN ARRAY array_remove(ARRAY[antes, depois], NULL) LOOP
        EXIT WHEN antes - ditos = depois - ditos;
        alvo := (linha ->> 'dispositivo_id')::bigint;
        momento := (linha ->> TG_ARGV[0])::timestamptz;
        PERFORM tds_new_marca(alvo, momento, CASE TG_TABLE_NAME WHEN 'tds_new_vigencia_parametros' THEN coalesce(
            (SELECT min(desde) FROM tds_new_vigencia_parametros WHERE dispositivo_id = alvo AND desde > momento), 'infinity')
            ELSE momento END);
    END LOOP;
    FOR alvo IN SELECT DISTINCT (l ->> 'dispositivo_id')::bigint FROM unnest(ARRAY[antes, depois]) l WHERE l IS NOT NULL LOOP
        PERFORM tds_new_audita(alvo, TG_TABLE_NAME, TG_OP, antes, depois);
    END LOOP;
    RETURN NULL;
END $$;

-- The trail goes with its device, and only with it. Django deletes the trail first, so this is looked at when the transaction ends.
CREATE FUNCTION tds_new_auditoria_permanece() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tds_new_dispositivo WHERE id = OLD.dispositivo_id) THEN
        RAISE EXCEPTION 'the audit trail is kept as long as its device' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;
CREATE CONSTRAINT TRIGGER tds_new_auditoria_permanece AFTER DELETE ON tds_new_auditoria_medicao
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tds_new_auditoria_permanece();

CREATE FUNCTION tds_new_apaga_auditoria() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM tds_new_auditoria_medicao WHERE dispositivo_id = OLD.id;  -- what was written while its entries were deleted
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_apaga_auditoria AFTER DELETE ON tds_new_dispositivo
    FOR EACH ROW EXECUTE FUNCTION tds_new_apaga_auditoria();
"""
TRAIL_REVERSE = """
DROP TRIGGER tds_new_apaga_auditoria ON tds_new_dispositivo;
DROP TRIGGER tds_new_auditoria_permanece ON tds_new_auditoria_medicao;
DROP FUNCTION tds_new_apaga_auditoria(), tds_new_auditoria_permanece();

CREATE OR REPLACE FUNCTION tds_new_audita(dispositivo bigint, tabela text, acao text, antes jsonb, depois jsonb) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO tds_new_auditoria_medicao (dispositivo_id, tabela, acao, antes, depois, usuario)
    SELECT dispositivo, tabela, acao, antes, depois,
        coalesce(nullif(current_setting('tds.usuario', true), ''),
                 (SELECT email FROM tds_new_user WHERE id = (coalesce(depois, antes) ->> 'registrado_por_id')::bigint), '')
    WHERE EXISTS (SELECT FROM tds_new_dispositivo WHERE id = dispositivo);
$$;

CREATE OR REPLACE FUNCTION tds_new_marca_registro() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""


class Migration(migrations.Migration):
    dependencies = [
        ("tds_new", "0007_armazenamento"),
    ]

    operations = [
        migrations.CreateModel(
            name="LeituraEmRevisao",
            fields=[
                ("chave", models.CharField(max_length=40, primary_key=True, serialize=False)),
                ("leitura_em", models.DateTimeField(verbose_name="leitura de")),
                (
                    "valor",
                    models.DecimalField(decimal_places=4, max_digits=15, null=True, verbose_name="valor"),
                ),
                ("inicio", models.DateTimeField(null=True, verbose_name="leitura de base")),
                (
                    "valor_base",
                    models.DecimalField(
                        decimal_places=4, max_digits=15, null=True, verbose_name="valor de base"
                    ),
                ),
                (
                    "salto",
                    models.DecimalField(decimal_places=4, max_digits=16, null=True, verbose_name="salto"),
                ),
                (
                    "consumo",
                    models.DecimalField(
                        decimal_places=4, max_digits=16, null=True, verbose_name="consumo contado"
                    ),
                ),
                (
                    "classe",
                    models.CharField(
                        choices=[
                            ("TROCA", "Troca de medidor"),
                            ("QUEDA", "Queda tolerada"),
                            ("VIRADA", "Virada do registrador"),
                            ("REINICIO", "Reinício do registrador"),
                            ("SUSPEITA", "Leitura suspeita"),
                            ("IMPLAUSIVEL", "Salto implausível"),
                        ],
                        max_length=11,
                        verbose_name="classe",
                    ),
                ),
                (
                    "classe_decisao",
                    models.CharField(
                        choices=[
                            ("TROCA", "Troca de medidor"),
                            ("QUEDA", "Queda tolerada"),
                            ("VIRADA", "Virada do registrador"),
                            ("REINICIO", "Reinício do registrador"),
                            ("SUSPEITA", "Leitura suspeita"),
                            ("IMPLAUSIVEL", "Salto implausível"),
                        ],
                        max_length=11,
                        verbose_name="classe na decisão",
                    ),
                ),
                (
                    "situacao",
                    models.CharField(
                        choices=[
                            ("ESPERA", "À espera"),
                            ("RESOLVIDA", "Resolvida"),
                            ("APROVADA", "Aprovada"),
                            ("DESCARTADA", "Descartada"),
                        ],
                        max_length=10,
                        verbose_name="situação",
                    ),
                ),
                ("espera", models.BooleanField()),
            ],
            options={
                "verbose_name": "leitura em revisão",
                "verbose_name_plural": "leituras em revisão",
                "db_table": "tds_new_leitura_em_revisao",
                "ordering": ["-espera", "-leitura_em", "chave"],
                "managed": False,
                "default_permissions": ("view", "change"),
            },
        ),
        migrations.AddField(
            model_name="auditoriamedicao",
            name="motivo",
            field=models.CharField(db_default="", default="", max_length=200, verbose_name="motivo"),
        ),
        migrations.AddField(
            model_name="revisaoleitura",
            name="classe",
            field=models.CharField(
                db_default="", default="", editable=False, max_length=11, verbose_name="classe na decisão"
            ),
        ),
        migrations.AddField(
            model_name="revisaoleitura",
            name="conta_id",
            field=models.BigIntegerField(editable=False, null=True),
        ),
        migrations.AddField(
            model_name="revisaoleitura",
            name="inicio",
            field=models.DateTimeField(editable=False, null=True, verbose_name="leitura de base"),
        ),
        migrations.AddField(
            model_name="revisaoleitura",
            name="valor",
            field=models.DecimalField(
                decimal_places=4, editable=False, max_digits=15, null=True, verbose_name="valor"
            ),
        ),
        migrations.AddField(
            model_name="revisaoleitura",
            name="valor_base",
            field=models.DecimalField(
                decimal_places=4, editable=False, max_digits=15, null=True, verbose_name="valor de base"
            ),
        ),
        migrations.AlterField(
            model_name="dispositivo",
            name="fator_conversao",
            field=models.DecimalField(
                db_default=Decimal("1"),
                decimal_places=6,
                default=Decimal("1"),
                help_text="A constante do medidor (TC × TP): consumo = diferença do registrador × fator.",
                max_digits=12,
                validators=[django.core.validators.MinValueValidator(Decimal("0.000001"))],
                verbose_name="fator de conversão",
            ),
        ),
        migrations.AlterField(
            model_name="vigenciaparametros",
            name="consumo_maximo_hora",
            field=models.DecimalField(
                blank=True,
                decimal_places=4,
                help_text="Na unidade do registrador, antes do fator; o que passar disso fica suspeito até que alguém decida.",
                max_digits=15,
                null=True,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="consumo máximo por hora",
            ),
        ),
        migrations.AlterField(
            model_name="vigenciaparametros",
            name="fator_conversao",
            field=models.DecimalField(
                db_default=Decimal("1"),
                decimal_places=6,
                default=Decimal("1"),
                help_text="A constante do medidor (TC × TP): consumo = diferença do registrador × fator.",
                max_digits=12,
                validators=[django.core.validators.MinValueValidator(Decimal("0.000001"))],
                verbose_name="fator de conversão",
            ),
        ),
        migrations.AlterField(
            model_name="vigenciaparametros",
            name="tolerancia_queda",
            field=models.DecimalField(
                db_default=Decimal("0"),
                decimal_places=4,
                default=Decimal("0"),
                help_text="Quedas até este valor são ruído e não contam.",
                max_digits=15,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="tolerância de queda",
            ),
        ),
        migrations.AlterField(
            model_name="vigenciaparametros",
            name="valor_maximo_registro",
            field=models.DecimalField(
                blank=True,
                decimal_places=4,
                help_text="O valor em que o registrador volta a zero, por exemplo 1000000.",
                max_digits=15,
                null=True,
                validators=[django.core.validators.MinValueValidator(Decimal("0.0001"))],
                verbose_name="valor máximo do registrador",
            ),
        ),
        migrations.RunSQL(EVIDENCE, EVIDENCE_REVERSE),
        migrations.RunSQL(VIEW, "DROP VIEW tds_new_leitura_em_revisao"),
        migrations.RunSQL(TRAIL, TRAIL_REVERSE),
    ]
