"""Empty the database after a transactional test as Django's flush does, in a small part of its time.

Django truncates every table, which makes new files for each table and index, and then creates content types
and permissions again. Here most tables are not touched, because they are empty, and the content types stay.
"""

from django.core.management import call_command
from django.db import connections, transaction
from django.test import TransactionTestCase

from tds_new.storage.timescale import has_timescale

# Migrations create their rows, so that a flush has to create them again.
KEPT = ("django_content_type", "auth_permission")
# They may be large, and are hypertables on TimescaleDB, where TRUNCATE also drops the chunks.
TRUNCATED = ("tds_new_leitura_dispositivo", "tds_new_consumo_15min")

_rows_kept: dict[str, tuple[int, ...]] = {}


def empty(alias: str) -> bool:
    """Empty the tables of a database; return False if only a flush restores the rows of ``KEPT``."""
    connection = connections[alias]
    names = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = sorted(set(names).difference(KEPT))
    with transaction.atomic(using=alias), connection.cursor() as cursor:
        # As TRUNCATE does: wait for what sessions of ended processes still write.
        cursor.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(f"SELECT {', '.join(f'(SELECT count(*) FROM {table})' for table in KEPT)}")
        rows = cursor.fetchone()
        if rows != _rows_kept.setdefault(alias, rows):
            return False
        cursor.execute(" UNION ALL ".join(f"SELECT '{t}' WHERE EXISTS (SELECT FROM {t})" for t in tables))
        full = {table for (table,) in cursor.fetchall()}
        # A truncated hypertable invalidates what was summed of it, even if it was empty.
        truncated = (set(tables) if has_timescale(connection) else full).intersection(TRUNCATED)
        if truncated:
            cursor.execute(f"TRUNCATE {', '.join(sorted(truncated))}")
        cursor.execute("SET LOCAL session_replication_role = replica")  # no triggers, no foreign keys
        for table in sorted(full - truncated):
            cursor.execute(f"DELETE FROM {table}")
    return True


def _fixture_teardown(test: TransactionTestCase) -> None:
    for alias in test._databases_names(include_mirrors=False):
        if not empty(alias):
            call_command("flush", verbosity=0, interactive=False, database=alias, reset_sequences=False)


def install() -> None:
    """Let every transactional test of the suite end this way."""
    TransactionTestCase._fixture_teardown = _fixture_teardown
