"""The reasons for which a message or a reading is refused.

It imports no Django, so that parsing stays pure.
"""

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
    """A reason, and its detail in words.

    ``index`` is the position in ``leituras`` of the refused reading, None if the whole message is refused.
    """

    reason: Reason
    detail: str
    index: int | None = None


class MessageRefusedError(Exception):
    """A whole message cannot be used; ``refusal`` says why.

    ``seq`` is the number of the message, where whoever refuses it knows that already.
    """

    def __init__(self, reason: Reason, detail: str, seq: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.refusal = Refusal(reason, detail)
        self.seq = seq
