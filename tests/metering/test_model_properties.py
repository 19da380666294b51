"""Properties of the model for any history: nothing is lost between segments and blocks.

Seeds: METERING_SEED, METERING_CASES.
"""

import os
from decimal import Decimal
from fractions import Fraction
from random import Random

import pytest

from tests.metering.histories import apply, history
from tests.metering.model import Meter, compute, half_even, judge, split, worth

pytestmark = pytest.mark.once

SEED = int(os.environ.get("METERING_SEED", "1"))
CASES = int(os.environ.get("METERING_CASES", "300"))


def test_blocks_hold_exactly_what_segments_and_increments_count() -> None:
    print(f"METERING_SEED={SEED} METERING_CASES={CASES}")
    seen: set[str] = set()
    for number in range(SEED, SEED + CASES):
        random = Random(number)
        steps = history(random)
        random.shuffle(steps)
        meter = apply(Meter(), steps)
        meter.dated.clear()  # one factor: each segment is rounded once, so the total is known without cutting
        chains = split(meter)
        expected = sum(
            (worth(meter, r) for chain in chains for r in chain if r.tipo == "INCREMENTAL"), Decimal(0)
        )
        for chain in chains:
            if chain[0].tipo == "ACUMULADA":
                expected += sum(
                    (
                        half_even(Fraction(s.d) * Fraction(meter.own.factor))
                        for s in judge(meter, chain, None)[0]
                    ),
                    Decimal(0),
                )
        blocks, occurrences = compute(meter)
        seen |= {occurrence.classe for occurrence in occurrences.values()}
        assert sum((b.consumo for b in blocks.values() if b.consumo is not None), Decimal(0)) == expected, (
            f"seed {number}"
        )
        assert sum(b.leituras for b in blocks.values()) == sum(len(chain) for chain in chains), (
            f"seed {number}"
        )
        assert all(0 <= b.fracao_medida <= 1 for b in blocks.values()), f"seed {number}"
    assert CASES < 300 or seen == {"TROCA", "QUEDA", "VIRADA", "REINICIO", "SUSPEITA", "IMPLAUSIVEL"}
