"""The registry that hostile messages are addressed to: the same gateways and devices in memory and in a database."""

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from psycopg import Connection

from tds_new.ingestion.resolver import Device, KnownGateway, Resolver

# A clock that stands still: the same seed gives the same cases, and the same expectations, at any time.
NOW = datetime(2026, 3, 2, 12, 0, 0, tzinfo=UTC)
ACCEPTS_SINCE = NOW - timedelta(days=60)

REGISTER_CONTA = "INSERT INTO tds_new_conta (name) VALUES (%s) RETURNING id"
REGISTER_GATEWAY = """
INSERT INTO tds_new_gateway (conta_id, codigo, mac, device_id, is_active, aceita_leituras_desde, qte_max_dispositivos)
VALUES (%s, %s, %s, %s, %s, %s, 8) RETURNING id
"""
REGISTER_DEVICE = """
INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo, grandeza, unidade, tipo_leitura, status)
VALUES (%s, %s, %s, 'ENERGIA', %s, 'INSTANTANEA', %s) RETURNING id
"""


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
    """Gateways of two tenants, one of them inactive, and a MAC that nobody has registered."""

    gateways: tuple[FleetGateway, ...]
    stranger: str

    def find(self, identifier: str) -> FleetGateway | None:
        """Who is meant by the identifier of a topic, as the contract says: a MAC in any spelling, else a name."""
        bare = identifier.replace(":", "").replace("-", "").lower()
        for gateway in self.gateways:
            if gateway.name == identifier:
                return gateway
            plain = gateway.mac.replace(":", "")
            if bare == plain and identifier.lower() in (plain, gateway.mac, gateway.mac.replace(":", "-")):
                return gateway
        return None


def make_fleet(number: int) -> Fleet:
    """The fleet of this number, with ids of its own making."""
    meters = (
        KnownDevice("D01", "kWh"),
        KnownDevice("D02", "m³"),
        KnownDevice("D03", "°C"),
        KnownDevice("D04", "kWh", is_active=False),
    )
    devices = (meters, (*meters[:2], KnownDevice("Água-5", "m3")), meters[:1])
    gateways = tuple(
        FleetGateway(
            f"0a:{n:02x}:" + ":".join(f"{number:08x}"[i : i + 2] for i in range(0, 8, 2)),
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
    """The fleet of this number, registered in a database."""
    contas = [_id(connection, REGISTER_CONTA, f"Fuzz {number}-{tenant}") for tenant in (1, 2)]
    made = make_fleet(number)
    gateways = []
    for gateway in made.gateways:
        conta = contas[gateway.conta_id - 1]
        fields = (conta, f"GW-{gateway.id}", gateway.mac, gateway.name, gateway.is_active, ACCEPTS_SINCE)
        gateway_id = _id(connection, REGISTER_GATEWAY, *fields)
        devices = tuple(
            d._replace(
                id=_id(
                    connection,
                    REGISTER_DEVICE,
                    conta,
                    gateway_id,
                    d.codigo,
                    d.unidade,
                    "ATIVO" if d.is_active else "INATIVO",
                )
            )
            for d in gateway.devices
        )
        gateways.append(gateway._replace(id=gateway_id, conta_id=conta, devices=devices))
    return made._replace(gateways=tuple(gateways))


def _id(connection: Connection, statement: str, *parameters: object) -> int:
    row = connection.execute(statement, parameters).fetchone()
    assert row is not None
    return int(row[0])


class Registry(Resolver):
    """The resolver's place where there is no database."""

    def __init__(self, fleet: Fleet) -> None:
        super().__init__(0)
        self._fleet = fleet
        self._known = {gateway.mac: _known(gateway) for gateway in fleet.gateways}

    def resolve(self, connection: Connection, identifiers: Iterable[str]) -> dict[str, KnownGateway | None]:
        """As the real one, from memory."""
        found = {identifier: self._fleet.find(identifier) for identifier in identifiers}
        return {
            identifier: self._known[gateway.mac] if gateway else None for identifier, gateway in found.items()
        }


def _known(gateway: FleetGateway) -> KnownGateway:
    devices = {d.codigo: Device(d.id, d.codigo, d.unidade, d.is_active) for d in gateway.devices}
    return KnownGateway(gateway.id, gateway.conta_id, gateway.mac, gateway.is_active, ACCEPTS_SINCE, devices)
