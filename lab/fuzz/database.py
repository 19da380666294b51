"""Check cases by their rows in the database after the processor ran."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC
from decimal import Decimal
from typing import Any

from psycopg import Connection

from lab.fuzz.cases import Case, good_case, make_case
from lab.fuzz.comparison import Failure, Kept, Outcome, Totals, assign_answers, compare
from lab.fuzz.fleet import Fleet, KnownDevice, register
from lab.fuzz.memory import PacketReader, rejection_of
from lab.fuzz.oracle import Expectation, brings, expect, microseconds, written
from tds_new.ingestion.message import Message
from tds_new.ingestion.refusal import Reason
from tds_new.ingestion.rejected import SAMPLE, RejectedRow
from tds_new.ingestion.telemetry_processor import BatchResult, TelemetryProcessor

GOOD_EVERY = 10
AFTER = 1_000  # the numbers of the last good messages
SEND_AGAIN_EVERY = 4
# Rows of one message for one reason, and bytes of all its copies; the counters know all.
ROWS_PER_MESSAGE, BYTES_PER_MESSAGE = 50, 1_048_576
KEPT_ROWS = """
SELECT gateway_id, conta_id, dispositivo_id, "time", valor, payload_raw::text
FROM tds_new_leitura_dispositivo WHERE gateway_id = ANY(%s)
"""
REJECTED_ROWS = """
SELECT motivo, leitura_indice, topico, payload, gateway_id, conta_id
FROM tds_new_mensagem_rejeitada WHERE id > %s
"""
LAST_REJECTED = "SELECT coalesce(max(id), 0) FROM tds_new_mensagem_rejeitada"
COUNTED = "SELECT coalesce(sum(total), 0)::bigint FROM tds_new_rejeicao_contador"
# References to rests that are not there, and rests that no reading refers to.
DANGLING = """
SELECT count(*) FROM (
    SELECT DISTINCT gateway_id, (payload_raw ->> 'tds_new_mensagem_resto')::uuid AS impressao
    FROM tds_new_leitura_dispositivo
    WHERE gateway_id = ANY(%(gateways)s) AND payload_raw ? 'tds_new_mensagem_resto'
) reference
FULL JOIN (
    SELECT DISTINCT gateway_id, impressao FROM tds_new_mensagem_resto WHERE gateway_id = ANY(%(gateways)s)
) rest USING (gateway_id, impressao)
WHERE reference.gateway_id IS NULL OR rest.gateway_id IS NULL
"""
HUGE_NUMBER = re.compile(rb"[eE][+-]?[0-9]{4}|[0-9]{1000}")

Key = tuple[int, int]


class DatabaseChecker:
    """Checks batches of cases by what is stored and rejected of them.

    One processor takes all batches: it has to go on after each.
    """

    path = "in the database"

    def __init__(
        self, processor: TelemetryProcessor, connection: Connection, prefix: str, totals: Totals, *, keep: int
    ) -> None:
        """Check with ``processor`` on the topics of ``prefix``; count in ``totals``.

        ``connection`` is for reading, in autocommit mode; ``keep`` is the setting TDS_REJECTED_KEEP.
        """
        self._processor, self._connection = processor, connection
        self._prefix, self._totals, self._keep = prefix, totals, keep
        self._packet_reader = PacketReader(prefix)
        self._batches = 0
        self.duplicates = self.conflicts = self.sent_again = 0

    def run(self, seed: int, numbers: Sequence[int], number: int) -> None:
        """Check the cases of these numbers among known-good messages.

        They are on a fleet of their own, the ``number``-th.
        """
        fleet = register(self._connection, number)
        batch: list[Case] = []
        too_deep: list[Case] = []  # apart, so that they do not keep the oracle from checking the whole batch
        for place, one in enumerate(numbers):
            case = make_case(seed, one, fleet, self._prefix)
            checkable = expect(case.topic, case.payload, fleet, self._prefix).checkable
            (batch if checkable else too_deep).append(case)
            if place % GOOD_EVERY == GOOD_EVERY - 1:
                batch.append(good_case(place // GOOD_EVERY, fleet, self._prefix))
        self.compare([*batch, good_case(AFTER, fleet, self._prefix)], fleet)
        if too_deep:
            self.compare([*too_deep, good_case(AFTER + 1, fleet, self._prefix)], fleet)

    def compare(self, batch: list[Case], fleet: Fleet) -> None:
        """Store these cases and check the tables.

        Some batches are sent again; then nothing may change.
        """
        self._batches += 1
        messages = self._packet_reader.read(batch)
        if len(messages) != len(batch):
            self._fail(batch[-1], f"{len(batch)} packets came in, {len(messages)} messages came out")
            return
        last_rejected, counted = self._figure(LAST_REJECTED), self._figure(COUNTED)
        try:
            result = self._processor.process(messages)
        except Exception as error:
            self._fail(
                self._first_failing(batch, messages),
                f"{type(error).__name__} left the pipeline: {error}"[:300],
            )
            return
        rows = self._connection.execute(KEPT_ROWS, [[gateway.id for gateway in fleet.gateways]]).fetchall()
        stored = {(row[2], microseconds(row[3].astimezone(UTC))): row for row in rows}
        self._compare_messages(batch, fleet, result, stored)
        gateways = {"gateways": [gateway.id for gateway in fleet.gateways]}
        if dangling := self._figure(DANGLING, gateways):
            self._fail(batch[-1], f"{dangling} rests lack their readings, or readings their rest")
        self._compare_tables(batch, result, last_rejected, self._figure(COUNTED) - counted)
        if self._batches % SEND_AGAIN_EVERY == 0 and not _sampled(result):
            self._send_again(
                batch, result, (len(rows), self._figure(LAST_REJECTED), self._figure(COUNTED)), fleet
            )

    def close(self) -> None:
        """Free its sockets."""
        self._packet_reader.close()

    # --- a batch --------------------------------------------------------------------------------------------

    def _compare_messages(
        self, batch: list[Case], fleet: Fleet, result: BatchResult, stored: dict[Key, Any]
    ) -> None:
        """Compare the outcome of each message, and the processor's figures."""
        expectations = [expect(case.topic, case.payload, fleet, self._prefix) for case in batch]
        outcomes = [Outcome() for _ in batch]
        for row in result.rejected_rows:
            outcomes[row.message].rejections.append(rejection_of(row))
        assign_answers(batch, expectations, outcomes, result.answers)
        devices = {device.id: device for gateway in fleet.gateways for device in gateway.devices}
        first: dict[Key, Decimal] = {}
        counted: Counter[str] = Counter()
        for case, expectation, outcome in zip(batch, expectations, outcomes, strict=True):
            self._totals.unchecked += not expectation.checkable
            counted.update(self._account(case, expectation, outcome, first, stored, devices))
            self._totals.add(case, outcome, self.path)
            if problems := compare(case, expectation, outcome):
                self._totals.failures.append(Failure(case, problems, self.path))
        self.duplicates += result.duplicates
        self.conflicts += result.conflicts
        if all(expectation.checkable for expectation in expectations):
            self._compare_figures(batch[-1], result, counted + Counter(messages=len(batch)), len(stored))
            if extra := stored.keys() - first.keys():
                self._fail(
                    batch[-1], f"{len(extra)} readings are stored that nobody sent: {sorted(extra)[:3]}"
                )

    def _compare_figures(self, last: Case, result: BatchResult, counted: Counter[str], rows: int) -> None:
        """Compare what the processor says of a batch to what was counted in its ``rows``."""
        figures = {
            "stored": result.stored,
            "duplicates": result.duplicates,
            "conflicts": result.conflicts,
            "messages": result.messages,
        }
        wrong = {name: figure for name, figure in figures.items() if figure != counted[name]}
        if wrong or rows != result.stored:
            self._fail(last, f"the result says {wrong}; counted {dict(counted)}; {rows} rows")

    def _account(
        self,
        case: Case,
        expectation: Expectation,
        outcome: Outcome,
        first: dict[Key, Decimal],
        stored: dict[Key, Any],
        devices: dict[int, KnownDevice],
    ) -> Counter[str]:
        """Find what had to be stored of a case, and note it in ``outcome``.

        It is the reading's row, or that of an earlier reading with its key.

        Right conflicts are taken off the rejections.
        """
        counted: Counter[str] = Counter()
        reasons = {rejection.reading: rejection for rejection in outcome.rejections}
        if not expectation.large and (None in reasons or expectation.refused):
            return counted
        for index, expected in enumerate(expectation.readings):
            rejection = reasons.get(index)
            if expected.faults or (rejection is not None and rejection.reason != "conflito"):
                continue
            key = expected.device_id, expected.time
            again = key in first
            if first.setdefault(key, expected.valor) != expected.valor:
                counted["conflicts"] += 1
                if rejection is None:
                    outcome.problems.append(
                        f"reading {index} contradicts the one before it, and is not rejected"
                    )
                else:
                    outcome.rejections.remove(rejection)
                    self._totals.reasons["conflito"] += 1
                outcome.kept[index] = Kept(*expected[2:])
            elif (row := stored.get(key)) is not None:
                counted["duplicates" if again else "stored"] += 1
                outcome.kept[index] = Kept(row[0], row[1], row[2], key[1], row[4])
                if not again and not _has_brought(case, row[5], devices[expected.device_id], expected.valor):
                    outcome.problems.append(f"payload_raw of reading {index} is {str(row[5])[:200]}")
        return counted

    def _compare_tables(
        self, batch: list[Case], result: BatchResult, last_rejected: int, counted: int
    ) -> None:
        """Check that what is rejected is counted, and kept as it came.

        The table keeps it up to its bounds.
        """
        if counted != len(result.rejected_rows):
            self._fail(batch[-1], f"{len(result.rejected_rows)} are rejected, {counted} more are counted")
        groups = Counter((row.gateway_id, row.refusal.reason.value) for row in result.rejected_rows)
        full = {group for group, size in groups.items() if size > self._keep}
        wanted: Counter[Any] = Counter()
        for row in _with_a_row(result.rejected_rows):
            if (row.gateway_id, row.refusal.reason.value) not in full:
                topic = row.topic.replace("\0", "\ufffd")
                wanted[
                    row.refusal.reason.value,
                    row.refusal.index,
                    topic,
                    row.payload[:65_536],
                    row.gateway_id,
                    row.conta_id,
                ] += 1
        found = Counter(
            (*row[:3], bytes(row[3]), *row[4:])
            for row in self._connection.execute(REJECTED_ROWS, [last_rejected]).fetchall()
            if (row[4], row[0]) not in full
        )
        if found != wanted:
            missing, extra = wanted - found, found - wanted
            self._fail(
                batch[-1],
                f"{missing.total()} rejected rows are missing, {extra.total()} are too many: "
                f"{[*missing, *extra][:2]}"[:500],
            )

    def _send_again(
        self, batch: list[Case], result: BatchResult, before: tuple[int, int, int], fleet: Fleet
    ) -> None:
        """Deliver a batch again, as after a lost PUBACK: nothing may change."""
        self.sent_again += len(batch)
        again = self._processor.process(self._packet_reader.read(batch, redelivered=True))
        rows = self._connection.execute(KEPT_ROWS, [[gateway.id for gateway in fleet.gateways]]).fetchall()
        after = len(rows), self._figure(LAST_REJECTED), self._figure(COUNTED)
        known = result.stored + result.duplicates
        if (again.stored, again.duplicates, again.conflicts) != (
            0,
            known,
            result.conflicts,
        ) or after != before:
            said = (
                f"stored {again.stored}, duplicates {again.duplicates} of {known}, "
                f"conflicts {again.conflicts} of {result.conflicts}"
            )
            self._fail(
                batch[-1],
                f"delivered again: {said}; rows, last rejected, counted {before} became {after}",
            )

    def _first_failing(self, batch: Sequence[Case], messages: Sequence[Message]) -> Case:
        """Return the first case that goes wrong alone, or else the last."""
        for case, message in zip(batch, messages, strict=True):
            try:
                self._processor.process([message])
            except Exception:  # any exception that leaves the pipeline is a finding
                return case
        return batch[-1]

    def _fail(self, case: Case, problem: str) -> None:
        self._totals.failures.append(Failure(case, [problem], f"{self.path}, the batch that ends with it"))

    def _figure(self, query: str, parameters: dict[str, Any] | None = None) -> int:
        row = self._connection.execute(query, parameters).fetchone()
        return int(row[0]) if row else 0


def _with_a_row(refusals: Sequence[RejectedRow]) -> Iterator[RejectedRow]:
    """Yield the refusals that get a row.

    Of a message these are the first of each reason, and more within the bounds. Conflicts are found later, so
    they have bounds of their own.
    """
    rows: Counter[Any] = Counter()
    copied: Counter[Any] = Counter()
    for row in refusals:
        reason, size = row.refusal.reason, len(row.payload)
        found = row.message, reason is Reason.CONFLITO
        fits = copied[found] + size <= BYTES_PER_MESSAGE and rows[row.message, reason] < ROWS_PER_MESSAGE
        if fits or not rows[row.message, reason]:
            rows[row.message, reason] += 1
            copied[found] += size
            yield row


def _has_brought(case: Case, payload_raw: str | None, device: KnownDevice, valor: Decimal) -> bool:
    """Return whether ``payload_raw`` has this reading alone.

    It may be left out where jsonb cannot hold a number of the message.
    """
    if payload_raw is None:
        return HUGE_NUMBER.search(case.payload) is not None
    return brings(written(payload_raw), 0, device, valor)


def _sampled(result: BatchResult) -> bool:
    """Return whether only a sample of a gateway's messages was kept.

    So it is where it was far over the limit. The others are counted each time they come.
    """
    over = Counter(
        row.gateway_id for row in result.rejected_rows if row.refusal.reason is Reason.LIMITE_EXCEDIDO
    )
    return max(over.values(), default=0) > SAMPLE
