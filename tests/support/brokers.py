"""A real Mosquitto with the shipped configuration, and a small client."""

import queue
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from lab.harness.environment import broker_variables
from tds_new.broker.accounts import BACKEND, GatewayAccount
from tds_new.embedded.mosquitto import MosquittoServer, find_mosquitto

PREFIX = "tds_new/devices"
MAC_A, MAC_B = "aa:bb:cc:dd:ee:0a", "aa:bb:cc:dd:ee:0b"
GATEWAY_A, GATEWAY_B = GatewayAccount(MAC_A), GatewayAccount(MAC_B, "abc123")
WAIT_S = 20


class Broker(MosquittoServer):
    """A broker whose accounts are made by the test."""

    def provision(self, gateways: Sequence[GatewayAccount], prefix: str = PREFIX) -> None:
        """Give exactly these gateways access, from the next start or :meth:`reload`."""
        self.files.provision(prefix, gateways)

    def environment(self, user: str = BACKEND) -> dict[str, str]:
        """The MQTT settings of a process that connects as this platform user."""
        return broker_variables(self, user)

    def client(self, user: str, client_id: str = "", **options: Any) -> "Client":
        """A connected client.

        A gateway connects to the device listener, everybody else to the platform's. The platform's own users
        choose their client ids; a gateway's has to be its user name where the listener does not make it so.
        """
        port = self.device_port if len(user) == 12 and user.isalnum() else self.port
        return Client(
            options.pop("port", port),
            user,
            options.pop("secret", None) or self.files.secret(user),
            client_id,
            **options,
        )


class Client:
    """A paho client that keeps received messages and waits for the broker's answers."""

    def __init__(self, port: int, user: str, secret: str, client_id: str = "", **options: Any) -> None:
        """Connect and wait for the answer.

        ``options`` are ``clean`` (session), ``will`` (its topic and payload), ``protocol``, ``transport``
        (``tcp`` or ``websockets``) and ``tls`` (a context).
        """
        self.received: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self.disconnected = threading.Event()
        self._answers: queue.Queue[Any] = queue.Queue()
        protocol = options.get("protocol", MQTTProtocolVersion.MQTTv311)
        five = protocol == MQTTProtocolVersion.MQTTv5
        session = {} if five else {"clean_session": options.get("clean", True)}
        will: tuple[str, bytes] | None = options.get("will")
        tls: ssl.SSLContext | None = options.get("tls")
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id or f"test-{user}-{id(self)}",
            protocol=protocol,
            transport=options.get("transport", "tcp"),
            **session,
        )
        if tls is not None:
            self.paho.tls_set_context(tls)
        self.paho.username_pw_set(user, secret)
        if will:
            self.paho.will_set(will[0], will[1], qos=1)
        self.paho.on_connect = lambda _c, _u, _flags, reason, _p: self._answers.put(reason)
        self.paho.on_disconnect = lambda *_: self.disconnected.set()
        self.paho.on_subscribe = lambda _c, _u, _mid, reasons, _p: self._answers.put(reasons)
        self.paho.on_message = lambda _c, _u, message: self.received.put(message)
        self.paho.connect("127.0.0.1", port)
        self.paho.loop_start()
        self.reason = self._answers.get(timeout=WAIT_S)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect in order."""
        self.paho.disconnect()
        self.paho.loop_stop()

    def subscribe(self, *topics: str) -> list[Any]:
        """Subscribe with QoS 1 and return what the broker granted."""
        self.paho.subscribe([(topic, 1) for topic in topics])
        return list(self._answers.get(timeout=WAIT_S))

    def publish(self, topic: str, payload: bytes = b"x", *, qos: int = 1, retain: bool = False) -> None:
        """Publish and, with QoS 1, wait until the broker has acknowledged."""
        self.paho.publish(topic, payload, qos, retain).wait_for_publish(WAIT_S)

    def receive(self, count: int = 1) -> list[tuple[str, bytes]]:
        """The next ``count`` messages. Raises queue.Empty if fewer come."""
        messages = [self.received.get(timeout=WAIT_S) for _ in range(count)]
        return [(message.topic, bytes(message.payload)) for message in messages]


BrokerFactory = Callable[..., Broker]


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[BrokerFactory]:
    """Start brokers with the given ``settings`` and ``gateways``.

    All are stopped after the test.
    """
    if find_mosquitto() is None:
        pytest.skip("Mosquitto 2 is not installed")
    started: list[Broker] = []

    def make(
        settings: Mapping[str, str | None] | None = None,
        gateways: Sequence[GatewayAccount] = (GATEWAY_A, GATEWAY_B),
        **options: Any,
    ) -> Broker:
        broker = Broker(tmp_path / f"mosquitto-{len(started)}", settings, **options)
        broker.provision(gateways)
        broker.start()
        started.append(broker)
        return broker

    yield make
    for broker in started:
        broker.stop()


@pytest.fixture
def mosquitto(make_broker: BrokerFactory) -> Broker:
    """A running broker with the shipped configuration and the gateways A and B."""
    return make_broker()
