"""The reasons for which a message or a reading is refused.

It imports no Django, so that parsing stays pure.
"""

from collections.abc import Callable
from enum import StrEnum

import msgspec

# Bad readings of one message that are described, for each reason. Further ones are only named and counted:
# no row is written for them.
MAX_DESCRIBED = 50


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
    MENSAGEM_GRANDE = "mensagem_grande"


class Refusal(msgspec.Struct, frozen=True, gc=False):
    """A reason, and its detail in words.

    ``index`` is the position in ``leituras`` of the refused reading, None if the whole message is refused.
    """

    reason: Reason
    detail: str
    index: int | None = None


class Refusals:
    """The refusals of a message's readings.

    A message may have thousands. So only the first ``MAX_DESCRIBED`` of each reason get their detail in
    words; that of the others is empty.
    """

    def __init__(self) -> None:
        self.all: list[Refusal] = []
        self._counts: dict[Reason, int] = {}

    def add(self, reason: Reason, detail: str | Callable[[], str], index: int) -> None:
        """Add the refusal of the reading at ``index``.

        ``detail`` may be a function, which is called only if its text is wanted.
        """
        count = self._counts[reason] = self._counts.get(reason, 0) + 1
        if count > MAX_DESCRIBED:
            detail = ""
        elif not isinstance(detail, str):
            detail = detail()
        self.all.append(Refusal(reason, detail, index))


class MessageRefusedError(Exception):
    """A whole message cannot be used; ``refusal`` says why.

    ``seq`` is the number of the message, where whoever refuses it knows that already. ``processor_time`` is
    what reading it took, in seconds, where it is much.
    """

    processor_time = 0.0

    def __init__(self, reason: Reason, detail: str, seq: int | None = None) -> None:
        super().__init__(f"{reason}: {detail}")
        self.refusal = Refusal(reason, detail)
        self.seq = seq
