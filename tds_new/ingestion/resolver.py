"""Identifiers in topics to gateways, tenants and devices.

A small cache with a bounded age; it remembers unknown identifiers too.
"""

import time
from collections.abc import Callable, Iterable
from datetime import datetime
from fractions import Fraction

import msgspec
from psycopg import Connection

from tds_new.mac import normalise_mac
from tds_new.units import ONE, unit_factor

MAX_ENTRIES = 50_000

LOOK_UP = """
SELECT g.id, g.conta_id, g.mac, g.device_id, g.is_active AND c.is_active,
       greatest(g.aceita_leituras_desde, (SELECT ate FROM tds_new_consumo_congelado)),
       d.id, d.codigo, d.unidade, d.status
FROM tds_new_gateway g
JOIN tds_new_conta c ON c.id = g.conta_id
LEFT JOIN tds_new_dispositivo d ON d.gateway_id = g.id
WHERE g.mac = ANY(%(macs)s) OR g.device_id = ANY(%(names)s)
"""


class Device(msgspec.Struct, frozen=True, gc=False):
    """The part of a Dispositivo that ingestion needs.

    A device in maintenance is active: its register goes on.
    """

    id: int
    codigo: str
    unidade: str
    is_active: bool

    def factor_of(self, unidade: str | None) -> Fraction | None:
        """Return what a value in a reading's unit is multiplied by to be in this device's.

        Without a unit it is in the device's. None if it cannot be converted.
        """
        return ONE if unidade is None else unit_factor(unidade, self.unidade)


class KnownGateway(msgspec.Struct, frozen=True, gc=False):
    """The part of a Gateway that ingestion needs; ``devices`` by their codes."""

    id: int
    conta_id: int
    mac: str
    is_active: bool
    accepts_since: datetime
    devices: dict[str, Device]


class Resolver:
    """Finds gateways by the identifiers in their topics.

    One query looks up all identifiers of a batch that are not known yet.
    """

    def __init__(self, max_age: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Keep entries for ``max_age`` seconds, so that changes take effect."""
        self._max_age = max_age
        self._clock = clock
        self._entries: dict[str, tuple[float, KnownGateway | None]] = {}

    def forget(self) -> None:
        """Look everything up again."""
        self._entries.clear()

    def resolve(self, connection: Connection, identifiers: Iterable[str]) -> dict[str, KnownGateway | None]:
        """Return the gateway of each identifier; None if none is registered."""
        now = self._clock()
        gateways: dict[str, KnownGateway | None] = {}
        unknown: list[str] = []
        for identifier in identifiers:
            entry = self._entries.get(identifier)
            if entry is not None and now - entry[0] < self._max_age:
                gateways[identifier] = entry[1]
            else:
                unknown.append(identifier)
        if unknown:
            fresh = _look_up(connection, unknown)
            if len(self._entries) + len(fresh) > MAX_ENTRIES:
                self.forget()
            self._entries.update((identifier, (now, gateway)) for identifier, gateway in fresh.items())
            gateways.update(fresh)
        return gateways


def _look_up(connection: Connection, identifiers: list[str]) -> dict[str, KnownGateway | None]:
    """Read the gateways that MACs or names identify, with their devices."""
    macs = {identifier: normalise_mac(identifier) for identifier in identifiers}
    parameters = {
        "macs": sorted({mac for mac in macs.values() if mac}),
        "names": [identifier for identifier, mac in macs.items() if mac is None],
    }
    by_name: dict[str, KnownGateway] = {}
    for gateway_id, conta_id, mac, name, is_active, since, *device in connection.execute(LOOK_UP, parameters):
        gateway = by_name.get(mac)
        if gateway is None:
            gateway = by_name[mac] = KnownGateway(gateway_id, conta_id, mac, is_active, since, {})
            if name:
                by_name[name] = gateway
        if device[0] is not None:
            device_id, codigo, unidade, status = device
            gateway.devices[codigo] = Device(device_id, codigo, unidade, status != "INATIVO")
    return {identifier: by_name.get(mac or identifier) for identifier, mac in macs.items()}
