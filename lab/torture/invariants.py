"""The invariants that are checked in the end, from what was published and what the database has. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from lab.torture.messages import (
    DEVICES,
    DUPLICATE,
    MAX_STORED_BYTES,
    ExpectedReading,
    Plan,
    PlannedMessage,
    message_of,
)
from lab.torture.observer import RejectedRow, StoredRow, gateway_numbers

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


@dataclass
class Violations:
    """Violations by invariant, at most ``SHOWN`` of each in words, all of them counted."""

    texts: dict[str, list[str]] = field(default_factory=dict)
    counts: Counter[str] = field(default_factory=Counter)

    def add(self, invariant: str, text: str) -> None:
        """Note a violation."""
        self.counts[invariant] += 1
        shown = self.texts.setdefault(invariant, [])
        if len(shown) < SHOWN:
            shown.append(text)

    def __bool__(self) -> bool:
        return bool(self.counts)


class InvariantChecker:
    """Compares a run's messages with the rows.

    ``strict_order``: of two values for one reading the one published first must be stored. With several consumers in a share group
    the broker gives no order, so there either may be first, and the other must be rejected.
    """

    def __init__(
        self,
        plan: Plan,
        order: Iterable[int],
        attempts: Counter[int],
        acknowledged: set[int],
        *,
        strict_order: bool,
    ) -> None:
        self._plan, self._attempts, self._acknowledged, self._strict = (
            plan,
            attempts,
            acknowledged,
            strict_order,
        )
        self._items = {number: message_of(plan, number) for number in order}
        self._candidates: dict[Key, list[tuple[Decimal, PlannedMessage]]] = {}
        self._published: Counter[RejectionKey] = Counter()
        for number, one in sorted(self._items.items()):
            for index, reading in enumerate(one.readings):
                self._candidates.setdefault(reading.key, []).append((reading.valor, one))
                if not one.rejections or one.kind == "conflict":
                    self._published[(one.topic, one.payload[:MAX_STORED_BYTES], "conflito", index)] += (
                        attempts[number]
                    )
            for motivo, place in one.rejections:
                if motivo != "conflito":
                    self._published[(one.topic, one.payload[:MAX_STORED_BYTES], motivo, place)] += attempts[
                        number
                    ]
        self.violations = Violations()

    def checker(self, rows: list[StoredRow], rejections: list[RejectedRow]) -> Violations:
        """I1 to I4."""
        stored = self._check_readings(rows)
        present = self._check_rejections(rejections)
        for number in sorted(self._acknowledged):
            self._check_message(self._items[number], stored, present)
        return self.violations

    def _check_readings(self, rows: list[StoredRow]) -> dict[Key, Decimal]:
        tenants = dict(gateway_numbers(self._plan))
        stored: dict[Key, Decimal] = {}
        for row in rows:
            if row.mac is None or row.codigo is None:
                self.violations.add("I2", f"a reading at {row.time} belongs to no device")
                continue
            key = (row.mac, row.codigo, row.time)
            if key in stored:
                self.violations.add("I3", f"{_words(key)} is there twice")
            stored[key] = row.valor
            candidates = self._candidates.get(key)
            if candidates is None:
                self.violations.add("I2", f"{_words(key)} was never published")
                continue
            self._check_content(row, key, candidates)
            if not row.conta == row.gateway_conta == tenants[row.mac]:
                self.violations.add(
                    "I4", f"{_words(key)} belongs to {row.conta}, its gateway to {tenants[row.mac]}"
                )
        return stored

    def _check_content(
        self, row: StoredRow, key: Key, candidates: list[tuple[Decimal, PlannedMessage]]
    ) -> None:
        fitting = [one for valor, one in candidates if valor == row.valor]
        if not fitting:
            self.violations.add("I2", f"{_words(key)} is {row.valor}; published was {candidates[0][0]}")
        elif row.number is not None and row.number not in {str(one.identity) for one in fitting}:
            self.violations.add("I2", f"{_words(key)} names message {row.number}, not {fitting[0].identity}")
        if row.unidade != DEVICES[key[1]]:
            self.violations.add("I2", f"{_words(key)} has the unit {row.unidade}")

    def _check_rejections(self, rejections: list[RejectedRow]) -> set[RejectionKey]:
        tenants = dict(gateway_numbers(self._plan))
        present: set[RejectionKey] = set()
        for row in rejections:
            key = (row.topic, row.payload, row.motivo, row.place)
            present.add(key)
            published = self._published[key]
            if not published:
                self.violations.add("I2", f"rejected as {row.motivo} without reason: {row.payload[:60]!r}")
            elif row.times > published:
                self.violations.add(
                    "I1",
                    f"published {published} times, rejected {row.times} times: {row.motivo} {row.payload[:40]!r}",
                )
            mac = row.topic.split("/")[-2]
            if row.conta != tenants.get(mac):
                self.violations.add("I4", f"rejected for {row.conta}: {row.topic}")
        return present

    def _check_message(
        self, one: PlannedMessage, stored: dict[Key, Decimal], present: set[RejectionKey]
    ) -> None:
        content = one.payload[:MAX_STORED_BYTES]
        for motivo, index in one.rejections:
            if motivo != "conflito" and (one.topic, content, motivo, index) not in present:
                self.violations.add(
                    "I1", f"message {one.number} ({one.kind}): neither stored nor rejected as {motivo}"
                )
        for index, reading in enumerate(one.readings):
            valor = stored.get(reading.key)
            if valor is None:
                self.violations.add("I1", f"message {one.number} ({one.kind}): {reading.codigo} is lost")
            elif valor != reading.valor and one.kind != DUPLICATE:
                self._check_conflict(one, index, reading, valor, present)

    def _check_conflict(
        self,
        one: PlannedMessage,
        index: int,
        reading: ExpectedReading,
        valor: Decimal,
        present: set[RejectionKey],
    ) -> None:
        if self._strict and one.kind != "conflict":
            self.violations.add(
                "I1", f"message {one.number}: {reading.codigo} is {valor}, but {reading.valor} was first"
            )
        elif (one.topic, one.payload[:MAX_STORED_BYTES], "conflito", index) not in present:
            self.violations.add(
                "I1", f"message {one.number} ({one.kind}): {reading.valor} is neither stored nor rejected"
            )


def _words(key: Key) -> str:
    mac, codigo, time = key
    return f"{codigo} of {mac} at {time:%Y-%m-%dT%H:%M:%SZ}"
