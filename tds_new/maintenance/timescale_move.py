"""The move of a plain database to TimescaleDB.

Each step asks the database what is left to do.
"""

import time
from collections.abc import Callable
from functools import partial
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection as django_connection
from django.db import transaction
from psycopg import Connection

from tds_new.maintenance import policies, timescale_shadow
from tds_new.storage import rollups, session, timescale

LOCK = 0x7464735F6D6F7665  # of the database; pg_advisory_lock
SESSION = ("SET statement_timeout = 0", "SET lock_timeout = '2s'", "SET jit = off")
RETRY_S, GIVE_UP_S = 3.0, 900.0

# A compression policy raises the last one for chunks whose locks it did not get.
IN_USE = (psycopg.errors.LockNotAvailable, psycopg.errors.DeadlockDetected, psycopg.errors.DataException)

Say = Callable[[str], None]


class CannotMoveError(Exception):
    """The database cannot be moved; the text says why and what to do."""


def run(say: Say, progress: Say) -> None:
    """Move the database, or go on with a move that was stopped.

    ``say`` prints a line; ``progress`` prints one that replaces the previous progress. Raises CannotMoveError
    or psycopg.Error; either way the platform keeps working, and the next run continues the move.
    """
    if settings.TDS_TIMESCALEDB == "off":
        raise CannotMoveError(
            "TDS_TIMESCALEDB is off; set it to auto or on, for all processes of the platform"
        )
    if not timescale.ensure_timescale(django_connection):
        raise CannotMoveError(
            "this server has no TimescaleDB: install it, add it to shared_preload_libraries, "
            "restart PostgreSQL"
        )
    with session.connect("tds_new_move") as connection:
        for statement in SESSION:
            connection.execute(statement)
        row = connection.execute("SELECT pg_try_advisory_lock(%s)", [LOCK]).fetchone()
        if row is None or not row[0]:
            raise CannotMoveError("another process is moving this database")
        if not timescale_shadow.moved(connection):
            _copy(connection, say, progress)
            _patiently(_put_in_place, say)
            say("[OK] readings and blocks are hypertables, their sums continuous aggregates")
        _patiently(lambda: timescale_shadow.finish(connection), say)
        _settle(connection, say)


def _copy(connection: Connection[Any], say: Say, progress: Say) -> None:
    if not timescale_shadow.exists(connection, timescale_shadow.PROGRESS):
        _patiently(lambda: timescale_shadow.prepare(connection), say)
    for table in timescale_shadow.TABLES:
        started = time.monotonic()
        for done, devices, rows in timescale_shadow.copy(connection, table):
            share, elapsed = 100 * done // max(devices, 1), time.monotonic() - started
            progress(f"{share:3d} %  {table.name}: {done} of {devices} devices, {rows} rows, {elapsed:.0f} s")
        connection.execute(f"ANALYZE {table.shadow}")
        say(f"[OK] {table.name} is copied")


def _put_in_place() -> None:
    """Put all hypertables in place at once.

    A lock keeps everybody out for some moments.
    """
    with transaction.atomic(), django_connection.cursor() as cursor:
        cursor.execute("SET LOCAL lock_timeout = '2s'")
        cursor.execute("SET LOCAL statement_timeout = 0")
        names = ", ".join(table.name for table in timescale_shadow.TABLES)
        cursor.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        connection: Connection[Any] = django_connection.connection
        grants = [
            statement
            for rollup in rollups.ROLLUPS
            for statement in timescale_shadow.rights(connection, rollup.name)
        ]
        rollups.drop(django_connection)
        for table in timescale_shadow.TABLES:
            timescale_shadow.put_in_place(connection, table)
        rollups.create(django_connection, timescale=True)
        for statement in grants:
            cursor.execute(statement)


def _settle(connection: Connection[Any], say: Say) -> None:
    """Materialise the sums and compress old chunks, as the scheduler would."""
    policies.set_compression(connection, settings.TDS_COMPRESS_AFTER_DAYS)
    for policy in policies.find(connection):
        started = time.monotonic()
        _patiently(partial(policies.run, connection, policy), say)
        say(f"[OK] {policy.name}: {time.monotonic() - started:.1f} s")


def _patiently(step: Callable[[], None], say: Say) -> None:
    """Repeat a step that needs a lock; each try waits 2 s, and others work between."""
    deadline = time.monotonic() + GIVE_UP_S
    while True:
        try:
            return step()
        except Exception as error:
            cause = error if isinstance(error, psycopg.Error) else error.__cause__
            if not isinstance(cause, IN_USE) or time.monotonic() > deadline:
                raise
        say(f"[WARN] the tables are in use; trying again in {RETRY_S:.0f} s")
        time.sleep(RETRY_S)
