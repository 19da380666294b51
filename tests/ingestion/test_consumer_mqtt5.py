"""The consumer on MQTT 5: it keeps the promises of 3.1.1, and limits its window."""

import json

import psycopg
import pytest

from lab.harness import wire
from lab.torture.proxy import Link, Proxy
from tds_new.models import ConsumerStatus
from tests.ingestion.test_consumer import all_stored, publish, rows, waits_for_a_lock
from tests.support.brokers import GATEWAY_A, Broker, BrokerFactory
from tests.support.consumers import StartConsumer, database_url
from tests.support.ingestion import MAC, PREFIX, TOPIC, World, payload, reading, rejected
from tests.support.waiting import until

MQTT_5 = {"MQTT_PROTOCOL": "5"}
RECEIVE_MAXIMUM = 6_000  # three batches, as max_inflight_messages of the shipped broker
OF_CONNECT, OF_RECEIVE_MAXIMUM, OF_SESSION_EXPIRY = 10, 0x21, 0x11


def test_a_message_is_stored_and_answered_after_its_commit(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    consumer = start_consumer(mosquitto, environment=MQTT_5)
    consumer.wait_until_subscribed()
    with mosquitto.client(GATEWAY_A.user) as gateway:
        gateway.subscribe(f"{PREFIX}/{MAC}/ack")
        for seq in range(20):
            gateway.publish(TOPIC, payload(reading(minute=seq), seq=seq))
            ((topic, answer),) = gateway.receive()
            assert (topic, json.loads(answer)) == (f"{PREFIX}/{MAC}/ack", {"seq": seq})
            assert rows() == seq + 1
    assert consumer.terminate() == 0
    assert rejected() == []


def test_what_is_not_committed_is_not_acknowledged_and_its_session_outlives_kill_9(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    first = start_consumer(mosquitto, environment=MQTT_5)
    first.wait_until_subscribed()
    with psycopg.connect(database_url()) as blocker:
        blocker.execute("LOCK TABLE tds_new_leitura_dispositivo IN SHARE MODE")
        publish(mosquitto, 3)
        until(waits_for_a_lock, "the consumer waits for the lock")
        first.kill()
    publish(mosquitto, 3, start=3)  # nobody is there
    assert rows() == 0
    second = start_consumer(mosquitto, environment=MQTT_5)
    second.wait_for("connected to the broker", "session resumed")
    all_stored(6)
    assert second.terminate() == 0
    third = start_consumer(mosquitto, environment=MQTT_5)  # what was acknowledged does not come again
    third.wait_until_subscribed()
    publish(mosquitto, 1, start=6)
    all_stored(7)
    assert third.terminate() == 0
    assert ConsumerStatus.objects.get().counters["messages"] == 1


class Counting(Link):
    """Counts what comes before the first acknowledgement, and keeps the CONNECT."""

    def __init__(self, *arguments: object) -> None:
        super().__init__(*arguments)  # type: ignore[arg-type]
        self._up, self._down = wire.Packets(), wire.Packets()
        self.connect, self.acknowledged, self.delivered, self.heard = b"", 0, 0, False

    def upwards(self, data: bytes) -> bytes:
        """Towards the broker."""
        for first, body, _ in self._up.feed(data):
            if first & 0xF0 == wire.CONNECT:
                self.connect = body
            elif first & 0xF0 == wire.PUBACK:
                self.acknowledged += 1
        return data

    def downwards(self, data: bytes) -> bytes:
        """Towards the consumer."""
        for first, body, _ in self._down.feed(data):
            if first & 0xF6 == wire.PUBLISH | 2:
                self.delivered += 1
            self.heard |= b"/heartbeat" in body
        return data


class CountingProxy(Proxy):
    """A proxy in front of the broker that counts."""

    link = Counting


def properties_of(connect: bytes) -> dict[int, int]:
    """The properties of our CONNECT: two bytes of Receive Maximum, four of Session Expiry Interval."""
    block = connect[OF_CONNECT + 1 : OF_CONNECT + 1 + connect[OF_CONNECT]]
    found: dict[int, int] = {}
    while block:
        size = {OF_RECEIVE_MAXIMUM: 2, OF_SESSION_EXPIRY: 4}[block[0]]
        found[block[0]], block = int.from_bytes(block[1 : 1 + size], "big"), block[1 + size :]
    return found


def test_it_takes_no_more_at_a_time_than_it_says_whatever_the_broker_allows(
    world: World, make_broker: BrokerFactory, start_consumer: StartConsumer
) -> None:
    broker = make_broker({"max_inflight_messages": "20000"})  # no limit of its own
    proxy = CountingProxy(broker.port)
    try:
        consumer = start_consumer(broker, environment={**MQTT_5, "MQTT_BROKER_PORT": str(proxy.port)})
        consumer.wait_until_subscribed()
        (link,) = proxy.links()
        assert isinstance(link, Counting)
        assert properties_of(link.connect) == {
            OF_RECEIVE_MAXIMUM: RECEIVE_MAXIMUM,
            OF_SESSION_EXPIRY: 30 * 24 * 3600,
        }
        with psycopg.connect(database_url()) as blocker:
            blocker.execute("LOCK TABLE tds_new_leitura_dispositivo IN SHARE MODE")
            publish(broker, RECEIVE_MAXIMUM + 500)  # all of it at the broker
            with broker.client(GATEWAY_A.user) as gateway:
                gateway.publish(
                    f"{PREFIX}/{MAC}/heartbeat", b"", qos=0
                )  # no window holds this back: all that comes before it has come
            until(lambda: link.heard, "the last message")
            # Only before the first PUBACK: Mosquitto 2.0.11 then sends a whole window more for each
            # (measured; on 3.1.1 too).
            assert (link.acknowledged, link.delivered) == (0, RECEIVE_MAXIMUM)
        all_stored(RECEIVE_MAXIMUM + 500)
        assert consumer.terminate() == 0
    finally:
        proxy.close()


@pytest.mark.once
def test_a_share_group_works_too(world: World, mosquitto: Broker, start_consumer: StartConsumer) -> None:
    consumers = [
        start_consumer(mosquitto, "--client-id", f"c{n}", "--share-group", "g", environment=MQTT_5)
        for n in range(2)
    ]
    for consumer in consumers:
        consumer.wait_until_subscribed()
    publish(mosquitto, 200)
    all_stored(200)
    assert [consumer.terminate() for consumer in consumers] == [0, 0]
