"""What a fault may use, and how it says that it did not happen."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.torture.delivery_log import DeliveryLog
from lab.torture.environment import TortureEnvironment
from lab.torture.observer import Observer
from lab.torture.packet_recorder import PacketRecorder
from lab.torture.process_group import ConsumerUnderTest, ProcessGroup
from lab.torture.proxy import DatabaseProxy


class FaultNotInjectedError(Exception):
    """The fault could not be brought about; the text says why."""


@dataclass
class FaultContext:
    """A run in progress. ``allow_messages`` lets messages let_messages_flow up to the next fault's place; ``report_violation`` notes a violation."""

    environment: TortureEnvironment
    recorder: PacketRecorder
    database: DatabaseProxy
    consumers: ProcessGroup
    observer: Observer
    deliveries: DeliveryLog
    allow_messages: Callable[[int | None], None]
    report_violation: Callable[[str, str], None]
    chance: random.Random
    recovery_timeout: float

    def let_messages_flow(self) -> None:
        """Let messages let_messages_flow, and give them a moment to be under way."""
        self.allow_messages(None)
        time.sleep(self.chance.uniform(0.05, 0.3))

    def member(self) -> ConsumerUnderTest:
        """A consumer that runs."""
        alive = [member for member in self.consumers.members.values() if member.alive]
        if not alive:
            raise FaultNotInjectedError("no consumer runs")
        return self.chance.choice(alive)

    def wait_until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait for ``condition``; raises FaultNotInjectedError."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise FaultNotInjectedError(f"{what} did not happen within {timeout:.0f} s")
            time.sleep(0.02)


FaultFunction = Callable[[FaultContext, dict[str, float | str]], None]
