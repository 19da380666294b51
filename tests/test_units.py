"""Units: spellings, exact factors, defaults of new devices."""

from decimal import Decimal
from fractions import Fraction

import pytest
from django.db import connection

from tds_new.units import (
    canonical_unit,
    default_dip_tolerance,
    default_hourly_maximum,
    total_unit,
    unit_factor,
)


@pytest.mark.parametrize(
    ("text", "spelling"),
    [
        (" KWH ", "kWh"),
        ("KWh", "kWh"),
        ("kW h", "kWh"),
        ("wh", "Wh"),
        ("mwh", "MWh"),
        ("l", "L"),
        ("Litro", "L"),
        ("litros", "L"),
        ("m3", "m³"),
        ("M^3", "m³"),
        ("m³", "m³"),
        ("PULSOS", "pulsos"),
        ("ºC", "°C"),
        ("mW", "mW"),
        ("MW", "MW"),
        ("m²", "m2"),
        ("", ""),
    ],
)
def test_a_unit_has_one_spelling(text: str, spelling: str) -> None:
    assert canonical_unit(text) == spelling
    assert canonical_unit(spelling) == spelling


@pytest.mark.parametrize(
    ("sent", "registered", "factor"),
    [
        (" KWH ", "kWh", 1),
        ("Wh", "kWh", Fraction(1, 1000)),
        ("MWh", "kWh", 1000),
        ("MWh", "Wh", 1_000_000),
        ("L", "m³", Fraction(1, 1000)),
        ("m^3", "m³", 1),
        ("m3", "L", 1000),
        ("kWh", "m³", None),
        ("pulsos", "kWh", None),
        ("Pulsos", "pulsos", 1),
        ("kvarh", "kWh", None),
        ("kvarh", " kvarh", 1),
        ("kW", "kWh", None),
    ],
)
def test_a_factor_is_exact_and_within_a_group(sent: str, registered: str, factor: Fraction | None) -> None:
    assert unit_factor(sent, registered) == factor


COLUMNS = ("quantity", "unit", "consumption", "factor", "maximum", "tolerance")
DEFAULTS = [
    ("ENERGIA", "kWh", "", 1, 1000, Fraction(1, 10)),
    ("ENERGIA", "wh", "", 1, 1_000_000, 100),
    ("ENERGIA", "MWh", "", 1, 1, Fraction(1, 10_000)),
    ("ENERGIA", "kWh", "", 60, 1000, Fraction(1, 10)),
    ("AGUA", "m³", "", 1, 100, Fraction(1, 100)),
    ("AGUA", "L", "", 1, 100_000, 10),
    ("GAS", "m3", "", 1, 1000, Fraction(1, 100)),
    ("ENERGIA", "pulsos", "kWh", Fraction(1, 1000), 1_000_000, 100),
    ("AGUA", "pulsos", "m³", Fraction(1, 100), 10_000, 1),
    ("AGUA", "pulsos", "L", 10, 10_000, 1),
    ("ENERGIA", "pulsos", "", 1, None, 0),
    ("ENERGIA", "kvarh", "", 1, None, 0),
    ("TEMPERATURA", "°C", "", 1, None, 0),
    ("OUTRA", "kWh", "", 1, None, 0),
]


@pytest.mark.parametrize(COLUMNS, DEFAULTS)
def test_defaults_are_in_the_registers_unit(
    quantity: str,
    unit: str,
    consumption: str,
    factor: Fraction,
    maximum: Fraction | None,
    tolerance: Fraction,
) -> None:
    arguments = (quantity, unit, consumption, Fraction(factor))
    assert default_hourly_maximum(*arguments) == maximum
    assert default_dip_tolerance(*arguments) == tolerance


@pytest.mark.parametrize(("unit", "total"), [("Wh", "kWh"), ("MWH", "kWh"), ("L", "m³"), ("kvarh", "kvarh")])
def test_totals_are_in_one_unit_a_group(unit: str, total: str) -> None:
    assert total_unit(unit) == total


@pytest.mark.django_db
@pytest.mark.once
@pytest.mark.parametrize(COLUMNS, DEFAULTS)
def test_the_database_has_the_same_defaults(
    quantity: str,
    unit: str,
    consumption: str,
    factor: Fraction,
    maximum: Fraction | None,
    tolerance: Fraction,
) -> None:
    scale = Decimal(factor.numerator) / factor.denominator
    with connection.cursor() as cursor:
        cursor.execute("SELECT * FROM tds_new_padroes(%s, %s, %s, %s)", [quantity, unit, consumption, scale])
        assert cursor.fetchone() == (maximum, tolerance)
