"""What every card has."""

from datetime import UTC, datetime
from typing import Any

from tds_new import formats

Cartao = dict[str, Any]
PARTES = ("un", "linha", "detalhe", "falado", "qualidade", "estado", "palavra")


def cartao(identidade: str, titulo: str, icone: str, **resto: Any) -> Cartao:
    """A card with what is given, and nothing else in it."""
    vazio: Cartao = dict.fromkeys(PARTES, "") | dict.fromkeys(
        ("valor", "instante", "ate", "anterior", "cobertura")
    )
    return {"id": identidade, "titulo": titulo, "icone": icone, "exibe": formats.FALTA, **vazio, **resto}


def iso(instante: datetime) -> str:
    """UTC, whole seconds: an instant for the browser to count from."""
    return instante.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
