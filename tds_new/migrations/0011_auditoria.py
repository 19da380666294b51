"""Write all that re-interprets figures into the audit trail.

Meter changes are listed among reviewed readings.
"""

from django.db import migrations, models
from django.db.models.functions import Now

FIELDS = "fator_conversao, valor_maximo_registro, consumo_maximo_hora, tolerancia_queda, grandeza, unidade, tipo_leitura, gateway_id"

# What is computed again and what is written down are two things now: the unit of a device without readings computes
# nothing.
TRAIL = f"""
CREATE OR REPLACE FUNCTION tds_new_marca_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_marca(NEW.id, '-infinity', CASE WHEN OLD.gateway_id <> NEW.gateway_id THEN 'infinity' ELSE coalesce(
        (SELECT min(desde) FROM tds_new_vigencia_parametros WHERE dispositivo_id = NEW.id), 'infinity') END);
    RETURN NULL;
END $$;

CREATE FUNCTION tds_new_audita_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    campos text[] := string_to_array('{FIELDS}', ', ');
    antes jsonb := CASE WHEN TG_OP = 'UPDATE' THEN
        (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(OLD)) WHERE key = ANY(campos)) END;
    depois jsonb := (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(NEW)) WHERE key = ANY(campos));
BEGIN
    IF antes IS DISTINCT FROM depois THEN
        PERFORM tds_new_audita(NEW.id, TG_TABLE_NAME, TG_OP, antes, depois);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_audita_dispositivo AFTER INSERT OR UPDATE OF {FIELDS} ON tds_new_dispositivo
    FOR EACH ROW EXECUTE FUNCTION tds_new_audita_dispositivo();

-- A line for each of its devices: the trail is a device's, and goes with it.
CREATE FUNCTION tds_new_audita_gateway() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_audita(id, TG_TABLE_NAME, TG_OP, jsonb_build_object('intervalo_esperado_s', OLD.intervalo_esperado_s),
        jsonb_build_object('intervalo_esperado_s', NEW.intervalo_esperado_s))
    FROM tds_new_dispositivo WHERE gateway_id = NEW.id ORDER BY id;
    RETURN NULL;
END $$;
CREATE TRIGGER tds_new_audita_gateway AFTER UPDATE OF intervalo_esperado_s ON tds_new_gateway
    FOR EACH ROW WHEN (OLD.intervalo_esperado_s IS DISTINCT FROM NEW.intervalo_esperado_s) EXECUTE FUNCTION tds_new_audita_gateway();
"""
TRAIL_REVERSE = """
DROP TRIGGER tds_new_audita_gateway ON tds_new_gateway;
DROP TRIGGER tds_new_audita_dispositivo ON tds_new_dispositivo;
DROP FUNCTION tds_new_audita_gateway(), tds_new_audita_dispositivo();

CREATE OR REPLACE FUNCTION tds_new_marca_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
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
"""

# A declared meter change explains a reading, and people look for it among the readings under review.
VIEW = """
CREATE OR REPLACE VIEW tds_new_leitura_em_revisao AS
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
    WHERE o.classe IN ({shown})
    UNION ALL
    SELECT r.dispositivo_id, r.conta_id, r.leitura_em, r.valor, coalesce(o.inicio, r.inicio), coalesce(o.valor_base, r.valor_base),
        o.consumo, coalesce(o.classe, ''), r.classe, r.id, r.decisao
    FROM tds_new_revisao_leitura r
    LEFT JOIN tds_new_ocorrencia_medicao o ON o.dispositivo_id = r.dispositivo_id AND o.leitura_em = r.leitura_em
    WHERE o.classe IS NULL OR o.classe IN ({decided})
) x JOIN tds_new_dispositivo d ON d.id = x.dispositivo_id;
"""
WITH_METER_CHANGES = VIEW.format(
    shown="'SUSPEITA', 'IMPLAUSIVEL', 'REINICIO', 'VIRADA', 'TROCA'", decided="'QUEDA'"
)
WITHOUT_METER_CHANGES = VIEW.format(
    shown="'SUSPEITA', 'IMPLAUSIVEL', 'REINICIO', 'VIRADA'", decided="'TROCA', 'QUEDA'"
)


class Migration(migrations.Migration):
    dependencies = [
        ("tds_new", "0010_ancora"),
    ]

    operations = [
        migrations.AlterModelOptions(
            name="auditoriamedicao",
            options={
                "ordering": ["-id"],
                "verbose_name": "registro de auditoria",
                "verbose_name_plural": "registros de auditoria",
            },
        ),
        migrations.AlterModelOptions(
            name="manutencaoexecucao",
            options={
                "ordering": ["nome"],
                "verbose_name": "rotina de manutenção",
                "verbose_name_plural": "rotinas de manutenção",
            },
        ),
        migrations.AlterField(
            model_name="auditoriamedicao",
            name="acao",
            field=models.CharField(
                choices=[("INSERT", "Inclusão"), ("UPDATE", "Alteração"), ("DELETE", "Exclusão")],
                max_length=6,
                verbose_name="ação",
            ),
        ),
        migrations.AlterField(
            model_name="auditoriamedicao",
            name="em",
            field=models.DateTimeField(db_default=Now(), verbose_name="data e hora"),
        ),
        migrations.AlterField(
            model_name="auditoriamedicao",
            name="tabela",
            field=models.CharField(
                choices=[
                    ("tds_new_troca_medidor", "Troca de medidor"),
                    ("tds_new_vigencia_parametros", "Vigência de parâmetros"),
                    ("tds_new_revisao_leitura", "Decisão sobre leitura"),
                    ("tds_new_dispositivo", "Dispositivo"),
                    ("tds_new_gateway", "Gateway"),
                ],
                max_length=63,
                verbose_name="registro",
            ),
        ),
        migrations.RunSQL(TRAIL, TRAIL_REVERSE),
        migrations.RunSQL(WITH_METER_CHANGES, WITHOUT_METER_CHANGES),
    ]
