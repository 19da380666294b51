"""A gateway's rights at a real Mosquitto with the shipped configuration and access rules."""

import queue

import paho.mqtt.client as paho
import pytest

from tds_new.broker.accounts import ADMIN, BACKEND, DASHBOARD
from tests.support.brokers import GATEWAY_A, GATEWAY_B, MAC_A, MAC_B, PREFIX, WAIT_S, Broker, BrokerFactory

pytestmark = pytest.mark.once

CONSUMER_ID = "django_tds_new_consumer"
ALL = [f"{PREFIX}/+/{leaf}" for leaf in ("telemetry", "heartbeat", "status")]


@pytest.mark.parametrize("identifier", [*GATEWAY_B.identifiers])
def test_a_gateway_publishes_under_each_of_its_identifiers(mosquitto: Broker, identifier: str) -> None:
    with mosquitto.client(BACKEND) as backend, mosquitto.client(GATEWAY_B.user) as gateway:
        assert [reason.value for reason in backend.subscribe(*ALL)] == [1, 1, 1]
        topics = [f"{PREFIX}/{identifier}/{leaf}" for leaf in ("telemetry", "heartbeat", "status")]
        for topic in topics:
            gateway.publish(topic)
        assert [topic for topic, _ in backend.receive(3)] == topics


def test_a_topic_with_the_mac_in_mixed_case_is_acknowledged_and_dropped(mosquitto: Broker) -> None:
    mixed = "".join(c.upper() if place % 2 else c for place, c in enumerate(MAC_A))
    with mosquitto.client(BACKEND) as backend, mosquitto.client(GATEWAY_A.user) as gateway:
        backend.subscribe(*ALL)
        gateway.publish(f"{PREFIX}/{mixed}/telemetry", b"lost")
        gateway.publish(GATEWAY_A.topic(PREFIX), b"arrives")
        assert backend.receive() == [(f"{PREFIX}/{GATEWAY_A.user}/telemetry", b"arrives")]


def test_a_gateway_cannot_publish_as_another_or_as_the_platform(mosquitto: Broker) -> None:
    with mosquitto.client(ADMIN) as admin, mosquitto.client(GATEWAY_A.user) as gateway:
        admin.subscribe("#")
        for topic in (
            f"{PREFIX}/{MAC_B}/telemetry",
            f"{PREFIX}/abc123/telemetry",
            f"{PREFIX}/{MAC_A}/ack",
            f"{PREFIX}/x",
            "x",
        ):
            gateway.publish(topic)
        gateway.publish(f"{PREFIX}/{MAC_A}/telemetry")
        assert admin.receive() == [(f"{PREFIX}/{MAC_A}/telemetry", b"x")]


def test_a_gateway_reads_its_own_acknowledgements_and_nothing_else(mosquitto: Broker) -> None:
    with (
        mosquitto.client(BACKEND) as backend,
        mosquitto.client(GATEWAY_A.user) as a,
        mosquitto.client(GATEWAY_B.user) as b,
    ):
        a.subscribe(
            "#", "$SYS/#", f"{PREFIX}/{MAC_B}/ack", f"{PREFIX}/{MAC_A}/ack", f"$share/g/{PREFIX}/+/telemetry"
        )
        b.publish(f"{PREFIX}/{MAC_B}/telemetry")
        backend.publish(f"{PREFIX}/{MAC_B}/ack")
        backend.publish(f"{PREFIX}/{MAC_A}/commands/reboot")
        backend.publish(f"{PREFIX}/{MAC_A}/ack")
        topics = {topic for topic, _ in a.receive(2)}
        assert topics == {f"{PREFIX}/{MAC_A}/commands/reboot", f"{PREFIX}/{MAC_A}/ack"}


@pytest.mark.parametrize(
    ("topic", "arrives"), [(f"{PREFIX}/{MAC_A}/status", True), (f"{PREFIX}/{MAC_B}/status", False)]
)
def test_a_last_will_reaches_only_its_owners_topic(mosquitto: Broker, topic: str, arrives: bool) -> None:
    with mosquitto.client(ADMIN) as admin:
        admin.subscribe("#")
        first = mosquitto.client(GATEWAY_A.user, will=(topic, b"offline"))
        first.paho.reconnect_delay_set(WAIT_S, WAIT_S)
        with mosquitto.client(GATEWAY_A.user) as second:  # takes the first one's place, and so sends its will
            assert first.disconnected.wait(WAIT_S)
            second.publish(f"{PREFIX}/{MAC_A}/heartbeat")
            expected = [(topic, b"offline")] * arrives + [(f"{PREFIX}/{MAC_A}/heartbeat", b"x")]
            assert admin.receive(len(expected)) == expected
        first.paho.loop_stop()


def test_a_gateway_cannot_take_the_consumers_session_by_its_client_id(mosquitto: Broker) -> None:
    with mosquitto.client(BACKEND, CONSUMER_ID, clean=False) as consumer:
        consumer.subscribe(f"{PREFIX}/+/telemetry")
    with mosquitto.client(GATEWAY_B.user) as gateway:
        for number in range(20):
            gateway.publish(f"{PREFIX}/{MAC_B}/telemetry", b"%d" % number)
    with mosquitto.client(GATEWAY_A.user, CONSUMER_ID) as thief:  # clean session: would empty the queue
        assert thief.reason == 0
    with mosquitto.client(BACKEND, CONSUMER_ID, clean=False) as consumer:
        assert [payload for _, payload in consumer.receive(20)] == [b"%d" % number for number in range(20)]


def test_consumers_of_one_user_share_the_work_under_their_own_client_ids(mosquitto: Broker) -> None:
    with mosquitto.client(BACKEND, "consumer-1") as one, mosquitto.client(BACKEND, "consumer-2") as two:
        for consumer in (one, two):
            consumer.subscribe(f"$share/g/{PREFIX}/+/telemetry")
        with mosquitto.client(GATEWAY_A.user) as gateway:
            for number in range(20):
                gateway.publish(f"{PREFIX}/{MAC_A}/telemetry", b"%d" % number)
        received = [*one.receive(10), *two.receive(10)]
        assert {payload for _, payload in received} == {b"%d" % number for number in range(20)}


@pytest.mark.parametrize(
    ("user", "secret"), [("", ""), (BACKEND, "wrong"), ("ninguem", "x"), (GATEWAY_A.user, "wrong")]
)
def test_who_is_not_known_is_refused(mosquitto: Broker, user: str, secret: str) -> None:
    for port in (mosquitto.port, mosquitto.device_port):
        with mosquitto.client(user, port=port, secret=secret or " ") as client:
            assert client.reason.is_failure


def test_an_anonymous_client_is_refused(mosquitto: Broker) -> None:
    answers: queue.Queue[object] = queue.Queue()
    client = paho.Client(paho.CallbackAPIVersion.VERSION2, "anonymous")
    client.on_connect = lambda _c, _u, _f, reason, _p: answers.put(reason.is_failure)
    client.connect("127.0.0.1", mosquitto.port)
    client.loop_start()
    assert answers.get(timeout=WAIT_S) is True
    client.disconnect()
    client.loop_stop()


def test_the_dashboard_user_reads_and_cannot_write(mosquitto: Broker) -> None:
    with (
        mosquitto.client(DASHBOARD) as dashboard,
        mosquitto.client(ADMIN) as admin,
        mosquitto.client(GATEWAY_A.user) as gateway,
    ):
        admin.subscribe("#")
        dashboard.subscribe(*ALL)
        dashboard.publish(f"{PREFIX}/{MAC_A}/telemetry", b"forged")
        dashboard.publish(f"{PREFIX}/{MAC_A}/commands/x", b"forged")
        gateway.publish(f"{PREFIX}/{MAC_A}/telemetry", b"real")
        assert dashboard.receive() == admin.receive() == [(f"{PREFIX}/{MAC_A}/telemetry", b"real")]


def test_the_largest_payload_passes_and_a_larger_packet_is_refused(mosquitto: Broker) -> None:
    with mosquitto.client(BACKEND) as backend, mosquitto.client(GATEWAY_A.user) as gateway:
        backend.subscribe(f"{PREFIX}/+/telemetry")
        gateway.publish(f"{PREFIX}/{MAC_A}/telemetry", b"x" * 1_048_576)
        assert len(backend.receive()[0][1]) == 1_048_576
        gateway.paho.reconnect_delay_set(WAIT_S, WAIT_S)
        gateway.paho.publish(f"{PREFIX}/{MAC_A}/telemetry", b"x" * 1_050_000, 0)
        assert gateway.disconnected.wait(WAIT_S)
    with mosquitto.client(BACKEND) as backend:
        assert backend.received.empty()


def test_queued_messages_and_retained_status_survive_a_restart(mosquitto: Broker) -> None:
    with mosquitto.client(BACKEND, CONSUMER_ID, clean=False) as consumer:
        consumer.subscribe(f"{PREFIX}/+/telemetry", f"{PREFIX}/+/status")
    with mosquitto.client(GATEWAY_A.user) as gateway:
        gateway.publish(f"{PREFIX}/{MAC_A}/status", b"online", retain=True)
        for number in range(1500):  # more than Mosquitto's default queue
            gateway.paho.publish(f"{PREFIX}/{MAC_A}/telemetry", b"%d" % number, 1)
        gateway.publish(f"{PREFIX}/{MAC_A}/telemetry", b"1500")
    mosquitto.restart()
    with mosquitto.client(BACKEND, CONSUMER_ID, clean=False) as consumer:
        received = consumer.receive(1502)
        assert [payload for _, payload in received] == [
            b"online",
            *(b"%d" % number for number in range(1501)),
        ]
    with mosquitto.client(BACKEND) as newcomer:
        newcomer.subscribe(f"{PREFIX}/+/status")
        assert newcomer.receive() == [(f"{PREFIX}/{MAC_A}/status", b"online")]


def test_a_new_gateway_gets_in_after_a_reload_while_the_consumer_stays_connected(
    make_broker: BrokerFactory,
) -> None:
    broker = make_broker(gateways=[GATEWAY_A])
    with broker.client(BACKEND) as backend:
        backend.subscribe(f"{PREFIX}/+/telemetry")
        broker.provision([GATEWAY_A, GATEWAY_B])
        broker.reload()
        while True:  # the reload takes effect in the broker's next loop iteration
            with broker.client(GATEWAY_B.user) as newcomer:
                if not newcomer.reason.is_failure:
                    newcomer.publish(f"{PREFIX}/{MAC_B}/telemetry")
                    break
        assert backend.receive() == [(f"{PREFIX}/{MAC_B}/telemetry", b"x")]
        assert not backend.disconnected.is_set()
