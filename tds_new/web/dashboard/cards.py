"""The cards: consumption of the month, peak demand, gateways, devices, last reading."""

from collections import Counter

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new import formats
from tds_new.models import Dispositivo
from tds_new.queries import fleet
from tds_new.queries.consumption import ConsumoNoPeriodo
from tds_new.queries.demand import Pico
from tds_new.web.dashboard.card import Cartao, cartao, iso
from tds_new.web.dashboard.consumption import COM_DEMANDA, com_demanda, consumo, consumo_a_calcular, demanda
from tds_new.web.dashboard.context import Contexto

MAX_CONSUMOS = 5


def cartoes(
    contexto: Contexto, consumos: list[ConsumoNoPeriodo] | None, maior: list[tuple[Dispositivo, Pico]] | None
) -> list[Cartao]:
    """All cards in their fixed order; those of ``consumos`` and of the peak (``maior``, at most one) only where they could be read."""
    energia = next((c.fechado for c in consumos or [] if (c.grandeza, c.unidade) == COM_DEMANDA), None)
    return [
        *(_consumos(contexto, consumos)[:MAX_CONSUMOS] if consumos is not None else []),
        *(
            [demanda(contexto, maior[0] if maior else None, energia)]
            if maior is not None and com_demanda(contexto)
            else []
        ),
        _gateways(contexto),
        _dispositivos(contexto),
        _ultima(contexto),
    ]


def _consumos(contexto: Contexto, consumos: list[ConsumoNoPeriodo]) -> list[Cartao]:
    """A card for each quantity that has figures, and for each that should have: a reading that came just now is computed in a moment."""
    achados = {(c.grandeza, c.unidade): consumo(contexto, c) for c in consumos}
    if not contexto.nunca_mediu:
        for d in contexto.dispositivos:
            chave = d.grandeza, d.unidade
            if d.tipo_leitura != Dispositivo.TipoLeitura.INSTANTANEA and d.last_seen and chave not in achados:
                achados[chave] = consumo_a_calcular(contexto, *chave)
    ordem = list(Dispositivo.Grandeza.values)
    return [achados[chave] for chave in sorted(achados, key=lambda chave: (ordem.index(chave[0]), chave[1]))]


def _gateways(contexto: Contexto) -> Cartao:
    gateways = contexto.gateways_em_vista
    quantos = Counter(fleet.situacao(g, contexto.agora) for g in gateways)
    online, mudos, novos = (
        quantos[s] for s in (fleet.Situacao.ONLINE, fleet.Situacao.OFFLINE, fleet.Situacao.EM_IMPLANTACAO)
    )
    palavras = [
        *([_("%(n)d offline") % {"n": mudos}] if mudos else []),
        *([_("%(n)d em implantação") % {"n": novos}] if novos else []),
    ]
    estado, palavra = (
        "critico" if mudos else "info" if novos else "ok",
        ", ".join(palavras) or _("Todos online"),
    )
    if not gateways:
        estado, palavra = "neutro", _("Nenhum cadastrado")
    return cartao(
        "gateways",
        _("Gateways online"),
        "gateway",
        valor=online,
        exibe=formats.numero(online, 0),
        un=_("de %(total)s") % {"total": formats.numero(len(gateways), 0)},
        estado=estado,
        palavra=palavra,
    )


def _dispositivos(contexto: Contexto) -> Cartao:
    dispositivos = contexto.dispositivos
    com_dados = sum(fleet.com_dados(d, contexto.agora) for d in dispositivos)
    mudos = len(dispositivos) - com_dados
    if not dispositivos:
        estado, palavra = "neutro", _("Nenhum cadastrado")
    elif mudos:
        estado, palavra = (
            "atencao",
            ngettext("%(n)d sem dados recentes", "%(n)d sem dados recentes", mudos) % {"n": mudos},
        )
    else:
        estado, palavra = "ok", _("Todos com dados")
    return cartao(
        "dispositivos",
        _("Dispositivos"),
        "dispositivo",
        valor=com_dados,
        exibe=formats.numero(com_dados, 0),
        un=_("de %(total)s") % {"total": formats.numero(len(dispositivos), 0)},
        estado=estado,
        palavra=palavra,
    )


def _ultima(contexto: Contexto) -> Cartao:
    vistos = [(d.last_seen, d) for d in contexto.dispositivos if d.last_seen]
    if not vistos:
        return cartao("ultima", _("Última leitura"), "relogio", linha=_("Nenhuma leitura ainda"))
    instante, dispositivo = max(vistos, key=lambda par: par[0])
    return cartao(
        "ultima",
        _("Última leitura"),
        "relogio",
        exibe=formats.idade(instante, contexto.agora, contexto.conta.zone),
        linha=formats.data_hora(instante, contexto.conta.zone),
        detalhe=contexto.nomes[dispositivo.pk],
        instante=iso(instante),
    )
