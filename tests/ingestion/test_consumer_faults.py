"""The consumer without a database or with wrong credentials, and its inbox."""

import subprocess
import sys

import psycopg
import pytest
from django.conf import settings

from tds_new.embedded.postgres import PostgresServer
from tds_new.ingestion import inbox
from tds_new.ingestion.inbox import Inbox
from tds_new.ingestion.retry import RETRY
from tests.support.brokers import GATEWAY_A, Broker
from tests.support.consumers import ConsumerProcess, StartConsumer
from tests.support.ingestion import TOPIC, message
from tests.support.waiting import until

pytestmark = pytest.mark.once

NO_DATABASE = {"DATABASE_URL": "postgres://nobody@127.0.0.1:9/none"}


def test_sigterm_without_a_database_ends_in_order_within_ten_seconds(
    mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    consumer = start_consumer(mosquitto, environment=NO_DATABASE)
    consumer.wait_for("[WARN]", "the database failed")
    assert consumer.terminate(10) == 0


def test_wrong_credentials_are_said_and_the_consumer_goes_on_trying(
    mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    consumer: ConsumerProcess = start_consumer(
        mosquitto, environment={"MQTT_BROKER_PASSWORD": "not-the-secret"}
    )
    consumer.wait_for("[ERROR]", "check MQTT_BROKER_USER and MQTT_BROKER_PASSWORD", times=2)
    assert "not-the-secret" not in consumer.log
    assert consumer.terminate(10) == 0


def test_a_database_that_stops_and_starts_again_loses_nothing(
    own_postgres: PostgresServer, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    url = own_postgres.url()
    arguments = [sys.executable, "manage.py", "migrate", "-v0"]
    subprocess.run(
        arguments,
        cwd=settings.BASE_DIR,
        env={**ConsumerProcess.environment(), "DATABASE_URL": url},
        check=True,
    )
    consumer = start_consumer(mosquitto, environment={"DATABASE_URL": url})
    consumer.wait_until_subscribed()
    own_postgres.stop()
    with mosquitto.client(GATEWAY_A.user) as gateway:
        for number in range(5):
            gateway.publish(TOPIC, b"%d" % number)
    consumer.wait_for("the database failed", "try 3")
    own_postgres.start()

    def rejected() -> int:
        with psycopg.connect(own_postgres.url()) as session:
            row = session.execute("SELECT count(*) FROM tds_new_mensagem_rejeitada").fetchone()
        return int(row[0]) if row else 0

    until(lambda: rejected() == 5, "all are rejected: nobody has registered the gateway")
    consumer.wait_for("the database is back")
    assert consumer.terminate() == 0


@pytest.mark.parametrize(("attempt", "longest"), [(1, 0.2), (2, 0.4), (5, 3.2), (8, 15), (1000, 15)])
def test_tries_on_the_database_wait_up_to_twice_as_long_and_at_most_15_seconds(
    attempt: int, longest: float
) -> None:
    assert RETRY.delay_before(attempt, lambda: 1.0) == pytest.approx(longest)
    assert RETRY.delay_before(attempt, lambda: 0.0) == 0


def test_a_flood_without_delivery_guarantee_is_bounded_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_WAITING", 20)
    queue = Inbox()
    for _ in range(25):
        queue.put(message(qos=0))
    queue.put(message(qos=1))  # never dropped: the broker keeps them where nothing is read
    assert (len(queue), queue.dropped, queue.full) == (11, 15, False)
    monkeypatch.setattr(inbox, "MAX_WAITING_BYTES", 100)
    queue.put(message(b"x" * 50, qos=1))
    queue.take(11, 0, 0)
    queue.put(message(qos=0))
    assert (len(queue), queue.dropped) == (1, 16)


def test_it_is_full_by_count_or_by_size_until_half_of_that_is_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inbox, "MAX_WAITING", 10)
    monkeypatch.setattr(inbox, "MAX_WAITING_BYTES", 100)
    small, large = message(b"x"), message(b"x" * 50)
    for sent, half in ((small, 5), (large, 1)):
        queue = Inbox()
        for _ in range(2 * half - 1):
            queue.put(sent)
        assert not queue.full
        queue.put(sent)
        assert queue.full
        for _ in range(half):
            assert queue.full
            queue.take(1, 0, 0)
        assert queue.full
        queue.take(1, 0, 0)
        assert not queue.full
        queue.put(sent)
        assert not queue.full


def test_a_batch_is_bounded_by_count_and_by_size(monkeypatch: pytest.MonkeyPatch) -> None:
    queue = Inbox()
    for _ in range(10):
        queue.put(message(b"x" * 100))
    assert len(queue.take(4, 0, 0)) == 4
    monkeypatch.setattr(inbox, "MAX_BATCH_BYTES", 250)
    assert [len(queue.take(9, 0, 0)) for _ in range(3)] == [3, 3, 0]
