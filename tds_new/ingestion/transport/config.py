"""The configuration of the connection to the broker."""

import ssl
from dataclasses import dataclass, field

from django.conf import settings


@dataclass(frozen=True, slots=True)
class TlsConfig:
    """Paths of PEM files.

    The system's authorities are trusted if ``ca_certs`` is empty.
    """

    ca_certs: str = ""
    certfile: str = ""
    keyfile: str = ""


@dataclass(frozen=True, slots=True)
class BrokerConfig:
    """The address of the broker, and how to log in there.

    ``keepalive`` is in seconds; ``protocol`` is ``3.1.1`` or ``5``; a ``persistent`` session outlives its
    connection. ``receive_maximum`` is the number of unacknowledged messages that MQTT 5 asks for; on 3.1.1 it
    is the broker's ``max_inflight_messages``. Not every broker keeps to it (Mosquitto 2.0.11 does not while
    messages are queued): memory is bounded by not reading, see :class:`MQTTSubscriber`.
    """

    host: str
    port: int
    username: str = ""
    password: str = field(default="", repr=False)
    keepalive: int = 60
    protocol: str = "3.1.1"
    tls: TlsConfig | None = None
    persistent: bool = True
    receive_maximum: int = 6_000


@dataclass(frozen=True, slots=True)
class Will:
    """The message that the broker publishes if the connection breaks."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = True


def broker_config(**changes: object) -> BrokerConfig:
    """Return the broker of the settings.

    ``changes`` replace fields of :class:`BrokerConfig`.
    """
    tls = (
        TlsConfig(settings.MQTT_CA_CERTS, settings.MQTT_CERTFILE, settings.MQTT_KEYFILE)
        if settings.MQTT_USE_TLS
        else None
    )
    values: dict[str, object] = {
        "host": settings.MQTT_BROKER_HOST,
        "port": settings.MQTT_BROKER_PORT_TLS if tls else settings.MQTT_BROKER_PORT,
        "username": settings.MQTT_BROKER_USER,
        "password": settings.MQTT_BROKER_PASSWORD,
        "keepalive": settings.MQTT_KEEPALIVE,
        "protocol": settings.MQTT_PROTOCOL,
        "tls": tls,
    }
    return BrokerConfig(**{**values, **changes})  # type: ignore[arg-type]


def tls_context(tls: TlsConfig) -> ssl.SSLContext:
    """Return a context that checks the broker's name and certificate.

    It speaks TLS 1.2 or newer. Raises OSError for files that cannot be read.
    """
    context = ssl.create_default_context(cafile=tls.ca_certs or None)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if tls.certfile:
        context.load_cert_chain(tls.certfile, tls.keyfile or None)
    return context
