"""The only writer of blocks and occurrences.

Rows are written only where they differ from what is stored.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg import Cursor

from tds_new.metering.rules.blocks import Block
from tds_new.metering.rules.segments import Occurrence
from tds_new.metering.times import to_datetime, to_timestamptz

STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS staged_block (
    dispositivo_id bigint NOT NULL, bloco timestamptz NOT NULL, conta_id bigint NOT NULL,
    gateway_id bigint NOT NULL, consumo numeric, leituras integer NOT NULL, fracao_medida numeric NOT NULL,
    qualidade text NOT NULL, minimo numeric, maximo numeric, soma numeric, ultimo numeric, amostras integer
) ON COMMIT DELETE ROWS;
"""
COPY_BLOCKS = "COPY staged_block FROM STDIN"
WRITE_BLOCKS = """
INSERT INTO tds_new_consumo_15min AS b (
    dispositivo_id, bloco, conta_id, gateway_id, consumo, leituras, fracao_medida, qualidade, minimo, maximo,
    soma, ultimo, amostras)
SELECT dispositivo_id, bloco, conta_id, gateway_id, (consumo * 0.000001)::numeric(27,6), leituras,
    (fracao_medida * 0.0001)::numeric(5,4), qualidade, (minimo * 0.000001)::numeric(27,6),
    (maximo * 0.000001)::numeric(27,6), (soma * 0.000001)::numeric(30,6), (ultimo * 0.000001)::numeric(27,6),
    amostras
FROM staged_block
ON CONFLICT (dispositivo_id, bloco, conta_id) DO UPDATE SET
    gateway_id = excluded.gateway_id, consumo = excluded.consumo, leituras = excluded.leituras,
    fracao_medida = excluded.fracao_medida, qualidade = excluded.qualidade, minimo = excluded.minimo,
    maximo = excluded.maximo, soma = excluded.soma, ultimo = excluded.ultimo, amostras = excluded.amostras
"""
# Stored rows are read and compared in Python: a join with the computed rows would read a compressed chunk
# once for every row.
FIND_BLOCKS = """
SELECT b.dispositivo_id, b.conta_id, extract(epoch FROM b.bloco)::bigint, b.gateway_id, b.consumo * 1000000,
    b.leituras, b.fracao_medida * 10000, b.qualidade, b.minimo * 1000000, b.maximo * 1000000,
    b.soma * 1000000, b.ultimo * 1000000, b.amostras
FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS span (device_id, first, last)
JOIN tds_new_consumo_15min b
    ON b.dispositivo_id = span.device_id AND b.bloco >= span.first AND b.bloco < span.last
WHERE b.bloco >= %(first)s AND b.bloco < %(last)s
"""
# One statement for each device: with constants TimescaleDB decompresses this device's rows alone.
DELETE_VANISHED = (
    "DELETE FROM tds_new_consumo_15min WHERE dispositivo_id = %s AND conta_id = %s AND bloco = ANY(%s)"
)
DELETE_OCCURRENCES = (
    "DELETE FROM tds_new_ocorrencia_medicao WHERE dispositivo_id = %s AND leitura_em = ANY(%s)"
)
INSERT_OCCURRENCES = """
INSERT INTO tds_new_ocorrencia_medicao (
    dispositivo_id, conta_id, leitura_em, valor, classe, inicio, valor_base, consumo, decidida_em)
VALUES (%s, %s, %s, %s * 0.0001, %s, %s, %s * 0.0001, %s * 0.0001, %s)
"""
COUNT_CHANGED = """
WITH locked AS (
    SELECT conta_id FROM tds_new_conta_atividade WHERE conta_id = ANY(%(contas)s) ORDER BY conta_id
        FOR NO KEY UPDATE)
UPDATE tds_new_conta_atividade a SET consumo_seq = consumo_seq + 1 FROM locked
WHERE a.conta_id = locked.conta_id
"""


@dataclass(slots=True)
class Result:
    """The new rows of a device's range, which replace what is stored of it.

    ``blocks`` by (Conta, start) replace those in [first, last); ``occurrences`` replace those after ``since``
    up to ``until``. ``contas`` has the Conta of each occurrence's reading, by time.
    """

    device_id: int
    first: int
    last: int
    since: int
    until: int
    blocks: dict[tuple[int, int], Block]
    occurrences: list[Occurrence]
    contas: dict[int, int]


@dataclass(slots=True)
class Written:
    """The result of a write: how many block rows, and the Contas concerned."""

    rows: int = 0
    contas: set[int] = field(default_factory=set)

    def add(self, conta_id: int) -> None:
        """Count a row that was written or deleted."""
        self.rows += 1
        self.contas.add(conta_id)

    def merge(self, other: "Written") -> None:
        """Add what another computation wrote."""
        self.rows += other.rows
        self.contas |= other.contas


def write_occurrences(cursor: Cursor[Any], result: Result, known: list[Occurrence]) -> None:
    """Replace the range's ``known`` occurrences by the new ones, where they differ."""
    old = {o for o in known if result.since < o.time <= result.until}
    new = set(result.occurrences)
    if gone := [to_datetime(o.time) for o in old - new]:
        cursor.execute(DELETE_OCCURRENCES, [result.device_id, gone])
    rows = [
        (
            result.device_id,
            result.contas[o.time],
            to_datetime(o.time),
            o.value,
            o.kind.value,
            to_datetime(o.base_time),
            o.base_value,
            o.amount,
            None if o.settled is None else to_datetime(o.settled),
        )
        for o in sorted(new - old)
    ]
    if rows:
        cursor.executemany(INSERT_OCCURRENCES, rows)


def write_blocks(cursor: Cursor[Any], results: list[Result]) -> Written:
    """Write the blocks that differ from the stored ones; delete those that vanished."""
    written = Written()
    if not results:
        return written
    same = _delete_vanished(cursor, results, written)
    rows = []
    for result in results:
        for (conta_id, start), block in result.blocks.items():
            if (result.device_id, conta_id, start) not in same:
                rows.append(_copied(result.device_id, conta_id, start, block))
                written.add(conta_id)
    if rows:
        cursor.execute(STAGING)
        cursor.execute("DELETE FROM staged_block")  # of an earlier round of this transaction
        with cursor.copy(COPY_BLOCKS) as copy:
            copy.write("".join(rows))
        cursor.execute(WRITE_BLOCKS)
    return written


def _delete_vanished(
    cursor: Cursor[Any], results: list[Result], written: Written
) -> set[tuple[int, int, int]]:
    """Delete the ranges' blocks that vanished, and count them as ``written``.

    Return the keys (device, Conta, start) of the blocks that are stored as they should be.
    """
    parameters = {
        "devices": [r.device_id for r in results],
        "starts": [to_timestamptz(r.first) for r in results],
        "ends": [to_timestamptz(r.last) for r in results],
        "first": to_timestamptz(min(r.first for r in results)),
        "last": to_timestamptz(max(r.last for r in results)),
    }
    new = {r.device_id: r.blocks for r in results}
    same: set[tuple[int, int, int]] = set()
    vanished: dict[tuple[int, int], list[datetime]] = defaultdict(list)
    for device_id, conta_id, seconds, *stored in cursor.execute(FIND_BLOCKS, parameters, binary=True):
        start = seconds * 1_000_000
        if (conta_id, start) not in new[device_id]:
            vanished[device_id, conta_id].append(to_datetime(start))
            written.add(conta_id)
        elif stored == _stored(new[device_id][conta_id, start]):
            same.add((device_id, conta_id, start))
    for (device_id, conta_id), starts in vanished.items():
        cursor.execute(DELETE_VANISHED, [device_id, conta_id, starts])
    return same


def _stored(b: Block) -> list[Any]:
    """Return a block's columns as FIND_BLOCKS gives them."""
    return [
        b.gateway_id,
        b.consumption,
        b.readings,
        b.measured,
        b.quality,
        b.minimum,
        b.maximum,
        b.total,
        b.last,
        b.samples,
    ]


def _copied(device_id: int, conta_id: int, start: int, b: Block) -> str:
    """Return a block as a line for COPY."""
    gauge = (
        "\\N\t\\N\t\\N\t\\N\t\\N"
        if b.samples is None
        else f"{b.minimum}\t{b.maximum}\t{b.total}\t{b.last}\t{b.samples}"
    )
    consumption = "\\N" if b.consumption is None else b.consumption
    at = to_datetime(start).isoformat()
    rest = f"{b.gateway_id}\t{consumption}\t{b.readings}\t{b.measured}\t{b.quality}\t{gauge}"
    return f"{device_id}\t{at}\t{conta_id}\t{rest}\n"


def count_changed(cursor: Cursor[Any], contas: Iterable[int]) -> None:
    """Tell the pages of these Contas that their figures changed."""
    if ordered := sorted(contas):
        cursor.execute(COUNT_CHANGED, {"contas": ordered})
