"""The client of the broker that the rest of the platform uses."""

import time
from collections.abc import Callable, Iterable

from tds_new.ingestion.message import Message
from tds_new.ingestion.transport.client import make_client
from tds_new.ingestion.transport.config import BrokerConfig, Will
from tds_new.ingestion.transport.connection import ConnectionLoop
from tds_new.ingestion.transport.routing import Handler, Router
from tds_new.ingestion.transport.subscriptions import Subscriptions


class MQTTSubscriber:
    """A connection to the broker that is opened again after every loss.

    Its subscriptions are made on every connection. Handlers are registered by topic pattern and called on the
    thread of the connection. A handler that raises is logged and harms neither the thread nor other handlers;
    its message goes to ``on_unhandled``, as does one that no pattern matches. Messages are acknowledged by
    :meth:`ack` only. Every method may be called on any thread.
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
        """Prepare a client; :meth:`start` connects it.

        ``config`` and ``client_id`` say where to connect and as whom, ``will`` what the broker publishes if
        the connection breaks. ``full`` is asked on the thread of the connection: while it returns True
        nothing is read, but acknowledgements and pings are still sent.
        """
        self._client = make_client(config, client_id, will)
        self._router = Router(on_unhandled)
        self._subscriptions = Subscriptions(self._client, config)
        self._loop = ConnectionLoop(self._client, config, self._router, self._subscriptions, full)

    # --- state ----------------------------------------------------------------------------------------------

    @property
    def connection(self) -> int:
        """The number of the present connection, which its messages carry."""
        return self._loop.number

    @property
    def connected(self) -> bool:
        """Whether the broker has accepted the present connection."""
        return self._loop.connected

    @property
    def subscribed(self) -> bool:
        """Whether the broker has granted every required subscription."""
        return self._loop.connected and self._subscriptions.complete

    @property
    def subscribed_for(self) -> float:
        """Seconds since the last required subscription was granted; 0 if one is not."""
        return time.monotonic() - self._subscriptions.complete_since if self.subscribed else 0.0

    @property
    def session_present(self) -> bool:
        """Whether the broker resumed a session when it accepted the connection."""
        return self._loop.session_present

    @property
    def reconnects(self) -> int:
        """Connections that were lost so far."""
        return self._loop.reconnects

    @property
    def last_iteration(self) -> float:
        """When the thread of the connection last made progress (monotonic seconds)."""
        return self._loop.last_iteration

    @property
    def unsent(self) -> int:
        """Publications with QoS 1 that are not acknowledged, and calls that are not made."""
        return self._client.unacknowledged + len(self._loop.calls)

    # --- actions --------------------------------------------------------------------------------------------

    def register_handler(self, pattern: str, handler: Handler) -> None:
        """Pass messages whose topic matches ``pattern`` (``+``, ``#``) to ``handler``.

        Several handlers may match one topic.
        """
        self._router.register(pattern, handler)

    def subscribe(self, pattern: str, qos: int = 1, *, required: bool = True) -> None:
        """Subscribe on the present connection and on every later one.

        ``subscribed`` waits for the subscriptions that are ``required``.
        """
        self._subscriptions.add(pattern, qos, required=required)
        self._loop.calls.add(self._subscriptions.request)

    def connect(self) -> None:
        """Do the same as :meth:`start`; other clients call it so."""
        self.start()

    def start(self) -> None:
        """Start the thread that connects, and connects again after every loss."""
        self._loop.start()

    def pause(self) -> None:
        """Receive no more messages; acknowledgements are still sent."""
        self._loop.pause()

    def disconnect(self, timeout: float = 5.0) -> None:
        """Send what was handed over, disconnect without a last will, and end the thread.

        Waits up to ``timeout`` seconds for the end.
        """
        self._loop.stop(timeout)

    def ack(self, messages: Iterable[Message]) -> None:
        """Acknowledge messages.

        Those of an earlier connection are skipped: the broker delivers them again.
        """
        packets = [(message.connection, message.packet_id) for message in messages if message.qos == 1]
        if packets:
            self._loop.calls.add(lambda: self._acknowledge(packets))

    def publish(self, topic: str, payload: bytes, qos: int = 1, retain: bool = False) -> None:
        """Publish once connected.

        With QoS 1 it is sent on every connection until the broker has acknowledged it.
        """
        self._loop.calls.add(lambda: self._publish(topic, payload, qos, retain))

    def answer(self, topic: str, payload: bytes) -> None:
        """Publish with QoS 1 what the receiver asks for again if it does not arrive.

        Unlike :meth:`publish`, an answer is not kept while many publications are not acknowledged. While
        nothing is read, no PUBACK is read either, and behind a long queue PUBACKs come late: answers do not
        wait for them.
        """
        self._loop.calls.add(lambda: self._client.answer(topic, payload))

    # --- on the thread of the connection --------------------------------------------------------------------

    def _acknowledge(self, packets: list[tuple[int, int]]) -> None:
        present = self._loop.number
        self._client.acknowledge(packet_id for connection, packet_id in packets if connection == present)

    def _publish(self, topic: str, payload: bytes, qos: int, retain: bool) -> None:
        self._client.publish(topic, payload, qos, retain)
