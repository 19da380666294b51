"""Services start in order, restart with growing delays, and stop in the opposite order."""

import sys
from pathlib import Path

import pytest

from tds_new.embedded.supervisor import Program, Supervisor

pytestmark = pytest.mark.once


class FakeService:
    """A service that the test ends."""

    def __init__(self, name: str, events: list[str]) -> None:
        self.name, self.events, self.pid, self.broken = name, events, None, False
        self.pid: int | None

    def start(self) -> None:
        if self.broken:
            raise OSError("no room")
        self.events.append(f"start {self.name}")
        self.pid = 1

    def stop(self) -> None:
        self.events.append(f"stop {self.name}")
        self.pid = None


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_last_started_is_the_first_stopped() -> None:
    events: list[str] = []
    supervisor = Supervisor(lambda *_: None)
    for name in "ab":
        supervisor.start(name, FakeService(name, events))
    supervisor.stop()
    assert events == ["start a", "start b", "stop b", "stop a"]


def test_what_ends_is_started_again_with_growing_delays() -> None:
    clock, said, events = Clock(), [], []  # type: ignore[var-annotated]
    supervisor = Supervisor(lambda label, text: said.append((label, text)), clock)
    service = FakeService("web", events)
    supervisor.start("web", service)
    for delay in (1, 2, 4):
        service.pid = None
        supervisor.look()
        clock.now += delay - 0.01
        supervisor.look()
        assert service.pid is None
        clock.now += 0.01
        supervisor.look()
        assert service.pid == 1
    assert said[0] == ("WARN", "web has ended; next start in 1 s")
    clock.now += 61  # well for a minute: the next failure is a first one
    service.pid = None
    supervisor.look()
    assert said[-1] == ("WARN", "web has ended; next start in 1 s")


def test_a_service_that_does_not_start_again_is_told_and_harms_no_other() -> None:
    clock, said, events = Clock(), [], []  # type: ignore[var-annotated]
    supervisor = Supervisor(lambda label, text: said.append((label, text)), clock)
    broken, other = FakeService("a", events), FakeService("b", events)
    supervisor.start("a", broken)
    supervisor.start("b", other)
    broken.pid = other.pid = None
    broken.broken = True
    supervisor.look()
    clock.now += 1
    supervisor.look()
    assert ("ERROR", "a does not start: no room") in said
    assert other.pid == 1
    broken.broken = False
    supervisor.look()
    clock.now += 2
    supervisor.look()
    assert broken.pid == 1


def test_a_program_that_ignores_the_signal_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tds_new.embedded.supervisor.STOP_TIMEOUT_S", 0.1)
    log = tmp_path / "log"
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); "
        "print('ready', flush=True); time.sleep(600)"
    )
    program = Program([sys.executable, "-c", script], log, folder=tmp_path, environment={})
    program.start()
    while "ready" not in (log.read_text() if log.exists() else ""):
        assert program.pid is not None
    program.stop()
    assert program.pid is None
