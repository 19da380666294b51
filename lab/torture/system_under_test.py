"""A consumer that kills itself on order.

It is ``start_mqtt_consumer`` with its steps wrapped from outside.

``python -m lab.torture.system_under_test --kill-order FILE [--mutant NAME] -- ARGUMENTS``. On SIGUSR1 it
reads FILE, ``POINT TIMES``, and from then on it kills itself (SIGKILL) when POINT is reached for the TIMES-th
time. Without an order it is the shipped consumer.
"""

import argparse
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

# A fault every few seconds would count as one endless failure to the delays between connections: hours of
# operation pass here in seconds.
STABLE_AFTER_S = 0.5
SEND_S = 0.2  # seconds for the network thread to send acknowledgements


class KillSwitch:
    """Kills this process when the ordered point is reached often enough.

    ``order`` is the file with the order.
    """

    def __init__(self, order: Path) -> None:
        self._order = order
        self._point, self._times = "", 0
        self.in_batch = False

    def arm(self, *_: Any) -> None:
        """Read the order; called by the signal handler."""
        point, times = self._order.read_text(encoding="ascii").split()
        self._point, self._times = point, int(times)

    def expects(self, point: str) -> bool:
        """Return whether the order is about this point."""
        return self._point == point

    def reach(self, point: str) -> None:
        """Kill this process here where the order says so."""
        if self._point == point:
            self._times -= 1
            if self._times <= 0:
                os.kill(os.getpid(), signal.SIGKILL)


def after(owner: Any, name: str, action: Callable[[Any], None]) -> None:
    """Call ``action`` with the result whenever ``owner.name`` has returned.

    Raises AttributeError if ``owner`` has no such name.
    """
    original = getattr(owner, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        result = original(*args, **kwargs)
        action(result)
        return result

    setattr(owner, name, wrapper)


def before(owner: Any, name: str, action: Callable[[], None]) -> None:
    """Call ``action`` whenever ``owner.name`` is about to be called."""
    original = getattr(owner, name)

    def wrapper(*args: Any, **kwargs: Any) -> Any:
        action()
        return original(*args, **kwargs)

    setattr(owner, name, wrapper)


def install_kill_points(kill_switch: KillSwitch) -> None:
    """Wrap the consumer's steps.

    Raises AttributeError if one of them does not exist any more.
    """
    import psycopg

    from tds_new.ingestion import preparation, rejected, store
    from tds_new.ingestion.inbox import Inbox
    from tds_new.ingestion.telemetry_processor import TelemetryProcessor
    from tds_new.ingestion.transport import MQTTSubscriber
    from tds_new.ingestion.transport.connection import ConnectionLoop

    before(ConnectionLoop, "_on_connect", lambda: kill_switch.reach("connected"))
    after(ConnectionLoop, "_on_subscribe", lambda _: kill_switch.reach("subscribed"))
    after(Inbox, "take", lambda batch: kill_switch.reach("received") if batch else None)
    after(preparation, "parse_telemetry", lambda _: kill_switch.reach("parsed"))
    after(store, "insert_readings", lambda _: kill_switch.reach("copied"))
    after(rejected, "insert_rejected", lambda _: kill_switch.reach("rejected"))
    before(MQTTSubscriber, "pause", lambda: kill_switch.reach("finishing"))
    for name in ("process", "store"):
        _wrap_service(TelemetryProcessor, name, kill_switch)
    _wrap_transaction(psycopg.Connection, kill_switch)
    _wrap_acknowledgement(MQTTSubscriber, kill_switch)


def shorten_stable_time() -> None:
    """Have a connection count as stable after :data:`STABLE_AFTER_S`.

    Raises RuntimeError if the shipped consumer needs no longer itself.
    """
    from tds_new.ingestion.transport import connection

    if connection.STABLE_AFTER <= STABLE_AFTER_S:
        raise RuntimeError("the shipped consumer is quicker than this: remove this")
    connection.STABLE_AFTER = STABLE_AFTER_S


def _wrap_service(processor: Any, name: str, kill_switch: KillSwitch) -> None:
    original = getattr(processor, name)

    def wrapper(self: Any, argument: Any) -> Any:
        kill_switch.in_batch = True
        try:
            return original(self, argument)
        finally:
            kill_switch.in_batch = False

    setattr(processor, name, wrapper)


def _wrap_transaction(connection: Any, kill_switch: KillSwitch) -> None:
    original = connection.transaction
    depth = threading.local()

    @contextmanager
    def transaction(self: Any, *args: Any, **kwargs: Any) -> Iterator[Any]:
        depth.value = getattr(depth, "value", 0) + 1
        outermost = depth.value == 1 and kill_switch.in_batch
        try:
            with original(self, *args, **kwargs) as inner:
                yield inner
                if outermost:
                    kill_switch.reach("before_commit")
            if outermost:
                kill_switch.reach("after_commit")
        finally:
            depth.value -= 1

    connection.transaction = transaction


def _wrap_acknowledgement(subscriber: Any, kill_switch: KillSwitch) -> None:
    original = subscriber.ack

    def ack(self: Any, messages: Any) -> None:
        batch = list(messages)
        kill_switch.reach("before_puback")
        if kill_switch.expects("half_of_pubacks"):
            original(self, batch[: len(batch) // 2])
            time.sleep(SEND_S)
            kill_switch.reach("half_of_pubacks")
            batch = batch[len(batch) // 2 :]
        original(self, batch)
        if kill_switch.expects("all_pubacks"):
            time.sleep(SEND_S)
            kill_switch.reach("all_pubacks")

    subscriber.ack = ack


def main(arguments: list[str]) -> None:
    """Wrap the consumer's steps, then run the command."""
    parser = argparse.ArgumentParser(prog="system_under_test")
    parser.add_argument("--kill-order", type=Path, required=True)
    parser.add_argument("--mutant", default="")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    options = parser.parse_args(arguments)
    kill_switch = KillSwitch(options.kill_order)
    signal.signal(signal.SIGUSR1, kill_switch.arm)
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "prj_tds_new.settings")
    import django
    from django.core.management import execute_from_command_line

    django.setup()
    if options.mutant:
        from lab.torture.mutants import MUTANTS

        MUTANTS[options.mutant].install()
    install_kill_points(kill_switch)
    shorten_stable_time()
    execute_from_command_line(["manage.py", "start_mqtt_consumer", *options.command[1:]])


if __name__ == "__main__":
    main(sys.argv[1:])
