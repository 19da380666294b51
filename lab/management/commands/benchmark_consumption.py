"""``benchmark_consumption``: measure how readings become consumption."""

from lab.benchmarks.command import BenchmarkCommand
from lab.benchmarks.consumption import HEAD, PARTS
from lab.benchmarks.consumption_bench import Bench, Sizes


class Command(BenchmarkCommand):
    """Measures on servers, a consumer and workers of its own, and removes them.

    Nothing of yours is touched.
    """

    help = (
        "Measure consumption: a worker's throughput, from reading to block, late data, bytes on disk. "
        "Uses servers of its own."
    )
    parts = PARTS
    sizes = Sizes
    bench = Bench
    head = HEAD
    explained = {
        "backlog": "readings of a backlog for throughput",
        "backlog_devices": "devices that they are of",
        "intervals": "seconds between a device's readings; a backlog for each",
        "rate": "messages/s of 3 readings for delay",
        "senders": "gateways that send them",
        "seconds": "for how long",
        "apart": "seconds between the readings of the hour before",
        "devices": "devices for late",
        "days": "days of their readings, 31 to 45",
        "disk_devices": "devices for storage",
    }
