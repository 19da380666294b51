"""Open database sessions for the platform's own processes.

Sessions are long-lived, and a dead one is noticed.
"""

from typing import Any

import psycopg
from django.db import connections
from psycopg import Connection

# A statement that hangs, a lock that is never granted and a peer that is gone all end within half a minute.
# The server, too, notices within half a minute that this client is gone, and frees its locks. Late readings
# may fall into compressed chunks. TimescaleDB by default limits how much one transaction decompresses there,
# and would refuse the same batch for ever; so the limit is lifted. (Plain PostgreSQL takes the name for a
# placeholder.)
SESSION_OPTIONS = (
    "-c timezone=UTC -c statement_timeout=30s -c lock_timeout=5s -c idle_in_transaction_session_timeout=60s "
    "-c timescaledb.max_tuples_decompressed_per_dml_transaction=0 "
    "-c tcp_keepalives_idle=10 -c tcp_keepalives_interval=5 -c tcp_keepalives_count=3 "
    "-c tcp_user_timeout=15000"
)
KEEPALIVE = {
    "connect_timeout": 5,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}


def of_django() -> Connection[Any]:
    """Return the psycopg session under Django's default connection."""
    connections["default"].ensure_connection()
    connection: Connection[Any] = connections["default"].connection
    return connection


def connect(application_name: str) -> Connection[Any]:
    """Open a session in autocommit mode on Django's default database.

    Raises psycopg.OperationalError if the database cannot be reached.
    """
    parameters = connections["default"].get_connection_params()
    for name in (
        "context",
        "cursor_factory",
        "server_side_binding",
        "prepare_threshold",
        "assume_role",
        "pool",
        "isolation_level",
    ):
        parameters.pop(name, None)
    options = " ".join(filter(None, [parameters.pop("options", ""), SESSION_OPTIONS]))
    merged: dict[str, Any] = {
        **KEEPALIVE,
        **parameters,
        "options": options,
        "application_name": application_name,
    }
    return psycopg.connect(**merged, autocommit=True)
