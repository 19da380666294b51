"""The way in after the login, the choice of a Conta, and the theme."""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.templatetags.static import static
from django.urls import reverse
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.http import require_POST, require_safe

from tds_new.models import Conta
from tds_new.web.context import THEME_COOKIE, THEMES

YEAR_S = 365 * 24 * 3600


@require_safe
@login_required
def home(request: HttpRequest) -> HttpResponse:
    """Lead to the dashboard of the person's only Conta, or to the choice."""
    contas = list(Conta.objects.visible_to(request.user)[:2])
    return redirect("dashboard", contas[0].pk) if len(contas) == 1 else redirect("conta-choice")


@require_safe
@login_required
def choose_conta(request: HttpRequest) -> HttpResponse:
    """Return the person's Contas to choose from, or words where there are none."""
    return render(request, "tds_new/contas.html", {"contas": Conta.objects.visible_to(request.user)})


@require_safe
def favicon(request: HttpRequest) -> HttpResponse:
    """Lead browsers to the icon on pages that name none, such as the admin's."""
    response = redirect(static("tds_new/favicon.svg"))
    response["Cache-Control"] = "public, max-age=86400"
    return response


@require_safe
def legacy_address(request: HttpRequest) -> HttpResponse:
    """Redirect from an address of an earlier version."""
    return redirect("home")


@require_POST
def set_theme(request: HttpRequest) -> HttpResponse:
    """Keep the chosen theme in a cookie, and go back."""
    target = request.POST.get("next", "")
    if not url_has_allowed_host_and_scheme(target, {request.get_host()}, request.is_secure()):
        target = reverse("home")
    response = redirect(target)
    chosen = request.POST.get("tema", "")
    if chosen in THEMES:
        response.set_cookie(
            THEME_COOKIE, chosen, YEAR_S, samesite="Lax", secure=request.is_secure(), httponly=True
        )
    return response
