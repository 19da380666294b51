"""Times in a Conta's zone, and register values with their unit, as people read and write them."""

import re
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.conf import settings
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.utils.formats import date_format, get_format, number_format
from django.utils.html import format_html
from django.utils.translation import get_language, ngettext
from django.utils.translation import gettext_lazy as _

NBSP = "\u00a0"
MINUS = "\u2212"
NOTHING = "\u2014"


def offset(em: datetime, zone: ZoneInfo) -> str:
    """``GMT-3``: how far ``zone`` is from UTC at ``em``."""
    minutes = int((em.astimezone(zone).utcoffset() or timedelta()).total_seconds() // 60)
    return f"GMT{'-' if minutes < 0 else '+'}{abs(minutes) // 60}" + (
        f":{abs(minutes) % 60:02d}" if minutes % 60 else ""
    )


def clock(em: datetime | None, zone: ZoneInfo) -> str:
    """``18/02/2026 12:47:10`` or ``Feb 18, 2026 12:47:10`` by the clock of ``zone``."""
    if em is None:
        return NOTHING
    local = em.astimezone(zone)
    day = date_format(local.date(), "M j, Y" if (get_language() or "").startswith("en") else "d/m/Y")
    return f"{day}{NBSP}{local:%H:%M:%S}"


def clock_here(em: datetime | None) -> str:
    """``18/02/2026 12:47:10`` by the platform's clock: in lists about the platform, not about a Conta."""
    return clock(em, ZoneInfo(settings.TIME_ZONE))


def clock_with_zone(em: datetime | None, zone: ZoneInfo) -> str:
    """``18/02/2026 12:47:10 (GMT-3)``."""
    return f"{clock(em, zone)} ({offset(em, zone)})" if em else NOTHING


def elapsed(time: timedelta) -> str:
    """``15 min``, ``1 h 30 min``, ``2 dias 3 h``: all that there is of it, without seconds from a day on."""
    hours, seconds = divmod(time.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    exact = Decimal(seconds) + Decimal(time.microseconds).scaleb(-6)
    parts = [
        (Decimal(time.days), ngettext("dia", "dias", time.days)),
        (Decimal(hours), "h"),
        (Decimal(minutes), "min"),
    ]
    parts += [] if time.days else [(exact, "s")]
    return " ".join(f"{number(amount)}{NBSP}{unit}" for amount, unit in parts if amount) or f"0{NBSP}s"


def number(value: Decimal | str | None) -> str:
    """Every digit but the zeros at the end, grouped, with a real minus sign."""
    if value is None:
        return NOTHING
    exact = f"{Decimal(value).normalize():f}"
    grouped = number_format(exact.removeprefix("-"), use_l10n=True, force_grouping=True)
    return (MINUS if exact.startswith("-") else "") + str(grouped)


def quantity(value: Decimal | str | None, unit: str) -> str:
    """``1.234,5 kWh`` with a space that does not break."""
    return NOTHING if value is None else f"{number(value)}{NBSP}{unit}"


def labelled(label: str, text: str) -> str:
    """A value that names itself where a list has no columns: on a phone."""
    return format_html('<span class="label">{}</span> {}', label, text)


class NumberField(forms.DecimalField):
    """A number as it is written in the page's language, thousands grouped or not.

    One that two languages read differently is refused, never guessed: in Portuguese ``12.345`` may be meant as 12345 or as 12,345.
    """

    def __init__(self, **kwargs: Any) -> None:
        """A text input, which accepts a comma in any browser."""
        kwargs["widget"] = AdminTextInputWidget(attrs={"inputmode": "decimal"})
        super().__init__(**kwargs)
        self.widget.attrs.pop("step", None)

    def to_python(self, value: Any) -> Any:
        """The Decimal, or None. Raises ValidationError where it is none, or may be read in two ways."""
        return super().to_python(self._plain(value) if isinstance(value, str) else value)

    def _plain(self, text: str) -> str:
        text = re.sub(r"\s", "", text).replace(MINUS, "-")
        mark = get_format("DECIMAL_SEPARATOR")
        other = "." if mark == "," else ","
        group = re.escape(other)
        if re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}{group}\d{{3}}", text):
            message = _(
                "Escreva %(plain)s ou %(decimal)s: assim não se sabe se %(other)s separa milhares ou decimais."
            )
            names = {"plain": text.replace(other, ""), "decimal": text.replace(other, mark), "other": other}
            raise ValidationError(message, params=names, code="ambiguous")
        if re.fullmatch(rf"[+-]?[1-9]\d{{0,2}}({group}\d{{3}})+({re.escape(mark)}\d+)?", text):
            text = text.replace(other, "")
        return text.replace(",", ".") if text.count(",") + text.count(".") == 1 else text

    def prepare_value(self, value: Any) -> Any:
        """A stored number as it is written, without zeros at the end; what somebody typed as they typed it."""
        if not isinstance(value, Decimal):
            return value
        return f"{value.normalize():f}".replace(".", get_format("DECIMAL_SEPARATOR"))
