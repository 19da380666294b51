"""The consumption of meters as CSV."""

import csv
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from io import StringIO

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.cache import patch_cache_control
from django.utils.translation import gettext as _
from django.views.decorators.http import require_safe

from tds_new import formats
from tds_new.models import Conta
from tds_new.queries import fleet
from tds_new.queries.consumption import this_month
from tds_new.queries.local_calendar import Period, local_month, month_period
from tds_new.queries.meters import Meter, MeterRow
from tds_new.units import canonical_unit
from tds_new.web.access import conta_page
from tds_new.web.dashboard.read import read_meters, read_scope
from tds_new.web.dashboard.scope import Scope
from tds_new.web.dashboard.words import quantity_word, role_word

FIRST_YEAR = 1970


@require_safe
@conta_page
def consumption(request: HttpRequest, conta: Conta) -> HttpResponse:
    """Return what each meter consumed in a month, ``?mes=2026-02``, or this one.

    ``disp`` selects devices as on the dashboard. Numbers are exact, with a decimal comma in Portuguese;
    columns are separated by semicolons.
    """
    now = timezone.now()
    scope = read_scope(conta, request.GET, fleet.sequences(conta), now)
    month = _month(request.GET.get("mes", "")) or local_month(now, conta.zone)
    current = month == local_month(now, conta.zone)
    period = this_month(conta, now) if current else month_period(month, conta.zone)
    text = StringIO()
    writer = csv.writer(text, delimiter=";", lineterminator="\r\n")
    writer.writerow(_headings())
    rows = read_meters(scope, period).rows
    by_id = {row.meter.pk: row.meter for row in rows}
    for row in rows:
        main = by_id.get(row.meter.main_id or 0)
        writer.writerow([_cell(cell) for cell in _row(scope, month, period, row, main)])
    response = HttpResponse("\ufeff" + text.getvalue(), content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="consumo-{month:%Y-%m}.csv"'
    patch_cache_control(response, no_store=True)
    return response


def _month(text: str) -> date | None:
    """Return the first day of ``2026-02``; None if that is no month."""
    try:
        month = datetime.strptime(text, "%Y-%m").replace(tzinfo=UTC).date()
    except ValueError:
        return None
    return month if month.year >= FIRST_YEAR else None


def _headings() -> list[str]:
    return [
        _("Mês"),
        _("Código"),
        _("Nome"),
        _("Gateway"),
        _("Grandeza"),
        _("Papel"),
        _("Medidor principal"),
        _("Consumo"),
        _("Unidade"),
        _("Não coberto por submedidores"),
        _("Situação"),
        _("Provisório desde"),
        _("Assentado até"),
    ]


def _row(
    scope: Scope, month: date, period: Period, row: MeterRow, main: Meter | None
) -> list[str | Decimal | datetime | None]:
    meter, zone = row.meter, scope.conta.zone
    return [
        f"{month:%Y-%m}",
        meter.codigo,
        meter.nome,
        meter.gateway,
        quantity_word(meter.grandeza),
        role_word(meter.papel),
        f"{main.codigo} {main.nome}".strip() if main else "",
        meter.consumption,
        canonical_unit(meter.unidade),
        row.uncovered,
        _state(scope, meter, period),
        *(
            moment.astimezone(zone) if moment else None
            for moment in (meter.provisional_since, meter.settled_until)
        ),
    ]


def _state(scope: Scope, meter: Meter, period: Period) -> str:
    """Say how final a meter's figure of ``period`` is."""
    if meter.consumption is None:
        return _("Sem dados")
    if meter.provisional_since and meter.provisional_since < period.end:
        return _("Provisório")
    if meter.settled_until is None or meter.settled_until < period.end:
        return _("Em aberto")
    oldest = scope.now - timedelta(days=settings.TDS_MAX_LATENESS_DAYS)
    return _("Final") if period.end <= oldest else _("Assentado")


def _cell(value: str | Decimal | datetime | None) -> str:
    """Return a value as CSV; a spreadsheet must not take a name for a formula."""
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.isoformat(timespec="seconds")
    if isinstance(value, Decimal):
        text = f"{value.normalize():f}"
        return text if formats.language() == "en" else text.replace(".", ",")
    return f"'{value}" if value[:1] in tuple("=+-@\t\r") and value else value
