"""Simulated gateways on a real broker: status and last will, heartbeats, and telemetry at their interval."""

import heapq
import logging
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from django.conf import settings
from django.utils.timezone import now

from tds_new.demo.simulation import SimulatedGateway
from tds_new.ingestion.transport import MQTTSubscriber, Will, broker_config

logger = logging.getLogger(__name__)

HEARTBEAT_S = 60.0
MEMORY = 1_000  # messages that a simulated gateway keeps while the broker is away; more are not measured
FLUSH_S = 30.0  # how long the last messages may take to be acknowledged


class Link(Protocol):
    """What a publisher needs of a connection to the broker (an MQTTSubscriber, or a test's)."""

    connection: int

    @property
    def unsent(self) -> int: ...
    def connect(self) -> None: ...
    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None: ...
    def disconnect(self, timeout: float = 5.0) -> None: ...


@dataclass(slots=True)
class Station:
    """A simulated gateway, its connection, and where it is in time."""

    gateway: SimulatedGateway
    link: Link
    since: datetime
    announced: int = -1
    sent: int = 0
    heartbeat_due: float = 0.0


@dataclass(slots=True)
class Published:
    """What was published: telemetry messages, those not measured because the broker was away too long, and those it never had."""

    messages: int = 0
    missed: int = 0
    unacknowledged: int = 0


def stations(gateways: Sequence[SimulatedGateway], secrets: Path | None, interval: timedelta) -> list[Station]:
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
    """Publishes until told to stop, or ``count`` telemetry messages of each gateway."""

    def __init__(self, stations: Sequence[Station], interval: float, *, count: int | None = None, seq: bool = False) -> None:
        self._stations, self._interval, self._count, self._seq = list(stations), interval, count, seq
        self._prefix: str = settings.MQTT_TOPIC_PREFIX
        self._started = now()
        self._stop = threading.Event()
        self.published = Published()

    def stop(self) -> None:
        """End :meth:`run` soon; safe in a signal handler."""
        self._stop.set()

    def run(self) -> Published:
        """Connect, publish, say ``offline`` and disconnect; returns what was published."""
        links = list({id(station.link): station.link for station in self._stations}.values())
        for link in links:
            link.connect()
        begin = time.monotonic()
        # Spread over the interval, as gateways in the field are.
        due = [(begin + self._interval * number / len(self._stations), number) for number in range(len(self._stations))]
        while due and not self._stop.wait(max(0.0, due[0][0] - time.monotonic())):
            moment, number = heapq.heappop(due)
            self._turn(self._stations[number])
            if self._count is None or self._stations[number].sent < self._count:
                heapq.heappush(due, (max(moment + self._interval, time.monotonic()), number))
        self._say_goodbye(links)
        return self.published

    def _turn(self, station: Station) -> None:
        station.sent += 1
        if station.link.unsent >= MEMORY:
            self.published.missed += 1
            return
        if station.announced != station.link.connection:  # a new connection: the broker may have published the will of the old
            station.announced = station.link.connection
            station.link.publish(station.gateway.topic(self._prefix, "status"), b"online", 1, True)
        moment = now()
        if time.monotonic() >= station.heartbeat_due:
            station.heartbeat_due = time.monotonic() + HEARTBEAT_S
            station.link.publish(station.gateway.topic(self._prefix, "heartbeat"), station.gateway.heartbeat(moment, self._started), 0)
        payload = station.gateway.telemetry(moment, station.since, station.sent if self._seq else None)
        station.link.publish(station.gateway.topic(self._prefix, "telemetry"), payload)
        station.since = moment
        self.published.messages += 1

    def _say_goodbye(self, links: Sequence[Link]) -> None:
        for station in self._stations:
            station.link.publish(station.gateway.topic(self._prefix, "status"), b"offline", 1, True)
        deadline = time.monotonic() + (FLUSH_S if not self._stop.is_set() else FLUSH_S / 10)
        while any(link.unsent for link in links) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.published.unacknowledged = sum(link.unsent for link in links)
        for link in links:
            link.disconnect()
