"""The words of the page around the dashboard's blocks: window, filters, moment."""

from typing import TypedDict
from urllib.parse import urlencode

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new import formats
from tds_new.web.dashboard.scope import Scope
from tds_new.web.dashboard.words import milliseconds
from tds_new.web.filters import Filter, Notice, Problem

LABELS = {"24h": gettext_lazy("24 horas"), "7d": gettext_lazy("7 dias"), "30d": gettext_lazy("30 dias")}


class Link(TypedDict):
    """A link to one of the usual windows."""

    query: str
    label: str
    current: bool


class Option(TypedDict):
    """A device in the filter; ``gateway`` is empty if the name holds its code."""

    pk: int
    name: str
    gateway: str
    checked: bool


class Page(TypedDict):
    """The parts of the page besides the blocks."""

    filter: Filter
    notices: list[str]
    periods: list[Link]
    options: list[Option]
    today: str
    zone_name: str
    now_ms: int
    now_text: str


def page_words(scope: Scope) -> Page:
    """Return the words of the page around the blocks."""
    now, zone = scope.now, scope.conta.zone
    return {
        "filter": scope.filter,
        "notices": [notice_text(notice) for notice in scope.filter.notices],
        "periods": _links(scope.filter),
        "options": _options(scope),
        "today": now.astimezone(zone).date().isoformat(),
        "zone_name": formats.zone_label(now, zone),
        "now_ms": milliseconds(now),
        "now_text": formats.date_time(now, zone),
    }


def notice_text(notice: Notice) -> str:
    """Say which part of the request is not shown."""
    if notice.problem is Problem.UNKNOWN_DEVICES:
        return _("Ignoramos no filtro dispositivos que esta conta não tem.")
    if notice.problem is Problem.UNKNOWN_PRESET:
        return _("Não conhecemos esse período. Mostramos as últimas 24 horas.")
    return _("%(problema)s Mostramos as últimas 24 horas.") % {"problema": _dates_text(notice)}


def _dates_text(notice: Notice) -> str:
    """Say what is wrong with the requested days."""
    if notice.problem is Problem.DATES_REVERSED and notice.first_day:
        first_day = formats.date_text(notice.first_day)
        return _("A data final deve ser igual ou posterior a %(de)s.") % {"de": first_day}
    return {
        Problem.DATES_IN_FUTURE: _("A data inicial deve ser hoje ou antes."),
        Problem.DATES_OUT_OF_RANGE: _("As datas estão fora do que guardamos."),
        Problem.DATES_TOO_FAR_APART: _("O período pode ter até 13 meses."),
    }.get(notice.problem, _("Informe as duas datas, no formato dd/mm/aaaa."))


def _links(filter_: Filter) -> list[Link]:
    """Return the links to the usual windows; the selected devices stay."""
    devices = {"disp": ",".join(str(d.pk) for d in filter_.selected)} if filter_.selected else {}
    return [
        {
            "query": urlencode({"periodo": preset, **devices}, safe=","),
            "label": str(label),
            "current": preset == filter_.preset,
        }
        for preset, label in LABELS.items()
    ]


def _options(scope: Scope) -> list[Option]:
    """Return the devices to choose from."""
    selected = {d.pk for d in scope.filter.selected}
    options: list[Option] = []
    for device in scope.all_devices:
        name = scope.names[device.pk]
        gateway = device.gateway.codigo if name == str(device) else ""
        options.append({"pk": device.pk, "name": name, "gateway": gateway, "checked": device.pk in selected})
    return options
