"""Which figures may still move, and what waits for a person."""

from datetime import date, datetime, timedelta

from django.conf import settings
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new import formats
from tds_new.queries.finality import MeasureFinality
from tds_new.queries.local_calendar import DAY, Period
from tds_new.queries.sums import Measure
from tds_new.web.dashboard import payload
from tds_new.web.dashboard.read import Facts
from tds_new.web.dashboard.words import colour, measure_id, measure_word


def is_provisional(facts: Facts, measure: Measure, period: Period) -> bool:
    """Return whether the next readings may still take back a figure of ``period``."""
    since = _provisional_since(facts, measure)
    return since is not None and since < period.end


def provisional_text(facts: Facts, measure: Measure) -> str:
    """Return ``provisório desde 17/02, 14:00``; empty if no figure is provisional."""
    since = _provisional_since(facts, measure)
    return _("provisório desde %(quando)s") % {"quando": short_moment(facts, since)} if since else ""


def _provisional_since(facts: Facts, measure: Measure) -> datetime | None:
    found = facts.finality.measures.get(measure)
    return found.provisional_since if found else None


def short_moment(facts: Facts, moment: datetime) -> str:
    """Return ``17/02, 14:00`` by the clock of the Conta."""
    local = moment.astimezone(facts.scope.conta.zone)
    return _("%(dia)s, %(hora)s") % {"dia": formats.day_month(local.date()), "hora": f"{local:%H:%M}"}


def finality_rows(facts: Facts) -> list[payload.Finality]:
    """Return up to when the figures of each measure are settled and final."""
    measures = [monthly.measure for monthly in facts.months]
    return [_row(facts, facts.finality.measures[m]) for m in measures if m in facts.finality.measures]


def _row(facts: Facts, found: MeasureFinality) -> payload.Finality:
    settled = found.settled_until
    return {
        "id": measure_id(found.measure),
        "name": measure_word(found.measure),
        "colour": colour(found.measure.grandeza),
        "settled": short_moment(facts, settled) if settled else formats.MISSING,
        "final": formats.date_text(_last_final_day(facts, settled)) if settled else formats.MISSING,
        "provisional": short_moment(facts, found.provisional_since) if found.provisional_since else "",
    }


def _last_final_day(facts: Facts, settled: datetime) -> date:
    """Return the last local day whose blocks are all settled and old enough."""
    oldest = facts.scope.now - timedelta(days=settings.TDS_MAX_LATENESS_DAYS)
    return min(settled, oldest).astimezone(facts.scope.conta.zone).date() - DAY


def waiting(facts: Facts) -> payload.Waiting:
    """Say how many readings wait for a person to decide on them."""
    count = facts.finality.waiting
    text = ngettext(
        "%(n)s leitura fora do comum espera a decisão de uma pessoa.",
        "%(n)s leituras fora do comum esperam a decisão de uma pessoa.",
        count,
    )
    return {"count": count, "text": text % {"n": formats.number(count, 0)} if count else ""}
