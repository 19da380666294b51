"""Numbers, dates and ages as people read them, in Portuguese and English.

The browser has the same rules in ``static/tds_new/js/formats.js``; ``tests/web/format_vectors.json`` holds
both to the same answers.
"""

from datetime import date, datetime, timedelta, tzinfo
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from django.utils.translation import get_language

NBSP = "\u00a0"
MINUS = "\u2212"
MISSING = "\u2014"

MONTHS = {
    "pt": ("jan", "fev", "mar", "abr", "mai", "jun", "jul", "ago", "set", "out", "nov", "dez"),
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
}
ZONE_NAMES = {
    "America/Sao_Paulo": "Brasília",
    "America/Noronha": "Fernando de Noronha",
    "America/Cuiaba": "Cuiabá",
    "America/Belem": "Belém",
}
# Decimals by size and unit, as pairs: the absolute value from which on it holds, and the decimals.
CONSUMPTION = ((1000, 0), (100, 1), (0, 2))
DECIMALS: dict[str, tuple[tuple[int, int], ...]] = {
    "kW": ((100, 0), (0, 1)),
    "°C": ((0, 1),),
    "%": ((10, 0), (0, 1)),
    "R$": ((0, 2),),
    "L/h": ((0, 0),),
}
# The unit of a rate per hour, by the unit that is consumed.
RATES = {"Wh": "W", "kWh": "kW", "MWh": "MW", "kvarh": "kvar", "kVAh": "kVA"}
# From which value on a card or a chart is shown in the larger unit, that unit, and the divisor.
LARGER = {"kWh": (Decimal(100_000), "MWh", Decimal(1000)), "Wh": (Decimal(100_000), "kWh", Decimal(1000))}

Number = Decimal | float | int


def language() -> str:
    """Return the language of this request, ``pt`` or ``en``."""
    return "en" if (get_language() or "").startswith("en") else "pt"


def rate(unidade: str) -> str:
    """Return the unit of a mean rate per hour: kWh gives kW, m³ gives m³/h."""
    return RATES.get(unidade, f"{unidade}/h")


def scale(unidade: str, largest: Number) -> tuple[str, Decimal]:
    """Return the unit in which a card or a chart is shown, and the divisor.

    They follow from its ``largest`` value, so that all its values have one unit.
    """
    if unidade in LARGER:
        limit, larger, divisor = LARGER[unidade]
        if abs(Decimal(largest)) >= limit:
            return larger, divisor
    return unidade, Decimal(1)


def decimals(value: Number, unidade: str) -> int:
    """Return how many decimals ``value`` has in ``unidade``; none for exactly zero."""
    if value == 0:
        return 0
    return next(n for limit, n in DECIMALS.get(unidade, CONSUMPTION) if abs(Decimal(value)) >= limit)


def _separated(text: str) -> str:
    return text if language() == "en" else text.translate(str.maketrans(",.", ".,"))


def number(value: Number | None, places: int) -> str:
    """Return ``-1234.5`` with 2 ``places`` as ``−1.234,50``.

    The exact value is rounded half up; the sign is a real minus, and zero has none.
    """
    if value is None:
        return MISSING
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-places), ROUND_HALF_UP)
    return (MINUS if rounded < 0 else "") + _separated(f"{abs(rounded):,f}")


def value(amount: Number | None, unidade: str) -> str:
    """Return the number with the decimals of its unit, without the unit."""
    return number(amount, decimals(amount, unidade)) if amount is not None else MISSING


def with_unit(amount: Number | None, unidade: str) -> str:
    """Return ``48.210 kWh`` with a space that does not break."""
    return f"{value(amount, unidade)}{NBSP}{unidade}" if amount is not None else MISSING


def register(amount: Decimal | None) -> str:
    """Return every digit that the meter sent, without the zeros that storing added."""
    if amount is None:
        return MISSING
    exponent = amount.normalize().as_tuple().exponent
    return number(amount, max(0, -exponent) if isinstance(exponent, int) else 0)


def register_with_unit(amount: Decimal | None, unidade: str) -> str:
    """Return ``1.234,5 kWh``, as :func:`register`, with a space that does not break."""
    return MISSING if amount is None else f"{register(amount)}{NBSP}{unidade}"


def date_text(day: date) -> str:
    """Return ``18/02/2026`` or ``Feb 18, 2026``."""
    return f"{MONTHS['en'][day.month - 1]} {day.day}, {day.year}" if language() == "en" else f"{day:%d/%m/%Y}"


def day_month(day: date) -> str:
    """Return ``18/02`` or ``Feb 18``."""
    return f"{MONTHS['en'][day.month - 1]} {day.day}" if language() == "en" else f"{day:%d/%m}"


def day_range(first_day: date, last_day: date) -> str:
    """Return ``1 a 18/02`` or ``Feb 1 to 18``.

    Across months it is ``28/01 a 03/02``; a single day stands alone.
    """
    if first_day == last_day:
        return day_month(last_day)
    if (first_day.year, first_day.month) != (last_day.year, last_day.month):
        return (
            f"{day_month(first_day)} to {day_month(last_day)}"
            if language() == "en"
            else f"{day_month(first_day)} a {day_month(last_day)}"
        )
    return (
        f"{day_month(first_day)} to {last_day.day}"
        if language() == "en"
        else f"{first_day.day} a {day_month(last_day)}"
    )


def date_time(moment: datetime, zone: tzinfo) -> str:
    """Return ``18/02/2026 12:47`` by the clock of ``zone``."""
    local = moment.astimezone(zone)
    return f"{date_text(local.date())} {local:%H:%M}"


def clock(moment: datetime | None, zone: ZoneInfo) -> str:
    """Return ``18/02/2026 12:47:10`` by the clock of ``zone``."""
    if moment is None:
        return MISSING
    local = moment.astimezone(zone)
    return f"{date_text(local.date())}{NBSP}{local:%H:%M:%S}"


def clock_with_zone(moment: datetime | None, zone: ZoneInfo) -> str:
    """Return ``18/02/2026 12:47:10 (GMT-3)``."""
    return f"{clock(moment, zone)} ({offset(moment, zone)})" if moment else MISSING


def offset(moment: datetime, zone: ZoneInfo) -> str:
    """Return ``GMT-3``: how far ``zone`` is from UTC at ``moment``."""
    minutes = int((moment.astimezone(zone).utcoffset() or timedelta()).total_seconds() // 60)
    hours = f"{abs(minutes) // 60}" + (f":{abs(minutes) % 60:02d}" if minutes % 60 else "")
    return f"GMT{'-' if minutes < 0 else '+'}{hours}"


def zone_label(moment: datetime, zone: ZoneInfo) -> str:
    """Return ``Brasília (GMT-3)``: a zone's usual name, and its offset at ``moment``."""
    name = ZONE_NAMES.get(zone.key) or zone.key.rsplit("/", 1)[-1].replace("_", " ")
    return f"{name} ({offset(moment, zone)})"


def month_year(month: date) -> str:
    """Return ``fev/26`` or ``Feb 2026``.

    In English two digits would be taken for a day, as in ``Feb 26``.
    """
    name = MONTHS[language()][month.month - 1]
    return f"{name} {month.year}" if language() == "en" else f"{name}/{month:%y}"


def duration(elapsed: timedelta) -> str:
    """Return ``42 s``, ``35 min``, ``4 h 10 min`` or ``3 dias 2 h``."""
    seconds = max(0, int(elapsed.total_seconds()))
    minutes, hours, days = seconds // 60 % 60, seconds // 3600 % 24, seconds // 86_400
    if seconds < 60:
        return f"{seconds}{NBSP}s"
    if seconds < 3600:
        return f"{minutes}{NBSP}min"
    if not days:
        return f"{hours}{NBSP}h" + (f" {minutes}{NBSP}min" if minutes else "")
    return _days(days) + (f" {hours}{NBSP}h" if hours else "")


def exact_duration(elapsed: timedelta) -> str:
    """Return ``15 min``, ``1 h 30 min`` or ``2 dias 3 h``; no seconds from a day on."""
    hours, seconds = divmod(elapsed.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    exact = Decimal(seconds) + Decimal(elapsed.microseconds).scaleb(-6)
    parts = [
        (Decimal(elapsed.days), _day_word(elapsed.days)),
        (Decimal(hours), "h"),
        (Decimal(minutes), "min"),
    ]
    parts += [] if elapsed.days else [(exact, "s")]
    return " ".join(register_with_unit(amount, unit) for amount, unit in parts if amount) or f"0{NBSP}s"


def _days(days: int) -> str:
    return f"{days}{NBSP}{_day_word(days)}"


def _day_word(days: int) -> str:
    return {"pt": ("dia", "dias"), "en": ("day", "days")}[language()][days != 1]


def age(moment: datetime, now: datetime, zone: ZoneInfo) -> str:
    """Return ``há 12 s``, ``há 3 min`` or ``há 3 dias``; from a week on, the date."""
    seconds = max(0, int((now - moment).total_seconds()))
    if seconds >= 7 * 86_400:
        return date_text(moment.astimezone(zone).date())
    if seconds < 60:
        elapsed_text = f"{seconds}{NBSP}s"
    elif seconds < 3600:
        elapsed_text = f"{seconds // 60}{NBSP}min"
    elif seconds < 86_400:
        elapsed_text = f"{seconds // 3600}{NBSP}h"
    else:
        elapsed_text = _days(seconds // 86_400)
    return f"{elapsed_text} ago" if language() == "en" else f"há {elapsed_text}"
