"""Simple lists of devices and gateways."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils.timezone import now
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from tds_new import formats
from tds_new.models import Conta, Dispositivo, Gateway
from tds_new.queries import fleet
from tds_new.web.access import da_conta
from tds_new.web.dashboard.card import iso
from tds_new.web.dashboard.context import cor, grandeza

POR_PAGINA = 50


@require_safe
@da_conta
def dispositivos(request: HttpRequest, conta: Conta) -> HttpResponse:
    """The Conta's devices, found by code, name or gateway."""
    busca = _busca(request)
    achados = (
        Dispositivo.objects.filter(conta=conta)
        .select_related("gateway")
        .order_by("gateway__codigo", "codigo", "pk")
    )
    if busca:
        achados = achados.filter(
            Q(codigo__icontains=busca)
            | Q(nome__icontains=busca)
            | Q(gateway__codigo__icontains=busca)
            | Q(gateway__nome__icontains=busca)
        )
    agora = now()
    contexto = _contexto(request, conta, Paginator(achados, POR_PAGINA), busca, agora)
    contexto["linhas"] = [_dispositivo(d, conta, agora) for d in contexto["pagina"]]
    return render(request, "tds_new/devices.html", contexto)


@require_safe
@da_conta
def gateways(request: HttpRequest, conta: Conta) -> HttpResponse:
    """The Conta's gateways, found by code, name or MAC."""
    busca = _busca(request)
    achados = (
        Gateway.objects.filter(conta=conta).annotate(quantos=Count("dispositivos")).order_by("codigo", "pk")
    )
    if busca:
        achados = achados.filter(
            Q(codigo__icontains=busca) | Q(nome__icontains=busca) | Q(mac__icontains=busca)
        )
    agora = now()
    contexto = _contexto(request, conta, Paginator(achados, POR_PAGINA), busca, agora)
    contexto["linhas"] = [_gateway(g, conta, agora) for g in contexto["pagina"]]
    return render(request, "tds_new/gateways.html", contexto)


def _busca(request: HttpRequest) -> str:
    return request.GET.get("q", "").replace("\x00", "").strip()[:100]


def _contexto(
    request: HttpRequest, conta: Conta, paginas: "Paginator[Any]", busca: str, agora: Any
) -> dict[str, Any]:
    pagina = paginas.get_page(request.GET.get("pagina"))
    inteiro = formats.numero(paginas.count, 0)
    faixa = _("%(de)s-%(ate)s de %(total)s") % {
        "de": formats.numero(pagina.start_index(), 0),
        "ate": formats.numero(pagina.end_index(), 0),
        "total": inteiro,
    }
    return {
        "pagina": pagina,
        "busca": busca,
        "faixa": faixa if paginas.count else "",
        "agora_ms": int(agora.timestamp() * 1000),
    }


def _visto(instante: Any, conta: Conta, agora: Any) -> dict[str, str] | None:
    if instante is None:
        return None
    return {
        "iso": iso(instante),
        "idade": formats.idade(instante, agora, conta.zone),
        "quando": formats.data_hora(instante, conta.zone),
    }


def _dispositivo(dispositivo: Dispositivo, conta: Conta, agora: Any) -> dict[str, Any]:
    if dispositivo.status != Dispositivo.Status.ATIVO:
        estado, palavra = "neutro", dispositivo.get_status_display()
    elif dispositivo.last_seen is None:
        estado, palavra = "neutro", _("Sem dados")
    elif fleet.com_dados(dispositivo, agora):
        estado, palavra = "ok", _("Com dados")
    else:
        estado, palavra = "atencao", _("Atrasado")
    return {
        "objeto": dispositivo,
        "grandeza": grandeza(dispositivo.grandeza),
        "icone": cor(dispositivo.grandeza),
        "estado": estado,
        "palavra": palavra,
        "visto": _visto(dispositivo.last_seen, conta, agora),
    }


def _gateway(gateway: Any, conta: Conta, agora: Any) -> dict[str, Any]:
    estado, palavra = {
        fleet.Situacao.INATIVO: ("neutro", _("Inativo")),
        fleet.Situacao.EM_IMPLANTACAO: ("info", _("Em implantação")),
        fleet.Situacao.ONLINE: ("ok", _("Online")),
        fleet.Situacao.OFFLINE: ("critico", _("Offline")),
    }[fleet.situacao(gateway, agora)]
    return {
        "objeto": gateway,
        "estado": estado,
        "palavra": palavra,
        "visto": _visto(gateway.last_seen, conta, agora),
    }
