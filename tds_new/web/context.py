"""The template context of the frame around every page."""

from typing import Any

from django.http import HttpRequest
from django.urls import reverse
from django.utils.translation import gettext as _

from tds_new.models import Conta

# The value of the cookie, and the style sheet's name of that theme.
THEMES = {"auto": "auto", "claro": "light", "escuro": "dark"}
THEME_COOKIE = "tema"


def frame(request: HttpRequest) -> dict[str, Any]:
    """Return the theme, and the Conta in view with its navigation."""
    theme = request.COOKIES.get(THEME_COOKIE, "")
    conta: Conta | None = getattr(request, "conta", None)
    return {
        "theme": THEMES.get(theme, "auto"),
        "conta": conta,
        "navigation": _navigation(request, conta) if conta else [],
    }


def _navigation(request: HttpRequest, conta: Conta) -> list[dict[str, Any]]:
    items = (
        ("dashboard", _("Painel"), "dashboard"),
        ("device-list", _("Dispositivos"), "device"),
        ("gateway-list", _("Gateways"), "gateway"),
    )
    current = request.resolver_match.url_name if request.resolver_match else None
    return [
        {"url": reverse(name, args=[conta.pk]), "text": text, "icon": icon, "current": name == current}
        for name, text, icon in items
    ]
