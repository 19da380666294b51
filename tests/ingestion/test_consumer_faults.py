"""The consumer without a database or with wrong credentials."""

import subprocess
import sys

import psycopg
import pytest
from django.conf import settings

from tds_new.embedded.postgres import PostgresServer
from tests.support.brokers import GATEWAY_A, Broker
from tests.support.consumers import ConsumerProcess, StartConsumer
from tests.support.ingestion import TOPIC
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
