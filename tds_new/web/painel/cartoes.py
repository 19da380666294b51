"""The cards: consumption of the month, gateways, devices, last reading."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new.queries import frota
from tds_new.queries.consumo import ConsumoPorMes
from tds_new.web import formatos
from tds_new.web.painel.contexto import Contexto, consumo_no_mes, cor

Cartao = dict[str, Any]
MAX_CONSUMOS = 5


def cartoes(contexto: Contexto, consumos: list[ConsumoPorMes]) -> list[Cartao]:
    """All cards in their fixed order."""
    return [*(_consumo(contexto, c) for c in consumos[:MAX_CONSUMOS]), _gateways(contexto), _dispositivos(contexto), _ultima(contexto)]


def _cartao(identidade: str, titulo: str, icone: str, **resto: Any) -> Cartao:
    vazio: Cartao = dict.fromkeys(("un", "linha", "detalhe", "estado", "palavra"), "")
    return {"id": identidade, "titulo": titulo, "icone": icone, "valor": None, "exibe": formatos.FALTA, "instante": None, **vazio, **resto}


def _consumo(contexto: Contexto, consumo: ConsumoPorMes) -> Cartao:
    atual, anterior = consumo.meses[-1], consumo.meses[-2]
    unidade, divisor = formatos.escala(consumo.unidade, max(abs(m.total or Decimal(0)) for m in consumo.meses[-2:]))
    detalhe = ""
    if anterior.total is not None:
        detalhe = _("%(mes)s inteiro: %(total)s") % {
            "mes": formatos.mes_ano(anterior.mes),
            "total": formatos.com_unidade(anterior.total / divisor, unidade),
        }
    parte = {
        "identidade": f"{consumo.grandeza}-{consumo.unidade}",
        "titulo": consumo_no_mes(consumo.grandeza),
        "icone": cor(consumo.grandeza),
    }
    if atual.total is None:
        return _cartao(**parte, linha=_("Nenhuma leitura neste mês"), detalhe=detalhe)
    return _cartao(
        **parte,
        valor=str(atual.total),
        un=unidade,
        exibe=formatos.valor(atual.total / divisor, unidade),
        linha=_linha_do_mes(contexto, consumo),
        detalhe=detalhe,
    )


def _linha_do_mes(contexto: Contexto, consumo: ConsumoPorMes) -> str:
    """``01/02 a 18/02, até 12:45``: up to the newest reading of this quantity that is in it."""
    vistos = [d.last_seen for d in contexto.dispositivos if d.last_seen and (d.grandeza, d.unidade) == (consumo.grandeza, consumo.unidade)]
    mes = consumo.meses[-1].mes
    if not vistos or max(vistos).astimezone(contexto.conta.zone).date() < mes:
        return _("desde %(de)s") % {"de": formatos.dia_mes(mes)}
    fim = min(max(vistos), contexto.agora).astimezone(contexto.conta.zone)
    return _("%(de)s a %(ate)s, até %(hora)s") % {
        "de": formatos.dia_mes(mes),
        "ate": formatos.dia_mes(fim.date()),
        "hora": f"{fim:%H:%M}",
    }


def _gateways(contexto: Contexto) -> Cartao:
    gateways = contexto.gateways_em_vista
    online = sum(g.is_online for g in gateways)
    mudos = len(gateways) - online
    estado, palavra = ("ok", _("Todos online")) if gateways and not mudos else ("critico", _("%(n)d offline") % {"n": mudos})
    if not gateways:
        estado, palavra = "neutro", _("Nenhum cadastrado")
    return _cartao(
        "gateways",
        _("Gateways online"),
        "gateway",
        valor=online,
        exibe=formatos.numero(online, 0),
        un=_("de %(total)s") % {"total": formatos.numero(len(gateways), 0)},
        estado=estado,
        palavra=palavra,
    )


def _dispositivos(contexto: Contexto) -> Cartao:
    dispositivos = contexto.dispositivos
    com_dados = sum(frota.com_dados(d, contexto.agora) for d in dispositivos)
    mudos = len(dispositivos) - com_dados
    if not dispositivos:
        estado, palavra = "neutro", _("Nenhum cadastrado")
    elif mudos:
        estado, palavra = "atencao", ngettext("%(n)d sem dados recentes", "%(n)d sem dados recentes", mudos) % {"n": mudos}
    else:
        estado, palavra = "ok", _("Todos com dados")
    return _cartao(
        "dispositivos",
        _("Dispositivos com dados"),
        "dispositivo",
        valor=com_dados,
        exibe=formatos.numero(com_dados, 0),
        un=_("de %(total)s") % {"total": formatos.numero(len(dispositivos), 0)},
        estado=estado,
        palavra=palavra,
    )


def _ultima(contexto: Contexto) -> Cartao:
    vistos = [(d.last_seen, d) for d in contexto.dispositivos if d.last_seen]
    if not vistos:
        return _cartao("ultima", _("Última leitura"), "relogio", linha=_("Nenhuma leitura ainda"))
    instante, dispositivo = max(vistos, key=lambda par: par[0])
    return _cartao(
        "ultima",
        _("Última leitura"),
        "relogio",
        exibe=formatos.idade(instante, contexto.agora, contexto.conta.zone),
        linha=formatos.data_hora(instante, contexto.conta.zone),
        detalhe=contexto.nomes[dispositivo.pk],
        instante=iso(instante),
    )


def iso(instante: datetime) -> str:
    """UTC, whole seconds: an instant for the browser to count from."""
    return instante.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
