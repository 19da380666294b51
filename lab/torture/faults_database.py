"""Faults of the database and of the network to it."""

import time
from typing import Any

import psycopg

from lab.torture.scene import Attack, FaultMissedError, Scene
from lab.torture.stage import DATABASE

LOCK = "LOCK TABLE tds_new_leitura_dispositivo IN ACCESS EXCLUSIVE MODE"
FAIL = """
CREATE OR REPLACE FUNCTION torture_fail() RETURNS trigger LANGUAGE plpgsql AS
$$BEGIN RAISE EXCEPTION 'torture' USING ERRCODE = '{state}'; END$$;
CREATE TRIGGER torture BEFORE INSERT ON tds_new_leitura_dispositivo FOR EACH ROW EXECUTE FUNCTION torture_fail()
"""
MEND = "DROP TRIGGER IF EXISTS torture ON tds_new_leitura_dispositivo"


def restart(scene: Scene, parameters: dict[str, Any]) -> None:
    """Stop in order, start."""
    _restart(scene, immediate=False)


def crash(scene: Scene, parameters: dict[str, Any]) -> None:
    """End without a checkpoint, start with a recovery."""
    _restart(scene, immediate=True)


def away(scene: Scene, parameters: dict[str, Any]) -> None:
    """Nobody answers for a while."""
    _restart(scene, immediate=False, pause=float(parameters["seconds"]))


def _restart(scene: Scene, *, immediate: bool, pause: float = 0.0) -> None:
    scene.flow()
    scene.stage.postgres.stop(immediate=immediate)
    time.sleep(pause)
    scene.stage.postgres.start(DATABASE)


def terminate(scene: Scene, parameters: dict[str, Any]) -> None:
    """End the session from elsewhere."""
    scene.flow()
    scene.witness.end_sessions()


def commit(scene: Scene, parameters: dict[str, Any]) -> None:
    """Lose the connection around a COMMIT."""
    scene.database.arm(str(parameters["how"]))
    scene.open_gate(None)
    if not scene.database.acted.wait(min(15.0, scene.patience)):
        scene.database.arm("")
        raise FaultMissedError("no batch was committed")


def cancel(scene: Scene, parameters: dict[str, Any]) -> None:
    """Cancel whatever runs, again and again."""
    scene.flow()
    end = time.monotonic() + float(parameters["seconds"])
    while time.monotonic() < end:
        scene.witness.cancel_statements()
        time.sleep(0.005)


def lock(scene: Scene, parameters: dict[str, Any]) -> None:
    """Hold the table for longer than the consumer waits for a lock."""
    with psycopg.connect(scene.stage.url, application_name="torture lock") as session:
        session.execute(LOCK)
        scene.flow()
        time.sleep(float(parameters["seconds"]))
        session.rollback()


def read_only(scene: Scene, parameters: dict[str, Any]) -> None:
    """As after a failover to a standby."""
    with _maintenance(scene) as session:
        session.execute(f"ALTER DATABASE {DATABASE} SET default_transaction_read_only = on")
        scene.witness.end_sessions()
        scene.flow()
        time.sleep(float(parameters["seconds"]))
        session.execute(f"ALTER DATABASE {DATABASE} RESET default_transaction_read_only")


def no_connections(scene: Scene, parameters: dict[str, Any]) -> None:
    """Refuse every new session, superusers included."""
    with _maintenance(scene) as session:
        session.execute(f"ALTER DATABASE {DATABASE} WITH ALLOW_CONNECTIONS false")
        scene.witness.end_sessions()
        scene.flow()
        time.sleep(float(parameters["seconds"]))
        session.execute(f"ALTER DATABASE {DATABASE} WITH ALLOW_CONNECTIONS true")


def sqlstate(scene: Scene, parameters: dict[str, Any]) -> None:
    """Every insert of a reading fails, as with a full disk, a missing column or a lost right."""
    with psycopg.connect(scene.stage.url, autocommit=True, application_name="torture trigger") as session:
        session.execute(FAIL.format(state=parameters["state"]))
        scene.flow()
        time.sleep(float(parameters["seconds"]))
        session.execute(MEND)


def cut(scene: Scene, parameters: dict[str, Any]) -> None:
    """Close the connection between two packets."""
    scene.flow()
    scene.database.cut()


def frozen(scene: Scene, parameters: dict[str, Any]) -> None:
    """Packets get lost in both directions, then go on."""
    scene.flow()
    scene.database.freeze(new_ones=True)
    time.sleep(float(parameters["seconds"]))
    scene.database.thaw()


def slow(scene: Scene, parameters: dict[str, Any]) -> None:
    """Every packet is late."""
    scene.flow()
    scene.database.delay = 0.1
    time.sleep(float(parameters["seconds"]))
    scene.database.delay = 0.0


def _maintenance(scene: Scene) -> "psycopg.Connection[Any]":
    return psycopg.connect(scene.stage.postgres.url("postgres"), autocommit=True)


ATTACKS: dict[str, Attack] = {
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
