"""The routing of packets to the handlers of their topics."""

import logging
from collections.abc import Callable
from datetime import datetime

from tds_new.ingestion.message import Message
from tds_new.ingestion.topics import matches
from tds_new.ingestion.transport.client import Publication
from tds_new.logs import printable

logger = logging.getLogger(__name__)

Handler = Callable[[Message], None]

MAX_ROUTES = 100_000  # topics whose handlers are remembered


class Router:
    """Passes messages to the handlers whose patterns match their topic.

    A handler that raises is logged, and the other handlers still get the message. A message that no pattern
    matches, or that every handler failed on, goes to ``on_unhandled``.
    """

    def __init__(self, on_unhandled: Handler | None = None) -> None:
        self._on_unhandled = on_unhandled
        self._handlers: list[tuple[str, Handler]] = []
        self._routes: dict[bytes, tuple[str, tuple[Handler, ...]]] = {}

    def register(self, pattern: str, handler: Handler) -> None:
        """Pass messages whose topic matches ``pattern`` (``+``, ``#``) to ``handler``.

        Several handlers may match one topic.
        """
        self._handlers.append((pattern, handler))
        self._routes = {}

    def dispatch(self, publication: Publication, received_at: datetime, connection: int) -> None:
        """Make a message of ``publication`` and pass it to the handlers of its topic.

        ``received_at`` is aware and in UTC; ``connection`` is the number of the connection.
        """
        raw_topic, payload, qos, retain, redelivered, packet_id, size = publication
        route = self._routes.get(raw_topic)
        if route is None:
            route = self._route(raw_topic)
        topic, handlers = route
        message = Message(topic, payload, received_at, qos, retain, redelivered, packet_id, connection, size)
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
        """Find the handlers of a topic, and remember them."""
        if len(self._routes) > MAX_ROUTES:
            self._routes = {}
        topic = raw_topic.decode("utf-8", "replace")
        route = topic, tuple(handler for pattern, handler in self._handlers if matches(pattern, topic))
        self._routes[raw_topic] = route
        return route
