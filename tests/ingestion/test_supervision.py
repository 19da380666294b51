"""The messages to systemd: ready, alive, stopping."""

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from tds_new.ingestion.supervision import STUCK_AFTER, WATCHDOG_INTERVAL, Watchdog, notify
from tests.support.ingestion import Clock


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield listener


def said(supervisor: socket.socket) -> list[str]:
    words = []
    while True:
        try:
            words.append(supervisor.recv(4096).decode().split("\n")[0])
        except BlockingIOError:
            return words


def test_without_a_supervisor_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    notify("READY=1")


def test_ready_comes_with_the_subscription_and_only_once(supervisor: socket.socket) -> None:
    clock = Clock()
    watchdog = Watchdog(clock)
    watchdog.report_progress(False, clock.time)
    assert said(supervisor) == ["WATCHDOG=1"]
    watchdog.report_progress(True, clock.time)
    watchdog.report_progress(True, clock.time)
    assert said(supervisor) == ["READY=1"]


def test_alive_is_said_as_long_as_the_network_thread_turns(supervisor: socket.socket) -> None:
    clock = Clock()
    watchdog, last_iteration = Watchdog(clock), clock.time
    for _ in range(20):
        watchdog.report_progress(False, last_iteration)
        clock.time += WATCHDOG_INTERVAL
    assert len(said(supervisor)) == STUCK_AFTER / WATCHDOG_INTERVAL


def test_a_supervisor_that_is_gone_does_not_stop_the_consumer(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", "/nonexistent/notify")
    notify("WATCHDOG=1")
    assert "cannot be told WATCHDOG=1" in caplog.text


def test_an_abstract_socket_is_understood(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind("\0tds-new-test-notify")
        monkeypatch.setenv("NOTIFY_SOCKET", "@tds-new-test-notify")
        notify("STOPPING=1")
        assert listener.recv(100) == b"STOPPING=1"
