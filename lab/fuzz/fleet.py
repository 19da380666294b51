"""The fleet that hostile messages are addressed to.

It has the same gateways and devices in memory and in a database.
"""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from psycopg import Connection

from lab.harness import fleet
from lab.harness.macs import mac_address
from tds_new.demo.fleet import Device, Site
from tds_new.ingestion import resolver
from tds_new.ingestion.resolver import KnownGateway, Resolver

# A clock that stands still: the same seed gives the same cases, and the same expectations, at any time.
NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
ACCEPTS_SINCE = NOW - timedelta(days=60)

# Properties of a fleet that sites of the demonstration do not have: a name, another horizon, inactive
# gateways and devices.
COMPLETE_GATEWAY = """
UPDATE tds_new_gateway SET device_id = %s, is_active = %s, aceita_leituras_desde = %s WHERE mac = %s
"""
DEACTIVATE_DEVICE = "UPDATE tds_new_dispositivo SET status = 'INATIVO' WHERE id = %s"


class KnownDevice(NamedTuple):
    """A registered device; ``id`` is 0 until it is known."""

    codigo: str
    unidade: str
    is_active: bool = True
    id: int = 0


class FleetGateway(NamedTuple):
    """A gateway; ``name`` is its ``device_id``."""

    mac: str
    name: str | None
    is_active: bool
    devices: tuple[KnownDevice, ...]
    id: int = 0
    conta_id: int = 0


class Fleet(NamedTuple):
    """Gateways of two Contas, one of them inactive.

    ``stranger`` is a MAC that nobody has registered.
    """

    gateways: tuple[FleetGateway, ...]
    stranger: str

    def find(self, identifier: str) -> FleetGateway | None:
        """Return the gateway that the identifier of a topic means; None for nobody.

        The contract says: a MAC in any spelling, else a name.
        """
        bare = identifier.replace(":", "").replace("-", "").lower()
        for gateway in self.gateways:
            if gateway.name == identifier:
                return gateway
            plain = gateway.mac.replace(":", "")
            if bare == plain and identifier.lower() in (plain, gateway.mac, gateway.mac.replace(":", "-")):
                return gateway
        return None


def make_fleet(number: int) -> Fleet:
    """Return the fleet of this number, with ids of its own."""
    meters = (
        KnownDevice("D01", "kWh"),
        KnownDevice("D02", "m³"),
        KnownDevice("D03", "°C"),
        KnownDevice("D04", "kWh", is_active=False),
    )
    devices = (meters, (*meters[:2], KnownDevice("Água-5", "m3")), meters[:1])
    gateways = tuple(
        FleetGateway(
            mac_address(f"0a{n:02x}{number:08x}"),
            f"gw-{number}.b" if n == 1 else None,
            n != 2,
            tuple(device._replace(id=10 * (n + 1) + place) for place, device in enumerate(own)),
            n + 1,
            n % 2 + 1,
        )
        for n, own in enumerate(devices)
    )
    return Fleet(gateways, gateways[0].mac.replace("0a:", "0e:", 1))


def register(connection: Connection, number: int) -> Fleet:
    """Register the fleet of this number; return it with its ids there."""
    planned = make_fleet(number)
    ids: dict[tuple[str, str], tuple[int, int, int]] = {}
    for conta in (1, 2):
        sites = [_site(gateway) for gateway in planned.gateways if gateway.conta_id == conta]
        for mac, codigo, *found in fleet.register(connection, f"Fuzz {number}-{conta}", sites):
            ids[mac, codigo] = (found[0], found[1], found[2])
    gateways = []
    for gateway in planned.gateways:
        state = (gateway.name, gateway.is_active, ACCEPTS_SINCE, gateway.mac)
        connection.execute(COMPLETE_GATEWAY, state)
        devices = tuple(d._replace(id=ids[gateway.mac, d.codigo][0]) for d in gateway.devices)
        for device in devices:
            if not device.is_active:
                connection.execute(DEACTIVATE_DEVICE, [device.id])
        _, gateway_id, conta_id = ids[gateway.mac, devices[0].codigo]
        gateways.append(gateway._replace(id=gateway_id, conta_id=conta_id, devices=devices))
    return planned._replace(gateways=tuple(gateways))


def _site(gateway: FleetGateway) -> Site:
    devices = tuple(Device(d.codigo, "", "ENERGIA", d.unidade, "INSTANTANEA") for d in gateway.devices)
    return Site(f"GW-{gateway.id}", gateway.mac, "", devices)


class Registry(Resolver):
    """Resolves identifiers without a database."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(0)
        self._fleet = fleet
        self._known = {gateway.mac: _known(gateway) for gateway in fleet.gateways}

    def resolve(self, connection: Connection, identifiers: Iterable[str]) -> dict[str, KnownGateway | None]:
        """Resolve as the real resolver does, from memory."""
        found = {identifier: self._fleet.find(identifier) for identifier in identifiers}
        return {
            identifier: self._known[gateway.mac] if gateway else None for identifier, gateway in found.items()
        }


def _known(gateway: FleetGateway) -> KnownGateway:
    devices = {d.codigo: resolver.Device(d.id, d.codigo, d.unidade, d.is_active) for d in gateway.devices}
    return KnownGateway(gateway.id, gateway.conta_id, gateway.mac, gateway.is_active, ACCEPTS_SINCE, devices)
