"""One active consumer per client id.

The active consumer holds an advisory lock in the session that commits, so that losing the lock aborts the
commit.
"""

import hashlib
from typing import Any

import psycopg
from psycopg import Connection

from tds_new.storage import session

HOLDER = """
SELECT coalesce(s.host || ', process ' || s.pid, a.client_addr::text, 'this host'), a.backend_start
FROM pg_locks l
JOIN pg_stat_activity a ON a.pid = l.pid
LEFT JOIN tds_new_consumer_status s ON s.client_id = %(client_id)s
WHERE l.locktype = 'advisory'
  AND l.granted
  AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND l.classid::bigint = %(high)s
  AND l.objid::bigint = %(low)s
  AND l.objsubid = 1
"""


class LockHeldError(Exception):
    """Another consumer with the same client id is active; the text says which."""


class LeaderSession:
    """The database session of the active consumer of one client id."""

    def __init__(self, client_id: str) -> None:
        self.client_id = client_id
        digest = hashlib.blake2b(f"tds_new consumer {client_id}".encode(), digest_size=8).digest()
        self._key = int.from_bytes(digest, "big", signed=True)
        self._connection: Connection[Any] | None = None
        self._locked = False

    @property
    def holds_lock(self) -> bool:
        """Whether the session is open and holds the lock."""
        return self._locked and self._connection is not None and not self._connection.closed

    @property
    def connection(self) -> Connection[Any]:
        """The session that holds the lock. Raises psycopg.OperationalError without one."""
        if self._connection is None or not self.holds_lock:
            raise psycopg.OperationalError("the session with the consumer's lock is closed")
        return self._connection

    def acquire(self) -> Connection[Any]:
        """Open a session if there is none, take the lock, and return the session.

        Raises LockHeldError if another session has the lock, psycopg.Error if the database fails.
        """
        if self._connection is None or self._connection.closed:
            self._connection = session.connect(f"tds_new_consumer {self.client_id}"[:63])
        self._locked = False
        row = self._connection.execute("SELECT pg_try_advisory_lock(%s)", [self._key]).fetchone()
        if row is None or not row[0]:
            raise LockHeldError(self._holder(self._connection))
        self._locked = True
        return self._connection

    def _holder(self, connection: Connection[Any]) -> str:
        """Say who holds the lock, and since when."""
        unsigned = self._key % 2**64
        parameters = {"client_id": self.client_id, "high": unsigned >> 32, "low": unsigned & 0xFFFFFFFF}
        row = connection.execute(HOLDER, parameters).fetchone()
        return f"{row[0]}, since {row[1]:%Y-%m-%d %H:%M:%SZ}" if row else "another session"

    def close(self) -> None:
        """End the session, and with it the lock."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        self._locked = False
