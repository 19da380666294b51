"""The only writer of rejected messages.

They are counted, and kept for people to look at and to process again.
"""

import hashlib
from collections import Counter
from datetime import datetime
from typing import Any, NamedTuple

import msgspec
from psycopg import Cursor

from tds_new.ingestion.payload import clean_text
from tds_new.ingestion.refusal import Reason, Refusal

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

# Rows that the bad readings of one message may take for one reason; all of them are counted.
MAX_ROWS_PER_MESSAGE = 50
SAMPLE = 50  # rows of one batch for a gateway over its limit that has its full number of rows already


class RejectedRow(msgspec.Struct, frozen=True, gc=False):
    """A row for ``tds_new_mensagem_rejeitada``.

    ``message`` is the number of its message in the batch.
    """

    message: int
    received_at: datetime
    topic: str
    payload: bytes
    refusal: Refusal
    gateway_id: int | None
    conta_id: int | None

    @property
    def fingerprint(self) -> int:
        """A number that is the same for the same refusal of the same message."""
        identity = f"{self.topic}\0{self.refusal.reason}\0{self.refusal.index}\0".encode(
            "utf-8", "surrogatepass"
        )
        return int.from_bytes(
            hashlib.blake2b(identity + self.payload, digest_size=8).digest(), "big", signed=True
        )


class _Group(NamedTuple):
    """The key by which rejected rows are counted and kept."""

    gateway_id: int | None
    reason: str


def insert_rejected(cursor: Cursor, rows: list[RejectedRow], keep: int, redelivered: set[int]) -> None:
    """Count what was rejected, and keep the newest rows per gateway and reason.

    ``keep`` rows of each are kept. Messages in ``redelivered`` (message numbers) are skipped if their rows
    are stored already. A gateway over its limit that has ``keep`` rows adds only the newest ``SAMPLE`` of a
    batch: otherwise a flood would be written and deleted again at the cost of all other gateways. The
    remaining messages of a flood are only counted. If they are delivered again, they are counted again,
    because counting twice is better than perhaps not at all.
    """
    rows = _without_known(cursor, rows, redelivered)
    if not rows:
        return
    groups: dict[_Group, list[RejectedRow]] = {}
    for row in rows:
        groups.setdefault(_Group(row.gateway_id, row.refusal.reason.value), []).append(row)
    full = _find_full(cursor, groups, keep)
    with cursor.copy(COPY_REJECTED) as copy:
        copy.set_types(COPY_TYPES)
        for group, members in groups.items():
            for row in _newest(members, min(keep, SAMPLE) if group in full else keep):
                copy.write_row(_column_values(row))
    parameters: dict[str, Any] = {
        "gateways": [group.gateway_id for group in groups],
        "reasons": [group.reason for group in groups],
        "totals": [len(members) for members in groups.values()],
        "first": [min(row.received_at for row in members) for members in groups.values()],
        "last": [max(row.received_at for row in members) for members in groups.values()],
        "keep": keep,
    }
    cursor.execute(COUNT_REJECTED, parameters)
    cursor.execute(PRUNE_REJECTED, parameters)


def _without_known(cursor: Cursor, rows: list[RejectedRow], redelivered: set[int]) -> list[RejectedRow]:
    """Return the rows without those that were stored before.

    These are rows of redelivered messages that were rejected for the same reason before.
    """
    again = [row for row in rows if row.message in redelivered]
    if not again:
        return rows
    parameters = [[row.fingerprint for row in again]]
    found = {fingerprint for (fingerprint,) in cursor.execute(FIND_REJECTED, parameters)}
    # Compared by message and reason, not by reading: readings beyond MAX_ROWS_PER_MESSAGE have no row to
    # compare with.
    known = {(row.message, row.refusal.reason) for row in again if row.fingerprint in found}
    return [row for row in rows if (row.message, row.refusal.reason) not in known]


def _find_full(cursor: Cursor, groups: dict[_Group, list[RejectedRow]], keep: int) -> set[_Group]:
    """Return the groups that add only a sample of their rows.

    They are gateways with more than ``SAMPLE`` messages over the limit that have ``keep`` rows already.
    """
    floods = [
        group.gateway_id
        for group, members in groups.items()
        if group.reason == Reason.LIMITE_EXCEDIDO and len(members) > SAMPLE
    ]
    if not floods:
        return set()
    return {
        _Group(gateway_id, Reason.LIMITE_EXCEDIDO.value)
        for (gateway_id,) in cursor.execute(FIND_FULL, {"gateways": floods, "keep": keep})
    }


def _newest(members: list[RejectedRow], keep: int) -> list[RejectedRow]:
    """Return the newest ``keep`` rows of a group.

    One message gets at most ``MAX_ROWS_PER_MESSAGE``, because each row has its payload.
    """
    copies: Counter[int] = Counter()
    kept = []
    for row in members[-keep:]:
        copies[row.message] += 1
        if copies[row.message] <= MAX_ROWS_PER_MESSAGE:
            kept.append(row)
    return kept


def _column_values(row: RejectedRow) -> tuple[Any, ...]:
    """The values for :data:`COPY_REJECTED`."""
    return (
        row.received_at,
        clean_text(row.topic),
        row.payload[:65_536],
        row.refusal.reason.value,
        clean_text(row.refusal.detail),
        row.refusal.index,
        row.gateway_id,
        row.conta_id,
        row.fingerprint,
    )
