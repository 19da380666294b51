"""A dashboard's filter, read from its address; invalid parts are ignored."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from enum import Enum, auto
from typing import NamedTuple

from django.http import QueryDict

from tds_new.models import Conta, Dispositivo
from tds_new.queries.window import LONGEST_WINDOW, Window

# The usual windows, by the value of the parameter ``periodo``; with "datas" somebody chose days.
PRESETS = {"24h": timedelta(hours=24), "7d": timedelta(days=7), "30d": timedelta(days=30)}
DATES = "datas"
DEFAULT = "24h"
MAX_SERIES = 8


class Problem(Enum):
    """The reason for which a part of an address was ignored."""

    UNKNOWN_DEVICES = auto()
    UNKNOWN_PRESET = auto()
    DATES_MISSING = auto()
    DATES_REVERSED = auto()
    DATES_IN_FUTURE = auto()
    DATES_OUT_OF_RANGE = auto()
    DATES_TOO_FAR_APART = auto()


class Notice(NamedTuple):
    """A problem, and the requested first day if it matters."""

    problem: Problem
    first_day: date | None = None


@dataclass(slots=True)
class Filter:
    """A dashboard's window and devices; ``notices`` name the parts that were ignored.

    ``selected`` is empty if no device was chosen. ``first_day`` and ``last_day``, both included, are set if
    days were chosen (``preset`` is "datas" then).
    """

    preset: str
    window: Window
    selected: list[Dispositivo]
    first_day: date | None = None
    last_day: date | None = None
    notices: list[Notice] = field(default_factory=list)

    @property
    def active_count(self) -> int:
        """Return how many filters are in use, besides the usual windows."""
        return bool(self.first_day) + bool(self.selected)


def parse(query: QueryDict, conta: Conta, devices: Sequence[Dispositivo], now: datetime) -> Filter:
    """Return the filter that ``query`` describes, over the Conta's own ``devices``.

    Days are those of the Conta's zone, and ``now`` is the end of the usual windows.
    """
    notices: list[Notice] = []
    selected = _devices(query, devices, notices)
    preset = query.get("periodo") or (DATES if query.get("de") or query.get("ate") else DEFAULT)
    if preset == DATES:
        first_day, last_day = _date(query.get("de", "")), _date(query.get("ate", ""))
        problem = _dates_problem(first_day, last_day, now.astimezone(conta.zone).date())
        if problem is None and first_day and last_day:
            window = Window.between(first_day, last_day, conta.zone)
            return Filter(DATES, window, selected, first_day, last_day, notices)
        notices.append(Notice(problem or Problem.DATES_MISSING, first_day))
        preset = DEFAULT
    elif preset not in PRESETS:
        notices.append(Notice(Problem.UNKNOWN_PRESET))
        preset = DEFAULT
    return Filter(preset, Window.last(PRESETS[preset], now, conta.zone), selected, notices=notices)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _dates_problem(first_day: date | None, last_day: date | None, today: date) -> Problem | None:
    """Return why these days cannot be shown, or None."""
    if first_day is None or last_day is None:
        return Problem.DATES_MISSING
    if last_day < first_day:
        return Problem.DATES_REVERSED
    if first_day > today:
        return Problem.DATES_IN_FUTURE
    if first_day.year < 1970 or last_day.year > today.year + 1:
        return Problem.DATES_OUT_OF_RANGE
    if last_day - first_day >= LONGEST_WINDOW:
        return Problem.DATES_TOO_FAR_APART
    return None


def _devices(query: QueryDict, devices: Sequence[Dispositivo], notices: list[Notice]) -> list[Dispositivo]:
    """Return the devices of ``disp=1&disp=2`` or ``disp=1,2``, in the Conta's order."""
    asked = {part.strip() for value in query.getlist("disp") for part in value.split(",") if part.strip()}
    selected = [d for d in devices if str(d.pk) in asked]
    if len(selected) < len(asked):
        notices.append(Notice(Problem.UNKNOWN_DEVICES))
    return selected
