"""A consumer's reports: a line in the log, and its row in the database."""

import logging
import os
import socket
import time
from datetime import UTC, datetime

from psycopg import Connection
from psycopg.types.json import Jsonb

from tds_new.ingestion.inbox import Inbox
from tds_new.ingestion.message import Message
from tds_new.ingestion.statistics import Statistics
from tds_new.ingestion.telemetry_processor import BatchResult
from tds_new.ingestion.transport import MQTTSubscriber
from tds_new.logs import printable

logger = logging.getLogger(__name__)

WRITE_INTERVAL = 5.0  # seconds between two writes of the row

WRITE_STATUS = """
INSERT INTO tds_new_consumer_status
    (client_id, host, pid, estado, since, updated_at, last_batch_at, counters)
VALUES
    (%(client_id)s, %(host)s, %(pid)s, %(estado)s, %(since)s, now(), %(last_batch_at)s, %(counters)s)
ON CONFLICT (client_id) DO UPDATE SET
    host = excluded.host,
    pid = excluded.pid,
    estado = excluded.estado,
    since = excluded.since,
    updated_at = excluded.updated_at,
    last_batch_at = coalesce(excluded.last_batch_at, tds_new_consumer_status.last_batch_at),
    counters = excluded.counters
"""


class StatusReporter:
    """Reports the figures of one consumer."""

    def __init__(self, client_id: str, statistics: Statistics) -> None:
        self._client_id, self._statistics = client_id, statistics
        self._since = datetime.now(UTC)
        self._written_at = 0.0
        self._dropped_before = 0

    def consumer_became_active(self) -> None:
        """Remember since when this consumer is the active one."""
        self._since = datetime.now(UTC)

    def log_if_due(self, inbox: Inbox, subscriber: MQTTSubscriber) -> None:
        """Log a line of figures every few seconds.

        Also warn if messages were dropped since the last line.
        """
        if not self._statistics.due():
            return
        broker = "NOT CONNECTED"
        if subscriber.connected:
            broker = "connected" if subscriber.subscribed else "NOT SUBSCRIBED"
        logger.info("%s", self._statistics.line(len(inbox), inbox.oldest_age(time.time()), broker))
        dropped = inbox.dropped - self._dropped_before
        if dropped > 0:
            logger.warning(
                "%d messages with QoS 0 dropped: too many waited; publish telemetry with QoS 1", dropped
            )
        self._dropped_before = inbox.dropped

    def log_end(self, inbox: Inbox) -> None:
        """Log the last line of figures."""
        logger.info("stopped: %s", self._statistics.line(len(inbox), 0.0, "disconnected"))

    def write_if_due(self, session: Connection, inbox: Inbox, subscriber: MQTTSubscriber) -> None:
        """Write the row every few seconds.

        Raises psycopg.Error.
        """
        now = time.monotonic()
        if now - self._written_at >= WRITE_INTERVAL:
            self._written_at = now
            self._write(session, "connected" if subscriber.connected else "disconnected", inbox, subscriber)

    def write_end(self, session: Connection, inbox: Inbox, subscriber: MQTTSubscriber) -> None:
        """Write that the consumer has stopped. Raises psycopg.Error."""
        self._write(session, "stopped", inbox, subscriber)

    def _write(self, session: Connection, estado: str, inbox: Inbox, subscriber: MQTTSubscriber) -> None:
        last = self._statistics.last_batch_at
        counters = {
            **self._statistics.counters(),
            "reconnects": subscriber.reconnects,
            "queue": len(inbox),
        }
        session.execute(
            WRITE_STATUS,
            {
                "client_id": self._client_id,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "estado": estado,
                "since": self._since,
                "last_batch_at": datetime.fromtimestamp(last, UTC) if last else None,
                "counters": Jsonb(counters),
            },
        )


def log_outcomes(batch: list[Message], result: BatchResult) -> None:
    """Log a line for each message with its outcome."""
    refused = {row.message: row.refusal for row in result.rejected_rows}
    for number, message in enumerate(batch):
        outcome = f"{r.reason}: {r.detail}" if (r := refused.get(number)) else "committed"
        logger.debug(
            "%s %d bytes qos %d: %s",
            printable(message.topic),
            len(message.payload),
            message.qos,
            outcome,
        )
