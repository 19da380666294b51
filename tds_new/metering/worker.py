"""The worker that follows ingestion and computes stale ranges by partition.

Several workers may run: each locks the partition that it works on (``FOR UPDATE SKIP LOCKED``). A range
leaves the queue in the transaction that writes its figures, so a worker that dies leaves nothing undone. A
device whose figures cannot be computed does not keep the others waiting.
"""

import itertools
import logging
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import psycopg
from psycopg import Connection, Cursor

from tds_new.backoff import Backoff
from tds_new.logs import printable
from tds_new.metering import ledger, queue
from tds_new.metering.inputs import Span
from tds_new.metering.store import Written, count_changed
from tds_new.metering.times import DAY_US, now_us
from tds_new.storage import session

logger = logging.getLogger(__name__)

PASS_S = 1.0  # seconds between two passes, so that a device's readings are computed together
REPORT_S = 10.0
RETRY = Backoff(first=0.5, longest=15.0, jitter=0.5)

# Every join is of few ranges with a large table, by its key. Hashing or materialising that table, which looks
# cheap to the planner before statistics are gathered, would read all of it. Late data may fall into
# compressed chunks. A long history of a device that sends often takes longer than the consumer's statement
# timeout.
SESSION = (
    "SET LOCAL enable_hashjoin = off",
    "SET LOCAL enable_mergejoin = off",
    "SET LOCAL enable_material = off",
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL statement_timeout = '10min'",
    "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0",
)

# A database that is away, read-only, or not as this code expects fails for every device alike. A statement
# that takes too long fails for one device.
NO_DEVICES_FAULT = (psycopg.OperationalError, psycopg.ProgrammingError, psycopg.errors.ReadOnlySqlTransaction)


class Processed(NamedTuple):
    """The outcome of one transaction on a partition's queue.

    ``late``: whether figures of more than a day ago were written; ``more``: whether ranges are left.
    """

    partition: int
    written: Written
    late: bool
    more: bool


def process_partition(
    connection: Connection[Any], excluded_partitions: Collection[int] = (), *, long_ranges: bool = False
) -> Processed | None:
    """Compute a share of one partition's queue in a transaction.

    None if every partition with pending work is locked or excluded. ``long_ranges``: a share of the ranges
    longer than a day; else of the others. A device whose computation fails is logged and deferred for some
    minutes, and the others are computed. Raises psycopg.Error if the database fails; then nothing has
    changed.
    """
    # Not connection.cursor(): Django's binds parameters on the client, and cannot receive binary rows.
    with connection.transaction(), Cursor(connection) as cursor:
        for statement in SESSION:
            cursor.execute(statement)
        partition = queue.claim(cursor, excluded_partitions, long_ranges=long_ranges)
        if partition is None:
            return None
        written = Written()
        rounds, more = queue.dequeue(cursor, partition, long_ranges=long_ranges)
        for number, spans in enumerate(rounds, 1):
            later: dict[int, list[Span]] = defaultdict(list)
            for span in itertools.chain.from_iterable(rounds[number:]):
                later[span.device_id].append(span)
            written.merge(_compute(cursor, partition, spans, later))
        count_changed(cursor, written.contas)
        queue.mark_processed(cursor, partition)
    since = now_us() - DAY_US
    late = written.rows > 0 and any(span.start < since for spans in rounds for span in spans)
    return Processed(partition, written, late, more)


def _compute(
    cursor: Cursor[Any], partition: int, spans: list[Span], later: Mapping[int, list[Span]]
) -> Written:
    """Compute the devices, halving them to find and defer one that fails.

    ``later``: the devices' other ranges that are computed after these.
    """
    try:
        with cursor.connection.transaction():
            written, left = ledger.compute(cursor, partition, spans, later)
    except Exception as error:
        if isinstance(error, NO_DEVICES_FAULT) and not isinstance(error, psycopg.errors.QueryCanceled):
            raise
        if len(spans) > 1:
            middle = len(spans) // 2
            written = _compute(cursor, partition, spans[:middle], later)
            written.merge(_compute(cursor, partition, spans[middle:], later))
            return written
        logger.exception(
            "consumption: device %d cannot be computed; trying again in %s", spans[0].device_id, queue.RETRY
        )
        queue.defer(cursor, partition, spans[0], printable(f"{type(error).__name__}: {error}"))
        return Written()
    for rest in left:
        queue.requeue(cursor, partition, rest)
    return written


def drain(connection: Connection[Any] | None = None) -> Written:
    """Compute everything that is queued and return what was written.

    On Django's connection unless another is given.
    """
    connection = connection or session.of_django()
    queue.ensure_partitions(connection)
    total = Written()
    while (
        processed := process_partition(connection) or process_partition(connection, long_ranges=True)
    ) is not None:
        total.merge(processed.written)
    return total


class Worker:
    """Computes what is queued until it is told to stop.

    It waits for a database that is away.

    ``on_late`` is called whenever figures of more than a day ago have changed.
    """

    def __init__(self, on_late: Callable[[], None] = lambda: None) -> None:
        self._on_late = on_late
        self._stop = threading.Event()
        self._connection: Connection[Any] | None = None
        self._since = time.monotonic()
        self._rows = self._transactions = 0

    def stop(self) -> None:
        """End :meth:`run` after its current transaction."""
        self._stop.set()

    def run(self) -> None:
        """Follow the queue: a pass over all partitions at most every second."""
        attempt = 0
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                more = self._pass()
                attempt = 0
            except psycopg.Error as error:
                attempt += 1
                self._disconnect()
                wait = RETRY.delay_before(attempt)
                logger.warning(
                    "consumption: the database failed (%s); trying again in %.1f s",
                    printable(str(error)),
                    wait,
                )
                self._stop.wait(wait)
                continue
            self._report()
            if not more:
                self._stop.wait(max(0.0, PASS_S - (time.monotonic() - started)))
        self._disconnect()

    def _pass(self) -> bool:
        """Compute a share of each partition's short ranges, and one of the long ranges.

        Return whether the next pass should begin at once.
        """
        if self._connection is None:
            self._connection = session.connect("tds_new_consumption")
            queue.ensure_partitions(self._connection)
        done: set[int] = set()
        more = False
        while (
            not self._stop.is_set() and (processed := process_partition(self._connection, done)) is not None
        ):
            done.add(processed.partition)
            more = more or processed.more
            self._count(processed)
        if (
            not self._stop.is_set()
            and (processed := process_partition(self._connection, long_ranges=True)) is not None
        ):
            more = True
            self._count(processed)
        return more

    def _count(self, processed: Processed) -> None:
        if processed.late:
            self._on_late()
        self._rows += processed.written.rows
        self._transactions += 1

    def _report(self) -> None:
        elapsed = time.monotonic() - self._since
        if elapsed < REPORT_S:
            return
        if self._transactions and self._connection is not None:
            waiting = queue.lag(self._connection)
            lag = "nothing waits" if waiting is None else f"the oldest stale range waits {waiting:.1f} s"
            logger.info(
                "consumption: %d block rows written in %d transactions in %.0f s; %s",
                self._rows,
                self._transactions,
                elapsed,
                lag,
            )
        self._since, self._rows, self._transactions = time.monotonic(), 0, 0

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
