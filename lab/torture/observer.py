"""A database session of the harness's own, directly to the server: what the consumer did as everybody else sees it."""

import threading
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import psycopg

from lab.torture.messages import (
    DEVICES,
    MAX_STORED_BYTES,
    ExpectedReading,
    Plan,
    PlannedMessage,
    mac_of,
    message_of,
)

REGISTER = """
WITH conta AS (INSERT INTO tds_new_conta (name) VALUES (%(name)s) RETURNING id),
g AS (
    INSERT INTO tds_new_gateway (conta_id, codigo, mac, qte_max_dispositivos)
    SELECT conta.id, 'GW-' || m.mac, m.mac, 3 FROM conta, unnest(%(macs)s::text[]) AS m (mac)
    RETURNING id, conta_id
)
INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo, unidade, grandeza, tipo_leitura)
SELECT g.conta_id, g.id, d.codigo, d.unidade, 'ENERGIA', 'INSTANTANEA'
FROM g, unnest(%(codes)s::text[], %(units)s::text[]) AS d (codigo, unidade)
"""
DEVICE_IDS = "SELECT g.mac, d.codigo, d.id FROM tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id WHERE g.mac = ANY(%s)"
INDEX = "CREATE INDEX IF NOT EXISTS torture_payload ON tds_new_mensagem_rejeitada (md5(payload))"
FIND_READINGS = """
SELECT l.dispositivo_id, l."time", l.valor
FROM unnest(%(ids)s::bigint[], %(times)s::timestamptz[]) AS k (id, t)
JOIN tds_new_leitura_dispositivo l ON l.dispositivo_id = k.id AND l."time" = k.t AND l."time" BETWEEN %(first)s AND %(last)s
"""
FIND_REJECTED = "SELECT DISTINCT payload FROM tds_new_mensagem_rejeitada WHERE md5(payload) = ANY(SELECT md5(p) FROM unnest(%s::bytea[]) p)"
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
SESSIONS = (
    "pid <> pg_backend_pid() AND datname = current_database() AND application_name LIKE 'tds_new_consumer%'"
)


class StoredRow(NamedTuple):
    """A reading as it is stored: the gateway's tenant, the row's tenant, and the message that its raw payload names."""

    mac: str | None
    codigo: str | None
    time: datetime
    valor: Decimal
    unidade: str
    gateway_conta: str | None
    conta: str | None
    number: str | None


class RejectedRow(NamedTuple):
    """A rejected message, and how often it is there."""

    topic: str
    payload: bytes
    motivo: str
    place: int | None
    conta: str | None
    times: int


class Observer:
    """Looks, and disturbs. Its own session is opened again whenever a fault has ended it."""

    def __init__(self, url: str, plan: Plan) -> None:
        self._url, self._plan = url, plan
        self._lock = threading.Lock()
        self._session: psycopg.Connection[Any] | None = None
        self._devices: dict[tuple[str, str], int] = {}

    # --- the world ------------------------------------------------------------------------------------------------------------

    def register_fleet(self) -> None:
        """Two tenants: the gateways with even numbers of the one, those with odd numbers of the other."""
        plan = self._plan
        for rest in (0, 1):
            macs = [mac_of(plan, gateway) for gateway in range(rest, plan.gateways, 2)]
            self.execute(
                REGISTER,
                {
                    "name": conta_of(plan, rest),
                    "macs": macs,
                    "codes": list(DEVICES),
                    "units": list(DEVICES.values()),
                },
            )
        self.execute(INDEX)
        self._devices = {
            (mac, codigo): number for mac, codigo, number in self.execute(DEVICE_IDS, [self._macs()])
        }

    def _macs(self) -> list[str]:
        return [mac_of(self._plan, gateway) for gateway in range(self._plan.gateways)]

    def execute(self, query: str, parameters: Any = None) -> list[Any]:
        """Run one statement; raises psycopg.Error."""
        with self._lock:
            if self._session is None or self._session.closed:
                options = "-c statement_timeout=5s -c lock_timeout=1s -c timezone=UTC -c default_transaction_read_only=off"
                self._session = psycopg.connect(
                    self._url, autocommit=True, connect_timeout=2, application_name="torture", options=options
                )
            try:
                cursor = self._session.execute(query, parameters)
                return cursor.fetchall() if cursor.description else []
            except psycopg.OperationalError:
                if self._session.broken:
                    self._session.close()
                raise

    def end_sessions(self) -> None:
        """pg_terminate_backend for every session of a consumer."""
        self.execute(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE {SESSIONS}")

    def cancel_statements(self) -> None:
        """pg_cancel_backend for every session of a consumer."""
        self.execute(
            f"SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE {SESSIONS} AND state <> 'idle'"
        )

    def close(self) -> None:
        """End the session."""
        if self._session is not None:
            self._session.close()

    # --- looking --------------------------------------------------------------------------------------------------------------

    def search(self, identities: list[int]) -> list[int] | None:
        """Which of these messages are neither stored nor rejected; None where the database gave no answer for half a minute."""
        items = [message_of(self._plan, identity) for identity in identities]
        deadline = time.monotonic() + 30
        while True:
            try:
                return self._missing(items)
            except psycopg.Error:  # a fault is on: nothing can be said before it is over
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
        return all(self._stored(reading, found) or rejected for reading in one.readings) and bool(
            one.readings or rejected
        )

    def _stored(self, reading: ExpectedReading, found: dict[tuple[int, datetime], Decimal]) -> bool:
        return found.get((self._devices[reading.mac, reading.codigo], reading.time)) == reading.valor

    def readings(self) -> list[StoredRow]:
        """Every reading of the fleet, and those that belong to nobody."""
        return [StoredRow(*row) for row in self.execute(ALL_READINGS, [self._macs()])]

    def rejections(self) -> list[RejectedRow]:
        """Every rejected message on the fleet's topics."""
        plan = self._plan
        macs = (mac_of(plan, 0, known)[:8] for known in (True, False))
        rows = self.execute(ALL_REJECTED, [[f"{plan.prefix}/{mac}:%" for mac in macs]])
        return [RejectedRow(topic, bytes(payload), *rest) for topic, payload, *rest in rows]


def conta_of(plan: Plan, gateway: int) -> str:
    """The tenant of a gateway."""
    return f"Torture {plan.fleet} {'even' if gateway % 2 == 0 else 'odd'}"


def gateway_numbers(plan: Plan) -> Iterable[tuple[str, str]]:
    """Each MAC of the fleet with its tenant."""
    return ((mac_of(plan, gateway), conta_of(plan, gateway)) for gateway in range(plan.gateways))
