"""Describes what the platform stores.

Everything hangs on one ownership chain: Conta > Gateway > Dispositivo > LeituraDispositivo.

Enters: values for rows.
Leaves: rows, and refusals of rows that would be wrong.
May import: mac, formats, units.
"""

from tds_new.models.ancora import ConsumoAncora, ConsumoCongelado
from tds_new.models.auditoria import AuditoriaMedicao
from tds_new.models.consumer_status import ConsumerStatus
from tds_new.models.consumo import (
    ConsumoBloco,
    ConsumoContaDiario,
    ConsumoContaHorario,
    ConsumoContaPendente,
    ConsumoDiario,
    ConsumoHorario,
    ConsumoMensal,
    ConsumoParteDoDia,
    ConsumoVida,
)
from tds_new.models.conta import Conta, ContaAtividade, ContaMembership
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.entrada import RedeConhecida, TentativaEntrada
from tds_new.models.estado import ConsumoEstado, ConsumoRetomada
from tds_new.models.gateway import Gateway
from tds_new.models.leitura import LeituraDispositivo
from tds_new.models.leitura_em_revisao import LeituraEmRevisao
from tds_new.models.manutencao import ManutencaoExecucao
from tds_new.models.ocorrencia import OcorrenciaMedicao
from tds_new.models.pendente import ConsumoParticao, ConsumoPendente, ConsumoReconstrucao
from tds_new.models.rejeicao import MensagemRejeitada, Motivo, RejeicaoContador
from tds_new.models.resto import MensagemResto
from tds_new.models.revisao import RevisaoLeitura
from tds_new.models.troca import TrocaMedidor
from tds_new.models.user import User
from tds_new.models.vigencia import VigenciaParametros

__all__ = [
    "AuditoriaMedicao",
    "ConsumerStatus",
    "ConsumoAncora",
    "ConsumoBloco",
    "ConsumoCongelado",
    "ConsumoContaDiario",
    "ConsumoContaHorario",
    "ConsumoContaPendente",
    "ConsumoDiario",
    "ConsumoEstado",
    "ConsumoHorario",
    "ConsumoMensal",
    "ConsumoParteDoDia",
    "ConsumoParticao",
    "ConsumoPendente",
    "ConsumoReconstrucao",
    "ConsumoRetomada",
    "ConsumoVida",
    "Conta",
    "ContaAtividade",
    "ContaMembership",
    "Dispositivo",
    "Gateway",
    "LeituraDispositivo",
    "LeituraEmRevisao",
    "ManutencaoExecucao",
    "MensagemRejeitada",
    "MensagemResto",
    "Motivo",
    "OcorrenciaMedicao",
    "RedeConhecida",
    "RejeicaoContador",
    "RevisaoLeitura",
    "TentativaEntrada",
    "TrocaMedidor",
    "User",
    "VigenciaParametros",
]
