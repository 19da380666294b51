"""Faults of the database and of the network to it.

Each takes the run in progress and the parameters of its kind in ``schedule.KINDS``.
"""

import time
from typing import Any

import psycopg

from lab.torture.fault_context import FaultContext, FaultFunction, FaultNotInjectedError

LOCK = "LOCK TABLE tds_new_leitura_dispositivo IN ACCESS EXCLUSIVE MODE"
FAIL = """
CREATE OR REPLACE FUNCTION torture_fail() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'torture' USING ERRCODE = '{state}'; END$$;
CREATE TRIGGER torture BEFORE INSERT ON tds_new_leitura_dispositivo
FOR EACH ROW EXECUTE FUNCTION torture_fail()
"""
MEND = "DROP TRIGGER IF EXISTS torture ON tds_new_leitura_dispositivo"


def restart(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Stop the server in order, and start it."""
    _restart(context, immediate=False)


def crash(context: FaultContext, parameters: dict[str, Any]) -> None:
    """End the server without a checkpoint; it starts with a recovery."""
    _restart(context, immediate=True)


def away(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Stop the server for some seconds."""
    _restart(context, immediate=False, pause=float(parameters["seconds"]))


def _restart(context: FaultContext, *, immediate: bool, pause: float = 0.0) -> None:
    context.let_messages_flow()
    context.environment.postgres.stop(immediate=immediate)
    time.sleep(pause)
    context.environment.start_database()


def terminate(context: FaultContext, parameters: dict[str, Any]) -> None:
    """End the consumer's sessions from elsewhere."""
    context.let_messages_flow()
    context.observer.end_sessions()


def commit(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Cut the connection around a COMMIT.

    Raises FaultNotInjectedError if no batch is committed.
    """
    context.database.arm(str(parameters["how"]))
    context.allow_messages(None)
    if not context.database.acted.wait(min(15.0, context.recovery_timeout)):
        context.database.arm("")
        raise FaultNotInjectedError("no batch was committed")


def cancel(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Cancel the consumer's statements, again and again."""
    context.let_messages_flow()
    end = time.monotonic() + float(parameters["seconds"])
    while time.monotonic() < end:
        context.observer.cancel_statements()
        time.sleep(0.005)


def lock(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Lock the table of readings for longer than the consumer waits for a lock."""
    with psycopg.connect(context.environment.url(), application_name="torture lock") as session:
        session.execute(LOCK)
        context.let_messages_flow()
        time.sleep(float(parameters["seconds"]))
        session.rollback()


def read_only(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Make the database read-only, as it is after a failover to a standby."""
    with _session_elsewhere(context) as session:
        session.execute(
            f"ALTER DATABASE {context.environment.database} SET default_transaction_read_only = on"
        )
        context.observer.end_sessions()
        context.let_messages_flow()
        time.sleep(float(parameters["seconds"]))
        session.execute(f"ALTER DATABASE {context.environment.database} RESET default_transaction_read_only")


def no_connections(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Have the database refuse every new session, superusers included."""
    with _session_elsewhere(context) as session:
        session.execute(f"ALTER DATABASE {context.environment.database} WITH ALLOW_CONNECTIONS false")
        context.observer.end_sessions()
        context.let_messages_flow()
        time.sleep(float(parameters["seconds"]))
        session.execute(f"ALTER DATABASE {context.environment.database} WITH ALLOW_CONNECTIONS true")


def sqlstate(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Have every insert of a reading fail with a SQLSTATE.

    So it is with a full disk, a missing column or a lost privilege.
    """
    with psycopg.connect(
        context.environment.url(), autocommit=True, application_name="torture trigger"
    ) as session:
        session.execute(FAIL.format(state=parameters["state"]))
        context.let_messages_flow()
        time.sleep(float(parameters["seconds"]))
        session.execute(MEND)


def cut(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Cut the connection between two packets."""
    context.let_messages_flow()
    context.database.cut()


def frozen(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Hold packets back in both directions, then let them go on."""
    context.let_messages_flow()
    context.database.freeze(new_ones=True)
    time.sleep(float(parameters["seconds"]))
    context.database.thaw()


def slow(context: FaultContext, parameters: dict[str, Any]) -> None:
    """Delay every packet."""
    context.let_messages_flow()
    context.database.delay = 0.1
    time.sleep(float(parameters["seconds"]))
    context.database.delay = 0.0


def _session_elsewhere(context: FaultContext) -> "psycopg.Connection[Any]":
    return psycopg.connect(context.environment.postgres.url("postgres"), autocommit=True)


FAULTS: dict[str, FaultFunction] = {
    "postgres_restart": restart,
    "postgres_crash": crash,
    "postgres_away": away,
    "terminate": terminate,
    "commit": commit,
    "cancel": cancel,
    "lock": lock,
    "read_only": read_only,
    "no_connections": no_connections,
    "sqlstate": sqlstate,
    "database_cut": cut,
    "database_frozen": frozen,
    "database_slow": slow,
}
