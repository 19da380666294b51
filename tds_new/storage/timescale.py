"""What the migrations need to know of the database: TimescaleDB or plain PostgreSQL."""

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db.backends.base.base import BaseDatabaseWrapper


def _scalar(connection: BaseDatabaseWrapper, query: str) -> object:
    with connection.cursor() as cursor:
        cursor.execute(query)
        row = cursor.fetchone()
    return row[0] if row else None


def has_timescale(connection: BaseDatabaseWrapper) -> bool:
    """Whether the TimescaleDB extension is installed in this database."""
    return bool(_scalar(connection, "SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'"))


def is_hypertable(connection: BaseDatabaseWrapper, table: str) -> bool:
    """Whether ``table`` is a hypertable. (The extension may be there, and the tables plain: ``enable_timescale`` moves them.)"""
    found = f"SELECT 1 FROM timescaledb_information.hypertables WHERE hypertable_name = '{table}'"
    return has_timescale(connection) and bool(_scalar(connection, found))


def ensure_timescale(connection: BaseDatabaseWrapper) -> bool:
    """Install TimescaleDB where the server has it loaded and ``TDS_TIMESCALEDB`` allows it; say whether it is there.

    Raises ImproperlyConfigured where it is demanded (``TDS_TIMESCALEDB=on``) and missing.
    """
    if settings.TDS_TIMESCALEDB == "off":
        return False
    if has_timescale(connection):
        return True
    # Creating the extension on a server that has not preloaded its library ends the connection, so ask first: the loader
    # registers settings of its own, which everybody may see.
    loaded = _scalar(connection, "SELECT 1 FROM pg_settings WHERE name LIKE 'timescaledb.%' LIMIT 1")
    if loaded and _scalar(connection, "SELECT 1 FROM pg_available_extensions WHERE name = 'timescaledb'"):
        with connection.cursor() as cursor:
            cursor.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        return True
    if settings.TDS_TIMESCALEDB == "on":
        raise ImproperlyConfigured(
            "TDS_TIMESCALEDB=on, but this server has not loaded TimescaleDB: install it, add it to shared_preload_libraries and "
            "restart PostgreSQL, or set TDS_TIMESCALEDB=auto for plain PostgreSQL."
        )
    return False
