"""What a gateway's account can do at a real Mosquitto with the shipped files, on each listener there is."""

import json
import ssl
import subprocess
from pathlib import Path
from typing import Any

import pytest
from paho.mqtt.enums import MQTTProtocolVersion

from tds_new.broker.accounts import ADMIN, BACKEND, DASHBOARD
from tds_new.embedded import mosquitto as embedded
from tds_new.embedded.ports import LOOPBACK, free_port
from tests.support.brokers import GATEWAY_A, GATEWAY_B, MAC_A, MAC_B, PREFIX, WAIT_S, Broker, BrokerFactory

pytestmark = pytest.mark.once

CONSUMER_ID = "django_tds_new_consumer"
TELEMETRY = f"{PREFIX}/+/telemetry"
V3, V5 = MQTTProtocolVersion.MQTTv311, MQTTProtocolVersion.MQTTv5
Certificate = tuple[Path, Path, ssl.SSLContext]


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    """A certificate for localhost, its key, and what trusts it."""
    directory = tmp_path_factory.mktemp("certificate")
    made, key = directory / "server.crt", directory / "server.key"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=localhost"
    names = ["-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"]
    subprocess.run([*command.split(), *names, "-out", made, "-keyout", key], check=True, capture_output=True)
    for path in (directory, key):  # Mosquitto may run as another user than this one
        path.chmod(0o755)
    return made, key, ssl.create_default_context(cafile=str(made))


LISTENERS = ["device", "platform", "websocket", "tls", "tls without the client id"]


@pytest.fixture
def reach(
    request: pytest.FixtureRequest, make_broker: BrokerFactory, certificate: Certificate
) -> tuple[Broker, dict[str, Any]]:
    """A broker with every listener, and how to reach the one that the parameter names."""
    made, key, trust = certificate
    broker = make_broker(websocket_port=0)
    ports = {}
    for name, more in (("tls", "use_username_as_clientid true\n"), ("tls without the client id", "")):
        ports[name] = free_port()
        text = f"listener {ports[name]} {LOOPBACK}\n{more}certfile {made}\nkeyfile {key}\n"
        (broker.files.listeners / f"{name.replace(' ', '-')}.conf").write_text(text, encoding="ascii")
    broker.restart()
    ways: dict[str, dict[str, Any]] = {
        "device": {"port": broker.device_port},
        "platform": {"port": broker.port},
        "websocket": {"port": broker.websocket_port, "transport": "websockets"},
        **{name: {"port": port, "tls": trust} for name, port in ports.items()},
    }
    return broker, ways[request.param]


def leave_messages(broker: Broker, count: int = 20) -> None:
    """Leave messages for a consumer that is away."""
    with broker.client(BACKEND, CONSUMER_ID, clean=False) as consumer:
        consumer.subscribe(TELEMETRY)
    with broker.client(GATEWAY_B.user) as gateway:
        for number in range(count):
            gateway.publish(f"{PREFIX}/{MAC_B}/telemetry", b"%d" % number)


def left_messages(broker: Broker, count: int = 20) -> list[bytes]:
    with broker.client(BACKEND, CONSUMER_ID, clean=False) as consumer:
        return [payload for _, payload in consumer.receive(count)]


@pytest.mark.parametrize("reach", LISTENERS, indirect=True)
def test_what_waits_for_the_consumer_is_safe_from_a_gateway_with_its_client_id(
    reach: tuple[Broker, dict[str, Any]],
) -> None:
    broker, way = reach
    leave_messages(broker)
    for options in ({"clean": True}, {"clean": False}, {"protocol": V5}):
        will = (f"{PREFIX}/{MAC_B}/telemetry", b"forged")
        with broker.client(GATEWAY_A.user, CONSUMER_ID, will=will, **options, **way) as thief:
            if not thief.reason.is_failure:
                thief.subscribe(TELEMETRY)
            assert thief.received.empty()
    assert left_messages(broker) == [b"%d" % number for number in range(20)]


@pytest.mark.parametrize("reach", LISTENERS, indirect=True)
def test_a_connected_consumer_or_gateway_is_not_thrown_out(reach: tuple[Broker, dict[str, Any]]) -> None:
    broker, way = reach
    with broker.client(BACKEND, CONSUMER_ID) as consumer, broker.client(GATEWAY_B.user) as neighbour:
        consumer.subscribe(TELEMETRY)
        for client_id in (CONSUMER_ID, GATEWAY_B.user):
            broker.client(GATEWAY_A.user, client_id, **way).close()
        neighbour.publish(f"{PREFIX}/{MAC_B}/telemetry")
        assert consumer.receive() == [(f"{PREFIX}/{MAC_B}/telemetry", b"x")]
        assert not consumer.disconnected.is_set()
        assert not neighbour.disconnected.is_set()


@pytest.mark.parametrize("reach", ["platform", "tls without the client id"], indirect=True)
def test_a_gateway_connects_as_itself_where_client_ids_are_free(reach: tuple[Broker, dict[str, Any]]) -> None:
    broker, way = reach
    with broker.client(GATEWAY_A.user, GATEWAY_A.user, **way) as gateway:
        assert not gateway.reason.is_failure
    with broker.client(GATEWAY_A.user, "anything", **way) as gateway:
        assert gateway.reason.is_failure


@pytest.mark.parametrize("reach", ["device", "websocket", "tls"], indirect=True)
@pytest.mark.parametrize("protocol", [V3, V5])
def test_no_share_group_is_open_to_a_gateway(
    reach: tuple[Broker, dict[str, Any]], protocol: MQTTProtocolVersion
) -> None:
    broker, way = reach
    filters = [f"$share/ingestion/{TELEMETRY}", "$share/ingestion/#", "$share/g/a", "$share/+/#", "$share/#"]
    with broker.client(GATEWAY_A.user, protocol=protocol, **way) as gateway:
        for pattern in filters[:3]:
            assert [reason.is_failure for reason in gateway.subscribe(pattern)] == [True], pattern
        assert [reason.is_failure for reason in gateway.subscribe(f"{PREFIX}/{MAC_A}/ack")] == [False]
    for user in (DASHBOARD, BACKEND, ADMIN):
        with broker.client(user, protocol=protocol) as member:
            assert [reason.is_failure for reason in member.subscribe(filters[0])] == [user == DASHBOARD]


@pytest.mark.parametrize("group", ["ingestion", "the name that provisioning made"])
def test_a_share_group_loses_nothing_to_a_hostile_member(mosquitto: Broker, group: str) -> None:
    if group != "ingestion":
        group = mosquitto.files.share_group.read_text(encoding="ascii").strip()
    with (
        mosquitto.client(BACKEND, "consumer-1", clean=False) as one,
        mosquitto.client(BACKEND, "consumer-2", clean=False) as two,
        mosquitto.client(GATEWAY_A.user, clean=False) as hostile,
    ):
        for member in (one, two):
            member.subscribe(f"$share/{group}/{TELEMETRY}")
        hostile.subscribe(f"$share/ingestion/{TELEMETRY}")
        hostile.subscribe(f"$share/ingestion/{PREFIX}/#")
        with mosquitto.client(GATEWAY_B.user) as gateway:
            for number in range(299):
                gateway.paho.publish(f"{PREFIX}/{MAC_B}/telemetry", b"%d" % number, 1)
            gateway.publish(f"{PREFIX}/{MAC_B}/telemetry", b"299")
        received = [*one.receive(150), *two.receive(150)]
        assert {payload for _, payload in received} == {b"%d" % number for number in range(300)}
        assert hostile.received.empty()


def test_a_new_gateway_is_restricted_from_the_brokers_next_start_on(make_broker: BrokerFactory) -> None:
    broker = make_broker(gateways=[GATEWAY_A])
    assert broker.files.provision(PREFIX, [GATEWAY_A, GATEWAY_B]).restart
    broker.reload()
    while True:  # the reload takes effect in the broker's next loop iteration
        with broker.client(GATEWAY_B.user) as newcomer:
            if not newcomer.reason.is_failure:
                break
    leave_messages(broker)
    with broker.client(GATEWAY_A.user, CONSUMER_ID, port=broker.port) as thief:
        assert thief.reason.is_failure  # those from before stay restricted
    broker.restart()
    with broker.client(GATEWAY_B.user, CONSUMER_ID, port=broker.port) as thief:
        assert thief.reason.is_failure
    assert left_messages(broker) == [b"%d" % number for number in range(20)]
    assert not broker.files.provision(PREFIX, [GATEWAY_A]).restart  # one that leaves needs no restart


@pytest.mark.parametrize("user", [GATEWAY_A.user, BACKEND, DASHBOARD, ADMIN])
def test_nobody_changes_the_restrictions_over_mqtt(mosquitto: Broker, user: str) -> None:
    control = "$CONTROL/dynamic-security/v1"
    commands = [
        {"command": "deleteClient", "username": GATEWAY_A.user},
        {"command": "createClient", "username": "new", "password": "x"},
        {"command": "setDefaultACLAccess", "acls": [{"acltype": "subscribe", "allow": True}]},
    ]
    with mosquitto.client(user) as client:
        client.subscribe(f"{control}/response")
        client.publish(control, json.dumps({"commands": commands}).encode())
        client.publish(f"{PREFIX}/{MAC_A}/heartbeat")
        assert client.received.empty()
    with mosquitto.client("new", secret="x") as stranger:
        assert stranger.reason.is_failure
    with mosquitto.client(GATEWAY_A.user, CONSUMER_ID, port=mosquitto.port) as thief:
        assert thief.reason.is_failure
    assert "dynsec" not in mosquitto.log_text()


def test_a_mosquitto_without_the_plugin_gives_each_user_one_session_on_both_listeners(
    make_broker: BrokerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(embedded, "find_plugin", lambda _binary: None)
    broker = make_broker()
    leave_messages(broker)
    for port in (broker.device_port, broker.port):
        with broker.client(GATEWAY_A.user, CONSUMER_ID, port=port) as thief:
            assert not thief.reason.is_failure
    assert left_messages(broker) == [b"%d" % number for number in range(20)]


class TestWebSockets:
    def test_there_is_no_listener_unless_it_is_asked_for(self, mosquitto: Broker) -> None:
        assert mosquitto.websocket_port is None
        assert "websockets" not in mosquitto.log_text()

    def test_readings_come_in_and_answers_go_out(self, make_broker: BrokerFactory) -> None:
        broker = make_broker(websocket_port=0)
        way: dict[str, Any] = {"port": broker.websocket_port, "transport": "websockets"}
        with broker.client(BACKEND) as backend, broker.client(GATEWAY_A.user, **way) as gateway:
            backend.subscribe(TELEMETRY)
            gateway.subscribe(f"{PREFIX}/{MAC_A}/ack", "#")
            gateway.publish(f"{PREFIX}/{MAC_B}/telemetry", b"forged", qos=0)
            gateway.publish(f"{PREFIX}/{MAC_A}/telemetry", b"x" * 60_000)
            assert backend.receive() == [(f"{PREFIX}/{MAC_A}/telemetry", b"x" * 60_000)]
            backend.publish(f"{PREFIX}/{MAC_B}/ack", b"not yours")
            backend.publish(f"{PREFIX}/{MAC_A}/ack", b"yours")
            assert gateway.receive() == [(f"{PREFIX}/{MAC_A}/ack", b"yours")]
        for secret in ("wrong", " "):
            with broker.client(GATEWAY_A.user, secret=secret, **way) as refused:
                assert refused.reason.is_failure

    def test_the_embedded_one_listens_on_the_loopback_address_only(self, make_broker: BrokerFactory) -> None:
        broker = make_broker(websocket_port=0)
        tables = "".join(Path(f"/proc/net/{name}").read_text(encoding="ascii") for name in ("tcp", "tcp6"))
        listening = [line.split()[1] for line in tables.splitlines() if line.split()[3:4] == ["0A"]]
        port = f"{broker.websocket_port:04X}"
        assert [address for address in listening if address.endswith(f":{port}")] == [f"0100007F:{port}"]


@pytest.mark.parametrize("topic", ["$SYS/#", "#", "+/#", f"{PREFIX}/#", TELEMETRY, f"{PREFIX}/{MAC_B}/#"])
@pytest.mark.parametrize("qos", [1, 2])
def test_whatever_a_gateway_subscribes_to_it_gets_its_own_only(
    mosquitto: Broker, topic: str, qos: int
) -> None:
    with (
        mosquitto.client(BACKEND) as backend,
        mosquitto.client(GATEWAY_A.user) as a,
        mosquitto.client(GATEWAY_B.user) as b,
    ):
        b.publish(f"{PREFIX}/{MAC_B}/status", b"online", retain=True)
        a.subscribe(topic, f"{PREFIX}/{MAC_A}/ack")
        b.publish(f"{PREFIX}/{MAC_B}/telemetry", qos=qos)
        backend.publish(f"{PREFIX}/{MAC_B}/ack")
        backend.publish(f"{PREFIX}/{MAC_B}/commands/reboot")
        backend.publish(f"{PREFIX}/{MAC_A}/ack", b"last")
        topic_of_last, payload = a.receive()[0]
        assert (topic_of_last, payload) == (f"{PREFIX}/{MAC_A}/ack", b"last")


def test_a_forged_retained_status_or_will_stays_nowhere(mosquitto: Broker) -> None:
    with mosquitto.client(GATEWAY_A.user) as gateway:
        gateway.publish(f"{PREFIX}/{MAC_B}/status", b"offline", retain=True)
        gateway.publish(f"{PREFIX}/{MAC_A}/status", b"online", retain=True)
    first = mosquitto.client(GATEWAY_A.user, will=(f"{PREFIX}/{MAC_B}/status", b"offline"))
    first.paho.reconnect_delay_set(WAIT_S, WAIT_S)
    with mosquitto.client(GATEWAY_A.user):  # takes the first one's place, and so sends its will
        assert first.disconnected.wait(WAIT_S)
    with mosquitto.client(BACKEND) as backend:
        backend.subscribe(f"{PREFIX}/+/status")
        assert backend.receive() == [(f"{PREFIX}/{MAC_A}/status", b"online")]
        assert backend.received.empty()
    first.paho.loop_stop()
