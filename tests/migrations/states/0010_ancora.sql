--@ all
ALTER TABLE "tds_new_consumo_ancora" ADD COLUMN "aprovada" boolean DEFAULT false NOT NULL;

--@ all
DELETE FROM tds_new_consumo_ancora a USING tds_new_revisao_leitura r
    WHERE r.dispositivo_id = a.dispositivo_id AND r.leitura_em = a.leitura_em AND r.decisao = 'DESCARTADA';
UPDATE tds_new_consumo_ancora a SET aprovada = true FROM tds_new_revisao_leitura r
    WHERE r.dispositivo_id = a.dispositivo_id AND r.leitura_em = a.leitura_em AND r.decisao = 'APROVADA';
