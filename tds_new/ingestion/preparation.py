"""Messages to rows: parsed, resolved and checked, but not stored."""

import json
import time
from collections import Counter
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from operator import attrgetter
from typing import NamedTuple

import msgspec
from django.conf import settings
from psycopg import Connection

from tds_new.ingestion import store
from tds_new.ingestion.message import Message
from tds_new.ingestion.payload import (
    MAX_PAYLOAD_BYTES,
    Reading,
    check_gateway_mac,
    clean_text,
    decode_text,
    parse_large,
    parse_object,
    parse_telemetry,
    rounded,
    sequence_of,
    times,
)
from tds_new.ingestion.presence import Activity, Sighting
from tds_new.ingestion.rate import (
    FAULT_SECONDS,
    FREE_BYTES,
    FREE_BYTES_PER_READING,
    UNKNOWN,
    Account,
    GatewayBudget,
)
from tds_new.ingestion.refusal import MessageRefusedError, Reason, Refusal, Refusals
from tds_new.ingestion.rejected import MAX_STORED_BYTES, RejectedMessage
from tds_new.ingestion.resolver import Device, KnownGateway, Resolver
from tds_new.ingestion.store import StagedReading, StagedRows
from tds_new.ingestion.topics import Address, Kind, acknowledgement_topic, parse_topic
from tds_new.units import ONE

MAX_TOPICS = 100_000
MAX_TOPIC = 200  # characters of a topic that is remembered; no gateway's is longer
# Temporary reasons: they no longer apply once the gateway is registered or active, or after a while. Such a
# message is not answered, so that its gateway keeps it and sends it again. Every other refusal is final: the
# answer names it, so that the gateway does not send the message for ever.
NOT_ANSWERED = {Reason.GATEWAY_DESCONHECIDO, Reason.GATEWAY_INATIVO, Reason.LIMITE_EXCEDIDO}


class Answer(NamedTuple):
    """An application acknowledgement, to be published on ``topic``.

    ``error`` is the reason for which the message was refused as a whole. ``gateway_id`` is 0 where the
    gateway is not known.
    """

    topic: str
    seq: int
    error: Reason | None = None
    gateway_id: int = 0

    @property
    def payload(self) -> bytes:
        """The JSON: ``{"seq": n}``, or ``{"seq": n, "erro": "<motivo>"}``."""
        body: dict[str, int | str] = {"seq": self.seq}
        if self.error is not None:
            body["erro"] = self.error.value
        return json.dumps(body).encode()


# Of each message, by its number in the batch: which limit of its gateway is reached, empty for none.
Decisions = dict[int, str]


class Prepared(msgspec.Struct):
    """A batch between parsing and storing.

    Message numbers are positions in the caller's batch. ``rows`` are the staged readings as rows for COPY.
    ``decisions`` say which messages are over their gateway's budget.
    """

    batch: list[tuple[int, Message]]

    readings: list[StagedReading] = []
    rows: StagedRows = msgspec.field(default_factory=StagedRows)
    rejected: list[RejectedMessage] = []
    activity: Activity = msgspec.field(default_factory=Activity)
    answers: list[Answer] = []
    kinds: Counter[str] = msgspec.field(default_factory=Counter)
    decisions: Decisions = msgspec.field(default_factory=dict)


class Preparer:
    """Turns batches of messages into rows."""

    def __init__(self, resolver: Resolver, budget: GatewayBudget) -> None:
        self._prefix = settings.MQTT_TOPIC_PREFIX
        self._future = timedelta(seconds=settings.TDS_FUTURE_TOLERANCE_S)
        self._with_payload = settings.TDS_STORE_PAYLOAD_RAW
        self._resolver, self._budget = resolver, budget
        self._topics: dict[str, Address | None] = {}

    def prepare(
        self,
        batch: list[tuple[int, Message]],
        connection: Connection,
        *,
        with_payload: bool = True,
        decisions: Decisions | None = None,
    ) -> Prepared:
        """Parse and resolve a batch.

        ``batch`` has numbered messages; ``connection`` is used to look up registrations that are not known
        yet. Without ``with_payload``, ``payload_raw`` stays NULL. ``decisions`` are those of an earlier try
        with these messages: a message is charged to its gateway's budget once. Raises psycopg.Error if the
        look-up fails.
        """
        prepared = Prepared(batch, decisions={} if decisions is None else decisions)
        now = self._budget.clock()
        texts: dict[int, str] = {}
        addresses = [self._address(message.topic) for _, message in batch]
        gateways = self._resolver.resolve(
            connection, {address.identifier for address in addresses if address}
        )
        for (number, message), address in zip(batch, addresses, strict=True):
            gateway = gateways.get(address.identifier) if address else None
            account = self._budget.account(gateway.id if gateway else UNKNOWN, now)
            if number in prepared.decisions:
                if reached := self._decided(prepared.decisions, number, account):
                    reject(prepared, number, message, [Refusal(Reason.LIMITE_EXCEDIDO, reached)], gateway)
                else:
                    self._prepare_message(prepared, number, message, address, gateway, texts)
                continue
            reached = prepared.decisions[number] = self._budget.take(account, len(message.payload))
            if reached:
                reject(prepared, number, message, [Refusal(Reason.LIMITE_EXCEDIDO, reached)], gateway)
                continue
            stored, rejected = len(prepared.readings), len(prepared.rejected)
            seconds = self._prepare_message(prepared, number, message, address, gateway, texts)
            readings = len(prepared.readings) - stored
            free = FREE_BYTES + FREE_BYTES_PER_READING * readings
            if len(prepared.rejected) == rejected and not seconds and len(message.payload) <= free:
                account.readings -= readings
            else:
                self._charge(account, message, readings, prepared.rejected[rejected:], seconds)
        keep = with_payload and self._with_payload
        prepared.rows = store.copy_readings(prepared.readings, texts if keep else {})
        return prepared

    def charge_fault(self, message: Message, connection: Connection) -> None:
        """Charge the gateway of a message for whose sake a batch was halved."""
        address = self._address(message.topic)
        identifiers = [address.identifier] if address else []
        gateway = next(iter(self._resolver.resolve(connection, identifiers).values()), None)
        account = self._budget.account(gateway.id if gateway else UNKNOWN, self._budget.clock())
        account.seconds -= FAULT_SECONDS

    def charge_conflicts(self, conflicts: list[RejectedMessage]) -> None:
        """Charge readings that contradict stored ones, which is known only after storing."""
        now = self._budget.clock()
        for one in conflicts:
            account = self._budget.account(one.gateway_id or UNKNOWN, now)
            account.refusals -= len(one.refusals)
            one.has_copies = self._budget.take_copies(account, one.copied_bytes())

    def _address(self, topic: str) -> Address | None:
        """Return the address of a topic (cached); None if gateways do not publish there."""
        try:
            return self._topics[topic]
        except KeyError:
            address = parse_topic(topic, self._prefix)
            if len(topic) <= MAX_TOPIC:
                if len(self._topics) > MAX_TOPICS:
                    self._topics.clear()
                self._topics[topic] = address
            return address

    def _decided(self, decisions: Decisions, number: int, account: Account) -> str:
        """Return the limit that a message prepared again has reached; empty if none.

        A gateway that has used up its processor time by then, as by messages that are the cause, is refused.
        """
        if not decisions[number] and account.seconds <= 0:
            decisions[number] = self._budget.reached(account)
        return decisions[number]

    def _charge(
        self,
        account: Account,
        message: Message,
        readings: int,
        rejected: list[RejectedMessage],
        seconds: float,
    ) -> None:
        """Charge a message that has refusals or is large.

        Its rows in the table of rejected messages are charged too. ``readings`` are those to be stored;
        ``seconds`` of processor time were measured.
        """
        refusals = sum(len(one.refusals) for one in rejected)
        copies = sum(one.reasons for one in rejected)
        size = len(message.payload) + copies * min(MAX_STORED_BYTES, len(message.payload))
        account.charge(readings, size, refusals, seconds)
        for one in rejected:
            one.has_copies = self._budget.take_copies(account, one.copied_bytes())

    def _prepare_message(
        self,
        prepared: Prepared,
        number: int,
        message: Message,
        address: Address | None,
        gateway: KnownGateway | None,
        texts: dict[int, str],
    ) -> float:
        """Prepare one message, or reject it.

        Return the seconds of processor time that reading it took, where that is much; else 0.
        """
        try:
            if address is None:
                raise MessageRefusedError(
                    Reason.TOPICO_INVALIDO, f"expected {self._prefix}/<id>/telemetry, heartbeat or status"
                )
            if gateway is None:
                raise MessageRefusedError(
                    Reason.GATEWAY_DESCONHECIDO, f"{address.identifier} is not registered"
                )
            if not gateway.is_active:
                raise MessageRefusedError(Reason.GATEWAY_INATIVO, f"{gateway.mac} or its conta is not active")
            prepared.kinds[address.kind] += 1
            if address.kind is Kind.TELEMETRY:
                return self._prepare_telemetry(prepared, number, message, gateway, texts)
            if address.kind is Kind.HEARTBEAT:
                return _prepare_heartbeat(prepared, message, gateway)
            _prepare_status(prepared, message, gateway)
        except MessageRefusedError as error:
            reject(prepared, number, message, [error.refusal], gateway)
            if address and address.kind is Kind.TELEMETRY:
                answer_refused(prepared, message, error, gateway)
            return error.processor_time
        return 0.0

    def _prepare_telemetry(
        self, prepared: Prepared, number: int, message: Message, gateway: KnownGateway, texts: dict[int, str]
    ) -> float:
        """Stage the good readings of a message, reject the others, and note who was heard.

        ``texts`` gets the message's JSON by its ``number``. Return the seconds of processor time that the
        tolerant parser took, 0 without it. Raises MessageRefusedError if no reading can be used, or if the
        message is too large, after its readings are staged.
        """
        size = message.size or len(message.payload)
        is_large = size > MAX_PAYLOAD_BYTES
        telemetry = (parse_large if is_large else parse_telemetry)(message.payload)
        check_gateway_mac(telemetry, gateway.mac)
        refusals = Refusals()
        latest = message.received_at + self._future
        devices, contas = prepared.activity.devices, prepared.activity.contas
        staged, known, since = prepared.readings, gateway.devices, gateway.accepts_since
        for reading in telemetry.readings:
            device, moment, valor = known.get(reading.codigo), reading.time, reading.valor
            if (
                device is None
                or not device.is_active
                or device.unidade != reading.unidade
                or not since <= moment <= latest
            ):
                refusal = _refusal_of(reading, gateway, latest)
                if refusal is not None:
                    refusals.add(*refusal, reading.index)
                    continue
                if reading.unidade is not None:
                    valor = _in_registered_unit(reading, known[reading.codigo])
            device_id = known[reading.codigo].id
            staged.append(
                StagedReading(number, reading.index, moment, gateway.id, gateway.conta_id, device_id, valor)
            )
            if device_id not in devices or devices[device_id] < moment:
                devices[device_id] = moment
            if gateway.conta_id not in contas or contas[gateway.conta_id] < moment:
                contas[gateway.conta_id] = moment
        if len(refusals.all) < len(telemetry.readings):
            texts[number] = telemetry.text
        _see(prepared, message, gateway)
        refused = sorted(telemetry.refusals + refusals.all, key=attrgetter("index"))
        if is_large:
            # One row for the message, whose detail counts its bad readings: each row has up to 64 KiB of it.
            count = len(telemetry.readings) + len(telemetry.refusals)
            detail = f"{size} bytes; at most {MAX_PAYLOAD_BYTES}; {_summary(count, refused)}"
            large = MessageRefusedError(Reason.MENSAGEM_GRANDE, detail, telemetry.seq)
            large.processor_time = telemetry.processor_time
            raise large
        if refused:
            reject(prepared, number, message, refused, gateway)
        _answer(prepared, message, telemetry.seq, gateway)
        return telemetry.processor_time


def _summary(count: int, refusals: list[Refusal]) -> str:
    """Say how many of ``count`` readings are good, and why the others are not."""
    reasons = Counter(refusal.reason.value for refusal in refusals)
    bad = "".join(f", {reason} {number}" for reason, number in reasons.most_common())
    return f"good readings {count - len(refusals)} of {count}{bad}"


def reject(
    prepared: Prepared,
    number: int,
    message: Message,
    refusals: list[Refusal],
    gateway: KnownGateway | None,
) -> None:
    """Add a refused message, or the refusals of its readings.

    ``number`` is the message's number in the batch; ``gateway`` is None if it is not known.
    """
    owner = (gateway.id, gateway.conta_id) if gateway else (None, None)
    prepared.rejected.append(
        RejectedMessage(number, message.received_at, message.topic, message.payload, refusals, *owner)
    )


class Refused(NamedTuple):
    """Why a reading cannot be stored; ``detail`` returns it in words."""

    reason: Reason
    detail: Callable[[], str]


def _refusal_of(reading: Reading, gateway: KnownGateway, latest: datetime) -> Refused | None:
    """Say why a reading cannot be stored; None if it can.

    ``latest`` is the latest time that is accepted.
    """
    device = gateway.devices.get(reading.codigo)
    if device is None:
        return Refused(
            Reason.DISPOSITIVO_DESCONHECIDO, lambda: f"{gateway.mac} has no device {reading.codigo[:60]!r}"
        )
    codigo, registered = device.codigo, device.unidade
    if not device.is_active:
        return Refused(Reason.DISPOSITIVO_INATIVO, lambda: f"device {codigo} is inactive")
    factor, sent = device.factor_of(reading.unidade), reading.unidade or ""
    if factor is None:
        return Refused(
            Reason.UNIDADE_INVALIDA, lambda: f"unidade {sent[:60]!r}; device {codigo} measures {registered}"
        )
    if factor is not ONE and _times(reading, factor) is None:
        return Refused(
            Reason.VALOR_INVALIDO,
            lambda: f"valor {reading.valor} {sent} does not fit numeric(15,4) in {registered}",
        )
    time, since = reading.time, gateway.accepts_since
    if time > latest:
        return Refused(Reason.TIMESTAMP_FUTURO, lambda: f"{time.isoformat()} is ahead of the server's clock")
    if time < since:
        return Refused(
            Reason.TIMESTAMP_ANTIGO,
            lambda: f"{time.isoformat()} is before {since.isoformat()}, the first time accepted",
        )
    return None


def _in_registered_unit(reading: Reading, device: Device) -> Decimal:
    """Return the value of a reading that is not refused, in its device's unit."""
    factor = device.factor_of(reading.unidade)
    valor = reading.valor if factor is None or factor is ONE else _times(reading, factor)
    return reading.valor if valor is None else valor


def _times(reading: Reading, factor: Fraction) -> Decimal | None:
    """Return a reading's exact value times a factor, rounded.

    None if it does not fit.
    """
    return rounded(times(reading.valor if reading.exact is None else reading.exact, factor))


def _prepare_heartbeat(prepared: Prepared, message: Message, gateway: KnownGateway) -> float:
    """Note a heartbeat, and return the seconds of processor time that reading it took."""
    started = time.thread_time()
    try:
        firmware = _firmware(message.payload)
    except MessageRefusedError as error:
        error.processor_time = time.thread_time() - started
        raise
    _see(prepared, message, gateway, firmware)
    return time.thread_time() - started


def _prepare_status(prepared: Prepared, message: Message, gateway: KnownGateway) -> None:
    """Note the status that a gateway, or its last will, reports.

    A retained "offline" is ignored: it may be older than what is known.
    """
    status = decode_text(message.payload).strip().lower()
    if status == "offline":
        if message.retain:
            return
        prepared.activity.gateways[gateway.id] = Sighting(gateway.conta_id, None, online=False)
    elif status == "online":
        _see(prepared, message, gateway)
    else:
        raise MessageRefusedError(
            Reason.ESQUEMA_INVALIDO, f"status {status[:60]!r} is neither online nor offline"
        )


def _see(prepared: Prepared, message: Message, gateway: KnownGateway, firmware: str | None = None) -> None:
    """Note a sign of life of ``gateway``.

    A retained message does not count: the broker sends it again whenever somebody subscribes.
    """
    if message.retain:
        return
    before = prepared.activity.gateways.get(gateway.id)
    prepared.activity.gateways[gateway.id] = Sighting(
        gateway.conta_id,
        message.received_at,
        online=True,
        firmware=firmware or (before.firmware if before else None),
    )


def _firmware(payload: bytes) -> str | None:
    """The firmware version in a heartbeat's payload; None if it has none."""
    version = parse_object(payload).get("firmware_version")
    return clean_text(version[:50])[:50] if type(version) is str else None


def answer_refused(
    prepared: Prepared, message: Message, error: MessageRefusedError, gateway: KnownGateway | None
) -> None:
    """Answer a telemetry message that is refused for good, if it carries a number."""
    reason = error.refusal.reason
    if reason not in NOT_ANSWERED:
        seq = sequence_of(message.payload) if error.seq is None else error.seq
        _answer(prepared, message, seq, gateway, reason)


def _answer(
    prepared: Prepared,
    message: Message,
    seq: int | None,
    gateway: KnownGateway | None,
    error: Reason | None = None,
) -> None:
    """Answer a message that carries a number.

    ``error`` is the reason for which it was refused as a whole.
    """
    if seq is not None:
        topic = acknowledgement_topic(message.topic)
        prepared.answers.append(Answer(topic, seq, error, gateway.id if gateway else 0))
