"""Publish as simulated gateways do.

They publish status and last will, heartbeats, and telemetry at their interval.

Telemetry is kept until the platform answers that it is stored.
"""

import heapq
import json
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import NamedTuple, Protocol

from django.conf import settings
from django.utils.timezone import now

from tds_new.demo.outbox import MEMORY, Outbox
from tds_new.demo.simulation import SimulatedGateway
from tds_new.ingestion.message import Message
from tds_new.ingestion.transport import MQTTSubscriber, Will, broker_config

logger = logging.getLogger(__name__)

HEARTBEAT_S = 60.0
FLUSH_S = 30.0  # how long the last messages may take to be acknowledged
RESEND_CHECK_S = 1.0  # how often it is checked what is to be sent again
LAST_RESEND_CHECK_S = 0.05  # and how often once nothing more is measured


class Link(Protocol):
    """The connection to the broker, as far as a publisher uses it.

    An MQTTSubscriber has it, and a test's own link.
    """

    @property
    def connection(self) -> int:
        """The number of connections made so far."""

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the connection, and it lasts."""

    @property
    def unsent(self) -> int:
        """How many publications the broker has not acknowledged yet."""

    def connect(self) -> None:
        """Connect, and again after every loss."""

    def register_handler(self, pattern: str, handler: Callable[[Message], None]) -> None:
        """Have ``handler`` called with each message of these topics."""

    def subscribe(self, pattern: str, qos: int = 1) -> None:
        """Subscribe to these topics on every connection."""

    def ack(self, messages: Iterable[Message]) -> None:
        """Acknowledge messages to the broker."""

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish, now or once connected."""

    def disconnect(self, timeout: float = 5.0) -> None:
        """Disconnect in order, within ``timeout`` seconds."""


@dataclass(slots=True)
class Station:
    """A simulated gateway with its connection, and how far it is.

    ``since`` is the time of its last reading, ``announced`` the connection on which it has said ``online``,
    ``sent`` counts its messages, ``heartbeat_due`` is a monotonic time.
    """

    gateway: SimulatedGateway
    link: Link
    since: datetime
    outbox: Outbox = field(default_factory=Outbox)
    announced: int = -1
    sent: int = 0
    heartbeat_due: float = 0.0


# Readings of a device are told apart by their times, which are sent as milliseconds.
TICK = timedelta(milliseconds=1)


@dataclass(slots=True)
class Published:
    """The outcome of the telemetry.

    ``messages`` were measured, ``answered`` of them by the platform, and ``refused`` of these for good;
    ``missed`` were not measured because too many waited; ``unacknowledged`` publications were never
    acknowledged by the broker.
    """

    messages: int = 0
    answered: int = 0
    refused: int = 0
    missed: int = 0
    unacknowledged: int = 0


def stations(
    gateways: Sequence[SimulatedGateway], secrets: Path | None, interval: timedelta
) -> list[Station]:
    """Return a station for each gateway, as if it had measured one ``interval`` ago.

    Each has its own connection, with its own password and last will, where the directory ``secrets`` holds
    its password. Without ``secrets`` all share one connection as the user of the settings. Raises OSError
    where a password cannot be read.
    """
    start = now() - interval
    if secrets is None:
        shared = MQTTSubscriber(broker_config(persistent=False), f"simulate_gateways_{time.time_ns()}")
        return [Station(gateway, shared, start) for gateway in gateways]
    return [Station(gateway, _own_link(gateway, secrets), start) for gateway in gateways]


def _own_link(gateway: SimulatedGateway, secrets: Path) -> MQTTSubscriber:
    password = (secrets / gateway.user).read_text(encoding="ascii").strip()
    config = broker_config(username=gateway.user, password=password, persistent=False)
    will = Will(gateway.topic(settings.MQTT_TOPIC_PREFIX, "status"), b"offline")
    # The only client id that the broker grants a gateway where the listener does not set it.
    return MQTTSubscriber(config, gateway.user, will=will)


class Publisher:
    """Publishes until told to stop, or ``count`` telemetry messages of each gateway.

    With ``seq`` each message has a number and is kept until the platform answers that it is stored.
    """

    def __init__(
        self,
        stations: Sequence[Station],
        interval: float,
        *,
        count: int | None = None,
        seq: bool = True,
        answer_timeout: float = FLUSH_S,
    ) -> None:
        """Prepare to publish every ``interval`` seconds.

        Wait ``answer_timeout`` seconds for the last answers.
        """
        self._stations, self._interval = list(stations), interval
        self._count, self._answer_timeout = count, answer_timeout
        self._prefix: str = settings.MQTT_TOPIC_PREFIX
        self._started = now()
        # Milliseconds: a later run of the same gateways does not take answers to this one's messages for its
        # own.
        self._first_seq = time.time_ns() // 1_000_000 if seq else None
        self._by_answer = {station.gateway.topic(self._prefix, "ack"): station for station in self._stations}
        self._answers: deque[Message] = deque()
        self._checked = 0.0
        self._stop = threading.Event()
        self.published = Published()

    def stop(self) -> None:
        """End :meth:`run` soon; may be called in a signal handler."""
        self._stop.set()

    def run(self) -> Published:
        """Connect, publish, wait for answers, say ``offline`` and disconnect.

        Return the outcome of the telemetry.
        """
        links = list({id(station.link): station.link for station in self._stations}.values())
        for link in links:
            if self._first_seq is not None:
                self._listen(link)
            link.connect()
        begin = time.monotonic()
        # Spread over the interval, as gateways in the field are.
        due = [
            (begin + self._interval * number / len(self._stations), number)
            for number in range(len(self._stations))
        ]
        while due and not self._stop.wait(min(RESEND_CHECK_S, max(0.0, due[0][0] - time.monotonic()))):
            self._handle_answers(RESEND_CHECK_S)
            if due[0][0] > time.monotonic():
                continue
            moment, number = heapq.heappop(due)
            self._publish(self._stations[number])
            if self._count is None or self._stations[number].sent < self._count:
                heapq.heappush(due, (max(moment + self._interval, time.monotonic()), number))
        deadline = time.monotonic() + self._answer_timeout
        while (
            any(station.outbox for station in self._stations)
            and time.monotonic() < deadline
            and not self._stop.wait(LAST_RESEND_CHECK_S)
        ):
            self._handle_answers(LAST_RESEND_CHECK_S)
        self._say_goodbye(links)
        return self.published

    # --- answers --------------------------------------------------------------------------------------------

    def _listen(self, link: Link) -> None:
        """Subscribe to the answers to what is published over this connection."""
        own = [topic for topic, station in self._by_answer.items() if station.link is link]
        pattern = own[0] if len(own) == 1 else f"{self._prefix}/+/ack"

        def receive(message: Message) -> None:  # on the connection's thread
            self._answers.append(message)
            link.ack([message])

        link.register_handler(pattern, receive)
        link.subscribe(pattern)

    def _handle_answers(self, interval: float) -> None:
        """Take the answers that have come.

        Every ``interval`` seconds send again what is due.
        """
        while self._answers:
            message = self._answers.popleft()
            station, answer = self._by_answer.get(message.topic), _answer_of(message)
            if station is not None and answer is not None and station.outbox.answered(answer.seq):
                self.published.answered += 1
                if answer.error:
                    self.published.refused += 1
                    logger.warning("message %d was refused for good: %r", answer.seq, answer.error)
        if time.monotonic() - self._checked >= interval:
            self._checked = time.monotonic()
            for station in self._stations:
                self._send(station)

    # --- one gateway ----------------------------------------------------------------------------------------

    def _publish(self, station: Station) -> None:
        station.sent += 1
        if station.outbox.full or (self._first_seq is None and station.link.unsent >= MEMORY):
            self.published.missed += 1
            return
        # On a new connection: the broker may have published the last will of the old one.
        if station.announced != station.link.connection:
            station.announced = station.link.connection
            station.link.publish(station.gateway.topic(self._prefix, "status"), b"online", 1, True)
        moment = max(now(), station.since + TICK)  # a late message is followed by the next at once
        if time.monotonic() >= station.heartbeat_due:
            station.heartbeat_due = time.monotonic() + HEARTBEAT_S
            station.link.publish(
                station.gateway.topic(self._prefix, "heartbeat"),
                station.gateway.heartbeat(moment, self._started),
                0,
            )
        seq = None if self._first_seq is None else self._first_seq + station.sent
        payload = station.gateway.telemetry(moment, station.since, seq)
        station.since = moment
        self.published.messages += 1
        if seq is None:
            station.link.publish(station.gateway.topic(self._prefix, "telemetry"), payload)
        else:
            station.outbox.put(seq, payload)
            self._send(station)

    def _send(self, station: Station) -> None:
        if station.outbox and station.link.connected:
            for payload in station.outbox.dequeue_due(time.monotonic(), station.link.connection):
                station.link.publish(station.gateway.topic(self._prefix, "telemetry"), payload)

    def _say_goodbye(self, links: Sequence[Link]) -> None:
        for station in self._stations:
            station.link.publish(station.gateway.topic(self._prefix, "status"), b"offline", 1, True)
        deadline = time.monotonic() + (FLUSH_S / 10 if self._stop.is_set() else FLUSH_S)
        while any(link.unsent for link in links) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.published.unacknowledged = sum(link.unsent for link in links)
        self._handle_answers(RESEND_CHECK_S)
        for link in links:
            link.disconnect()


class _Answer(NamedTuple):
    """The platform's answer to a message; ``error`` is empty unless it was refused."""

    seq: int
    error: str


def _answer_of(message: Message) -> _Answer | None:
    """Read an answer, ``{"seq": n}`` or ``{"seq": n, "erro": "<motivo>"}``.

    None if the message is no answer.
    """
    try:
        answer = json.loads(message.payload)
        return _Answer(int(answer["seq"]), str(answer.get("erro", ""))[:50])
    except (ValueError, KeyError, TypeError, AttributeError):
        logger.warning("not an answer: %d bytes", len(message.payload))
        return None
