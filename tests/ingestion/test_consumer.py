"""The consumer end to end: a real broker, a real database, the command as a child process."""

import json
import os
from datetime import timedelta

import psycopg
import pytest
from django.utils.timezone import now

from tds_new.models import ConsumerStatus, Gateway, LeituraDispositivo, MensagemRejeitada
from tests.support.brokers import GATEWAY_A, GATEWAY_B, Broker
from tests.support.consumers import ConsumerProcess, StartConsumer, database_url
from tests.support.ingestion import (
    MAC,
    NOW,
    PREFIX,
    TOPIC,
    World,
    execute,
    payload,
    reading,
    rejected,
    stored,
)
from tests.support.waiting import until

MESSAGES = int(os.environ.get("TEST_KILL_MESSAGES", "5000"))
KILLS = 5


def numbered(number: int, codigo: str = "D01") -> bytes:
    """A message of one reading that no other number has."""
    time = (NOW - timedelta(seconds=number)).isoformat()
    return payload({"dispositivo_codigo": codigo, "valor": number, "timestamp": time})


def publish(broker: Broker, count: int, start: int = 0) -> None:
    """Publish numbered messages as gateway A, all acknowledged by the broker."""
    with broker.client(GATEWAY_A.user) as gateway:
        last = [gateway.paho.publish(TOPIC, numbered(number), 1) for number in range(start, start + count)][
            -1
        ]
        last.wait_for_publish(60)
        until(lambda: not gateway.paho._out_messages, "the broker acknowledges all")


def rows() -> int:
    return LeituraDispositivo.objects.count()


def all_stored(count: int) -> None:
    """Wait until ``count`` readings are stored; each number must be there once."""
    until(lambda: rows() >= count, f"{count} readings")
    assert sorted(LeituraDispositivo.objects.values_list("valor", flat=True)) == list(range(count))


def test_a_message_becomes_a_row_and_is_answered_when_the_row_is_visible(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    consumer = start_consumer(mosquitto)
    consumer.wait_until_subscribed()
    with mosquitto.client(GATEWAY_A.user) as gateway:
        gateway.subscribe(f"{PREFIX}/{MAC}/ack")
        for seq in range(20):
            gateway.publish(
                TOPIC, payload(reading(minute=seq, valor="123.45"), reading("D02", "x", minute=seq), seq=seq)
            )
            ((topic, answer),) = gateway.receive()
            assert (topic, json.loads(answer)) == (f"{PREFIX}/{MAC}/ack", {"seq": seq})
            assert rows() == seq + 1
            assert MensagemRejeitada.objects.count() == seq + 1
    assert Gateway.objects.get().is_online
    assert consumer.terminate() == 0
    status = ConsumerStatus.objects.get()
    assert (status.client_id, status.estado, status.counters["readings"]) == (
        "django_tds_new_consumer",
        "stopped",
        20,
    )
    assert "123.45" not in consumer.log
    assert MAC not in consumer.log  # no line per message without --debug
    assert len(consumer.log.splitlines()) < 12


def test_a_message_is_acknowledged_only_after_its_commit(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    consumer = start_consumer(mosquitto)
    consumer.wait_until_subscribed()
    with psycopg.connect(database_url()) as blocker:
        blocker.execute("LOCK TABLE tds_new_leitura_dispositivo IN SHARE MODE")
        publish(mosquitto, 3)
        until(waits_for_a_lock, "the consumer waits for the lock")
        consumer.kill()
    assert rows() == 0
    second = start_consumer(mosquitto)
    all_stored(3)
    assert second.terminate() == 0
    third = start_consumer(mosquitto)  # nothing is left at the broker
    third.wait_until_subscribed()
    publish(mosquitto, 1, start=3)
    all_stored(4)
    assert third.terminate() == 0
    assert ConsumerStatus.objects.get().counters["messages"] == 1


def waits_for_a_lock() -> bool:
    with psycopg.connect(database_url()) as session:
        row = session.execute(
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE application_name LIKE 'tds_new_consumer%' AND wait_event_type = 'Lock'"
        )
        return bool(row.fetchone()[0])  # type: ignore[index]


def test_kill_9_in_the_middle_loses_and_doubles_nothing(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    # Small batches leave many moments between a commit and its acknowledgement.
    small = {"TDS_BATCH_MESSAGES": "50", "TDS_BATCH_MAX_AGE_MS": "0"}
    consumer = start_consumer(mosquitto, environment=small)
    consumer.wait_until_subscribed()
    for kill in range(KILLS):
        part = MESSAGES // KILLS
        before = rows()
        with mosquitto.client(GATEWAY_A.user) as gateway:
            sent = [
                gateway.paho.publish(TOPIC, numbered(number), 1)
                for number in range(kill * part, (kill + 1) * part)
            ]
            until(lambda before=before: rows() > before, "some are stored")  # type: ignore[misc]
            consumer.kill()
            for message in sent:
                message.wait_for_publish(60)
        consumer = start_consumer(mosquitto, environment=small)
    all_stored(MESSAGES // KILLS * KILLS)
    assert consumer.terminate() == 0
    assert rejected() == []


def test_sigterm_under_load_ends_in_order_and_loses_nothing(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    consumer = start_consumer(mosquitto)
    consumer.wait_until_subscribed()
    with mosquitto.client(GATEWAY_A.user) as gateway:
        sent = [gateway.paho.publish(TOPIC, numbered(number), 1) for number in range(3000)]
        until(lambda: rows() > 0, "some are stored")
        assert consumer.terminate() == 0
        stored_then = rows()
        for message in sent:
            message.wait_for_publish(60)
    assert rows() == stored_then
    second = start_consumer(mosquitto)
    all_stored(3000)
    assert second.terminate() == 0
    # Everything stored was acknowledged: the first one's readings do not come again.
    assert ConsumerStatus.objects.get().counters.get("duplicates", 0) == 0


@pytest.mark.parametrize("fault", ["backend terminated", "broker restarted", "both"])
def test_a_lost_connection_is_survived(
    world: World, mosquitto: Broker, start_consumer: StartConsumer, fault: str
) -> None:
    consumer = start_consumer(mosquitto)
    consumer.wait_until_subscribed()
    publish(mosquitto, 100)
    until(lambda: rows() == 100, "the first are stored")
    if fault != "broker restarted":
        execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE application_name LIKE 'tds_new_consumer%%'"
        )
    if fault != "backend terminated":
        mosquitto.restart()
    publish(mosquitto, 100, start=100)
    all_stored(200)
    assert consumer.terminate() == 0


def test_a_second_consumer_with_the_same_client_id_says_who_is_active(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    first = start_consumer(mosquitto)
    first.wait_until_subscribed()
    until(lambda: ConsumerStatus.objects.filter(pid=first.process.pid).exists(), "its status")
    second = start_consumer(mosquitto)
    assert second.process.wait(30) == 1
    assert f"process {first.process.pid}" in second.log
    publish(mosquitto, 1)  # the first was not disturbed
    all_stored(1)
    assert "was lost" not in first.log


def test_a_standby_takes_over_when_the_active_one_is_killed(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    first = start_consumer(mosquitto)
    first.wait_until_subscribed()
    second = start_consumer(mosquitto, "--standby")
    second.wait_for("standing by")
    publish(mosquitto, 10)
    until(lambda: rows() == 10, "the active one stores")
    first.kill()
    publish(mosquitto, 10, start=10)
    all_stored(20)
    second.wait_for("active consumer")
    assert second.terminate() == 0


def test_two_consumers_of_a_group_share_all_messages(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    consumers: list[ConsumerProcess] = [
        start_consumer(mosquitto, "--client-id", f"c{n}", "--share-group", "g") for n in range(2)
    ]
    for consumer in consumers:
        consumer.wait_until_subscribed()
    publish(mosquitto, 200)
    all_stored(200)
    assert [consumer.terminate() for consumer in consumers] == [0, 0]
    parts = [status.counters["readings"] for status in ConsumerStatus.objects.all()]
    assert sum(parts) == 200
    assert min(parts) > 0


@pytest.mark.parametrize("guessable", [True, False])
def test_a_hostile_member_of_a_group_costs_nothing_and_a_guessable_name_is_said(
    world: World, mosquitto: Broker, start_consumer: StartConsumer, guessable: bool
) -> None:
    made = mosquitto.files.share_group
    group = "ingestion" if guessable else made.read_text(encoding="ascii").strip()
    setting = {"MQTT_SHARE_GROUP": group} if guessable else {"MQTT_SHARE_GROUP_FILE": str(made)}
    consumers = [start_consumer(mosquitto, "--client-id", f"c{n}", environment=setting) for n in range(2)]
    for consumer in consumers:
        consumer.wait_until_subscribed()
    with mosquitto.client(GATEWAY_B.user, clean=False) as hostile:
        hostile.subscribe(f"$share/ingestion/{PREFIX}/+/telemetry")
        publish(mosquitto, 300)
        all_stored(300)
    assert [consumer.terminate() for consumer in consumers] == [0, 0]
    for consumer in consumers:
        assert consumer.log.count("name can be guessed") == guessable
        assert guessable or group not in consumer.log


def test_a_silent_gateway_goes_offline(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    Gateway.objects.update(is_online=True, last_seen=now() - timedelta(hours=1))
    consumer = start_consumer(mosquitto)
    until(lambda: not Gateway.objects.get().is_online, "offline")
    consumer.wait_for("1 gateways gave no sign of life")


def test_hostile_messages_are_rejected_and_cannot_break_the_log(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    consumer = start_consumer(mosquitto, "--debug")
    consumer.wait_until_subscribed()
    hostile = "\u202e\x1b[31m\n2026-01-01 [OK] forged 💥"
    with mosquitto.client(GATEWAY_A.user) as gateway:
        gateway.publish(f"{PREFIX}/{MAC}/status", hostile.encode())
        gateway.publish(f"{PREFIX}/{MAC}/heartbeat", b'{"firmware_version": "\\ud800"}')
        gateway.publish(TOPIC, payload(reading(hostile), reading(valor=hostile), reading("D02")))
    until(lambda: len(rejected()) == 3 and stored(), "all are dealt with")
    consumer.wait_for("DEBUG", f"{PREFIX}/{MAC}/telemetry")
    assert not any(line.startswith("2026-01-01") for line in consumer.log.splitlines())
    assert "\x1b" not in consumer.log
    assert consumer.terminate() == 0
