"""Check cases by their outcome in the pipeline before the database.

That is packets, topics, payloads, registry, and the text that COPY would get.
"""

import re
from collections import Counter
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, cast

from lab.fuzz.cases import Case, good_case
from lab.fuzz.comparison import Failure, Kept, Outcome, Rejection, Totals, assign_answers, compare
from lab.fuzz.fleet import NOW, Fleet, Registry
from lab.fuzz.oracle import Expectation, brings, expect, microseconds, written
from tds_new.ingestion.message import Message
from tds_new.ingestion.preparation import Prepared, Preparer
from tds_new.ingestion.rate import NO_LIMITS, GatewayBudget
from tds_new.ingestion.rejected import RejectedRow, rows_of
from tds_new.ingestion.topics import Kind, subscription
from tds_new.ingestion.transport.config import BrokerConfig
from tds_new.ingestion.transport.subscriber import MQTTSubscriber

TIMES_MESSAGE = 10  # a message is kept in so many times its own bytes at the most
SHRINK_TRIES = 1_500
SHRUNK_FAILURES = 3  # the first ones of a run; it takes a second or two each
ESCAPED = re.compile(r"\\(.)", re.DOTALL)


class PacketReader:
    """Reads PUBLISH packets as the consumer does, without a socket."""

    def __init__(self, prefix: str) -> None:
        self._messages: list[Message] = []
        self._subscriber = MQTTSubscriber(
            BrokerConfig("127.0.0.1", 9), "fuzz", on_unhandled=self._messages.append
        )
        for kind in Kind:
            self._subscriber.register_handler(subscription(prefix, kind), self._messages.append)

    def read(self, cases: Sequence[Case], *, redelivered: bool = False) -> list[Message]:
        """Return the messages of these cases, in their order."""
        client, dispatch = self._subscriber._client, self._subscriber._router.dispatch
        client._incoming, client._position = b"".join([_packet(case, redelivered) for case in cases]), 0
        self._messages.clear()
        for publication in client.publications():
            dispatch(publication, NOW, 0)
        return list(self._messages)

    def close(self) -> None:
        """Free its sockets."""
        self._subscriber.disconnect()


def _packet(case: Case, redelivered: bool) -> bytes:
    """Return a PUBLISH with QoS 1 (MQTT 3.1.1, section 3.3)."""
    body = (
        len(case.topic).to_bytes(2, "big")
        + case.topic
        + (abs(case.number) % 65_535 + 1).to_bytes(2, "big")
        + case.payload
    )
    length, size = b"", len(body)
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([0x32 | case.retain | redelivered << 3]) + length + bytes([size]) + body


class MemoryChecker:
    """Checks batches of cases without a database."""

    path = "in memory"

    def __init__(self, fleet: Fleet, prefix: str, totals: Totals) -> None:
        self.fleet, self.prefix, self.totals = fleet, prefix, totals
        self._packet_reader = PacketReader(prefix)
        self._preparer = Preparer(Registry(fleet), GatewayBudget(NO_LIMITS))
        self._devices = {device.id: device for gateway in fleet.gateways for device in gateway.devices}

    def run(self, cases: Sequence[Case]) -> None:
        """Check them as one batch, known-good messages in the middle and at the end.

        What goes wrong goes to the totals.
        """
        middle, last = len(cases) // 2, abs(cases[-1].number) * 2
        batch = [*cases[:middle], self._good(last), *cases[middle:], self._good(last + 1)]
        try:
            outcomes = self._outcomes(batch)
        except Exception as error:
            self.totals.failures += self._failing(batch, error)
            return
        for case, outcome in zip(batch, outcomes, strict=True):
            expectation = self._expected(case)
            self.totals.unchecked += not expectation.checkable
            self.totals.add(case, outcome, self.path)
            if problems := compare(case, expectation, outcome):
                self.totals.failures.append(Failure(case, problems, self.path, self.shrink(case)))

    def problems_of(self, case: Case, *, count: bool = False) -> list[str]:
        """Return what is wrong with this case alone.

        An exception out of the pipeline is such a problem.
        """
        try:
            (outcome,) = self._outcomes([case])
        except Exception as error:
            return [f"{type(error).__name__} left the pipeline: {error}"[:300]]
        if count:
            self.totals.add(case, outcome, self.path)
        return compare(case, self._expected(case), outcome)

    def shrink(self, case: Case) -> bytes:
        """Return the shortest payload found that still goes wrong."""
        if len(self.totals.failures) >= SHRUNK_FAILURES:
            return b""
        shortest, size, tries = case.payload, max(1, len(case.payload) // 2), SHRINK_TRIES
        if not self.problems_of(case):
            return b""  # goes wrong only beside others
        while size and tries:
            at = 0
            while at < len(shortest) and tries:
                tries -= 1
                shorter = shortest[:at] + shortest[at + size :]
                if self.problems_of(case._replace(payload=shorter)):
                    shortest = shorter
                else:
                    at += size
            size //= 2
        return shortest

    def close(self) -> None:
        """Free its sockets."""
        self._packet_reader.close()

    def _expected(self, case: Case) -> Expectation:
        return expect(case.topic, case.payload, self.fleet, self.prefix)

    def _good(self, number: int) -> Case:
        return good_case(number, self.fleet, self.prefix)

    def _failing(self, batch: Sequence[Case], error: Exception) -> list[Failure]:
        found = [
            Failure(case, problems, self.path, self.shrink(case))
            for case in batch
            if (problems := self.problems_of(case))
        ]
        return found or [
            Failure(
                batch[0], [f"{type(error).__name__} left the pipeline with this batch: {error}"], self.path
            )
        ]

    def _outcomes(self, batch: Sequence[Case]) -> list[Outcome]:
        messages = self._packet_reader.read(batch)
        if len(messages) != len(batch):
            raise AssertionError(f"{len(batch)} packets came in, {len(messages)} messages came out")
        prepared = self._preparer.prepare(list(enumerate(messages)), cast("Any", None))
        outcomes = self._prepared(prepared, len(batch))
        return assign_answers(batch, [self._expected(case) for case in batch], outcomes, prepared.answers)

    def _prepared(self, prepared: Prepared, size: int) -> list[Outcome]:
        """Return what a prepared batch says of each message.

        It is read from the text that COPY would get.
        """
        outcomes = [Outcome() for _ in range(size)]
        contas = {gateway.id: gateway.conta_id for gateway in self.fleet.gateways}
        kept_bytes: Counter[int] = Counter()
        for row in "".join(prepared.rows.chunks).split("\n")[:-1]:
            ordinal, time, gateway_id, device_id, valor, payload_raw = row.split("\t")
            reading = prepared.readings[int(ordinal)]
            outcome, index = outcomes[reading.message], reading.index
            if index in outcome.kept:
                outcome.problems.append(f"reading {index} is there twice")
            moment = microseconds(datetime.fromisoformat(time))
            kept = outcome.kept[index] = Kept(
                int(gateway_id), contas[int(gateway_id)], int(device_id), moment, Decimal(valor)
            )
            kept_bytes[reading.message] += len(payload_raw)
            if payload_raw == "\\N":
                outcome.problems.append("kept without the message that brought it")
            elif not brings(written(_unescaped(payload_raw)), 0, self._devices[kept.device_id], kept.valor):
                outcome.problems.append(f"the message kept with reading {index} is another")
        for message, _, rest in prepared.rows.rests:
            kept_bytes[message] += len(rest.fields)
        messages = dict(prepared.batch)
        for message, size in kept_bytes.items():
            if size > TIMES_MESSAGE * len(messages[message].payload):
                outcomes[message].problems.append(f"{size} bytes are kept of it")
        for rejected in rows_of(prepared.rejected):
            outcomes[rejected.message].rejections.append(rejection_of(rejected))
        return outcomes


def rejection_of(row: RejectedRow) -> Rejection:
    """Return a row for the table of rejected messages as a rejection."""
    return Rejection(
        row.refusal.reason.value, row.refusal.index, row.topic, row.payload, row.gateway_id, row.conta_id
    )


def _unescaped(text: str) -> str:
    """Undo COPY's text format.

    Raises ValueError if a character is left that ends a column or a row.
    """
    if "\t" in text or "\r" in text:
        raise ValueError("the text for COPY has a bare tab or carriage return")
    return ESCAPED.sub(lambda found: {"n": "\n", "r": "\r", "t": "\t"}.get(found[1], found[1]), text)
