"""The consumer's figures for Prometheus."""

import time
from collections.abc import Callable

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server

from tds_new.ingestion.inbox import Inbox
from tds_new.ingestion.statistics import Statistics
from tds_new.ingestion.telemetry_processor import BatchResult
from tds_new.ingestion.transport import MQTTSubscriber

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60, 300, 900)
SIZES = (1, 2, 5, 10, 25, 50, 100, 250, 500, 1_000, 2_500, 5_000)


class Metrics:
    """The figures of one consumer process.

    Their names begin with ``tds_`` and name their unit.
    """

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        registry = registry or CollectorRegistry()
        self.registry = registry
        self._messages = Counter("tds_messages", "Messages committed, by kind", ["kind"], registry=registry)
        self._readings = Counter(
            "tds_readings", "Readings by outcome: stored, duplicate, conflict", ["outcome"], registry=registry
        )
        self._rejected = Counter(
            "tds_rejected", "Messages and readings rejected, by reason", ["reason"], registry=registry
        )
        self._batches = Counter("tds_batches", "Batches committed", registry=registry)
        self._batch_size = Histogram(
            "tds_batch_messages", "Messages in a batch", buckets=SIZES, registry=registry
        )
        self._batch_seconds = Histogram(
            "tds_batch_seconds", "Time to store a batch, retries included", buckets=SECONDS, registry=registry
        )
        self._delay = Histogram(
            "tds_commit_delay_seconds",
            "Arrival to commit of a batch's oldest message",
            buckets=SECONDS,
            registry=registry,
        )
        self._failures = Counter(
            "tds_database_failures",
            "Failed tries on the database, by SQLSTATE",
            ["sqlstate"],
            registry=registry,
        )
        self._last_commit = Gauge(
            "tds_last_commit_timestamp_seconds", "When a batch was last committed", registry=registry
        )

    def watch(
        self,
        inbox: Callable[[], Inbox],
        subscriber: Callable[[], MQTTSubscriber],
        statistics: Statistics,
    ) -> None:
        """Register the gauges, which are asked for their present values.

        ``inbox`` and ``subscriber`` return the present ones.
        """
        self._show(
            "tds_queue_messages",
            "Messages waiting here to be stored; more wait at the broker",
            lambda: len(inbox()),
        )
        self._show(
            "tds_queue_age_seconds",
            "Age of the oldest message waiting here",
            lambda: inbox().oldest_age(time.time()),
        )
        self._show(
            "tds_broker_connected",
            "1 while every subscription is granted",
            lambda: float(subscriber().subscribed),
        )
        self._show(
            "tds_broker_reconnects",
            "Connections to the broker that were lost",
            lambda: subscriber().reconnects,
        )
        self._show(
            "tds_broker_dropped",
            "Messages the broker has dropped since this start",
            lambda: statistics.totals["broker_dropped"],
        )
        self._show(
            "tds_answers_withheld",
            "Answers not published, because the broker stores many that gateways do not take",
            lambda: statistics.totals["answers_withheld"],
        )

    def _show(self, name: str, description: str, value: Callable[[], float]) -> None:
        """Show a figure that ``value`` returns whenever Prometheus asks."""
        Gauge(name, description, registry=self.registry).set_function(value)

    def record(self, result: BatchResult, seconds: float, oldest: float, committed: float) -> None:
        """Count a committed batch.

        ``seconds`` is how long storing it took; ``oldest`` is when its oldest message arrived, ``committed``
        when it was committed (POSIX times).
        """
        for kind, count in result.kinds.items():
            self._messages.labels(kind).inc(count)
        for outcome, count in (
            ("stored", result.stored),
            ("duplicate", result.duplicates),
            ("conflict", result.conflicts),
        ):
            self._readings.labels(outcome).inc(count)
        for reason, count in result.rejected.items():
            self._rejected.labels(reason).inc(count)
        self._batches.inc()
        self._batch_size.observe(result.messages)
        self._batch_seconds.observe(seconds)
        self._delay.observe(max(0.0, committed - oldest))
        self._last_commit.set(committed)

    def record_failure(self, sqlstate: str | None) -> None:
        """Count a failed try on the database.

        ``sqlstate`` is None if the database did not answer.
        """
        self._failures.labels(sqlstate or "none").inc()

    def serve(self, address: str, port: int) -> None:
        """Answer Prometheus on ``http://address:port/metrics``.

        Raises OSError if the port is taken.
        """
        start_http_server(port, address, self.registry)
