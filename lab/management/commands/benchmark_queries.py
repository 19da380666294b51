"""``benchmark_queries``: measure the dashboard's questions."""

from lab.benchmarks.command import BenchmarkCommand
from lab.benchmarks.queries import HEAD, PARTS, Sizes


class Command(BenchmarkCommand):
    """Measures on a database of its own, filled with 20 GB at the default size.

    Nothing of yours is touched.
    """

    help = "Measure the dashboard's queries on a data set generated in a database of its own."
    parts = PARTS
    sizes = Sizes
    head = HEAD
    explained = {
        "devices": "devices of the data set; the figures required are those at 1000",
        "months": "months of their five-minute readings; the figures required are those at 12",
        "samples": "Contas, devices and months that each question is asked of",
        "raw": "how many of them it is asked of raw readings too",
        "checked": "devices whose blocks are compared to what the ledger computes",
    }
