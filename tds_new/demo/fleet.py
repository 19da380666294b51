"""The registrations of the demonstration.

They are a Conta, its gateways and devices, and logins.

Registering again changes nothing.
"""

import secrets
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from tds_new.models import Conta, ContaMembership, Dispositivo, Gateway, User
from tds_new.models.user import canonical_email

CONTA = "Conta Teste Telemetria"
LOGIN, STAFF_LOGIN = "demo@tds-new.local", "operador@tds-new.local"
# Known to everybody, so it is given only where the embedded default listens on the loopback address alone.
EMBEDDED_PASSWORD = "demonstracao-tds"  # noqa: S105

_T, _G, _L = Dispositivo.Tipo, Dispositivo.Grandeza, Dispositivo.TipoLeitura
_P = Dispositivo.Papel


class Share(NamedTuple):
    """The part of its main meter's consumption that a sub-meter measures.

    It lies between ``least`` and ``most``. ``main`` is the main meter's code.
    """

    main: str
    least: float
    most: float


@dataclass(frozen=True, slots=True)
class Device:
    """A device to register, with the parameters of a new one.

    ``part_of`` says what it is simulated as a share of. Where its main meter has the same ``papel``, it is
    registered as its sub-meter.
    """

    codigo: str
    nome: str
    grandeza: str
    unidade: str
    tipo_leitura: str = _L.ACUMULADA
    tipo: str = _T.MEDIDOR
    unidade_consumo: str = ""
    fator_conversao: Decimal = Decimal(1)
    papel: str = _P.CONSUMO
    part_of: Share | None = None


@dataclass(frozen=True, slots=True)
class Site:
    """A gateway to register, with its devices."""

    codigo: str
    mac: str
    nome: str
    devices: tuple[Device, ...]


def _energy(codigo: str, nome: str, papel: str = _P.CONSUMO, part_of: Share | None = None) -> Device:
    """Return an electricity register."""
    return Device(codigo, nome, _G.ENERGIA, "kWh", papel=papel, part_of=part_of)


def _pulses(codigo: str, nome: str) -> Device:
    """Return a water meter with a pulse every 10 litres."""
    return Device(codigo, nome, _G.AGUA, "pulsos", unidade_consumo="m³", fator_conversao=Decimal("0.01"))


def _temperature(codigo: str, nome: str) -> Device:
    return Device(codigo, nome, _G.TEMPERATURA, "°C", _L.INSTANTANEA, _T.SENSOR)


# Published values count by themselves, as the contract's examples do.
TEST_SITE = Site(
    "GW-TEST-001",
    "aa:bb:cc:dd:ee:ff",
    "Gateway de teste",
    (
        Device("D01", "Energia", _G.ENERGIA, "kWh", _L.INCREMENTAL),
        Device("D02", "Água", _G.AGUA, "m³", _L.INCREMENTAL),
        _temperature("D03", "Temperatura"),
    ),
)

# 02 in the first byte: locally administered, so nobody's real gateway.
FLEET = (
    Site(
        "LJ-CENTRO",
        "02:7d:5e:00:00:01",
        "Loja Centro",
        (
            _energy("E01", "Energia geral"),
            _energy("E11", "Ar-condicionado", part_of=Share("E01", 0.3, 0.45)),
            _energy("E12", "Iluminação", part_of=Share("E01", 0.15, 0.25)),
            Device("A01", "Água", _G.AGUA, "m³"),
            _temperature("T01", "Salão"),
        ),
    ),
    Site(
        "LJ-ZONASUL",
        "02:7d:5e:00:00:02",
        "Loja Zona Sul",
        (
            _energy("E01", "Energia geral"),
            Device("A01", "Água", _G.AGUA, "m³"),
            Device("G01", "Gás da padaria", _G.GAS, "m³"),
            _temperature("T01", "Câmara fria"),
        ),
    ),
    Site(
        "GALPAO-1",
        "02:7d:5e:00:00:03",
        "Galpão logístico 1",
        (
            _energy("E01", "Energia geral"),
            _energy("E11", "Câmaras frias", part_of=Share("E01", 0.4, 0.6)),
            _energy("E12", "Carregadores de empilhadeiras", part_of=Share("E01", 0.1, 0.25)),
            _temperature("T01", "Câmara de congelados"),
            _temperature("T02", "Doca"),
        ),
    ),
    Site(
        "GALPAO-2",
        "02:7d:5e:00:00:04",
        "Galpão logístico 2",
        (
            _energy("E01", "Energia geral"),
            _energy("S01", "Energia solar injetada", _P.INJECAO),
            _pulses("A01", "Água (pulsos)"),
            _temperature("T01", "Doca"),
        ),
    ),
    Site(
        "ESCRITORIO",
        "02:7d:5e:00:00:05",
        "Escritório",
        (
            _energy("E01", "Energia geral"),
            Device("A01", "Água", _G.AGUA, "m³"),
            Device("G01", "Gás do refeitório", _G.GAS, "m³"),
            _energy("E02", "Quadro de TI", _P.INFORMATIVO, Share("E01", 0.2, 0.3)),
            _temperature("T01", "Sala de servidores"),
        ),
    ),
)


def shares() -> dict[tuple[str, str], Share]:
    """Return the devices that are simulated as shares, by gateway's MAC and code."""
    return {
        (site.mac, device.codigo): device.part_of
        for site in FLEET
        for device in site.devices
        if device.part_of
    }


@dataclass(frozen=True, slots=True)
class Login:
    """A login of the demonstration.

    ``password`` is empty if an earlier one was kept.
    """

    email: str
    password: str


class DemoRefusedError(Exception):
    """The demonstration cannot be registered; the text says why."""


@transaction.atomic
def register_demo(*, fleet: bool = False, email: str = LOGIN, password: str = "") -> tuple[Conta, Login]:
    """Register the Conta, its test gateway, the ``fleet`` if asked, and the login.

    What exists stays as it is.

    Returns the Conta and the login. Raises DemoRefusedError if a MAC or a code is already somebody else's.
    """
    conta = Conta.objects.filter(name=CONTA).order_by("pk").first() or Conta.objects.create(name=CONTA)
    for site in (TEST_SITE, *(FLEET if fleet else ())):
        _register_site(conta, site)
    login = register_login(email, password, name="Demonstração")
    ContaMembership.objects.get_or_create(
        conta=conta, user=User.objects.get(email=login.email), defaults={"role": ContaMembership.Role.ADMIN}
    )
    return conta, login


def _register_site(conta: Conta, site: Site) -> None:
    gateway = Gateway.objects.filter(mac=site.mac).first()
    if gateway is None:
        if Gateway.objects.filter(conta=conta, codigo=site.codigo).exists():
            raise DemoRefusedError(
                f"the gateway {site.codigo} is registered with another MAC than {site.mac}"
            )
        gateway = Gateway.objects.create(conta=conta, codigo=site.codigo, mac=site.mac, nome=site.nome)
    elif gateway.conta_id != conta.pk:
        raise DemoRefusedError(f"the gateway {site.mac} is registered under another Conta ({gateway.conta})")
    registered = {device.codigo: device for device in Dispositivo.objects.filter(gateway=gateway)}
    for device in site.devices:  # a main meter comes before its sub-meters
        if device.codigo not in registered:
            main = registered.get(device.part_of.main) if device.part_of else None
            registered[device.codigo] = Dispositivo.objects.create(
                gateway=gateway,
                codigo=device.codigo,
                nome=device.nome,
                tipo=device.tipo,
                grandeza=device.grandeza,
                unidade=device.unidade,
                unidade_consumo=device.unidade_consumo,
                fator_conversao=device.fator_conversao,
                tipo_leitura=device.tipo_leitura,
                papel=device.papel,
                medidor_pai=main if main and main.papel == device.papel else None,
            )


def register_login(email: str, password: str = "", *, name: str = "", staff: bool = False) -> Login:
    """Create or update a login with ``password``.

    Without one an existing login keeps its own.

    A new login without one gets the password that everybody knows on the embedded default, and a random one
    elsewhere. ``staff`` makes it a superuser. Raises DemoRefusedError if ``email`` is no address.
    """
    email = canonical_email(email)
    user = User.objects.filter(email=email).first()
    if user is not None and not password:
        return Login(
            email, EMBEDDED_PASSWORD if settings.EMBEDDED and user.check_password(EMBEDDED_PASSWORD) else ""
        )
    password = password or (EMBEDDED_PASSWORD if settings.EMBEDDED else secrets.token_urlsafe(12))
    if user is None:
        try:
            User._meta.get_field("email").run_validators(email)
        except ValidationError as error:
            raise DemoRefusedError(f"{email} is not an e-mail address") from error
        create = User.objects.create_superuser if staff else User.objects.create_user
        create(email, password, name=name)
    else:
        user.set_password(password)
        user.save(update_fields=["password"])
    return Login(email, password)
