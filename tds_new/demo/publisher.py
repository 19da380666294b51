"""Simulated gateways on a real broker: status and last will, heartbeats, and telemetry at their interval, kept until it is answered."""

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
from typing import Protocol

from django.conf import settings
from django.utils.timezone import now

from tds_new.demo.outbox import MEMORY, Outbox
from tds_new.demo.simulation import SimulatedGateway
from tds_new.ingestion.message import Message
from tds_new.ingestion.transport import MQTTSubscriber, Will, broker_config

logger = logging.getLogger(__name__)

HEARTBEAT_S = 60.0
FLUSH_S = 30.0  # how long the last messages may take to be acknowledged
LOOK_S = 1.0  # how often everything that waits for an answer is looked at
LAST_LOOK_S = 0.05  # and once nothing more is measured


class Link(Protocol):
    """What a publisher needs of a connection to the broker (an MQTTSubscriber, or a test's)."""

    @property
    def connection(self) -> int: ...
    @property
    def connected(self) -> bool: ...
    @property
    def unsent(self) -> int: ...
    def connect(self) -> None: ...
    def register_handler(self, pattern: str, handler: Callable[[Message], None]) -> None: ...
    def subscribe(self, pattern: str, qos: int = 1) -> None: ...
    def ack(self, messages: Iterable[Message]) -> None: ...
    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None: ...
    def disconnect(self, timeout: float = 5.0) -> None: ...


@dataclass(slots=True)
class Station:
    """A simulated gateway, its connection, and where it is in time."""

    gateway: SimulatedGateway
    link: Link
    since: datetime
    outbox: Outbox = field(default_factory=Outbox)
    announced: int = -1
    sent: int = 0
    heartbeat_due: float = 0.0


TICK = timedelta(
    milliseconds=1
)  # readings of a device are told apart by their times, which are sent as milliseconds


@dataclass(slots=True)
class Published:
    """What became of the telemetry: messages measured, those of them that the platform answered, those not measured because too many
    waited, and publications that the broker never acknowledged."""

    messages: int = 0
    answered: int = 0
    missed: int = 0
    unacknowledged: int = 0


def stations(
    gateways: Sequence[SimulatedGateway], secrets: Path | None, interval: timedelta
) -> list[Station]:
    """Connections for ``gateways``: each its own, with its own password and last will, where ``secrets`` holds its password.

    Without, all share one connection as the user of the settings.
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
    return MQTTSubscriber(config, f"gateway-{gateway.user}", will=will)


class Publisher:
    """Publishes until told to stop, or ``count`` telemetry messages of each gateway.

    With ``seq`` each message has a number and is kept until the platform answers that it is stored; the last ones are waited for as long
    as ``patience`` (seconds).
    """

    def __init__(
        self,
        stations: Sequence[Station],
        interval: float,
        *,
        count: int | None = None,
        seq: bool = True,
        patience: float = FLUSH_S,
    ) -> None:
        self._stations, self._interval, self._count, self._patience = (
            list(stations),
            interval,
            count,
            patience,
        )
        self._prefix: str = settings.MQTT_TOPIC_PREFIX
        self._started = now()
        # Milliseconds: a later run of the same gateways does not take answers to this one's messages for its own.
        self._first_seq = time.time_ns() // 1_000_000 if seq else None
        self._by_answer = {station.gateway.topic(self._prefix, "ack"): station for station in self._stations}
        self._answers: deque[Message] = deque()
        self._looked = 0.0
        self._stop = threading.Event()
        self.published = Published()

    def stop(self) -> None:
        """End :meth:`run` soon; safe in a signal handler."""
        self._stop.set()

    def run(self) -> Published:
        """Connect, publish, wait for answers, say ``offline`` and disconnect; returns what became of it."""
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
        while due and not self._stop.wait(min(LOOK_S, max(0.0, due[0][0] - time.monotonic()))):
            self._look(LOOK_S)
            if due[0][0] > time.monotonic():
                continue
            moment, number = heapq.heappop(due)
            self._turn(self._stations[number])
            if self._count is None or self._stations[number].sent < self._count:
                heapq.heappush(due, (max(moment + self._interval, time.monotonic()), number))
        deadline = time.monotonic() + self._patience
        while (
            any(station.outbox for station in self._stations)
            and time.monotonic() < deadline
            and not self._stop.wait(LAST_LOOK_S)
        ):
            self._look(LAST_LOOK_S)
        self._say_goodbye(links)
        return self.published

    # --- answers --------------------------------------------------------------------------------------------------------------

    def _listen(self, link: Link) -> None:
        """Have the answers to what is published over this connection come to us."""
        own = [topic for topic, station in self._by_answer.items() if station.link is link]
        pattern = own[0] if len(own) == 1 else f"{self._prefix}/+/ack"

        def hear(message: Message) -> None:  # on the connection's thread
            self._answers.append(message)
            link.ack([message])

        link.register_handler(pattern, hear)
        link.subscribe(pattern)

    def _look(self, interval: float) -> None:
        """Take the answers that have come; every ``interval`` seconds, send what is due of everything that waits."""
        while self._answers:
            message = self._answers.popleft()
            station, seq = self._by_answer.get(message.topic), _seq_of(message)
            if station is not None and seq is not None and station.outbox.answered(seq):
                self.published.answered += 1
        if time.monotonic() - self._looked >= interval:
            self._looked = time.monotonic()
            for station in self._stations:
                self._send(station)

    # --- a gateway's turn -----------------------------------------------------------------------------------------------------

    def _turn(self, station: Station) -> None:
        station.sent += 1
        if station.outbox.full or (self._first_seq is None and station.link.unsent >= MEMORY):
            self.published.missed += 1
            return
        if (
            station.announced != station.link.connection
        ):  # a new connection: the broker may have published the will of the old
            station.announced = station.link.connection
            station.link.publish(station.gateway.topic(self._prefix, "status"), b"online", 1, True)
        moment = max(now(), station.since + TICK)  # a turn that comes late is followed by the next at once
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
            for payload in station.outbox.take(time.monotonic(), station.link.connection):
                station.link.publish(station.gateway.topic(self._prefix, "telemetry"), payload)

    def _say_goodbye(self, links: Sequence[Link]) -> None:
        for station in self._stations:
            station.link.publish(station.gateway.topic(self._prefix, "status"), b"offline", 1, True)
        deadline = time.monotonic() + (FLUSH_S if not self._stop.is_set() else FLUSH_S / 10)
        while any(link.unsent for link in links) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.published.unacknowledged = sum(link.unsent for link in links)
        self._look(LOOK_S)
        for link in links:
            link.disconnect()


def _seq_of(message: Message) -> int | None:
    """The number in an answer, ``{"seq": n}``; None where it is none."""
    try:
        return int(json.loads(message.payload)["seq"])
    except (ValueError, KeyError, TypeError):
        logger.warning("an answer that is none: %d bytes", len(message.payload))
        return None
