"""What the frame of every page needs."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from tds_new.models import Conta

THEMES = ("auto", "claro", "escuro")
THEME_COOKIE = "tema"


def frame(request: HttpRequest) -> dict[str, Any]:
    """Theme, the Conta in view with its navigation, and whether the person has others to switch to."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    conta: Conta | None = getattr(request, "conta", None)
    return {
        "tema": theme if theme in THEMES else "auto",
        "conta": conta,
        "navegacao": _navigation(request, conta) if conta else [],
    }


def _navigation(request: HttpRequest, conta: Conta) -> list[dict[str, Any]]:
    items = (
        ("painel", _("Painel"), "painel"),
        ("dispositivo-lista", _("Dispositivos"), "dispositivo"),
        ("gateway-lista", _("Gateways"), "gateway"),
    )
    current = request.resolver_match.url_name if request.resolver_match else None
    return [
        {"url": reverse(name, args=[conta.pk]), "texto": text, "icone": icon, "atual": name == current}
        for name, text, icon in items
    ]
