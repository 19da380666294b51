"""The table of meters with this month's consumption, in their structure."""

from datetime import timedelta
from decimal import Decimal

from django.utils.translation import gettext as _

from tds_new import formats
from tds_new.queries.meters import MeterRow
from tds_new.units import canonical_unit, unit_factor
from tds_new.web.dashboard import payload
from tds_new.web.dashboard.finality import short_moment
from tds_new.web.dashboard.read import Facts
from tds_new.web.dashboard.words import colour, percent, quantity_word, role_word


def meters_table(facts: Facts) -> payload.Meters:
    """Return the meters; none where there is but one, which has a card of its own."""
    scope, metered = facts.scope, facts.meters
    zone = scope.conta.zone
    first, last = (
        moment.astimezone(zone).date()
        for moment in (metered.period.start, metered.period.end - timedelta(microseconds=1))
    )
    shown = len(metered.rows)
    more = _("Mostrando %(n)d de %(total)d medidores; os outros estão em Dispositivos.")
    return {
        "period": formats.day_range(first, last),
        "rows": _rows(facts) if metered.total > 1 else [],
        "more": more % {"n": shown, "total": metered.total} if metered.total > shown else "",
    }


def _rows(facts: Facts) -> list[payload.MeterRow]:
    """Return the rows; what sub-meters do not cover comes after the last of them."""
    rows: list[payload.MeterRow] = []
    open_mains: list[MeterRow] = []
    by_id = {row.meter.pk: row for row in facts.meters.rows}

    def close_down_to(depth: int) -> None:
        while open_mains and open_mains[-1].depth >= depth:
            main = open_mains.pop()
            if main.uncovered is not None:
                rows.append(_rest(main, main.uncovered))

    for row in facts.meters.rows:
        close_down_to(row.depth)
        rows.append(_meter(facts, row, by_id.get(row.meter.main_id or 0) if row.depth else None))
        open_mains.append(row)
    close_down_to(0)
    return rows


def _meter(facts: Facts, row: MeterRow, main: MeterRow | None) -> payload.MeterRow:
    meter = row.meter
    since = meter.provisional_since
    recent = since is not None and since < facts.meters.period.end
    return {
        "id": str(meter.pk),
        "name": facts.scope.names.get(meter.pk) or f"{meter.codigo} {meter.nome}".strip(),
        "depth": row.depth,
        "rest": False,
        "quantity": quantity_word(meter.grandeza),
        "colour": colour(meter.grandeza),
        "role": role_word(meter.papel),
        "value": formats.value(meter.consumption, canonical_unit(meter.unidade)),
        "unit": canonical_unit(meter.unidade),
        "share": _share(row, main) if main else "",
        "notice": "",
        "provisional": _("provisório desde %(quando)s") % {"quando": short_moment(facts, since)}
        if since and recent
        else "",
    }


def _share(row: MeterRow, main: MeterRow) -> str:
    """Return the part of the main meter's consumption; empty if it makes no sense."""
    consumption, whole = row.meter.consumption, main.meter.consumption
    factor = unit_factor(row.meter.unidade, main.meter.unidade)
    if consumption is None or not whole or whole < 0 or consumption < 0 or factor is None:
        return ""
    return percent(consumption * factor.numerator / factor.denominator / whole)


def _rest(main: MeterRow, uncovered: Decimal) -> payload.MeterRow:
    """Return the row of what no sub-meter covers, also where that is negative."""
    meter = main.meter
    several = _("Não coberto pelos %(n)d submedidores") % {"n": main.sub_meters}
    whole = meter.consumption
    return {
        "id": f"{meter.pk}-rest",
        "name": several if main.sub_meters > 1 else _("Não coberto pelo submedidor"),
        "depth": main.depth + 1,
        "rest": True,
        "quantity": quantity_word(meter.grandeza),
        "colour": colour(meter.grandeza),
        "role": "",
        "value": formats.value(uncovered, canonical_unit(meter.unidade)),
        "unit": canonical_unit(meter.unidade),
        "share": percent(uncovered / whole) if whole and whole > 0 and uncovered >= 0 else "",
        "notice": _(
            "Os submedidores somam mais do que o medidor principal. Confira relógios, perdas e a estrutura."
        )
        if uncovered < 0
        else "",
        "provisional": "",
    }
