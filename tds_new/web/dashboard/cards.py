"""The cards: consumption of the month, peak demand, gateways, devices, last reading."""

from collections import Counter

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new import formats
from tds_new.models import Dispositivo
from tds_new.queries import fleet
from tds_new.queries.consumption import PeriodConsumption
from tds_new.queries.demand import Peak
from tds_new.web.dashboard.card import Card, card, iso
from tds_new.web.dashboard.consumption import (
    WITH_DEMAND,
    consumption_card,
    demand_card,
    pending_consumption_card,
    with_demand,
)
from tds_new.web.dashboard.context import Context

MAX_CONSUMPTION_CARDS = 5


def cards(
    context: Context,
    consumptions: list[PeriodConsumption] | None,
    greatest: list[tuple[Dispositivo, Peak]] | None,
) -> list[Card]:
    """All cards in their fixed order; those of ``consumptions`` and of the peak (``greatest``, at most one) only where they could be read."""
    energy = next((c.closed for c in consumptions or [] if (c.grandeza, c.unidade) == WITH_DEMAND), None)
    return [
        *(_consumptions(context, consumptions)[:MAX_CONSUMPTION_CARDS] if consumptions is not None else []),
        *(
            [demand_card(context, greatest[0] if greatest else None, energy)]
            if greatest is not None and with_demand(context)
            else []
        ),
        _gateways(context),
        _devices(context),
        _latest(context),
    ]


def _consumptions(context: Context, consumptions: list[PeriodConsumption]) -> list[Card]:
    """A card for each quantity that has figures, and for each that should have: a reading that came just now is computed in a moment."""
    found = {(c.grandeza, c.unidade): consumption_card(context, c) for c in consumptions}
    if not context.never_measured:
        for d in context.devices:
            key = d.grandeza, d.unidade
            if d.tipo_leitura != Dispositivo.TipoLeitura.INSTANTANEA and d.last_seen and key not in found:
                found[key] = pending_consumption_card(context, *key)
    order = list(Dispositivo.Grandeza.values)
    return [found[key] for key in sorted(found, key=lambda key: (order.index(key[0]), key[1]))]


def _gateways(context: Context) -> Card:
    gateways = context.gateways_in_view
    counts = Counter(fleet.gateway_state(g, context.now) for g in gateways)
    online, silent, new = (
        counts[s]
        for s in (fleet.GatewayState.ONLINE, fleet.GatewayState.OFFLINE, fleet.GatewayState.COMMISSIONING)
    )
    words = [
        *([_("%(n)d offline") % {"n": silent}] if silent else []),
        *([_("%(n)d em implantação") % {"n": new}] if new else []),
    ]
    state, word = (
        "critical" if silent else "info" if new else "ok",
        ", ".join(words) or _("Todos online"),
    )
    if not gateways:
        state, word = "neutral", _("Nenhum cadastrado")
    return card(
        "gateways",
        _("Gateways online"),
        "gateway",
        valor=online,
        exibe=formats.number(online, 0),
        un=_("de %(total)s") % {"total": formats.number(len(gateways), 0)},
        estado=state,
        palavra=word,
    )


def _devices(context: Context) -> Card:
    devices = context.devices
    with_data = sum(fleet.has_recent_data(d, context.now) for d in devices)
    silent = len(devices) - with_data
    if not devices:
        state, word = "neutral", _("Nenhum cadastrado")
    elif silent:
        state, word = (
            "warning",
            ngettext("%(n)d sem dados recentes", "%(n)d sem dados recentes", silent) % {"n": silent},
        )
    else:
        state, word = "ok", _("Todos com dados")
    return card(
        "dispositivos",
        _("Dispositivos"),
        "device",
        valor=with_data,
        exibe=formats.number(with_data, 0),
        un=_("de %(total)s") % {"total": formats.number(len(devices), 0)},
        estado=state,
        palavra=word,
    )


def _latest(context: Context) -> Card:
    seen = [(d.last_seen, d) for d in context.devices if d.last_seen]
    if not seen:
        return card("ultima", _("Última leitura"), "clock", linha=_("Nenhuma leitura ainda"))
    moment, device = max(seen, key=lambda pair: pair[0])
    return card(
        "ultima",
        _("Última leitura"),
        "clock",
        exibe=formats.age(moment, context.now, context.conta.zone),
        linha=formats.date_time(moment, context.conta.zone),
        detalhe=context.names[device.pk],
        instante=iso(moment),
    )
