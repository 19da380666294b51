--@ all
ALTER TABLE "tds_new_auditoria_medicao" ADD COLUMN "motivo" varchar(200) DEFAULT '' NOT NULL;

--@ all
ALTER TABLE "tds_new_revisao_leitura" ADD COLUMN "classe" varchar(11) DEFAULT '' NOT NULL;

--@ all
ALTER TABLE "tds_new_revisao_leitura" ADD COLUMN "conta_id" bigint NULL;

--@ all
ALTER TABLE "tds_new_revisao_leitura" ADD COLUMN "inicio" timestamp with time zone NULL;

--@ all
ALTER TABLE "tds_new_revisao_leitura" ADD COLUMN "valor" numeric(15, 4) NULL;

--@ all
ALTER TABLE "tds_new_revisao_leitura" ADD COLUMN "valor_base" numeric(15, 4) NULL;

--@ all
ALTER TABLE "tds_new_vigencia_parametros" ALTER COLUMN "fator_conversao" SET DEFAULT 1;

--@ all
ALTER TABLE "tds_new_vigencia_parametros" ALTER COLUMN "tolerancia_queda" SET DEFAULT 0;

--@ all
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

--@ all
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

--@ all
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
