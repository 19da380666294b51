"""The models: one ownership chain, Conta > Gateway > Dispositivo > LeituraDispositivo, and what surrounds it."""

from tds_new.models.consumo import (
    ConsumoAncora,
    ConsumoBloco,
    ConsumoCongelado,
    ConsumoContaDiario,
    ConsumoContaHorario,
    ConsumoDiario,
    ConsumoHorario,
    ConsumoMensal,
    ConsumoParteDoDia,
    ConsumoParticao,
    ConsumoPendente,
    ConsumoReconstrucao,
    ConsumoVida,
)
from tds_new.models.conta import Conta, ContaAtividade, ContaMembership
from tds_new.models.dispositivo import Dispositivo
from tds_new.models.gateway import Gateway
from tds_new.models.leitura import LeituraDispositivo
from tds_new.models.medicao import (
    AuditoriaMedicao,
    LeituraEmRevisao,
    OcorrenciaMedicao,
    RevisaoLeitura,
    TrocaMedidor,
    VigenciaParametros,
)
from tds_new.models.operacao import ConsumerStatus, ManutencaoExecucao, MensagemRejeitada, RejeicaoContador
from tds_new.models.user import User

__all__ = [
    "AuditoriaMedicao",
    "ConsumerStatus",
    "ConsumoAncora",
    "ConsumoBloco",
    "ConsumoCongelado",
    "ConsumoContaDiario",
    "ConsumoContaHorario",
    "ConsumoDiario",
    "ConsumoHorario",
    "ConsumoMensal",
    "ConsumoParteDoDia",
    "ConsumoParticao",
    "ConsumoPendente",
    "ConsumoReconstrucao",
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
    "OcorrenciaMedicao",
    "RejeicaoContador",
    "RevisaoLeitura",
    "TrocaMedidor",
    "User",
    "VigenciaParametros",
]
