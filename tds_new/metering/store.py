"""The only writer of blocks, occurrences and what else the ledger keeps.

Rows are written only where they differ from what is stored.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.conf import settings
from psycopg import Cursor
from psycopg.types.json import Jsonb

from tds_new.metering.inputs import Span, StoredBlock, load_blocks
from tds_new.metering.rules.blocks import Block
from tds_new.metering.rules.segments import Occurrence, State
from tds_new.metering.times import (
    BEGINNING,
    DAY_US,
    END,
    HOUR_US,
    hour_end,
    hour_start,
    now_us,
    to_datetime,
    to_timestamptz,
)

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
# One statement for each device: with constants TimescaleDB decompresses this device's rows alone.
DELETE_VANISHED = (
    "DELETE FROM tds_new_consumo_15min WHERE dispositivo_id = %s AND conta_id = %s AND bloco = ANY(%s)"
)
DELETE_OCCURRENCES = (
    "DELETE FROM tds_new_ocorrencia_medicao WHERE dispositivo_id = %s AND leitura_em = ANY(%s)"
)
INSERT_OCCURRENCES = """
INSERT INTO tds_new_ocorrencia_medicao (
    dispositivo_id, conta_id, leitura_em, valor, classe, inicio, valor_base, consumo, decidida_em, espera,
    regra, numeros)
VALUES (%s, %s, %s, %s * 0.0001, %s, %s, %s * 0.0001, %s * 0.0001, %s, %s, %s, %s)
"""
DELETE_STATES = "DELETE FROM tds_new_consumo_retomada WHERE dispositivo_id = %s AND leitura_em = ANY(%s)"
INSERT_STATES = """
INSERT INTO tds_new_consumo_retomada (dispositivo_id, leitura_em, estado) VALUES (%s, %s, %s)
"""
# Of a register that keeps jumping there is a state for each hour; of what hardly changes any more, the first
# of each day is enough. ``origin`` is where the device's figures begin.
THIN_OUT_STATES = """
DELETE FROM tds_new_consumo_retomada r
WHERE dispositivo_id = %(device)s AND leitura_em < %(until)s AND leitura_em <> %(origin)s AND EXISTS (
    SELECT FROM tds_new_consumo_retomada earlier
    WHERE earlier.dispositivo_id = r.dispositivo_id AND earlier.leitura_em < r.leitura_em
      AND earlier.leitura_em >= date_trunc('day', r.leitura_em, 'UTC'))
"""
WRITE_HEADS = """
INSERT INTO tds_new_consumo_estado AS e (
    dispositivo_id, assentado_ate, provisorio_desde, pico_hora, pico_valor, a_julgar_desde, cadeia_desde)
SELECT device_id, settled, provisional, peak_hour, (peak * 0.000001)::numeric(30,6), unjudged, chain
FROM unnest(%s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::numeric[],
    %s::timestamptz[], %s::timestamptz[])
    AS head (device_id, settled, provisional, peak_hour, peak, unjudged, chain)
ON CONFLICT (dispositivo_id) DO UPDATE SET
    assentado_ate = excluded.assentado_ate, provisorio_desde = excluded.provisorio_desde,
    pico_hora = excluded.pico_hora, pico_valor = excluded.pico_valor,
    a_julgar_desde = excluded.a_julgar_desde, cadeia_desde = excluded.cadeia_desde
"""
NOTE_WAITING = """
UPDATE tds_new_consumo_estado SET reconstruir_desde = least(reconstruir_desde, %s)
WHERE dispositivo_id = %s AND (reconstruir_desde IS NULL OR reconstruir_desde > %s)
"""
COUNT_CHANGED = """
WITH locked AS (
    SELECT conta_id FROM tds_new_conta_atividade WHERE conta_id = ANY(%(contas)s) ORDER BY conta_id
        FOR NO KEY UPDATE)
UPDATE tds_new_conta_atividade a SET consumo_seq = consumo_seq + 1 FROM locked
WHERE a.conta_id = locked.conta_id
"""


@dataclass(slots=True)
class Head:
    """What is noted of a device once its newest reading was computed.

    Only readings after ``settled_until`` can be changed by later ones. ``provisional_since``: from where on
    figures may still move, None if nothing strange is open. ``peak`` (whole 0.000001) is what the hour
    ``peak_hour`` holds, a large one of the last days; ``unjudged_since``: from where on large consumption
    could not be judged yet; ``chain_since``: the
    first reading of the newest chain. Each is None if it is not known.
    """

    settled_until: int | None
    provisional_since: int | None
    peak_hour: int | None = None
    peak: int | None = None
    unjudged_since: int | None = None
    chain_since: int | None = None


@dataclass(slots=True)
class Result:
    """The new rows of a device's range, which replace what is stored of it.

    ``blocks`` by (Conta, start) replace those in [first, last); ``occurrences`` by time replace ``known``,
    those after ``since`` up to ``until``. ``contas`` has the Conta of each occurrence's reading, by time.
    ``states`` replace ``kept_states``, both by the reading's time; ``origin`` is where
    the device's figures begin. ``stored`` are the blocks that are stored
    in the hours of the range and in one beside it at either end. ``head``: None where the range does not
    reach the newest reading.
    """

    device_id: int
    first: int
    last: int
    since: int
    until: int
    blocks: dict[tuple[int, int], Block]
    occurrences: dict[int, Occurrence]
    known: set[Occurrence]
    contas: dict[int, int]
    states: dict[int, State]
    kept_states: dict[int, State]
    head: Head | None
    origin: int
    stored: dict[tuple[int, int], StoredBlock] = field(default_factory=dict)


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


def write(cursor: Cursor[Any], results: list[Result]) -> Written:
    """Write what differs from what is stored: blocks, occurrences, states and heads."""
    for result in results:
        _write_occurrences(cursor, result)
        _write_states(cursor, result)
    _write_heads(cursor, results)
    return write_blocks(cursor, results)


def load_stored(cursor: Cursor[Any], results: list[Result]) -> None:
    """Load the stored blocks that the results are compared with."""
    spans = [Span(r.device_id, _hour_before(r.first), _hour_after(r.last)) for r in results]
    for result, stored in zip(results, load_blocks(cursor, spans), strict=True):
        result.stored = stored


def _hour_before(time: int) -> int:
    return time if time <= BEGINNING else hour_start(time) - HOUR_US


def _hour_after(time: int) -> int:
    return time if time >= END else hour_end(time - 1) + HOUR_US


def note_waiting(cursor: Cursor[Any], device_id: int, since: int) -> None:
    """Note that something before the present rules waits for ``rebuild_consumption``."""
    moment = to_timestamptz(since)
    cursor.execute(NOTE_WAITING, [moment, device_id, moment])


def _write_occurrences(cursor: Cursor[Any], result: Result) -> None:
    new = set(result.occurrences.values())
    if gone := [to_datetime(o.time) for o in result.known - new]:
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
            o.waits,
            o.rule,
            Jsonb(dict(o.numbers)),
        )
        for o in sorted(new - result.known, key=lambda occurrence: occurrence.time)
    ]
    if rows:
        cursor.executemany(INSERT_OCCURRENCES, rows)


def _write_states(cursor: Cursor[Any], result: Result) -> None:
    changed = {t for t, s in result.states.items() if result.kept_states.get(t) != s}
    gone = result.kept_states.keys() - (result.states.keys() - changed)
    if gone:
        cursor.execute(DELETE_STATES, [result.device_id, [to_datetime(t) for t in sorted(gone)]])
    rows = [
        (
            result.device_id,
            to_datetime(t),
            Jsonb({"line": result.states[t].line, "jumps": result.states[t].jumps}),
        )
        for t in sorted(changed)
    ]
    if rows:
        cursor.executemany(INSERT_STATES, rows)
        lateness = settings.TDS_MAX_LATENESS_DAYS * DAY_US
        parameters = {
            "device": result.device_id,
            "until": to_datetime(now_us() - lateness),
            "origin": to_timestamptz(result.origin),
        }
        cursor.execute(THIN_OUT_STATES, parameters)


def _write_heads(cursor: Cursor[Any], results: list[Result]) -> None:
    heads = [(r.device_id, r.head) for r in results if r.head is not None]
    if heads:
        cursor.execute(
            WRITE_HEADS,
            [
                [device_id for device_id, _ in heads],
                [_moment(head.settled_until) for _, head in heads],
                [_moment(head.provisional_since) for _, head in heads],
                [_moment(head.peak_hour) for _, head in heads],
                [head.peak for _, head in heads],
                [_moment(head.unjudged_since) for _, head in heads],
                [_moment(head.chain_since) for _, head in heads],
            ],
        )


def _moment(time: int | None) -> datetime | None:
    return None if time is None else to_datetime(time)


def write_blocks(cursor: Cursor[Any], results: list[Result]) -> Written:
    """Write the blocks that differ from the stored ones; delete those that vanished."""
    written = Written()
    rows = []
    for result in results:
        _delete_vanished(cursor, result, written)
        for (conta_id, start), block in result.blocks.items():
            stored = result.stored.get((conta_id, start))
            if stored is None or stored.columns != _columns(block):
                rows.append(_copied(result.device_id, conta_id, start, block))
                written.add(conta_id)
    if rows:
        cursor.execute(STAGING)
        cursor.execute("DELETE FROM staged_block")  # of an earlier round of this transaction
        with cursor.copy(COPY_BLOCKS) as copy:
            copy.write("".join(rows))
        cursor.execute(WRITE_BLOCKS)
    return written


def _delete_vanished(cursor: Cursor[Any], result: Result, written: Written) -> None:
    """Delete the range's blocks that vanished, and count them as ``written``."""
    vanished: dict[int, list[datetime]] = defaultdict(list)
    for conta_id, start in result.stored.keys() - result.blocks.keys():
        if result.first <= start < result.last:
            vanished[conta_id].append(to_datetime(start))
            written.add(conta_id)
    for conta_id, starts in vanished.items():
        cursor.execute(DELETE_VANISHED, [result.device_id, conta_id, starts])


def _columns(b: Block) -> list[Any]:
    """Return a block's columns as they are stored."""
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
