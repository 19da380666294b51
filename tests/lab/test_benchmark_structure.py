"""The structure benchmark at a tiny size."""

import json
from dataclasses import asdict

import pytest

from lab.benchmarks.consumption_bench import Bench
from lab.benchmarks.environment import BenchmarkEnvironment
from lab.benchmarks.structure import KINDS, PARTS, Sizes
from tds_new.embedded.mosquitto import find_mosquitto

pytestmark = [
    pytest.mark.timescale,
    pytest.mark.skipif(find_mosquitto() is None, reason="Mosquitto 2 is not installed"),
]
TINY = Sizes(devices=20, days=40, gateways=10, rate=20, seconds=2)


def test_totals_follow_at_once_and_no_block_is_written() -> None:
    part = PARTS["structure"]
    with BenchmarkEnvironment("timescale") as environment:
        figures = json.loads(json.dumps(asdict(part.measure(Bench(environment, TINY, print)))))  # type: ignore[arg-type]
    increments = 2  # devices; the first increment of each begins in the block before it
    assert figures["blocks"] == 20 * 40 * 96 + increments
    assert [figures["changes"][kind]["devices"] for kind in KINDS] == [9, 15]
    met = {requirement.what: requirement.met for requirement in part.requirements(figures)}
    # How long messages take depends on the machine.
    assert [what for what, is_met in met.items() if not is_met and "p99" not in what] == []
    assert "\n".join(part.section(figures)).isascii()
