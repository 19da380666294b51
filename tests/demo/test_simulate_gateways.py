"""``simulate_gateways`` with a real broker and a real consumer.

It ends well only where everything was answered.
"""

import os
import subprocess
import sys
from collections.abc import Mapping

import pytest
from django.conf import settings

from tds_new.models import LeituraDispositivo
from tests.support.brokers import Broker
from tests.support.consumers import StartConsumer, database_url
from tests.support.ingestion import TOPIC, World, rejected
from tests.support.waiting import until

COUNT, DEVICES = 20, 3


def simulate(
    broker: Broker, *arguments: str, own: bool = True, environment: Mapping[str, str] | None = None
) -> "subprocess.Popen[str]":
    """The command, as each gateway itself or (``own=False``) as the platform's user."""
    command = [
        sys.executable,
        "manage.py",
        "simulate_gateways",
        "--gateways",
        "1",
        "--interval",
        "0.05",
        "--count",
        str(COUNT),
    ]
    if own:
        command += ["--credentials", str(broker.files.secrets)]
        port = broker.device_port
    else:
        port = broker.port
    everything = {
        **os.environ,
        **broker.environment(),
        "MQTT_BROKER_PORT": str(port),
        "DATABASE_URL": database_url(),
        **(environment or {}),
    }
    return subprocess.Popen(
        [*command, *arguments],
        cwd=settings.BASE_DIR,
        env=everything,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def result(process: "subprocess.Popen[str]") -> tuple[int, str]:
    said, _ = process.communicate(timeout=120)
    assert said.isascii()
    return process.returncode, said


def rows() -> int:
    return LeituraDispositivo.objects.count()


@pytest.mark.parametrize("user", ["each gateway itself", "one that may everything"])
def test_every_message_is_answered(
    world: World, mosquitto: Broker, start_consumer: StartConsumer, user: str
) -> None:
    start_consumer(mosquitto).wait_until_subscribed()
    everybody = {"MQTT_BROKER_USER": "admin", "MQTT_BROKER_PASSWORD": mosquitto.files.secret("admin")}
    own = user == "each gateway itself"
    status, said = result(simulate(mosquitto, own=own, environment=None if own else everybody))
    assert (status, f"[OK] {COUNT} messages: {COUNT} answered as stored, 0 not answered" in said) == (
        0,
        True,
    ), said
    assert rows() == COUNT * DEVICES
    assert rejected() == []


def test_what_the_broker_acknowledged_and_lost_is_sent_again(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    with mosquitto.client("dashboard") as observer:
        observer.subscribe(TOPIC)
        simulation = simulate(mosquitto, "--patience", "100")
        observer.receive(10)
    mosquitto.kill()  # nobody has consumed them, and nothing was saved
    (mosquitto.directory / "data" / "mosquitto.db").unlink(missing_ok=True)
    mosquitto.start()
    start_consumer(mosquitto).wait_until_subscribed()
    status, said = result(simulation)
    assert (status, f"{COUNT} answered as stored" in said) == (0, True), said
    assert rows() == COUNT * DEVICES
    assert rejected() == []


def test_without_answers_it_says_so_and_fails(world: World, mosquitto: Broker) -> None:
    status, said = result(simulate(mosquitto, "--patience", "1"))
    assert status == 1
    assert (
        f"{COUNT} messages: 0 answered as stored, {COUNT} not answered, "
        "0 publications not acknowledged by the broker" in said
    )
    assert "Does the consumer run?" in said


def test_a_user_that_may_not_publish_is_noticed_although_the_broker_acknowledges(
    world: World, mosquitto: Broker, start_consumer: StartConsumer
) -> None:
    start_consumer(mosquitto).wait_until_subscribed()
    status, said = result(simulate(mosquitto, "--patience", "1", own=False))
    assert (status, "0 answered as stored" in said, "May this user publish" in said) == (1, True, True), said


def test_answers_can_be_done_without(world: World, mosquitto: Broker, start_consumer: StartConsumer) -> None:
    first = start_consumer(mosquitto)
    first.wait_until_subscribed()
    assert first.terminate() == 0
    status, said = result(simulate(mosquitto, "--no-seq"))
    assert (status, f"[OK] {COUNT} messages: 0 publications not acknowledged" in said) == (0, True), said
    start_consumer(mosquitto)
    until(lambda: rows() == COUNT * DEVICES, "all are stored")
