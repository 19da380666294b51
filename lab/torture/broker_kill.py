"""The messages that a kill -9 of the broker costs.

They are counted with the shipped settings alone, and with the platform's own acknowledgement.

Mosquitto acknowledges a message before it has saved it, and saves every ``autosave_interval`` seconds. What
it held in between, for a consumer that is away or in flight to one that keeps up, is gone with its process. A
gateway that keeps each message until the platform answers on ``{prefix}/{id}/ack``, and sends it again, loses
nothing.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from django.conf import settings

from lab.harness.report import table
from lab.harness.waiting import wait_until
from lab.torture.environment import TortureEnvironment
from lab.torture.messages import new_plan
from lab.torture.setup import Setup

TIMEOUT_S = 60.0
SETTLE_S = 3.0
SLOWEST = 500  # messages/s that are waited for at least


@dataclass(frozen=True)
class BrokerKillResult:
    """One measurement: how many messages were lost.

    ``acknowledged`` had the broker when it was killed.
    """

    situation: str
    application_ack: bool
    published: int
    acknowledged: int
    lost: int
    sent_again: int


class BrokerKill:
    """Kills the broker once in the middle of the messages."""

    def __init__(
        self, environment: TortureEnvironment, seed: int, messages: int, *, away: bool, application_ack: bool
    ) -> None:
        """Prepare a run of ``messages``.

        ``away``: the consumer does not run meanwhile, and a queue grows. ``application_ack``: the gateways
        send again what the platform has not answered.
        """
        environment.runs += 1
        self._environment, self._messages = environment, messages
        self._away, self._application_ack = away, application_ack
        plan = new_plan(
            seed,
            messages,
            fleet=environment.runs,
            with_seq=application_ack,
            prefix=settings.MQTT_TOPIC_PREFIX,
        )
        self._setup = Setup(environment, plan)
        self._deliveries, self._consumers = self._setup.deliveries, self._setup.consumers
        self._client_id = f"torture-{environment.runs}"

    def measure(self) -> BrokerKillResult:
        """Run it. Raises LabError if nothing goes on any more."""
        try:
            return self._measure()
        finally:
            self._setup.close()

    def _measure(self) -> BrokerKillResult:
        deliveries, publisher, quarter = self._deliveries, self._setup.publisher, self._messages // 4
        self._consumers.start(self._client_id)
        publisher.limit(quarter)
        self._wait(lambda: not deliveries.outstanding() and deliveries.counts().acknowledged >= quarter)
        if self._away:
            self._consumers.members[self._client_id].kill()
        publisher.limit(self._messages)
        self._wait(lambda: deliveries.counts().acknowledged >= self._messages // 2)
        self._environment.stop_broker(kill=True)
        acknowledged = deliveries.counts().acknowledged
        self._environment.broker.start()
        self._consumers.restart_ended()
        done = deliveries.answered if self._application_ack else deliveries.acknowledged
        self._wait(lambda: len(done) >= self._messages)
        return BrokerKillResult(
            situation="consumer away, a queue at the broker" if self._away else "consumer keeps up",
            application_ack=self._application_ack,
            published=self._messages,
            acknowledged=acknowledged,
            lost=len(self._find_lost()),
            sent_again=deliveries.published_again(),
        )

    def _find_lost(self) -> list[int]:
        """Return the messages of which there is no trace, once nothing changes any more."""
        before = None
        while True:
            lost = self._setup.observer.search(sorted(self._deliveries.acknowledged)) or []
            if lost == before or not lost:
                return lost
            before = lost
            time.sleep(SETTLE_S)

    def _wait(self, condition: Callable[[], bool]) -> None:
        wait_until(condition, self._progress, TIMEOUT_S + self._messages / SLOWEST)

    def _progress(self) -> str:
        counts = self._deliveries.counts()
        return (
            f"stuck; published {counts.published}, acknowledged {counts.acknowledged}, "
            f"answered {len(self._deliveries.answered)}"
        )


def measure_all(
    environment: TortureEnvironment, seed: int, messages: int, say: Callable[[str], None]
) -> list[BrokerKillResult]:
    """Measure every situation, without and with the platform's acknowledgement."""
    results = []
    for application_ack in (False, True):
        for away in (False, True):
            run = BrokerKill(environment, seed, messages, away=away, application_ack=application_ack)
            result = run.measure()
            results.append(result)
            ack = "on" if application_ack else "off"
            say(f"{result.situation}, application ack {ack}: {result.lost} of {result.published} lost")
    return results


def markdown(results: list[BrokerKillResult], seed: int) -> str:
    """Return the results for people."""
    cells = [
        (
            result.situation,
            "yes" if result.application_ack else "no",
            f"{result.published:,}",
            f"{result.acknowledged:,}",
            f"{result.lost:,}",
            f"{result.sent_again:,}",
        )
        for result in results
    ]
    head = ("situation", "application ack", "published", "acknowledged before the kill", "lost", "sent again")
    title = f"# kill -9 of the broker (seed {seed}, shipped settings, killed once in the middle)"
    return "\n".join([title, "", *table(head, cells), ""])
