"""What a kill -9 of the broker costs: measured with the shipped settings, and with the platform's own acknowledgement.

Mosquitto acknowledges a message before it has saved it, and saves every ``autosave_interval`` seconds. What it held in between, for a
consumer that is away or in flight to one that keeps up, is gone with its process. A gateway that keeps each message until the platform
answers on ``{prefix}/{id}/ack``, and sends it again, loses nothing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from lab.torture.delivery_log import DeliveryLog
from lab.torture.environment import TortureEnvironment
from lab.torture.messages import new_plan
from lab.torture.observer import Observer
from lab.torture.packet_recorder import PacketRecorder
from lab.torture.process_group import ProcessGroup
from lab.torture.proxy import DatabaseProxy
from lab.torture.publisher import Job
from lab.torture.publisher_process import PublisherProcess

TIMEOUT_S = 60.0
SETTLE_S = 3.0


@dataclass(frozen=True)
class BrokerKillResult:
    """One measurement: messages that the broker had acknowledged when it was killed, and how many of all were lost."""

    situation: str
    application_ack: bool
    published: int
    acknowledged: int
    lost: int
    sent_again: int


class BrokerKill:
    """Kills the broker once in the middle of ``messages``; ``away``: the consumer does not run meanwhile, and a queue grows."""

    def __init__(
        self, environment: TortureEnvironment, seed: int, messages: int, *, away: bool, application_ack: bool
    ) -> None:
        environment.runs += 1
        self._environment, self._messages, self._away, self._application_ack = (
            environment,
            messages,
            away,
            application_ack,
        )
        self._plan = new_plan(seed, messages, fleet=environment.runs, with_seq=application_ack)
        self._deliveries = DeliveryLog(self._plan)
        self._observer = Observer(environment.url, self._plan)
        self._observer.register_fleet()
        self._database = DatabaseProxy(environment.postgres.port, self._observer.end_sessions)
        self._recorder = PacketRecorder(environment.broker.port, self._deliveries, self._observer.search, 0)
        self._consumers = ProcessGroup(environment, self._recorder, self._database.port, "", "")
        self._publisher = PublisherProcess(
            Job(self._plan, "127.0.0.1", environment.broker.port, "admin", environment.secret),
            self._deliveries,
        )
        self._client_id = f"torture-{environment.runs}"

    def measure(self) -> BrokerKillResult:
        """Run it. Raises RuntimeError where nothing goes on any more."""
        try:
            return self._measure()
        finally:
            self._publisher.close()
            self._consumers.stop()
            self._recorder.close()
            self._database.close()
            self._observer.close()
            self._environment.forget_session(self._client_id)

    def _measure(self) -> BrokerKillResult:
        deliveries = self._deliveries
        self._consumers.start(self._client_id)
        self._publisher.limit(self._messages // 4)
        self._wait(lambda: not deliveries.outstanding() and deliveries.counts()[1] >= self._messages // 4)
        if self._away:
            self._consumers.members[self._client_id].kill()
        self._publisher.limit(self._messages)
        self._wait(lambda: deliveries.counts()[1] >= self._messages // 2)
        self._environment.stop_broker(kill=True)
        acknowledged = deliveries.counts()[1]
        self._environment.broker.start()
        self._consumers.restart_ended()
        done = deliveries.answered if self._application_ack else deliveries.acknowledged
        self._wait(lambda: len(done) >= self._messages)
        lost = self._count_lost()
        sent_again = sum(deliveries.attempts.values()) - len(deliveries.attempts)
        situation = "consumer away, a queue at the broker" if self._away else "consumer keeps up"
        return BrokerKillResult(
            situation, self._application_ack, self._messages, acknowledged, len(lost), sent_again
        )

    def _count_lost(self) -> list[int]:
        """Messages of which there is no trace, once nothing changes any more."""
        before = None
        while True:
            lost = self._observer.search(sorted(self._deliveries.acknowledged)) or []
            if lost == before or not lost:
                return lost
            before = lost
            time.sleep(SETTLE_S)

    def _wait(self, condition: Callable[[], bool]) -> None:
        deadline = time.monotonic() + TIMEOUT_S + self._messages / 500
        while not condition():
            if time.monotonic() > deadline:
                raise RuntimeError(
                    f"published and acknowledged {self._deliveries.counts()}, answered {len(self._deliveries.answered)}: stuck"
                )
            time.sleep(0.02)


def measure_all(
    environment: TortureEnvironment, seed: int, messages: int, say: Callable[[str], None]
) -> list[BrokerKillResult]:
    """Every situation, without and with the application's acknowledgement."""
    results = []
    for application_ack in (False, True):
        for away in (False, True):
            result = BrokerKill(
                environment, seed, messages, away=away, application_ack=application_ack
            ).measure()
            results.append(result)
            say(
                f"{result.situation}, application ack {'on' if application_ack else 'off'}: {result.lost} of {result.published} lost"
            )
    return results


def markdown(results: list[BrokerKillResult], seed: int) -> str:
    """The table for people."""
    lines = [f"# kill -9 of the broker (seed {seed}, shipped settings, killed once in the middle)", ""]
    lines += [
        "| situation | application ack | published | acknowledged before the kill | lost | sent again |",
        "|---|---|---|---|---|---|",
    ]
    lines += [
        f"| {b.situation} | {'yes' if b.application_ack else 'no'} | {b.published:,} | {b.acknowledged:,} | {b.lost:,} | {b.sent_again:,} |"
        for b in results
    ]
    return "\n".join([*lines, ""])
