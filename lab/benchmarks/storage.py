"""Bytes per reading and per block on disk, compressed as shipped."""

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg import Connection

from lab.benchmarks import dataset
from lab.benchmarks.consumption_bench import Bench
from lab.benchmarks.figures import Requirement, at_most
from lab.benchmarks.load import EPOCH, WEEK
from lab.harness.errors import LabError
from lab.harness.report import paragraph, table
from tds_new.metering.worker import drain
from tds_new.storage.timescale import has_timescale

WEEKS = 4
READINGS, BLOCKS = "tds_new_leitura_dispositivo", "tds_new_consumo_15min"
SIZE = "SELECT sum(pg_total_relation_size(c)) FROM show_chunks(%s::regclass) AS c"
COMPRESSED = "SELECT sum(after_compression_total_bytes) FROM hypertable_columnstore_stats(%s::regclass)"
SETTINGS = """
SELECT
    string_agg(attname, ', ' ORDER BY segmentby_column_index)
        FILTER (WHERE segmentby_column_index IS NOT NULL),
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
    """The figures of the part."""

    devices: int
    weeks: int
    sizes: list[Size]


def measure(bench: Bench) -> Storage:
    """Store weeks of readings and their blocks, and measure them.

    The readings are stored without raw messages, then with them.

    Raises LabError if there is no TimescaleDB.
    """
    devices = bench.sizes.disk_devices
    end = datetime.now(UTC)
    end -= (end - EPOCH) % WEEK  # whole chunks
    start, found = end - WEEKS * WEEK, []
    with bench.environment.connect() as connection:
        if not has_timescale(connection):
            raise LabError("plain PostgreSQL compresses nothing")
    for payload in (False, True):
        bench.register_only(devices)
        with bench.environment.connect() as connection:
            stored = dataset.store_as_sent(connection, start, end, payload=payload)
            name = "readings with payload_raw" if payload else "readings without payload_raw"
            if not payload:
                drain(connection)
                blocks = _figure(connection, "SELECT count(*) FROM tds_new_consumo_15min")
                found.append(_compress(connection, "blocks", BLOCKS, blocks))
            found.append(_compress(connection, name, READINGS, stored))
        bench.say(f"{name}: {found[-1].after / stored:.1f} bytes each")
    return Storage(devices, WEEKS, sorted(found, key=lambda size: size.what, reverse=True))


def _compress(connection: Connection[Any], what: str, table_name: str, rows: int) -> Size:
    """Compress all chunks of a table, and return the sizes of its ``rows``."""
    before = _figure(connection, SIZE, table_name)
    dataset.compress(connection, table_name)
    segment, order = connection.execute(SETTINGS, [table_name]).fetchone() or ("", "")
    after = _figure(connection, COMPRESSED, table_name)
    return Size(what, rows, before, after, f"segmentby {segment}; orderby {order}")


def _figure(connection: Connection[Any], query: str, *parameters: object) -> int:
    row = connection.execute(query, parameters).fetchone()
    return int(row[0]) if row else 0


def requirements(figures: dict[str, Any]) -> list[Requirement]:
    """Require a bound of the bytes that a reading takes."""
    size = next(size for size in figures["sizes"] if size["what"] == "readings without payload_raw")
    what = "on disk for a compressed reading without payload_raw"
    return [at_most(what, 10, size["after"] / size["rows"], "bytes", 1)]


def section(figures: dict[str, Any]) -> list[str]:
    """Describe the sizes."""
    cells = [
        (
            size["what"],
            f"{size['rows']:,}",
            f"{size['before'] / size['rows']:.0f}",
            f"{size['after'] / size['rows']:.1f}",
            size["settings"],
        )
        for size in figures["sizes"]
    ]
    return [
        *paragraph(
            f"{figures['devices']:,} devices, {figures['weeks']} weeks of five-minute readings: seven of ten",
            "energy registers, then water, gas and temperatures; three decimals, times in whole seconds",
            "that stray by up to two. All files of the chunks, indexes included.",
        ),
        "",
        *table(("what", "rows", "bytes a row", "compressed", "settings"), cells),
    ]
