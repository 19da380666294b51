"""One line of advice for a command while the database cannot be reached."""

from pathlib import Path

import psycopg
from django.conf import settings
from django.db import OperationalError, connections

from tds_new.embedded import state

# SQLSTATE classes. 08: exceptions of the connection. 57P: the server stops, starts or was killed.
AWAY = ("08", "57P")


def is_away(error: BaseException) -> bool:
    """Whether ``error`` means that the database cannot be reached."""
    cause = error.__cause__ if isinstance(error, OperationalError) else error
    if not isinstance(cause, psycopg.OperationalError):
        return False
    return cause.sqlstate is None or cause.sqlstate.startswith(AWAY)


def advice(error: BaseException) -> str:
    """Say what cannot be reached, why, and what to do, in one ASCII line."""
    database = connections["default"].settings_dict
    reason = next(iter(str(error).splitlines()), "").strip()
    if not settings.EMBEDDED:
        host, port = database["HOST"] or "the local socket", database["PORT"] or 5432
        line = (
            f"the database {database['NAME']} at {host}, port {port}, cannot be reached ({reason}): "
            "start it, or correct DATABASE_URL"
        )
    elif state.read(Path(settings.TDS_DATA_DIR)) is None:
        line = "no database to work on: start `make run` in another terminal, or set DATABASE_URL"
    else:
        line = (
            f"the database of `make run` does not answer ({reason}): "
            "see what `make run` says, or start it again"
        )
    return line.encode("ascii", "backslashreplace").decode("ascii")
