"""The service that every message goes through: messages in, committed rows out.

When :meth:`TelemetryProcessor.process` returns, each message is stored or rejected, and committed. When it
raises, the outcome is open and the batch must be given again: storing twice changes nothing.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from decimal import Decimal
from functools import partial

import msgspec
import psycopg
from django.conf import settings
from psycopg import Connection

from tds_new.ingestion import presence, rejected, store
from tds_new.ingestion.message import Message
from tds_new.ingestion.preparation import Answer, Decisions, Prepared, Preparer, answer_refused, reject
from tds_new.ingestion.presence import Activity
from tds_new.ingestion.rate import NO_LIMITS, GatewayBudget, Limits
from tds_new.ingestion.refusal import MessageRefusedError, Reason, Refusals
from tds_new.ingestion.rejected import RejectedMessage, RejectedRow, rows_of
from tds_new.ingestion.resolver import Resolver
from tds_new.ingestion.topics import Kind
from tds_new.storage import session

logger = logging.getLogger(__name__)

# Seconds between two writes of signs of life, so that a burst of batches does not rewrite the same rows.
ACTIVITY_INTERVAL = 1.0

# SQLSTATEs that a message's content causes: NULL, foreign key and check violated. Classes: data exceptions,
# limits.
ROW_STATES = {"23502", "23503", "23514"}
ROW_STATE_CLASSES = {"22", "54"}


class BatchResult(msgspec.Struct):
    """The outcome of a committed batch.

    ``stored``, ``duplicates`` and ``conflicts`` count readings, ``kinds`` messages by kind; ``rejected``
    counts readings and messages by reason, ``refused`` has the refusals with their messages' positions in the
    batch; ``answers`` are to be published now.
    """

    messages: int = 0
    stored: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: Counter[str] = msgspec.field(default_factory=Counter)
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    refused: list[RejectedMessage] = []
    answers: list[Answer] = []

    @property
    def rejected_rows(self) -> list[RejectedRow]:
        """Each refusal with its message."""
        return rows_of(self.refused)

    def add(self, other: "BatchResult") -> None:
        """Add the figures of another batch."""
        self.messages += other.messages
        self.stored += other.stored
        self.duplicates += other.duplicates
        self.conflicts += other.conflicts
        self.rejected.update(other.rejected)
        self.kinds.update(other.kinds)
        self.refused += other.refused
        self.answers += other.answers


class TelemetryProcessor:
    """Parses, resolves and stores batches of messages on one database session."""

    def __init__(
        self,
        connection: Connection,
        *,
        record_rejected: bool = True,
        limits: Limits = NO_LIMITS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """Process on ``connection``, which must be in autocommit mode.

        The processor opens its own transactions. Without ``record_rejected``, refusals are reported but no
        row is written for them (re-processing). ``limits`` are those of each gateway; there are none unless
        they are given. ``clock`` returns seconds.
        """
        self._keep = settings.TDS_REJECTED_KEEP
        self._resolver = Resolver(settings.TDS_REGISTRY_MAX_AGE_S)
        self._preparer = Preparer(self._resolver, GatewayBudget(limits, clock))
        self._record_rejected = record_rejected
        self._clock = clock
        self._pending = Activity()
        self._in_doubt = False
        self._given: Sequence[Message] = ()
        self._decisions: Decisions = {}
        self._activity_written_at = -ACTIVITY_INTERVAL
        self.use(connection)

    def use(self, connection: Connection) -> None:
        """Continue on another session; the previous one is gone."""
        self._connection = connection
        store.prepare_session(connection)

    # --- the service ----------------------------------------------------------------------------------------

    def process(self, messages: Sequence[Message]) -> BatchResult:
        """Store a batch or reject what cannot be stored, and commit.

        Raises psycopg.Error if the database fails in a way that is not one row's fault: give the same batch
        again; the same sequence, so that no gateway is charged twice.
        """
        if messages is not self._given:
            self._given, self._decisions = messages, {}
        return self._complete(list(enumerate(messages)), self._decisions)

    def prepare(self, messages: Sequence[Message], lookup: Connection) -> Prepared:
        """Do the part of :meth:`process` that needs no transaction, on any thread.

        :meth:`store` does the rest. ``lookup`` is a session for reading. Raises psycopg.Error if
        registrations cannot be looked up.
        """
        return self._preparer.prepare(list(enumerate(messages)), lookup)

    def store(self, prepared: Prepared) -> BatchResult:
        """Do the rest of :meth:`process` after :meth:`prepare`."""
        return self._complete(prepared.batch, prepared.decisions, prepared)

    def flush(self) -> None:
        """Write the signs of life that were delayed for up to a second."""
        if self._pending:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                presence.record_activity(cursor, self._pending)
            self._activity_written()

    def flush_if_due(self) -> None:
        """Call :meth:`flush` at most once a second."""
        if self._clock() - self._activity_written_at >= ACTIVITY_INTERVAL:
            self.flush()

    def mark_silent(self) -> int:
        """Set silent gateways offline; return how many."""
        self.flush()
        with self._connection.transaction(), self._connection.cursor() as cursor:
            return len(presence.mark_silent(cursor))

    def _complete(
        self, batch: list[tuple[int, Message]], decisions: Decisions, prepared: Prepared | None = None
    ) -> BatchResult:
        """Process a batch, and remember if that fails.

        A connection lost during COMMIT leaves open whether the batch was stored.
        """
        try:
            result = self._process(batch, decisions, prepared)
        except Exception:
            self._in_doubt = True
            raise
        self._in_doubt = False
        self._given = ()
        return result

    # --- one batch ------------------------------------------------------------------------------------------

    def _process(
        self, batch: list[tuple[int, Message]], decisions: Decisions, prepared: Prepared | None = None
    ) -> BatchResult:
        """Store a batch.

        Stale registrations are looked up again; a message at fault is isolated.
        """
        try:
            return self._store(prepared or self._prepare(batch, decisions))
        except (store.StaleRegistryError, psycopg.errors.ForeignKeyViolation):
            self._resolver.forget()
        except Exception as error:
            if not _is_one_rows_fault(error):
                raise
            return self._isolate(batch, decisions, error)
        try:
            return self._store(self._prepare(batch, decisions))
        except Exception as error:
            if not isinstance(error, store.StaleRegistryError) and not _is_one_rows_fault(error):
                raise
            return self._isolate(batch, decisions, error)

    def _prepare(
        self, batch: list[tuple[int, Message]], decisions: Decisions, *, with_payload: bool = True
    ) -> Prepared:
        return self._preparer.prepare(batch, self._connection, with_payload=with_payload, decisions=decisions)

    def _isolate(
        self, batch: list[tuple[int, Message]], decisions: Decisions, error: Exception
    ) -> BatchResult:
        """Halve the batch until the message at fault is alone.

        That message is stored without its raw payload, or rejected, and its gateway is charged: many such
        messages would cost the others much.
        """
        if len(batch) > 1:
            middle = len(batch) // 2
            result = self._process(batch[:middle], decisions)
            result.add(self._process(batch[middle:], decisions))
            return result
        number, message = batch[0]
        self._preparer.charge_fault(message, self._connection)
        try:
            return self._store(self._prepare(batch, decisions, with_payload=False))
        except Exception as last:
            if not isinstance(last, store.StaleRegistryError) and not _is_one_rows_fault(last):
                raise
            logger.warning(
                "message rejected: the database or this program cannot take it: %s", last, exc_info=error
            )
            prepared = Prepared(batch)
            refused = MessageRefusedError(Reason.ESQUEMA_INVALIDO, f"cannot be stored: {last}"[:500])
            reject(prepared, number, message, [refused.refusal], None)
            if message.topic.endswith(f"/{Kind.TELEMETRY}"):
                answer_refused(prepared, message, refused, None)
            return self._store(prepared)

    def _store(self, prepared: Prepared) -> BatchResult:
        """Write a prepared batch in one transaction."""
        prepared.activity.add_older(self._pending)
        activity_due = self._clock() - self._activity_written_at >= ACTIVITY_INTERVAL
        with self._connection.transaction(), self._connection.cursor() as cursor:
            stored = store.insert_readings(cursor, prepared.readings, prepared.rows)
            conflicts = _conflicts(prepared.batch, stored)
            if conflicts:
                self._preparer.charge_conflicts(conflicts)
            refused = prepared.rejected + conflicts
            if self._record_rejected:
                rejected.insert_rejected(cursor, refused, self._keep, self._redelivered(prepared))
            if activity_due:
                presence.record_activity(cursor, prepared.activity)
        if activity_due:
            self._activity_written()
        else:
            self._pending = prepared.activity
        return BatchResult(
            messages=len(prepared.batch),
            stored=stored.inserted,
            duplicates=stored.duplicates,
            conflicts=len(stored.conflicts),
            rejected=Counter(refusal.reason.value for one in refused for refusal in one.refusals),
            kinds=prepared.kinds,
            refused=refused,
            answers=prepared.answers,
        )

    def _redelivered(self, prepared: Prepared) -> set[int]:
        """Return the numbers of the messages that may have been rejected before.

        The broker delivers a retained message again with every subscription.
        """
        return {number for number, m in prepared.batch if m.redelivered or m.retain or self._in_doubt}

    def _activity_written(self) -> None:
        self._pending = Activity()
        self._activity_written_at = self._clock()


def _conflicts(batch: list[tuple[int, Message]], stored: store.Stored) -> list[RejectedMessage]:
    """Return the refusals of readings that contradict a stored one, by their messages."""
    if not stored.conflicts:
        return []
    by_message: dict[int, list[tuple[store.StagedReading, Decimal]]] = {}
    for conflict in stored.conflicts:
        by_message.setdefault(conflict[0].message, []).append(conflict)
    messages = dict(batch)
    return [_conflicts_of(number, messages[number], conflicts) for number, conflicts in by_message.items()]


def _conflicts_of(
    number: int, message: Message, conflicts: list[tuple[store.StagedReading, Decimal]]
) -> RejectedMessage:
    """Return the refusals of one message's readings that contradict a stored one."""
    refusals = Refusals()
    for reading, valor in conflicts:
        refusals.add(Reason.CONFLITO, partial(_conflict, reading, valor), reading.index)
    first = conflicts[0][0]
    return RejectedMessage(
        number,
        message.received_at,
        message.topic,
        message.payload,
        refusals.all,
        first.gateway_id,
        first.conta_id,
    )


def _conflict(reading: store.StagedReading, valor: Decimal) -> str:
    """Describe a reading of which another value is stored."""
    return f"{reading.time.isoformat()}: {reading.valor} received, {valor} stored"


def _is_one_rows_fault(error: Exception) -> bool:
    """Whether a message's content caused ``error``, not the database's state.

    The SQLSTATE decides: data exceptions, a NULL or a check violated, a foreign key (after one more look-up),
    limits. A value that cannot be encoded and a fault of this program count too: they do not pass by waiting.
    Every other error is retried.
    """
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        if state is None:
            return isinstance(error, psycopg.DataError)
        return state[:2] in ROW_STATE_CLASSES or state in ROW_STATES
    return not isinstance(error, (MemoryError, OSError))


@contextmanager
def open_processor(*, record_rejected: bool = True) -> Iterator[TelemetryProcessor]:
    """Open a processor with a session of its own, for callers other than the consumer."""
    with session.connect("tds_new_processor") as connection:
        processor = TelemetryProcessor(connection, record_rejected=record_rejected)
        yield processor
        processor.flush()
