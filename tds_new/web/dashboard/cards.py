"""The cards: consumption, peak demand, gateways, devices, last reading."""

from collections import Counter

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from tds_new import formats
from tds_new.queries import fleet
from tds_new.queries.fleet import GatewayState
from tds_new.web.dashboard.consumption_cards import consumption_cards, demand_cards
from tds_new.web.dashboard.payload import Card
from tds_new.web.dashboard.read import Facts
from tds_new.web.dashboard.scope import Scope
from tds_new.web.dashboard.words import blank_card, iso


def cards(facts: Facts) -> list[Card]:
    """Return all cards in their fixed order."""
    scope = facts.scope
    return [
        *consumption_cards(facts),
        *demand_cards(facts),
        _gateways(scope),
        _devices(scope),
        _last_reading(scope),
    ]


def _gateways(scope: Scope) -> Card:
    gateways = scope.gateways_in_view
    counts = Counter(fleet.gateway_state(g, scope.now) for g in gateways)
    online, offline, new = (
        counts[state] for state in (GatewayState.ONLINE, GatewayState.OFFLINE, GatewayState.COMMISSIONING)
    )
    words = [
        *([_("%(n)d offline") % {"n": offline}] if offline else []),
        *([_("%(n)d em implantação") % {"n": new}] if new else []),
    ]
    state, word = "critical" if offline else "info" if new else "ok", ", ".join(words) or _("Todos online")
    if not gateways:
        state, word = "neutral", _("Nenhum cadastrado")
    return _count_card("gateways", _("Gateways online"), "gateway", online, len(gateways)) | {
        "state": state,
        "word": word,
    }


def _devices(scope: Scope) -> Card:
    devices = scope.devices
    with_data = sum(fleet.has_recent_data(d, scope.now) for d in devices)
    without = len(devices) - with_data
    if not devices:
        state, word = "neutral", _("Nenhum cadastrado")
    elif without:
        text = ngettext("%(n)d sem dados recentes", "%(n)d sem dados recentes", without)
        state, word = "warning", text % {"n": without}
    else:
        state, word = "ok", _("Todos com dados")
    return _count_card("devices", _("Dispositivos"), "device", with_data, len(devices)) | {
        "state": state,
        "word": word,
    }


def _count_card(card_id: str, title: str, icon: str, count: int, total: int) -> Card:
    """Return a card that shows how many of a ``total`` something holds for."""
    return blank_card(card_id, title, icon) | {
        "value": count,
        "shown": formats.number(count, 0),
        "unit": _("de %(total)s") % {"total": formats.number(total, 0)},
    }


def _last_reading(scope: Scope) -> Card:
    blank = blank_card("latest", _("Última leitura"), "clock")
    seen = [(d.last_seen, d) for d in scope.devices if d.last_seen]
    if not seen:
        return blank | {"line": _("Nenhuma leitura ainda")}
    moment, device = max(seen, key=lambda pair: pair[0])
    return blank | {
        "shown": formats.age(moment, scope.now, scope.conta.zone),
        "line": formats.date_time(moment, scope.conta.zone),
        "detail": scope.names[device.pk],
        "instant": iso(moment),
    }
