"""Gateways that mean harm, at a real broker: they cost little memory, and the others are served."""

import json
import socket
import threading
from collections.abc import Iterator

import pytest

from lab.harness import wire
from lab.harness.process import memory_of
from tds_new.broker.accounts import ADMIN, BACKEND
from tds_new.ingestion import answers
from tds_new.ingestion.consumer import UPTIME_TOPIC, Consumer, ConsumerOptions
from tds_new.ingestion.transport import BrokerConfig
from tds_new.models import Gateway, MensagemRejeitada, RejeicaoContador
from tests.support.brokers import GATEWAY_A, GATEWAY_B, Broker, BrokerFactory
from tests.support.consumers import StartConsumer
from tests.support.ingestion import MAC, OTHER_MAC, PREFIX, TOPIC, World, payload, reading
from tests.support.waiting import until

pytestmark = pytest.mark.once
SMALL_FEW, SMALL_POOL = 100, 1_000


@pytest.fixture
def broker(make_broker: BrokerFactory) -> Broker:
    """A broker that reports every second."""
    return make_broker({"sys_interval": "1"})


@pytest.fixture
def consumer(
    world: World, broker: Broker, transactional_db: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Consumer]:
    """A consumer in this process that bounds answers earlier than usual."""
    monkeypatch.setattr(answers, "FEW", SMALL_FEW)
    monkeypatch.setattr(answers, "POOL", SMALL_POOL)
    config = BrokerConfig("127.0.0.1", broker.port, BACKEND, broker.files.secret(BACKEND))
    consumer = Consumer(ConsumerOptions(config, "hostile-test"))
    thread = threading.Thread(target=consumer.run)
    thread.start()
    until(lambda: consumer._answers._reported_at is not None or not thread.is_alive(), "the first report")
    yield consumer
    consumer.stop()
    thread.join(30)
    assert not thread.is_alive()


def hostile_connection(broker: Broker) -> socket.socket:
    """Connect as gateway A with a persistent session, and subscribe to its answers."""
    connection = socket.create_connection(("127.0.0.1", broker.device_port), timeout=30)
    secret = broker.files.secret(GATEWAY_A.user)
    connection.sendall(wire.connect(GATEWAY_A.user, GATEWAY_A.user, secret, clean=False))
    assert connection.recv(4)[:1] == bytes([wire.CONNACK])
    connection.sendall(wire.packet(wire.SUBSCRIBE, b"\0\x01" + wire.text(f"{PREFIX}/{MAC}/ack") + b"\x01"))
    return connection  # what waits in its session comes before the answer to the subscription


def numbered(first: int, count: int) -> bytes:
    """Packets of so many messages with numbers and without readings."""
    numbers = range(first, first + count)
    return b"".join(wire.publish(TOPIC, payload(seq=number), number % 65_535 + 1) for number in numbers)


@pytest.mark.parametrize("kind", ["offline", "not acknowledging", "not reading"])
def test_answers_that_nobody_takes_are_bounded_and_another_gateway_gets_all_of_its_own(
    consumer: Consumer, broker: Broker, world: World, kind: str
) -> None:
    Gateway.objects.create(conta=world.conta, codigo="GW-B", mac=OTHER_MAC)
    base = f"{PREFIX}/{OTHER_MAC}"
    connection = hostile_connection(broker)
    sent = 0
    with broker.client(ADMIN) as admin, broker.client(GATEWAY_B.user) as honest:
        admin.subscribe(UPTIME_TOPIC)
        honest.subscribe(f"{base}/ack")
        for _ in range(6):  # reports
            for _ in range(5):
                connection.sendall(numbered(sent, 300))
                sent += 300
            if kind == "offline":
                connection.close()
                connection = hostile_connection(broker)
            elif kind == "not acknowledging":
                connection.recv(1_000_000)
            for number in range(3):
                honest.publish(f"{base}/telemetry", payload(seq=number))
                assert json.loads(honest.receive()[0][1]) == {"seq": number}
            admin.receive()
        until(lambda: consumer._taken == consumer._acknowledged, "everything is stored")
        assert consumer._answers.hoarding
        assert consumer._answers.withheld > SMALL_POOL
        assert consumer._answers.stored <= 2 * SMALL_POOL + SMALL_FEW + 3 * answers.CREDIT
    connection.close()


def test_a_backlog_of_numbered_messages_is_answered_at_once_while_nobody_hoards(
    consumer: Consumer, broker: Broker
) -> None:
    with broker.client(GATEWAY_A.user) as gateway:
        gateway.subscribe(f"{PREFIX}/{MAC}/ack")
        for number in range(900):
            gateway.paho.publish(TOPIC, payload(seq=number), 1)
        numbers = [json.loads(answer)["seq"] for _, answer in gateway.receive(900)]
    assert sorted(numbers) == list(range(900))
    assert consumer._answers.withheld == 0


def test_messages_of_a_mebibyte_in_a_row_leave_the_consumer_small(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    consumer = start_consumer(mosquitto, environment={"TDS_GATEWAY_BYTES": "0", "TDS_GATEWAY_CPU_MS": "0"})
    consumer.wait_until_subscribed()
    # Many values, and a character that makes Python's text four bytes wide.
    room = "\U0001f600" + "x" * 900_000
    bodies = [
        payload(reading(), reading("D99"), seq=1, nota=room),
        payload(seq=2, nota=[{}] * 200_000),
        payload(seq=3, nota=room)[:-1],
        b"\xff" * 1_000_000,
    ]
    largest, sent = 0.0, 0
    connection = hostile_connection(mosquitto)
    for number in range(200):
        connection.sendall(wire.publish(TOPIC, bodies[number % len(bodies)], number + 1))
        sent += 1
        largest = max(largest, memory_of(consumer.process.pid) or 0.0)

    def are_refused() -> bool:
        nonlocal largest
        largest = max(largest, memory_of(consumer.process.pid) or 0.0)
        return sum(RejeicaoContador.objects.values_list("total", flat=True)) >= sent

    until(are_refused, "all are refused", limit=120)
    connection.close()
    assert set(MensagemRejeitada.objects.values_list("motivo", flat=True)) == {"mensagem_grande"}
    assert largest < 250, f"{largest:.0f} MiB"
