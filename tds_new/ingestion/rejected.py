"""The only writer of rejected messages.

They are counted, and kept for people to look at and to process again.
"""

import hashlib
from collections.abc import Iterable
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg import Cursor

from tds_new.ingestion.payload import clean_text
from tds_new.ingestion.refusal import MAX_DESCRIBED, Reason, Refusal

COPY_REJECTED = """
COPY tds_new_mensagem_rejeitada
    (recebida_em, topico, payload, motivo, detalhe, leitura_indice, gateway_id, conta_id, impressao)
FROM STDIN WITH (FORMAT binary)
"""
COPY_TYPES = ["timestamptz", "text", "bytea", "varchar", "text", "int4", "int8", "int8", "int8"]
FIND_REJECTED = "SELECT impressao FROM tds_new_mensagem_rejeitada WHERE impressao = ANY(%s)"
COUNT_REJECTED = """
INSERT INTO tds_new_rejeicao_contador (gateway_id, motivo, total, primeira_em, ultima_em)
SELECT gateway_id, motivo, total, primeira_em, ultima_em
FROM unnest(
    %(gateways)s::bigint[], %(reasons)s::text[], %(totals)s::bigint[],
    %(first)s::timestamptz[], %(last)s::timestamptz[]
) AS n (gateway_id, motivo, total, primeira_em, ultima_em)
ORDER BY gateway_id, motivo
ON CONFLICT (gateway_id, motivo) DO UPDATE SET
    total = tds_new_rejeicao_contador.total + excluded.total,
    ultima_em = greatest(tds_new_rejeicao_contador.ultima_em, excluded.ultima_em)
"""
PRUNE_REJECTED = """
DELETE FROM tds_new_mensagem_rejeitada r USING (
    SELECT old.id
    FROM unnest(%(gateways)s::bigint[], %(reasons)s::text[]) AS grouping_key (gateway_id, motivo)
    CROSS JOIN LATERAL (
        SELECT id FROM tds_new_mensagem_rejeitada m
        WHERE m.motivo = grouping_key.motivo AND m.gateway_id IS NOT DISTINCT FROM grouping_key.gateway_id
        ORDER BY id DESC OFFSET %(keep)s
    ) old
) surplus
WHERE r.id = surplus.id
"""
FIND_FULL = """
SELECT candidate.gateway_id FROM unnest(%(gateways)s::bigint[]) AS candidate (gateway_id)
WHERE EXISTS (
    SELECT FROM tds_new_mensagem_rejeitada m
    WHERE m.gateway_id = candidate.gateway_id AND m.motivo = 'limite_excedido' OFFSET %(keep)s - 1
)
"""

# Rows that the bad readings of one message may take: so many for one reason, and no more copies of its
# payload than this, but always one for each reason. All of them are counted.
MAX_ROWS_PER_MESSAGE = MAX_DESCRIBED
MAX_COPIED_BYTES = 1024 * 1024
# What one batch adds for a gateway over its limit that has its full number of rows already.
SAMPLE = 50  # rows
SAMPLE_BYTES = 512 * 1024  # of their payloads
MAX_STORED_BYTES = 65_536  # of a payload


class RejectedMessage(msgspec.Struct, gc=False):
    """A refused message, or the refusals of one message's readings.

    ``message`` is its number in the batch; gateway and Conta are None where they are not known. Without
    ``has_copies``, it gets one row for each reason and no more.
    """

    message: int
    received_at: datetime
    topic: str
    payload: bytes
    refusals: list[Refusal]
    gateway_id: int | None
    conta_id: int | None
    has_copies: bool = True
    _digest: bytes = b""

    @property
    def reasons(self) -> int:
        """The number of different reasons."""
        return len({refusal.reason for refusal in self.refusals})

    def copied_bytes(self) -> int:
        """Return how many bytes its rows beyond one for each reason may take."""
        reasons, size = self.reasons, max(1, len(self.payload))
        rows = min(len(self.refusals), reasons * MAX_ROWS_PER_MESSAGE, MAX_COPIED_BYTES // size)
        return size * max(0, rows - reasons)

    def fingerprint(self, refusal: Refusal) -> int:
        """Return a number that is the same for the same refusal of the same message.

        The payload is hashed once, however many refusals there are.
        """
        if not self._digest:
            topic = self.topic.encode("utf-8", "surrogatepass")
            self._digest = hashlib.blake2b(topic + b"\0" + self.payload, digest_size=16).digest()
        identity = f"{refusal.reason}\0{refusal.index}\0".encode() + self._digest
        return int.from_bytes(hashlib.blake2b(identity, digest_size=8).digest(), "big", signed=True)


class RejectedRow(msgspec.Struct, frozen=True, gc=False):
    """One refusal with its message, which may get a row in the table.

    ``message`` is the number of its message in the batch.
    """

    message: int
    received_at: datetime
    topic: str
    payload: bytes
    refusal: Refusal
    gateway_id: int | None
    conta_id: int | None


class _Group(NamedTuple):
    """The key by which rejected rows are counted and kept."""

    gateway_id: int | None
    reason: Reason


class _Part(msgspec.Struct):
    """The refusals of one message for one reason.

    ``rows`` are the first of them, which may get a row; ``count`` is their number.
    """

    source: RejectedMessage
    reason: Reason
    rows: list[Refusal]
    count: int = 1


def rows_of(messages: Iterable[RejectedMessage]) -> list[RejectedRow]:
    """Return every refusal of these messages with its message."""
    return [
        RejectedRow(m.message, m.received_at, m.topic, m.payload, refusal, m.gateway_id, m.conta_id)
        for m in messages
        for refusal in m.refusals
    ]


def insert_rejected(
    cursor: Cursor, messages: list[RejectedMessage], keep: int, redelivered: set[int]
) -> None:
    """Count what was rejected, and keep the newest rows per gateway and reason.

    ``keep`` rows of each are kept. Messages in ``redelivered`` (message numbers) are skipped if their rows
    are stored already. A gateway over its limit that has ``keep`` rows adds only the newest ``SAMPLE`` of a
    batch, and not more than ``SAMPLE_BYTES``: otherwise a flood would be written and deleted again at the
    cost of all other gateways. The remaining messages of a flood are only counted. If they are delivered
    again, they are counted again, because counting twice is better than perhaps not at all.
    """
    parts = _without_known(cursor, _parts_of(messages), redelivered)
    if not parts:
        return
    groups: dict[_Group, list[_Part]] = {}
    for part in parts:
        groups.setdefault(_Group(part.source.gateway_id, part.reason), []).append(part)
    full = _find_full(cursor, groups, keep)
    with cursor.copy(COPY_REJECTED) as copy:
        copy.set_types(COPY_TYPES)
        for group, members in groups.items():
            for source, refusal in _newest(members, keep, is_full=group in full):
                copy.write_row(_column_values(source, refusal))
    parameters: dict[str, Any] = {
        "gateways": [group.gateway_id for group in groups],
        "reasons": [group.reason.value for group in groups],
        "totals": [sum(part.count for part in members) for members in groups.values()],
        "first": [min(part.source.received_at for part in members) for members in groups.values()],
        "last": [max(part.source.received_at for part in members) for members in groups.values()],
        "keep": keep,
    }
    cursor.execute(COUNT_REJECTED, parameters)
    cursor.execute(PRUNE_REJECTED, parameters)


def kept_refusals(source: RejectedMessage) -> list[Refusal]:
    """Return the refusals of a message that get a row.

    Its payload is copied into each.
    """
    return [refusal for part in _parts_of([source]) for refusal in part.rows]


def _parts_of(messages: Iterable[RejectedMessage]) -> list[_Part]:
    """Return the refusals of each message for each reason, in their order."""
    parts: list[_Part] = []
    for source in messages:
        by_reason: dict[Reason, _Part] = {}
        room = MAX_COPIED_BYTES // max(1, len(source.payload)) if source.has_copies else 0
        for refusal in source.refusals:
            part = by_reason.get(refusal.reason)
            if part is None:
                by_reason[refusal.reason] = _Part(source, refusal.reason, [refusal])
                room -= 1
                continue
            part.count += 1
            if room > 0 and len(part.rows) < MAX_ROWS_PER_MESSAGE:
                part.rows.append(refusal)
                room -= 1
        parts += by_reason.values()
    return parts


def _without_known(cursor: Cursor, parts: list[_Part], redelivered: set[int]) -> list[_Part]:
    """Return the refusals without those that were stored before.

    These are of redelivered messages that were rejected for the same reason before. Two rows are looked for:
    the first that a message has for the reason, and the last, which is there if older ones are deleted.
    """
    probes = [
        ((part.source.message, part.reason), part.source.fingerprint(refusal))
        for part in parts
        if part.source.message in redelivered
        for refusal in part.rows[:1] + part.rows[1:][-1:]
    ]
    if not probes:
        return parts
    parameters = [[fingerprint for _, fingerprint in probes]]
    found = {fingerprint for (fingerprint,) in cursor.execute(FIND_REJECTED, parameters)}
    known = {key for key, fingerprint in probes if fingerprint in found}
    return [part for part in parts if (part.source.message, part.reason) not in known]


def _find_full(cursor: Cursor, groups: dict[_Group, list[_Part]], keep: int) -> set[_Group]:
    """Return the groups that add only a sample of their rows.

    They are gateways with more messages over the limit than the sample that have ``keep`` rows already.
    """
    floods = [
        group.gateway_id
        for group, members in groups.items()
        if group.reason is Reason.LIMITE_EXCEDIDO
        and (len(members) > SAMPLE or sum(len(part.source.payload) for part in members) > SAMPLE_BYTES)
    ]
    if not floods:
        return set()
    return {
        _Group(gateway_id, Reason.LIMITE_EXCEDIDO)
        for (gateway_id,) in cursor.execute(FIND_FULL, {"gateways": floods, "keep": keep})
    }


def _newest(members: list[_Part], keep: int, *, is_full: bool) -> list[tuple[RejectedMessage, Refusal]]:
    """Return the refusals of a group that get a row.

    They are the newest ``keep``, in their order. Of a group that ``is_full`` it is a sample.
    """
    rows, room = (min(keep, SAMPLE), SAMPLE_BYTES) if is_full else (keep, None)
    newest: list[tuple[RejectedMessage, Refusal]] = []
    for part in reversed(members):
        newest += [(part.source, refusal) for refusal in reversed(part.rows)]
        if room is not None:
            room -= len(part.source.payload)
        if len(newest) >= rows or (room is not None and room <= 0):
            break
    return newest[:rows][::-1]


def _column_values(source: RejectedMessage, refusal: Refusal) -> tuple[Any, ...]:
    """The values for :data:`COPY_REJECTED`."""
    return (
        source.received_at,
        clean_text(source.topic),
        source.payload[:MAX_STORED_BYTES],
        refusal.reason.value,
        clean_text(refusal.detail),
        refusal.index,
        source.gateway_id,
        source.conta_id,
        source.fingerprint(refusal),
    )
