"""Units of registers and of consumption: spelling, conversion, defaults.

It is pure. A unit outside the lists below is kept as it is: it equals only itself.
"""

import unicodedata
from fractions import Fraction
from functools import lru_cache

# Each group's units with what one of them is in the group's first unit, the one that totals are kept in.
ENERGY = {"kWh": Fraction(1), "Wh": Fraction(1, 1000), "MWh": Fraction(1000)}
VOLUME = {"m³": Fraction(1), "L": Fraction(1, 1000)}
GROUPS = (ENERGY, VOLUME)
ONE = Fraction(1)
PULSES = "pulsos"
# The spelling of a unit by all that people write for it, in small letters, without blanks, and after NFKC.
_SPELLINGS = {
    "wh": "Wh",
    "kwh": "kWh",
    "mwh": "MWh",
    "l": "L",
    "litro": "L",
    "litros": "L",
    "m3": "m³",
    "m^3": "m³",
    PULSES: PULSES,
}

# By quantity: a unit, the largest plausible consumption per hour, and the fall that means nothing, in it.
DEFAULTS = {
    "ENERGIA": ("kWh", Fraction(1000), Fraction(1, 10)),
    "AGUA": ("m³", Fraction(100), Fraction(1, 100)),
    "GAS": ("m³", Fraction(1000), Fraction(1, 100)),
}


_FACTORS = {(one, other): units[one] / units[other] for units in GROUPS for one in units for other in units}
LONGEST_TEXT = 40  # no unit is longer; a gateway may send more, which is not remembered


def canonical_unit(text: str) -> str:
    """Return the one spelling of a unit.

    Blanks do not matter, nor does case where the unit is one of ours. Of others superscripts, and the degree
    sign and the ordinal indicator of Brazilian keyboards, are the same; case matters: mW is not MW.
    """
    return _spelling(text) if len(text) <= LONGEST_TEXT else text.strip()


@lru_cache(maxsize=1024)
def _spelling(text: str) -> str:
    plain = unicodedata.normalize("NFKC", text.strip().replace("\u00ba", "\u00b0"))
    return _SPELLINGS.get("".join(plain.split()).lower(), plain)


def unit_factor(sent: str, registered: str) -> Fraction | None:
    """Return what a value in ``sent`` is multiplied by to be in ``registered``.

    Exact; None if one cannot be converted into the other.
    """
    one, other = canonical_unit(sent), canonical_unit(registered)
    return ONE if one == other else _FACTORS.get((one, other))


def largest_unit(unit: str) -> tuple[str, Fraction]:
    """Return the largest unit of a unit's kind, and the factor to be in it."""
    spelling = canonical_unit(unit)
    for units in GROUPS:
        if spelling in units:
            largest = max(units, key=units.__getitem__)
            return largest, units[spelling] / units[largest]
    return unit, ONE


def total_unit(unit: str) -> str:
    """Return the unit of totals over devices: kWh, m³, or ``unit`` itself."""
    spelling = canonical_unit(unit)
    return next((next(iter(units)) for units in GROUPS if spelling in units), spelling)


def default_hourly_maximum(
    quantity: str, unit: str, consumption_unit: str = "", factor: Fraction = ONE
) -> Fraction | None:
    """Return a new device's largest plausible consumption per hour.

    In the register's unit, before the factor; None where there is no default. ``quantity`` is the
    ``grandeza``, ``unit`` the register's and ``consumption_unit`` the consumption's (empty: the register's),
    ``factor`` the conversion factor.
    """
    return _default(quantity, unit, consumption_unit, factor)[0]


def default_dip_tolerance(
    quantity: str, unit: str, consumption_unit: str = "", factor: Fraction = ONE
) -> Fraction:
    """Return the fall of a new device's register that means nothing.

    Unit and arguments are those of the hourly maximum; 0 where there is no default.
    """
    return _default(quantity, unit, consumption_unit, factor)[1]


def _default(
    quantity: str, unit: str, consumption_unit: str, factor: Fraction
) -> tuple[Fraction | None, Fraction]:
    if quantity not in DEFAULTS:
        return None, Fraction(0)
    base, maximum, tolerance = DEFAULTS[quantity]
    if (scale := unit_factor(base, unit)) is not None:
        return maximum * scale, tolerance * scale
    if consumption_unit and (scale := unit_factor(base, consumption_unit)) is not None:  # pulses
        return maximum * scale / factor, tolerance * scale / factor
    return None, Fraction(0)
