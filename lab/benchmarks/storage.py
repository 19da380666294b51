"""Bytes per reading and per block on disk, compressed as shipped, with the raw message and without."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection

from lab.benchmarks import dataset
from lab.benchmarks.consumption_bench import Bench
from lab.benchmarks.figures import Verdict, at_most
from lab.benchmarks.load import EPOCH, WEEK
from lab.harness.errors import LabError
from tds_new.metering.worker import drain
from tds_new.storage.timescale import has_timescale

WEEKS = 4
READINGS, BLOCKS = "tds_new_leitura_dispositivo", "tds_new_consumo_15min"
SIZE = "SELECT sum(pg_total_relation_size(c)) FROM show_chunks(%s::regclass) AS c"
COMPRESSED = "SELECT sum(after_compression_total_bytes) FROM hypertable_columnstore_stats(%s::regclass)"
SETTINGS = """
SELECT string_agg(attname, ', ' ORDER BY segmentby_column_index) FILTER (WHERE segmentby_column_index IS NOT NULL),
    string_agg(attname || CASE WHEN orderby_asc THEN '' ELSE ' DESC' END, ', ' ORDER BY orderby_column_index)
        FILTER (WHERE orderby_column_index IS NOT NULL)
FROM timescaledb_information.compression_settings WHERE hypertable_name = %s
"""


@dataclass(frozen=True)
class Size:
    """Bytes of so many rows, indexes included, before and after compression."""

    what: str
    rows: int
    before: int
    after: int
    settings: str


@dataclass(frozen=True)
class Storage:
    """What the part found."""

    devices: int
    weeks: int
    sizes: list[Size]


def measure(bench: Bench) -> Storage:
    """Weeks of readings, without the raw messages and with them, and the blocks of the first.

    Raises LabError where there is no TimescaleDB.
    """
    devices = bench.sizes.disk_devices
    end = datetime.now(UTC)
    end -= (end - EPOCH) % WEEK  # whole chunks
    start, found = end - WEEKS * WEEK, []
    with bench.made.connect() as connection:
        if not has_timescale(connection):
            raise LabError("plain PostgreSQL compresses nothing")
    for payload in (False, True):
        bench.fresh(devices)
        with bench.made.connect() as connection:
            stored = dataset.store_old(connection, start, end, payload=payload)
            name = "readings with payload_raw" if payload else "readings without payload_raw"
            if not payload:
                drain(connection)
                blocks = connection.execute("SELECT count(*) FROM tds_new_consumo_15min").fetchone()
                found.append(_compressed(connection, "blocks", BLOCKS, blocks[0] if blocks else 0))
            found.append(_compressed(connection, name, READINGS, stored))
        bench.say(f"{name}: {found[-1].after / stored:.1f} bytes each")
    return Storage(devices, WEEKS, sorted(found, key=lambda size: size.what, reverse=True))


def _compressed(connection: Connection[Any], what: str, table: str, rows: int) -> Size:
    before = _bytes(connection, SIZE, table)
    dataset.compress(connection, table)
    segment, order = connection.execute(SETTINGS, [table]).fetchone() or ("", "")
    return Size(
        what, rows, before, _bytes(connection, COMPRESSED, table), f"segmentby {segment}; orderby {order}"
    )


def _bytes(connection: Connection[Any], query: str, table: str) -> int:
    row = connection.execute(query, [table]).fetchone()
    return int(row[0]) if row else 0


def verdicts(found: dict[str, Any]) -> list[Verdict]:
    """What a reading takes."""
    size = next(size for size in found["sizes"] if size["what"] == "readings without payload_raw")
    return [
        at_most(
            "on disk for a compressed reading without payload_raw",
            10,
            size["after"] / size["rows"],
            "bytes",
            1,
        )
    ]


def section(found: dict[str, Any]) -> list[str]:
    """The sizes."""
    lines = [
        f"{found['devices']:,} devices, {found['weeks']} weeks of five-minute readings: seven of ten energy registers, then water, gas and",
        "temperatures; three decimals, times in whole seconds that stray by up to two. All files of the chunks, indexes included.",
        "",
        "| what | rows | bytes a row | compressed | settings |",
        "|---|---|---|---|---|",
    ]
    return lines + [
        f"| {s['what']} | {s['rows']:,} | {s['before'] / s['rows']:.0f} | {s['after'] / s['rows']:.1f} | {s['settings']} |"
        for s in found["sizes"]
    ]
