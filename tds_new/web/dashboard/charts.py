"""Line charts, one per unit, and bars of monthly consumption, one chart per quantity and unit."""

from decimal import Decimal
from typing import Any

from django.utils.translation import gettext as _

from tds_new import formats
from tds_new.models import Dispositivo
from tds_new.queries.consumption import MonthConsumption, MonthlyConsumption
from tds_new.queries.points import Point, Series
from tds_new.queries.series import series
from tds_new.queries.window import Window
from tds_new.web.dashboard.consumption import COMPARABLE, percent
from tds_new.web.dashboard.context import Context, colour, quantity_word
from tds_new.web.dashboard.parts import in_parts
from tds_new.web.filters import MAX_SERIES

Chart = dict[str, Any]
MAX_CHARTS = 6
SERIES_UNFILTERED = 4
# Axes that do not start at zero: a temperature has no natural zero.
WITHOUT_ZERO = {"°C", "°F"}


def chart_unit(device: Dispositivo) -> str:
    """The unit in which a device is drawn: its own for gauges, the rate per hour for consumption."""
    gauge = device.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA
    return device.unidade if gauge else formats.rate(device.unidade)


def chosen(context: Context) -> dict[str, list[Dispositivo]]:
    """The devices to draw, by unit: those selected, or the first four of each unit that have readings in the window."""
    order = list(Dispositivo.Grandeza.values)
    recent = sorted(
        context.devices,
        key=lambda d: (
            order.index(d.grandeza),
            d.last_seen is None or d.last_seen < context.filter.window.start,
        ),
    )
    by_unit: dict[str, list[Dispositivo]] = {}
    for device in recent:
        by_unit.setdefault(chart_unit(device), []).append(device)
    limit = MAX_SERIES if context.filter.selected else SERIES_UNFILTERED
    return {unidade: group[:limit] for unidade, group in list(by_unit.items())[:MAX_CHARTS]}


def line_charts(context: Context, has: frozenset[str] = frozenset()) -> list[Chart]:
    """The line charts, without the parts that the browser has (``has``). All their points come from one query."""
    groups = chosen(context)
    series_of = {
        s.device.pk: s
        for s in series(
            context.conta, [d for g in groups.values() for d in g], context.filter.window, context.now
        )
    }
    return [
        _chart(context, unidade, [series_of[d.pk] for d in group if d.pk in series_of], has)
        for unidade, group in groups.items()
    ]


def _chart(context: Context, unidade: str, group: list[Series], has: frozenset[str]) -> Chart:
    total = sum(chart_unit(d) == unidade for d in context.devices)
    return {
        "id": unidade,
        "un": unidade,
        "titulo": _title(unidade, group),
        "zero": unidade not in WITHOUT_ZERO,
        "resumo": _summary(context, unidade, group),
        "vazio": "" if any(p.mean is not None for s in group for p in s.points) else _empty(context, group),
        "mostrados": _("Mostrando %(n)d de %(total)d dispositivos; escolha outros em Filtros.")
        % {"n": len(group), "total": total}
        if total > len(group)
        else "",
        "series": [
            _series(context, unidade, s, position if len(group) > 1 else None, has)
            for position, s in enumerate(group, 1)
        ],
    }


def _title(unidade: str, group: list[Series]) -> str:
    quantities = {s.device.grandeza for s in group}
    gauge = all(s.device.tipo_leitura == Dispositivo.TipoLeitura.INSTANTANEA for s in group)
    names = {"ENERGIA": _("Potência média"), "AGUA": _("Vazão média de água"), "GAS": _("Vazão média de gás")}
    if len(quantities) > 1:
        name = (
            _("Leituras")
            if gauge
            else _("Potência")
            if quantities <= {"ENERGIA", "POTENCIA", "DEMANDA"}
            else _("Taxa média")
        )
    else:
        only = quantities.pop()
        name = quantity_word(only) if gauge else names.get(only, _("Taxa média"))
    return f"{name} ({unidade})"


def _series(
    context: Context, unidade: str, line: Series, position: int | None, has: frozenset[str]
) -> dict[str, Any]:
    step_ms = int(line.step.total_seconds() * 1000)
    parts = in_parts(line.device.pk, step_ms, [_point(p) for p in line.points])
    values = [p.mean for p in line.points if p.mean is not None]
    minimums = [p.minimum if p.minimum is not None else p.mean for p in line.points if p.mean is not None]
    maximums = [p.maximum if p.maximum is not None else p.mean for p in line.points if p.mean is not None]
    return {
        "id": line.device.pk,
        "nome": context.names[line.device.pk],
        "gateway": line.device.gateway.codigo,
        "un": unidade,
        "cor": f"s{position}" if position else f"q-{colour(line.device.grandeza)}",
        "passo": step_ms,
        "lacuna": int(line.max_gap_s * 1000),
        "ultimo": formats.value(values[-1] if values else None, unidade),
        "media": formats.value(sum(values) / len(values) if values else None, unidade),
        "minimo": formats.value(min((v for v in minimums if v is not None), default=None), unidade),
        "maximo": formats.value(max((v for v in maximums if v is not None), default=None), unidade),
        "partes": [[part.index, part.mark] for part in parts],
        "pontos": [point for part in parts if part.mark not in has for point in part.points],
    }


def _point(point: Point) -> list[float | int | None]:
    """``[t, mean, least, greatest, readings, quality]``; t in milliseconds since 1970, the bucket's start."""
    t = int(point.start.timestamp() * 1000)
    return [
        t,
        _short(point.mean),
        _short(point.minimum),
        _short(point.maximum),
        point.readings,
        int(point.quality),
    ]


def _short(value: float | None) -> float | None:
    """Five significant digits: more than a screen shows, less to send."""
    return None if value is None else float(f"{value:.5g}")


def _summary(context: Context, unidade: str, group: list[Series]) -> str:
    points = [
        (p.maximum if p.maximum is not None else p.mean, p, s)
        for s in group
        for p in s.points
        if p.mean is not None
    ]
    if not points:
        return ""
    largest, point, line = max(points, key=lambda item: item[0] or 0.0)
    first = _("Maior valor: %(maximo)s em %(quando)s, %(dispositivo)s.") % {
        "maximo": formats.with_unit(largest, unidade),
        "quando": formats.date_time(point.start, context.conta.zone),
        "dispositivo": context.names[line.device.pk],
    }
    sentences = [first]
    if any(p.quality for _maximum, p, _series in points):
        sentences.append(_("Tracejado: interpolado ou estimado."))
    if any(p.start + s.step > context.now for _maximum, p, s in points):
        sentences.append(_("Pontilhado: o intervalo que ainda não terminou."))
    return " ".join(sentences)


def _empty(context: Context, group: list[Series]) -> str:
    text = _("Nenhuma leitura de %(periodo)s.") % {"periodo": context.filter.title}
    seen = [s.device.last_seen for s in group if s.device.last_seen]
    if not seen:
        return _("Estes dispositivos ainda não enviaram nenhuma leitura.")
    if max(seen) >= context.filter.window.start and max(seen) < context.filter.window.end:
        return _(
            "As leituras chegaram; a média aparece assim que houver um intervalo entre duas delas calculado."
        )
    return f"{text} " + _("A última foi em %(quando)s.") % {
        "quando": formats.date_time(max(seen), context.conta.zone)
    }


def chart_window(window: Window) -> dict[str, Any]:
    """The window for the browser's axis, in milliseconds since 1970."""
    return {
        "de": _ms(window.start),
        "ate": _ms(window.end),
        "passo": int(window.step.total_seconds() * 1000),
        "fuso": window.zone.key,
        "marcas": [_ms(m) for m in window.marks()],
    }


def _ms(moment: Any) -> int:
    return int(moment.timestamp() * 1000)


def bar_charts(context: Context, consumptions: list[MonthlyConsumption]) -> list[Chart]:
    """The bar charts of monthly consumption; the last month is still filling."""
    return [_bars(context, monthly) for monthly in consumptions]


def _bars(context: Context, monthly: MonthlyConsumption) -> Chart:
    totals = [m.total for m in monthly.months if m.total is not None]
    previous_totals = [m.year_before for m in monthly.months if m.year_before is not None]
    unidade, divisor = formats.scale(
        monthly.unidade, max((abs(t) for t in totals + previous_totals), default=Decimal(0))
    )
    return {
        "id": f"{monthly.grandeza}-{monthly.unidade}",
        "un": unidade,
        "cor": f"q-{colour(monthly.grandeza)}",
        "titulo": _("%(grandeza)s por mês (%(unidade)s)")
        % {"grandeza": quantity_word(monthly.grandeza), "unidade": unidade},
        "resumo": _months_summary(
            context, monthly, formats.with_unit(sum(totals, Decimal(0)) / divisor, unidade)
        ),
        "comparada": bool(previous_totals),
        "meses": [_month(m, unidade, divisor) for m in monthly.months],
    }


def _months_summary(context: Context, monthly: MonthlyConsumption, total: str) -> str:
    sentences = [
        _("%(total)s em 13 meses. * %(mes)s vai até %(dia)s.")
        % {
            "total": total,
            "mes": formats.month_year(monthly.months[-1].month),
            "dia": formats.day_month(context.now.astimezone(context.conta.zone).date()),
        }
    ]
    if any(m.year_before is not None for m in monthly.months):
        sentences.append(_("Em cinza, o mesmo mês do ano anterior."))
    if any(_incomplete(m) for m in monthly.months):
        sentences.append(_("◐ menos de 95% medido."))
    return " ".join(sentences)


def _incomplete(month: MonthConsumption) -> bool:
    return month.block_sum.coverage is not None and month.block_sum.coverage < COMPARABLE


def _month(month: MonthConsumption, unidade: str, divisor: Decimal) -> dict[str, Any]:
    def scaled(total: Decimal | None) -> Decimal | None:
        return None if total is None else total / divisor

    total, previous = scaled(month.total), scaled(month.year_before)
    return {
        "mes": formats.month_year(month.month),
        "valor": None if total is None else float(total),
        "exibe": formats.value(total, unidade),
        "anterior": None if previous is None else float(previous),
        "exibe_anterior": formats.value(previous, unidade),
        "cobertura": None if month.block_sum.coverage is None else round(float(month.block_sum.coverage), 4),
        "medido": formats.MISSING if month.block_sum.coverage is None else percent(month.block_sum.coverage),
        "parcial": month.partial,
    }
