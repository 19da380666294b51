"""Line charts, one per unit, and bars of monthly consumption, one chart per quantity and unit."""

from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from tds_new import formats
from tds_new.models import Dispositivo
from tds_new.queries.consumption import ConsumoDoMes, ConsumoPorMes
from tds_new.queries.points import Ponto, Serie
from tds_new.queries.series import series
from tds_new.queries.window import Janela
from tds_new.web.dashboard.consumption import COMPARAVEL, porcento
from tds_new.web.dashboard.context import Contexto, cor, grandeza
from tds_new.web.dashboard.parts import em_partes
from tds_new.web.filters import MAX_SERIES

Grafico = dict[str, Any]
MAX_GRAFICOS = 6
SERIES_SEM_FILTRO = 4
# Axes that do not start at zero: a temperature has no natural zero.
SEM_ZERO = {"°C", "°F"}


def unidade_do_grafico(dispositivo: Dispositivo) -> str:
    """The unit in which a device is drawn: its own for gauges, the rate per hour for consumption."""
    instantanea = dispositivo.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA
    return dispositivo.unidade if instantanea else formats.taxa(dispositivo.unidade)


def escolhidos(contexto: Contexto) -> dict[str, list[Dispositivo]]:
    """The devices to draw, by unit: those selected, or the first four of each unit that have readings in the window."""
    ordem = list(Dispositivo.Grandeza.values)
    recentes = sorted(
        contexto.dispositivos,
        key=lambda d: (
            ordem.index(d.grandeza),
            d.last_seen is None or d.last_seen < contexto.filtro.janela.inicio,
        ),
    )
    por_unidade: dict[str, list[Dispositivo]] = {}
    for dispositivo in recentes:
        por_unidade.setdefault(unidade_do_grafico(dispositivo), []).append(dispositivo)
    limite = MAX_SERIES if contexto.filtro.selecionados else SERIES_SEM_FILTRO
    return {unidade: grupo[:limite] for unidade, grupo in list(por_unidade.items())[:MAX_GRAFICOS]}


def linhas(contexto: Contexto, tem: frozenset[str] = frozenset()) -> list[Grafico]:
    """The line charts, without the parts that the browser has (``tem``). All their points come from one query."""
    grupos = escolhidos(contexto)
    lidas = {
        s.dispositivo.pk: s
        for s in series(
            contexto.conta, [d for g in grupos.values() for d in g], contexto.filtro.janela, contexto.agora
        )
    }
    return [
        _grafico(contexto, unidade, [lidas[d.pk] for d in grupo if d.pk in lidas], tem)
        for unidade, grupo in grupos.items()
    ]


def _grafico(contexto: Contexto, unidade: str, grupo: list[Serie], tem: frozenset[str]) -> Grafico:
    total = sum(unidade_do_grafico(d) == unidade for d in contexto.dispositivos)
    return {
        "id": unidade,
        "un": unidade,
        "titulo": _titulo(unidade, grupo),
        "zero": unidade not in SEM_ZERO,
        "resumo": _resumo(contexto, unidade, grupo),
        "vazio": "" if any(p.media is not None for s in grupo for p in s.pontos) else _vazio(contexto, grupo),
        "mostrados": _("Mostrando %(n)d de %(total)d dispositivos; escolha outros em Filtros.")
        % {"n": len(grupo), "total": total}
        if total > len(grupo)
        else "",
        "series": [
            _serie(contexto, unidade, s, posicao if len(grupo) > 1 else None, tem)
            for posicao, s in enumerate(grupo, 1)
        ],
    }


def _titulo(unidade: str, grupo: list[Serie]) -> str:
    grandezas = {s.dispositivo.grandeza for s in grupo}
    instantanea = all(s.dispositivo.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA for s in grupo)
    nomes = {"ENERGIA": _("Potência média"), "AGUA": _("Vazão média de água"), "GAS": _("Vazão média de gás")}
    if len(grandezas) > 1:
        nome = (
            _("Leituras")
            if instantanea
            else _("Potência")
            if grandezas <= {"ENERGIA", "POTENCIA", "DEMANDA"}
            else _("Taxa média")
        )
    else:
        unica = grandezas.pop()
        nome = grandeza(unica) if instantanea else nomes.get(unica, _("Taxa média"))
    return f"{nome} ({unidade})"


def _serie(
    contexto: Contexto, unidade: str, serie: Serie, posicao: int | None, tem: frozenset[str]
) -> dict[str, Any]:
    passo_ms = int(serie.passo.total_seconds() * 1000)
    partes = em_partes(serie.dispositivo.pk, passo_ms, [_ponto(p) for p in serie.pontos])
    valores = [p.media for p in serie.pontos if p.media is not None]
    minimos = [p.minimo if p.minimo is not None else p.media for p in serie.pontos if p.media is not None]
    maximos = [p.maximo if p.maximo is not None else p.media for p in serie.pontos if p.media is not None]
    return {
        "id": serie.dispositivo.pk,
        "nome": contexto.nomes[serie.dispositivo.pk],
        "gateway": serie.dispositivo.gateway.codigo,
        "un": unidade,
        "cor": f"s{posicao}" if posicao else f"q-{cor(serie.dispositivo.grandeza)}",
        "passo": passo_ms,
        "lacuna": int(serie.lacuna * 1000),
        "ultimo": formats.valor(valores[-1] if valores else None, unidade),
        "media": formats.valor(sum(valores) / len(valores) if valores else None, unidade),
        "minimo": formats.valor(min((v for v in minimos if v is not None), default=None), unidade),
        "maximo": formats.valor(max((v for v in maximos if v is not None), default=None), unidade),
        "partes": [[parte.indice, parte.marca] for parte in partes],
        "pontos": [ponto for parte in partes if parte.marca not in tem for ponto in parte.pontos],
    }


def _ponto(ponto: Ponto) -> list[float | int | None]:
    """``[t, mean, least, greatest, readings, quality]``; t in milliseconds since 1970, the bucket's start."""
    t = int(ponto.inicio.timestamp() * 1000)
    return [
        t,
        _curto(ponto.media),
        _curto(ponto.minimo),
        _curto(ponto.maximo),
        ponto.leituras,
        int(ponto.qualidade),
    ]


def _curto(valor: float | None) -> float | None:
    """Five significant digits: more than a screen shows, less to send."""
    return None if valor is None else float(f"{valor:.5g}")


def _resumo(contexto: Contexto, unidade: str, grupo: list[Serie]) -> str:
    pontos = [
        (p.maximo if p.maximo is not None else p.media, p, s)
        for s in grupo
        for p in s.pontos
        if p.media is not None
    ]
    if not pontos:
        return ""
    maximo, ponto, serie = max(pontos, key=lambda item: item[0] or 0.0)
    maior = _("Maior valor: %(maximo)s em %(quando)s, %(dispositivo)s.") % {
        "maximo": formats.com_unidade(maximo, unidade),
        "quando": formats.data_hora(ponto.inicio, contexto.conta.zone),
        "dispositivo": contexto.nomes[serie.dispositivo.pk],
    }
    frases = [maior]
    if any(p.qualidade for _maximo, p, _serie in pontos):
        frases.append(_("Tracejado: interpolado ou estimado."))
    if any(p.inicio + s.passo > contexto.agora for _maximo, p, s in pontos):
        frases.append(_("Pontilhado: o intervalo que ainda não terminou."))
    return " ".join(frases)


def _vazio(contexto: Contexto, grupo: list[Serie]) -> str:
    texto = _("Nenhuma leitura de %(periodo)s.") % {"periodo": contexto.filtro.titulo}
    vistos = [s.dispositivo.last_seen for s in grupo if s.dispositivo.last_seen]
    if not vistos:
        return _("Estes dispositivos ainda não enviaram nenhuma leitura.")
    if max(vistos) >= contexto.filtro.janela.inicio and max(vistos) < contexto.filtro.janela.fim:
        return _(
            "As leituras chegaram; a média aparece assim que houver um intervalo entre duas delas calculado."
        )
    return f"{texto} " + _("A última foi em %(quando)s.") % {
        "quando": formats.data_hora(max(vistos), contexto.conta.zone)
    }


def janela(atual: Janela) -> dict[str, Any]:
    """The window for the browser's axis, in milliseconds since 1970."""
    return {
        "de": _ms(atual.inicio),
        "ate": _ms(atual.fim),
        "passo": int(atual.passo.total_seconds() * 1000),
        "fuso": atual.zone.key,
        "marcas": [_ms(m) for m in atual.marcas()],
    }


def _ms(instante: Any) -> int:
    return int(instante.timestamp() * 1000)


def barras(contexto: Contexto, consumos: list[ConsumoPorMes]) -> list[Grafico]:
    """The bar charts of monthly consumption; the last month is still filling."""
    return [_barras(contexto, consumo) for consumo in consumos]


def _barras(contexto: Contexto, consumo: ConsumoPorMes) -> Grafico:
    totais = [m.total for m in consumo.meses if m.total is not None]
    anteriores = [m.ano_anterior for m in consumo.meses if m.ano_anterior is not None]
    unidade, divisor = formats.escala(
        consumo.unidade, max((abs(t) for t in totais + anteriores), default=Decimal(0))
    )
    return {
        "id": f"{consumo.grandeza}-{consumo.unidade}",
        "un": unidade,
        "cor": f"q-{cor(consumo.grandeza)}",
        "titulo": _("%(grandeza)s por mês (%(unidade)s)")
        % {"grandeza": grandeza(consumo.grandeza), "unidade": unidade},
        "resumo": _resumo_dos_meses(
            contexto, consumo, formats.com_unidade(sum(totais, Decimal(0)) / divisor, unidade)
        ),
        "comparada": bool(anteriores),
        "meses": [_mes(m, unidade, divisor) for m in consumo.meses],
    }


def _resumo_dos_meses(contexto: Contexto, consumo: ConsumoPorMes, total: str) -> str:
    frases = [
        _("%(total)s em 13 meses. * %(mes)s vai até %(dia)s.")
        % {
            "total": total,
            "mes": formats.mes_ano(consumo.meses[-1].mes),
            "dia": formats.dia_mes(contexto.agora.astimezone(contexto.conta.zone).date()),
        }
    ]
    if any(m.ano_anterior is not None for m in consumo.meses):
        frases.append(_("Em cinza, o mesmo mês do ano anterior."))
    if any(_incompleto(m) for m in consumo.meses):
        frases.append(_("◐ menos de 95% medido."))
    return " ".join(frases)


def _incompleto(mes: ConsumoDoMes) -> bool:
    return mes.soma.cobertura is not None and mes.soma.cobertura < COMPARAVEL


def _mes(mes: ConsumoDoMes, unidade: str, divisor: Decimal) -> dict[str, Any]:
    def medida(total: Decimal | None) -> Decimal | None:
        return None if total is None else total / divisor

    total, anterior = medida(mes.total), medida(mes.ano_anterior)
    return {
        "mes": formats.mes_ano(mes.mes),
        "valor": None if total is None else float(total),
        "exibe": formats.valor(total, unidade),
        "anterior": None if anterior is None else float(anterior),
        "exibe_anterior": formats.valor(anterior, unidade),
        "cobertura": None if mes.soma.cobertura is None else round(float(mes.soma.cobertura), 4),
        "medido": formats.FALTA if mes.soma.cobertura is None else porcento(mes.soma.cobertura),
        "parcial": mes.parcial,
    }
