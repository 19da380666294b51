"""The broker for machines without Mosquitto has the same accounts and access rules."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tds_new.broker.accounts import BACKEND, acl_text
from tds_new.embedded.ports import free_port
from tds_new.embedded.python_broker import PythonBroker, _covers, read_rules
from tests.support.brokers import GATEWAY_A, GATEWAY_B, MAC_A, MAC_B, PREFIX, Client

pytestmark = pytest.mark.once


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[PythonBroker]:
    broker = PythonBroker(tmp_path / "broker", websocket_port=free_port())
    broker.files.provision(PREFIX, [GATEWAY_A, GATEWAY_B])
    broker.start()
    yield broker
    broker.stop()
    assert broker.pid is None


def client(broker: PythonBroker, user: str, secret: str = "", client_id: str = "", **options: Any) -> Client:
    port = options.pop("port", broker.port)
    return Client(port, user, secret or broker.files.secret(user), client_id, **options)


@pytest.mark.servers
def test_a_gateway_publishes_as_itself_and_as_nobody_else(broker: PythonBroker) -> None:
    with client(broker, BACKEND) as backend, client(broker, GATEWAY_A.user) as gateway:
        backend.subscribe(f"{PREFIX}/+/telemetry")
        gateway.publish(f"{PREFIX}/{MAC_B}/telemetry", b"forged", qos=0)
        gateway.publish(f"{PREFIX}/{MAC_A}/telemetry", b"real")
        assert backend.receive() == [(f"{PREFIX}/{MAC_A}/telemetry", b"real")]


@pytest.mark.servers
def test_a_gateway_does_not_receive_what_is_for_another(broker: PythonBroker) -> None:
    with client(broker, BACKEND) as backend, client(broker, GATEWAY_A.user) as gateway:
        gateway.subscribe("#")
        backend.publish(f"{PREFIX}/{MAC_B}/ack", b"not yours")
        backend.publish(f"{PREFIX}/{MAC_A}/ack", b"yours")
        assert gateway.receive() == [(f"{PREFIX}/{MAC_A}/ack", b"yours")]


@pytest.mark.servers
@pytest.mark.parametrize(("user", "secret"), [(BACKEND, "wrong"), ("ninguem", "x")])
def test_who_is_not_known_is_refused(broker: PythonBroker, user: str, secret: str) -> None:
    with client(broker, user, secret) as refused:
        assert refused.reason.is_failure


@pytest.mark.servers
@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("secret", ["", "wrong"])
def test_nobody_takes_the_consumers_session(broker: PythonBroker, clean: bool, secret: str) -> None:
    with client(broker, BACKEND, client_id="consumer", clean=False) as consumer:
        consumer.subscribe(f"{PREFIX}/+/telemetry")
        for port in (broker.port, broker.websocket_port):
            transport = "tcp" if port == broker.port else "websockets"
            with client(
                broker, GATEWAY_A.user, secret, "consumer", clean=clean, port=port, transport=transport
            ) as thief:
                assert thief.reason.is_failure == bool(secret)
        with client(broker, GATEWAY_B.user) as gateway:
            gateway.publish(f"{PREFIX}/{MAC_B}/telemetry", b"still here")
        assert not consumer.disconnected.is_set()
        assert consumer.receive() == [(f"{PREFIX}/{MAC_B}/telemetry", b"still here")]


@pytest.mark.servers
def test_it_takes_websockets_and_refuses_share_groups(broker: PythonBroker) -> None:
    with (
        client(broker, BACKEND) as backend,
        client(broker, GATEWAY_A.user, port=broker.websocket_port, transport="websockets") as gateway,
    ):
        backend.subscribe(f"{PREFIX}/+/telemetry")
        assert [reason.is_failure for reason in gateway.subscribe(f"$share/g/{PREFIX}/+/telemetry")] == [True]
        gateway.publish(f"{PREFIX}/{MAC_A}/telemetry", b"by websocket")
        assert backend.receive() == [(f"{PREFIX}/{MAC_A}/telemetry", b"by websocket")]


def test_rules_are_read_as_mosquitto_reads_them() -> None:
    rules = read_rules(acl_text("p", [GATEWAY_A]))
    assert "p/+/ack" in rules[BACKEND, "write"]
    assert "p/+/ack" not in rules[BACKEND, "read"]
    assert rules["admin", "read"] == rules["admin", "write"] == ["#", "$SYS/#"]


@pytest.mark.parametrize(
    ("rule", "topic", "covered"),
    [
        ("a/+/c", "a/b/c", True), ("a/+/c", "a/b/d", False), ("a/+/c", "a/b/c/d", False),
        ("a/+/c", "a/b", False), ("a/#", "a/b/c", True), ("a/#", "a", True), ("#", "a", True),
        ("#", "$SYS/a", False), ("$SYS/#", "$SYS/a", True),
    ],
)  # fmt: skip
def test_a_rule_covers_what_its_wildcards_say(rule: str, topic: str, covered: bool) -> None:
    assert _covers(rule.split("/"), topic.split("/")) is covered
