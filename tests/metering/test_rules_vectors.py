"""The product's rules give what the published examples expect."""

import json
from fractions import Fraction

import pytest

from tds_new.units import unit_factor
from tests.metering import by_rules
from tests.metering.vectors import answer, vectors
from tests.support.paths import ROOT

VECTORS = vectors()
UNITS = [
    vector
    for vector in json.loads((ROOT / "tests" / "metering" / "vectors.json").read_text(encoding="utf-8"))
    if "unidades" in vector
]

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", VECTORS)
def test_the_rules_give_what_the_vector_expects(name: str) -> None:
    meter, expected, period = VECTORS[name]
    found = answer(by_rules.figures(meter), period)
    nothing = {key for key, figure in found["consumo"].items() if figure == ["0", "MEDIDO"]}
    for key in nothing - expected["consumo"].keys():  # only a reading is in it
        del found["consumo"][key]
    assert found == expected


@pytest.mark.parametrize("vector", UNITS, ids=lambda vector: vector["id"])
def test_units_convert_as_the_vector_says(vector: dict[str, list[list[str]]]) -> None:
    factors = [unit_factor(sent, registered) for sent, registered in vector["unidades"]]
    assert factors == [None if text is None else Fraction(text) for text in vector["esperado"]]
