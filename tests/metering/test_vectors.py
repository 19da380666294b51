"""The model gives what the published examples expect."""

import pytest

from tests.metering.model import compute
from tests.metering.vectors import answer, vectors

VECTORS = vectors()

pytestmark = pytest.mark.once


@pytest.mark.parametrize("name", VECTORS)
def test_the_model_gives_what_the_vector_expects(name: str) -> None:
    meter, expected, period = VECTORS[name]
    found = answer(compute(meter), period)
    nothing = {key for key, figure in found["consumo"].items() if figure == ["0", "MEDIDO"]}
    for key in nothing - expected["consumo"].keys():  # only a reading is in it
        del found["consumo"][key]
    assert found == expected
