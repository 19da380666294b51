"""One process: a real uvicorn whose lifespan runs the consumer beside the web."""

import signal
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from lab.harness.process import ChildProcess
from tds_new.embedded.ports import free_port
from tds_new.models import ConsumerStatus
from tests.support.brokers import GATEWAY_A, Broker
from tests.support.consumers import ConsumerProcess, database_url
from tests.support.ingestion import TOPIC, World, payload, reading, stored
from tests.support.waiting import until

pytestmark = pytest.mark.once
# uvicorn shuts down in order and then ends itself by the signal that it was stopped with.
IN_ORDER = {0, -signal.SIGTERM}


class Server(ConsumerProcess):
    """uvicorn with our ASGI application."""

    def __init__(self, log: Path, broker: Broker, **environment: str) -> None:
        self.port = free_port()
        command = [
            sys.executable,
            "-m",
            "uvicorn",
            "prj_tds_new.asgi:application",
            "--port",
            str(self.port),
            "--no-proxy-headers",
        ]
        # DEBUG: static files straight from their sources, no `collectstatic` first.
        everything = {
            **self.environment(),
            **broker.environment(),
            "DATABASE_URL": database_url(),
            "DEBUG": "on",
            **environment,
        }
        ChildProcess.__init__(self, command, log, everything)

    def status(self, path: str = "healthz") -> int:
        """The status of an answer; 0 while nobody listens."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/{path}") as answer:
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except OSError:
            return 0

    def wait_until_served(self) -> None:
        """Wait until the web answers."""
        until(lambda: self.status() == 200, f"the web answers:\n{self.log}")


@pytest.fixture
def serve(tmp_path: Path, mosquitto: Broker) -> Iterator[Callable[..., Server]]:
    """Start servers; all are ended after the test."""
    started: list[Server] = []

    def start(**environment: str) -> Server:
        started.append(Server(tmp_path / f"uvicorn-{len(started)}.log", mosquitto, **environment))
        return started[-1]

    yield start
    for server in started:
        if server.process.poll() is None:
            server.kill()


EMBED = {"TDS_EMBED_CONSUMER": "1"}


def test_it_stores_serves_and_stops_in_order(
    world: World, mosquitto: Broker, serve: Callable[..., Server]
) -> None:
    server = serve(**EMBED)
    server.wait_until_served()
    server.wait_until_subscribed()
    with mosquitto.client(GATEWAY_A.user) as gateway:
        gateway.publish(TOPIC, payload(reading()))
        until(lambda: len(stored()) == 1, "the reading is stored")
    assert server.status("entrar/") == 200
    assert server.terminate() in IN_ORDER
    assert "Application shutdown complete" in server.log
    assert ConsumerStatus.objects.get().estado == "stopped"


def test_without_the_setting_there_is_no_consumer(world: World, serve: Callable[..., Server]) -> None:
    server = serve()
    server.wait_until_served()
    assert server.terminate() in IN_ORDER
    assert "tds_new.ingestion" not in server.log
    assert not ConsumerStatus.objects.exists()


def test_a_second_one_serves_and_stands_by_until_the_first_is_gone(
    world: World, mosquitto: Broker, serve: Callable[..., Server]
) -> None:
    first = serve(**EMBED)
    first.wait_until_subscribed()
    second = serve(**EMBED)
    second.wait_for("standing by")
    second.wait_until_served()
    assert "subscribed:" not in second.log
    first.kill()
    second.wait_until_subscribed()
    with mosquitto.client(GATEWAY_A.user) as gateway:
        gateway.publish(TOPIC, payload(reading()))
    until(lambda: len(stored()) == 1, "the reading is stored")
    assert second.terminate() in IN_ORDER


def test_the_web_serves_and_stops_while_the_broker_is_away(
    world: World, mosquitto: Broker, serve: Callable[..., Server]
) -> None:
    mosquitto.stop()
    server = serve(**EMBED)
    server.wait_until_served()
    assert server.terminate() in IN_ORDER
    assert "Application shutdown complete" in server.log


def test_a_consumer_that_cannot_run_ends_the_process_as_failed(
    world: World, serve: Callable[..., Server]
) -> None:
    server = serve(**EMBED)
    server.wait_until_served()
    failing = serve(**EMBED, TDS_METRICS_PORT=str(server.port))
    assert failing.process.wait(60) == 1  # not by the signal, which a supervisor takes for an end in order
    assert "the consumer failed; this process ends" in failing.log


def test_requests_leave_no_connection_behind(world: World, serve: Callable[..., Server]) -> None:
    server = serve(**EMBED)
    server.wait_until_subscribed()
    server.wait_until_served()
    with psycopg.connect(database_url(), autocommit=True) as session:
        count = (
            "SELECT count(*) FROM pg_stat_activity "
            "WHERE datname = current_database() AND backend_type = 'client backend'"
        )

        def connections() -> int:
            return int(session.execute(count).fetchone()[0])  # type: ignore[index]

        before = connections()
        assert {server.status("metrics") for _ in range(20)} == {404}
        assert {server.status("entrar/") for _ in range(20)} == {200}
        until(lambda: connections() <= before, "its connections are closed")


@pytest.mark.parametrize("embed", ["on", "off"])
def test_wsgi_which_cannot_run_it_says_so(embed: str) -> None:
    environment = {
        **ConsumerProcess.environment(),
        "TDS_EMBED_CONSUMER": embed,
        "DJANGO_SETTINGS_MODULE": "prj_tds_new.settings",
    }
    command = [sys.executable, "-c", "import prj_tds_new.wsgi"]
    loaded = subprocess.run(
        command, cwd=settings.BASE_DIR, env=environment, capture_output=True, text=True, check=True
    )
    assert ("[WARN] tds_new: TDS_EMBED_CONSUMER is on" in loaded.stderr) == (embed == "on")
