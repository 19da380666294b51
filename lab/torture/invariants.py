"""The invariants that are checked in the end.

Pure: they follow from what was published and what the database has.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from lab.torture.messages import (
    CONFLICT,
    DEVICES,
    DUPLICATE,
    MAX_STORED_BYTES,
    ExpectedReading,
    Plan,
    PlannedMessage,
    contas_by_mac,
    message_of,
)

INVARIANTS = {
    "I1": "each message that the broker acknowledged is stored once or rejected once",
    "I2": "no row without a publish; values, units and raw payloads equal",
    "I3": "no reading twice",
    "I4": "every row belongs to the tenant of its topic's gateway",
    "I5": "no PUBACK before the commit that covers it (on the wire)",
    "I6": "memory bounded",
    "I7": "recovery after each fault within its target",
    "I8": "no PUBACK with a packet id of an older connection (on the wire)",
    "I9": "the broker drops no message",
}
Key = tuple[str, str, datetime]
RejectionKey = tuple[str, bytes, str, int | None]
SHOWN = 20


class StoredRow(NamedTuple):
    """A reading as it is stored.

    ``gateway_conta`` and ``conta`` are the names of the Contas of its gateway and of the row; ``number`` is
    the message that its raw payload names.
    """

    mac: str | None
    codigo: str | None
    time: datetime
    valor: Decimal
    unidade: str
    gateway_conta: str | None
    conta: str | None
    number: str | None


class RejectedRow(NamedTuple):
    """A rejected message, and how often it is there.

    ``place`` is the index of the rejected reading.
    """

    topic: str
    payload: bytes
    motivo: str
    place: int | None
    conta: str | None
    times: int


@dataclass
class Violations:
    """Violations by invariant.

    All of them are counted, at most ``SHOWN`` of each are told in words.
    """

    texts: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, invariant: str, text: str) -> None:
        """Note a violation."""
        self.counts[invariant] += 1
        shown = self.texts.setdefault(invariant, [])
        if len(shown) < SHOWN:
            shown.append(text)

    def extend(self, other: "Violations") -> None:
        """Note all violations of another check."""
        for invariant, count in other.counts.items():
            self.counts[invariant] += count
            shown = self.texts.setdefault(invariant, [])
            shown += other.texts[invariant][: SHOWN - len(shown)]

    def __bool__(self) -> bool:
        return bool(self.counts)


class InvariantChecker:
    """Compares a run's messages with the rows that are stored and rejected."""

    def __init__(
        self,
        plan: Plan,
        order: Iterable[int],
        attempts: Counter[int],
        acknowledged: set[int],
        *,
        strict_order: bool,
    ) -> None:
        """Take what was published of ``plan``.

        ``order`` has the numbers in the order of their first publish, ``attempts`` how often each was
        published, ``acknowledged`` those that the broker has acknowledged. With ``strict_order`` of two
        values for one reading the one published first must be stored. With several consumers in a share group
        the broker gives no order: either may be first there, and the other must be rejected.
        """
        self._acknowledged, self._strict = acknowledged, strict_order
        self._contas = dict(contas_by_mac(plan))
        self._messages = {number: message_of(plan, number) for number in order}
        self._candidates: dict[Key, list[tuple[Decimal, PlannedMessage]]] = {}
        self._published: Counter[RejectionKey] = Counter()
        for number, message in sorted(self._messages.items()):
            for reading in message.readings:
                self._candidates.setdefault(reading.key, []).append((reading.valor, message))
            for motivo, index in _possible_rejections(message):
                self._published[_rejection_key(message, motivo, index)] += attempts[number]
        self._violations = Violations()

    def check(self, stored: list[StoredRow], rejected: list[RejectedRow]) -> Violations:
        """Check the invariants I1 to I4."""
        values = self._check_readings(stored)
        present = self._check_rejections(rejected)
        for number in sorted(self._acknowledged):
            self._check_message(self._messages[number], values, present)
        return self._violations

    def _check_readings(self, rows: list[StoredRow]) -> dict[Key, Decimal]:
        """Check that each row was published, is there once, and is its Conta's.

        Return the values by key.
        """
        stored: dict[Key, Decimal] = {}
        for row in rows:
            if row.mac is None or row.codigo is None:
                self._violations.add("I2", f"a reading at {row.time} belongs to no device")
                continue
            key = (row.mac, row.codigo, row.time)
            if key in stored:
                self._violations.add("I3", f"{_words(key)} is there twice")
            stored[key] = row.valor
            candidates = self._candidates.get(key)
            if candidates is None:
                self._violations.add("I2", f"{_words(key)} was never published")
                continue
            self._check_content(row, key, candidates)
            conta = self._contas[row.mac]
            if not row.conta == row.gateway_conta == conta:
                self._violations.add("I4", f"{_words(key)} belongs to {row.conta}, its gateway to {conta}")
        return stored

    def _check_content(
        self, row: StoredRow, key: Key, candidates: list[tuple[Decimal, PlannedMessage]]
    ) -> None:
        """Check a row's value, unit and raw message against the messages with its key."""
        fitting = [message for valor, message in candidates if valor == row.valor]
        if not fitting:
            self._violations.add("I2", f"{_words(key)} is {row.valor}; published was {candidates[0][0]}")
        elif row.number is not None and row.number not in {str(message.identity) for message in fitting}:
            self._violations.add("I2", f"{_words(key)} names message {row.number}, not {fitting[0].identity}")
        if row.unidade != DEVICES[key[1]]:
            self._violations.add("I2", f"{_words(key)} has the unit {row.unidade}")

    def _check_rejections(self, rows: list[RejectedRow]) -> set[RejectionKey]:
        """Check that each rejection has a reason and is its Conta's.

        It must not be there oftener than its message was published.
        """
        present: set[RejectionKey] = set()
        for row in rows:
            key = (row.topic, row.payload, row.motivo, row.place)
            present.add(key)
            published, content = self._published[key], row.payload
            if not published:
                self._violations.add("I2", f"rejected as {row.motivo} without reason: {content[:60]!r}")
            elif row.times > published:
                times = f"published {published} times, rejected {row.times} times"
                self._violations.add("I1", f"{times}: {row.motivo} {content[:40]!r}")
            if row.conta != self._contas.get(row.topic.split("/")[-2]):
                self._violations.add("I4", f"rejected for {row.conta}: {row.topic}")
        return present

    def _check_message(
        self, message: PlannedMessage, stored: dict[Key, Decimal], present: set[RejectionKey]
    ) -> None:
        """Check that every part of an acknowledged message is stored or rejected."""
        name = f"message {message.number} ({message.kind})"
        for motivo, index in message.rejections:
            if motivo != "conflito" and _rejection_key(message, motivo, index) not in present:
                self._violations.add("I1", f"{name}: neither stored nor rejected as {motivo}")
        for index, reading in enumerate(message.readings):
            valor = stored.get(reading.key)
            if valor is None:
                self._violations.add("I1", f"{name}: {reading.codigo} is lost")
            elif valor != reading.valor and message.kind != DUPLICATE:
                is_rejected = _rejection_key(message, "conflito", index) in present
                self._check_conflict(message, reading, valor, is_rejected=is_rejected)

    def _check_conflict(
        self, message: PlannedMessage, reading: ExpectedReading, valor: Decimal, *, is_rejected: bool
    ) -> None:
        """Check a reading of which another value, ``valor``, is stored."""
        name = f"message {message.number}"
        if self._strict and message.kind != CONFLICT:
            self._violations.add("I1", f"{name}: {reading.codigo} is {valor}, but {reading.valor} was first")
        elif not is_rejected:
            text = f"{name} ({message.kind}): {reading.valor} is neither stored nor rejected"
            self._violations.add("I1", text)


def _possible_rejections(message: PlannedMessage) -> Iterator[tuple[str, int | None]]:
    """Yield motivo and index of what may be rejected of a message.

    That is what must be rejected, and conflicts.
    """
    if not message.rejections or message.kind == CONFLICT:
        yield from (("conflito", index) for index in range(len(message.readings)))
    yield from (rejection for rejection in message.rejections if rejection[0] != "conflito")


def _rejection_key(message: PlannedMessage, motivo: str, index: int | None) -> RejectionKey:
    return message.topic, message.payload[:MAX_STORED_BYTES], motivo, index


def _words(key: Key) -> str:
    mac, codigo, time = key
    return f"{codigo} of {mac} at {time:%Y-%m-%dT%H:%M:%SZ}"
