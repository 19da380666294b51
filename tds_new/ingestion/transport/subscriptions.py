"""The subscriptions of a client: which are wanted, granted and refused."""

import logging
import time
from typing import Any

from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tds_new.backoff import Backoff
from tds_new.ingestion.topics import shown
from tds_new.ingestion.transport.client import BufferedClient
from tds_new.ingestion.transport.config import BrokerConfig

logger = logging.getLogger(__name__)

ASK_AGAIN = Backoff(first=1.0, longest=60.0, jitter=0.5)


class Subscriptions:
    """Asks the broker for the wanted subscriptions until it has granted them.

    What it granted and refused holds for the present connection. A refused subscription is asked for again
    later, unless it is optional. Everything but :meth:`add` is called on the thread of the connection; the
    properties may be read on any thread.
    """

    def __init__(self, client: BufferedClient, config: BrokerConfig) -> None:
        self._client, self._config = client, config
        self._wanted: dict[str, int] = {}  # QoS by pattern
        self._optional: set[str] = set()
        self._unanswered: dict[int, list[str]] = {}  # patterns by the packet id of their SUBSCRIBE
        self._granted: set[str] = set()
        self._refused: set[str] = set()
        self._refusals = 0  # answers in a row that refused a subscription
        self._ask_again_at = 0.0
        self.complete_since = 0.0

    @property
    def complete(self) -> bool:
        """Whether every subscription that is not optional is granted."""
        return self._granted >= self._wanted.keys() - self._optional

    def add(self, pattern: str, qos: int, *, required: bool) -> None:
        """Want ``pattern`` with QoS ``qos``; the next :meth:`request` asks for it."""
        self._wanted[pattern] = qos
        if not required:
            self._optional.add(pattern)

    def request(self) -> None:
        """Ask for what is neither granted nor asked for already."""
        settled = self._granted.union(*self._unanswered.values())
        missing = [(pattern, qos) for pattern, qos in self._wanted.items() if pattern not in settled]
        self._refused.clear()
        if not missing:
            return
        options: Any = missing
        if self._config.protocol == "5":
            options = [(pattern, SubscribeOptions(qos=qos)) for pattern, qos in missing]
        _, packet_id = self._client.subscribe(options)
        if packet_id is not None:
            self._unanswered[packet_id] = [pattern for pattern, _ in missing]

    def request_refused(self, now: float) -> None:
        """Ask again for what was refused, if that is due at ``now`` (monotonic seconds)."""
        if self._refused and now > self._ask_again_at:
            self.request()

    def record_answer(self, packet_id: int, reasons: list[ReasonCode]) -> None:
        """Record the broker's answer to a SUBSCRIBE: a reason code for each pattern."""
        delay = ASK_AGAIN.delay_before(self._refusals + 1)
        for pattern, reason in zip(self._unanswered.pop(packet_id, []), reasons, strict=False):
            if not reason.is_failure and reason.value >= self._wanted[pattern]:
                self._granted.add(pattern)
            elif pattern in self._optional:
                logger.info(
                    "the broker refused the subscription %s (%s); it can be done without",
                    shown(pattern),
                    reason,
                )
            else:
                self._refused.add(pattern)
                self._ask_again_at = time.monotonic() + delay
                logger.error(
                    "the broker refused the subscription %s (%s): check its access list for user %s; "
                    "next try in %.1f s",
                    shown(pattern),
                    reason,
                    self._config.username or "(none)",
                    delay,
                )
        self._refusals = self._refusals + 1 if self._refused else 0
        if self.complete:
            self.complete_since = time.monotonic()
            logger.info("subscribed: %s", ", ".join(map(shown, self._wanted)))

    def forget_answers(self) -> None:
        """Forget what the broker granted and refused: the connection was lost."""
        self._granted.clear()
        self._refused.clear()
        self._unanswered.clear()
