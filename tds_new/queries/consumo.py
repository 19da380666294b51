"""Monthly consumption per quantity and unit."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

from django.conf import settings
from django.db.models import Sum

from tds_new.models import ConsumoMensal, Conta, Dispositivo

MESES = 13


@dataclass(frozen=True, slots=True)
class ConsumoDoMes:
    """A month's consumption of one quantity in one unit; ``total`` is None where nothing was measured."""

    mes: date
    total: Decimal | None


@dataclass(frozen=True, slots=True)
class ConsumoPorMes:
    """Thirteen months of one quantity in one unit, oldest first; the last one is the current month, up to ``ate``."""

    grandeza: str
    unidade: str
    meses: list[ConsumoDoMes]
    ate: datetime


def meses_ate(mes: date, quantos: int = MESES) -> list[date]:
    """The first days of ``quantos`` months, the last of them ``mes``."""
    indices = [mes.year * 12 + mes.month - 1 - atras for atras in reversed(range(quantos))]
    return [date(i // 12, i % 12 + 1, 1) for i in indices]


def mes_corrente(agora: datetime) -> date:
    """The month that ``agora`` falls in by the platform's calendar, which ``tds_new_consumo_mensal`` follows."""
    return agora.astimezone(ZoneInfo(settings.TDS_TIME_ZONE)).date().replace(day=1)


def consumo_por_mes(conta: Conta, dispositivos: Sequence[Dispositivo] | None, agora: datetime) -> list[ConsumoPorMes]:
    """Consumption of ``conta``, by quantity and unit in the order of ``Dispositivo.Grandeza``.

    Of ``dispositivos`` where given; otherwise of all that was measured for the Conta, with devices that have since left it.
    """
    meses = meses_ate(mes_corrente(agora))
    zone = ZoneInfo(settings.TDS_TIME_ZONE)
    linhas = ConsumoMensal.objects.filter(
        conta=conta, mes_referencia__gte=datetime.combine(meses[0], time(), zone), total_consumo__isnull=False
    )
    if dispositivos is not None:
        linhas = linhas.filter(dispositivo__in=[d.pk for d in dispositivos])
    totais: dict[tuple[str, str], dict[date, Decimal]] = {}
    agrupadas = linhas.order_by().values("dispositivo__grandeza", "dispositivo__unidade", "mes_referencia").annotate(Sum("total_consumo"))
    for grandeza, unidade, mes, total in agrupadas.values_list(
        "dispositivo__grandeza", "dispositivo__unidade", "mes_referencia", "total_consumo__sum"
    ):
        totais.setdefault((grandeza, unidade), {})[mes.astimezone(zone).date()] = total
    ordem = list(Dispositivo.Grandeza.values)
    return [
        ConsumoPorMes(grandeza, unidade, [ConsumoDoMes(mes, por_mes.get(mes)) for mes in meses], agora)
        for (grandeza, unidade), por_mes in sorted(totais.items(), key=lambda item: (ordem.index(item[0][0]), item[0][1]))
    ]
