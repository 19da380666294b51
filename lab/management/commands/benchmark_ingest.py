"""``benchmark_ingest``: measure what ingestion takes on this machine."""

from lab.benchmarks.command import BenchmarkCommand
from lab.benchmarks.ingest import HEAD, PARTS
from lab.benchmarks.ingest_bench import Sizes


class Command(BenchmarkCommand):
    """Measures on a broker, databases and consumers of its own, and removes them.

    Nothing of yours is touched.
    """

    help = (
        "Measure ingestion: rate, latency, memory, growth, registry, outage, fairness, hostile. "
        "Uses servers of its own."
    )
    parts = PARTS
    sizes = Sizes
    head = HEAD
    explained = {
        "messages": "messages of a run at full speed, 3 readings each",
        "runs": "runs at full speed: pairs with mosquitto_sub, and pairs with and without stored rows",
        "gateways": "how many of them send",
        "rates": "messages/s for the latency",
        "seconds": "length of each latency run",
        "rows": "stored rows for growth; the figure required is that at 50000000",
        "registered": "gateways for registry, 3 devices each",
        "outage": "seconds that the database is away; the figure required is that at 120",
        "outage_rate": "messages/s meanwhile",
        "flood": "messages/s of the gateway that floods",
        "hostile_seconds": "length of each attack",
        "fairness_seconds": "length of the flood; a limit comes after a burst of a minute's worth",
        "attack": "messages of 60 kB with 30,000 bad readings each; gateways that retain one",
        "attack_seconds": "how long the others send beside each form of this attack",
    }
