"""Numbers, dates and ages as people read them, in Portuguese and English.

The browser has the same rules in ``static/tds_new/js/fmt.js``; ``tests/format_vectors.json`` holds both to the same answers.
"""

from datetime import date, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

from django.utils.translation import get_language

NBSP = "\u00a0"
MENOS = "\u2212"
FALTA = "\u2014"

MESES = {
    "pt": ("jan", "fev", "mar", "abr", "mai", "jun", "jul", "ago", "set", "out", "nov", "dez"),
    "en": ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"),
}
FUSOS = {
    "America/Sao_Paulo": "Brasília",
    "America/Noronha": "Fernando de Noronha",
    "America/Cuiaba": "Cuiabá",
    "America/Belem": "Belém",
}
# Decimals by size: ((from this absolute value on, decimals), ...).
CONSUMO = ((1000, 0), (100, 1), (0, 2))
CASAS: dict[str, tuple[tuple[int, int], ...]] = {
    "kW": ((100, 0), (0, 1)),
    "°C": ((0, 1),),
    "%": ((10, 0), (0, 1)),
    "R$": ((0, 2),),
    "L/h": ((0, 0),),
}
# The rate at which a unit is consumed, per hour.
TAXAS = {"Wh": "W", "kWh": "kW", "MWh": "MW", "kvarh": "kvar", "kVAh": "kVA"}
# From this consumption on a whole block is shown in the larger unit.
MAIORES = {"kWh": (Decimal(100_000), "MWh", Decimal(1000)), "Wh": (Decimal(100_000), "kWh", Decimal(1000))}

Numero = Decimal | float | int


def idioma() -> str:
    """``pt`` or ``en``, the language of this request."""
    return "en" if (get_language() or "").startswith("en") else "pt"


def taxa(unidade: str) -> str:
    """The unit of a mean rate per hour: kWh gives kW, m³ gives m³/h."""
    return TAXAS.get(unidade, f"{unidade}/h")


def escala(unidade: str, maximo: Numero) -> tuple[str, Decimal]:
    """The unit in which a block of consumption is shown, and the divisor, from the block's greatest value."""
    if unidade in MAIORES:
        limite, maior, divisor = MAIORES[unidade]
        if abs(Decimal(maximo)) >= limite:
            return maior, divisor
    return unidade, Decimal(1)


def casas(valor: Numero, unidade: str) -> int:
    """Decimals for ``valor`` in ``unidade``; none for a true zero."""
    if valor == 0:
        return 0
    return next(n for limite, n in CASAS.get(unidade, CONSUMO) if abs(Decimal(valor)) >= limite)


def _separado(texto: str) -> str:
    return texto if idioma() == "en" else texto.translate(str.maketrans(",.", ".,"))


def numero(valor: Numero | None, decimais: int) -> str:
    """``-1234.5`` as ``−1.234,50``: rounded half up on the exact value, a real minus sign, never a negative zero."""
    if valor is None:
        return FALTA
    arredondado = Decimal(valor).quantize(Decimal(1).scaleb(-decimais), ROUND_HALF_UP)
    return (MENOS if arredondado < 0 else "") + _separado(f"{abs(arredondado):,f}")


def valor(quantia: Numero | None, unidade: str) -> str:
    """The number as its unit asks for, without the unit."""
    return numero(quantia, casas(quantia, unidade)) if quantia is not None else FALTA


def com_unidade(quantia: Numero | None, unidade: str) -> str:
    """``48.210 kWh`` with a space that does not break."""
    return f"{valor(quantia, unidade)}{NBSP}{unidade}" if quantia is not None else FALTA


def registrador(quantia: Decimal) -> str:
    """Every digit that the meter sent; the stored zeros at the end are not its own."""
    exato = quantia.normalize()
    expoente = exato.as_tuple().exponent
    return numero(quantia, max(0, -expoente) if isinstance(expoente, int) else 0)


def data(dia: date) -> str:
    """``18/02/2026`` or ``Feb 18, 2026``."""
    return f"{MESES['en'][dia.month - 1]} {dia.day}, {dia.year}" if idioma() == "en" else f"{dia:%d/%m/%Y}"


def dia_mes(dia: date) -> str:
    """``18/02`` or ``Feb 18``."""
    return f"{MESES['en'][dia.month - 1]} {dia.day}" if idioma() == "en" else f"{dia:%d/%m}"


def dias(de: date, ate: date) -> str:
    """``1 a 18/02`` or ``Feb 1 to 18``; ``28/01 a 03/02`` across months; a single day as itself."""
    if de == ate:
        return dia_mes(ate)
    if (de.year, de.month) != (ate.year, ate.month):
        return f"{dia_mes(de)} to {dia_mes(ate)}" if idioma() == "en" else f"{dia_mes(de)} a {dia_mes(ate)}"
    return f"{dia_mes(de)} to {ate.day}" if idioma() == "en" else f"{de.day} a {dia_mes(ate)}"


def data_hora(instante: datetime, zone: ZoneInfo) -> str:
    """``18/02/2026 12:47`` by the clock of ``zone``."""
    local = instante.astimezone(zone)
    return f"{data(local.date())} {local:%H:%M}"


def fuso(instante: datetime, zone: ZoneInfo) -> str:
    """``Brasília (GMT-3)``: what people call the zone, and its offset at ``instante``."""
    minutos = int((instante.astimezone(zone).utcoffset() or timedelta()).total_seconds() // 60)
    horas = f"{abs(minutos) // 60}" + (f":{abs(minutos) % 60:02d}" if minutos % 60 else "")
    return f"{FUSOS.get(zone.key) or zone.key.rsplit('/', 1)[-1].replace('_', ' ')} (GMT{'-' if minutos < 0 else '+'}{horas})"


def mes_ano(mes: date) -> str:
    """``fev/26`` or ``Feb 2026``: beside days such as ``Feb 26`` two digits would be taken for one."""
    nome = MESES[idioma()][mes.month - 1]
    return f"{nome} {mes.year}" if idioma() == "en" else f"{nome}/{mes:%y}"


def duracao(tempo: timedelta) -> str:
    """``42 s``, ``35 min``, ``4 h 10 min``, ``3 dias 2 h``."""
    segundos = max(0, int(tempo.total_seconds()))
    minutos, horas, dias = segundos // 60 % 60, segundos // 3600 % 24, segundos // 86_400
    if segundos < 60:
        return f"{segundos}{NBSP}s"
    if segundos < 3600:
        return f"{minutos}{NBSP}min"
    if not dias:
        return f"{horas}{NBSP}h" + (f" {minutos}{NBSP}min" if minutos else "")
    return _dias(dias) + (f" {horas}{NBSP}h" if horas else "")


def _dias(dias: int) -> str:
    palavra = {"pt": ("dia", "dias"), "en": ("day", "days")}[idioma()]
    return f"{dias}{NBSP}{palavra[dias != 1]}"


def idade(instante: datetime, agora: datetime, zone: ZoneInfo) -> str:
    """``há 12 s``, ``há 3 min``, ``há 2 h``, ``há 3 dias``, and from a week on the date."""
    segundos = max(0, int((agora - instante).total_seconds()))
    if segundos >= 7 * 86_400:
        return data(instante.astimezone(zone).date())
    if segundos < 60:
        quanto = f"{segundos}{NBSP}s"
    elif segundos < 3600:
        quanto = f"{segundos // 60}{NBSP}min"
    elif segundos < 86_400:
        quanto = f"{segundos // 3600}{NBSP}h"
    else:
        quanto = _dias(segundos // 86_400)
    return f"{quanto} ago" if idioma() == "en" else f"há {quanto}"
