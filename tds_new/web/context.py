"""What the frame of every page needs."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from tds_new.models import Conta

TEMAS = ("auto", "claro", "escuro")
TEMA_COOKIE = "tema"


def moldura(request: HttpRequest) -> dict[str, Any]:
    """Theme, the Conta in view with its navigation, and whether the person has others to switch to."""
    tema = request.COOKIES.get(TEMA_COOKIE, "")
    conta: Conta | None = getattr(request, "conta", None)
    return {
        "tema": tema if tema in TEMAS else "auto",
        "conta": conta,
        "navegacao": _navegacao(request, conta) if conta else [],
    }


def _navegacao(request: HttpRequest, conta: Conta) -> list[dict[str, Any]]:
    itens = (
        ("painel", _("Painel"), "painel"),
        ("dispositivo-lista", _("Dispositivos"), "dispositivo"),
        ("gateway-lista", _("Gateways"), "gateway"),
    )
    atual = request.resolver_match.url_name if request.resolver_match else None
    return [
        {"url": reverse(nome, args=[conta.pk]), "texto": texto, "icone": icone, "atual": nome == atual}
        for nome, texto, icone in itens
    ]
