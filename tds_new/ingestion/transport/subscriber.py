"""The connection to the broker.

One thread owns the connection and is the only one to touch the socket. Others hand it acknowledgements and publications through a
queue. The library's callback wraps the message and passes it to the handlers, nothing else.
"""

import logging
import selectors
import socket
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from tds_new.backoff import Backoff
from tds_new.ingestion.message import Message
from tds_new.ingestion.topics import matches
from tds_new.ingestion.transport.client import BufferedClient
from tds_new.ingestion.transport.config import BrokerConfig, Will, tls_context
from tds_new.logs import printable

logger = logging.getLogger(__name__)

Handler = Callable[[Message], None]

CONNECT_TIMEOUT = 5.0  # seconds for TCP and TLS, and again for the broker's answer
RECONNECT = Backoff(first=1.0, longest=60.0, jitter=0.5)
STABLE_AFTER = 30.0  # a connection that lasted so long starts the delays anew
MAX_ROUTES = 100_000
MAX_KEPT = 1_000  # publications under way; further ones wait for the broker's PUBACKs
TURN_PACKETS = 2_000  # handle at most so many before acknowledgements get their turn
SESSION_EXPIRY = 30 * 24 * 3600


class MQTTSubscriber:
    """A connection to the broker that stays: it comes back after every loss, and subscribes again on every connect.

    Handlers are registered by topic pattern. A handler that raises is logged and harms neither the loop nor other handlers; its message
    goes to ``on_unhandled``, as does one that no pattern matches. Messages are acknowledged by :meth:`ack` only. Nothing is read while
    ``full`` says so (asked on the thread); acknowledgements and pings still go out.
    """

    def __init__(
        self,
        config: BrokerConfig,
        client_id: str,
        *,
        will: Will | None = None,
        on_unhandled: Handler | None = None,
        full: Callable[[], bool] = lambda: False,
    ) -> None:
        self.config, self.client_id = config, client_id
        self._on_unhandled, self._full = on_unhandled, full
        self._handlers: list[tuple[str, Handler]] = []
        self._routes: dict[bytes, tuple[str, tuple[Handler, ...]]] = {}
        self._subscriptions: dict[str, int] = {}
        self._optional: set[str] = set()
        self._waiting_subacks: dict[int, list[str]] = {}
        self._refused_subscriptions: set[str] = set()
        self._granted: set[str] = set()
        self._orders: deque[Callable[[], None]] = deque()
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        self._awake = False
        self._stop = threading.Event()
        self._paused = False
        self._thread: threading.Thread | None = None
        self._attempt = 0
        self._quick_losses = 0
        self._refusals = 0
        self._resubscribe_at = 0.0
        self._connected_at: float | None = None
        self._subscribed_at = 0.0
        self.connection = 0
        self.reconnects = 0
        self.session_present = False
        self.last_turn = time.monotonic()
        self._client = self._make_client(will)

    # --- what others call -----------------------------------------------------------------------------------------------------

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted this connection."""
        return self._connected_at is not None

    @property
    def subscribed(self) -> bool:
        """Whether the broker has granted every subscription on this connection."""
        return self.connected and self._granted >= self._subscriptions.keys() - self._optional

    @property
    def subscribed_for(self) -> float:
        """Seconds for which every subscription has been granted on this connection; 0 where one is not."""
        return time.monotonic() - self._subscribed_at if self.subscribed else 0.0

    @property
    def unsent(self) -> int:
        """Publications with QoS 1 that the broker has not acknowledged yet, and orders not carried out."""
        return len(self._client._out_messages) + len(self._orders)

    def register_handler(self, pattern: str, handler: Handler) -> None:
        """Pass messages whose topic matches ``pattern`` (``+``, ``#``) to ``handler``; several may match."""
        self._handlers.append((pattern, handler))
        self._routes = {}

    def subscribe(self, pattern: str, qos: int = 1, *, required: bool = True) -> None:
        """Subscribe now, where connected, and on every connect to come; ``subscribed`` waits for those that are ``required``."""
        self._subscriptions[pattern] = qos
        if not required:
            self._optional.add(pattern)
        self._order(self._subscribe_all)

    def connect(self) -> None:
        """Open the connection and keep it open: alias of :meth:`start` for readers of other clients."""
        self.start()

    def start(self) -> None:
        """Start the thread that connects, and connects again whenever the connection is lost."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="mqtt", daemon=True)
            self._thread.start()

    def pause(self) -> None:
        """Take no more messages; acknowledgements still go out."""
        self._paused = True

    def disconnect(self, timeout: float = 5.0) -> None:
        """Send what is handed over, say goodbye (no last will) and end the thread."""
        self._stop.set()
        self._wake()
        if self._thread is not None:
            self._thread.join(timeout)
        if self._thread is None or not self._thread.is_alive():
            self._wake_reader.close()
            self._wake_writer.close()

    def ack(self, messages: Iterable[Message]) -> None:
        """Acknowledge messages. Those of an earlier connection are passed over: the broker delivers them again."""
        packets = [(message.connection, message.packet_id) for message in messages if message.qos == 1]
        if packets:
            self._order(lambda: self._acknowledge(packets))

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish once connected; with QoS 1 again until the broker has acknowledged it."""
        self._order(lambda: self._publish(topic, payload, qos, retain))

    def answer(self, topic: str, payload: bytes) -> None:
        """:meth:`publish`, for what is asked for again where it does not come: with ``MAX_KEPT`` not acknowledged it is not kept.

        While nothing is read no PUBACK is either, and behind a long queue they come late: answers wait for none.
        """
        self._order(lambda: self._answer(topic, payload))

    # --- the thread -----------------------------------------------------------------------------------------------------------

    def _order(self, order: Callable[[], None]) -> None:
        self._orders.append(order)
        self._wake()

    def _wake(self) -> None:
        if not self._awake:
            self._awake = True
            try:
                self._wake_writer.send(b"\0")
            except OSError:  # full, so that the thread wakes anyway; or closed after the end
                return

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._open()
                self._serve()
            except (OSError, ValueError) as error:
                logger.warning(
                    "no connection to the broker %s:%d: %s",
                    self.config.host,
                    self.config.port,
                    printable(str(error)),
                )
            except Exception:
                logger.exception(
                    "the connection to the broker failed in an unforeseen way; it is opened anew"
                )
            self._client.drop()
            self._lost()
            if not self._stop.is_set():
                self._attempt += 1
                delay = RECONNECT.delay_before(self._attempt)
                logger.info("next try to reach the broker in %.1f s", delay)
                self._pause_for(delay)

    def _pause_for(self, seconds: float) -> None:
        """Wait, or until told to stop; the turns of a waiting thread count as turns."""
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and not self._stop.wait(min(1.0, left)):
            self.last_turn = time.monotonic()

    def _open(self) -> None:
        self.last_turn = time.monotonic()
        if self.config.protocol == "5":
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
            properties.SessionExpiryInterval = SESSION_EXPIRY if self.config.persistent else 0
            properties.ReceiveMaximum = self.config.receive_maximum
            clean = not self.config.persistent
            self._client.connect(
                self.config.host,
                self.config.port,
                self.config.keepalive,
                clean_start=clean,
                properties=properties,
            )
        else:
            self._client.connect(self.config.host, self.config.port, self.config.keepalive)

    def _serve(self) -> None:
        opened = time.monotonic()
        with selectors.DefaultSelector() as selector:
            sock = self._client.socket()
            selector.register(self._wake_reader, selectors.EVENT_READ)
            registered = 0
            while (current := self._client.socket()) is not None and current is sock:
                self.last_turn = now = time.monotonic()
                stopping = self._stop.is_set()  # asked first: what was ordered before the stop is carried out
                self._carry_out_orders()
                if stopping:
                    self._client.disconnect()
                    self._client.push()
                    return
                self._client.push()
                if self._client.socket() is None:
                    return
                holding = self._holding()
                wanted = (0 if holding else selectors.EVENT_READ) | (
                    selectors.EVENT_WRITE if self._client.has_output else 0
                )
                if wanted != registered:
                    _reregister(selector, sock, registered, wanted)
                    registered = wanted
                if self._client.has_input and not holding:
                    self._read()
                else:
                    for key, events in selector.select(0.5):
                        if key.fileobj is sock and events & selectors.EVENT_READ:
                            self._read()
                if holding:
                    self._client.not_reading()
                if self._client.socket() is not None:
                    self._client.loop_misc()
                if not self.connected and now - opened > CONNECT_TIMEOUT:
                    raise TimeoutError("the broker does not answer")
                if self._refused_subscriptions and now > self._resubscribe_at:
                    self._subscribe_all()

    def _holding(self) -> bool:
        """Whether nothing is to be read. The broker's answer to the CONNECT is."""
        return self._paused or (self.connected and self._full())

    def _carry_out_orders(self) -> None:
        with suppress(BlockingIOError):
            self._wake_reader.recv(64)
        self._awake = False  # after the byte is taken, before the queue is looked at: no order goes unnoticed
        while self._orders and self.connected:
            self._orders.popleft()()

    def _read(self) -> None:
        """Handle what has arrived, up to a bound, so that acknowledgements are not kept waiting."""
        packets = 0
        while packets < TURN_PACKETS and not self._holding():
            now = datetime.now(UTC)
            for topic, payload, qos, retain, duplicate, packet_id in self._client.publications():
                self._dispatch(topic, payload, now, qos, retain, duplicate, packet_id)
                packets += 1
            if self._client.loop_read() != MQTTErrorCode.MQTT_ERR_SUCCESS or self._client.socket() is None:
                return
            packets += 1
            if not self._client.has_input:
                return

    def _lost(self) -> None:
        if self._connected_at is not None:
            # What counts is how often in a row a connection was soon lost, not how many tries the broker's restarts took in between.
            self._quick_losses = (
                0 if time.monotonic() - self._connected_at > STABLE_AFTER else self._quick_losses + 1
            )
            self._attempt = self._quick_losses
            if not self._stop.is_set():
                logger.warning(
                    "the connection to the broker %s:%d was lost", self.config.host, self.config.port
                )
                self.reconnects += 1
        self._connected_at = None
        self._granted.clear()
        self._refused_subscriptions.clear()
        self._waiting_subacks.clear()
        self.connection += 1

    # --- orders, on the thread ------------------------------------------------------------------------------------------------

    def _acknowledge(self, packets: list[tuple[int, int]]) -> None:
        current = self.connection
        self._client.acknowledge(packet_id for connection, packet_id in packets if connection == current)

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        self._client.publish(topic, payload, qos, retain)

    def _answer(self, topic: str, payload: bytes) -> None:
        if len(self._client._out_messages) < MAX_KEPT:
            self._client.publish(topic, payload, 1)
        else:
            self._client.send(topic, payload)

    def _subscribe_all(self) -> None:
        settled = self._granted.union(*self._waiting_subacks.values())
        wanted = [(pattern, qos) for pattern, qos in self._subscriptions.items() if pattern not in settled]
        self._refused_subscriptions.clear()
        if not wanted or not self.connected:
            return
        options: Any = wanted
        if self.config.protocol == "5":
            options = [(pattern, SubscribeOptions(qos=qos)) for pattern, qos in wanted]
        _, mid = self._client.subscribe(options)
        if mid is not None:
            self._waiting_subacks[mid] = [pattern for pattern, _ in wanted]

    # --- the library's callbacks, on the thread -------------------------------------------------------------------------------

    def _make_client(self, will: Will | None) -> BufferedClient:
        config = self.config
        is_5 = config.protocol == "5"
        client = BufferedClient(
            CallbackAPIVersion.VERSION2,
            client_id=self.client_id,
            protocol=MQTTProtocolVersion.MQTTv5 if is_5 else MQTTProtocolVersion.MQTTv311,
            clean_session=None if is_5 else not config.persistent,
            manual_ack=True,
        )
        client.connect_timeout = CONNECT_TIMEOUT
        client.max_queued_messages_set(100_000)
        client.max_inflight_messages_set(MAX_KEPT)
        if config.username:
            client.username_pw_set(config.username, config.password or None)
        if config.tls is not None:
            client.tls_set_context(tls_context(config.tls))
        if will is not None:
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        # With this callback set the library leaves writing to our loop.
        client.on_socket_register_write = lambda _client, _userdata, _sock: None
        return client

    def _on_connect(
        self,
        _client: paho.Client,
        _userdata: Any,
        flags: paho.ConnectFlags,
        reason: ReasonCode,
        _properties: Any,
    ) -> None:
        if reason.is_failure:
            hint = (
                "check MQTT_BROKER_USER and MQTT_BROKER_PASSWORD"
                if reason.value in (4, 5, 0x86, 0x87)
                else "check the broker's settings and MQTT_PROTOCOL"
            )
            logger.error(
                "the broker %s:%d refused the connection (%s): %s",
                self.config.host,
                self.config.port,
                reason,
                hint,
            )
            return
        self._connected_at = time.monotonic()
        self.session_present = flags.session_present
        logger.info(
            "connected to the broker %s:%d as %s (session %s)",
            self.config.host,
            self.config.port,
            self.client_id,
            "resumed" if flags.session_present else "new",
        )
        self._subscribe_all()

    def _on_subscribe(
        self, _client: paho.Client, _userdata: Any, mid: int, reasons: list[ReasonCode], _properties: Any
    ) -> None:
        delay = RECONNECT.delay_before(self._refusals + 1)
        for pattern, reason in zip(self._waiting_subacks.pop(mid, []), reasons, strict=False):
            refused = reason.is_failure or reason.value < self._subscriptions[pattern]
            if refused and pattern in self._optional:
                logger.info(
                    "the broker refused the subscription %s (%s); it can be done without", pattern, reason
                )
            elif refused:
                self._refused_subscriptions.add(pattern)
                self._resubscribe_at = time.monotonic() + delay
                logger.error(
                    "the broker refused the subscription %s (%s): check its access list for user %s; next try in %.1f s",
                    pattern,
                    reason,
                    self.config.username or "(none)",
                    delay,
                )
            else:
                self._granted.add(pattern)
        self._refusals = self._refusals + 1 if self._refused_subscriptions else 0
        if self.subscribed:
            self._subscribed_at = time.monotonic()
            logger.info("subscribed: %s", ", ".join(self._subscriptions))

    def _on_message(self, _client: paho.Client, _userdata: Any, raw: paho.MQTTMessage) -> None:
        self._dispatch(
            raw._topic, bytes(raw.payload), datetime.now(UTC), raw.qos, raw.retain, raw.dup, raw.mid
        )

    def _dispatch(
        self,
        raw_topic: bytes,
        payload: bytes,
        now: datetime,
        qos: int,
        retain: bool,
        redelivered: bool,
        packet_id: int,
    ) -> None:
        route = self._routes.get(raw_topic)
        if route is None:
            route = self._route(raw_topic)
        topic, handlers = route
        message = Message(topic, payload, now, qos, retain, redelivered, packet_id, self.connection)
        handled = False
        for handler in handlers:
            try:
                handler(message)
                handled = True
            except Exception:
                logger.exception("a handler failed on a message of topic %s", printable(topic))
        if not handled and self._on_unhandled is not None:
            self._on_unhandled(message)

    def _route(self, raw_topic: bytes) -> tuple[str, tuple[Handler, ...]]:
        if len(self._routes) > MAX_ROUTES:
            self._routes = {}
        topic = raw_topic.decode("utf-8", "replace")
        route = topic, tuple(handler for pattern, handler in self._handlers if matches(pattern, topic))
        self._routes[raw_topic] = route
        return route


def _reregister(selector: selectors.BaseSelector, sock: Any, before: int, wanted: int) -> None:
    if not before:
        selector.register(sock, wanted)
    elif not wanted:
        selector.unregister(sock)
    else:
        selector.modify(sock, wanted)
