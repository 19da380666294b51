"""The cards of what was consumed: the month so far beside the month before, how much of it was measured, and the peak demand."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import ROUND_FLOOR, Decimal
from typing import Any

from django.utils.translation import gettext as _

from tds_new import formats
from tds_new.models import Dispositivo
from tds_new.queries.consumption import PeriodConsumption
from tds_new.queries.demand import Peak, greatest_peak
from tds_new.queries.local_calendar import Period, block_start, local_month, month_period
from tds_new.queries.sums import BlockSum
from tds_new.web.dashboard.card import Card, card, iso
from tds_new.web.dashboard.context import Context, colour, month_title

# Below this share of measured blocks a comparison would compare what was missing.
COMPARABLE = Decimal("0.95")
STABLE = Decimal("0.01")
LEAST_SHARE = Decimal("0.001")  # of shares as they are shown
WITH_DEMAND = Dispositivo.Grandeza.ENERGIA, "kWh"


def consumption_card(context: Context, found: PeriodConsumption) -> Card:
    """The card of one quantity in one unit."""
    before, current = found.previous, found.block_sum
    unidade, divisor = formats.scale(
        found.unidade, max(abs(s.total or Decimal(0)) for s in (before, current))
    )
    common: dict[str, Any] = {
        "card_id": f"{found.grandeza}-{found.unidade}",
        "title": month_title(found.grandeza),
        "icon": colour(found.grandeza),
        "qualidade": quality_text(current),
        "cobertura": None
        if current.coverage is None
        else str(current.coverage.quantize(Decimal("0.0001"), ROUND_FLOOR)),
    }
    if current.total is None:
        missing = (
            _("Falta a segunda leitura")
            if current.blocks
            else _no_consumption(context, found.grandeza, found.unidade)
        )
        return card(**common, linha=missing)
    compared = _compared(context, found, unidade, divisor)
    return card(
        **common,
        valor=str(current.total),
        un=unidade,
        exibe=formats.value(current.total / divisor, unidade),
        ate=iso(found.until) if found.until else None,
        anterior=None if before.total is None else str(before.total),
        linha=_line(context, found),
        detalhe=compared.written,
        falado=compared.spoken,
    )


def pending_consumption_card(context: Context, grandeza: str, unidade: str) -> Card:
    """The card of a quantity that has devices and no figures yet."""
    return card(
        f"{grandeza}-{unidade}",
        month_title(grandeza),
        colour(grandeza),
        linha=_no_consumption(context, grandeza, unidade),
    )


def _no_consumption(context: Context, grandeza: str, unidade: str) -> str:
    """Why there is no figure: nothing came this month, or it came just now and is being computed."""
    start = month_period(local_month(context.now, context.conta.zone), context.conta.zone).start
    seen = [
        d.last_seen for d in context.devices if d.last_seen and (d.grandeza, d.unidade) == (grandeza, unidade)
    ]
    return _("Calculando o consumo…") if seen and max(seen) >= start else _("Nenhuma leitura neste mês")


def _line(context: Context, found: PeriodConsumption) -> str:
    """``1 a 18/02, até 12:45``: the period, up to the end of the last block that is in it."""
    zone = context.conta.zone
    start = found.period.start.astimezone(zone).date()
    if found.until is None:
        return _("desde %(de)s") % {"de": formats.day_month(start)}
    end = found.until.astimezone(zone)
    last = (found.until - timedelta(microseconds=1)).astimezone(zone)
    hour = "24:00" if last.date() < end.date() else f"{end:%H:%M}"
    return _("%(dias)s, até %(hora)s") % {"dias": formats.day_range(start, last.date()), "hora": hour}


# --- the month before ---


@dataclass(frozen=True, slots=True)
class Comparison:
    """A comparison as it is shown and as it is spoken."""

    written: str
    spoken: str = ""


def _compared(context: Context, found: PeriodConsumption, unidade: str, divisor: Decimal) -> Comparison:
    """How the blocks that are over compare with as much of the month before; without a colour: more is not worse."""
    days = _days_of(context, found.previous_period)
    before, after = found.previous, found.closed
    if before.total is None or not days:
        return Comparison(_("sem comparação: nada medido de %(trecho)s") % {"trecho": days} if days else "")
    for block_sum, text in (
        (after, _("sem comparação: só %(parte)s medido")),
        (before, _("sem comparação: só %(parte)s medido de %(trecho)s")),
    ):
        if (block_sum.coverage or 0) < COMPARABLE:
            return Comparison(text % {"parte": percent(block_sum.coverage or Decimal(0)), "trecho": days})
    base = formats.with_unit(before.total / divisor, unidade)
    if after.total is None or not before.total:
        return Comparison(_("antes %(base)s, de %(trecho)s") % {"base": base, "trecho": days})
    difference = after.total / before.total - 1
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


def _days_of(context: Context, period: Period) -> str:
    if period.start >= period.end:
        return ""
    zone = context.conta.zone
    return formats.day_range(
        period.start.astimezone(zone).date(),
        (period.end - timedelta(microseconds=1)).astimezone(zone).date(),
    )


# --- what it rests on ---


def percent(share: Decimal) -> str:
    """``99,2%``, cut and not rounded: only all of it is 100%, and only nothing is 0%."""
    if 0 < share < LEAST_SHARE:
        return _("menos de %(parte)s") % {"parte": f"{formats.number(LEAST_SHARE * 100, 1)}%"}
    truncated = (share * 100).quantize(Decimal("0.1"), ROUND_FLOOR)
    return f"{formats.number(truncated, 0 if truncated == truncated.to_integral() else 1)}%"


def quality_text(block_sum: BlockSum) -> str:
    """``97,1% medido · ◐ 2,9% interpolado``; empty where nothing was to be measured."""
    if block_sum.coverage is None:
        return ""
    parts = [_("%(parte)s medido") % {"parte": percent(block_sum.coverage)}]
    if block_sum.interpolated_share >= LEAST_SHARE:
        parts.append(_("◐ %(parte)s interpolado") % {"parte": percent(block_sum.interpolated_share)})
    if block_sum.estimated:
        parts.append(_("≈ %(parte)s estimado") % {"parte": percent(block_sum.estimated_share)})
    return " · ".join(parts)


# --- demand ---


def with_demand(context: Context) -> list[Dispositivo]:
    """The meters whose demand is looked at: those of energy, in kWh."""
    return [
        d
        for d in context.devices
        if (d.grandeza, d.unidade) == WITH_DEMAND and d.tipo_leitura != Dispositivo.TipoLeitura.INSTANTANEA
    ]


def demand_of_month(context: Context) -> list[tuple[Dispositivo, Peak]] | None:
    """The month's greatest demand of one meter, out of blocks that are over and measured in full; none where it is not determined."""
    month = month_period(local_month(context.now, context.conta.zone), context.conta.zone)
    end = max(month.start, block_start(context.now))
    greatest = greatest_peak(context.conta, with_demand(context), month.start, end, context.now)
    return [greatest] if greatest else []


def demand_card(context: Context, peak_of: tuple[Dispositivo, Peak] | None, energy: BlockSum | None) -> Card:
    """The card of the month's peak demand: the value, the block, the meter; never a figure out of a block with a hole.

    How much of the month's ``energy`` was measured tells how far the peak can be relied upon.
    """
    measured = {"parte": percent(energy.coverage)} if energy and energy.coverage is not None else None
    common: dict[str, Any] = {
        "card_id": "demanda",
        "title": _("Demanda máxima"),
        "icon": "demanda",
        "qualidade": _("%(parte)s medido") % measured if measured else "",
    }
    if peak_of is None:
        return card(
            **common, linha=_("Não apurada"), detalhe=_("Nenhum intervalo de 15 min foi medido por inteiro.")
        )
    device, peak = peak_of
    unidade = formats.rate(device.unidade)
    return card(
        **common,
        valor=str(peak.demand),
        un=unidade,
        exibe=formats.value(peak.demand, unidade),
        linha=_block_text(peak.block, context),
        detalhe=context.names[device.pk] if len(with_demand(context)) > 1 else "",
        ate=iso(peak.block),
    )


def _block_text(block: datetime, context: Context) -> str:
    """``11/02, das 18:45 às 19:00``."""
    start, end = (t.astimezone(context.conta.zone) for t in (block, block + timedelta(minutes=15)))
    return _("%(dia)s, das %(inicio)s às %(fim)s") % {
        "dia": formats.day_month(start.date()),
        "inicio": f"{start:%H:%M}",
        "fim": f"{end:%H:%M}",
    }
