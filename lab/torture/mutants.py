"""Consumers that are wrong on purpose.

Each must be caught, or the fault injection proves nothing.

A mutant replaces functions of the consumer from outside, in the process of the system under test. It is named
by the function that installs it; the faults of its decorator provoke it.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class Mutant:
    """A fault (``text``), and the small run that must show it."""

    text: str
    install: Callable[[], None]
    kinds: tuple[str, ...] = ()
    messages: int = 400


MUTANTS: dict[str, Mutant] = {}


def mutant(*kinds: str, messages: int = 400) -> Callable[[Callable[[], None]], Callable[[], None]]:
    """Register a function that installs a mutant.

    The function names the mutant, its docstring says what is wrong. ``kinds`` are the faults that provoke it.
    """

    def register(install: Callable[[], None]) -> Callable[[], None]:
        doc = (install.__doc__ or "").strip().rstrip(".")
        MUTANTS[install.__name__] = Mutant(doc[:1].lower() + doc[1:], install, kinds, messages)
        return install

    return register


def _replace(owner: Any, name: str, make: Callable[[Any], Any]) -> None:
    """Put ``make(original)`` in place of ``owner.name``.

    Raises AttributeError if there is no such name any more.
    """
    setattr(owner, name, make(getattr(owner, name)))


def _created_subscribers() -> list[Any]:
    """Return a list to which every MQTTSubscriber is added once it is made."""
    from tds_new.ingestion.transport import MQTTSubscriber

    created: list[Any] = []

    def make(init: Any) -> Any:
        def wrapper(self: Any, *args: Any, **kwargs: Any) -> None:
            init(self, *args, **kwargs)
            created.append(self)

        return wrapper

    _replace(MQTTSubscriber, "__init__", make)
    return created


@mutant("kill")
def acknowledge_on_arrival() -> None:
    """Acknowledges a message when it arrives."""
    from tds_new.ingestion.transport import MQTTSubscriber
    from tds_new.ingestion.transport.routing import Router

    subscribers = _created_subscribers()

    def make(dispatch: Any) -> Any:
        def wrapper(self: Any, publication: Any, *rest: Any) -> None:
            dispatch(self, publication, *rest)
            if publication.qos:
                subscribers[-1]._client.acknowledge([publication.packet_id])

        return wrapper

    _replace(Router, "dispatch", make)
    _replace(MQTTSubscriber, "ack", lambda _: lambda *_: None)


@mutant("database_frozen")
def acknowledge_before_commit() -> None:
    """Acknowledges a batch before it is committed."""
    from tds_new.ingestion.consumer import Consumer

    def make(process: Any) -> Any:
        def wrapper(self: Any, batch: Any, *rest: Any) -> Any:
            self._subscriber.ack(batch)
            return process(self, batch, *rest)

        return wrapper

    _replace(Consumer, "_process", make)


@mutant("connection_cut")
def no_conflict_clause() -> None:
    """Drops a batch that holds a reading already known."""
    from psycopg.errors import UniqueViolation

    from tds_new.ingestion import store

    def make(_: Any) -> Any:
        return "ON CONFLICT DO NOTHING /* and nothing else of this batch */"

    def make_insert(insert: Any) -> Any:
        def wrapper(cursor: Any, readings: Any, *rest: Any) -> Any:
            try:
                with cursor.connection.transaction():
                    result = insert(cursor, readings, *rest)
                    if result.inserted < len(readings):
                        raise UniqueViolation
                    return result
            except UniqueViolation:
                return store.Stored(0, len(readings), [])

        return wrapper

    _replace(store, "SKIP_KNOWN", make)
    _replace(store, "insert_readings", make_insert)


@mutant("terminate", "sqlstate")
def swallow_database_errors() -> None:
    """Swallows database errors and acknowledges."""
    import psycopg

    from tds_new.ingestion.telemetry_processor import BatchResult, TelemetryProcessor

    def make(original: Any) -> Any:
        def wrapper(self: Any, argument: Any) -> Any:
            try:
                return original(self, argument)
            except psycopg.Error:
                return BatchResult()

        return wrapper

    for name in ("process", "store"):
        _replace(TelemetryProcessor, name, make)


@mutant("kill", "kill")
def clean_session() -> None:
    """Connects with a clean session."""
    from tds_new.ingestion.transport import MQTTSubscriber

    def make(init: Any) -> Any:
        return lambda self, config, *args, **kwargs: init(
            self, replace(config, persistent=False), *args, **kwargs
        )

    _replace(MQTTSubscriber, "__init__", make)


@mutant("broker_emptied")
def stale_acknowledgements() -> None:
    """Acknowledges with packet ids of an earlier connection."""
    from tds_new.ingestion.transport import MQTTSubscriber

    def make(acknowledge: Any) -> Any:
        return lambda self, packets: acknowledge(
            self, [(self.connection, packet_id) for _, packet_id in packets]
        )

    _replace(MQTTSubscriber, "_acknowledge", make)


@mutant("commit", "database_cut", "kill", "connection_cut", messages=800)
def skip_redelivered() -> None:
    """Takes every redelivered message for stored."""
    from tds_new.ingestion.inbox import Inbox

    subscribers = _created_subscribers()

    def make_put(put: Any) -> Any:
        return lambda self, message: (
            subscribers[-1].ack([message]) if message.redelivered else put(self, message)
        )

    _replace(Inbox, "put", make_put)


@mutant()
def last_value_wins() -> None:
    """Lets the last of two values win."""
    from tds_new.ingestion import store

    _replace(
        store,
        "SKIP_KNOWN",
        lambda _: 'ON CONFLICT (dispositivo_id, "time") DO UPDATE SET valor = excluded.valor',
    )


@mutant()
def lose_neighbours() -> None:
    """Loses the good neighbours of a bad reading."""
    import msgspec

    from tds_new.ingestion import preparation

    def make(parse: Any) -> Any:
        def wrapper(payload: bytes) -> Any:
            telemetry = parse(payload)
            return msgspec.structs.replace(telemetry, readings=[]) if telemetry.refusals else telemetry

        return wrapper

    _replace(preparation, "parse_telemetry", make)


@mutant()
def wrong_tenant() -> None:
    """Stores readings for the wrong tenant."""
    from tds_new.ingestion import store

    _replace(
        store,
        "INSERT_READINGS",
        lambda text: text.replace("d.conta_id", "(SELECT min(id) FROM tds_new_conta)"),
    )


@mutant("broker_emptied")
def forget_to_subscribe() -> None:
    """Does not subscribe again on a new connection."""
    from tds_new.ingestion.transport.subscriptions import Subscriptions

    _replace(Subscriptions, "forget_answers", lambda _: lambda *_: None)


@mutant("connection_cut")
def stay_disconnected() -> None:
    """Does not connect again."""
    from tds_new.ingestion.transport.connection import ConnectionLoop

    _replace(ConnectionLoop, "_lost", lambda lost: lambda self: (lost(self), self._stop.set())[0])


@mutant("pubacks_lost", "pubacks_lost")
def set_aside_again() -> None:
    """Rejects a redelivered message again."""
    from tds_new.ingestion import rejected

    _replace(
        rejected,
        "insert_rejected",
        lambda insert: lambda cursor, rows, keep, _: insert(cursor, rows, keep, set()),
    )


@mutant()
def drop_silently() -> None:
    """Drops unusable messages without keeping them as rejected."""
    from tds_new.ingestion import rejected

    _replace(rejected, "insert_rejected", lambda _: lambda *_: None)


@mutant()
def server_clock() -> None:
    """Stamps readings with the server's clock."""
    from datetime import timedelta

    import msgspec

    from tds_new.ingestion import preparation

    def make(parse: Any) -> Any:
        def wrapper(payload: bytes) -> Any:
            telemetry = parse(payload)
            late = [
                msgspec.structs.replace(reading, time=reading.time + timedelta(milliseconds=1))
                for reading in telemetry.readings
            ]
            return msgspec.structs.replace(telemetry, readings=late)

        return wrapper

    _replace(preparation, "parse_telemetry", make)


@mutant()
def short_floats() -> None:
    """Calculates with binary floats of single precision."""
    import struct
    from decimal import Decimal

    from tds_new.ingestion import payload

    def make(valor: Any) -> Any:
        def wrapper(literal: str, form: Any) -> Decimal:
            exact = valor(literal, form)
            return Decimal(str(struct.unpack("f", struct.pack("f", exact))[0])).quantize(Decimal("0.0001"))

        return wrapper

    _replace(payload, "_valor", make)


@mutant()
def keep_poison() -> None:
    """Never acknowledges poison."""
    from tds_new.ingestion.transport import MQTTSubscriber

    def make(ack: Any) -> Any:
        return lambda self, messages: ack(
            self, [message for message in messages if message.payload.endswith(b"]}")]
        )

    _replace(MQTTSubscriber, "ack", make)


@mutant("sigterm_alone")
def acknowledge_at_the_end() -> None:
    """Acknowledges unstored messages when it is told to stop."""
    from tds_new.ingestion.consumer import Consumer
    from tds_new.ingestion.retry import StoppedError

    def make(process: Any) -> Any:
        def wrapper(self: Any, batch: Any, *rest: Any) -> Any:
            try:
                return process(self, batch, *rest)
            except StoppedError:
                self._subscriber.ack(batch)
                raise

        return wrapper

    _replace(Consumer, "_process", make)
