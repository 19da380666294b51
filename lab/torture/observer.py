"""A database session past the proxies: the database as everybody sees it."""

import threading
import time
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import psycopg

from lab.harness import fleet
from lab.torture.invariants import RejectedRow, StoredRow
from lab.torture.messages import (
    DEVICES,
    MAX_STORED_BYTES,
    ExpectedReading,
    Plan,
    PlannedMessage,
    conta_of,
    mac_of,
    message_of,
)
from tds_new.demo.fleet import Device, Site

INDEX = "CREATE INDEX IF NOT EXISTS torture_payload ON tds_new_mensagem_rejeitada (md5(payload))"
FIND_READINGS = """
SELECT l.dispositivo_id, l."time", l.valor
FROM unnest(%(ids)s::bigint[], %(times)s::timestamptz[]) AS k (id, t)
JOIN tds_new_leitura_dispositivo l
    ON l.dispositivo_id = k.id AND l."time" = k.t AND l."time" BETWEEN %(first)s AND %(last)s
"""
FIND_REJECTED = """
SELECT DISTINCT payload FROM tds_new_mensagem_rejeitada
WHERE md5(payload) = ANY(SELECT md5(p) FROM unnest(%s::bytea[]) p)
"""
ALL_READINGS = """
SELECT g.mac, d.codigo, l."time", l.valor, l.unidade, cg.name, cl.name, l.payload_raw ->> 'n'
FROM tds_new_leitura_dispositivo l
LEFT JOIN tds_new_dispositivo d ON d.id = l.dispositivo_id
LEFT JOIN tds_new_gateway g ON g.id = d.gateway_id
LEFT JOIN tds_new_conta cg ON cg.id = g.conta_id
LEFT JOIN tds_new_conta cl ON cl.id = l.conta_id
WHERE g.mac IS NULL OR g.mac = ANY(%s)
"""
ALL_REJECTED = """
SELECT r.topico, r.payload, r.motivo, r.leitura_indice, c.name, count(*)
FROM tds_new_mensagem_rejeitada r LEFT JOIN tds_new_conta c ON c.id = r.conta_id
WHERE r.topico LIKE ANY(%s)
GROUP BY 1, 2, 3, 4, 5
"""
OPTIONS = "-c statement_timeout=5s -c lock_timeout=1s -c timezone=UTC -c default_transaction_read_only=off"
SEARCH_TIMEOUT_S = 30
FLEET_DEVICES = tuple(Device(codigo, "", "ENERGIA", unit, "INSTANTANEA") for codigo, unit in DEVICES.items())
SESSIONS = (
    "pid <> pg_backend_pid() AND datname = current_database() AND application_name LIKE 'tds_new_consumer%'"
)


class Observer:
    """Reads what is stored and rejected, and ends the consumer's sessions.

    Its own session is opened again whenever a fault has ended it. Every method may be called on any thread.
    """

    def __init__(self, url: str, plan: Plan) -> None:
        self._url, self._plan = url, plan
        self._lock = threading.Lock()
        self._session: psycopg.Connection[Any] | None = None
        self._devices: dict[tuple[str, str], int] = {}

    # --- changing -------------------------------------------------------------------------------------------

    def register_fleet(self) -> None:
        """Register two Contas: one has the even gateways, the other the odd ones."""
        plan = self._plan
        self._session = self._open()
        for rest in (0, 1):
            macs = [mac_of(plan, gateway) for gateway in range(rest, plan.gateways, 2)]
            sites = [Site(f"GW-{mac}", mac, "", FLEET_DEVICES) for mac in macs]
            for mac, codigo, device_id, *_ in fleet.register(self._session, conta_of(plan, rest), sites):
                self._devices[mac, codigo] = device_id
        self.execute(INDEX)

    def _macs(self) -> list[str]:
        return [mac_of(self._plan, gateway) for gateway in range(self._plan.gateways)]

    def _open(self) -> psycopg.Connection[Any]:
        return psycopg.connect(
            self._url, autocommit=True, connect_timeout=2, application_name="torture", options=OPTIONS
        )

    def execute(self, query: str, parameters: Any = None) -> list[Any]:
        """Run one statement and return its rows. Raises psycopg.Error."""
        with self._lock:
            if self._session is None or self._session.closed:
                self._session = self._open()
            try:
                cursor = self._session.execute(query, parameters)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                if self._session.broken:
                    self._session.close()
                raise

    def end_sessions(self) -> None:
        """End every session of a consumer (pg_terminate_backend)."""
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {SESSIONS}")

    def cancel_statements(self) -> None:
        """Cancel the statement of every session of a consumer (pg_cancel_backend)."""
        self.execute(
            f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {SESSIONS} AND state <> 'idle'"
        )

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.close()

    # --- reading --------------------------------------------------------------------------------------------

    def search(self, identities: list[int]) -> list[int] | None:
        """Return which of these messages are neither stored nor rejected.

        None if the database has not answered for :data:`SEARCH_TIMEOUT_S`.
        """
        items = [message_of(self._plan, identity) for identity in identities]
        deadline = time.monotonic() + SEARCH_TIMEOUT_S
        while True:
            try:
                return self._missing(items)
            except psycopg.Error:  # a fault is on: nothing is known before it is over
                if time.monotonic() > deadline:
                    return None
                time.sleep(0.1)

    def _missing(self, items: list[PlannedMessage]) -> list[int]:
        readings = [reading for one in items for reading in one.readings]
        found: dict[tuple[int, datetime], Decimal] = {}
        if readings:
            times = [reading.time for reading in readings]
            ids = [self._devices[reading.mac, reading.codigo] for reading in readings]
            rows = self.execute(
                FIND_READINGS, {"ids": ids, "times": times, "first": min(times), "last": max(times)}
            )
            found = {(number, moment.astimezone(UTC)): valor for number, moment, valor in rows}
        rejections = {
            bytes(payload)
            for (payload,) in self.execute(FIND_REJECTED, [[one.payload[:MAX_STORED_BYTES] for one in items]])
        }
        return [one.identity for one in items if not self._is_there(one, found, rejections)]

    def _is_there(
        self, one: PlannedMessage, found: dict[tuple[int, datetime], Decimal], rejections: set[bytes]
    ) -> bool:
        rejected = one.payload[:MAX_STORED_BYTES] in rejections
        if one.rejections and not rejected and one.kind != "conflict":
            return False
        return all(self._is_stored(reading, found) or rejected for reading in one.readings) and bool(
            one.readings or rejected
        )

    def _is_stored(self, reading: ExpectedReading, found: dict[tuple[int, datetime], Decimal]) -> bool:
        return found.get((self._devices[reading.mac, reading.codigo], reading.time)) == reading.valor

    def stored(self) -> list[StoredRow]:
        """Return every reading of the fleet, and those that belong to nobody."""
        return [StoredRow(*row) for row in self.execute(ALL_READINGS, [self._macs()])]

    def rejected(self) -> list[RejectedRow]:
        """Return every rejected message on the fleet's topics, with how often it is there."""
        plan = self._plan
        macs = (mac_of(plan, 0, known)[:8] for known in (True, False))
        rows = self.execute(ALL_REJECTED, [[f"{plan.prefix}/{mac}:%" for mac in macs]])
        return [RejectedRow(topic, bytes(payload), *rest) for topic, payload, *rest in rows]
