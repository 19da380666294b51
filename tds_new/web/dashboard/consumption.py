"""The cards of what was consumed: the month so far beside the month before, how much of it was measured, and the peak demand."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from django.utils.translation import gettext as _

from tds_new import formats
from tds_new.models import Dispositivo
from tds_new.queries.consumption import ConsumoNoPeriodo
from tds_new.queries.demand import Pico, maior_pico
from tds_new.queries.local_calendar import Periodo, inicio_do_bloco, mes_local, periodo_do_mes
from tds_new.queries.sums import Soma
from tds_new.web.dashboard.card import Cartao, cartao, iso
from tds_new.web.dashboard.context import Contexto, consumo_no_mes, cor

# Below this share of measured blocks a comparison would compare what was missing.
COMPARAVEL = Decimal("0.95")
ESTAVEL = Decimal("0.01")
MENOR_PARTE = Decimal("0.001")  # of shares as they are shown
COM_DEMANDA = Dispositivo.Grandeza.ENERGIA, "kWh"


def consumo(contexto: Contexto, achado: ConsumoNoPeriodo) -> Cartao:
    """The card of one quantity in one unit."""
    antes, agora = achado.anterior, achado.soma
    unidade, divisor = formats.escala(achado.unidade, max(abs(s.total or Decimal(0)) for s in (antes, agora)))
    comum: dict[str, Any] = {
        "identidade": f"{achado.grandeza}-{achado.unidade}",
        "titulo": consumo_no_mes(achado.grandeza),
        "icone": cor(achado.grandeza),
        "qualidade": qualidade(agora),
        "cobertura": None
        if agora.cobertura is None
        else str(agora.cobertura.quantize(Decimal("0.0001"), ROUND_FLOOR)),
    }
    if agora.total is None:
        falta = (
            _("Falta a segunda leitura")
            if agora.blocos
            else _sem_consumo(contexto, achado.grandeza, achado.unidade)
        )
        return cartao(**comum, linha=falta)
    comparada = _comparada(contexto, achado, unidade, divisor)
    return cartao(
        **comum,
        valor=str(agora.total),
        un=unidade,
        exibe=formats.valor(agora.total / divisor, unidade),
        ate=iso(achado.ate) if achado.ate else None,
        anterior=None if antes.total is None else str(antes.total),
        linha=_linha(contexto, achado),
        detalhe=comparada.escrito,
        falado=comparada.falado,
    )


def consumo_a_calcular(contexto: Contexto, grandeza: str, unidade: str) -> Cartao:
    """The card of a quantity that has devices and no figures yet."""
    return cartao(
        f"{grandeza}-{unidade}",
        consumo_no_mes(grandeza),
        cor(grandeza),
        linha=_sem_consumo(contexto, grandeza, unidade),
    )


def _sem_consumo(contexto: Contexto, grandeza: str, unidade: str) -> str:
    """Why there is no figure: nothing came this month, or it came just now and is being computed."""
    inicio = periodo_do_mes(mes_local(contexto.agora, contexto.conta.zone), contexto.conta.zone).inicio
    vistos = [
        d.last_seen
        for d in contexto.dispositivos
        if d.last_seen and (d.grandeza, d.unidade) == (grandeza, unidade)
    ]
    return _("Calculando o consumo…") if vistos and max(vistos) >= inicio else _("Nenhuma leitura neste mês")


def _linha(contexto: Contexto, achado: ConsumoNoPeriodo) -> str:
    """``1 a 18/02, até 12:45``: the period, up to the end of the last block that is in it."""
    zone = contexto.conta.zone
    inicio = achado.periodo.inicio.astimezone(zone).date()
    if achado.ate is None:
        return _("desde %(de)s") % {"de": formats.dia_mes(inicio)}
    fim = achado.ate.astimezone(zone)
    ultimo = (achado.ate - timedelta(microseconds=1)).astimezone(zone)
    hora = "24:00" if ultimo.date() < fim.date() else f"{fim:%H:%M}"
    return _("%(dias)s, até %(hora)s") % {"dias": formats.dias(inicio, ultimo.date()), "hora": hora}


# --- the month before ---


@dataclass(frozen=True, slots=True)
class Comparada:
    """A comparison as it is shown and as it is spoken."""

    escrito: str
    falado: str = ""


def _comparada(contexto: Contexto, achado: ConsumoNoPeriodo, unidade: str, divisor: Decimal) -> Comparada:
    """How the blocks that are over compare with as much of the month before; without a colour: more is not worse."""
    trecho = _trecho(contexto, achado.periodo_anterior)
    antes, depois = achado.anterior, achado.fechado
    if antes.total is None or not trecho:
        return Comparada(
            _("sem comparação: nada medido de %(trecho)s") % {"trecho": trecho} if trecho else ""
        )
    for soma, texto in (
        (depois, _("sem comparação: só %(parte)s medido")),
        (antes, _("sem comparação: só %(parte)s medido de %(trecho)s")),
    ):
        if (soma.cobertura or 0) < COMPARAVEL:
            return Comparada(texto % {"parte": porcento(soma.cobertura or Decimal(0)), "trecho": trecho})
    base = formats.com_unidade(antes.total / divisor, unidade)
    if depois.total is None or not antes.total:
        return Comparada(_("antes %(base)s, de %(trecho)s") % {"base": base, "trecho": trecho})
    diferenca = depois.total / antes.total - 1
    if abs(diferenca) < ESTAVEL:
        return Comparada(_("estável ante %(trecho)s (%(base)s)") % {"trecho": trecho, "base": base})
    partes = {"parte": f"{formats.valor(abs(diferenca) * 100, '%')}%", "trecho": trecho, "base": base}
    if diferenca > 0:
        return Comparada(
            _("▲ %(parte)s ante %(trecho)s (%(base)s)") % partes,
            _("%(parte)s acima do período de %(trecho)s") % partes,
        )
    return Comparada(
        _("▼ %(parte)s ante %(trecho)s (%(base)s)") % partes,
        _("%(parte)s abaixo do período de %(trecho)s") % partes,
    )


def _trecho(contexto: Contexto, periodo: Periodo) -> str:
    if periodo.inicio >= periodo.fim:
        return ""
    zone = contexto.conta.zone
    return formats.dias(
        periodo.inicio.astimezone(zone).date(),
        (periodo.fim - timedelta(microseconds=1)).astimezone(zone).date(),
    )


# --- what it rests on ---


def porcento(parte: Decimal) -> str:
    """``99,2%``, cut and not rounded: only all of it is 100%, and only nothing is 0%."""
    if 0 < parte < MENOR_PARTE:
        return _("menos de %(parte)s") % {"parte": f"{formats.numero(MENOR_PARTE * 100, 1)}%"}
    cortada = (parte * 100).quantize(Decimal("0.1"), ROUND_FLOOR)
    return f"{formats.numero(cortada, 0 if cortada == cortada.to_integral() else 1)}%"


def qualidade(soma: Soma) -> str:
    """``97,1% medido · ◐ 2,9% interpolado``; empty where nothing was to be measured."""
    if soma.cobertura is None:
        return ""
    partes = [_("%(parte)s medido") % {"parte": porcento(soma.cobertura)}]
    if soma.interpolado >= MENOR_PARTE:
        partes.append(_("◐ %(parte)s interpolado") % {"parte": porcento(soma.interpolado)})
    if soma.estimados:
        partes.append(_("≈ %(parte)s estimado") % {"parte": porcento(soma.estimado)})
    return " · ".join(partes)


# --- demand ---


def com_demanda(contexto: Contexto) -> list[Dispositivo]:
    """The meters whose demand is looked at: those of energy, in kWh."""
    return [
        d
        for d in contexto.dispositivos
        if (d.grandeza, d.unidade) == COM_DEMANDA and d.tipo_leitura != Dispositivo.TipoLeitura.INSTANTANEA
    ]


def demanda_do_mes(contexto: Contexto) -> list[tuple[Dispositivo, Pico]] | None:
    """The month's greatest demand of one meter, out of blocks that are over and measured in full; none where it is not determined."""
    mes = periodo_do_mes(mes_local(contexto.agora, contexto.conta.zone), contexto.conta.zone)
    fim = max(mes.inicio, inicio_do_bloco(contexto.agora))
    maior = maior_pico(contexto.conta, com_demanda(contexto), mes.inicio, fim, contexto.agora)
    return [maior] if maior else []


def demanda(contexto: Contexto, achada: tuple[Dispositivo, Pico] | None, energia: Soma | None) -> Cartao:
    """The card of the month's peak demand: the value, the block, the meter; never a figure out of a block with a hole.

    How much of the month's ``energia`` was measured tells how far the peak can be relied upon.
    """
    medido = {"parte": porcento(energia.cobertura)} if energia and energia.cobertura is not None else None
    comum: dict[str, Any] = {
        "identidade": "demanda",
        "titulo": _("Demanda máxima"),
        "icone": "demanda",
        "qualidade": _("%(parte)s medido") % medido if medido else "",
    }
    if achada is None:
        return cartao(
            **comum, linha=_("Não apurada"), detalhe=_("Nenhum intervalo de 15 min foi medido por inteiro.")
        )
    dispositivo, pico = achada
    unidade = formats.taxa(dispositivo.unidade)
    return cartao(
        **comum,
        valor=str(pico.demanda),
        un=unidade,
        exibe=formats.valor(pico.demanda, unidade),
        linha=_quando(pico.bloco, contexto),
        detalhe=contexto.nomes[dispositivo.pk] if len(com_demanda(contexto)) > 1 else "",
        ate=iso(pico.bloco),
    )


def _quando(bloco: datetime, contexto: Contexto) -> str:
    """``11/02, das 18:45 às 19:00``."""
    inicio, fim = (t.astimezone(contexto.conta.zone) for t in (bloco, bloco + timedelta(minutes=15)))
    return _("%(dia)s, das %(inicio)s às %(fim)s") % {
        "dia": formats.dia_mes(inicio.date()),
        "inicio": f"{inicio:%H:%M}",
        "fim": f"{fim:%H:%M}",
    }
