"""Tell migrations what kind of database this is; frozen.

Is it TimescaleDB, and which of its tables are hypertables? ``tds_new.storage.timescale`` asks the same for
live code and may change; what a migration that was applied did may not.
"""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper

EXTENSION = "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"
HYPERTABLE = "SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_name = %s"
AGGREGATE = "SELECT 1 FROM timescaledb_information.continuous_aggregates WHERE view_name = %s"
# The loader registers settings of its own, which every role may see.
LOADED = "SELECT 1 FROM pg_settings WHERE name LIKE 'timescaledb.%%' LIMIT 1"
AVAILABLE = "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"


def _finds(connection: BaseDatabaseWrapper, query: str, *parameters: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchone() is not None


def is_hypertable(connection: BaseDatabaseWrapper, table: str) -> bool:
    """Return whether ``table`` is a hypertable.

    It may be plain where the extension is installed.
    """
    return _finds(connection, EXTENSION) and _finds(connection, HYPERTABLE, table)


def ensure_timescale(connection: BaseDatabaseWrapper) -> bool:
    """Install TimescaleDB where the server and ``TDS_TIMESCALEDB`` allow it.

    The server must have loaded it. Returns whether it is installed now. Raises ImproperlyConfigured where it
    is demanded and missing.
    """
    if settings.TDS_TIMESCALEDB == "off":
        return False
    if _finds(connection, EXTENSION):
        return True
    # Creating the extension on a server that has not preloaded its library ends the connection, so ask first.
    if _finds(connection, LOADED) and _finds(connection, AVAILABLE):
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        return True
    if settings.TDS_TIMESCALEDB == "on":
        raise ImproperlyConfigured(
            "TDS_TIMESCALEDB=on, but this server has not loaded TimescaleDB: install it, add it to "
            "shared_preload_libraries and restart PostgreSQL, or set TDS_TIMESCALEDB=auto for plain PostgreSQL."
        )
    return False


def drop_sum(connection: BaseDatabaseWrapper, name: str) -> None:
    """Drop a continuous aggregate or a view, whichever of the two ``name`` is."""
    with connection.cursor() as cursor:
        if _finds(connection, EXTENSION) and _finds(connection, AGGREGATE, name):
            cursor.execute(f"DROP MATERIALIZED VIEW {name}")
        else:
            cursor.execute(f"DROP VIEW IF EXISTS {name}")
