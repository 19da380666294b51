"""Bring the schema of the second edition of metering, and the structure of meters.

Devices get a role, a main meter and a unit of consumption; occurrences say whether a person should decide, and why;
decisions take corrected values; the ledger keeps states to resume from; sums of Contas follow the structure.
"""

from decimal import Decimal

import django.core.validators
import django.db.models.deletion
from django.db import migrations, models
from django.db.backends.base.schema import BaseDatabaseSchemaEditor
from django.db.migrations.state import StateApps

from tds_new.migrations import _conta_sums, _sums
from tds_new.migrations._timescale import is_hypertable

# What is said of a decision, computed of a device, audited, and kept as evidence, with the new columns.
RECORDS = """
CREATE OR REPLACE FUNCTION tds_new_marca_registro() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    ditos text[] := ARRAY['motivo', 'registrado_por_id', 'registrado_em', 'conta_id', 'valor', 'classe', 'inicio', 'valor_base', 'regra', 'numeros'];
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

CREATE OR REPLACE FUNCTION tds_new_marca_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_marca(NEW.id, '-infinity', CASE
        WHEN (OLD.gateway_id, OLD.carimbo) <> (NEW.gateway_id, NEW.carimbo) THEN 'infinity' ELSE coalesce(
        (SELECT min(desde) FROM tds_new_vigencia_parametros WHERE dispositivo_id = NEW.id), 'infinity') END);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tds_new_audita_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    campos text[] := string_to_array('fator_conversao, valor_maximo_registro, consumo_maximo_hora, tolerancia_queda, grandeza, unidade, tipo_leitura, gateway_id, unidade_consumo, carimbo, papel, medidor_pai_id', ', ');
    antes jsonb := CASE WHEN TG_OP = 'UPDATE' THEN
        (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(OLD)) WHERE key = ANY(campos)) END;
    depois jsonb := (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(NEW)) WHERE key = ANY(campos));
BEGIN
    IF antes IS DISTINCT FROM depois THEN
        PERFORM tds_new_audita(NEW.id, TG_TABLE_NAME, TG_OP, antes, depois);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tds_new_evidencia() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT conta_id, valor, classe, inicio, valor_base, regra, numeros
        INTO NEW.conta_id, NEW.valor, NEW.classe, NEW.inicio, NEW.valor_base, NEW.regra, NEW.numeros
        FROM tds_new_ocorrencia_medicao WHERE dispositivo_id = NEW.dispositivo_id AND leitura_em = NEW.leitura_em;
    IF NOT FOUND THEN
        NEW.classe := '';
        NEW.regra := '';
        NEW.numeros := '{}';
        SELECT conta_id, valor INTO NEW.conta_id, NEW.valor
            FROM tds_new_leitura_dispositivo WHERE dispositivo_id = NEW.dispositivo_id AND time = NEW.leitura_em;
    END IF;
    RETURN NEW;
END $$;
DROP TRIGGER tds_new_marca_dispositivo ON tds_new_dispositivo;
CREATE TRIGGER tds_new_marca_dispositivo
    AFTER UPDATE OF fator_conversao, valor_maximo_registro, consumo_maximo_hora, tolerancia_queda, gateway_id,
        carimbo
    ON tds_new_dispositivo
    FOR EACH ROW WHEN (
        (OLD.fator_conversao, OLD.valor_maximo_registro, OLD.consumo_maximo_hora, OLD.tolerancia_queda,
            OLD.gateway_id, OLD.carimbo)
        IS DISTINCT FROM (NEW.fator_conversao, NEW.valor_maximo_registro, NEW.consumo_maximo_hora,
            NEW.tolerancia_queda, NEW.gateway_id, NEW.carimbo))
    EXECUTE FUNCTION tds_new_marca_dispositivo();
DROP TRIGGER tds_new_audita_dispositivo ON tds_new_dispositivo;
CREATE TRIGGER tds_new_audita_dispositivo
    AFTER INSERT OR UPDATE OF fator_conversao, valor_maximo_registro, consumo_maximo_hora, tolerancia_queda,
        grandeza, unidade, tipo_leitura, gateway_id, unidade_consumo, carimbo, papel, medidor_pai_id
    ON tds_new_dispositivo
    FOR EACH ROW EXECUTE FUNCTION tds_new_audita_dispositivo();

"""
RECORDS_REVERSE = """
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

CREATE OR REPLACE FUNCTION tds_new_marca_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_marca(NEW.id, '-infinity', CASE WHEN OLD.gateway_id <> NEW.gateway_id THEN 'infinity' ELSE coalesce(
        (SELECT min(desde) FROM tds_new_vigencia_parametros WHERE dispositivo_id = NEW.id), 'infinity') END);
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tds_new_audita_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    campos text[] := string_to_array('fator_conversao, valor_maximo_registro, consumo_maximo_hora, tolerancia_queda, grandeza, unidade, tipo_leitura, gateway_id', ', ');
    antes jsonb := CASE WHEN TG_OP = 'UPDATE' THEN
        (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(OLD)) WHERE key = ANY(campos)) END;
    depois jsonb := (SELECT jsonb_object_agg(key, value) FROM jsonb_each(to_jsonb(NEW)) WHERE key = ANY(campos));
BEGIN
    IF antes IS DISTINCT FROM depois THEN
        PERFORM tds_new_audita(NEW.id, TG_TABLE_NAME, TG_OP, antes, depois);
    END IF;
    RETURN NULL;
END $$;

CREATE OR REPLACE FUNCTION tds_new_evidencia() RETURNS trigger LANGUAGE plpgsql AS $$
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
DROP TRIGGER tds_new_marca_dispositivo ON tds_new_dispositivo;
CREATE TRIGGER tds_new_marca_dispositivo
    AFTER UPDATE OF fator_conversao, valor_maximo_registro, consumo_maximo_hora, tolerancia_queda, gateway_id ON tds_new_dispositivo
    FOR EACH ROW WHEN ((OLD.fator_conversao, OLD.valor_maximo_registro, OLD.consumo_maximo_hora, OLD.tolerancia_queda, OLD.gateway_id)
        IS DISTINCT FROM (NEW.fator_conversao, NEW.valor_maximo_registro, NEW.consumo_maximo_hora, NEW.tolerancia_queda, NEW.gateway_id))
    EXECUTE FUNCTION tds_new_marca_dispositivo();
DROP TRIGGER tds_new_audita_dispositivo ON tds_new_dispositivo;
CREATE TRIGGER tds_new_audita_dispositivo AFTER INSERT OR UPDATE OF fator_conversao, valor_maximo_registro,
    consumo_maximo_hora, tolerancia_queda, grandeza, unidade, tipo_leitura, gateway_id ON tds_new_dispositivo
    FOR EACH ROW EXECUTE FUNCTION tds_new_audita_dispositivo();
"""

# A changed structure writes no block again, as a changed quantity did until now.
STRUCTURE = """
DROP TRIGGER tds_new_muda_grandeza ON tds_new_dispositivo;
DROP FUNCTION tds_new_muda_grandeza();
CREATE FUNCTION tds_new_muda_estrutura() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    contas bigint[] := ARRAY(
        SELECT conta_id FROM tds_new_consumo_vida WHERE dispositivo_id = NEW.id
        UNION SELECT NEW.conta_id ORDER BY 1);
BEGIN
    IF (OLD.grandeza, OLD.papel, OLD.atras, coalesce(nullif(OLD.unidade_consumo, ''), OLD.unidade))
            IS DISTINCT FROM
            (NEW.grandeza, NEW.papel, NEW.atras, coalesce(nullif(NEW.unidade_consumo, ''), NEW.unidade))
            AND to_regclass('_timescaledb_catalog.hypertable') IS NOT NULL THEN
        INSERT INTO tds_new_consumo_conta_pendente (conta_id, alterada_em)
            SELECT unnest(contas), clock_timestamp()
            ON CONFLICT (conta_id) DO UPDATE SET alterada_em = excluded.alterada_em, somada_desde = NULL;
    END IF;
    UPDATE tds_new_conta_atividade SET consumo_seq = consumo_seq + 1 WHERE conta_id = ANY(contas);
    RETURN NULL;
END $$;

CREATE FUNCTION tds_new_esta_atras(medidor_pai bigint, conta bigint, grandeza text, papel text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM tds_new_dispositivo d
        WHERE d.id = $1 AND d.conta_id = $2 AND d.grandeza = $3 AND d.papel = $4 AND d.status <> 'INATIVO');
$$;

CREATE FUNCTION tds_new_posiciona() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' AND NEW.medidor_pai_id IS NULL THEN
        NEW.atras := false;
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' OR (OLD.medidor_pai_id, OLD.conta_id, OLD.grandeza, OLD.papel, OLD.status)
            IS DISTINCT FROM (NEW.medidor_pai_id, NEW.conta_id, NEW.grandeza, NEW.papel, NEW.status) THEN
        PERFORM FROM tds_new_conta WHERE id IN (OLD.conta_id, NEW.conta_id) ORDER BY id FOR NO KEY UPDATE;
    END IF;
    IF TG_OP = 'INSERT' OR OLD.medidor_pai_id IS DISTINCT FROM NEW.medidor_pai_id THEN
        IF (SELECT conta_id FROM tds_new_dispositivo WHERE id = NEW.medidor_pai_id) <> NEW.conta_id THEN
            RAISE EXCEPTION 'device % cannot be behind a meter of another conta', NEW.codigo
                USING ERRCODE = 'check_violation';
        END IF;
        IF NEW.medidor_pai_id = NEW.id OR EXISTS (
            WITH RECURSIVE above (id) AS (
                SELECT NEW.medidor_pai_id
                UNION
                SELECT d.medidor_pai_id FROM tds_new_dispositivo d JOIN above USING (id)
                WHERE d.medidor_pai_id IS NOT NULL
            )
            SELECT FROM above WHERE id = NEW.id
        ) THEN
            RAISE EXCEPTION 'device % would be behind itself', NEW.codigo USING ERRCODE = 'check_violation';
        END IF;
    END IF;
    NEW.atras := tds_new_esta_atras(NEW.medidor_pai_id, NEW.conta_id, NEW.grandeza, NEW.papel);
    RETURN NEW;
END $$;

CREATE FUNCTION tds_new_reposiciona() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF OLD.conta_id <> NEW.conta_id THEN
        UPDATE tds_new_dispositivo d SET medidor_pai_id = NULL FROM tds_new_dispositivo parent
        WHERE parent.id = d.medidor_pai_id AND parent.conta_id <> d.conta_id AND NEW.id IN (d.id, parent.id);
    END IF;
    UPDATE tds_new_dispositivo d SET atras = NOT atras
    WHERE (id = NEW.id OR medidor_pai_id = NEW.id)
        AND atras <> tds_new_esta_atras(medidor_pai_id, conta_id, grandeza, papel);
    RETURN NULL;
END $$;

CREATE FUNCTION tds_new_padroes(
    grandeza text, unidade text, unidade_consumo text, fator numeric,
    OUT consumo_maximo_hora numeric, OUT tolerancia_queda numeric
) LANGUAGE sql IMMUTABLE AS $$
    WITH units (spelling, kind, scale) AS (VALUES
        ('wh', 'energy', 1000), ('kwh', 'energy', 1), ('mwh', 'energy', 0.001),
        ('l', 'volume', 1000), ('litro', 'volume', 1000), ('litros', 'volume', 1000),
        ('m3', 'volume', 1), ('m^3', 'volume', 1)
    ), defaults (quantity, kind, maximum, tolerance) AS (VALUES
        ('ENERGIA', 'energy', 1000, 0.1), ('AGUA', 'volume', 100, 0.01), ('GAS', 'volume', 1000, 0.01)
    ), spelt (spelling, divisor, rank) AS (VALUES
        (lower(regexp_replace(normalize(unidade, NFKC), '\\s', '', 'g')), 1, 1),
        (lower(regexp_replace(normalize(unidade_consumo, NFKC), '\\s', '', 'g')), fator, 2)
    ), found AS (
        SELECT least(round(maximum * scale / divisor, 4), 99999999999.9999) AS maximum,
            least(round(tolerance * scale / divisor, 4), 99999999999.9999) AS tolerance
        FROM spelt JOIN units USING (spelling) JOIN defaults USING (kind)
        WHERE quantity = grandeza ORDER BY rank LIMIT 1
    )
    SELECT (SELECT maximum FROM found), coalesce((SELECT tolerance FROM found), 0);
$$;

CREATE FUNCTION tds_new_preenche_padroes() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    defaults record;
BEGIN
    SELECT * INTO defaults
        FROM tds_new_padroes(NEW.grandeza, NEW.unidade, NEW.unidade_consumo, NEW.fator_conversao);
    IF NEW.consumo_maximo_hora = -1 THEN
        NEW.consumo_maximo_hora := defaults.consumo_maximo_hora;
    END IF;
    IF NEW.tolerancia_queda = -1 THEN
        NEW.tolerancia_queda := defaults.tolerancia_queda;
    END IF;
    RETURN NEW;
END $$;

-- What a device counts for: dashboards ask again, and the sums of its Contas are made again.
CREATE TRIGGER tds_new_muda_estrutura
    AFTER UPDATE OF grandeza, papel, medidor_pai_id, atras, unidade, unidade_consumo ON tds_new_dispositivo
    FOR EACH ROW WHEN (
        (OLD.grandeza, OLD.papel, OLD.medidor_pai_id, OLD.atras, OLD.unidade, OLD.unidade_consumo)
        IS DISTINCT FROM (NEW.grandeza, NEW.papel, NEW.medidor_pai_id, NEW.atras, NEW.unidade,
            NEW.unidade_consumo))
    EXECUTE FUNCTION tds_new_muda_estrutura();

-- Metering parameters that nobody gave are the quantity's defaults.
CREATE TRIGGER tds_new_preenche_padroes
    BEFORE INSERT OR UPDATE OF consumo_maximo_hora, tolerancia_queda ON tds_new_dispositivo
    FOR EACH ROW WHEN (NEW.consumo_maximo_hora = -1 OR NEW.tolerancia_queda = -1)
    EXECUTE FUNCTION tds_new_preenche_padroes();

-- A device's main meter is of its Conta and not behind the device itself.
CREATE TRIGGER tds_new_posiciona
    BEFORE INSERT OR UPDATE OF medidor_pai_id, conta_id, grandeza, papel, status, atras ON tds_new_dispositivo
    FOR EACH ROW EXECUTE FUNCTION tds_new_posiciona();

-- Sub-meters follow their main meter.
CREATE TRIGGER tds_new_reposiciona
    AFTER UPDATE OF medidor_pai_id, conta_id, grandeza, papel, status ON tds_new_dispositivo
    FOR EACH ROW WHEN ((OLD.medidor_pai_id, OLD.conta_id, OLD.grandeza, OLD.papel, OLD.status)
        IS DISTINCT FROM (NEW.medidor_pai_id, NEW.conta_id, NEW.grandeza, NEW.papel, NEW.status))
    EXECUTE FUNCTION tds_new_reposiciona();
"""
STRUCTURE_REVERSE = """
DROP TRIGGER tds_new_reposiciona ON tds_new_dispositivo;
DROP TRIGGER tds_new_posiciona ON tds_new_dispositivo;
DROP TRIGGER tds_new_preenche_padroes ON tds_new_dispositivo;
DROP TRIGGER tds_new_muda_estrutura ON tds_new_dispositivo;
DROP FUNCTION tds_new_reposiciona(), tds_new_posiciona(), tds_new_esta_atras(bigint, bigint, text, text),
    tds_new_preenche_padroes(), tds_new_padroes(text, text, text, numeric), tds_new_muda_estrutura();

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

DROP_VIEW = "DROP VIEW tds_new_leitura_em_revisao"
VIEW = """
CREATE VIEW tds_new_leitura_em_revisao AS
SELECT x.dispositivo_id || '-' || (extract(epoch FROM x.leitura_em) * 1000000)::bigint AS chave,
    x.dispositivo_id, d.gateway_id,
    coalesce(x.conta_id, d.conta_id) AS conta_id, x.leitura_em, x.valor,
    x.inicio, x.valor_base, x.valor - x.valor_base AS salto,
    x.consumo, x.classe, x.classe_decisao, y.situacao,
    y.situacao = 'ESPERA' AS espera, x.decisao_id, x.regra, x.numeros, x.valor_corrigido, x.decisao
FROM (
    SELECT o.dispositivo_id, o.conta_id, o.leitura_em, o.valor, o.inicio, o.valor_base, o.consumo, o.classe,
        coalesce(r.classe, '') AS classe_decisao, r.id AS decisao_id, o.regra, o.numeros, r.valor_corrigido,
        coalesce(r.decisao, '') AS decisao,
        o.espera AND (r.id IS NULL OR r.decisao = '' AND r.valor_corrigido = o.valor) AS undecided,
        o.classe = 'SUSPEITA' AND o.decidida_em IS NULL AS fresh
    FROM tds_new_ocorrencia_medicao o
    LEFT JOIN tds_new_revisao_leitura r ON r.dispositivo_id = o.dispositivo_id AND r.leitura_em = o.leitura_em
    WHERE o.classe IN ('SUSPEITA', 'IMPLAUSIVEL', 'EXCESSO', 'INCOMUM', 'REINICIO', 'RETORNO', 'VIRADA', 'TROCA',
        'TRANSFERENCIA')
    UNION ALL
    SELECT r.dispositivo_id, r.conta_id, r.leitura_em, r.valor,
        coalesce(o.inicio, r.inicio), coalesce(o.valor_base, r.valor_base),
        o.consumo, coalesce(o.classe, ''), r.classe, r.id, coalesce(o.regra, r.regra),
        coalesce(o.numeros, r.numeros), r.valor_corrigido, r.decisao, false, false
    FROM tds_new_revisao_leitura r
    LEFT JOIN tds_new_ocorrencia_medicao o ON o.dispositivo_id = r.dispositivo_id AND o.leitura_em = r.leitura_em
    WHERE o.classe IS NULL OR o.classe IN ('QUEDA')
) x
JOIN tds_new_dispositivo d ON d.id = x.dispositivo_id
JOIN tds_new_gateway g ON g.id = d.gateway_id
CROSS JOIN LATERAL (SELECT CASE
    WHEN x.decisao <> '' THEN x.decisao
    WHEN x.undecided AND x.fresh AND x.leitura_em > now() - 3 * g.intervalo_esperado_s * INTERVAL '1 second'
        THEN 'AGUARDA'
    WHEN x.undecided THEN 'ESPERA'
    WHEN x.decisao_id IS NOT NULL THEN 'CORRIGIDA'
    ELSE 'RESOLVIDA' END AS situacao) y;
"""
FORMER_VIEW = """
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
    WHERE o.classe IN ('SUSPEITA', 'IMPLAUSIVEL', 'REINICIO', 'VIRADA', 'TROCA')
    UNION ALL
    SELECT r.dispositivo_id, r.conta_id, r.leitura_em, r.valor, coalesce(o.inicio, r.inicio), coalesce(o.valor_base, r.valor_base),
        o.consumo, coalesce(o.classe, ''), r.classe, r.id, r.decisao
    FROM tds_new_revisao_leitura r
    LEFT JOIN tds_new_ocorrencia_medicao o ON o.dispositivo_id = r.dispositivo_id AND o.leitura_em = r.leitura_em
    WHERE o.classe IS NULL OR o.classe IN ('QUEDA')
) x JOIN tds_new_dispositivo d ON d.id = x.dispositivo_id;
"""
# What the first edition does not know. The audit trail keeps the decisions.
FORGET = """
DELETE FROM tds_new_revisao_leitura WHERE decisao NOT IN ('APROVADA', 'DESCARTADA');
UPDATE tds_new_revisao_leitura SET classe = '' WHERE classe IN ('EXCESSO', 'INCOMUM', 'RETORNO', 'TRANSFERENCIA');
DELETE FROM tds_new_ocorrencia_medicao WHERE classe IN ('EXCESSO', 'INCOMUM', 'RETORNO', 'TRANSFERENCIA');
SET CONSTRAINTS ALL IMMEDIATE;
"""

WAITING = """
UPDATE tds_new_ocorrencia_medicao SET espera = true
    WHERE classe = 'IMPLAUSIVEL' OR classe = 'SUSPEITA' AND decidida_em IS NULL;
"""
# The second edition holds from the block of a device's last believed reading on. It begins with what the first one
# ended with: the last believed reading at or before that block's start. A device that has none, or of which nothing was
# computed yet, begins at its beginning (NULL, or no row). Anchors stand for readings that were dropped.
BELIEVED = """
    SELECT time, valor FROM (
        (SELECT l.time, l.valor FROM tds_new_leitura_dispositivo l
         WHERE l.dispositivo_id = d.id AND l.time <= {until}
             AND NOT EXISTS (SELECT FROM tds_new_ocorrencia_medicao o
                 WHERE o.dispositivo_id = d.id AND o.leitura_em = l.time AND o.classe IN ('QUEDA', 'SUSPEITA'))
             AND NOT EXISTS (SELECT FROM tds_new_revisao_leitura r
                 WHERE r.dispositivo_id = d.id AND r.leitura_em = l.time AND r.decisao = 'DESCARTADA')
         ORDER BY l.time DESC LIMIT 1)
        UNION ALL
        (SELECT a.leitura_em, a.valor FROM tds_new_consumo_ancora a
         WHERE a.dispositivo_id = d.id AND a.leitura_em <= {until}
             AND NOT EXISTS (SELECT FROM tds_new_ocorrencia_medicao o
                 WHERE o.dispositivo_id = d.id AND o.leitura_em = a.leitura_em AND o.classe IN ('QUEDA', 'SUSPEITA'))
         ORDER BY a.leitura_em DESC LIMIT 1)
    ) either ORDER BY time DESC LIMIT 1"""
BEGIN = f"""
WITH start AS (
    SELECT d.id, date_bin('15 minutes', last.time, 'epoch') AS since
    FROM tds_new_dispositivo d CROSS JOIN LATERAL ({BELIEVED.format(until="'infinity'")}) last
    WHERE EXISTS (SELECT FROM tds_new_consumo_15min b WHERE b.dispositivo_id = d.id)
), resumed AS (
    INSERT INTO tds_new_consumo_retomada (dispositivo_id, leitura_em, estado)
    SELECT d.id, base.time, jsonb_build_object('jumps', '[]'::jsonb, 'line', jsonb_build_array(jsonb_build_array(
        (extract(epoch FROM base.time) * 1000000)::bigint, (base.valor * 10000)::bigint)))
    FROM start d CROSS JOIN LATERAL ({BELIEVED.format(until="d.since")}) base
    RETURNING dispositivo_id
)
INSERT INTO tds_new_consumo_estado (dispositivo_id, segunda_edicao_desde)
SELECT start.id, CASE WHEN resumed.dispositivo_id IS NOT NULL THEN start.since END
FROM start LEFT JOIN resumed ON resumed.dispositivo_id = start.id
"""
GRANTS = """
SELECT format('GRANT %%s ON %%I TO %%s', a.privilege_type, c.relname,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END)
FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = %s::regclass AND a.grantee <> c.relowner
"""


# The rights that others have on the sums, between dropping them and creating the new ones.
rights: list[str] = []


def drop_sums(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Drop the sums of Contas, and keep who has rights on them.

    It comes before anything else is locked. A refresh that the server is just running holds the sums and wants the
    devices: after a change of the devices' table the two would wait for each other.
    """
    rights.clear()
    with editor.connection.cursor() as cursor:
        for name in _conta_sums.NAMES:
            cursor.execute(GRANTS, [name])
            rights.extend(row[0] for row in cursor.fetchall())
    _sums.drop_sums(editor.connection, _conta_sums.NAMES)


def _grant(editor: BaseDatabaseSchemaEditor) -> None:
    for right in rights:
        editor.execute(right)


def sum_by_structure(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Sum Contas by the structure of their devices.

    On TimescaleDB the sums are empty then and answered from the blocks, until they are refreshed in the next minutes.
    """
    connection = editor.connection
    _conta_sums.create_sums(connection, timescale=is_hypertable(connection, "tds_new_consumo_15min"))
    _grant(editor)


def sum_by_quantity(apps: StateApps, editor: BaseDatabaseSchemaEditor) -> None:
    """Sum Contas by quantity and unit again."""
    connection = editor.connection
    timescale = is_hypertable(connection, "tds_new_consumo_15min")
    _sums.create_sums(connection, _conta_sums.NAMES, timescale=timescale)
    _grant(editor)


class Migration(migrations.Migration):
    dependencies = [("tds_new", "0013_repair")]

    operations = [
        migrations.RunPython(drop_sums, sum_by_quantity),
        migrations.RunSQL(DROP_VIEW, FORMER_VIEW),
        migrations.CreateModel(
            name="ConsumoContaPendente",
            fields=[
                (
                    "conta",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="tds_new.conta",
                    ),
                ),
                ("alterada_em", models.DateTimeField()),
                ("somada_desde", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "tds_new_consumo_conta_pendente",
            },
        ),
        migrations.CreateModel(
            name="ConsumoEstado",
            fields=[
                (
                    "dispositivo",
                    models.OneToOneField(
                        db_constraint=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        primary_key=True,
                        related_name="+",
                        serialize=False,
                        to="tds_new.dispositivo",
                    ),
                ),
                ("assentado_ate", models.DateTimeField(null=True)),
                ("provisorio_desde", models.DateTimeField(null=True)),
                ("segunda_edicao_desde", models.DateTimeField(null=True)),
                ("reconstruir_desde", models.DateTimeField(null=True)),
                ("cadeia_desde", models.DateTimeField(null=True)),
                ("pico_hora", models.DateTimeField(null=True)),
                ("pico_valor", models.DecimalField(decimal_places=6, max_digits=30, null=True)),
                ("a_julgar_desde", models.DateTimeField(null=True)),
            ],
            options={
                "db_table": "tds_new_consumo_estado",
            },
        ),
        migrations.CreateModel(
            name="ConsumoRetomada",
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
                        db_constraint=False,
                        db_index=False,
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="+",
                        to="tds_new.dispositivo",
                    ),
                ),
                ("leitura_em", models.DateTimeField()),
                ("estado", models.JSONField()),
            ],
            options={
                "db_table": "tds_new_consumo_retomada",
            },
        ),
        migrations.RemoveConstraint(
            model_name="dispositivo",
            name="tds_new_dispositivo_tipo_leitura",
        ),
        migrations.RemoveConstraint(
            model_name="revisaoleitura",
            name="tds_new_revisao_leitura_decisao",
        ),
        migrations.AddField(
            model_name="consumoancora",
            name="decisao",
            field=models.CharField(db_default="", default="", max_length=10),
        ),
        migrations.AddField(
            model_name="consumoancora",
            name="atribuida_a_id",
            field=models.BigIntegerField(null=True),
        ),
        migrations.RunSQL(
            "UPDATE tds_new_consumo_ancora SET decisao = 'APROVADA' WHERE aprovada",
            "UPDATE tds_new_consumo_ancora SET aprovada = (decisao = 'APROVADA')",
        ),
        migrations.RemoveField(
            model_name="consumoancora",
            name="aprovada",
        ),
        migrations.AddField(
            model_name="dispositivo",
            name="atras",
            field=models.BooleanField(
                db_default=False, default=False, editable=False, verbose_name="atrás de outro medidor"
            ),
        ),
        migrations.AddField(
            model_name="dispositivo",
            name="carimbo",
            field=models.CharField(
                choices=[("FIM", "Fim do intervalo"), ("INICIO", "Início do intervalo")],
                db_default="FIM",
                default="FIM",
                max_length=6,
                verbose_name="carimbo de tempo",
            ),
        ),
        migrations.AddField(
            model_name="dispositivo",
            name="medidor_pai",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.SET_NULL,
                related_name="submedidores",
                to="tds_new.dispositivo",
                verbose_name="medidor principal",
            ),
        ),
        migrations.AddField(
            model_name="dispositivo",
            name="papel",
            field=models.CharField(
                choices=[
                    ("CONSUMO", "Consumo"),
                    ("INJECAO", "Injeção ou geração"),
                    ("INFORMATIVO", "Informativo (fora dos totais)"),
                ],
                db_default="CONSUMO",
                default="CONSUMO",
                max_length=11,
                verbose_name="papel",
            ),
        ),
        migrations.AddField(
            model_name="dispositivo",
            name="unidade_consumo",
            field=models.CharField(
                blank=True, db_default="", default="", max_length=10, verbose_name="unidade do consumo"
            ),
        ),
        migrations.AddField(
            model_name="ocorrenciamedicao",
            name="espera",
            field=models.BooleanField(db_default=False, default=False, verbose_name="espera uma decisão"),
        ),
        migrations.AddField(
            model_name="ocorrenciamedicao",
            name="numeros",
            field=models.JSONField(db_default={}, default=dict, verbose_name="números"),
        ),
        migrations.AddField(
            model_name="ocorrenciamedicao",
            name="regra",
            field=models.CharField(db_default="", default="", max_length=4, verbose_name="regra"),
        ),
        migrations.AddField(
            model_name="revisaoleitura",
            name="atribuida_a",
            field=models.ForeignKey(
                blank=True,
                null=True,
                on_delete=django.db.models.deletion.PROTECT,
                related_name="+",
                to="tds_new.conta",
                verbose_name="atribuída a",
            ),
        ),
        migrations.AddField(
            model_name="revisaoleitura",
            name="numeros",
            field=models.JSONField(db_default={}, default=dict, editable=False, verbose_name="números"),
        ),
        migrations.AddField(
            model_name="revisaoleitura",
            name="regra",
            field=models.CharField(
                db_default="", default="", editable=False, max_length=4, verbose_name="regra"
            ),
        ),
        migrations.AddField(
            model_name="revisaoleitura",
            name="valor_corrigido",
            field=models.DecimalField(
                blank=True, decimal_places=4, max_digits=15, null=True, verbose_name="valor corrigido"
            ),
        ),
        migrations.AlterField(
            model_name="dispositivo",
            name="consumo_maximo_hora",
            field=models.DecimalField(
                blank=True,
                db_default=Decimal("-1"),
                decimal_places=4,
                help_text="Na unidade do registrador, antes do fator; o que passar disso fica suspeito até que alguém decida.",
                max_digits=15,
                null=True,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="consumo máximo por hora",
            ),
        ),
        migrations.AlterField(
            model_name="dispositivo",
            name="tipo_leitura",
            field=models.CharField(
                choices=[
                    ("ACUMULADA", "Acumulada (registrador)"),
                    ("SALDO", "Saldo (registrador que sobe e desce)"),
                    ("INCREMENTAL", "Incremental (desde a leitura anterior)"),
                    ("INSTANTANEA", "Instantânea"),
                ],
                db_default="ACUMULADA",
                default="ACUMULADA",
                max_length=12,
                verbose_name="tipo de leitura",
            ),
        ),
        migrations.AlterField(
            model_name="dispositivo",
            name="tolerancia_queda",
            field=models.DecimalField(
                db_default=Decimal("-1"),
                decimal_places=4,
                help_text="Quedas até este valor são ruído e não contam.",
                max_digits=15,
                validators=[django.core.validators.MinValueValidator(0)],
                verbose_name="tolerância de queda",
            ),
        ),
        migrations.AlterField(
            model_name="ocorrenciamedicao",
            name="classe",
            field=models.CharField(
                choices=[
                    ("TROCA", "Troca de medidor"),
                    ("QUEDA", "Queda tolerada"),
                    ("VIRADA", "Virada do registrador"),
                    ("REINICIO", "Reinício do registrador"),
                    ("SUSPEITA", "Leitura suspeita"),
                    ("IMPLAUSIVEL", "Salto implausível"),
                    ("EXCESSO", "Acima do consumo máximo"),
                    ("INCOMUM", "Consumo incomum"),
                    ("RETORNO", "Retorno a um total anterior"),
                    ("TRANSFERENCIA", "Mudança de conta"),
                ],
                max_length=13,
                verbose_name="classe",
            ),
        ),
        migrations.AlterField(
            model_name="revisaoleitura",
            name="classe",
            field=models.CharField(
                db_default="", default="", editable=False, max_length=13, verbose_name="classe na decisão"
            ),
        ),
        migrations.AlterField(
            model_name="revisaoleitura",
            name="decisao",
            field=models.CharField(
                blank=True,
                choices=[
                    ("APROVADA", "Aprovada"),
                    ("DESCARTADA", "Descartada"),
                    ("VISTA", "Vista"),
                    ("REINICIO", "Reiniciou do zero"),
                    ("RETORNO", "Voltou a um total anterior"),
                    ("ATRIBUIDA", "Atribuída a uma conta"),
                ],
                db_default="",
                default="",
                max_length=10,
                verbose_name="decisão",
            ),
        ),
        migrations.AddIndex(
            model_name="ocorrenciamedicao",
            index=models.Index(
                condition=models.Q(("espera", True)),
                fields=["dispositivo", "leitura_em"],
                name="tds_new_ocorrencia_espera",
            ),
        ),
        migrations.AddIndex(
            model_name="consumovida",
            index=models.Index(fields=["dispositivo"], name="tds_new_consumo_vida_disp"),
        ),
        migrations.AddConstraint(
            model_name="dispositivo",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("tipo_leitura__in", ["ACUMULADA", "SALDO", "INCREMENTAL", "INSTANTANEA"])
                ),
                name="tds_new_dispositivo_tipo_leitura",
            ),
        ),
        migrations.AddConstraint(
            model_name="dispositivo",
            constraint=models.CheckConstraint(
                condition=models.Q(("carimbo__in", ["FIM", "INICIO"])), name="tds_new_dispositivo_carimbo"
            ),
        ),
        migrations.AddConstraint(
            model_name="dispositivo",
            constraint=models.CheckConstraint(
                condition=models.Q(("papel__in", ["CONSUMO", "INJECAO", "INFORMATIVO"])),
                name="tds_new_dispositivo_papel",
            ),
        ),
        migrations.AddConstraint(
            model_name="revisaoleitura",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    ("decisao__in", ["APROVADA", "DESCARTADA", "VISTA", "REINICIO", "RETORNO", "ATRIBUIDA"]),
                    models.Q(("decisao", ""), ("valor_corrigido__isnull", False)),
                    _connector="OR",
                ),
                name="tds_new_revisao_leitura_decisao",
            ),
        ),
        migrations.AddConstraint(
            model_name="revisaoleitura",
            constraint=models.CheckConstraint(
                condition=models.Q(
                    models.Q(("atribuida_a__isnull", False), ("decisao", "ATRIBUIDA")),
                    models.Q(
                        models.Q(("decisao", "ATRIBUIDA"), _negated=True), ("atribuida_a__isnull", True)
                    ),
                    _connector="OR",
                ),
                name="tds_new_revisao_leitura_atribuida_a",
            ),
        ),
        migrations.RunSQL(migrations.RunSQL.noop, FORGET),
        migrations.RunSQL(RECORDS, RECORDS_REVERSE),
        migrations.RunSQL(STRUCTURE, STRUCTURE_REVERSE),
        migrations.RunPython(sum_by_structure, drop_sums),
        migrations.RunSQL(VIEW, DROP_VIEW),
        migrations.RunSQL(WAITING, migrations.RunSQL.noop),
        migrations.RunSQL(BEGIN, migrations.RunSQL.noop),
    ]
