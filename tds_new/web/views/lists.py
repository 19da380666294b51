"""Lists of the Conta's devices and gateways."""

from datetime import datetime
from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from tds_new import formats
from tds_new.models import Conta, Dispositivo, Gateway
from tds_new.queries import fleet
from tds_new.queries.meters import in_structure
from tds_new.web.access import conta_page
from tds_new.web.dashboard.scope import is_gauge
from tds_new.web.dashboard.words import colour, iso, milliseconds, quantity_word, role_word

PAGE_SIZE = 50


@require_safe
@conta_page
def devices(request: HttpRequest, conta: Conta) -> HttpResponse:
    """Return the Conta's devices, found by code, name or gateway.

    Sub-meters follow their main meter.
    """
    search = _search(request)
    matching = Dispositivo.objects.filter(conta=conta).order_by("gateway__codigo", "codigo", "pk")
    if search:
        matching = matching.filter(
            Q(codigo__icontains=search)
            | Q(nome__icontains=search)
            | Q(gateway__codigo__icontains=search)
            | Q(gateway__nome__icontains=search)
        )
    now = timezone.now()
    places = in_structure(list(matching.values_list("pk", "medidor_pai_id", "atras", named=True)))
    context = _context(request, Paginator(places, PAGE_SIZE), search, now)
    shown = [place.pk for place, _depth in context["page"]]
    found = Dispositivo.objects.select_related("gateway", "medidor_pai").in_bulk(shown)
    context["rows"] = [
        _device(found[place.pk], depth, conta, now) for place, depth in context["page"] if place.pk in found
    ]
    context["shown"] = set(shown)
    return render(request, "tds_new/devices.html", context)


@require_safe
@conta_page
def gateways(request: HttpRequest, conta: Conta) -> HttpResponse:
    """Return the Conta's gateways, found by code, name or MAC."""
    search = _search(request)
    matching = (
        Gateway.objects.filter(conta=conta)
        .annotate(device_count=Count("dispositivos"))
        .order_by("codigo", "pk")
    )
    if search:
        matching = matching.filter(
            Q(codigo__icontains=search) | Q(nome__icontains=search) | Q(mac__icontains=search)
        )
    now = timezone.now()
    context = _context(request, Paginator(matching, PAGE_SIZE), search, now)
    context["rows"] = [_gateway(g, conta, now) for g in context["page"]]
    return render(request, "tds_new/gateways.html", context)


def _search(request: HttpRequest) -> str:
    return request.GET.get("q", "").replace("\x00", "").strip()[:100]


def _context(request: HttpRequest, paginator: "Paginator[Any]", search: str, now: datetime) -> dict[str, Any]:
    page = paginator.get_page(request.GET.get("pagina"))
    range_text = _("%(de)s-%(ate)s de %(total)s") % {
        "de": formats.number(page.start_index(), 0),
        "ate": formats.number(page.end_index(), 0),
        "total": formats.number(paginator.count, 0),
    }
    return {
        "page": page,
        "search": search,
        "range_text": range_text if paginator.count else "",
        "now_ms": milliseconds(now),
    }


def _seen(moment: datetime | None, conta: Conta, now: datetime) -> dict[str, str] | None:
    if moment is None:
        return None
    return {
        "iso": iso(moment),
        "age": formats.age(moment, now, conta.zone),
        "when": formats.date_time(moment, conta.zone),
    }


def _device(device: Dispositivo, depth: int, conta: Conta, now: datetime) -> dict[str, Any]:
    if device.status != Dispositivo.Status.ATIVO:
        state, word = "neutral", device.get_status_display()
    elif device.last_seen is None:
        state, word = "neutral", _("Sem dados")
    elif fleet.has_recent_data(device, now):
        state, word = "ok", _("Com dados")
    else:
        state, word = "warning", _("Atrasado")
    return {
        "object": device,
        "depth": depth,
        "main": device.medidor_pai if device.atras else None,
        "role": "" if is_gauge(device) else role_word(device.papel),
        "quantity": quantity_word(device.grandeza),
        "icon": colour(device.grandeza),
        "state": state,
        "label": word,
        "seen": _seen(device.last_seen, conta, now),
    }


def _gateway(gateway: Gateway, conta: Conta, now: datetime) -> dict[str, Any]:
    state, word = {
        fleet.GatewayState.INACTIVE: ("neutral", _("Inativo")),
        fleet.GatewayState.COMMISSIONING: ("info", _("Em implantação")),
        fleet.GatewayState.ONLINE: ("ok", _("Online")),
        fleet.GatewayState.OFFLINE: ("critical", _("Offline")),
    }[fleet.gateway_state(gateway, now)]
    return {
        "object": gateway,
        "state": state,
        "label": word,
        "seen": _seen(gateway.last_seen, conta, now),
    }
