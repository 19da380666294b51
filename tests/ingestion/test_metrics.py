"""The consumer's figures for Prometheus, and the broker's own count of what it dropped."""

import urllib.request
from collections import Counter

import pytest

from tds_new.broker.accounts import BACKEND
from tds_new.embedded.ports import free_port
from tds_new.ingestion.metrics import Metrics
from tds_new.ingestion.telemetry_processor import BatchResult
from tests.support.brokers import GATEWAY_A, BrokerFactory
from tests.support.consumers import StartConsumer, start_consumer
from tests.support.ingestion import TOPIC, World, payload, reading, world
from tests.support.waiting import until

__all__ = ["start_consumer", "world"]


def test_a_batch_is_counted_by_outcome() -> None:
    metrics = Metrics()
    result = BatchResult(
        5,
        stored=9,
        duplicates=2,
        conflicts=1,
        rejected=Counter(conflito=1, valor_invalido=3),
        kinds=Counter(telemetry=5),
    )
    metrics.record(result, seconds=0.02, oldest=100.0, committed=100.5)
    sample = metrics.registry.get_sample_value
    assert sample("tds_messages_total", {"kind": "telemetry"}) == 5
    assert [sample("tds_readings_total", {"outcome": o}) for o in ("stored", "duplicate", "conflict")] == [
        9,
        2,
        1,
    ]
    assert sample("tds_rejected_total", {"reason": "valor_invalido"}) == 3
    assert sample("tds_commit_delay_seconds_sum") == 0.5
    assert sample("tds_last_commit_timestamp_seconds") == 100.5


def test_failures_of_the_database_are_counted_by_their_code() -> None:
    metrics = Metrics()
    metrics.record_failure("57P01")
    metrics.record_failure(None)
    assert metrics.registry.get_sample_value("tds_database_failures_total", {"sqlstate": "57P01"}) == 1
    assert metrics.registry.get_sample_value("tds_database_failures_total", {"sqlstate": "none"}) == 1


@pytest.mark.once
def test_a_running_consumer_shows_its_figures_and_what_the_broker_dropped(
    world: World, make_broker: BrokerFactory, start_consumer: StartConsumer
) -> None:
    broker = make_broker({"sys_interval": "1", "max_queued_messages": "5", "max_inflight_messages": "5"})
    port = free_port()
    consumer = start_consumer(broker, environment={"TDS_METRICS_PORT": str(port)})
    consumer.wait_until_subscribed()

    def figures() -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            return str(answer.read(), "utf-8")

    with broker.client(GATEWAY_A.user) as gateway:
        gateway.publish(TOPIC, payload(reading()))
        until(lambda: 'tds_readings_total{outcome="stored"} 1.0' in figures(), "the reading is counted")
        assert "tds_broker_connected 1.0" in figures()
        # Somebody else's queue overflows: the broker acknowledges and drops.
        with broker.client(BACKEND, "sleeper", clean=False) as sleeper:
            sleeper.subscribe(TOPIC)
        for number in range(20):
            gateway.publish(TOPIC, payload(reading(minute=-number)))
    consumer.wait_for("[WARN]", "the broker dropped")
    assert "tds_broker_dropped 0.0" not in figures()
