"""``enable_timescale`` makes a plain database equal to a fresh one on TimescaleDB.

The platform works meanwhile, and the move may be killed any number of times.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.conf import settings

from tds_new.maintenance import timescale_shadow
from tests.support.consumers import ConsumerProcess, database_url
from tests.support.sums import totals_in
from tests.support.waiting import until

pytestmark = [pytest.mark.timescale, pytest.mark.django_db]

START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=100)
END = START + timedelta(days=1)
FILL = """
INSERT INTO tds_new_leitura_dispositivo ("time", conta_id, gateway_id, dispositivo_id, valor, unidade,
    tipo_leitura, payload_raw)
SELECT t, conta_id, gateway_id, id, extract(epoch FROM t - %(start)s) / 1000, unidade, tipo_leitura,
    '{"n": 1}'
FROM tds_new_dispositivo, generate_series(%(start)s::timestamptz, %(end)s::timestamptz, %(step)s::interval) t
"""
COPIED = "SELECT coalesce(sum(linhas), 0) FROM tds_new_mudanca_timescale"
# The description of a database, without numbers that depend on its history.
CATALOGUE = {
    "columns": """SELECT c.relname, c.relkind, a.attname, format_type(a.atttypid, a.atttypmod),
        a.attnotnull, a.attstorage, pg_get_expr(d.adbin, d.adrelid)
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
        AND a.attnum > 0 AND NOT a.attisdropped
        LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
        WHERE c.relnamespace = 'public'::regnamespace""",
    "options": "SELECT relname, reloptions FROM pg_class WHERE relnamespace = 'public'::regnamespace",
    "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint
        WHERE connamespace = 'public'::regnamespace""",
    "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'",
    "triggers": """SELECT c.relname, tgname, pg_get_triggerdef(t.oid)
        FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
        WHERE tgname LIKE 'tds%%' AND c.relnamespace = 'public'::regnamespace""",
    "functions": "SELECT proname, prosrc FROM pg_proc WHERE proname LIKE 'tds%%'",
    "hypertables": """SELECT hypertable_name, compression_enabled, column_name, time_interval
        FROM timescaledb_information.hypertables
        JOIN timescaledb_information.dimensions USING (hypertable_name)
        WHERE hypertable_name LIKE 'tds%%'""",
    "compression": """SELECT hypertable_name, attname, segmentby_column_index, orderby_column_index,
        orderby_asc FROM timescaledb_information.compression_settings WHERE hypertable_name LIKE 'tds%%'""",
    "aggregates": """SELECT view_name, materialized_only, compression_enabled, view_definition
        FROM timescaledb_information.continuous_aggregates""",
    "policies": """SELECT proc_name, coalesce(c.view_name, j.hypertable_name), schedule_interval, scheduled,
        config - 'hypertable_id' - 'mat_hypertable_id' FROM timescaledb_information.jobs j
        LEFT JOIN timescaledb_information.continuous_aggregates c
            ON j.hypertable_name IN (c.materialization_hypertable_name, c.view_name)
        WHERE j.hypertable_name IS NOT NULL""",
}


class Database:
    """A database of the test's own on the suite's server."""

    def __init__(self, name: str, timescale: str) -> None:
        self.url = database_url().rpartition("/")[0] + "/" + name
        with psycopg.connect(database_url(), autocommit=True) as direct:
            direct.execute(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
            direct.execute(f"CREATE DATABASE {name}")
        self.manage("migrate", "--verbosity=0", "--skip-checks", TDS_TIMESCALEDB=timescale)
        self.direct = psycopg.connect(self.url, autocommit=True)

    def start(
        self, *arguments: str, output: Any = subprocess.PIPE, **environment: str
    ) -> "subprocess.Popen[str]":
        everything = {
            **ConsumerProcess.environment(),
            "DATABASE_URL": self.url,
            "TDS_TIMESCALEDB": "auto",
            **environment,
        }
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.Popen(
            command, cwd=settings.BASE_DIR, env=everything, stdout=output, stderr=output, text=True
        )

    def manage(self, *arguments: str, **environment: str) -> str:
        process = self.start(*arguments, **environment)
        out, error = process.communicate(timeout=300)
        assert process.returncode == 0, out + error
        return out

    def rows(self, statement: str, parameters: Any = None) -> list[tuple[Any, ...]]:
        return self.direct.execute(statement, parameters).fetchall()

    def one(self, statement: str) -> Any:
        return self.rows(statement)[0][0]

    def copied(self, rows: int) -> bool:
        """Return whether the move has copied so many rows."""
        with contextlib.suppress(psycopg.errors.UndefinedTable):
            return bool(self.one(COPIED) >= rows)
        return False

    def catalogue(self) -> dict[str, list[tuple[Any, ...]]]:
        return {
            name: sorted(self.rows(statement.replace("%%", "%")), key=repr)
            for name, statement in CATALOGUE.items()
        }


@pytest.fixture
def databases() -> Iterator[tuple[Database, Database]]:
    made: list[Database] = []
    try:
        for name, kind in (("moved", "off"), ("fresh", "on")):
            made.append(Database(f"{name}_{os.getpid()}", kind))
        yield made[0], made[1]
    finally:
        for database in made:
            database.direct.close()
            with psycopg.connect(database_url(), autocommit=True) as direct:
                direct.execute(f"DROP DATABASE {database.url.rpartition('/')[2]} WITH (FORCE)")


class Living:
    """Readings that arrive all the time, one every few milliseconds, and their consumption."""

    def __init__(self, database: Database) -> None:
        self._database, self._stop, self.stored, self.failures = database, threading.Event(), 0, list[str]()
        self._thread = threading.Thread(target=self._run)
        self._worker = database.start("process_consumption", output=subprocess.DEVNULL, TDS_UPKEEP="on")
        self._thread.start()

    def _run(self) -> None:
        with psycopg.connect(self._database.url, autocommit=True, options="-c lock_timeout=5s") as connection:
            while not self._stop.wait(0.02):
                at = datetime.now(UTC)
                try:
                    self.stored += connection.execute(
                        FILL, {"start": at, "end": at, "step": timedelta(1)}
                    ).rowcount
                except psycopg.errors.LockNotAvailable:
                    continue  # as the consumer would
                except psycopg.Error as error:
                    self.failures.append(str(error))

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()
        self._worker.send_signal(signal.SIGTERM)
        assert self._worker.wait(30) == 0


def test_a_plain_database_becomes_what_a_fresh_one_is_however_often_it_is_killed(
    databases: tuple[Database, Database], tmp_path: Path
) -> None:
    moved, fresh = databases
    moved.manage("create_demo_data")
    end = START + timedelta(days=40)
    moved.direct.execute(FILL, {"start": START, "end": end, "step": timedelta(minutes=5)})
    moved.manage("process_consumption", "--once")
    moved.direct.execute(f"CREATE ROLE reader_{os.getpid()}")
    moved.direct.execute(
        f"GRANT SELECT ON tds_new_leitura_dispositivo, tds_new_consumo_diario TO reader_{os.getpid()}"
    )
    filled = moved.one("SELECT count(*) FROM tds_new_leitura_dispositivo")
    assert filled > 30_000
    living = Living(moved)
    try:
        for copied in (1, filled + 1):  # in the readings, and in the blocks
            killed = moved.start("enable_timescale")
            until(partial(moved.copied, copied), f"{copied} rows are copied")
            assert killed.poll() is None
            killed.kill()
            killed.communicate()

        with psycopg.connect(moved.url) as reader, (tmp_path / "said").open("w+") as said:
            reader.execute(
                "SELECT 1 FROM tds_new_leitura_dispositivo LIMIT 1"
            )  # and does not end: the tables cannot be swapped
            killed = moved.start("enable_timescale", output=said)
            until(lambda: "the tables are in use" in (tmp_path / "said").read_text(), "it waits for the lock")
            killed.kill()
            killed.wait()
        out = moved.manage("enable_timescale")
    finally:
        living.stop()

    assert living.failures == []
    assert "[OK] this database is on TimescaleDB" in out
    assert moved.one("SELECT count(*) FROM tds_new_leitura_dispositivo") == filled + living.stored
    assert (
        moved.one("SELECT count(DISTINCT (dispositivo_id, time)) FROM tds_new_leitura_dispositivo")
        == filled + living.stored
    )
    assert (
        moved.one("SELECT count(*) FROM tds_new_leitura_dispositivo WHERE payload_raw = '{\"n\": 1}'")
        == filled + living.stored
    )
    moved.manage("process_consumption", "--once")
    assert "done; 0 block rows differed" in moved.manage("rebuild_consumption")
    blocks = moved.one("SELECT sum(consumo) FROM tds_new_consumo_15min")
    assert blocks > 0
    moved.direct.execute("CALL refresh_continuous_aggregate('tds_new_consumo_mensal', NULL, NULL)")
    assert set(totals_in(moved.direct).values()) == {blocks}
    assert moved.one("SELECT count(*) FROM timescaledb_information.chunks WHERE is_compressed") > 5

    found, expected = moved.catalogue(), fresh.catalogue()
    for name in CATALOGUE:
        assert found[name] == expected[name], name
    reads = f"SELECT has_table_privilege('reader_{os.getpid()}', %s, 'SELECT')"
    for table, may in (
        ("tds_new_leitura_dispositivo", True),
        ("tds_new_consumo_diario", True),
        ("tds_new_consumo_15min", False),
    ):
        assert moved.rows(reads, [table]) == [(may,)]
    moved.direct.execute(f"DROP OWNED BY reader_{os.getpid()}")
    moved.direct.execute(f"DROP ROLE reader_{os.getpid()}")
    assert moved.manage("enable_timescale").endswith("[OK] this database is on TimescaleDB\n")


def test_migrations_are_undone_and_done_again_while_a_move_is_stopped_in_the_copy(
    databases: tuple[Database, Database],
) -> None:
    """The extension is there, and the tables are plain: tables migrated again are plain too.

    The move begins again.
    """
    moved, fresh = databases
    moved.manage("create_demo_data")
    moved.direct.execute(
        FILL, {"start": START, "end": END - timedelta(minutes=5), "step": timedelta(minutes=5)}
    )
    moved.manage("process_consumption", "--once")
    moved.direct.execute("CREATE EXTENSION timescaledb")
    plain = moved.catalogue()
    timescale_shadow.prepare(moved.direct)
    next(timescale_shadow.copy(moved.direct, timescale_shadow.READINGS))
    moved.direct.execute(
        "ALTER TABLE tds_new_leitura_dispositivo ADD COLUMN note text"
    )  # as a later version may
    moved.direct.execute(FILL, {"start": END, "end": END, "step": timedelta(1)})
    moved.direct.execute("ALTER TABLE tds_new_leitura_dispositivo DROP COLUMN note")
    assert moved.rows("SELECT count(*) > 0 FROM tds_new_leitura_dispositivo_nova WHERE time = %s", [END]) == [
        (True,)
    ]
    for target in (["tds_new", "0005_consumo"], ["tds_new", "0002_leituras"], []):
        moved.manage("migrate", *target, "--verbosity=0", "--skip-checks")
    found = moved.catalogue()
    for name in ("columns", "constraints", "indexes", "triggers", "functions", "hypertables", "aggregates"):
        assert [row for row in found[name] if "tds_new" in repr(row)] == [
            row for row in plain[name] if "tds_new" in repr(row)
        ], name
    moved.manage("process_consumption", "--once")
    assert "[OK] this database is on TimescaleDB" in moved.manage("enable_timescale")
    assert "done; 0 block rows differed" in moved.manage("rebuild_consumption")
    assert moved.catalogue()["hypertables"] == fresh.catalogue()["hypertables"]


def test_where_it_is_switched_off_it_says_so(databases: tuple[Database, Database]) -> None:
    process = databases[0].start("enable_timescale", TDS_TIMESCALEDB="off")
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "TDS_TIMESCALEDB is off; set it to auto or on" in error
