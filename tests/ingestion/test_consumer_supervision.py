"""The consumer as systemd sees it.

It is ready when it is subscribed, alive while it makes progress, and stopping at SIGTERM.
"""

import signal
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tds_new.ingestion.supervision import WATCHDOG_INTERVAL
from tests.support.brokers import Broker
from tests.support.consumers import StartConsumer
from tests.support.ingestion import World
from tests.support.waiting import until

pytestmark = pytest.mark.once


class Supervisor:
    """The socket that systemd would listen on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def close(self) -> None:
        self._socket.close()

    def hears(self, seconds: float = 30) -> str:
        """The next state; empty if none comes in time."""
        self._socket.settimeout(seconds)
        try:
            return self._socket.recv(4096).decode("ascii").partition("\n")[0]
        except TimeoutError:
            return ""

    def hears_until(self, word: str) -> list[str]:
        """The states before ``word``. Fails if it does not come."""
        before = []
        while (heard := self.hears()) != word:
            assert heard, f"no {word} after {before}"
            before.append(heard)
        return before


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    supervisor = Supervisor(tmp_path / "notify")
    yield supervisor
    supervisor.close()


def test_ready_comes_with_the_subscription_alive_while_it_runs_and_stopping_at_sigterm(
    world: World, mosquitto: Broker, start_consumer: StartConsumer, supervisor: Supervisor
) -> None:
    mosquitto.stop()
    consumer = start_consumer(mosquitto, environment={"NOTIFY_SOCKET": str(supervisor.path)})
    assert supervisor.hears() == "WATCHDOG=1"
    assert "subscribed:" not in consumer.log
    mosquitto.start()
    assert set(supervisor.hears_until("READY=1")) <= {"WATCHDOG=1"}
    assert "subscribed:" in consumer.log
    assert supervisor.hears() == "WATCHDOG=1"

    consumer.process.send_signal(signal.SIGSTOP)
    state = Path(f"/proc/{consumer.process.pid}/stat")
    until(lambda: state.read_text().rpartition(")")[2].split()[0] == "T", "it is stopped")
    while supervisor.hears(0.01):
        pass
    assert supervisor.hears(WATCHDOG_INTERVAL + 1) == ""
    consumer.process.send_signal(signal.SIGCONT)
    assert supervisor.hears() == "WATCHDOG=1"

    assert consumer.terminate() == 0
    assert set(supervisor.hears_until("STOPPING=1")) <= {"WATCHDOG=1"}


def test_a_standby_is_ready_too(
    world: World, mosquitto: Broker, start_consumer: StartConsumer, supervisor: Supervisor
) -> None:
    start_consumer(mosquitto).wait_until_subscribed()
    standby = start_consumer(mosquitto, "--standby", environment={"NOTIFY_SOCKET": str(supervisor.path)})
    assert set(supervisor.hears_until("READY=1")) <= {"WATCHDOG=1"}
    assert "subscribed:" not in standby.log
