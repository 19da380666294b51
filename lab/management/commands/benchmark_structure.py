"""``benchmark_structure``: measure a changed structure of meters."""

from lab.benchmarks.command import BenchmarkCommand
from lab.benchmarks.consumption_bench import Bench
from lab.benchmarks.structure import HEAD, PARTS, Sizes


class Command(BenchmarkCommand):
    """Measures on servers, a consumer and a worker of its own, and removes them.

    Nothing of yours is touched.
    """

    help = "Measure how soon totals follow a changed structure of meters. Uses servers of its own."
    parts = PARTS
    sizes = Sizes
    bench = Bench
    head = HEAD
    explained = {
        "devices": "devices whose structure changes",
        "days": "days of their blocks",
        "gateways": "gateways that send meanwhile",
        "rate": "messages/s that they send",
        "seconds": "for how long",
    }
