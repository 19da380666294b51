"""The context of a fault, and the error of one that could not be injected."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.harness.errors import LabError
from lab.harness.waiting import wait_until
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
    """A run in progress.

    ``allow_messages`` lets messages flow up to a number, or up to the next fault's place (None).
    ``report_violation`` takes an invariant and a text. ``recovery_timeout`` is in seconds.
    """

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
        """Let messages flow, and give them a moment to be under way."""
        self.allow_messages(None)
        time.sleep(self.chance.uniform(0.05, 0.3))

    def consumer(self) -> ConsumerUnderTest:
        """Choose a consumer that runs."""
        alive = [consumer for consumer in self.consumers.members.values() if consumer.alive]
        if not alive:
            raise FaultNotInjectedError("no consumer runs")
        return self.chance.choice(alive)

    def wait_until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait for ``condition``. Raises FaultNotInjectedError after ``timeout`` seconds."""
        try:
            wait_until(condition, what, timeout)
        except LabError as error:
            raise FaultNotInjectedError(str(error)) from error


FaultFunction = Callable[[FaultContext, dict[str, float | str]], None]
