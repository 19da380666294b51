"""What every card has."""

from datetime import UTC, datetime
from typing import Any

from tds_new import formats

Card = dict[str, Any]
TEXT_KEYS = ("un", "linha", "detalhe", "falado", "qualidade", "estado", "palavra")


def card(card_id: str, title: str, icon: str, **rest: Any) -> Card:
    """A card with what is given, and nothing else in it."""
    empty: Card = dict.fromkeys(TEXT_KEYS, "") | dict.fromkeys(
        ("valor", "instante", "ate", "anterior", "cobertura")
    )
    return {"id": card_id, "titulo": title, "icone": icon, "exibe": formats.MISSING, **empty, **rest}


def iso(moment: datetime) -> str:
    """UTC, whole seconds: an instant for the browser to count from."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
