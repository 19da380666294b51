"""The record of when each maintenance task last ran and how that ended.

People and Prometheus read it (``ManutencaoExecucao``).
"""

from datetime import datetime, timedelta
from typing import Any

from psycopg import Connection

LATE_AFTER = 3  # intervals without success
RETRY = "5 minutes"  # after a failure

RECORD = f"""
INSERT INTO tds_new_manutencao_execucao AS m (nome, ultima_execucao, ultimo_sucesso, erro, prazo)
VALUES (%(name)s, clock_timestamp(), CASE WHEN %(error)s = '' THEN clock_timestamp() END, %(error)s,
    CASE WHEN %(error)s = '' THEN clock_timestamp() + {LATE_AFTER} * %(interval)s::interval END)
ON CONFLICT (nome) DO UPDATE SET
    ultima_execucao = excluded.ultima_execucao, ultimo_sucesso = coalesce(excluded.ultimo_sucesso,
        m.ultimo_sucesso),
    erro = excluded.erro, prazo = coalesce(excluded.prazo, m.prazo)
"""
OBSERVE = f"""
INSERT INTO tds_new_manutencao_execucao AS m (nome, ultima_execucao, ultimo_sucesso, prazo)
VALUES (%(name)s, %(at)s, %(at)s, %(at)s + {LATE_AFTER} * %(interval)s::interval)
ON CONFLICT (nome) DO UPDATE SET
    ultima_execucao = excluded.ultima_execucao, ultimo_sucesso = excluded.ultimo_sucesso, erro = '',
        prazo = excluded.prazo
    WHERE m.ultima_execucao < excluded.ultima_execucao
"""
RAN_LATELY = f"""
SELECT 1 FROM tds_new_manutencao_execucao WHERE nome = %(name)s
    AND ultima_execucao > clock_timestamp() - CASE WHEN erro = '' THEN %(interval)s ELSE least(%(interval)s,
        INTERVAL '{RETRY}') END
"""
FORGET = "DELETE FROM tds_new_manutencao_execucao WHERE NOT nome = ANY(%s)"


def ran(connection: Connection[Any], name: str, interval: timedelta, error: str = "") -> None:
    """Record a run that has just ended.

    ``interval``: how often the task should succeed; ``error``: why it failed, empty if it succeeded.
    """
    connection.execute(RECORD, {"name": name, "interval": interval, "error": error})


def observed(connection: Connection[Any], name: str, interval: timedelta, at: datetime) -> None:
    """Record that the database's own scheduler succeeded with the task at ``at``."""
    connection.execute(OBSERVE, {"name": name, "interval": interval, "at": at})


def ran_lately(connection: Connection[Any], name: str, interval: timedelta) -> bool:
    """Return whether the task ran within its interval.

    One that failed is due again after some minutes.
    """
    return connection.execute(RAN_LATELY, {"name": name, "interval": interval}).fetchone() is not None


def forget_others(connection: Connection[Any], names: list[str]) -> None:
    """Delete the record of everything that is no longer a task."""
    connection.execute(FORGET, [names])
