"""Messages, and single readings, that cannot be stored: counted, and kept for people to look at and process again."""

import hashlib
from collections import Counter
from datetime import datetime
from typing import Any

import msgspec
from psycopg import Cursor

from tds_new.ingestion.payload import clean_text
from tds_new.ingestion.refusal import Reason, Refusal

COPY_REJECTED = """
COPY tds_new_mensagem_rejeitada
    (recebida_em, topico, payload, motivo, detalhe, leitura_indice, gateway_id, conta_id, impressao)
FROM STDIN WITH (FORMAT binary)
"""
FIND_REJECTED = "SELECT impressao FROM tds_new_mensagem_rejeitada WHERE impressao = ANY(%s)"
COUNT_REJECTED = """
INSERT INTO tds_new_rejeicao_contador (gateway_id, motivo, total, primeira_em, ultima_em)
SELECT gateway_id, motivo, total, primeira_em, ultima_em
FROM unnest(%(gateways)s::bigint[], %(reasons)s::text[], %(totals)s::bigint[], %(first)s::timestamptz[], %(last)s::timestamptz[])
    AS nova (gateway_id, motivo, total, primeira_em, ultima_em)
ORDER BY gateway_id, motivo
ON CONFLICT (gateway_id, motivo) DO UPDATE SET
    total = tds_new_rejeicao_contador.total + excluded.total,
    ultima_em = greatest(tds_new_rejeicao_contador.ultima_em, excluded.ultima_em)
"""
PRUNE_REJECTED = """
DELETE FROM tds_new_mensagem_rejeitada r USING (
    SELECT velha.id
    FROM unnest(%(gateways)s::bigint[], %(reasons)s::text[]) AS chave (gateway_id, motivo)
    CROSS JOIN LATERAL (
        SELECT id FROM tds_new_mensagem_rejeitada m
        WHERE m.motivo = chave.motivo AND m.gateway_id IS NOT DISTINCT FROM chave.gateway_id
        ORDER BY id DESC OFFSET %(keep)s
    ) velha
) velhas
WHERE r.id = velhas.id
"""
FIND_FULL = """
SELECT chave.gateway_id FROM unnest(%(gateways)s::bigint[]) AS chave (gateway_id)
WHERE EXISTS (
    SELECT FROM tds_new_mensagem_rejeitada m
    WHERE m.gateway_id = chave.gateway_id AND m.motivo = 'limite_excedido' OFFSET %(keep)s - 1
)
"""

MAX_ROWS_PER_MESSAGE = (
    50  # rows that one message's bad readings may take for one reason; all of them are counted
)
SAMPLE = 50  # rows that one batch adds to a full group of messages over the limit


class RejectedRow(msgspec.Struct, frozen=True, gc=False):
    """A row for ``tds_new_mensagem_rejeitada``."""

    message: int
    received_at: datetime
    topic: str
    payload: bytes
    refusal: Refusal
    gateway_id: int | None
    conta_id: int | None

    @property
    def fingerprint(self) -> int:
        """The same for the same refusal of the same message."""
        identity = f"{self.topic}\0{self.refusal.reason}\0{self.refusal.index}\0".encode(
            "utf-8", "surrogatepass"
        )
        return int.from_bytes(
            hashlib.blake2b(identity + self.payload, digest_size=8).digest(), "big", signed=True
        )


def insert_rejected(cursor: Cursor, rows: list[RejectedRow], keep: int, redelivered: set[int]) -> None:
    """Set messages aside: all are counted, the newest ``keep`` per gateway and reason are kept.

    Of a gateway's messages over its limit, once ``keep`` of them are there, a batch keeps its newest ``SAMPLE`` only: a flood would be
    written and deleted again otherwise, at the cost of everybody else. The others of these leave no trace but the count: delivered again,
    they are counted again, rather than perhaps not at all.
    Of messages that the broker delivers again (``redelivered``, message numbers), what is set aside already is passed over.
    """
    again = [row.fingerprint for row in rows if row.message in redelivered]
    if again:
        found = {fingerprint for (fingerprint,) in cursor.execute(FIND_REJECTED, [again])}
        # By message and reason: past MAX_ROWS_PER_MESSAGE its readings have no row to be found.
        known = {
            (row.message, row.refusal.reason)
            for row in rows
            if row.message in redelivered and row.fingerprint in found
        }
        rows = [row for row in rows if (row.message, row.refusal.reason) not in known]
    if not rows:
        return
    groups: dict[tuple[int | None, str], list[RejectedRow]] = {}
    for row in rows:
        groups.setdefault((row.gateway_id, row.refusal.reason.value), []).append(row)
    full = _full(cursor, groups, keep)
    with cursor.copy(COPY_REJECTED) as copy:
        copy.set_types(["timestamptz", "text", "bytea", "varchar", "text", "int4", "int8", "int8", "int8"])
        for key, group in groups.items():
            for row in _kept(group, min(keep, SAMPLE) if key in full else keep):
                copy.write_row(_rejected_values(row))
    keys = list(groups)
    parameters: dict[str, Any] = {
        "gateways": [gateway for gateway, _ in keys],
        "reasons": [reason for _, reason in keys],
        "totals": [len(group) for group in groups.values()],
        "first": [min(row.received_at for row in group) for group in groups.values()],
        "last": [max(row.received_at for row in group) for group in groups.values()],
        "keep": keep,
    }
    cursor.execute(COUNT_REJECTED, parameters)
    cursor.execute(PRUNE_REJECTED, parameters)


def _full(
    cursor: Cursor, groups: dict[tuple[int | None, str], list[RejectedRow]], keep: int
) -> set[tuple[int | None, str]]:
    """The groups over the limit, and too large to be kept whole, of which ``keep`` rows are there already."""
    floods = [
        gateway
        for (gateway, reason), group in groups.items()
        if reason == Reason.LIMITE_EXCEDIDO and len(group) > SAMPLE
    ]
    if not floods:
        return set()
    return {
        (gateway, Reason.LIMITE_EXCEDIDO.value)
        for (gateway,) in cursor.execute(FIND_FULL, {"gateways": floods, "keep": keep})
    }


def _kept(group: list[RejectedRow], keep: int) -> list[RejectedRow]:
    """The newest rows, of one message only so many that its payload is not copied without end."""
    copies: Counter[int] = Counter()
    kept = []
    for row in group[-keep:]:
        copies[row.message] += 1
        if copies[row.message] <= MAX_ROWS_PER_MESSAGE:
            kept.append(row)
    return kept


def _rejected_values(row: RejectedRow) -> tuple[Any, ...]:
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
