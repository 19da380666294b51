"""The tables: last readings and gateways that are not heard."""

from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new.models import Dispositivo
from tds_new.queries import frota
from tds_new.queries.recentes import Leitura, ultimas_leituras
from tds_new.web import formatos
from tds_new.web.painel.cartao import iso
from tds_new.web.painel.contexto import Contexto, cor, grandeza

MAX_OFFLINE = 5


def leituras(contexto: Contexto) -> dict[str, Any]:
    """The newest readings within the window, as the meters sent them."""
    linhas = ultimas_leituras(contexto.conta, contexto.dispositivos, contexto.filtro.janela, contexto.agora)
    return {"vazio": "" if linhas else _sem_leituras(contexto), "linhas": [_leitura(contexto, linha) for linha in linhas]}


def _leitura(contexto: Contexto, leitura: Leitura) -> dict[str, Any]:
    instantanea = leitura.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA
    return {
        "id": f"{leitura.dispositivo.pk}-{int(leitura.time.timestamp() * 1000)}",
        "dispositivo": contexto.nomes[leitura.dispositivo.pk],
        "gateway": leitura.dispositivo.gateway.codigo,
        "grandeza": grandeza(leitura.dispositivo.grandeza),
        "cor": cor(leitura.dispositivo.grandeza),
        "valor": (formatos.valor if instantanea else lambda v, _un: formatos.registrador(v))(leitura.valor, leitura.unidade),
        "un": leitura.unidade,
        "instante": iso(leitura.time),
        "quando": formatos.data_hora(leitura.time, contexto.conta.zone),
    }


def _sem_leituras(contexto: Contexto) -> str:
    vistos = [d.last_seen for d in contexto.dispositivos if d.last_seen]
    if not vistos:
        return _("Ainda não recebemos nenhuma leitura.")
    return _("Nenhuma leitura de %(periodo)s. A última foi em %(quando)s.") % {
        "periodo": contexto.filtro.titulo,
        "quando": formatos.data_hora(max(vistos), contexto.conta.zone),
    }


def offline(contexto: Contexto) -> dict[str, Any]:
    """The gateways that are not heard, with what that affects; at most five."""
    mudos = frota.offline(contexto.gateways_em_vista, contexto.todos)
    tranquilo = _("Tudo comunicando.") if contexto.gateways_em_vista else _("Nenhum gateway cadastrado ainda.")
    mais = len(mudos) - MAX_OFFLINE
    return {
        "vazio": "" if mudos else tranquilo,
        "linhas": [_gateway(contexto, mudo) for mudo in mudos[:MAX_OFFLINE]],
        "mais": ngettext("Mais %(n)d gateway offline", "Mais %(n)d gateways offline", mais) % {"n": mais} if mais > 0 else "",
    }


def _gateway(contexto: Contexto, mudo: frota.GatewayOffline) -> dict[str, Any]:
    visto = mudo.gateway.last_seen
    zone = contexto.conta.zone
    return {
        "id": mudo.gateway.pk,
        "nome": f"{mudo.gateway.codigo} {mudo.gateway.nome}".strip(),
        "desde": _("último sinal em %(quando)s") % {"quando": formatos.data_hora(visto, zone)} if visto else _("nunca se comunicou"),
        "instante": iso(visto) if visto else None,
        "idade": formatos.idade(visto, contexto.agora, zone) if visto else "",
        "afeta": ngettext("afeta %(n)d dispositivo", "afeta %(n)d dispositivos", mudo.dispositivos) % {"n": mudo.dispositivos}
        if mudo.dispositivos
        else _("nenhum dispositivo afetado"),
    }
