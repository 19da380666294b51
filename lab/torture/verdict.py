"""The invariants that are checked in the end, from what was published and what the database has. Pure."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from lab.torture.messages import DEVICES, DUPLICATE, MAX_STORED_BYTES, Expected, Item, Plan, item
from lab.torture.witness import AsideRow, StoredRow, gateway_numbers

INVARIANTS = {
    "I1": "each message that the broker acknowledged is stored once or set aside once",
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
AsideKey = tuple[str, bytes, str, int | None]
SHOWN = 20


@dataclass
class Findings:
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


class Judge:
    """Compares a run's messages with the rows.

    ``strict_order``: of two values for one reading the one published first must be stored. With several consumers in a share group
    the broker gives no order, so there either may be first, and the other must be set aside.
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
        self._items = {number: item(plan, number) for number in order}
        self._candidates: dict[Key, list[tuple[Decimal, Item]]] = {}
        self._published: Counter[AsideKey] = Counter()
        for number, one in sorted(self._items.items()):
            for index, reading in enumerate(one.readings):
                self._candidates.setdefault(reading.key, []).append((reading.valor, one))
                if not one.asides or one.kind == "conflict":
                    self._published[(one.topic, one.payload[:MAX_STORED_BYTES], "conflito", index)] += (
                        attempts[number]
                    )
            for motivo, place in one.asides:
                if motivo != "conflito":
                    self._published[(one.topic, one.payload[:MAX_STORED_BYTES], motivo, place)] += attempts[
                        number
                    ]
        self.findings = Findings()

    def judge(self, rows: list[StoredRow], asides: list[AsideRow]) -> Findings:
        """I1 to I4."""
        stored = self._judge_rows(rows)
        present = self._judge_asides(asides)
        for number in sorted(self._acknowledged):
            self._judge_message(self._items[number], stored, present)
        return self.findings

    def _judge_rows(self, rows: list[StoredRow]) -> dict[Key, Decimal]:
        tenants = dict(gateway_numbers(self._plan))
        stored: dict[Key, Decimal] = {}
        for row in rows:
            if row.mac is None or row.codigo is None:
                self.findings.add("I2", f"a reading at {row.time} belongs to no device")
                continue
            key = (row.mac, row.codigo, row.time)
            if key in stored:
                self.findings.add("I3", f"{_words(key)} is there twice")
            stored[key] = row.valor
            candidates = self._candidates.get(key)
            if candidates is None:
                self.findings.add("I2", f"{_words(key)} was never published")
                continue
            self._judge_content(row, key, candidates)
            if not row.conta == row.gateway_conta == tenants[row.mac]:
                self.findings.add(
                    "I4", f"{_words(key)} belongs to {row.conta}, its gateway to {tenants[row.mac]}"
                )
        return stored

    def _judge_content(self, row: StoredRow, key: Key, candidates: list[tuple[Decimal, Item]]) -> None:
        fitting = [one for valor, one in candidates if valor == row.valor]
        if not fitting:
            self.findings.add("I2", f"{_words(key)} is {row.valor}; published was {candidates[0][0]}")
        elif row.number is not None and row.number not in {str(one.identity) for one in fitting}:
            self.findings.add("I2", f"{_words(key)} names message {row.number}, not {fitting[0].identity}")
        if row.unidade != DEVICES[key[1]]:
            self.findings.add("I2", f"{_words(key)} has the unit {row.unidade}")

    def _judge_asides(self, asides: list[AsideRow]) -> set[AsideKey]:
        tenants = dict(gateway_numbers(self._plan))
        present: set[AsideKey] = set()
        for row in asides:
            key = (row.topic, row.payload, row.motivo, row.place)
            present.add(key)
            published = self._published[key]
            if not published:
                self.findings.add("I2", f"set aside as {row.motivo} without reason: {row.payload[:60]!r}")
            elif row.times > published:
                self.findings.add(
                    "I1",
                    f"published {published} times, set aside {row.times} times: {row.motivo} {row.payload[:40]!r}",
                )
            mac = row.topic.split("/")[-2]
            if row.conta != tenants.get(mac):
                self.findings.add("I4", f"set aside for {row.conta}: {row.topic}")
        return present

    def _judge_message(self, one: Item, stored: dict[Key, Decimal], present: set[AsideKey]) -> None:
        content = one.payload[:MAX_STORED_BYTES]
        for motivo, index in one.asides:
            if motivo != "conflito" and (one.topic, content, motivo, index) not in present:
                self.findings.add(
                    "I1", f"message {one.number} ({one.kind}): neither stored nor set aside as {motivo}"
                )
        for index, reading in enumerate(one.readings):
            valor = stored.get(reading.key)
            if valor is None:
                self.findings.add("I1", f"message {one.number} ({one.kind}): {reading.codigo} is lost")
            elif valor != reading.valor and one.kind != DUPLICATE:
                self._judge_loser(one, index, reading, valor, present)

    def _judge_loser(
        self, one: Item, index: int, reading: Expected, valor: Decimal, present: set[AsideKey]
    ) -> None:
        if self._strict and one.kind != "conflict":
            self.findings.add(
                "I1", f"message {one.number}: {reading.codigo} is {valor}, but {reading.valor} was first"
            )
        elif (one.topic, one.payload[:MAX_STORED_BYTES], "conflito", index) not in present:
            self.findings.add(
                "I1", f"message {one.number} ({one.kind}): {reading.valor} is neither stored nor set aside"
            )


def _words(key: Key) -> str:
    mac, codigo, time = key
    return f"{codigo} of {mac} at {time:%Y-%m-%dT%H:%M:%SZ}"
