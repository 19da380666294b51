"""Why a message or a reading is set aside: the contract's names. No Django here, so that parsing stays pure."""

from enum import StrEnum

import msgspec


class Reason(StrEnum):
    """The values of ``tds_new_mensagem_rejeitada.motivo``."""

    TOPICO_INVALIDO = "topico_invalido"
    GATEWAY_DESCONHECIDO = "gateway_desconhecido"
    GATEWAY_INATIVO = "gateway_inativo"
    JSON_INVALIDO = "json_invalido"
    ESQUEMA_INVALIDO = "esquema_invalido"
    MAC_DIVERGENTE = "mac_divergente"
    TIMESTAMP_INVALIDO = "timestamp_invalido"
    TIMESTAMP_FUTURO = "timestamp_futuro"
    TIMESTAMP_ANTIGO = "timestamp_antigo"
    DISPOSITIVO_DESCONHECIDO = "dispositivo_desconhecido"
    DISPOSITIVO_INATIVO = "dispositivo_inativo"
    VALOR_INVALIDO = "valor_invalido"
    UNIDADE_INVALIDA = "unidade_invalida"
    CONFLITO = "conflito"
    LIMITE_EXCEDIDO = "limite_excedido"


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """One reason, its detail in words, and the position in ``leituras`` that it is about (None: the whole message)."""

    reason: Reason
    detail: str
    index: int | None = None


class MessageRefusedError(Exception):
    """A whole message cannot be used; ``refusal`` says why."""

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{reason}: {detail}")
        self.refusal = Refusal(reason, detail)
