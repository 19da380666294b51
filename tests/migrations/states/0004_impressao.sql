--@ all
ALTER TABLE "tds_new_mensagem_rejeitada" ADD COLUMN "impressao" bigint NULL;

--@ all
CREATE INDEX "tds_new_mensagem_rejeitada_impressao_c0c302aa" ON "tds_new_mensagem_rejeitada" ("impressao");
