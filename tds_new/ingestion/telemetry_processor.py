"""The service that every message enters through, whoever calls it: a batch of messages in, what may be acknowledged out.

When :meth:`TelemetryProcessor.process` returns, each message is stored or set aside, and committed. When it raises, nothing is
certain and the batch must be given again: storing twice changes nothing.
"""

import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import NamedTuple

import msgspec
import psycopg
from django.conf import settings
from psycopg import Connection

from tds_new.ingestion import database, store
from tds_new.ingestion.message import Message
from tds_new.ingestion.payload import Reading, Telemetry, check_gateway_mac, clean_text, decode_text, parse_object, parse_telemetry
from tds_new.ingestion.rejection import MessageRefusedError, Reason, Refusal
from tds_new.ingestion.resolver import KnownGateway, Resolver
from tds_new.ingestion.store import Activity, RejectedRow, Sighting, StagedReading
from tds_new.ingestion.topics import Address, Kind, acknowledgement_topic, parse_topic

logger = logging.getLogger(__name__)

ACTIVITY_INTERVAL = 1.0  # seconds between two writes of signs of life, so that a burst does not rewrite the same rows


class Answer(NamedTuple):
    """An application acknowledgement: ``{"seq": seq}`` for the gateway that sent ``topic``."""

    topic: str
    seq: int


class BatchResult(msgspec.Struct):
    """What came of a batch, committed.

    ``stored``, ``duplicates`` and ``conflicts`` count readings; ``rejected`` counts readings and messages by reason;
    ``set_aside`` has each refusal with its message's position in the batch; ``answers`` are to be published now.
    """

    messages: int = 0
    stored: int = 0
    duplicates: int = 0
    conflicts: int = 0
    rejected: Counter[str] = msgspec.field(default_factory=Counter)
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    set_aside: list[RejectedRow] = []
    answers: list[Answer] = []

    def add(self, other: "BatchResult") -> None:
        """Add the figures of another batch."""
        self.messages += other.messages
        self.stored += other.stored
        self.duplicates += other.duplicates
        self.conflicts += other.conflicts
        self.rejected.update(other.rejected)
        self.kinds.update(other.kinds)
        self.set_aside += other.set_aside
        self.answers += other.answers


class _Prepared(msgspec.Struct):
    """A batch between parsing and storing; message numbers are positions in the caller's batch."""

    readings: list[StagedReading] = []
    payloads: dict[int, str] = {}
    rejected: list[RejectedRow] = []
    activity: Activity = msgspec.field(default_factory=Activity)
    answers: list[Answer] = []
    kinds: Counter[str] = msgspec.field(default_factory=Counter)


class TelemetryProcessor:
    """Parses, resolves and stores batches of messages on one database session."""

    def __init__(self, connection: Connection, *, record_rejected: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """``connection`` must be in autocommit mode; the processor opens its own transactions.

        ``record_rejected`` False only reports refusals (re-processing), it writes no row for them.
        """
        self._prefix = settings.MQTT_TOPIC_PREFIX
        self._future = timedelta(seconds=settings.TDS_FUTURE_TOLERANCE_S)
        self._keep = settings.TDS_REJECTED_KEEP
        self._with_payload = settings.TDS_STORE_PAYLOAD_RAW
        self._resolver = Resolver(settings.TDS_REGISTRY_MAX_AGE_S)
        self._record_rejected = record_rejected
        self._clock = clock
        self._pending = Activity()
        self._written_at = -ACTIVITY_INTERVAL
        self._topics: dict[str, Address | None] = {}
        self.use(connection)

    def use(self, connection: Connection) -> None:
        """Go on with another session: the one before is gone."""
        self._connection = connection
        store.prepare_session(connection)

    # --- the service ----------------------------------------------------------------------------------------------------------

    def process(self, messages: Sequence[Message]) -> BatchResult:
        """Store a batch, or set aside what cannot be stored; committed when this returns.

        Raises psycopg.Error where the database failed in a way that is not one row's fault: give the same batch again later.
        """
        return self._process(list(enumerate(messages)))

    def flush(self) -> None:
        """Write signs of life that were held back for up to a second."""
        if self._pending:
            with self._connection.transaction(), self._connection.cursor() as cursor:
                store.record_activity(cursor, self._pending)
            self._written()

    def flush_if_due(self) -> None:
        """:meth:`flush`, at most once a second."""
        if self._clock() - self._written_at >= ACTIVITY_INTERVAL:
            self.flush()

    def mark_silent(self) -> int:
        """Set silent gateways offline; return how many."""
        self.flush()
        with self._connection.transaction(), self._connection.cursor() as cursor:
            return len(store.mark_silent(cursor))

    # --- one batch ------------------------------------------------------------------------------------------------------------

    def _process(self, batch: list[tuple[int, Message]]) -> BatchResult:
        try:
            return self._attempt(batch)
        except (store.StaleRegistryError, psycopg.errors.ForeignKeyViolation):
            self._resolver.forget()
        except Exception as error:
            if not _is_one_rows_fault(error):
                raise
            return self._isolate(batch, error)
        try:
            return self._attempt(batch)
        except Exception as error:
            if not isinstance(error, store.StaleRegistryError) and not _is_one_rows_fault(error):
                raise
            return self._isolate(batch, error)

    def _attempt(self, batch: list[tuple[int, Message]], with_payload: bool = True) -> BatchResult:
        prepared = self._prepare(batch)
        if not (with_payload and self._with_payload):
            prepared.payloads = {}
        return self._store(batch, prepared)

    def _isolate(self, batch: list[tuple[int, Message]], error: Exception) -> BatchResult:
        """Halve the batch until the message at fault stands alone; store it without its raw payload, or set it aside."""
        if len(batch) > 1:
            middle = len(batch) // 2
            result = self._process(batch[:middle])
            result.add(self._process(batch[middle:]))
            return result
        number, message = batch[0]
        try:
            return self._attempt(batch, with_payload=False)
        except Exception as last:
            if not isinstance(last, store.StaleRegistryError) and not _is_one_rows_fault(last):
                raise
            logger.warning("message set aside: the database or this program cannot take it: %s", last, exc_info=error)
            prepared = _Prepared()
            self._reject(prepared, number, message, Refusal(Reason.ESQUEMA_INVALIDO, f"cannot be stored: {last}"[:500]), None)
            return self._store(batch, prepared)

    def _store(self, batch: list[tuple[int, Message]], prepared: _Prepared) -> BatchResult:
        _merge(prepared.activity, self._pending)
        due = self._clock() - self._written_at >= ACTIVITY_INTERVAL
        with self._connection.transaction(), self._connection.cursor() as cursor:
            stored = store.insert_readings(cursor, prepared.readings, prepared.payloads)
            messages = dict(batch)
            for reading, valor in stored.conflicts:
                detail = f"{reading.time.isoformat()}: {reading.valor} received, {valor} stored"
                self._reject_reading(prepared, reading, messages[reading.message], detail)
            if self._record_rejected:
                redelivered = {number for number, message in batch if message.redelivered}
                store.insert_rejected(cursor, prepared.rejected, self._keep, redelivered)
            if due:
                store.record_activity(cursor, prepared.activity)
        if due:
            self._written()
        else:
            self._pending = prepared.activity
        return BatchResult(
            messages=len(batch),
            stored=stored.inserted,
            duplicates=stored.duplicates,
            conflicts=len(stored.conflicts),
            rejected=Counter(row.refusal.reason.value for row in prepared.rejected),
            kinds=prepared.kinds,
            set_aside=prepared.rejected,
            answers=prepared.answers,
        )

    def _written(self) -> None:
        self._pending = Activity()
        self._written_at = self._clock()

    # --- from messages to rows ------------------------------------------------------------------------------------------------

    def _prepare(self, batch: list[tuple[int, Message]]) -> _Prepared:
        prepared = _Prepared()
        addresses = [self._address(message.topic) for _, message in batch]
        gateways = self._resolver.resolve(self._connection, {address.identifier for address in addresses if address})
        for (number, message), address in zip(batch, addresses, strict=True):
            gateway = gateways.get(address.identifier) if address else None
            try:
                if address is None:
                    raise MessageRefusedError(Reason.TOPICO_INVALIDO, f"expected {self._prefix}/<id>/telemetry, heartbeat or status")
                if gateway is None:
                    raise MessageRefusedError(Reason.GATEWAY_DESCONHECIDO, f"{address.identifier} is not registered")
                if not gateway.is_active:
                    raise MessageRefusedError(Reason.GATEWAY_INATIVO, f"{gateway.mac} or its conta is not active")
                prepared.kinds[address.kind] += 1
                if address.kind is Kind.TELEMETRY:
                    self._prepare_telemetry(prepared, number, message, gateway)
                elif address.kind is Kind.HEARTBEAT:
                    _see(prepared, message, gateway, firmware=_firmware(message.payload))
                else:
                    _prepare_status(prepared, message, gateway)
            except MessageRefusedError as error:
                self._reject(prepared, number, message, error.refusal, gateway)
        return prepared

    def _address(self, topic: str) -> Address | None:
        try:
            return self._topics[topic]
        except KeyError:
            if len(self._topics) > 100_000:
                self._topics.clear()
            address = self._topics[topic] = parse_topic(topic, self._prefix)
            return address

    def _prepare_telemetry(self, prepared: _Prepared, number: int, message: Message, gateway: KnownGateway) -> None:
        telemetry = parse_telemetry(message.payload)
        check_gateway_mac(telemetry.gateway_mac, gateway.mac)
        refusals = list(telemetry.refusals)
        latest = message.received_at + self._future
        devices, contas = prepared.activity.devices, prepared.activity.contas
        for reading in telemetry.readings:
            refusal = _refusal_of(reading, gateway, latest)
            if refusal is not None:
                refusals.append(refusal)
                continue
            device_id, moment = gateway.devices[reading.codigo].id, reading.time
            prepared.readings.append(StagedReading(number, reading.index, moment, gateway.id, gateway.conta_id, device_id, reading.valor))
            if device_id not in devices or devices[device_id] < moment:
                devices[device_id] = moment
            if gateway.conta_id not in contas or contas[gateway.conta_id] < moment:
                contas[gateway.conta_id] = moment
        if len(refusals) < len(telemetry.readings) + len(telemetry.refusals):
            prepared.payloads[number] = telemetry.text
        for refusal in refusals:
            self._reject(prepared, number, message, refusal, gateway)
        _see(prepared, message, gateway)
        _answer(prepared, message, telemetry)

    def _reject_reading(self, prepared: _Prepared, reading: StagedReading, message: Message, detail: str) -> None:
        refusal = Refusal(Reason.CONFLITO, detail, reading.index)
        prepared.rejected.append(
            RejectedRow(reading.message, message.received_at, message.topic, message.payload, refusal, reading.gateway_id, reading.conta_id)
        )

    def _reject(self, prepared: _Prepared, number: int, message: Message, refusal: Refusal, gateway: KnownGateway | None) -> None:
        prepared.rejected.append(
            RejectedRow(
                number,
                message.received_at,
                message.topic,
                message.payload,
                refusal,
                gateway.id if gateway else None,
                gateway.conta_id if gateway else None,
            )
        )


def _refusal_of(reading: Reading, gateway: KnownGateway, latest: datetime) -> Refusal | None:
    """Why this gateway's reading cannot be stored; None where it can."""
    device = gateway.devices.get(reading.codigo)
    if device is None:
        detail = f"{gateway.mac} has no device {reading.codigo[:60]!r}"
        return Refusal(Reason.DISPOSITIVO_DESCONHECIDO, detail, reading.index)
    if not device.is_active:
        return Refusal(Reason.DISPOSITIVO_INATIVO, f"device {device.codigo} is inactive", reading.index)
    if not device.accepts_unit(reading.unidade):
        detail = f"unidade {(reading.unidade or '')[:60]!r}; device {device.codigo} measures {device.unidade}"
        return Refusal(Reason.UNIDADE_INVALIDA, detail, reading.index)
    if reading.time > latest:
        return Refusal(Reason.TIMESTAMP_FUTURO, f"{reading.time.isoformat()} is ahead of the server's clock", reading.index)
    if reading.time < gateway.accepts_since:
        detail = f"{reading.time.isoformat()} is before {gateway.accepts_since.isoformat()}, the first time accepted"
        return Refusal(Reason.TIMESTAMP_ANTIGO, detail, reading.index)
    return None


def _prepare_status(prepared: _Prepared, message: Message, gateway: KnownGateway) -> None:
    """Note what a gateway, or its last will, says of it. A retained message is no news: it may be older than what is known."""
    status = decode_text(message.payload).strip().lower()
    if status == "offline":
        if message.retain:
            return
        prepared.activity.gateways[gateway.id] = Sighting(gateway.conta_id, None, online=False)
    elif status == "online":
        _see(prepared, message, gateway)
    else:
        raise MessageRefusedError(Reason.ESQUEMA_INVALIDO, f"status {status[:60]!r} is neither online nor offline")


def _see(prepared: _Prepared, message: Message, gateway: KnownGateway, firmware: str | None = None) -> None:
    """Note a sign of life. A retained message is none: the broker repeats it whenever somebody subscribes."""
    if message.retain:
        return
    before = prepared.activity.gateways.get(gateway.id)
    prepared.activity.gateways[gateway.id] = Sighting(
        gateway.conta_id, message.received_at, online=True, firmware=firmware or (before.firmware if before else None)
    )


def _firmware(payload: bytes) -> str | None:
    version = parse_object(payload).get("firmware_version")
    return clean_text(version[:50])[:50] if type(version) is str else None


def _answer(prepared: _Prepared, message: Message, telemetry: Telemetry) -> None:
    if telemetry.seq is not None:
        prepared.answers.append(Answer(acknowledgement_topic(message.topic), telemetry.seq))


def _merge(newer: Activity, older: Activity) -> None:
    """Complete ``newer`` by what ``older`` had held back."""
    for gateway_id, sighting in older.gateways.items():
        later = newer.gateways.setdefault(gateway_id, sighting)
        later.seen_at = later.seen_at or sighting.seen_at
        later.firmware = later.firmware or sighting.firmware
    for mine, held in ((newer.devices, older.devices), (newer.contas, older.contas)):
        for key, moment in held.items():
            if key not in mine or mine[key] < moment:
                mine[key] = moment


def _is_one_rows_fault(error: Exception) -> bool:
    """Whether ``error`` comes of what a message holds, and not of the database's state.

    By SQLSTATE: data exceptions (22), a NULL or a check violated, a foreign key (after one more look-up), limits (54). A client-side
    refusal to encode a value, and a fault of this program, count too: neither heals by waiting. Everything else is retried.
    """
    if isinstance(error, psycopg.Error):
        state = error.sqlstate
        if state is None:
            return isinstance(error, psycopg.DataError)
        return state[:2] in ("22", "54") or state in ("23502", "23503", "23514")
    return not isinstance(error, (MemoryError, OSError))


@contextmanager
def open_processor(*, record_rejected: bool = True) -> Iterator[TelemetryProcessor]:
    """A processor with a session of its own, for callers other than the consumer."""
    with database.connect("tds_new_processor") as connection:
        processor = TelemetryProcessor(connection, record_rejected=record_rejected)
        yield processor
        processor.flush()
