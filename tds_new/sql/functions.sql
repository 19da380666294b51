-- The present text of every function of ours in the database. Migrations put them there and carry frozen
-- copies; a test holds a migrated database to be equal to this file. To change one, change it here and write
-- a migration. Their triggers are in triggers.sql.

-- Refuses to delete a device that has readings. The lock waits for batches that are being stored and keeps
-- new ones out until the deletion has committed. The consumer's insert joins tds_new_dispositivo, so a
-- reading never outlives its device.
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

-- Refuses to delete a Conta that has readings or blocks: it keeps the history of devices that have since
-- moved to another Conta, and blocks outlive readings that the retention dropped.
CREATE FUNCTION tds_new_protege_conta() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tds_new_leitura_dispositivo WHERE conta_id = OLD.id)
            OR EXISTS (SELECT FROM tds_new_consumo_15min WHERE conta_id = OLD.id) THEN
        RAISE EXCEPTION 'conta % has readings and cannot be deleted; deactivate it instead', OLD.name
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END $$;

-- Marks new readings' 15 minutes as to be computed, in the transaction that stores them, whoever does. It
-- queues one row a block and partition, however many devices there are, so it costs a batch little. It
-- refuses readings of what is closed.
CREATE FUNCTION tds_new_marca_leituras() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tds_new_consumo_congelado WHERE ate > (SELECT min(time) FROM novas)) THEN
        RAISE EXCEPTION 'consumption before % is closed', (SELECT ate FROM tds_new_consumo_congelado) USING ERRCODE = 'check_violation';
    END IF;
    INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
    SELECT dispositivo_id % 8, min(time), max(time), array_agg(DISTINCT dispositivo_id)
    FROM novas GROUP BY dispositivo_id % 8, date_bin('15 minutes', time, 'epoch');
    RETURN NULL;
END $$;

-- Queues a stretch of a device's time to be computed again.
CREATE FUNCTION tds_new_marca(dispositivo bigint, inicio timestamptz, fim timestamptz) RETURNS void LANGUAGE sql AS $$
    INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
    VALUES (dispositivo % 8, inicio, fim, ARRAY[dispositivo]);
$$;

-- Writes a line of the audit trail, in the name of the one who signs the transaction (tds.usuario) and with
-- the reason that was given (tds.motivo).
CREATE FUNCTION tds_new_audita(dispositivo bigint, tabela text, acao text, antes jsonb, depois jsonb) RETURNS void
LANGUAGE sql AS $$
    INSERT INTO tds_new_auditoria_medicao (dispositivo_id, tabela, acao, antes, depois, usuario, motivo)
    SELECT dispositivo, tabela, acao, antes, depois, coalesce(current_setting('tds.usuario', true), ''),
        left(coalesce(nullif(current_setting('tds.motivo', true), ''), depois ->> 'motivo', ''), 200)
    WHERE EXISTS (SELECT FROM tds_new_dispositivo WHERE id = dispositivo);
$$;

-- Queues the range that an entry about a meter affects, and writes the entry into the audit trail.
-- A meter change and a decision take effect at their moment, parameters until the next ones. A change
-- of fields that only describe the entry queues nothing.
CREATE FUNCTION tds_new_marca_registro() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- Queues a device whose own parameters change, until its first dated ones; all of it if it
-- moves to another gateway, or if its times mean something else.
CREATE FUNCTION tds_new_marca_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_marca(NEW.id, '-infinity', CASE
        WHEN (OLD.gateway_id, OLD.carimbo) <> (NEW.gateway_id, NEW.carimbo) THEN 'infinity' ELSE coalesce(
        (SELECT min(desde) FROM tds_new_vigencia_parametros WHERE dispositivo_id = NEW.id), 'infinity') END);
    RETURN NULL;
END $$;

-- Queues the devices of a gateway whose expected interval changes.
CREATE FUNCTION tds_new_marca_gateway() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_marca(id, '-infinity', 'infinity') FROM tds_new_dispositivo WHERE gateway_id = NEW.id;
    RETURN NULL;
END $$;

-- Writes changes of a device that re-interpret figures into the audit trail.
CREATE FUNCTION tds_new_audita_dispositivo() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- Writes a gateway's expected interval into the audit trail: a line for each of its devices, because the
-- trail is a device's.
CREATE FUNCTION tds_new_audita_gateway() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_audita(id, TG_TABLE_NAME, TG_OP, jsonb_build_object('intervalo_esperado_s', OLD.intervalo_esperado_s),
        jsonb_build_object('intervalo_esperado_s', NEW.intervalo_esperado_s))
    FROM tds_new_dispositivo WHERE gateway_id = NEW.id ORDER BY id;
    RETURN NULL;
END $$;

-- Refuses to change a line of the audit trail.
CREATE FUNCTION tds_new_auditoria_fixa() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'the audit trail is never changed' USING ERRCODE = 'insufficient_privilege';
END $$;

-- Refuses to delete a line of the audit trail while its device is there. Django deletes the trail before the
-- device, so this is looked at when the transaction ends.
CREATE FUNCTION tds_new_auditoria_permanece() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tds_new_dispositivo WHERE id = OLD.dispositivo_id) THEN
        RAISE EXCEPTION 'the audit trail is kept as long as its device' USING ERRCODE = 'insufficient_privilege';
    END IF;
    RETURN NULL;
END $$;

-- Deletes the audit trail of a device that was deleted.
CREATE FUNCTION tds_new_apaga_auditoria() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM tds_new_auditoria_medicao WHERE dispositivo_id = OLD.id;  -- what was written while its entries were deleted
    RETURN NULL;
END $$;

-- Copies the evidence of a decision into it, because the ledger applies the decision and then finds nothing
-- unusual.
CREATE FUNCTION tds_new_evidencia() RETURNS trigger LANGUAGE plpgsql AS $$
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

-- Looks up again since when and until when a Conta has consumption of a device.
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

-- Extends the data extent of devices by new blocks.
CREATE FUNCTION tds_new_vida_cresce() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO tds_new_consumo_vida AS v (conta_id, dispositivo_id, primeiro, ultimo)
    SELECT conta_id, dispositivo_id, min(bloco), max(bloco) FROM novos WHERE consumo IS NOT NULL GROUP BY 1, 2
    ON CONFLICT (conta_id, dispositivo_id) DO UPDATE
        SET primeiro = least(v.primeiro, excluded.primeiro), ultimo = greatest(v.ultimo, excluded.ultimo)
        WHERE excluded.primeiro < v.primeiro OR excluded.ultimo > v.ultimo;
    RETURN NULL;
END $$;

-- Looks the data extent up again if a block at one of its ends was deleted. It runs after the statement: of
-- many deleted blocks the first looks it up, and the others find that they were at no end.
CREATE FUNCTION tds_new_vida_encolhe() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_vida_de(conta_id, dispositivo_id) FROM tds_new_consumo_vida
    WHERE conta_id = OLD.conta_id AND dispositivo_id = OLD.dispositivo_id AND OLD.bloco IN (primeiro, ultimo);
    RETURN NULL;
END $$;

-- Looks the data extent up again if a block gets consumption, or has none any more.
CREATE FUNCTION tds_new_vida_muda() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM tds_new_vida_de(NEW.conta_id, NEW.dispositivo_id);
    RETURN NULL;
END $$;

-- Has open dashboards ask again after a change of what a device counts for. Where the stored sums of its Contas
-- are of the earlier structure, it notes that they are to be made again; no block is written. Plain
-- PostgreSQL's views need nothing.
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

-- The default of the plausible maximum and of the tolerance of falls of a device, in its register's unit
-- (docs/metering.md): no maximum (NULL) and 0 where its quantity or unit has none. A register in pulses has
-- those of its consumption, divided by the factor. tds_new/units.py says the same; a test holds both equal.
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
        (lower(regexp_replace(normalize(unidade, NFKC), '\s', '', 'g')), 1, 1),
        (lower(regexp_replace(normalize(unidade_consumo, NFKC), '\s', '', 'g')), fator, 2)
    ), found AS (
        SELECT least(round(maximum * scale / divisor, 4), 99999999999.9999) AS maximum,
            least(round(tolerance * scale / divisor, 4), 99999999999.9999) AS tolerance
        FROM spelt JOIN units USING (spelling) JOIN defaults USING (kind)
        WHERE quantity = grandeza ORDER BY rank LIMIT 1
    )
    SELECT (SELECT maximum FROM found), coalesce((SELECT tolerance FROM found), 0);
$$;

-- Puts the defaults where -1 stands, which is the columns' own default.
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

-- Returns whether the meter that a device is behind counts for it: one of the same Conta, quantity and role that
-- is not inactive.
CREATE FUNCTION tds_new_esta_atras(medidor_pai bigint, conta bigint, grandeza text, papel text) RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT EXISTS (SELECT FROM tds_new_dispositivo d
        WHERE d.id = $1 AND d.conta_id = $2 AND d.grandeza = $3 AND d.papel = $4 AND d.status <> 'INATIVO');
$$;

-- Refuses a main meter of another Conta, and one that is itself behind the device; notes whether the main meter
-- counts. Changes of a Conta's structure wait for each other, so that no two of them make a circle.
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

-- Has what follows from a changed device: its sub-meters are behind a meter that counts, or no more. A device that
-- went to another Conta is behind no meter of the one it left. It runs after the statement, when all
-- devices of a gateway have gone.
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
