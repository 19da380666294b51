"""Access to a Conta's pages: its active members, and nobody else.

A page that somebody may not see answers 404, as if it did not exist.
"""

from collections.abc import Callable
from functools import wraps
from typing import Any

from django.contrib.auth.views import redirect_to_login
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import get_object_or_404
from django.utils.cache import patch_cache_control, patch_vary_headers
from django.utils.translation import gettext as _

from tds_new.models import Conta

View = Callable[..., HttpResponseBase]


def conta_page(view: View) -> View:
    """Decorate a page under ``/c/<conta>/``: it gets the Conta as an object.

    Anonymous people are sent to log in.
    """

    @wraps(view)
    def with_conta(request: HttpRequest, conta: int, **rest: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        return _private(view(request, find_conta(request, conta), **rest))

    return with_conta


def conta_data(view: View) -> View:
    """Decorate a view of data under ``/c/<conta>/``: it gets the Conta as an object.

    Anonymous requests get a 401 with words instead of a login page.
    """

    @wraps(view)
    def with_conta(request: HttpRequest, conta: int, **rest: Any) -> HttpResponseBase:
        if not request.user.is_authenticated:
            return _private(JsonResponse({"error": _("Sua sessão terminou. Entre de novo.")}, status=401))
        return _private(view(request, find_conta(request, conta), **rest))

    return with_conta


def find_conta(request: HttpRequest, conta: int) -> Conta:
    """Return the Conta if this person is an active member of it.

    Raises Http404 otherwise. The request keeps it for the frame of the page.
    """
    found: Conta = get_object_or_404(Conta.objects.visible_to(request.user), pk=conta)
    request.conta = found  # type: ignore[attr-defined]
    return found


def _private(response: HttpResponseBase) -> HttpResponseBase:
    """Forbid caches to keep an answer that is for one person."""
    if isinstance(response, HttpResponse):
        patch_cache_control(response, private=True, no_cache=True)
        patch_vary_headers(response, ["Cookie", "Accept-Language"])
    return response
