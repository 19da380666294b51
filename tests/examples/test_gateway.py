"""The reference gateway of examples/: what it has read is stored once."""

import json
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from django.conf import settings

from tds_new.broker.accounts import BACKEND
from tds_new.models import Gateway, LeituraDispositivo
from tests.support.brokers import GATEWAY_A, Broker
from tests.support.consumers import StartConsumer
from tests.support.ingestion import MAC, PREFIX, TOPIC, World, rejected
from tests.support.waiting import until

EXAMPLE = Path(settings.BASE_DIR) / "examples" / "gateway"
# Each call notes its number before it returns it: so number n in the ledger says that n - 1 was put into the
# queue.
SOURCE = """
from pathlib import Path
from gateway import Reading

LEDGER = Path({ledger!r})

def read():
    number = len(LEDGER.read_text()) if LEDGER.exists() else 0
    with LEDGER.open("a") as ledger:
        ledger.write("x")
    return [Reading("D01", str(number), "kWh")]
"""


class GatewayProcess:
    """A running reference gateway that counts.

    Its queue, ledger and log are in ``directory``.
    """

    def __init__(self, directory: Path, broker: Broker, *arguments: str) -> None:
        self.directory, self._log = directory, directory / "gateway.log"
        (directory / "counting.py").write_text(
            SOURCE.format(ledger=str(directory / "ledger")), encoding="utf-8"
        )
        secret = broker.files.secret(GATEWAY_A.user)
        command = [
            sys.executable,
            str(EXAMPLE / "gateway.py"),
            "--id",
            MAC,
            "--port",
            str(broker.device_port),
            "--host",
            "127.0.0.1",
        ]
        command += [
            "--username",
            GATEWAY_A.user,
            "--source",
            "counting:read",
            "--interval",
            "0.02",
            "--queue",
            str(directory / "queue.db"),
        ]
        environment = {
            **os.environ,
            "MQTT_PASSWORD": secret,
            "PYTHONPATH": str(directory),
            "PYTHONDONTWRITEBYTECODE": "1",
        }
        with self._log.open("ab") as output:
            self.process = subprocess.Popen(
                [*command, "--resend-after", "1", *arguments],
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
            )

    @property
    def log(self) -> str:
        """The output of this gateway and of those before it."""
        return self._log.read_text(encoding="utf-8")

    @property
    def read(self) -> int:
        """The number of times that the meter was read."""
        ledger = self.directory / "ledger"
        return ledger.stat().st_size if ledger.exists() else 0

    def waiting(self) -> list[int]:
        """The numbers that are in the queue."""
        with sqlite3.connect(self.directory / "queue.db", timeout=30) as queue:
            return [
                int(json.loads(body)["leituras"][0]["valor"])
                for (body,) in queue.execute("SELECT body FROM message")
            ]

    def wait_until_read(self, more: int) -> None:
        """Wait until the meter was read so often again."""
        target = self.read + more
        until(
            lambda: self.read >= target or self.process.poll() is not None, f"{target} readings:\n{self.log}"
        )
        assert self.process.poll() is None, self.log

    def kill(self) -> int:
        """A power cut; the number that was perhaps read, but not kept any more."""
        self.process.kill()
        self.process.wait()
        return self.read - 1


StartGateway = Callable[..., GatewayProcess]


@pytest.fixture
def start_gateway(tmp_path: Path) -> Iterator[StartGateway]:
    """Start gateways on one directory; all are ended after the test."""
    started: list[GatewayProcess] = []
    directory = tmp_path / "gateway"
    directory.mkdir()

    def start(broker: Broker, *arguments: str) -> GatewayProcess:
        started.append(GatewayProcess(directory, broker, *arguments))
        return started[-1]

    yield start
    for gateway in started:
        if gateway.process.poll() is None:
            gateway.kill()


def stored_numbers() -> list[int]:
    return sorted(int(valor) for valor in LeituraDispositivo.objects.values_list("valor", flat=True))


def wait_until_all_is_stored(gateway: GatewayProcess, before: int) -> None:
    """Wait until the meter was read again and everything is stored.

    It was read more than ``before`` times then, and nothing waits. The queue alone does not tell: it is empty
    too while a reading is on its way into it.
    """
    until(
        lambda: gateway.read > before and gateway.read - 1 in stored_numbers() and gateway.waiting() == [],
        f"an empty queue:\n{gateway.log}",
    )


def lose_everything(broker: Broker) -> None:
    """Kill the broker and delete its store.

    Sessions, queues and messages that it acknowledged are gone.
    """
    broker.kill()
    (broker.directory / "data" / "mosquitto.db").unlink(missing_ok=True)
    broker.start()


def finish(gateway: GatewayProcess) -> None:
    """Stop it with SIGTERM: it must end in order."""
    gateway.process.send_signal(signal.SIGTERM)
    assert gateway.process.wait(30) == 0, gateway.log


def test_what_the_broker_acknowledged_and_lost_is_sent_again(
    world: World, mosquitto: Broker, start_consumer: StartConsumer, start_gateway: StartGateway
) -> None:
    with mosquitto.client("dashboard") as observer:
        observer.subscribe(TOPIC)
        gateway = start_gateway(mosquitto)
        observer.receive(50)
    lose_everything(mosquitto)  # nobody has consumed them
    consumer = start_consumer(mosquitto)
    consumer.wait_until_subscribed()
    gateway.wait_until_read(20)
    finish(gateway)
    before = gateway.read
    start_gateway(mosquitto, "--interval", "3600")  # reads once more, and sends what still waits
    wait_until_all_is_stored(gateway, before)
    assert stored_numbers() == list(range(gateway.read))
    assert rejected() == []
    assert consumer.terminate() == 0


def retained_status(broker: Broker) -> bytes:
    """Return the retained status that a new subscriber gets."""
    with broker.client("dashboard") as client:
        client.subscribe(f"{PREFIX}/{MAC}/status")
        return client.receive()[0][1]


def test_gateway_and_broker_killed_again_and_again_lose_and_double_nothing(
    world: World, mosquitto: Broker, start_consumer: StartConsumer, start_gateway: StartGateway
) -> None:
    consumer = start_consumer(mosquitto)
    consumer.wait_until_subscribed()
    perhaps: set[int] = set()
    for kills in range(1, 4):
        gateway = start_gateway(mosquitto)
        gateway.wait_until_read(40)
        until(lambda: len(stored_numbers()) > 0, f"some are stored:\n{gateway.log}")
        perhaps.add(gateway.kill())
        gateway = start_gateway(mosquitto)
        gateway.wait_until_read(20)
        lose_everything(mosquitto)
        consumer.wait_until_subscribed(times=1 + kills)
        perhaps.add(gateway.kill())
    gateway = start_gateway(mosquitto, "--interval", "3600")
    wait_until_all_is_stored(gateway, max(perhaps) + 1)
    numbers = stored_numbers()
    assert len(set(numbers)) == len(numbers)
    assert set(range(gateway.read)) - set(numbers) <= perhaps
    assert rejected() == []
    assert consumer.terminate() == 0


def test_it_says_online_and_offline_and_its_will_says_so_where_it_cannot(
    world: World, mosquitto: Broker, start_consumer: StartConsumer, start_gateway: StartGateway
) -> None:
    start_consumer(mosquitto).wait_until_subscribed()
    for end in ("terminate", "kill"):
        gateway = start_gateway(mosquitto)
        until(lambda: Gateway.objects.get().is_online, f"online:\n{gateway.log}")
        until(lambda: Gateway.objects.get().firmware_version == "example-1.0", "its heartbeat")
        if end == "terminate":
            finish(gateway)
        else:
            gateway.kill()
        until(lambda: not Gateway.objects.get().is_online, f"offline after {end}")
        assert retained_status(mosquitto) == b"offline"


def test_without_a_broker_it_reads_on_and_ends_in_order(
    world: World, mosquitto: Broker, start_gateway: StartGateway
) -> None:
    mosquitto.stop()
    gateway = start_gateway(mosquitto)
    gateway.wait_until_read(10)
    finish(gateway)
    assert sorted(gateway.waiting()) == list(range(gateway.read))
    assert "no connection to 127.0.0.1" in gateway.log
    assert mosquitto.files.secret(GATEWAY_A.user) not in gateway.log


def test_a_full_queue_keeps_what_is_oldest_and_says_so(
    world: World, mosquitto: Broker, start_gateway: StartGateway
) -> None:
    mosquitto.stop()
    gateway = start_gateway(mosquitto, "--limit", "5")
    until(lambda: "the queue is full" in gateway.log, "the queue is full")
    finish(gateway)
    assert sorted(gateway.waiting()) == [0, 1, 2, 3, 4]


def test_what_is_refused_for_good_is_put_aside_and_never_sent_again(
    world: World, mosquitto: Broker, start_gateway: StartGateway
) -> None:
    with mosquitto.client("dashboard") as observer, mosquitto.client(BACKEND) as platform:
        observer.subscribe(TOPIC)
        gateway = start_gateway(mosquitto, "--interval", "3600")
        refused = json.loads(observer.receive()[0][1])
        platform.publish(f"{PREFIX}/{MAC}/ack", b"[]")  # no answer
        answer = {"seq": refused["seq"], "erro": "mac_divergente"}
        platform.publish(f"{PREFIX}/{MAC}/ack", json.dumps(answer).encode())
        until(lambda: gateway.waiting() == [], f"it leaves the queue:\n{gateway.log}")
    finish(gateway)
    with sqlite3.connect(gateway.directory / "queue.db", timeout=30) as queue:
        ((seq, reason, body),) = queue.execute("SELECT seq, reason, body FROM refused")
    assert (seq, reason) == (refused["seq"], "mac_divergente")
    assert json.loads(body)["leituras"] == refused["leituras"]
    assert "for good: mac_divergente" in gateway.log
