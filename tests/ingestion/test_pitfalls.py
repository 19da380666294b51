"""Ways in which systems of this kind have lost messages.

These are the ones without another test; docs/reliability.md ("Known failure modes of such systems") names the
test for each.
"""

from collections import Counter
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection

from tds_new.ingestion.message import Message
from tds_new.ingestion.preparation import Answer
from tds_new.ingestion.statistics import Statistics
from tds_new.ingestion.telemetry_processor import BatchResult, TelemetryProcessor
from tds_new.models import ConsumerStatus, LeituraDispositivo, RejeicaoContador
from tds_new.storage.session import connect
from tests.support.brokers import GATEWAY_A, Broker, BrokerFactory
from tests.support.consumers import StartConsumer, database_url
from tests.support.ingestion import MAC, TOPIC, World, message, payload, reading, rejected, stored, telemetry
from tests.support.waiting import until


@pytest.mark.parametrize("codigo", ["D01", "D02", "D03"])
def test_a_value_below_zero_is_a_value(world: World, processor: TelemetryProcessor, codigo: str) -> None:
    processor.process([telemetry(reading(codigo, -5), reading(codigo, "-0.00015", minute=1))])
    assert stored() == [(codigo, 0, Decimal(-5)), (codigo, 1, Decimal("-0.0002"))]


def test_the_prefix_of_the_settings_is_the_one_that_counts(world: World, settings: Any) -> None:
    settings.MQTT_TOPIC_PREFIX = "devices"
    with connect("test") as session:
        result = TelemetryProcessor(session).process(
            [telemetry(reading(), topic=f"devices/{MAC}/telemetry", seq=3), telemetry(reading(valor=2))]
        )
    assert [valor for _, _, valor in stored()] == [Decimal("1.5")]
    assert rejected() == [("topico_invalido", None)]
    assert result.answers == [Answer(f"devices/{MAC}/ack", 3, None, world.gateway.id)]


def test_what_the_broker_retains_changes_nothing_however_often_it_comes(
    world: World, processor: TelemetryProcessor
) -> None:
    retained = [
        Message(TOPIC, content, message().received_at, retain=True)
        for content in (
            payload(reading(), reading("D99")),
            payload(reading(valor=2)),
            b"x",
            payload(*[reading("D98", minute=n) for n in range(60)]),
        )
    ]
    results = [processor.process(retained) for _ in range(3)]
    assert [result.stored for result in results] == [1, 0, 0]
    assert stored() == [("D01", 0, Decimal("1.5"))]
    assert Counter(reason for reason, _ in rejected()) == {
        "dispositivo_desconhecido": 51,
        "conflito": 1,
        "json_invalido": 1,
    }
    totals = dict(RejeicaoContador.objects.values_list("motivo", "total"))
    assert totals == {"dispositivo_desconhecido": 61, "conflito": 1, "json_invalido": 1}


def test_no_query_log_grows_in_the_consumer_while_debugging(
    world: World, processor: TelemetryProcessor, settings: Any
) -> None:
    settings.DEBUG = True
    before = len(connection.queries_log)
    processor.process([telemetry(reading(minute=-n)) for n in range(50)])
    processor.mark_silent()
    assert len(connection.queries_log) == before
    assert LeituraDispositivo.objects.count() == 50
    assert len(connection.queries_log) == before + 1  # Django's own connection does keep one


@pytest.mark.once
def test_nothing_stored_is_not_told_as_success() -> None:
    statistics = Statistics()
    statistics.record(BatchResult(messages=3, rejected=Counter(gateway_inativo=3)), 0.0, 1.0)
    line = statistics.line(0, 0.0, "connected")
    assert "stored 0, " in line
    assert "rejected 3, " in line
    assert "gateway_inativo 3" in line


@pytest.mark.once
def test_more_poison_than_the_brokers_window_holds_does_not_stop_what_comes_after(
    world: World, make_broker: BrokerFactory, start_consumer: StartConsumer
) -> None:
    broker = make_broker({"max_inflight_messages": "5"})
    consumer = start_consumer(broker)
    consumer.wait_until_subscribed()
    poison = (
        b"",
        b"\xff",
        b"[" * 60_000,
        b"[]",
        b"1",
        payload(reading("\0"), reading(valor="NaN")),
        payload(reading(), gateway_mac="\ud800"),
    )
    with broker.client(GATEWAY_A.user) as gateway:
        for number in range(70):
            gateway.publish(TOPIC, poison[number % len(poison)])
        gateway.publish(TOPIC, payload(reading(valor=7)))
    until(lambda: stored() == [("D01", 0, Decimal(7))], "the good one is stored")
    assert len(rejected()) == 80
    assert consumer.terminate() == 0
    second = start_consumer(broker)  # nothing of it comes again
    second.wait_until_subscribed()
    with broker.client(GATEWAY_A.user) as gateway:
        gateway.publish(TOPIC, payload(reading(valor=8, minute=1)))
    until(lambda: len(stored()) == 2, "the next one is stored")
    assert second.terminate() == 0
    assert ConsumerStatus.objects.get().counters["messages"] == 1
    assert len(rejected()) == 80


@pytest.mark.once
def test_the_connection_to_the_broker_outlives_a_database_that_keeps_batches_waiting(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    consumer = start_consumer(
        mosquitto, environment={"MQTT_KEEPALIVE": "5"}
    )  # the broker drops who is silent for 7.5 s
    consumer.wait_until_subscribed()
    with psycopg.connect(database_url()) as blocker, mosquitto.client(GATEWAY_A.user) as gateway:
        blocker.execute("LOCK TABLE tds_new_leitura_dispositivo IN SHARE MODE")
        gateway.publish(TOPIC, payload(reading()))
        consumer.wait_for("the database failed", "try 4")  # three tries have waited 5 s for the lock each
        gateway.publish(TOPIC, payload(reading(minute=1)))
    until(lambda: len(stored()) == 2, "both are stored")
    assert consumer.terminate() == 0
    counters = ConsumerStatus.objects.get().counters
    assert (counters["reconnects"], counters["duplicates"], counters["messages"]) == (0, 0, 2)
