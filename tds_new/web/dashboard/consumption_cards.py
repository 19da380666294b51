"""The cards of what was consumed this month, and of the peak demand."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new import formats
from tds_new.models import Dispositivo
from tds_new.queries.consumption import PeriodConsumption
from tds_new.queries.local_calendar import BLOCK, Period, local_month, month_period
from tds_new.queries.sums import Measure, measure_of, measure_order, unit_of_blocks
from tds_new.web.dashboard.finality import provisional_text
from tds_new.web.dashboard.payload import Card
from tds_new.web.dashboard.read import Block, Facts
from tds_new.web.dashboard.scope import ENERGY, Scope
from tds_new.web.dashboard.words import (
    COMPARABLE,
    blank_card,
    colour,
    iso,
    measure_id,
    measure_word,
    percent,
    quality_text,
)

MAX_CARDS = 5
STABLE = Decimal("0.01")


def consumption_cards(facts: Facts) -> list[Card]:
    """Return a card for each measure that has figures or should have; at most five.

    A reading that came just now is computed in a moment. There are none where consumption could not be read.
    """
    scope = facts.scope
    if Block.CONSUMPTION in facts.failed:
        return []
    cards = {c.measure: _card(facts, c) for c in facts.month}
    if not scope.never_measured:
        for device in scope.counted:
            measure = measure_of(device)
            if device.last_seen and measure not in cards:
                cards[measure] = _blank(measure) | {"line": _why_nothing(scope, measure)}
    return [cards[measure] for measure in sorted(cards, key=measure_order)][:MAX_CARDS]


def _blank(measure: Measure) -> Card:
    title = measure_word(measure)
    if measure.papel == Dispositivo.Papel.CONSUMO:
        title = _("%(grandeza)s no mês") % {"grandeza": title}
    return blank_card(measure_id(measure), title, colour(measure.grandeza))


def _card(facts: Facts, month: PeriodConsumption) -> Card:
    """Return the card of one measure."""
    scope, now, before = facts.scope, month.block_sum, month.previous
    card = _blank(month.measure) | {
        "quality": quality_text(now),
        "sources": _sources(scope, month.measure, now.devices),
    }
    if now.coverage is not None:
        card["coverage"] = str(now.coverage.quantize(Decimal("0.0001"), ROUND_FLOOR))
    if now.total is None:
        missing = _("Falta a segunda leitura") if now.blocks else _why_nothing(scope, month.measure)
        return card | {"line": missing}
    largest = max(abs(s.total or Decimal(0)) for s in (now, before))
    unit, divisor = formats.scale(month.measure.unidade, largest)
    comparison = _comparison(scope, month, unit, divisor)
    return card | {
        "value": str(now.total),
        "unit": unit,
        "shown": formats.value(now.total / divisor, unit),
        "end": iso(month.until) if month.until else None,
        "previous": None if before.total is None else str(before.total),
        "line": _period_text(scope, month),
        "detail": comparison.written,
        "spoken": comparison.spoken,
        "provisional": provisional_text(facts, month.measure),
    }


def _sources(scope: Scope, measure: Measure, meters: int) -> str:
    """Say how many meters a total is made of; empty if none has data."""
    if not meters:
        return ""
    if measure.papel == Dispositivo.Papel.INJECAO:
        text = ngettext("%(n)d medidor de injeção", "soma de %(n)d medidores de injeção", meters)
    elif measure in scope.with_sub_meters:
        text = ngettext("%(n)d medidor principal", "soma de %(n)d medidores principais", meters)
    else:
        text = ngettext("%(n)d medidor", "soma de %(n)d medidores", meters)
    return text % {"n": meters}


def _why_nothing(scope: Scope, measure: Measure) -> str:
    """Say why there is no figure.

    Either nothing came this month, or it came just now and is being computed.
    """
    zone = scope.conta.zone
    start = month_period(local_month(scope.now, zone), zone).start
    seen = [d.last_seen for d in scope.counted if d.last_seen and measure_of(d) == measure]
    return _("Calculando o consumo…") if seen and max(seen) >= start else _("Nenhuma leitura neste mês")


def _period_text(scope: Scope, month: PeriodConsumption) -> str:
    """Return ``1 a 18/02, até 12:45``: the period up to the end of its last block."""
    zone = scope.conta.zone
    start = month.period.start.astimezone(zone).date()
    if month.until is None:
        return _("desde %(de)s") % {"de": formats.day_month(start)}
    end = month.until.astimezone(zone)
    last = (month.until - timedelta(microseconds=1)).astimezone(zone)
    hour = "24:00" if last.date() < end.date() else f"{end:%H:%M}"
    return _("%(dias)s, até %(hora)s") % {"dias": formats.day_range(start, last.date()), "hora": hour}


# --- the month before ---


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison as it is written and as it is spoken."""

    written: str
    spoken: str = ""


def _comparison(scope: Scope, month: PeriodConsumption, unit: str, divisor: Decimal) -> Comparison:
    """Say how the blocks that are over compare with as much of the month before.

    It has no colour, because more is not worse. ``unit`` and ``divisor`` are those of the card.
    """
    days = _days(scope, month.previous_period)
    before, after = month.previous, month.closed
    if not days:
        return Comparison("")
    if before.total is None:
        return Comparison(_("sem comparação: nada medido de %(trecho)s") % {"trecho": days})
    for block_sum, text in (
        (after, _("sem comparação: só %(parte)s medido")),
        (before, _("sem comparação: só %(parte)s medido de %(trecho)s")),
    ):
        if (block_sum.coverage or 0) < COMPARABLE:
            return Comparison(text % {"parte": percent(block_sum.coverage or Decimal(0)), "trecho": days})
    base = formats.with_unit(before.total / divisor, unit)
    if after.total is None or after.total < 0 or before.total <= 0:  # a net register may go below zero
        return Comparison(_("antes %(base)s, de %(trecho)s") % {"base": base, "trecho": days})
    return _difference(after.total / before.total - 1, days, base)


def _difference(difference: Decimal, days: str, base: str) -> Comparison:
    """Say by which share a month differs from ``base``, that of ``days``."""
    if abs(difference) < STABLE:
        return Comparison(_("estável ante %(trecho)s (%(base)s)") % {"trecho": days, "base": base})
    parts = {"parte": f"{formats.value(abs(difference) * 100, '%')}%", "trecho": days, "base": base}
    if difference > 0:
        return Comparison(
            _("▲ %(parte)s ante %(trecho)s (%(base)s)") % parts,
            _("%(parte)s acima do período de %(trecho)s") % parts,
        )
    return Comparison(
        _("▼ %(parte)s ante %(trecho)s (%(base)s)") % parts,
        _("%(parte)s abaixo do período de %(trecho)s") % parts,
    )


def _days(scope: Scope, period: Period) -> str:
    """Return the days of ``period``, empty if it has none."""
    if period.start >= period.end:
        return ""
    zone = scope.conta.zone
    last = period.end - timedelta(microseconds=1)
    return formats.day_range(period.start.astimezone(zone).date(), last.astimezone(zone).date())


# --- demand ---


def demand_cards(facts: Facts) -> list[Card]:
    """Return the card of the peak demand, where there are meters of energy; else none.

    There is none either where nothing was ever measured, or where the peak could not be read.
    """
    scope = facts.scope
    if scope.never_measured or Block.DEMAND in facts.failed or not scope.demand_meters:
        return []
    return [_demand_card(facts)]


def _demand_card(facts: Facts) -> Card:
    """Return the card of the peak: the demand, its block, its meter.

    How much of the month's energy was measured tells how far the peak can be relied upon.
    """
    scope = facts.scope
    card = blank_card("demand", _("Demanda máxima"), "demanda")
    energy = next((c.closed for c in facts.month if c.measure == ENERGY), None)
    if energy and energy.coverage is not None:
        card["quality"] = _("%(parte)s medido") % {"parte": percent(energy.coverage)}
    if facts.peak is None:
        detail = _("Nenhum intervalo de 15 min foi medido por inteiro.")
        return card | {"line": _("Não apurada"), "detail": detail}
    device, peak = facts.peak
    unit = formats.rate(unit_of_blocks(device))
    return card | {
        "value": str(peak.demand),
        "unit": unit,
        "shown": formats.value(peak.demand, unit),
        "line": _block_text(scope, peak.block),
        "detail": scope.names[device.pk] if len(scope.demand_meters) > 1 else "",
        "end": iso(peak.block),
    }


def _block_text(scope: Scope, block: datetime) -> str:
    """Return ``11/02, das 18:45 às 19:00``."""
    start, end = (moment.astimezone(scope.conta.zone) for moment in (block, block + BLOCK))
    return _("%(dia)s, das %(inicio)s às %(fim)s") % {
        "dia": formats.day_month(start.date()),
        "inicio": f"{start:%H:%M}",
        "fim": f"{end:%H:%M}",
    }
