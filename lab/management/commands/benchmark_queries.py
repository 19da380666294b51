"""``benchmark_queries``: what the dashboard asks of a year of a thousand devices, beside what is asked of it and beside raw readings."""

from lab.benchmarks.command import BenchmarkCommand
from lab.benchmarks.queries import HEAD, PARTS, Sizes


class Command(BenchmarkCommand):
    """Starts a database of its own, fills it (20 GB at the default size), and removes it; nothing of yours is touched."""

    help = "Measure the dashboard's queries on a data set generated in a database of its own."
    parts = PARTS
    sizes = Sizes
    head = HEAD
    explained = {
        "devices": "devices of the data set; the figures asked for are those at 1000",
        "months": "months of their five-minute readings; the figures asked for are those at 12",
        "samples": "Contas, devices and months that each question is asked of",
        "raw": "how many of them it is asked of raw readings too",
        "checked": "devices whose blocks are held to what the ledger computes",
    }
