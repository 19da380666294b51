"""What a kill -9 of the broker costs: measured with the shipped settings, and with the platform's own acknowledgement.

Mosquitto acknowledges a message before it has saved it, and saves every ``autosave_interval`` seconds. What it held in between, for a
consumer that is away or in flight to one that keeps up, is gone with its process. A gateway that keeps each message until the platform
answers on ``{prefix}/{id}/ack``, and sends it again, loses nothing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.torture.feeder import Feeder
from lab.torture.gang import Gang
from lab.torture.ledger import Ledger
from lab.torture.messages import new_plan
from lab.torture.proxy import DatabaseProxy
from lab.torture.publisher import Job
from lab.torture.stage import Stage
from lab.torture.tap import Tap
from lab.torture.witness import Witness

PATIENCE_S = 60.0
SETTLE_S = 3.0


@dataclass(frozen=True)
class Budget:
    """One measurement: messages that the broker had acknowledged when it was killed, and how many of all were lost."""

    situation: str
    application_ack: bool
    published: int
    acknowledged: int
    lost: int
    sent_again: int


class BrokerKill:
    """Kills the broker once in the middle of ``messages``; ``away``: the consumer does not run meanwhile, and a queue grows."""

    def __init__(self, stage: Stage, seed: int, messages: int, *, away: bool, application_ack: bool) -> None:
        stage.runs += 1
        self._stage, self._messages, self._away, self._application_ack = (
            stage,
            messages,
            away,
            application_ack,
        )
        self._plan = new_plan(seed, messages, fleet=stage.runs, with_seq=application_ack)
        self._ledger = Ledger(self._plan)
        self._witness = Witness(stage.url, self._plan)
        self._witness.register_fleet()
        self._database = DatabaseProxy(stage.postgres.port, self._witness.end_sessions)
        self._tap = Tap(stage.broker.port, self._ledger, self._witness.search, 0)
        self._gang = Gang(stage, self._tap, self._database.port, "", "")
        self._feeder = Feeder(
            Job(self._plan, "127.0.0.1", stage.broker.port, "admin", stage.secret), self._ledger
        )
        self._client_id = f"torture-{stage.runs}"

    def measure(self) -> Budget:
        """Run it. Raises RuntimeError where nothing goes on any more."""
        try:
            return self._measure()
        finally:
            self._feeder.close()
            self._gang.stop()
            self._tap.close()
            self._database.close()
            self._witness.close()
            self._stage.forget_session(self._client_id)

    def _measure(self) -> Budget:
        ledger = self._ledger
        self._gang.start(self._client_id)
        self._feeder.limit(self._messages // 4)
        self._wait(lambda: not ledger.outstanding() and ledger.counts()[1] >= self._messages // 4)
        if self._away:
            self._gang.members[self._client_id].kill()
        self._feeder.limit(self._messages)
        self._wait(lambda: ledger.counts()[1] >= self._messages // 2)
        self._stage.stop_broker(kill=True)
        acknowledged = ledger.counts()[1]
        self._stage.broker.start()
        self._gang.revive()
        done = ledger.answered if self._application_ack else ledger.acknowledged
        self._wait(lambda: len(done) >= self._messages)
        lost = self._count_lost()
        sent_again = sum(ledger.attempts.values()) - len(ledger.attempts)
        situation = "consumer away, a queue at the broker" if self._away else "consumer keeps up"
        return Budget(situation, self._application_ack, self._messages, acknowledged, len(lost), sent_again)

    def _count_lost(self) -> list[int]:
        """Messages of which there is no trace, once nothing changes any more."""
        before = None
        while True:
            lost = self._witness.search(sorted(self._ledger.acknowledged)) or []
            if lost == before or not lost:
                return lost
            before = lost
            time.sleep(SETTLE_S)

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE_S + self._messages / 500
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"published and acknowledged {self._ledger.counts()}, answered {len(self._ledger.answered)}: stuck"
                )
            time.sleep(0.02)


def measure_all(stage: Stage, seed: int, messages: int, say: Callable[[str], None]) -> list[Budget]:
    """Every situation, without and with the application's acknowledgement."""
    budgets = []
    for application_ack in (False, True):
        for away in (False, True):
            budget = BrokerKill(stage, seed, messages, away=away, application_ack=application_ack).measure()
            budgets.append(budget)
            say(
                f"{budget.situation}, application ack {'on' if application_ack else 'off'}: {budget.lost} of {budget.published} lost"
            )
    return budgets


def markdown(budgets: list[Budget], seed: int) -> str:
    """The table for people."""
    lines = [f"# kill -9 of the broker (seed {seed}, shipped settings, killed once in the middle)", ""]
    lines += [
        "| situation | application ack | published | acknowledged before the kill | lost | sent again |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {b.situation} | {'yes' if b.application_ack else 'no'} | {b.published:,} | {b.acknowledged:,} | {b.lost:,} | {b.sent_again:,} |"
        for b in budgets
    ]
    return "\n".join([*lines, ""])
