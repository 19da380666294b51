--@ plain f2807da, timescale f2807da
CREATE TABLE "tds_new_manutencao_execucao" ("nome" varchar(120) NOT NULL PRIMARY KEY, "ultima_execucao" timestamp with time zone NOT NULL, "ultimo_sucesso" timestamp with time zone NULL, "erro" text DEFAULT '' NOT NULL);

--@ plain 2f8db79 ba00704 03974aa, timescale 2f8db79 ba00704 03974aa
CREATE TABLE "tds_new_manutencao_execucao" ("nome" varchar(120) NOT NULL PRIMARY KEY, "ultima_execucao" timestamp with time zone NOT NULL, "ultimo_sucesso" timestamp with time zone NULL, "erro" text DEFAULT '' NOT NULL, "prazo" timestamp with time zone NULL);

--@ plain f2807da 2f8db79 ba00704, timescale f2807da 2f8db79 ba00704
CREATE TABLE "tds_new_consumo_ancora" ("dispositivo_id" bigint NOT NULL PRIMARY KEY, "leitura_em" timestamp with time zone NOT NULL, "valor" numeric(15, 4) NOT NULL, "tipo_leitura" varchar(12) NOT NULL, "unidade" varchar(10) NOT NULL, "conta_id" bigint NOT NULL, "gateway_id" bigint NOT NULL);

--@ plain 03974aa, timescale 03974aa
CREATE TABLE "tds_new_consumo_ancora" ("dispositivo_id" bigint NOT NULL, "leitura_em" timestamp with time zone NOT NULL, "final_ate" timestamp with time zone NOT NULL, "valor" numeric(15, 4) NOT NULL, "tipo_leitura" varchar(12) NOT NULL, "unidade" varchar(10) NOT NULL, "conta_id" bigint NOT NULL, "gateway_id" bigint NOT NULL, PRIMARY KEY ("dispositivo_id", "leitura_em"));

--@ all
CREATE TABLE "tds_new_consumo_congelado" ("id" smallint NOT NULL PRIMARY KEY, "ate" timestamp with time zone NOT NULL, CONSTRAINT "tds_new_consumo_congelado_unico" CHECK ("id" = 1));

--@ all
CREATE OR REPLACE FUNCTION tds_new_protege_conta() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF EXISTS (SELECT FROM tds_new_leitura_dispositivo WHERE conta_id = OLD.id)
            OR EXISTS (SELECT FROM tds_new_consumo_15min WHERE conta_id = OLD.id) THEN
        RAISE EXCEPTION 'conta % has readings and cannot be deleted; deactivate it instead', OLD.name
            USING ERRCODE = 'foreign_key_violation';
    END IF;
    RETURN OLD;
END $$;

--@ plain ba00704 03974aa, timescale ba00704 03974aa
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

--@ all
CREATE INDEX "tds_new_manutencao_execucao_nome_2bf84182_like" ON "tds_new_manutencao_execucao" ("nome" varchar_pattern_ops);

--@ all
ALTER TABLE "tds_new_consumo_ancora" ADD CONSTRAINT "tds_new_consumo_anco_dispositivo_id_703a38b5_fk_tds_new_d" FOREIGN KEY ("dispositivo_id") REFERENCES "tds_new_dispositivo" ("id") DEFERRABLE INITIALLY DEFERRED;

--@ all
ALTER TABLE "tds_new_consumo_ancora" ADD CONSTRAINT "tds_new_consumo_ancora_conta_id_26962d2f_fk_tds_new_conta_id" FOREIGN KEY ("conta_id") REFERENCES "tds_new_conta" ("id") DEFERRABLE INITIALLY DEFERRED;
