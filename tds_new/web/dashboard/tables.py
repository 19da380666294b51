"""The tables: last readings and gateways that are not heard."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new import formats
from tds_new.models import Dispositivo
from tds_new.queries import fleet
from tds_new.queries.latest import Leitura, ultimas_leituras
from tds_new.web.dashboard.card import iso
from tds_new.web.dashboard.context import Contexto, cor, grandeza

MAX_OFFLINE = 5


def leituras(contexto: Contexto) -> dict[str, Any]:
    """The newest readings within the window, as the meters sent them."""
    linhas = ultimas_leituras(contexto.conta, contexto.dispositivos, contexto.filtro.janela, contexto.agora)
    return {
        "vazio": "" if linhas else _sem_leituras(contexto),
        "linhas": [_leitura(contexto, linha) for linha in linhas],
    }


def _leitura(contexto: Contexto, leitura: Leitura) -> dict[str, Any]:
    instantanea = leitura.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA
    return {
        "id": f"{leitura.dispositivo.pk}-{int(leitura.time.timestamp() * 1000)}",
        "dispositivo": contexto.nomes[leitura.dispositivo.pk],
        "gateway": leitura.dispositivo.gateway.codigo,
        "grandeza": grandeza(leitura.dispositivo.grandeza),
        "cor": cor(leitura.dispositivo.grandeza),
        "valor": (formats.valor if instantanea else lambda v, _un: formats.registrador(v))(
            leitura.valor, leitura.unidade
        ),
        "un": leitura.unidade,
        "instante": iso(leitura.time),
        "quando": formats.data_hora(leitura.time, contexto.conta.zone),
    }


def _sem_leituras(contexto: Contexto) -> str:
    vistos = [d.last_seen for d in contexto.dispositivos if d.last_seen]
    if not vistos:
        return _("Ainda não recebemos nenhuma leitura.")
    return _("Nenhuma leitura de %(periodo)s. A última foi em %(quando)s.") % {
        "periodo": contexto.filtro.titulo,
        "quando": formats.data_hora(max(vistos), contexto.conta.zone),
    }


def offline(contexto: Contexto) -> dict[str, Any]:
    """The gateways that are not heard, with what that affects; at most five. ``total`` counts those that are offline, all of them."""
    mudos = fleet.mudos(contexto.gateways_em_vista, contexto.todos, contexto.agora)
    tranquilo = (
        _("Todos os gateways se comunicam.")
        if contexto.gateways_em_vista
        else _("Nenhum gateway cadastrado ainda.")
    )
    mais = max(0, len(mudos) - MAX_OFFLINE)
    texto = ngettext("Mais %(n)d gateway sem comunicação", "Mais %(n)d gateways sem comunicação", mais) % {
        "n": mais
    }
    return {
        "vazio": "" if mudos else tranquilo,
        "linhas": [_gateway(contexto, mudo) for mudo in mudos[:MAX_OFFLINE]],
        "mais": texto if mais else "",
        "total": sum(mudo.situacao is fleet.Situacao.OFFLINE for mudo in mudos),
    }


def _gateway(contexto: Contexto, mudo: fleet.GatewayMudo) -> dict[str, Any]:
    visto = mudo.gateway.last_seen
    zone = contexto.conta.zone
    desde = _("Em implantação: ainda não se comunicou")
    if visto:
        desde = _("último sinal em %(quando)s") % {"quando": formats.data_hora(visto, zone)}
    return {
        "id": mudo.gateway.pk,
        "estado": "critico" if mudo.situacao is fleet.Situacao.OFFLINE else "info",
        "nome": f"{mudo.gateway.codigo} {mudo.gateway.nome}".strip(),
        "desde": desde,
        "instante": iso(visto) if visto else None,
        "idade": formats.idade(visto, contexto.agora, zone) if visto else "",
        "afeta": ngettext("afeta %(n)d dispositivo", "afeta %(n)d dispositivos", mudo.dispositivos)
        % {"n": mudo.dispositivos}
        if mudo.dispositivos
        else _("nenhum dispositivo afetado"),
    }
