"""A hypertable beside each large table, which takes the table's place in the end.

It is filled device by device, and triggers keep it current meanwhile. Progress is recorded in the transaction
that makes it, so a move that was killed continues where it was.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from psycopg import Connection, sql

from tds_new.models import ConsumoParticao
from tds_new.storage import hypertables
from tds_new.storage.hypertables import Hypertable

ROWS = 10_000  # rows that a transaction copies, approximately
PROGRESS = "tds_new_mudanca_timescale"


@dataclass(frozen=True, slots=True)
class Table:
    """A table to be moved: the hypertable that it becomes, and its key."""

    target: Hypertable
    key: tuple[str, ...]

    @property
    def name(self) -> str:
        """The table's name, before the move and after it."""
        return self.target.name

    @property
    def time(self) -> str:
        """The table's time column."""
        return self.target.time

    @property
    def shadow(self) -> str:
        """The hypertable's name until it is complete."""
        return f"{self.name}_nova"

    @property
    def old(self) -> str:
        """The plain table's name from then on."""
        return f"{self.name}_velha"

    @property
    def hypertable(self) -> str:
        """The SQL that makes the shadow a hypertable, as the migrations do."""
        return self.target.statements(self.shadow)


READINGS = Table(hypertables.READINGS, ("dispositivo_id", "time"))
BLOCKS = Table(hypertables.BLOCKS, ("dispositivo_id", "bloco", "conta_id"))
TABLES = (READINGS, BLOCKS)

CREATE = "CREATE TABLE {shadow} (LIKE {name} INCLUDING ALL)"
CREATE_PROGRESS = f"""
CREATE TABLE {PROGRESS} (
    tabela text NOT NULL, dispositivo_id bigint NOT NULL, ate timestamptz, linhas bigint NOT NULL,
        PRIMARY KEY (tabela, dispositivo_id))
"""
# A row's key never changes. An upsert fires the insert trigger and the update trigger, each with its rows.
MIRROR = """
CREATE FUNCTION {shadow}() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM {shadow} n USING old_rows v WHERE {same};
    ELSE
        INSERT INTO {shadow} ({columns}) SELECT {columns} FROM new_rows ON CONFLICT ({key}) DO UPDATE
            SET {update};
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER {shadow}_insert AFTER INSERT ON {name} REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
    EXECUTE FUNCTION {shadow}();
CREATE TRIGGER {shadow}_update AFTER UPDATE ON {name} REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT
    EXECUTE FUNCTION {shadow}();
CREATE TRIGGER {shadow}_delete AFTER DELETE ON {name} REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT
    EXECUTE FUNCTION {shadow}();
"""
COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped ORDER BY attnum
"""
# Every device that has rows, found by one look at the key's index each.
DEVICES = """
INSERT INTO tds_new_mudanca_timescale (tabela, dispositivo_id, ate, linhas)
WITH RECURSIVE d (id) AS (
    (SELECT dispositivo_id FROM {name} ORDER BY dispositivo_id LIMIT 1)
    UNION ALL
    SELECT (SELECT dispositivo_id FROM {name} WHERE dispositivo_id > d.id ORDER BY dispositivo_id LIMIT 1)
    FROM d WHERE d.id IS NOT NULL)
SELECT '{name}', id, '-infinity', 0 FROM d WHERE id IS NOT NULL
ON CONFLICT DO NOTHING
"""
LEFT = f"""
SELECT dispositivo_id, ate::text FROM {PROGRESS} WHERE tabela = %s AND ate IS NOT NULL ORDER BY dispositivo_id
"""
DONE = f"""
SELECT count(*) FILTER (WHERE ate IS NULL), count(*), coalesce(sum(linhas), 0)::bigint FROM {PROGRESS}
WHERE tabela = %s
"""
# The worker of these devices waits for a moment, so that no block is deleted after it is read and before it
# is copied.
LOCK_PARTITION = (
    f"SELECT FROM tds_new_consumo_particao WHERE id = %s %% {ConsumoParticao.PARTICOES} FOR UPDATE"
)
NEXT = """
SELECT {time} FROM {name} WHERE dispositivo_id = %s AND {time} >= %s::timestamptz
ORDER BY {time} OFFSET {rows} LIMIT 1
"""
COPY = """
INSERT INTO {shadow} ({columns}) SELECT {columns} FROM {name}
WHERE dispositivo_id = %(device)s AND {time} >= %(since)s::timestamptz AND {time} < %(until)s::timestamptz
ON CONFLICT DO NOTHING
"""
ADVANCE = f"UPDATE {PROGRESS} SET ate = %s, linhas = linhas + %s WHERE tabela = %s AND dispositivo_id = %s"

HYPERTABLES = (
    "SELECT hypertable_name FROM timescaledb_information.hypertables WHERE hypertable_name = ANY(%s)"
)
TRIGGERS = """
SELECT pg_get_triggerdef(oid) FROM pg_trigger
WHERE tgrelid = %s::regclass AND NOT tgisinternal AND tgname NOT LIKE %s
"""
INDEXES = """
SELECT i.indexrelid::regclass::text, c.conname, pg_get_indexdef(i.indexrelid)
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.conrelid = i.indrelid
WHERE i.indrelid = %s::regclass
"""
GRANTS = """
SELECT format('GRANT %%s ON %%I TO %%s', a.privilege_type, c.relname, CASE a.grantee WHEN 0 THEN 'PUBLIC'
    ELSE a.grantee::regrole::text END)
FROM pg_class c, aclexplode(c.relacl) a WHERE c.oid = %s::regclass AND a.grantee <> c.relowner
"""


def exists(connection: Connection[Any], table: str) -> bool:
    """Return whether there is a table of this name."""
    row = connection.execute("SELECT to_regclass(%s)", [table]).fetchone()
    return row is not None and row[0] is not None


def moved(connection: Connection[Any]) -> bool:
    """Return whether the tables are hypertables."""
    return len(connection.execute(HYPERTABLES, [[table.name for table in TABLES]]).fetchall()) == len(TABLES)


def prepare(connection: Connection[Any]) -> None:
    """Make the empty hypertables and the triggers that keep them current.

    Waits briefly for batches that are being stored.
    """
    with connection.transaction():
        connection.execute(CREATE_PROGRESS)
        for table in TABLES:
            connection.execute(CREATE.format(shadow=table.shadow, name=table.name))
            connection.execute(table.hypertable)
            connection.execute(
                "SELECT remove_compression_policy(%s)", [table.shadow]
            )  # not while it is filled
            columns = _columns(connection, table.name)
            values = {
                "shadow": table.shadow,
                "name": table.name,
                "columns": ", ".join(columns),
                "key": ", ".join(table.key),
                "same": " AND ".join(f"n.{name} = v.{name}" for name in table.key),
                "update": ", ".join(f"{name} = excluded.{name}" for name in columns if name not in table.key),
            }
            connection.execute(MIRROR.format(**values))


def _columns(connection: Connection[Any], table: str) -> list[str]:
    return [name for (name,) in connection.execute(COLUMNS, [table])]


def copy(connection: Connection[Any], table: Table) -> Iterator[tuple[int, int, int]]:
    """Copy the rows that are not copied yet, in small transactions.

    After each it yields the numbers of finished devices, of all devices, and of rows copied.
    """
    connection.execute(DEVICES.format(name=table.name))
    for device, since in connection.execute(LEFT, [table.name]).fetchall():
        at = since
        while at is not None:
            at = _copy_some(connection, table, device, at)
            done, devices, rows = connection.execute(DONE, [table.name]).fetchone() or (0, 0, 0)
            yield done, devices, rows


def _copy_some(connection: Connection[Any], table: Table, device: int, since: str) -> str | None:
    """Copy the next rows of a device from ``since`` on; return where the rest begins.

    None if these were the last.
    """
    with connection.transaction():
        if table is BLOCKS:
            connection.execute(LOCK_PARTITION, [device])
        row = connection.execute(
            NEXT.format(time=table.time, name=table.name, rows=ROWS), [device, since]
        ).fetchone()
        until = row[0].isoformat() if row else None
        columns = ", ".join(_columns(connection, table.shadow))
        statement = COPY.format(shadow=table.shadow, columns=columns, name=table.name, time=table.time)
        copied = connection.execute(
            statement, {"device": device, "since": since, "until": until or "infinity"}
        ).rowcount
        connection.execute(ADVANCE, [until, copied, table.name, device])
    return until


def put_in_place(connection: Connection[Any], table: Table) -> None:
    """Put the hypertable in the table's place, with its names, triggers and rights.

    This runs inside the caller's transaction.
    """
    triggers = [row[0] for row in connection.execute(TRIGGERS, [table.name, f"{table.shadow}%"])]
    grants = rights(connection, table.name)
    for name in ("insert", "update", "delete"):
        connection.execute(f"DROP TRIGGER {table.shadow}_{name} ON {table.name}")
    connection.execute(f"DROP FUNCTION {table.shadow}()")
    names = {
        _shape(definition): (index, constraint)
        for index, constraint, definition in connection.execute(INDEXES, [table.name])
    }
    found = connection.execute(INDEXES, [table.shadow]).fetchall()
    connection.execute(f"ALTER TABLE {table.name} RENAME TO {table.old}")
    for index, constraint in names.values():
        _rename(connection, table.old, index, constraint, f"{index}_velha")
    connection.execute(f"ALTER TABLE {table.shadow} RENAME TO {table.name}")
    for index, constraint, definition in found:
        _rename(connection, table.name, index, constraint, names[_shape(definition)][0])
    for statement in triggers + grants:
        connection.execute(statement)


def rights(connection: Connection[Any], relation: str) -> list[str]:
    """Return the statements that give others their rights on a table or view again."""
    return [statement for (statement,) in connection.execute(GRANTS, [relation])]


def _shape(definition: str) -> str:
    """Return an index's definition without names."""
    return re.sub(r"INDEX \S+ ON (ONLY )?\S+", "INDEX", definition)


def _rename(connection: Connection[Any], table: str, index: str, constraint: str | None, name: str) -> None:
    if index == name:
        return
    if constraint:
        statement = sql.SQL("ALTER TABLE {} RENAME CONSTRAINT {} TO {}").format(
            sql.Identifier(table), sql.Identifier(constraint), sql.Identifier(name)
        )
    else:
        statement = sql.SQL("ALTER INDEX {} RENAME TO {}").format(sql.Identifier(index), sql.Identifier(name))
    connection.execute(statement)


def finish(connection: Connection[Any]) -> None:
    """Drop the plain tables and the record of the move."""
    for table in TABLES:
        connection.execute(f"DROP TABLE IF EXISTS {table.old}")
    connection.execute(f"DROP TABLE IF EXISTS {PROGRESS}")
