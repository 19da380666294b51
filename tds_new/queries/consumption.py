"""Consumption of local days and months, and of the month so far beside the same stretch of the month before."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

from tds_new.models import Conta, Dispositivo
from tds_new.queries.local_calendar import (
    BLOCO,
    DIA,
    Periodo,
    inicio_do_bloco,
    mes_local,
    meses_ate,
    mesmo_trecho_do_mes_anterior,
    periodo_do_mes,
    periodo_dos_dias,
    somar_meses,
)
from tds_new.queries.sums import Soma, SomasDaGrandeza, somar

MESES = 13


@dataclass(frozen=True, slots=True)
class ConsumoNoPeriodo:
    """One quantity in one unit in ``periodo``: all of it (``soma``), what of it lies in blocks that are over (``fechado``), and
    ``anterior``: as much of the month before (``periodo_anterior``) as ``fechado`` is of this one.

    ``ate``: the moment up to which there is data, the end of the last block included; within the block that is still filling, the
    newest reading. None where there is none.
    """

    grandeza: str
    unidade: str
    periodo: Periodo
    soma: Soma
    fechado: Soma
    periodo_anterior: Periodo
    anterior: Soma
    ate: datetime | None


@dataclass(frozen=True, slots=True)
class ConsumoDoMes:
    """A local month's consumption and the same month's a year before; a month still filling is ``parcial``."""

    mes: date
    soma: Soma
    ano_anterior: Decimal | None
    parcial: bool

    @property
    def total(self) -> Decimal | None:
        """None where nothing is known."""
        return self.soma.total


@dataclass(frozen=True, slots=True)
class ConsumoPorMes:
    """Thirteen months of one quantity in one unit, oldest first; the last one is the current month."""

    grandeza: str
    unidade: str
    meses: list[ConsumoDoMes]


@dataclass(frozen=True, slots=True)
class ConsumoDoDia:
    """A local day's consumption."""

    dia: date
    soma: Soma


@dataclass(frozen=True, slots=True)
class ConsumoPorDia:
    """Consecutive local days of one quantity in one unit."""

    grandeza: str
    unidade: str
    dias: list[ConsumoDoDia]


def consumo_do_mes(
    conta: Conta, dispositivos: Sequence[Dispositivo] | None, agora: datetime
) -> list[ConsumoNoPeriodo]:
    """The month so far by the Conta's calendar, of its ``dispositivos`` or of everything measured for it (None)."""
    zone = conta.zone
    mes = periodo_do_mes(mes_local(agora, zone), zone)
    # Where the newest block that is over belongs to the month before, nothing of this month can be compared yet.
    corte = max(mes.inicio, inicio_do_bloco(agora))
    periodo, fechado = Periodo(mes.inicio, corte + BLOCO), Periodo(mes.inicio, corte)
    anterior = mesmo_trecho_do_mes_anterior(corte, zone) if corte > mes.inicio else _nada(mes, zone)
    aberto = Periodo(corte, corte + BLOCO)
    achados = []
    for somas in somar(conta, dispositivos, [fechado, aberto, anterior], agora):
        ja, ainda, antes = somas.periodos
        tudo = Soma()
        tudo.mais(ja)
        tudo.mais(ainda)
        tudo.esperados = ja.esperados  # what is still filling is not missing
        ate = _ate(somas.ultima_leitura, periodo, agora)
        achados.append(
            ConsumoNoPeriodo(somas.grandeza, somas.unidade, periodo, tudo, ja, anterior, antes, ate)
        )
    return achados


def _nada(mes: Periodo, zone: ZoneInfo) -> Periodo:
    inicio = periodo_do_mes(somar_meses(mes_local(mes.inicio, zone), -1), zone).inicio
    return Periodo(inicio, inicio)


def _ate(ultima: datetime | None, periodo: Periodo, agora: datetime) -> datetime | None:
    """The end of the block of the newest reading; the reading itself in the block that is still filling, and never later than now."""
    if ultima is None or ultima < periodo.inicio:
        return None
    fim = inicio_do_bloco(ultima) + BLOCO
    return min(ultima, agora).astimezone(UTC) if fim >= periodo.fim else fim


def meses_fechados(
    conta: Conta, dispositivos: Sequence[Dispositivo] | None, agora: datetime
) -> list[SomasDaGrandeza]:
    """The 24 months before the current one by the Conta's calendar, oldest first: thirteen months less one, and as many a year before."""
    meses = _fechados(mes_local(agora, conta.zone))
    return somar(conta, dispositivos, [periodo_do_mes(mes, conta.zone) for mes in meses], agora)


def _fechados(este: date) -> list[date]:
    return meses_ate(somar_meses(este, -1), 2 * (MESES - 1))


def consumo_por_mes(
    conta: Conta,
    dispositivos: Sequence[Dispositivo] | None,
    agora: datetime,
    corrente: Sequence[ConsumoNoPeriodo] | None = None,
    fechados: Sequence[SomasDaGrandeza] | None = None,
) -> list[ConsumoPorMes]:
    """Thirteen months by the Conta's calendar, the current one so far, each with the same month a year before.

    Of ``dispositivos`` where given; otherwise of all that was measured for the Conta, with devices that have since left it.
    What is known already is not asked for again: ``corrente`` of :func:`consumo_do_mes`, ``fechados`` of :func:`meses_fechados`.
    """
    este = mes_local(agora, conta.zone)
    corrente = consumo_do_mes(conta, dispositivos, agora) if corrente is None else corrente
    fechados = meses_fechados(conta, dispositivos, agora) if fechados is None else fechados
    somas = {(s.grandeza, s.unidade): dict(zip(_fechados(este), s.periodos, strict=True)) for s in fechados}
    for c in corrente:
        somas.setdefault((c.grandeza, c.unidade), {})[este] = c.soma
    ordem = list(Dispositivo.Grandeza.values)
    achados = []
    for grandeza, unidade in sorted(somas, key=lambda chave: (ordem.index(chave[0]), chave[1])):
        dela = somas[grandeza, unidade]
        meses = [
            ConsumoDoMes(
                mes, dela.get(mes, Soma()), dela.get(somar_meses(mes, -12), Soma()).total, mes == este
            )
            for mes in meses_ate(este, MESES)
        ]
        if any(m.total is not None for m in meses):
            achados.append(ConsumoPorMes(grandeza, unidade, meses))
    return achados


def consumo_por_dia(
    conta: Conta, dispositivos: Sequence[Dispositivo] | None, de: date, ate: date, agora: datetime
) -> list[ConsumoPorDia]:
    """Every day from ``de`` to ``ate`` (both included) by the Conta's calendar; days of 23 and 25 hours are whole."""
    dias = [de + n * DIA for n in range((ate - de).days + 1)]
    somas = somar(conta, dispositivos, [periodo_dos_dias(dia, dia, conta.zone) for dia in dias], agora)
    return [
        ConsumoPorDia(
            s.grandeza,
            s.unidade,
            [ConsumoDoDia(dia, soma) for dia, soma in zip(dias, s.periodos, strict=True)],
        )
        for s in somas
    ]
