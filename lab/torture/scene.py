"""What a fault may use, and how it says that it did not happen."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.torture.gang import Gang, Member
from lab.torture.ledger import Ledger
from lab.torture.proxy import DatabaseProxy
from lab.torture.stage import Stage
from lab.torture.tap import Tap
from lab.torture.witness import Witness


class FaultMissedError(Exception):
    """The fault could not be brought about; the text says why."""


@dataclass
class Scene:
    """A run in progress. ``open_gate`` lets messages flow up to the next fault's place; ``accuse`` notes a violation."""

    stage: Stage
    tap: Tap
    database: DatabaseProxy
    gang: Gang
    witness: Witness
    ledger: Ledger
    open_gate: Callable[[int | None], None]
    accuse: Callable[[str, str], None]
    chance: random.Random
    patience: float

    def flow(self) -> None:
        """Let messages flow, and give them a moment to be under way."""
        self.open_gate(None)
        time.sleep(self.chance.uniform(0.05, 0.3))

    def member(self) -> Member:
        """A consumer that runs."""
        alive = [member for member in self.gang.members.values() if member.alive]
        if not alive:
            raise FaultMissedError("no consumer runs")
        return self.chance.choice(alive)

    def wait_until(self, condition: Callable[[], bool], timeout: float, what: str) -> None:
        """Wait for ``condition``; raises FaultMissedError."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise FaultMissedError(f"{what} did not happen within {timeout:.0f} s")
            time.sleep(0.02)


Attack = Callable[[Scene, dict[str, float | str]], None]
