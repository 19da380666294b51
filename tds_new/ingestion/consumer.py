"""The consumer: receive a batch of messages, process it, acknowledge it."""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import psycopg
from django.conf import settings
from psycopg import Connection

from tds_new.ingestion import presence
from tds_new.ingestion.answers import AnswerCredit
from tds_new.ingestion.inbox import Inbox
from tds_new.ingestion.leadership import LeaderSession, LockHeldError
from tds_new.ingestion.message import Message
from tds_new.ingestion.metrics import Metrics
from tds_new.ingestion.preparation import Prepared
from tds_new.ingestion.rate import Limits
from tds_new.ingestion.retry import DatabaseRetry, StoppedError
from tds_new.ingestion.statistics import Statistics
from tds_new.ingestion.status import StatusReporter, log_outcomes
from tds_new.ingestion.supervision import Watchdog, notify
from tds_new.ingestion.telemetry_processor import BatchResult, TelemetryProcessor
from tds_new.ingestion.topics import Kind, is_guessable, subscription
from tds_new.ingestion.transport import BrokerConfig, MQTTSubscriber
from tds_new.logs import printable
from tds_new.storage import session

logger = logging.getLogger(__name__)

SWEEP_INTERVAL = 10.0  # seconds between two searches for silent gateways
SWEEP_GRACE = 15.0  # seconds after a start or a reconnect in which silence does not count yet
STANDBY_INTERVAL = 1.0  # seconds between two tries of a standby to become active
TAKE_TIMEOUT = 0.5  # seconds between two iterations in which no message comes
DROPPED_TOPIC = "$SYS/broker/publish/messages/dropped"
STORED_TOPIC = "$SYS/broker/store/messages/count"
RETAINED_TOPIC = "$SYS/broker/retained messages/count"
UPTIME_TOPIC = "$SYS/broker/uptime"  # the first figure of each report, and always another one


@dataclass(frozen=True, slots=True)
class ConsumerOptions:
    """The options of a consumer.

    ``share_group`` names a group of consumers that share the messages; a ``standby`` waits while another
    consumer of the same ``client_id`` is active.
    """

    broker: BrokerConfig
    client_id: str
    share_group: str = ""
    standby: bool = False


class Consumer:
    """Receives messages in batches, stores them, and acknowledges what is committed."""

    def __init__(self, options: ConsumerOptions) -> None:
        self._options = options
        self._stop = threading.Event()
        self._inbox = Inbox()
        self._subscriber = self._make_subscriber()
        self._session = LeaderSession(options.client_id)
        self._lookup: Connection[Any] | None = None
        self._retry = DatabaseRetry(self._session, self._stop, self._recover, self._database_failed)
        self._processor: TelemetryProcessor | None = None
        self._statistics = Statistics()
        self._answers = AnswerCredit()
        self._taken = self._acknowledged = 0  # messages; each written by one thread only
        self._status = StatusReporter(options.client_id, self._statistics)
        self._metrics = Metrics()
        self._watchdog = Watchdog()
        self._swept_at = 0.0
        self._metrics.watch(lambda: self._inbox, lambda: self._subscriber, self._statistics)

    def stop(self) -> None:
        """End :meth:`run` after the present batch is committed and acknowledged.

        To be called on another thread, not in a signal handler.
        """
        self._stop.set()
        self._inbox.wake()

    def run(self) -> int:
        """Consume until :meth:`stop`.

        Return the exit status: 0, or 1 if another consumer of the same client id is active.
        """
        if self._options.share_group and is_guessable(self._options.share_group):
            logger.warning(
                "the share group's name can be guessed: whoever subscribes to it is dealt a part of all "
                "messages where the broker does not refuse that; use the name that provision_broker makes "
                "(MQTT_SHARE_GROUP_FILE)"
            )
        if settings.TDS_METRICS_PORT:
            self._metrics.serve(settings.TDS_METRICS_ADDRESS, settings.TDS_METRICS_PORT)
        try:
            while not self._stop.is_set():
                try:
                    self._become_active()
                    self._consume()
                except LockHeldError as error:
                    self._step_down()
                    if not self._options.standby:
                        logger.error(
                            "another consumer with client id %s is active (%s); "
                            "stop it, use --client-id, or wait with --standby",
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

    # --- the loop -------------------------------------------------------------------------------------------

    def _consume(self) -> None:
        """Receive and prepare one batch while the previous one is stored.

        Parsing takes Python's time and storing PostgreSQL's, so the two overlap.
        """
        max_age = settings.TDS_BATCH_MAX_AGE_MS / 1000
        self._subscriber.start()
        with ThreadPoolExecutor(1, "writer") as writer:
            writing: Future[None] | None = None
            while not self._stop.is_set():
                self._report_progress()
                batch = self._inbox.take(settings.TDS_BATCH_MESSAGES, max_age, TAKE_TIMEOUT)
                self._taken += len(batch)
                prepared = self._prepare(batch) if batch else None
                if writing is not None:
                    writing.result()
                writing = writer.submit(self._write, batch, prepared)
            if writing is not None:
                writing.result()

    def _prepare(self, batch: list[Message]) -> Prepared | None:
        """Parse and resolve a batch.

        Return None if that fails: the writer then processes the batch itself, and isolates a bad message or
        waits for the database.
        """
        assert self._processor is not None
        try:
            if self._lookup is None or self._lookup.closed:
                self._lookup = session.connect(f"tds_new_consumer lookup {self._options.client_id}"[:63])
            return self._processor.prepare(batch, self._lookup)
        except Exception as error:
            logger.debug("a batch could not be prepared: %s", printable(str(error)))
            self._close_lookup()
            return None

    def _write(self, batch: list[Message], prepared: Prepared | None) -> None:
        """Process and acknowledge a batch, then do what is due; on the writer's thread."""
        if batch:
            started = time.time()
            result = self._process(batch, prepared)
            committed = time.time()
            self._acknowledge(batch, result)
            oldest = batch[0].received_at.timestamp()
            self._statistics.record(result, oldest, committed)
            self._metrics.record(result, committed - started, oldest, committed)
        self._retry.run(self._between_batches)

    def _process(self, batch: list[Message], prepared: Prepared | None) -> BatchResult:
        """Store a batch and return once it is committed."""
        processor = self._processor
        assert processor is not None
        return self._retry.run(lambda: processor.store(prepared) if prepared else processor.process(batch))

    def _acknowledge(self, batch: list[Message], result: BatchResult) -> None:
        """Acknowledge a committed batch to the broker.

        Gateways that number their messages get an answer of their own.
        """
        self._subscriber.ack(batch)
        self._acknowledged += len(batch)
        for answer in result.answers:
            if self._answers.allows(answer.gateway_id):
                self._subscriber.answer(answer.topic, answer.payload)
        if logger.isEnabledFor(logging.DEBUG):
            log_outcomes(batch, result)

    def _between_batches(self) -> None:
        """Do what is due between batches.

        These are the line of figures in the log, delayed signs of life, silent gateways and the status row.
        """
        assert self._processor is not None
        self._status.log_if_due(self._inbox, self._subscriber)
        self._answers.evaluate_if_due()
        self._statistics.record_withheld(self._answers.withheld, self._answers.stored)
        if not self._inbox:
            self._processor.flush_if_due()
        now = time.monotonic()
        if now - self._swept_at >= SWEEP_INTERVAL and self._has_listened():
            self._swept_at = now
            silent = self._processor.mark_silent()
            if silent:
                logger.warning("%d gateways gave no sign of life and are offline now", silent)
        self._status.write_if_due(self._session.connection, self._inbox, self._subscriber)

    def _report_progress(self) -> None:
        """Tell the supervisor of this process that its loops go on."""
        self._watchdog.report_progress(self._subscriber.subscribed, self._subscriber.last_iteration)

    def _has_listened(self) -> bool:
        """Whether every sign of life was heard: subscribed for a while, nothing waits."""
        return self._subscriber.subscribed_for > SWEEP_GRACE and not self._inbox

    # --- being the active consumer of a client id -----------------------------------------------------------

    def _become_active(self) -> None:
        """Wait for the database and, as a standby, for the lock.

        Raises LockHeldError if another consumer holds the lock and this one is no standby.
        """
        announced = False
        while True:
            try:
                self._retry.run(self._take_over)
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
                self._report_progress()
                self._retry.wait(STANDBY_INTERVAL)
        logger.info("active consumer for client id %s", self._options.client_id)
        self._status.consumer_became_active()

    def _take_over(self) -> None:
        self._use_session()
        presence.mark_all_changed(self._session.connection)

    def _use_session(self) -> None:
        """Open the session, take the lock, and have the processor use the session."""
        connection = self._session.acquire()
        if self._processor is None:
            self._processor = TelemetryProcessor(connection, limits=_limits())
        else:
            self._processor.use(connection)

    def _step_down(self) -> None:
        """Leave the broker to the consumer that holds the lock.

        That consumer gets what is not acknowledged.
        """
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
        reports: dict[str, Callable[[Message], None]] = {
            DROPPED_TOPIC: lambda message: self._statistics.record_broker_dropped(int(message.payload)),
            UPTIME_TOPIC: lambda _: self._answers.record_report(),
            STORED_TOPIC: lambda message: self._answers.record_stored(
                int(message.payload), len(inbox) + self._taken - self._acknowledged
            ),
            RETAINED_TOPIC: lambda message: self._answers.record_retained(int(message.payload)),
        }
        for topic, handler in reports.items():
            subscriber.register_handler(topic, handler)
            subscriber.subscribe(topic, qos=0, required=False)
        return subscriber

    # --- the database may be away ---------------------------------------------------------------------------

    def _recover(self) -> None:
        """Open the session again if it was in use and is closed."""
        if self._processor is not None and not self._session.holds_lock:
            self._use_session()
            logger.info("the database is back")

    def _database_failed(self, sqlstate: str | None) -> None:
        self._metrics.record_failure(sqlstate)
        self._status.log_if_due(self._inbox, self._subscriber)
        self._report_progress()

    def _close_lookup(self) -> None:
        if self._lookup is not None:
            self._lookup.close()
            self._lookup = None

    # --- the end --------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        """Send the last acknowledgements, disconnect, and write the last status."""
        notify("STOPPING=1")
        self._subscriber.pause()
        self._subscriber.disconnect()
        try:
            if self._processor is not None and self._session.holds_lock:
                self._processor.flush()
                self._status.write_end(self._session.connection, self._inbox, self._subscriber)
        except psycopg.Error as error:
            logger.warning("the last status could not be written: %s", printable(str(error)))
        finally:
            self._session.close()
            self._close_lookup()
        if self._processor is not None:
            self._status.log_end(self._inbox)


def _limits() -> Limits:
    """What each gateway may use, by the settings."""
    return Limits(
        messages=settings.TDS_GATEWAY_RATE,
        readings=settings.TDS_GATEWAY_READINGS,
        bytes=settings.TDS_GATEWAY_BYTES,
        refusals=settings.TDS_GATEWAY_REFUSALS,
        seconds=settings.TDS_GATEWAY_CPU_MS / 1000,
    )
