"""A changed structure of many meters with a year of blocks, beside ingestion.

The part measures how soon the dashboard is right, what is written, and what it costs ingestion.
"""

import json
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from psycopg import Connection

from lab.benchmarks import dataset, history
from lab.benchmarks.figures import Percentiles, Requirement, at_most, distributions, nothing
from lab.benchmarks.report import Part
from lab.benchmarks.structure_process import StructureJob
from lab.harness.errors import LabError
from lab.harness.report import paragraph, table
from tds_new.storage.timescale import has_timescale

HEAD = (
    "# Structure benchmark",
    "",
    "The structure of meters is changed on one machine, with the shipped settings.",
)
TIMEOUT_S = 1_200.0
SAMPLES_PER_SECOND = 200
KINDS = ("papel", "medidor_pai")

CONTA = "SELECT conta_id FROM tds_new_dispositivo GROUP BY 1 ORDER BY count(*) DESC LIMIT 1"
# Rows of blocks that were written since: of chunks that are not compressed, by their writing transaction; of
# compressed ones, by the statistics of their tables.
NOW = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"
WRITTEN = """
SELECT count(*) FROM tds_new_consumo_15min
WHERE conta_id = %(conta)s AND bloco >= %(young)s AND xmin::text::bigint >= %(since)s
"""
COMPRESSED_WRITES = """
SELECT coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0) FROM pg_stat_all_tables
WHERE schemaname = '_timescaledb_internal' AND relname LIKE 'compress_hyper%'
"""


@dataclass(frozen=True)
class Sizes:
    """The sizes of the measurement.

    Each field is an option of ``benchmark_structure``.
    """

    devices: int = 500
    days: int = 365
    gateways: int = 100
    rate: float = 200
    seconds: float = 20


@dataclass(frozen=True)
class Structure:
    """The figures of the part.

    ``changes`` has for each kind of change what became of it (``structure_process.Changed``), the block rows
    ``written`` meanwhile, and ``ingestion``'s times then; ``alone`` are these without any change.
    """

    devices: int
    blocks: int
    rate: float
    alone: dict[str, Any]
    changes: dict[str, dict[str, Any]]


def measure(bench: Any) -> Structure:
    """Fill a year of blocks and change the structure twice while messages come in."""
    sizes, environment = bench.sizes, bench.environment
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    start = end - timedelta(days=sizes.days)
    with environment.connect() as connection:
        dataset.clear_fleet(connection)
        dataset.register(connection, sizes.devices, one_conta=True)
        (conta,) = connection.execute(CONTA).fetchone() or (0,)
    filled = dataset.fill(environment.url(), start, end, bench.progress("blocks"), readings=False)
    environment.register_fleet(sizes.gateways)
    with environment.connect() as connection:
        bench.say(f"{filled.blocks:,} blocks in {filled.seconds:.0f} s; statistics and aggregates")
        history.settle(connection)
        changes = {}
        with environment.consumer(), bench.worker():
            _publish(bench, 10)  # fills caches, and makes the chunk
            alone = asdict(_publish(bench, sizes.seconds))
            bench.say(f"ingestion alone: p99 {alone['p99']:.1f} ms")
            for kind in KINDS:
                job = StructureJob(conta, kind, start.isoformat(), end.isoformat(), TIMEOUT_S)
                changes[kind] = _change(bench, connection, job)
                bench.say(f"{kind}: {changes[kind]}")
    return Structure(sizes.devices, filled.blocks, sizes.rate, alone, changes)


def _publish(bench: Any, seconds: float) -> Percentiles:
    """Publish at the rate for so many seconds; return how long messages took."""
    with bench.load.begin(_job(bench, seconds)) as publication:
        return Percentiles.of(publication.result().latencies)


def _job(bench: Any, seconds: float) -> Any:
    sizes = bench.sizes
    sample = max(1, int(sizes.rate / SAMPLES_PER_SECOND))
    return bench.load.job(max(1, int(sizes.rate * seconds)), sizes.gateways, rate=sizes.rate, sample=sample)


def _change(bench: Any, connection: Connection[Any], job: StructureJob) -> dict[str, Any]:
    """Change the structure beside messages; return what became of it."""
    (since,) = connection.execute(NOW).fetchone() or (0,)
    before = _compressed_writes(connection)
    command = [sys.executable, "-m", "lab.benchmarks.structure_process", json.dumps(asdict(job))]
    with bench.load.begin(_job(bench, bench.sizes.seconds)) as publication:
        process = subprocess.run(
            command,
            env=bench.environment.variables,
            cwd=settings.BASE_DIR,
            capture_output=True,
            text=True,
            check=False,
        )
        latencies = Percentiles.of(publication.result().latencies)
    if process.returncode:
        raise LabError(f"the structure could not be changed: {process.stderr.strip().splitlines()[-1:]}")
    young = datetime.now(UTC) - dataset.COMPRESSED_AFTER + timedelta(days=15)
    (written,) = connection.execute(
        WRITTEN, {"conta": job.conta, "young": young, "since": since}
    ).fetchone() or (0,)
    written += _compressed_writes(connection) - before
    return {**json.loads(process.stdout), "written": int(written), "ingestion": asdict(latencies)}


def _compressed_writes(connection: Connection[Any]) -> int:
    if not has_timescale(connection):
        return 0
    connection.execute("SELECT pg_stat_clear_snapshot()")
    return int((connection.execute(COMPRESSED_WRITES).fetchone() or (0,))[0])


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require that the dashboard is right at once, and that no block is written."""
    found = []
    for kind, change in figures["changes"].items():
        found += [
            at_most(f"{kind} of {change['devices']:,} devices: until right", 60, change["right"], "s", 1),
            nothing(f"{kind}: wrong answers after that", change["wrong"]),
            nothing(f"{kind}: blocks written", change["written"]),
            at_most(f"{kind}: publish to commit meanwhile, p99", 300, change["ingestion"]["p99"], "ms", 1),
        ]
    return found


def section(figures: dict[str, Any]) -> list[str]:
    """Describe both changes."""
    columns = {
        "devices": "{:,}",
        "change": "{:.1f} s",
        "right": "{:.1f} s",
        "summed": "{:.0f} s",
        "while_pending": "{:.0f} ms",
        "later": "{:.0f} ms",
        "written": "{:,}",
    }
    head = (
        "",
        "devices",
        "change",
        "right after",
        "sums after",
        "answer until then",
        "and then",
        "blocks written",
    )
    rows = [
        (kind, *(form.format(change[name]) for name, form in columns.items()))
        for kind, change in figures["changes"].items()
    ]
    times = [("no change", figures["alone"])] + [
        (kind, change["ingestion"]) for kind, change in figures["changes"].items()
    ]
    return [
        *paragraph(
            f"{figures['devices']:,} devices of one Conta with {figures['blocks']:,} blocks. Their structure",
            "is changed while messages come in; the dashboard is asked for the total of all time until the",
            "sums of the Conta are made again. Consumer, worker and maintenance run as shipped.",
        ),
        "",
        *table(head, rows),
        "",
        *distributions(f"publish to commit and back at {figures['rate']:,.0f} messages/s", times),
    ]


PARTS: Mapping[str, Part] = {
    "structure": Part("A changed structure of meters", measure, requirements, section)
}
