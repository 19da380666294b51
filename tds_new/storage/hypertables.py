"""Define the tables that are hypertables on TimescaleDB.

Live code makes them from this one definition. Migrations carry frozen copies of these statements; the upgrade
test holds the two equal.
"""

from dataclasses import dataclass

CREATE = """
SELECT create_hypertable('{table}', by_range('{time}', INTERVAL '{chunk}'), create_default_indexes => false,
    if_not_exists => true, migrate_data => true);
ALTER TABLE {table} SET (
    timescaledb.compress, timescaledb.compress_orderby = '{time} DESC',
    timescaledb.compress_segmentby = '{segments}');
SELECT add_compression_policy('{table}', INTERVAL '45 days', if_not_exists => true);
"""


@dataclass(frozen=True, slots=True)
class Hypertable:
    """A table that is partitioned by time.

    ``time`` is its time column, ``chunk`` the length of a partition (an SQL interval), and ``segments`` the
    columns whose values a compressed batch of rows stores once.
    """

    name: str
    time: str
    chunk: str
    segments: str

    def statements(self, table: str | None = None) -> str:
        """Return the SQL that makes ``table`` such a hypertable.

        Without ``table`` it is the table of this name.
        """
        return CREATE.format(
            table=table or self.name, time=self.time, chunk=self.chunk, segments=self.segments
        )


# Segmented by every column that hardly changes for a device: 9.6 bytes a reading; 11.6 by dispositivo_id
# alone.
READINGS = Hypertable(
    "tds_new_leitura_dispositivo",
    "time",
    "7 days",
    "dispositivo_id, conta_id, gateway_id, unidade, tipo_leitura",
)
BLOCKS = Hypertable("tds_new_consumo_15min", "bloco", "14 days", "dispositivo_id, conta_id")
