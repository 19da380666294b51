"""The dashboard and its data."""

from urllib.parse import urlencode

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from tds_new.models import Conta
from tds_new.queries import fleet
from tds_new.web import etag
from tds_new.web.access import conta_data, conta_page
from tds_new.web.dashboard.page import page_words
from tds_new.web.dashboard.parts import parse_marks
from tds_new.web.dashboard.present import present
from tds_new.web.dashboard.read import read
from tds_new.web.dashboard.texts import texts


@require_safe
@conta_page
def page(request: HttpRequest, conta: Conta) -> HttpResponse:
    """Return the page, complete: it can be read without scripts."""
    now = timezone.now()
    facts = read(conta, request.GET, fleet.sequences(conta), now)
    context = {
        "dashboard": present(facts),
        "scope": facts.scope,
        **page_words(facts.scope),
        "interval_s": settings.TDS_POLL_SECONDS,
        "query_string": request.GET.urlencode(),
        "etag": "" if facts.failed else etag.of_dashboard(request, conta, facts.scope.sequences, now),
        "texts": texts(),
        "review_url": _review_url(request, conta),
        "lateness_days": settings.TDS_MAX_LATENESS_DAYS,
    }
    return render(request, "tds_new/dashboard.html", context)


def _review_url(request: HttpRequest, conta: Conta) -> str:
    """Return the address of the Conta's readings under review.

    It is empty for people who may not see them.
    """
    if not (request.user.is_staff and request.user.has_perm("tds_new.view_leituraemrevisao")):
        return ""
    filters = urlencode({"conta": conta.pk, "situacao": "ESPERA"})
    return f"{reverse('admin:tds_new_leituraemrevisao_changelist')}?{filters}"


@require_safe
@conta_data
def data(request: HttpRequest, conta: Conta) -> HttpResponseBase:
    """Return the same as JSON, or 304 where nothing changed.

    The session is not touched, so polls do not keep it alive. An answer with a block that failed has no ETag,
    so the next poll tries again.
    """
    now = timezone.now()
    sequences = fleet.sequences(conta)
    tag = etag.of_dashboard(request, conta, sequences, now)
    response = get_conditional_response(request, etag=tag)
    if response is not None:
        response["ETag"] = tag
        return response
    facts = read(conta, request.GET, sequences, now)
    payload = present(facts, parse_marks(request.GET.get("tem", "")))
    response = JsonResponse(payload, json_dumps_params={"separators": (",", ":")})
    if not facts.failed:
        response["ETag"] = tag
    return response
