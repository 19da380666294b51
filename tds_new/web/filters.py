"""What a dashboard's address asks for. Nonsense is ignored, and said."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

from django.http import QueryDict
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from tds_new import formats
from tds_new.models import Conta, Dispositivo
from tds_new.queries.window import LONGEST_WINDOW, Window

PRESETS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
LABELS = {"24h": gettext_lazy("24 horas"), "7d": gettext_lazy("7 dias"), "30d": gettext_lazy("30 dias")}
DEFAULT = "24h"
MAX_SERIES = 8


@dataclass(slots=True)
class Filter:
    """A dashboard's period and devices, as understood; ``notices`` say what was not."""

    preset: str
    window: Window
    selected: list[Dispositivo]
    first_day: date | None = None
    last_day: date | None = None
    notices: list[str] = field(default_factory=list)

    @property
    def title(self) -> str:
        """The period in words, both ends named."""
        start, end, zone = self.window.start, self.window.end, self.window.zone
        if self.first_day and self.last_day:
            return (
                formats.date_text(self.first_day)
                if self.first_day == self.last_day
                else f"{formats.date_text(self.first_day)} – {formats.date_text(self.last_day)}"
            )
        return f"{formats.date_time(start, zone)} – {formats.date_time(end, zone)}"

    @property
    def active_count(self) -> int:
        """How many filters beside the usual periods are in use."""
        return bool(self.first_day) + bool(self.selected)


def preset_links(filter_: Filter) -> list[dict[str, Any]]:
    """The links to the usual periods; the devices selected stay."""
    disp = {"disp": ",".join(str(d.pk) for d in filter_.selected)} if filter_.selected else {}
    return [
        {
            "query": urlencode({"periodo": key, **disp}, safe=","),
            "label": label,
            "current": key == filter_.preset,
        }
        for key, label in LABELS.items()
    ]


def parse(parameters: QueryDict, conta: Conta, devices: Sequence[Dispositivo], now: datetime) -> Filter:
    """The filter that ``parameters`` describe, over the Conta's own ``devices``."""
    notices: list[str] = []
    selected = _devices(parameters, devices, notices)
    first_day, last_day = _date(parameters.get("de", "")), _date(parameters.get("ate", ""))
    preset = parameters.get("periodo") or (
        "datas" if parameters.get("de") or parameters.get("ate") else DEFAULT
    )
    if preset == "datas":
        problem = _dates_problem(first_day, last_day, now.astimezone(conta.zone).date())
        if problem is None and first_day and last_day:
            return Filter(
                "datas",
                Window.between(first_day, last_day, conta.zone),
                selected,
                first_day,
                last_day,
                notices,
            )
        notices.append(_("%(problema)s Mostramos as últimas 24 horas.") % {"problema": problem})
        preset = DEFAULT
    elif preset not in PRESETS:
        notices.append(_("Não conhecemos esse período. Mostramos as últimas 24 horas."))
        preset = DEFAULT
    return Filter(preset, Window.last(PRESETS[preset], now, conta.zone), selected, notices=notices)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _dates_problem(first_day: date | None, last_day: date | None, today: date) -> str | None:
    if first_day is None or last_day is None:
        return _("Informe as duas datas, no formato dd/mm/aaaa.")
    if last_day < first_day:
        return _("A data final deve ser igual ou posterior a %(de)s.") % {"de": formats.date_text(first_day)}
    if first_day > today:
        return _("A data inicial deve ser hoje ou antes.")
    if first_day.year < 1970 or last_day.year > today.year + 1:
        return _("As datas estão fora do que guardamos.")
    if last_day - first_day >= LONGEST_WINDOW:
        return _("O período pode ter até 13 meses.")
    return None


def _devices(parameters: QueryDict, devices: Sequence[Dispositivo], notices: list[str]) -> list[Dispositivo]:
    """``disp=12&disp=15`` or ``disp=12,15``, in the Conta's order."""
    asked = {
        part.strip() for value in parameters.getlist("disp") for part in value.split(",") if part.strip()
    }
    selected = [d for d in devices if str(d.pk) in asked]
    if len(selected) < len(asked):
        notices.append(_("Ignoramos no filtro dispositivos que esta conta não tem."))
    return selected
