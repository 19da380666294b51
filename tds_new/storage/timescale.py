"""The kind of this database: TimescaleDB or plain PostgreSQL."""

from typing import Any

import psycopg
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper

Connection = BaseDatabaseWrapper | psycopg.Connection[Any]

EXTENSION = "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"
HYPERTABLE = "SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_name = %s"
# The loader registers settings of its own, which every role may see.
LOADED = "SELECT 1 FROM pg_settings WHERE name LIKE 'timescaledb.%%' LIMIT 1"
AVAILABLE = "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"


def _finds(connection: Connection, query: str, *parameters: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone() is not None


def has_timescale(connection: Connection) -> bool:
    """Return whether the TimescaleDB extension is installed in this database."""
    return _finds(connection, EXTENSION)


def is_hypertable(connection: Connection, table: str) -> bool:
    """Return whether ``table`` is a hypertable.

    The extension may be installed while the tables are still plain: ``enable_timescale`` moves them.
    """
    return has_timescale(connection) and _finds(connection, HYPERTABLE, table)


def ensure_timescale(connection: Connection) -> bool:
    """Install TimescaleDB where the server and ``TDS_TIMESCALEDB`` allow it.

    The server must have loaded it. Returns whether it is installed now. Raises ImproperlyConfigured if
    ``TDS_TIMESCALEDB=on`` and it is missing.
    """
    if settings.TDS_TIMESCALEDB == "off":
        return False
    if has_timescale(connection):
        return True
    # Creating the extension on a server that has not preloaded its library ends the connection, so ask first.
    if _finds(connection, LOADED) and _finds(connection, AVAILABLE):
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        return True
    if settings.TDS_TIMESCALEDB == "on":
        raise ImproperlyConfigured(
            "TDS_TIMESCALEDB=on, but this server has not loaded TimescaleDB: install it, add it to "
            "shared_preload_libraries and restart PostgreSQL, or set TDS_TIMESCALEDB=auto "
            "for plain PostgreSQL."
        )
    return False
