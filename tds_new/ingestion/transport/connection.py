"""A thread that keeps the connection to the broker open.

It opens the connection, serves it, and opens it again after every loss. Only this thread touches the socket.
Other threads hand it acknowledgements and publications as pending calls.
"""

import logging
import random
import selectors
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from tds_new.backoff import Backoff
from tds_new.ingestion.transport.calls import PendingCalls
from tds_new.ingestion.transport.client import CONNECT_TIMEOUT, BufferedClient, Publication
from tds_new.ingestion.transport.config import BrokerConfig
from tds_new.ingestion.transport.routing import Router
from tds_new.ingestion.transport.subscriptions import Subscriptions
from tds_new.ingestion.transport.waiter import SocketWaiter
from tds_new.logs import printable

logger = logging.getLogger(__name__)

RECONNECT = Backoff(first=1.0, longest=60.0, jitter=0.5)
STABLE_AFTER = 30.0  # seconds after which the loss of a connection no longer lengthens the delays
MAX_PACKETS = 2_000  # read in one iteration, so that acknowledgements are not kept waiting
SESSION_EXPIRY = 30 * 24 * 3600  # seconds that the broker keeps the session of a client that is away


class ReconnectDelay:
    """The delay before the next try to connect.

    It grows with each connection in a row that was soon lost again. Failed tries in between, as during a
    restart of the broker, no longer count once a connection was made.
    """

    def __init__(self) -> None:
        self.attempts = 0
        self._quick_losses = 0

    def connection_lost(self, lasted: float) -> None:
        """Take note of a connection that ended after ``lasted`` seconds."""
        self._quick_losses = 0 if lasted > STABLE_AFTER else self._quick_losses + 1
        self.attempts = self._quick_losses

    def next(self, chance: Callable[[], float] = random.random) -> float:
        """Count a try and return the seconds to wait before it.

        ``chance`` is as for :class:`Backoff`.
        """
        self.attempts += 1
        return RECONNECT.delay_before(self.attempts, chance)


class ConnectionLoop:
    """Keeps a connection to the broker open and makes the pending calls on it."""

    def __init__(
        self,
        client: BufferedClient,
        config: BrokerConfig,
        router: Router,
        subscriptions: Subscriptions,
        full: Callable[[], bool],
    ) -> None:
        """Serve ``client`` at the broker of ``config``.

        ``router`` gets the messages, ``subscriptions`` is told of connections and answers. Nothing is read
        while ``full`` returns True.
        """
        self._client, self._config = client, config
        self._router, self._subscriptions, self._full = router, subscriptions, full
        self.calls = PendingCalls()
        self._delay = ReconnectDelay()
        self._stop = threading.Event()
        self._paused = False
        self._thread: threading.Thread | None = None
        self._connected_at: float | None = None
        self.number = 0
        self.reconnects = 0
        self.session_present = False
        self.last_iteration = time.monotonic()
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the present connection."""
        return self._connected_at is not None

    def start(self) -> None:
        """Start the thread, unless it was started already."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Stop reading messages."""
        self._paused = True

    def stop(self, timeout: float) -> None:
        """Make the pending calls, disconnect, and end the thread.

        Waits up to ``timeout`` seconds for the end.
        """
        self._stop.set()
        self.calls.wake()
        if self._thread is not None:
            self._thread.join(timeout)
        if self._thread is None or not self._thread.is_alive():
            self.calls.close()

    # --- connecting -----------------------------------------------------------------------------------------

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._open()
                self._serve()
            except (OSError, ValueError) as error:
                logger.warning(
                    "no connection to the broker %s:%d: %s",
                    self._config.host,
                    self._config.port,
                    printable(str(error)),
                )
            except Exception:
                logger.exception(
                    "the connection to the broker failed in an unforeseen way; it is opened again"
                )
            self._client.drop()
            self._lost()
            if not self._stop.is_set():
                delay = self._delay.next()
                logger.info("next try to reach the broker in %.1f s", delay)
                self._wait(delay)

    def _open(self) -> None:
        """Connect the socket and send the CONNECT. Raises OSError or ValueError."""
        self.last_iteration = time.monotonic()
        config = self._config
        if config.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY if config.persistent else 0
            properties.ReceiveMaximum = config.receive_maximum
            self._client.connect(
                config.host,
                config.port,
                config.keepalive,
                clean_start=not config.persistent,
                properties=properties,
            )
        else:
            self._client.connect(config.host, config.port, config.keepalive)

    def _lost(self) -> None:
        """Count the loss of the connection, if there was one, and number the next one."""
        if self._connected_at is not None:
            self._delay.connection_lost(time.monotonic() - self._connected_at)
            if not self._stop.is_set():
                logger.warning(
                    "the connection to the broker %s:%d was lost", self._config.host, self._config.port
                )
                self.reconnects += 1
        self._connected_at = None
        self._subscriptions.forget_answers()
        self.number += 1

    def _wait(self, seconds: float) -> None:
        """Wait, or return early if told to stop; waiting counts as progress."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop.wait(min(1.0, left)):
            self.last_iteration = time.monotonic()

    # --- connected ------------------------------------------------------------------------------------------

    def _serve(self) -> None:
        """Iterate until either side has closed the connection.

        Raises TimeoutError if the broker does not accept the connection, ValueError if it sends a malformed
        packet.
        """
        sock, deadline = self._client.socket(), time.monotonic() + CONNECT_TIMEOUT
        with SocketWaiter(sock, self.calls.reader) as waiter:
            while sock is not None and self._client.socket() is sock:
                self.last_iteration = now = time.monotonic()
                stopping = self._stop.is_set()  # asked first: calls added before the stop are made
                self.calls.run(lambda: self.connected)
                if stopping:
                    self._client.disconnect()
                self._client.push()
                if stopping or self._client.socket() is None:
                    return
                self._receive(waiter)
                if self._client.socket() is not None:
                    self._client.loop_misc()
                if not self.connected and now > deadline:
                    raise TimeoutError("the broker does not answer")
                self._subscriptions.request_refused(now)

    def _receive(self, waiter: SocketWaiter) -> None:
        """Wait for something to do, and read what has arrived."""
        to_write = selectors.EVENT_WRITE if self._client.has_output else 0
        if self._under_backpressure():
            waiter.wait(to_write)
            self._client.not_reading()
        elif self._client.has_input or waiter.wait(to_write | selectors.EVENT_READ):
            self._read()

    def _under_backpressure(self) -> bool:
        """Whether reading is paused; the answer to the CONNECT is always read."""
        return self._paused or (self.connected and self._full())

    def _read(self) -> None:
        """Handle what has arrived, up to a bound."""
        dispatch, connection = self._router.dispatch, self.number
        packets = 0
        while packets < MAX_PACKETS and not self._under_backpressure():
            now = datetime.now(UTC)
            for publication in self._client.publications():
                dispatch(publication, now, connection)
                packets += 1
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS or self._client.socket() is None:
                return
            packets += 1
            if not self._client.has_input:
                return

    # --- the library's callbacks ----------------------------------------------------------------------------

    def _on_connect(
        self,
        _client: paho.Client,
        _userdata: Any,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        _properties: Any,
    ) -> None:
        host, port = self._config.host, self._config.port
        if reason.is_failure:
            hint = (
                "check MQTT_BROKER_USER and MQTT_BROKER_PASSWORD"
                if reason.value in (4, 5, 0x86, 0x87)
                else "check the broker's settings and MQTT_PROTOCOL"
            )
            logger.error("the broker %s:%d refused the connection (%s): %s", host, port, reason, hint)
            return
        self._connected_at = time.monotonic()
        self.session_present = flags.session_present
        session = "resumed" if flags.session_present else "new"
        logger.info(
            "connected to the broker %s:%d as %s (session %s)", host, port, self._client.name, session
        )
        self._subscriptions.request()

    def _on_subscribe(
        self,
        _client: paho.Client,
        _userdata: Any,
        packet_id: int,
        reasons: list[ReasonCode],
        _properties: Any,
    ) -> None:
        self._subscriptions.record_answer(packet_id, reasons)

    def _on_message(self, _client: paho.Client, _userdata: Any, raw: paho.MQTTMessage) -> None:
        publication = Publication(raw._topic, bytes(raw.payload), raw.qos, raw.retain, raw.dup, raw.mid)
        self._router.dispatch(publication, datetime.now(UTC), self.number)
