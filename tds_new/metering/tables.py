"""The ledger's tables: readings and what is entered about meters in, blocks and occurrences out. All SQL of the consumption's figures."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

from psycopg import Cursor

from tds_new.metering.blocks import Block, Chain
from tds_new.metering.meter import Meter, MeterChange, Parameters
from tds_new.metering.segments import Occurrence, SegmentClass

BEGINNING, END = -(2**62), 2**62  # before and after all readings

STAGING = """
CREATE TEMPORARY TABLE IF NOT EXISTS etapa_bloco (
    dispositivo_id bigint NOT NULL, bloco timestamptz NOT NULL, conta_id bigint NOT NULL, gateway_id bigint NOT NULL, consumo numeric,
    leituras integer NOT NULL, fracao_medida numeric NOT NULL, qualidade text NOT NULL,
    minimo numeric, maximo numeric, soma numeric, ultimo numeric, amostras integer
) ON COMMIT DELETE ROWS;
"""

LOAD_METERS = """
SELECT d.id, g.intervalo_esperado_s, (d.fator_conversao * 1000000)::bigint, (d.valor_maximo_registro * 10000)::bigint,
    (d.consumo_maximo_hora * 10000)::bigint, (d.tolerancia_queda * 10000)::bigint
FROM tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id WHERE d.id = ANY(%s)
"""
LOAD_DATED = """
SELECT dispositivo_id, (extract(epoch FROM desde) * 1000000)::bigint, (fator_conversao * 1000000)::bigint,
    (valor_maximo_registro * 10000)::bigint, (consumo_maximo_hora * 10000)::bigint, (tolerancia_queda * 10000)::bigint
FROM tds_new_vigencia_parametros WHERE dispositivo_id = ANY(%s) ORDER BY desde
"""
LOAD_CHANGES = """
SELECT dispositivo_id, (extract(epoch FROM ocorrida_em) * 1000000)::bigint, (leitura_final * 10000)::bigint,
    (leitura_inicial * 10000)::bigint
FROM tds_new_troca_medidor WHERE dispositivo_id = ANY(%s) ORDER BY ocorrida_em
"""
# What was decided on readings that are dropped by now holds as it was then, whatever people do about it later: no anchor is a discarded
# reading, and one that was approved is marked.
LOAD_DECISIONS = """
SELECT dispositivo_id, (extract(epoch FROM leitura_em) * 1000000)::bigint, decisao = 'APROVADA'
FROM tds_new_revisao_leitura WHERE dispositivo_id = ANY(%(devices)s)
    AND leitura_em >= coalesce((SELECT ate FROM tds_new_consumo_congelado), '-infinity')
UNION ALL
SELECT dispositivo_id, (extract(epoch FROM leitura_em) * 1000000)::bigint, true
FROM tds_new_consumo_ancora WHERE dispositivo_id = ANY(%(devices)s) AND aprovada
"""
LOAD_OCCURRENCES = """
SELECT o.dispositivo_id, (extract(epoch FROM leitura_em) * 1000000)::bigint, (valor * 10000)::bigint, classe,
    (extract(epoch FROM o.inicio) * 1000000)::bigint, (valor_base * 10000)::bigint, (consumo * 10000)::bigint,
    (extract(epoch FROM decidida_em) * 1000000)::bigint
FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[]) AS f (id, inicio)
JOIN tds_new_ocorrencia_medicao o ON o.dispositivo_id = f.id AND coalesce(o.decidida_em, 'infinity') >= f.inicio
"""
LOAD_DROPPED = "SELECT (extract(epoch FROM ate) * 1000000)::bigint FROM tds_new_consumo_congelado"
LOAD_FINAL = """
SELECT DISTINCT dispositivo_id, (extract(epoch FROM final_ate) * 1000000)::bigint
FROM tds_new_consumo_ancora WHERE dispositivo_id = ANY(%s)
"""
LOAD_ANCHORS = """
SELECT a.dispositivo_id, conta_id, gateway_id, tipo_leitura, unidade, (extract(epoch FROM leitura_em) * 1000000)::bigint,
    (valor * 10000)::bigint
FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS f (id, inicio, fim)
JOIN tds_new_consumo_ancora a ON a.dispositivo_id = f.id AND a.leitura_em >= f.inicio AND a.leitura_em < f.fim
"""
# The bounds of all ranges as constants, so that only the chunks concerned are looked at.
LOAD_READINGS = """
SELECT l.dispositivo_id, l.conta_id, l.gateway_id, l.tipo_leitura, l.unidade,
    array_agg((extract(epoch FROM l.time) * 1000000)::bigint ORDER BY l.time), array_agg((l.valor * 10000)::bigint ORDER BY l.time)
FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS f (id, inicio, fim)
JOIN tds_new_leitura_dispositivo l ON l.dispositivo_id = f.id AND l.time >= f.inicio AND l.time < f.fim
WHERE l.time >= %(first)s AND l.time < %(last)s
GROUP BY 1, 2, 3, 4, 5
"""
NTH_BEFORE = """
SELECT (extract(epoch FROM time) * 1000000)::bigint FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %s AND time < %s ORDER BY time DESC OFFSET %s LIMIT 1
"""
NTH_FROM = """
SELECT (extract(epoch FROM time) * 1000000)::bigint FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %s AND time >= %s ORDER BY time OFFSET %s LIMIT 1
"""
COUNT_FROM = """
SELECT count(*), (extract(epoch FROM max(time)) * 1000000)::bigint FROM (
    SELECT time FROM tds_new_leitura_dispositivo WHERE dispositivo_id = %s AND time >= %s AND time <= %s ORDER BY time LIMIT %s) first
"""

COPY_BLOCKS = "COPY etapa_bloco FROM STDIN"
WRITE_BLOCKS = """
INSERT INTO tds_new_consumo_15min AS b (dispositivo_id, bloco, conta_id, gateway_id, consumo, leituras, fracao_medida, qualidade,
    minimo, maximo, soma, ultimo, amostras)
SELECT dispositivo_id, bloco, conta_id, gateway_id, (consumo * 0.000001)::numeric(27,6), leituras, (fracao_medida * 0.0001)::numeric(5,4),
    qualidade, (minimo * 0.000001)::numeric(27,6), (maximo * 0.000001)::numeric(27,6), (soma * 0.000001)::numeric(30,6),
    (ultimo * 0.000001)::numeric(27,6), amostras
FROM etapa_bloco
ON CONFLICT (dispositivo_id, bloco, conta_id) DO UPDATE SET
    gateway_id = excluded.gateway_id, consumo = excluded.consumo, leituras = excluded.leituras, fracao_medida = excluded.fracao_medida,
    qualidade = excluded.qualidade, minimo = excluded.minimo, maximo = excluded.maximo, soma = excluded.soma, ultimo = excluded.ultimo,
    amostras = excluded.amostras
"""
# What is stored of the ranges, to be compared here: a join with what was computed reads a compressed chunk once for every row.
FIND_BLOCKS = """
SELECT b.dispositivo_id, b.conta_id, extract(epoch FROM b.bloco)::bigint, b.gateway_id, b.consumo * 1000000, b.leituras,
    b.fracao_medida * 10000, b.qualidade, b.minimo * 1000000, b.maximo * 1000000, b.soma * 1000000, b.ultimo * 1000000, b.amostras
FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[]) AS f (id, inicio, fim)
JOIN tds_new_consumo_15min b ON b.dispositivo_id = f.id AND b.bloco >= f.inicio AND b.bloco < f.fim
WHERE b.bloco >= %(first)s AND b.bloco < %(last)s
"""
# One statement a device: with constants TimescaleDB decompresses this device's rows alone.
DELETE_VANISHED = (
    "DELETE FROM tds_new_consumo_15min WHERE dispositivo_id = %s AND conta_id = %s AND bloco = ANY(%s)"
)
DELETE_OCCURRENCES = (
    "DELETE FROM tds_new_ocorrencia_medicao WHERE dispositivo_id = %s AND leitura_em = ANY(%s)"
)
INSERT_OCCURRENCES = """
INSERT INTO tds_new_ocorrencia_medicao (dispositivo_id, conta_id, leitura_em, valor, classe, inicio, valor_base, consumo, decidida_em)
VALUES (%s, %s, %s, %s * 0.0001, %s, %s, %s * 0.0001, %s * 0.0001, %s)
"""
COUNT_CHANGED = """
WITH presa AS (SELECT conta_id FROM tds_new_conta_atividade WHERE conta_id = ANY(%(contas)s) ORDER BY conta_id FOR NO KEY UPDATE)
UPDATE tds_new_conta_atividade a SET consumo_seq = consumo_seq + 1 FROM presa WHERE a.conta_id = presa.conta_id
"""


class Span(NamedTuple):
    """A device's reading times from ``start`` to ``end``, microseconds since 1970."""

    device_id: int
    start: int
    end: int


@dataclass(slots=True)
class Result:
    """New rows of a range: blocks in [first, last) and occurrences after ``since`` up to ``until`` replace what is stored."""

    device_id: int
    first: int
    last: int
    since: int
    until: int
    blocks: dict[tuple[int, int], Block]
    occurrences: list[Occurrence]
    contas: dict[int, int]  # whose the reading of each occurrence is


@dataclass(slots=True)
class Written:
    """What a computation wrote: how many block rows, and the Contas concerned."""

    rows: int = 0
    contas: set[int] = field(default_factory=set)

    def add(self, conta_id: int) -> None:
        """Count a row that was written or taken away."""
        self.rows += 1
        self.contas.add(conta_id)

    def merge(self, other: "Written") -> None:
        """Add what another computation wrote."""
        self.rows += other.rows
        self.contas |= other.contas


def moment(time: int) -> datetime:
    """A time in microseconds as an aware datetime."""
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=time)


def text(time: int) -> str:
    """A time in microseconds as PostgreSQL reads it, infinities included."""
    return "-infinity" if time <= BEGINNING else "infinity" if time >= END else moment(time).isoformat()


def load_meters(cursor: Cursor[Any], devices: list[int]) -> dict[int, Meter]:
    """Everything entered about the devices' meters, as far as it takes effect. A device that is gone is left out."""
    meters: dict[int, Meter] = {}
    for device, interval, factor, modulus, maximum, tolerance in cursor.execute(LOAD_METERS, [devices]):
        meters[device] = Meter(interval * 1_000_000, Parameters(modulus, maximum, tolerance, factor))
    for device, since, factor, modulus, maximum, tolerance in cursor.execute(LOAD_DATED, [devices]):
        meters[device].dated.append((since, Parameters(modulus, maximum, tolerance, factor)))
    for device, time, final, initial in cursor.execute(LOAD_CHANGES, [devices]):
        meters[device].changes.append(MeterChange(time, final, initial))
    for device, time, approved in cursor.execute(LOAD_DECISIONS, {"devices": devices}):
        (meters[device].approved if approved else meters[device].discarded).add(time)
    return meters


def load_final(cursor: Cursor[Any], devices: list[int]) -> dict[int, int]:
    """The time before which a device's blocks are final, where readings of it were dropped. It holds as long as its partition is locked."""
    return dict(cursor.execute(LOAD_FINAL, [devices]).fetchall())


def load_occurrences(cursor: Cursor[Any], spans: Sequence[Span]) -> dict[int, list[Occurrence]]:
    """What the ledger has of each device that was decided in its span or later; final ones too, for they say which anchors are no bases."""
    found: dict[int, list[Occurrence]] = defaultdict(list)
    parameters = {"devices": [s.device_id for s in spans], "starts": [text(s.start) for s in spans]}
    for device, time, value, kind, base_time, base_value, amount, settled in cursor.execute(
        LOAD_OCCURRENCES, parameters
    ):
        found[device].append(
            Occurrence(time, value, SegmentClass(kind), base_time, base_value, amount, settled)
        )
    return found


def load_chains(
    cursor: Cursor[Any], spans: Sequence[Span], meters: dict[int, Meter]
) -> dict[int, list[Chain]]:
    """The readings of each span as chains, in order; those that were dropped are replaced by the devices' anchors."""
    groups: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    row = cursor.execute(LOAD_DROPPED).fetchone()
    dropped = row[0] if row else BEGINNING
    parameters: dict[str, Any] = {
        "devices": [s.device_id for s in spans],
        "starts": [text(max(s.start, dropped)) for s in spans],
        "ends": [text(s.end) for s in spans],
        "first": text(max(min(s.start for s in spans), dropped)),
        "last": text(max(s.end for s in spans)),
    }
    for device, *group in cursor.execute(LOAD_READINGS, parameters, binary=True):
        groups[device].append(tuple(group))
    if any(s.start < dropped for s in spans):
        parameters["starts"] = [text(s.start) for s in spans]
        for device, *group, time, value in cursor.execute(LOAD_ANCHORS, parameters):
            groups[device].append((*group, [time], [value]))
    return {device: _chains(found, meters[device].discarded) for device, found in groups.items()}


def _chains(groups: list[tuple[Any, ...]], discarded: set[int]) -> list[Chain]:
    if len(groups) == 1 and not discarded:
        conta_id, gateway_id, kind, unit, times, values = groups[0]
        return [Chain(conta_id, kind, unit, times, values, [gateway_id] * len(times))]
    rows = sorted(
        (t, v, number)
        for number, group in enumerate(groups)
        for t, v in zip(group[4], group[5], strict=True)
        if t not in discarded
    )
    chains: list[Chain] = []
    for time, value, number in rows:
        conta_id, gateway_id, kind, unit = groups[number][:4]
        if not chains or (chains[-1].conta_id, chains[-1].kind, chains[-1].unit) != (conta_id, kind, unit):
            chains.append(Chain(conta_id, kind, unit))
        chains[-1].times.append(time)
        chains[-1].values.append(value)
        chains[-1].gateways.append(gateway_id)
    return chains


def nth_reading(cursor: Cursor[Any], device_id: int, time: int, number: int, *, before: bool) -> int | None:
    """The time of a device's ``number``-th reading (from 0) before ``time``, going back, or from ``time`` on."""
    row = cursor.execute(NTH_BEFORE if before else NTH_FROM, [device_id, text(time), number]).fetchone()
    return row[0] if row else None


def count_readings(cursor: Cursor[Any], span: Span, limit: int) -> tuple[int, int | None]:
    """How many readings a span has, at most ``limit``, and the time of the last one counted."""
    row = cursor.execute(COUNT_FROM, [span.device_id, text(span.start), text(span.end), limit]).fetchone()
    return row or (0, None)


def write_occurrences(cursor: Cursor[Any], result: Result, known: list[Occurrence]) -> None:
    """Replace the occurrences ``known`` of the range by the new ones, where they differ."""
    old = {o for o in known if result.since < o.time <= result.until}
    new = set(result.occurrences)
    if gone := [moment(o.time) for o in old - new]:
        cursor.execute(DELETE_OCCURRENCES, [result.device_id, gone])
    rows = [
        (
            result.device_id,
            result.contas[o.time],
            moment(o.time),
            o.value,
            o.kind.value,
            moment(o.base_time),
            o.base_value,
            o.amount,
            None if o.settled is None else moment(o.settled),
        )
        for o in sorted(new - old)
    ]
    if rows:
        cursor.executemany(INSERT_OCCURRENCES, rows)


def write_blocks(cursor: Cursor[Any], results: list[Result]) -> Written:
    """Write the blocks that differ, and take away those that are no more."""
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
        cursor.execute("DELETE FROM etapa_bloco")  # of an earlier round of this transaction
        with cursor.copy(COPY_BLOCKS) as copy:
            copy.write("".join(rows))
        cursor.execute(WRITE_BLOCKS)
    return written


def _delete_vanished(
    cursor: Cursor[Any], results: list[Result], written: Written
) -> set[tuple[int, int, int]]:
    """Take away the blocks of the ranges that are no more; return the keys of those that are stored as they should be."""
    parameters = {
        "devices": [r.device_id for r in results],
        "starts": [text(r.first) for r in results],
        "ends": [text(r.last) for r in results],
        "first": text(min(r.first for r in results)),
        "last": text(max(r.last for r in results)),
    }
    new = {r.device_id: r.blocks for r in results}
    same: set[tuple[int, int, int]] = set()
    vanished: dict[tuple[int, int], list[datetime]] = defaultdict(list)
    for device_id, conta_id, seconds, *stored in cursor.execute(FIND_BLOCKS, parameters, binary=True):
        start = seconds * 1_000_000
        if (conta_id, start) not in new[device_id]:
            vanished[device_id, conta_id].append(moment(start))
            written.add(conta_id)
        elif stored == _stored(new[device_id][conta_id, start]):
            same.add((device_id, conta_id, start))
    for (device_id, conta_id), blocos in vanished.items():
        cursor.execute(DELETE_VANISHED, [device_id, conta_id, blocos])
    return same


def _stored(b: Block) -> list[Any]:
    """A block's columns as FIND_BLOCKS gives them."""
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
    """A block as COPY takes it."""
    gauges = (
        "\\N\t\\N\t\\N\t\\N\t\\N"
        if b.samples is None
        else f"{b.minimum}\t{b.maximum}\t{b.total}\t{b.last}\t{b.samples}"
    )
    consumption = "\\N" if b.consumption is None else b.consumption
    at = moment(start).isoformat()
    return f"{device_id}\t{at}\t{conta_id}\t{b.gateway_id}\t{consumption}\t{b.readings}\t{b.measured}\t{b.quality}\t{gauges}\n"


def count_changed(cursor: Cursor[Any], contas: Iterable[int]) -> None:
    """Tell the pages of these Contas that their figures changed."""
    if ordered := sorted(contas):
        cursor.execute(COUNT_CHANGED, {"contas": ordered})
