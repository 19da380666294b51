"""Properties of the model for any history: nothing is lost between segments and blocks.

Seeds: METERING_SEED, METERING_CASES.
"""

import os
from dataclasses import replace
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest

from tests.metering.histories import apply, history
from tests.metering.model import QUARTER, Meter, compute, half_even, judge, split

pytestmark = pytest.mark.once

SEED = int(os.environ.get("METERING_SEED", "1"))
CASES = int(os.environ.get("METERING_CASES", "400"))
CLASSES = {
    "TROCA",
    "QUEDA",
    "VIRADA",
    "REINICIO",
    "SUSPEITA",
    "IMPLAUSIVEL",
    "EXCESSO",
    "INCOMUM",
    "RETORNO",
    "TRANSFERENCIA",
}


def test_blocks_hold_exactly_what_segments_and_increments_count() -> None:
    print(f"METERING_SEED={SEED} METERING_CASES={CASES}")
    seen: set[str] = set()
    for number in range(SEED, SEED + CASES):
        random = Random(number)
        steps = history(random)
        random.shuffle(steps)
        meter = apply(Meter(), steps)
        meter.dated.clear()  # one factor: what a segment counts is known without spreading it
        figures, chains = compute(meter), split(meter)
        factor = Fraction(meter.own.factor)
        expected = Decimal(0)
        for chain in chains:
            counted = judge(meter, chain, None).segments
            expected += sum((half_even(Fraction(segment.d) * factor) for segment in counted), Decimal(0))
        for occurrence in figures.occurrences.values():
            seen.add(occurrence.classe)
            if occurrence.classe == "TRANSFERENCIA":
                expected += half_even(Fraction(occurrence.consumo or 0) * factor)
        blocks = figures.blocks.values()
        assert sum((b.consumo for b in blocks if b.consumo is not None), Decimal(0)) == expected, number
        assert sum(b.leituras for b in blocks) == sum(len(chain) for chain in chains), number
        assert all(0 <= b.fracao_medida <= 1 for b in blocks), number
    assert CASES < 400 or seen == CLASSES


def test_what_is_settled_stays_as_it_is_whatever_comes_later() -> None:
    """No later reading changes a block before the border of any prefix of a history.

    But the first increment of a chain after another reaches back before its own reading.
    """
    compared = 0
    for number in range(SEED, SEED + CASES // 4):
        meter = apply(Meter(), history(Random(number)))
        if any(chain[0].tipo == "INCREMENTAL" for chain in split(meter)[1:]):
            continue
        whole, times = compute(meter).blocks, sorted(meter.readings)
        for last in Random(number).sample(range(len(times)), min(len(times), 4)):
            prefix = replace(meter, readings={time: meter.readings[time] for time in times[: last + 1]})
            blocks, _, (border, _) = compute(prefix)
            if border is not None:
                settled = {key: row for key, row in blocks.items() if key[0] + QUARTER <= border}
                later = {key: row for key, row in whole.items() if key[0] + QUARTER <= border}
                assert settled == later, number
                compared += len(settled)
    assert CASES < 400 or compared > 10_000
