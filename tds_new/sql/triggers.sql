-- The present text of every trigger of ours: what happens when a row is written. The functions are in
-- functions.sql. A test holds a migrated database to be equal to this file.

-- New readings are queued to be computed.
CREATE TRIGGER tds_new_marca_leituras AFTER INSERT ON tds_new_leitura_dispositivo
    REFERENCING NEW TABLE AS novas FOR EACH STATEMENT EXECUTE FUNCTION tds_new_marca_leituras();

-- A device that has readings is not deleted.
CREATE TRIGGER tds_new_protege_dispositivo BEFORE DELETE ON tds_new_dispositivo
    FOR EACH ROW EXECUTE FUNCTION tds_new_protege_dispositivo();

-- A Conta that has readings or blocks is not deleted.
CREATE TRIGGER tds_new_protege_conta BEFORE DELETE ON tds_new_conta
    FOR EACH ROW EXECUTE FUNCTION tds_new_protege_conta();

-- A meter change is computed, and in the trail.
CREATE TRIGGER tds_new_marca_registro AFTER INSERT OR UPDATE OR DELETE ON tds_new_troca_medidor
    FOR EACH ROW EXECUTE FUNCTION tds_new_marca_registro('ocorrida_em');

-- A decision on a reading is computed, and in the trail.
CREATE TRIGGER tds_new_marca_registro AFTER INSERT OR UPDATE OR DELETE ON tds_new_revisao_leitura
    FOR EACH ROW EXECUTE FUNCTION tds_new_marca_registro('leitura_em');

-- Dated parameters are computed, and in the trail.
CREATE TRIGGER tds_new_marca_registro
    AFTER INSERT OR UPDATE OR DELETE ON tds_new_vigencia_parametros
    FOR EACH ROW EXECUTE FUNCTION tds_new_marca_registro('desde');

-- A device's own parameters are computed.
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

-- A gateway's expected interval is computed.
CREATE TRIGGER tds_new_marca_gateway AFTER UPDATE OF intervalo_esperado_s ON tds_new_gateway
    FOR EACH ROW WHEN (OLD.intervalo_esperado_s IS DISTINCT FROM NEW.intervalo_esperado_s)
    EXECUTE FUNCTION tds_new_marca_gateway();

-- Changes of a device that re-interpret figures are in the trail.
CREATE TRIGGER tds_new_audita_dispositivo
    AFTER INSERT OR UPDATE OF fator_conversao, valor_maximo_registro, consumo_maximo_hora, tolerancia_queda,
        grandeza, unidade, tipo_leitura, gateway_id, unidade_consumo, carimbo, papel, medidor_pai_id
    ON tds_new_dispositivo
    FOR EACH ROW EXECUTE FUNCTION tds_new_audita_dispositivo();

-- A gateway's expected interval is in the trail.
CREATE TRIGGER tds_new_audita_gateway AFTER UPDATE OF intervalo_esperado_s ON tds_new_gateway
    FOR EACH ROW WHEN (OLD.intervalo_esperado_s IS DISTINCT FROM NEW.intervalo_esperado_s)
    EXECUTE FUNCTION tds_new_audita_gateway();

-- The trail is not changed.
CREATE TRIGGER tds_new_auditoria_fixa BEFORE UPDATE ON tds_new_auditoria_medicao
    FOR EACH ROW EXECUTE FUNCTION tds_new_auditoria_fixa();

-- The trail stays as long as its device.
CREATE CONSTRAINT TRIGGER tds_new_auditoria_permanece AFTER DELETE ON tds_new_auditoria_medicao
    DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION tds_new_auditoria_permanece();

-- The trail goes with its device.
CREATE TRIGGER tds_new_apaga_auditoria AFTER DELETE ON tds_new_dispositivo
    FOR EACH ROW EXECUTE FUNCTION tds_new_apaga_auditoria();

-- A decision keeps its evidence.
CREATE TRIGGER tds_new_evidencia BEFORE INSERT ON tds_new_revisao_leitura
    FOR EACH ROW EXECUTE FUNCTION tds_new_evidencia();

-- New blocks extend the data extent.
CREATE TRIGGER tds_new_vida_cresce AFTER INSERT ON tds_new_consumo_15min
    REFERENCING NEW TABLE AS novos FOR EACH STATEMENT EXECUTE FUNCTION tds_new_vida_cresce();

-- Deleted blocks shrink the data extent.
CREATE TRIGGER tds_new_vida_encolhe AFTER DELETE ON tds_new_consumo_15min
    FOR EACH ROW EXECUTE FUNCTION tds_new_vida_encolhe();

-- Blocks that get or lose their consumption change the data extent.
CREATE TRIGGER tds_new_vida_muda AFTER UPDATE ON tds_new_consumo_15min
    FOR EACH ROW WHEN ((OLD.consumo IS NULL) <> (NEW.consumo IS NULL))
    EXECUTE FUNCTION tds_new_vida_muda();

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
