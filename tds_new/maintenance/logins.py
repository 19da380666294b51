"""Deletes what logins leave behind.

That is expired counters and sessions, and networks of long ago. Logins delete expired counters too; here goes
what they leave, and whatever is beyond a bound that no crowd of attackers may exceed.
"""

from datetime import timedelta
from typing import Any

from psycopg import Connection

NAME = "logins tds_new_tentativa_entrada"
EVERY = timedelta(minutes=10)
BATCH = 10_000  # rows deleted in one transaction
COUNTERS_AT_MOST = 100_000  # some 30 MB
NETWORKS_AT_MOST = 100  # of a person

SESSIONS = """
DELETE FROM django_session WHERE session_key IN (
    SELECT session_key FROM django_session WHERE expire_date < clock_timestamp() LIMIT %s)
"""
EXPIRED = """
DELETE FROM tds_new_tentativa_entrada WHERE chave IN (
    SELECT chave FROM tds_new_tentativa_entrada WHERE expira_em <= clock_timestamp()
    LIMIT %s FOR UPDATE SKIP LOCKED)
"""
TOO_MANY = """
DELETE FROM tds_new_tentativa_entrada WHERE chave IN (
    SELECT chave FROM tds_new_tentativa_entrada ORDER BY expira_em DESC OFFSET %s)
"""
OLD_NETWORKS = """
DELETE FROM tds_new_rede_conhecida WHERE id IN (
    SELECT id FROM (
        SELECT id, ultima_em, row_number() OVER (PARTITION BY usuario_id ORDER BY ultima_em DESC) AS place
        FROM tds_new_rede_conhecida) n
    WHERE ultima_em < clock_timestamp() - INTERVAL '30 days' OR place > %s)
"""


def prune(connection: Connection[Any]) -> None:
    """Delete what has expired or is too much.

    The connection must be in autocommit mode. Raises psycopg.Error.
    """
    for statement in (SESSIONS, EXPIRED):
        while connection.execute(statement, [BATCH]).rowcount == BATCH:
            pass
    connection.execute(TOO_MANY, [COUNTERS_AT_MOST])
    connection.execute(OLD_NETWORKS, [NETWORKS_AT_MOST])
