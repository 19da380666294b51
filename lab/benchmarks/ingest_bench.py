"""The sizes and the context of ``benchmark_ingest``."""

from collections.abc import Sequence
from dataclasses import dataclass

from lab.benchmarks import bench


@dataclass(frozen=True)
class Sizes:
    """The sizes of the measurement; each field is an option of ``benchmark_ingest``.

    The defaults take about eight minutes on 2 cores. The figures required are those at 50,000,000 rows and
    120 s of outage.
    """

    messages: int = 200_000
    runs: int = 3
    gateways: int = 500
    rates: Sequence[float] = (1_000, 10_000)
    seconds: float = 15
    rows: int = 5_000_000
    registered: int = 10_000
    outage: float = 30
    outage_rate: float = 5_000
    flood: float = 5_000
    fairness_seconds: float = 45
    attack: int = 60
    attack_seconds: float = 10
    hostile_seconds: float = 30


Bench = bench.Bench[Sizes]
