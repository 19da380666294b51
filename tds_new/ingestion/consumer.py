"""The consumer: receive, process, acknowledge."""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

import psycopg
from django.conf import settings
from psycopg import Connection
from psycopg.types.json import Jsonb

from tds_new.backoff import Backoff
from tds_new.ingestion.inbox import Inbox
from tds_new.ingestion.leadership import LeaderSession, LockHeldError
from tds_new.ingestion.message import Message
from tds_new.ingestion.metrics import Metrics
from tds_new.ingestion.preparation import Prepared
from tds_new.ingestion.statistics import Statistics
from tds_new.ingestion.supervision import Watchdog, notify
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.ingestion.topics import Kind, subscription
from tds_new.ingestion.transport import BrokerConfig, MQTTSubscriber
from tds_new.logs import printable
from tds_new.storage import session

logger = logging.getLogger(__name__)

T = TypeVar("T")

STATUS_INTERVAL = 5.0
SWEEP_INTERVAL = 10.0
SWEEP_GRACE = 15.0  # after a start or a reconnect, time for gateways to be heard before silence counts
STANDBY_INTERVAL = 1.0
DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"
RETRY = Backoff(first=0.2, longest=15.0, jitter=1.0)
# These pass by themselves and leave the session sound: serialization, deadlock, lock not available, statement cancelled.
KEEPS_SESSION = {"40001", "40P01", "55P03", "57014"}

WRITE_STATUS = """
INSERT INTO tds_new_consumer_status (client_id, host, pid, estado, since, updated_at, last_batch_at, counters)
VALUES (%(client_id)s, %(host)s, %(pid)s, %(estado)s, %(since)s, now(), %(last_batch_at)s, %(counters)s)
ON CONFLICT (client_id) DO UPDATE SET
    host = excluded.host, pid = excluded.pid, estado = excluded.estado, since = excluded.since, updated_at = excluded.updated_at,
    last_batch_at = coalesce(excluded.last_batch_at, tds_new_consumer_status.last_batch_at), counters = excluded.counters
"""
# Pages that were served before this start ask again.
TOUCH_CONTAS = "UPDATE tds_new_conta_atividade SET ingestao_seq = ingestao_seq + 1"


class StoppedError(Exception):
    """The consumer was told to stop while it waited for the database."""


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """What the command line says."""

    broker: BrokerConfig
    client_id: str
    share_group: str = ""
    standby: bool = False


class Consumer:
    """Takes messages from the broker in batches, stores them, and acknowledges what is committed."""

    def __init__(self, options: ConsumerOptions) -> None:
        self._options = options
        self._stop = threading.Event()
        self._inbox = Inbox()
        self._statistics = Statistics()
        self._metrics = Metrics()
        self._session = LeaderSession(options.client_id)
        self._subscriber = self._make_subscriber()
        self._processor: TelemetryProcessor | None = None
        self._connection: Connection[Any] | None = None
        self._lookup: Connection[Any] | None = None
        self._since = datetime.now(UTC)
        self._status_at = self._sweep_at = 0.0
        self._dropped_reported = 0
        self._broker_dropped: int | None = None
        self._watchdog = Watchdog()
        self._watch()

    def stop(self) -> None:
        """Finish the batch in hand, acknowledge it and end :meth:`run`; called on any other thread, not in a signal handler."""
        self._stop.set()
        self._inbox.wake()

    def run(self) -> int:
        """Consume until :meth:`stop`. Return the exit status: 0, or 1 where another consumer of the same client id is active."""
        if settings.TDS_METRICS_PORT:
            self._metrics.serve(settings.TDS_METRICS_ADDRESS, settings.TDS_METRICS_PORT)
        try:
            while not self._stop.is_set():
                try:
                    self._lead()
                    self._consume()
                except LockHeldError as error:
                    self._step_down()
                    if not self._options.standby:
                        logger.error(
                            "another consumer with client id %s is active (%s); stop it, use --client-id, or wait with --standby",
                            self._options.client_id,
                            error,
                        )
                        return 1
        except StoppedError:
            logger.info(
                "stopped while waiting; what is not stored is not acknowledged and will be delivered again"
            )
        finally:
            self._finish()
        return 0

    # --- leading --------------------------------------------------------------------------------------------------------------

    def _lead(self) -> None:
        """Wait for the database, and as a standby for the lock; raises LockHeldError where there is nothing to wait for."""
        announced = False
        while True:
            try:
                self._with_database(self._take_over)
                break
            except LockHeldError as error:
                if not self._options.standby:
                    raise
                if not announced:
                    logger.info(
                        "standing by: client id %s is active elsewhere (%s)", self._options.client_id, error
                    )
                    announced = True
                    notify("READY=1\nSTATUS=standing by")
                self._wait(STANDBY_INTERVAL)
        logger.info("active consumer for client id %s", self._options.client_id)
        self._since = datetime.now(UTC)

    def _take_over(self) -> None:
        self._adopt(self._session.acquire())
        assert self._connection is not None
        self._connection.execute(TOUCH_CONTAS)

    def _adopt(self, connection: Connection[Any]) -> None:
        self._connection = connection
        if self._processor is None:
            self._processor = TelemetryProcessor(connection, gateway_rate=settings.TDS_GATEWAY_RATE)
        else:
            self._processor.use(connection)

    def _step_down(self) -> None:
        """Leave the broker to the consumer that holds the lock; what is not acknowledged goes to it."""
        self._subscriber.disconnect()
        self._session.close()
        self._inbox = Inbox()
        self._subscriber = self._make_subscriber()

    def _make_subscriber(self) -> MQTTSubscriber:
        options, inbox = self._options, self._inbox
        subscriber = MQTTSubscriber(
            options.broker, options.client_id, on_unhandled=inbox.put, full=lambda: inbox.full
        )
        prefix = settings.MQTT_TOPIC_PREFIX
        for kind in Kind:
            subscriber.register_handler(subscription(prefix, kind), inbox.put)
            subscriber.subscribe(subscription(prefix, kind, options.share_group))
        subscriber.register_handler(DROPPED_TOPIC, self._on_dropped)
        subscriber.subscribe(DROPPED_TOPIC, qos=0, required=False)
        return subscriber

    def _on_dropped(self, message: Message) -> None:
        """The broker says how many messages it has dropped since its start: losses that nobody else would notice."""
        dropped = int(message.payload)
        if self._broker_dropped is not None and dropped > self._broker_dropped:
            self._statistics.totals["broker_dropped"] += dropped - self._broker_dropped
            logger.warning(
                "the broker dropped %d messages: see max_queued_messages in its settings",
                dropped - self._broker_dropped,
            )
        self._broker_dropped = dropped

    # --- being watched --------------------------------------------------------------------------------------------------------

    def _watch(self) -> None:
        watch, statistics = self._metrics.watch, self._statistics
        watch(
            "tds_queue_messages",
            "Messages waiting here to be stored; more wait at the broker",
            lambda: len(self._inbox),
        )
        watch(
            "tds_queue_age_seconds",
            "Age of the oldest message waiting here",
            lambda: self._inbox.oldest_age(time.time()),
        )
        watch(
            "tds_broker_connected",
            "1 while every subscription is granted",
            lambda: float(self._subscriber.subscribed),
        )
        watch(
            "tds_broker_reconnects",
            "Connections to the broker that were lost",
            lambda: self._subscriber.reconnects,
        )
        watch(
            "tds_broker_dropped",
            "Messages the broker has dropped since this start",
            lambda: statistics.totals["broker_dropped"],
        )

    def _alive(self) -> None:
        """Called by the loops that must go on."""
        self._watchdog.turn(self._subscriber.subscribed, self._subscriber.last_iteration)

    # --- the loop -------------------------------------------------------------------------------------------------------------

    def _consume(self) -> None:
        """Prepare one batch while the one before is being stored: Python here, PostgreSQL there."""
        max_age = settings.TDS_BATCH_MAX_AGE_MS / 1000
        self._subscriber.start()
        with ThreadPoolExecutor(1, "writer") as writer:
            writing: Future[None] | None = None
            while not self._stop.is_set():
                self._alive()
                batch = self._inbox.take(settings.TDS_BATCH_MESSAGES, max_age, timeout=0.5)
                prepared = self._prepare(batch) if batch else None
                if writing is not None:
                    writing.result()
                writing = writer.submit(self._write, batch, prepared)
            if writing is not None:
                writing.result()

    def _prepare(self, batch: list[Message]) -> Prepared | None:
        """The batch's rows; None where that fails: the writer then does it all, and isolates or waits for what is at fault."""
        assert self._processor is not None
        try:
            if self._lookup is None or self._lookup.closed:
                self._lookup = session.connect(f"tds_new_consumer lookup {self._options.client_id}"[:63])
            return self._processor.prepare(batch, self._lookup)
        except Exception as error:
            logger.debug("a batch could not be prepared: %s", printable(str(error)))
            self._close_lookup()
            return None

    def _close_lookup(self) -> None:
        if self._lookup is not None:
            self._lookup.close()
            self._lookup = None

    def _write(self, batch: list[Message], prepared: Prepared | None) -> None:
        """Store and acknowledge a batch, then keep house; on the writer's thread."""
        if batch:
            self._store(batch, prepared)
        self._with_database(self._keep_house)

    def _store(self, batch: list[Message], prepared: Prepared | None) -> None:
        processor = self._processor
        assert processor is not None
        started = time.time()
        result = self._with_database(
            lambda: processor.store(prepared) if prepared else processor.process(batch)
        )
        committed, oldest = time.time(), batch[0].received_at.timestamp()
        self._subscriber.ack(batch)
        for answer in result.answers:
            self._subscriber.answer(answer.topic, json.dumps({"seq": answer.seq}).encode())
        self._statistics.record(result, oldest, committed)
        self._metrics.record(result, committed - started, oldest, committed)
        if logger.isEnabledFor(logging.DEBUG):
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

    def _keep_house(self) -> None:
        """Between batches: the line in the log, silent gateways, the status row, signs of life held back."""
        assert self._processor is not None
        self._report()
        now = time.monotonic()
        if not self._inbox:
            self._processor.flush_if_due()
        if now - self._sweep_at >= SWEEP_INTERVAL and self._has_listened():
            self._sweep_at = now
            silent = self._processor.mark_silent()
            if silent:
                logger.warning("%d gateways gave no sign of life and are offline now", silent)
        if now - self._status_at >= STATUS_INTERVAL:
            self._status_at = now
            self._write_status("connected" if self._subscriber.connected else "disconnected")

    def _has_listened(self) -> bool:
        """Whether silence means the gateways': subscribed for a while, and nothing waiting."""
        return self._subscriber.subscribed_for > SWEEP_GRACE and not self._inbox

    def _report(self) -> None:
        if self._statistics.due():
            broker = (
                "connected"
                if self._subscriber.subscribed
                else "NOT SUBSCRIBED"
                if self._subscriber.connected
                else "NOT CONNECTED"
            )
            logger.info(
                "%s", self._statistics.line(len(self._inbox), self._inbox.oldest_age(time.time()), broker)
            )
            dropped = self._inbox.dropped - self._dropped_reported
            if dropped > 0:
                logger.warning(
                    "%d messages with QoS 0 dropped: too many waited; publish telemetry with QoS 1", dropped
                )
            self._dropped_reported = self._inbox.dropped

    def _write_status(self, estado: str) -> None:
        assert self._connection is not None
        last = self._statistics.last_batch_at
        counters = {
            **self._statistics.counters(),
            "reconnects": self._subscriber.reconnects,
            "queue": len(self._inbox),
        }
        self._connection.execute(
            WRITE_STATUS,
            {
                "client_id": self._options.client_id,
                "host": socket.gethostname(),
                "pid": os.getpid(),
                "estado": estado,
                "since": self._since,
                "last_batch_at": datetime.fromtimestamp(last, UTC) if last else None,
                "counters": Jsonb(counters),
            },
        )

    # --- the database may be away ---------------------------------------------------------------------------------------------

    def _with_database(self, operation: Callable[[], T]) -> T:
        """Do ``operation``, again and again until the database takes it; nothing is acknowledged meanwhile.

        Raises StoppedError where the consumer is told to stop first, LockHeldError where another one has become active.
        """
        attempt = 0
        while True:
            try:
                if attempt:
                    self._recover()
                return operation()
            except (psycopg.Error, OSError, MemoryError) as error:
                attempt += 1
                self._after_failure(error, attempt)

    def _after_failure(self, error: BaseException, attempt: int) -> None:
        state = getattr(error, "sqlstate", None)
        delay = RETRY.delay_before(attempt)
        self._metrics.record_failure(state)
        logger.warning(
            "the database failed (%s): %s; try %d in %.1f s",
            state or "no answer",
            printable(str(error)),
            attempt + 1,
            delay,
        )
        if self._connection is not None and state not in KEEPS_SESSION:
            self._session.close()
        self._report()
        self._wait(delay)

    def _recover(self) -> None:
        if self._connection is not None and self._connection.closed:
            self._adopt(self._session.acquire())
            logger.info("the database is back")

    def _wait(self, seconds: float) -> None:
        self._alive()
        if self._stop.wait(seconds):
            raise StoppedError

    # --- the end --------------------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        notify("STOPPING=1")
        self._subscriber.pause()
        self._subscriber.disconnect()
        try:
            if self._connection is not None and not self._connection.closed:
                if self._processor is not None:
                    self._processor.flush()
                self._write_status("stopped")
        except psycopg.Error as error:
            logger.warning("the last status could not be written: %s", printable(str(error)))
        finally:
            self._session.close()
            self._close_lookup()
        if self._processor is not None:
            logger.info("stopped: %s", self._statistics.line(len(self._inbox), 0.0, "disconnected"))
