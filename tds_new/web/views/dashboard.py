"""The dashboard and its data."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe

from tds_new import formats
from tds_new.models import Conta
from tds_new.queries import fleet
from tds_new.web import etag, filters
from tds_new.web.access import conta_data, conta_page
from tds_new.web.dashboard import parts
from tds_new.web.dashboard.assembly import assemble, prepare
from tds_new.web.dashboard.context import Context
from tds_new.web.dashboard.texts import texts


@require_safe
@conta_page
def page(request: HttpRequest, conta: Conta) -> HttpResponse:
    """The page, complete: readable without scripts."""
    now = timezone.now()
    context = prepare(conta, request.GET, fleet.sequences(conta), now)
    content = assemble(context)
    frame = _frame(request, context)
    if content["falhas"]:
        frame["etag"] = ""
    return render(request, "tds_new/dashboard.html", {"dashboard": content, "context": context, **frame})


def _frame(request: HttpRequest, context: Context) -> dict[str, object]:
    now, zone = context.now, context.conta.zone
    selected = {d.pk for d in context.filter.selected}
    return {
        "filter": context.filter,
        "periods": filters.preset_links(context.filter),
        "options": [
            (d.pk, context.names[d.pk], context.gateway_apart(d), d.pk in selected)
            for d in context.all_devices
        ],
        "today": now.astimezone(zone).date().isoformat(),
        "zone_name": formats.zone_label(now, zone),
        "now_ms": int(now.timestamp() * 1000),
        "now_text": formats.date_time(now, zone),
        "interval_s": settings.TDS_POLL_SECONDS,
        "query_string": request.GET.urlencode(),
        "etag": etag.of_dashboard(request, context.conta, context.sequences, now),
        "texts": texts(),
    }


@require_safe
@conta_data
def data(request: HttpRequest, conta: Conta) -> HttpResponseBase:
    """The same as JSON, or 304 where nothing changed. Does not touch the session, so it does not keep it alive."""
    now = timezone.now()
    sequences = fleet.sequences(conta)
    tag = etag.of_dashboard(request, conta, sequences, now)
    response = get_conditional_response(request, etag=tag)
    if response is None:
        context = prepare(conta, request.GET, sequences, now)
        content = assemble(context, parts.parse_marks(request.GET.get("tem", "")))
        response = JsonResponse(content, json_dumps_params={"separators": (",", ":")})
        if content["falhas"]:
            return response  # without an ETag: the next poll tries again
    response["ETag"] = tag
    return response
