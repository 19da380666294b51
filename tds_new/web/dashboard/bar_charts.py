"""The bar charts of monthly consumption, one for each quantity and unit."""

from decimal import Decimal

from django.utils.translation import gettext as _

from tds_new import formats
from tds_new.queries.consumption import MonthConsumption, MonthlyConsumption
from tds_new.web.dashboard.payload import BarChart, Month
from tds_new.web.dashboard.read import Facts
from tds_new.web.dashboard.scope import Scope
from tds_new.web.dashboard.words import COMPARABLE, colour, percent, quantity_word


def bar_charts(facts: Facts) -> list[BarChart]:
    """Return the bar charts; the last month of each is still filling."""
    return [_chart(facts.scope, monthly) for monthly in facts.months]


def _chart(scope: Scope, monthly: MonthlyConsumption) -> BarChart:
    totals = [m.total for m in monthly.months if m.total is not None]
    years_before = [m.year_before for m in monthly.months if m.year_before is not None]
    unit, divisor = formats.scale(
        monthly.unidade, max((abs(t) for t in totals + years_before), default=Decimal(0))
    )
    total = formats.with_unit(sum(totals, Decimal(0)) / divisor, unit)
    words = {"grandeza": quantity_word(monthly.grandeza), "unidade": unit}
    return {
        "id": f"{monthly.grandeza}-{monthly.unidade}",
        "unit": unit,
        "colour": f"q-{colour(monthly.grandeza)}",
        "title": _("%(grandeza)s por mês (%(unidade)s)") % words,
        "summary": _summary(scope, monthly, total),
        "compared": bool(years_before),
        "months": [_month(m, unit, divisor) for m in monthly.months],
    }


def _summary(scope: Scope, monthly: MonthlyConsumption, total: str) -> str:
    """Return the caption: the total, and what the bars' looks mean."""
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
    return " ".join(sentences)


def _incomplete(month: MonthConsumption) -> bool:
    coverage = month.block_sum.coverage
    return coverage is not None and coverage < COMPARABLE


def _month(month: MonthConsumption, unit: str, divisor: Decimal) -> Month:
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
    }


def _scaled(total: Decimal | None, divisor: Decimal) -> Decimal | None:
    return None if total is None else total / divisor
