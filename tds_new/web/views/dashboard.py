"""The dashboard and its data."""

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.shortcuts import render
from django.utils.cache import get_conditional_response
from django.utils.timezone import now
from django.views.decorators.http import require_safe

from tds_new import formats
from tds_new.models import Conta
from tds_new.queries import fleet
from tds_new.web import etag, filters
from tds_new.web.access import da_conta, da_conta_json
from tds_new.web.dashboard import parts
from tds_new.web.dashboard.assembly import montar, preparar
from tds_new.web.dashboard.context import Contexto
from tds_new.web.dashboard.texts import textos


@require_safe
@da_conta
def painel(request: HttpRequest, conta: Conta) -> HttpResponse:
    """The page, complete: readable without scripts."""
    agora = now()
    contexto = preparar(conta, request.GET, fleet.sequencias(conta), agora)
    conteudo = montar(contexto)
    moldura = _moldura(request, contexto)
    if conteudo["falhas"]:
        moldura["etag"] = ""
    return render(request, "tds_new/dashboard.html", {"dados": conteudo, "contexto": contexto, **moldura})


def _moldura(request: HttpRequest, contexto: Contexto) -> dict[str, object]:
    agora, zone = contexto.agora, contexto.conta.zone
    selecionados = {d.pk for d in contexto.filtro.selecionados}
    return {
        "filtro": contexto.filtro,
        "periodos": filters.periodos(contexto.filtro),
        "opcoes": [
            (d.pk, contexto.nomes[d.pk], contexto.gateway_a_parte(d), d.pk in selecionados)
            for d in contexto.todos
        ],
        "hoje": agora.astimezone(zone).date().isoformat(),
        "fuso": formats.fuso(agora, zone),
        "agora_ms": int(agora.timestamp() * 1000),
        "agora_texto": formats.data_hora(agora, zone),
        "intervalo_s": settings.TDS_POLL_SECONDS,
        "consulta": request.GET.urlencode(),
        "etag": etag.do_painel(request, contexto.conta, contexto.sequencias, agora),
        "textos": textos(),
    }


@require_safe
@da_conta_json
def dados(request: HttpRequest, conta: Conta) -> HttpResponseBase:
    """The same as JSON, or 304 where nothing changed. Does not touch the session, so it does not keep it alive."""
    agora = now()
    sequencias = fleet.sequencias(conta)
    marca = etag.do_painel(request, conta, sequencias, agora)
    response = get_conditional_response(request, etag=marca)
    if response is None:
        contexto = preparar(conta, request.GET, sequencias, agora)
        conteudo = montar(contexto, parts.ler(request.GET.get("tem", "")))
        response = JsonResponse(conteudo, json_dumps_params={"separators": (",", ":")})
        if conteudo["falhas"]:
            return response  # without an ETag: the next poll tries again
    response["ETag"] = marca
    return response
