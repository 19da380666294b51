"""The bar charts of monthly consumption, one for each measure."""

from decimal import Decimal

from django.utils.translation import gettext as _

from tds_new import formats
from tds_new.queries.consumption import MonthConsumption, MonthlyConsumption
from tds_new.queries.sums import Measure
from tds_new.web.dashboard.finality import is_provisional
from tds_new.web.dashboard.payload import BarChart, Month
from tds_new.web.dashboard.read import Facts
from tds_new.web.dashboard.scope import Scope
from tds_new.web.dashboard.words import COMPARABLE, colour, measure_id, measure_word, percent


def bar_charts(facts: Facts) -> list[BarChart]:
    """Return the bar charts; the last month of each is still filling."""
    return [_chart(facts, monthly) for monthly in facts.months]


def _chart(facts: Facts, monthly: MonthlyConsumption) -> BarChart:
    totals = [m.total for m in monthly.months if m.total is not None]
    years_before = [m.year_before for m in monthly.months if m.year_before is not None]
    unit, divisor = formats.scale(
        monthly.measure.unidade, max((abs(t) for t in totals + years_before), default=Decimal(0))
    )
    total = formats.with_unit(sum(totals, Decimal(0)) / divisor, unit)
    words = {"grandeza": measure_word(monthly.measure), "unidade": unit}
    months = [_month(facts, monthly.measure, m, unit, divisor) for m in monthly.months]
    return {
        "id": measure_id(monthly.measure),
        "unit": unit,
        "colour": f"q-{colour(monthly.measure.grandeza)}",
        "title": _("%(grandeza)s por mês (%(unidade)s)") % words,
        "summary": _summary(facts.scope, monthly, total, any(month["provisional"] for month in months)),
        "compared": bool(years_before),
        "months": months,
    }


def _summary(scope: Scope, monthly: MonthlyConsumption, total: str, provisional: bool) -> str:
    """Return the caption: the total, and what the bars' looks mean.

    ``provisional``: a month may still move.
    """
    sentences = [
        _("%(total)s em 13 meses. * %(mes)s vai até %(dia)s.")
        % {
            "total": total,
            "mes": formats.month_year(monthly.months[-1].month),
            "dia": formats.day_month(scope.now.astimezone(scope.conta.zone).date()),
        }
    ]
    if any(m.year_before is not None for m in monthly.months):
        sentences.append(_("Em cinza, o mesmo mês do ano anterior."))
    if any(_incomplete(m) for m in monthly.months):
        sentences.append(_("◐ menos de 95% medido."))
    if provisional:
        sentences.append(_("… provisório: as próximas leituras ainda podem mudar este mês."))
    return " ".join(sentences)


def _incomplete(month: MonthConsumption) -> bool:
    coverage = month.block_sum.coverage
    return coverage is not None and coverage < COMPARABLE


def _month(facts: Facts, measure: Measure, month: MonthConsumption, unit: str, divisor: Decimal) -> Month:
    total, year_before = _scaled(month.total, divisor), _scaled(month.year_before, divisor)
    coverage = month.block_sum.coverage
    return {
        "month": formats.month_year(month.month),
        "value": None if total is None else float(total),
        "shown": formats.value(total, unit),
        "previous": None if year_before is None else float(year_before),
        "previous_shown": formats.value(year_before, unit),
        "coverage": None if coverage is None else round(float(coverage), 4),
        "measured": formats.MISSING if coverage is None else percent(coverage),
        "partial": month.partial,
        "provisional": total is not None and is_provisional(facts, measure, month.period),
    }


def _scaled(total: Decimal | None, divisor: Decimal) -> Decimal | None:
    return None if total is None else total / divisor
