"""The connection to a real Mosquitto.

Handlers, persistence, acknowledgements, refusals, both protocols, TLS.
"""

import logging
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tds_new.broker.accounts import BACKEND
from tds_new.ingestion.message import Message
from tds_new.ingestion.transport import BrokerConfig, MQTTSubscriber, TlsConfig, Will
from tests.support.brokers import GATEWAY_A, MAC_A, PREFIX, Broker, BrokerFactory
from tests.support.waiting import until

pytestmark = pytest.mark.once

ALL = f"{PREFIX}/+/telemetry"
TOPIC = f"{PREFIX}/{MAC_A}/telemetry"
CLIENT_ID = "django_tds_new_consumer"

Connect = Callable[..., MQTTSubscriber]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Start subscribers as the platform's user, and end them after the test."""
    started: list[MQTTSubscriber] = []

    def start(
        broker: Broker, *patterns: str, handler: Callable[[Message], None] | None = None, **options: Any
    ) -> MQTTSubscriber:
        arguments = {name: options.pop(name) for name in ("will", "on_unhandled") if name in options}
        config = {
            "username": BACKEND,
            "password": broker.files.secret(BACKEND),
            "port": broker.port,
            **options,
        }
        subscriber = MQTTSubscriber(BrokerConfig("127.0.0.1", **config), CLIENT_ID, **arguments)
        for pattern in patterns:
            subscriber.subscribe(pattern)
        if handler is not None:
            subscriber.register_handler("#", handler)
        subscriber.start()
        started.append(subscriber)
        return subscriber

    yield start
    for subscriber in started:
        subscriber.disconnect()


def publish(broker: Broker, *payloads: bytes, topic: str = TOPIC) -> None:
    with broker.client(GATEWAY_A.user) as gateway:
        for payload in payloads:
            gateway.publish(topic, payload)


def payloads(received: list[Message]) -> list[bytes]:
    return [message.payload for message in received]


def test_handlers_get_what_their_patterns_match_and_one_that_fails_harms_no_other(
    mosquitto: Broker, connect: Connect
) -> None:
    received: dict[str, list[bytes]] = {"exact": [], "plus": [], "rest": [], "unhandled": []}

    def fail(message: Message) -> None:
        raise RuntimeError("made by the test")

    subscriber = connect(
        mosquitto, ALL, f"{PREFIX}/+/status", on_unhandled=lambda m: received["unhandled"].append(m.payload)
    )
    subscriber.register_handler(f"{PREFIX}/+/status", fail)
    subscriber.register_handler(TOPIC, fail)
    subscriber.register_handler(TOPIC, lambda m: received["exact"].append(m.payload))
    subscriber.register_handler(f"{PREFIX}/+/telemetry", lambda m: received["plus"].append(m.payload))
    subscriber.register_handler(
        "tds_new/#", lambda m: received["rest"].append(m.payload) if b"s" not in m.payload else fail(m)
    )
    until(lambda: subscriber.subscribed)
    publish(mosquitto, b"1")
    publish(mosquitto, b"s", topic=f"{PREFIX}/{MAC_A}/status")
    publish(mosquitto, b"2")
    until(lambda: received["rest"] == [b"1", b"2"])
    assert received == {
        "exact": [b"1", b"2"],
        "plus": [b"1", b"2"],
        "rest": [b"1", b"2"],
        "unhandled": [b"s"],
    }
    assert subscriber.connected


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_what_came_while_away_is_delivered_and_acknowledged_messages_do_not_come_again(
    mosquitto: Broker, connect: Connect, protocol: str
) -> None:
    received: list[Message] = []
    first = connect(mosquitto, ALL, handler=received.append, protocol=protocol)
    until(lambda: first.subscribed)
    publish(mosquitto, b"acknowledged", b"not")
    until(lambda: len(received) == 2)
    first.ack(received[:1])
    first.disconnect()  # sends what is handed over
    publish(mosquitto, b"away")
    again: list[Message] = []
    second = connect(mosquitto, ALL, handler=again.append, protocol=protocol)
    until(lambda: len(again) == 2)
    assert second.session_present
    assert payloads(again) == [b"not", b"away"]
    assert [message.redelivered for message in again] == [True, False]
    publish(mosquitto, b"last")
    until(lambda: len(again) == 3)


def test_it_subscribes_again_after_the_broker_has_lost_everything(
    make_broker: BrokerFactory, connect: Connect
) -> None:
    broker = make_broker({"persistence": "false"})
    received: list[Message] = []
    subscriber = connect(broker, ALL, handler=received.append)
    until(lambda: subscriber.subscribed)
    broker.restart()
    until(lambda: subscriber.reconnects == 1 and subscriber.subscribed)
    publish(broker, b"after")
    until(lambda: payloads(received) == [b"after"])


def test_acknowledgements_of_an_older_connection_are_forgotten(
    make_broker: BrokerFactory, connect: Connect
) -> None:
    broker = make_broker({"persistence": "false"})  # packet ids begin again
    received: list[Message] = []
    subscriber = connect(broker, ALL, handler=received.append)
    until(lambda: subscriber.subscribed)
    publish(broker, b"old 1", b"old 2", b"old 3")
    until(lambda: len(received) == 3)
    old = received[:]
    broker.restart()
    until(lambda: subscriber.reconnects == 1 and subscriber.subscribed)
    publish(broker, b"new 1", b"new 2", b"new 3")
    until(lambda: len(received) == 6)
    assert {m.packet_id for m in old} == {m.packet_id for m in received[3:]}
    subscriber.ack(old)
    subscriber.disconnect()
    again: list[Message] = []
    connect(broker, ALL, handler=again.append)
    until(lambda: len(again) == 3)
    assert payloads(again) == [b"new 1", b"new 2", b"new 3"]


def test_a_wrong_password_is_said_and_tried_again_with_growing_delays(
    mosquitto: Broker, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        subscriber = connect(mosquitto, ALL, password="wrong")
        until(lambda: caplog.text.count("next try to reach the broker") >= 2)
    assert not subscriber.connected
    assert "check MQTT_BROKER_USER and MQTT_BROKER_PASSWORD" in caplog.text
    assert "wrong" not in caplog.text


def test_a_broker_that_is_away_at_the_start_is_waited_for(
    make_broker: BrokerFactory, connect: Connect
) -> None:
    broker = make_broker()
    broker.stop()
    subscriber = connect(broker, ALL)
    until(lambda: subscriber._loop._delay.attempts >= 1)
    broker.start()
    until(lambda: subscriber.subscribed)


def test_a_refused_subscription_is_said_and_not_taken_for_granted(
    mosquitto: Broker, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        subscriber = connect(mosquitto, ALL)
        until(lambda: subscriber.subscribed)
        # Mosquitto's access list refuses no subscription, so the answer is given by the test.
        subscriber._loop.calls.add(lambda: refuse(subscriber))
        until(lambda: "the broker refused the subscription" in caplog.text)
    assert not subscriber.subscribed
    assert subscriber.subscribed_for == 0
    assert f"check its access list for user {BACKEND}" in caplog.text


def refuse(subscriber: MQTTSubscriber) -> None:
    from paho.mqtt.packettypes import PacketTypes
    from paho.mqtt.reasoncodes import ReasonCode

    subscriptions = subscriber._subscriptions
    subscriptions._granted.clear()
    subscriptions._unanswered[99] = [ALL]
    reason = ReasonCode(PacketTypes.SUBACK, "Unspecified error")  # type: ignore[no-untyped-call]
    subscriptions.record_answer(99, [reason])


def test_an_idle_connection_is_kept_alive(make_broker: BrokerFactory, connect: Connect) -> None:
    broker = make_broker({"log_type": "all"})
    subscriber = connect(broker, ALL, keepalive=1)
    until(lambda: broker.log_text().count("Received PINGREQ from") >= 3)
    assert (subscriber.connected, subscriber.reconnects) == (True, 0)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_a_publication_survives_a_reconnect(mosquitto: Broker, connect: Connect, protocol: str) -> None:
    subscriber = connect(mosquitto, ALL, protocol=protocol)
    until(lambda: subscriber.subscribed)
    mosquitto.stop()
    until(lambda: not subscriber.connected)
    subscriber.publish(f"{PREFIX}/{MAC_A}/ack", b'{"seq":1}')
    mosquitto.start()
    with mosquitto.client(GATEWAY_A.user) as gateway:
        gateway.subscribe(f"{PREFIX}/{MAC_A}/ack")
        until(lambda: subscriber.subscribed and not subscriber.unsent)
        subscriber.publish(f"{PREFIX}/{MAC_A}/ack", b'{"seq":2}')
        assert gateway.receive()[-1][1] in (b'{"seq":1}', b'{"seq":2}')
        until(lambda: not subscriber.unsent)


@pytest.mark.parametrize("protocol", ["3.1.1", "5"])
def test_answers_arrive_also_where_they_are_not_kept(
    mosquitto: Broker, connect: Connect, protocol: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tds_new.ingestion.transport.client.MAX_UNACKNOWLEDGED", 0)
    subscriber = connect(mosquitto, ALL, protocol=protocol)
    until(lambda: subscriber.subscribed)
    answers = [b"", b"x" * 200, b"y" * 20_000]
    with mosquitto.client(GATEWAY_A.user) as gateway:
        gateway.subscribe(f"{PREFIX}/{MAC_A}/ack")
        for answer in answers:
            subscriber.answer(f"{PREFIX}/{MAC_A}/ack", answer)
        assert [payload for _, payload in gateway.receive(3)] == answers
    assert (subscriber.unsent, subscriber.reconnects) == (0, 0)


def test_the_end_is_said_in_order_and_sends_no_will(mosquitto: Broker, connect: Connect) -> None:
    will = Will(f"{PREFIX}/{MAC_A}/ack", b"gone", retain=False)
    with mosquitto.client(GATEWAY_A.user) as gateway:
        gateway.subscribe(f"{PREFIX}/{MAC_A}/ack")
        subscriber = connect(mosquitto, ALL, will=will)
        until(lambda: subscriber.subscribed)
        subscriber.publish(f"{PREFIX}/{MAC_A}/ack", b"last words")
        subscriber.disconnect()
        assert subscriber._loop._thread is not None
        assert not subscriber._loop._thread.is_alive()
        until(lambda: f"Client {CLIENT_ID} disconnected." in mosquitto.log_text())
        other = connect(mosquitto, ALL)
        until(lambda: other.subscribed)
        other.publish(f"{PREFIX}/{MAC_A}/ack", b"after")
        assert [payload for _, payload in gateway.receive(2)] == [b"last words", b"after"]


def test_acknowledgements_from_many_threads_all_arrive(mosquitto: Broker, connect: Connect) -> None:
    received: list[Message] = []
    subscriber = connect(mosquitto, ALL, handler=received.append)
    until(lambda: subscriber.subscribed)
    publish(mosquitto, *[b"%d" % n for n in range(100)])
    until(lambda: len(received) == 100)
    threads = [threading.Thread(target=subscriber.ack, args=([message],)) for message in received]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    subscriber.disconnect()
    again: list[Message] = []
    connect(mosquitto, ALL, handler=again.append)
    publish(mosquitto, b"new")
    until(lambda: again)
    assert payloads(again) == [b"new"]


# --- TLS ----------------------------------------------------------------------------------------------------


def certificate(directory: Path, name: str, *, issuer: str | None = None) -> None:
    """A key and a certificate, self-signed or signed by ``issuer``, for 127.0.0.1."""
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    command += ["-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt"]
    command += ["-CA", f"{issuer}.crt", "-CAkey", f"{issuer}.key"] if issuer else []
    command += ["-addext", "subjectAltName=IP:127.0.0.1"] if issuer else []
    subprocess.run(command, cwd=directory, check=True, capture_output=True)


@pytest.fixture
def tls_broker(make_broker: BrokerFactory, tmp_path: Path) -> Broker:
    directory = tmp_path / "mosquitto-0"  # the broker's own, which it may read
    directory.mkdir(mode=0o700)
    for name in ("ca", "stranger"):
        certificate(directory, name)
    certificate(directory, "broker", issuer="ca")
    return make_broker({"certfile": str(directory / "broker.crt"), "keyfile": str(directory / "broker.key")})


def test_tls_with_the_right_authority(tls_broker: Broker, connect: Connect) -> None:
    received: list[Message] = []
    tls = TlsConfig(str(tls_broker.directory / "ca.crt"))
    subscriber = connect(tls_broker, ALL, handler=received.append, tls=tls)
    until(lambda: subscriber.subscribed)
    publish(tls_broker, *[b"x" * 60_000] * 5)  # more than a TLS record, and than what is read ahead
    until(lambda: len(received) == 5)
    subscriber.ack(received)
    subscriber.disconnect()
    again: list[Message] = []
    connect(tls_broker, ALL, handler=again.append, tls=tls)
    publish(tls_broker, b"new")
    until(lambda: payloads(again) == [b"new"])


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the library leaves the refused socket to be collected
def test_a_broker_of_another_authority_is_not_trusted(
    tls_broker: Broker, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        subscriber = connect(tls_broker, ALL, tls=TlsConfig(str(tls_broker.directory / "stranger.crt")))
        until(lambda: "next try to reach the broker" in caplog.text)
    assert "certificate verify failed" in caplog.text
    assert not subscriber.connected
