"""The ledger's inputs: readings, meters, its own occurrences and anchors.

An anchor stands for a reading that was dropped. All times are microseconds since 1970, register values whole
numbers of 0.0001, factors whole numbers of 0.000001.
"""

import json
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

from psycopg import Cursor

from tds_new.metering.rules.blocks import Chain
from tds_new.metering.rules.meter import Meter, MeterChange, Parameters
from tds_new.metering.rules.segments import (
    MEMORY_US,
    NEVER_BASES_SQL,
    Jump,
    Occurrence,
    SegmentClass,
    State,
)
from tds_new.metering.times import BEGINNING, END, to_timestamptz, us_of
from tds_new.units import canonical_unit

LOAD_METERS = """
SELECT d.id, g.intervalo_esperado_s, (d.fator_conversao * 1000000)::bigint,
    (d.valor_maximo_registro * 10000)::bigint, (d.consumo_maximo_hora * 10000)::bigint,
    (d.tolerancia_queda * 10000)::bigint, d.carimbo = 'INICIO'
FROM tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id WHERE d.id = ANY(%s)
"""
LOAD_DATED = f"""
SELECT dispositivo_id, {us_of("desde")}, (fator_conversao * 1000000)::bigint,
    (valor_maximo_registro * 10000)::bigint, (consumo_maximo_hora * 10000)::bigint,
    (tolerancia_queda * 10000)::bigint
FROM tds_new_vigencia_parametros WHERE dispositivo_id = ANY(%s) ORDER BY desde
"""
LOAD_CHANGES = f"""
SELECT dispositivo_id, {us_of("ocorrida_em")}, (leitura_final * 10000)::bigint,
    (leitura_inicial * 10000)::bigint
FROM tds_new_troca_medidor WHERE dispositivo_id = ANY(%s) ORDER BY ocorrida_em
"""
# Decisions on dropped readings are frozen in the anchors, whatever people do later: a discarded reading is no
# anchor, an anchor's value is the corrected one, and its other decision is kept with it.
LOAD_DECISIONS = f"""
SELECT dispositivo_id, {us_of("leitura_em")}, decisao, (valor_corrigido * 10000)::bigint, atribuida_a_id
FROM tds_new_revisao_leitura WHERE dispositivo_id = ANY(%(devices)s)
    AND leitura_em >= coalesce((SELECT ate FROM tds_new_consumo_congelado), '-infinity')
UNION ALL
SELECT dispositivo_id, {us_of("leitura_em")}, decisao, NULL, atribuida_a_id
FROM tds_new_consumo_ancora WHERE dispositivo_id = ANY(%(devices)s) AND decisao <> ''
"""
# What the ledger noted of a device, and where its figures begin: before ``final`` nothing changes, and
# nothing before ``origin`` is read. Both are of the first readings that are kept, or of the upgrade to the
# present rules, whichever is later.
LOAD_STANDINGS = f"""
SELECT d.id, anchors.final, anchors.origin,
    CASE WHEN isfinite(e.segunda_edicao_desde) THEN {us_of("e.segunda_edicao_desde")} END,
    CASE WHEN isfinite(e.segunda_edicao_desde) THEN (
        SELECT {us_of("max(r.leitura_em)")} FROM tds_new_consumo_retomada r
        WHERE r.dispositivo_id = d.id AND r.leitura_em <= e.segunda_edicao_desde) END,
    {us_of("e.pico_hora")},
    trunc(e.pico_valor * 1000000), {us_of("e.a_julgar_desde")},
    {us_of("e.cadeia_desde")}
FROM unnest(%(devices)s::bigint[]) AS d (id)
LEFT JOIN tds_new_consumo_estado e ON e.dispositivo_id = d.id
LEFT JOIN LATERAL (
    SELECT {us_of("max(final_ate)")} AS final, {us_of("min(leitura_em)")} AS origin
    FROM tds_new_consumo_ancora a WHERE a.dispositivo_id = d.id) anchors ON true
"""
LOAD_OCCURRENCES = f"""
SELECT o.dispositivo_id, {us_of("leitura_em")}, (valor * 10000)::bigint, classe, {us_of("o.inicio")},
    (valor_base * 10000)::bigint, (consumo * 10000)::bigint, {us_of("decidida_em")}, espera, regra,
    numeros::text
FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[]) AS span (device_id, first)
JOIN tds_new_ocorrencia_medicao o
    ON o.dispositivo_id = span.device_id AND coalesce(o.decidida_em, 'infinity') >= span.first
"""
LOAD_STATES = f"""
SELECT r.dispositivo_id, {us_of("leitura_em")}, estado::text
FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS span (device_id, first, last)
JOIN tds_new_consumo_retomada r
    ON r.dispositivo_id = span.device_id AND r.leitura_em >= span.first AND r.leitura_em < span.last
"""
# Ranges of these devices that are still queued, those that failed included.
LOAD_PENDING = f"""
SELECT span.device_id, CASE WHEN isfinite(inicio) THEN {us_of("inicio")} END, CASE WHEN isfinite(fim)
    THEN {us_of("fim")} END
FROM tds_new_consumo_pendente q
JOIN unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS span (device_id, first, last)
    ON span.device_id = ANY(q.dispositivos) AND q.fim > span.first AND q.inicio < span.last
WHERE particao = %(partition)s AND q.fim > %(first)s AND q.inicio < %(last)s
"""
LOAD_DROPPED = f"SELECT {us_of('ate')} FROM tds_new_consumo_congelado"
LOAD_ANCHORS = f"""
SELECT a.dispositivo_id, conta_id, gateway_id, tipo_leitura, unidade, {us_of("leitura_em")},
    (valor * 10000)::bigint
FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS span (device_id, first, last)
JOIN tds_new_consumo_ancora a
    ON a.dispositivo_id = span.device_id AND a.leitura_em >= span.first AND a.leitura_em < span.last
"""
# The bounds of all spans are constants, so that only the chunks concerned are looked at.
LOAD_READINGS = f"""
SELECT l.dispositivo_id, l.conta_id, l.gateway_id, l.tipo_leitura, l.unidade,
    array_agg({us_of("l.time")} ORDER BY l.time), array_agg((l.valor * 10000)::bigint ORDER BY l.time)
FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[], %(ends)s::timestamptz[])
    AS span (device_id, first, last)
JOIN tds_new_leitura_dispositivo l
    ON l.dispositivo_id = span.device_id AND l.time >= span.first AND l.time < span.last
WHERE l.time >= %(first)s AND l.time < %(last)s
GROUP BY 1, 2, 3, 4, 5
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
OTHER_CHAINS = f"""
SELECT conta_id, tipo_leitura, unidade, {us_of("min(time)")}, {us_of("max(time)")} FROM (
    SELECT conta_id, tipo_leitura, unidade, time FROM tds_new_leitura_dispositivo
        WHERE dispositivo_id = %(device)s AND time >= %(first)s AND time < %(last)s
    UNION ALL SELECT conta_id, tipo_leitura, unidade, leitura_em FROM tds_new_consumo_ancora
        WHERE dispositivo_id = %(device)s AND leitura_em >= %(first)s AND leitura_em < %(last)s) readings
GROUP BY 1, 2, 3
"""
NTH_BEFORE = f"""
SELECT {us_of("time")} FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %s AND time < %s ORDER BY time DESC OFFSET %s LIMIT 1
"""
NTH_FROM = f"""
SELECT {us_of("time")} FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %s AND time >= %s ORDER BY time OFFSET %s LIMIT 1
"""
COUNT_FROM = f"""
SELECT count(*), {us_of("max(time)")} FROM (
    SELECT time FROM tds_new_leitura_dispositivo
    WHERE dispositivo_id = %s AND time >= %s AND time <= %s ORDER BY time LIMIT %s) AS counted
"""
LAST_BEFORE = f"""
SELECT {us_of("time")}, (valor * 10000)::bigint FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %s AND time < %s AND NOT time = ANY(%s::timestamptz[]) ORDER BY time DESC LIMIT 1
"""
FIRST_FROM = f"""
SELECT {us_of("time")}, (valor * 10000)::bigint FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %s AND time >= %s AND NOT time = ANY(%s::timestamptz[]) ORDER BY time LIMIT 1
"""
BASE_OF = f"""
SELECT {us_of("inicio")}, (valor_base * 10000)::bigint FROM tds_new_ocorrencia_medicao
WHERE dispositivo_id = %s AND leitura_em = %s AND classe IN ({NEVER_BASES_SQL})
"""


class Span(NamedTuple):
    """A device's reading times from ``start`` to ``end``, microseconds since 1970."""

    device_id: int
    start: int
    end: int


class Standing(NamedTuple):
    """What the ledger has noted of a device, and where its figures begin.

    Nothing before ``final`` changes, and no reading before ``origin`` is used; both are BEGINNING if all of
    the device's readings are. ``edition`` is the moment from which the present rules hold, where that is not
    the beginning. ``peak_hour``, ``peak`` (whole 0.000001), ``unjudged_since`` and ``chain_since`` are as
    stored, None if unknown.
    """

    final: int = BEGINNING
    origin: int = BEGINNING
    edition: int | None = None
    peak_hour: int | None = None
    peak: int | None = None
    unjudged_since: int | None = None
    chain_since: int | None = None


def load_meters(cursor: Cursor[Any], devices: list[int]) -> dict[int, Meter]:
    """Load the parameters, changes and decisions of the devices' meters.

    A device that is gone is left out.
    """
    meters: dict[int, Meter] = {}
    for device, interval, factor, capacity, maximum, tolerance, starts in cursor.execute(
        LOAD_METERS, [devices]
    ):
        meters[device] = Meter(
            interval * 1_000_000, Parameters(capacity, maximum, tolerance, factor), stamp_is_start=starts
        )
    for device, since, factor, capacity, maximum, tolerance in cursor.execute(LOAD_DATED, [devices]):
        meters[device].dated.append((since, Parameters(capacity, maximum, tolerance, factor)))
    for device, time, final, initial in cursor.execute(LOAD_CHANGES, [devices]):
        meters[device].changes.append(MeterChange(time, final, initial))
    for device, time, decision, value, conta_id in cursor.execute(LOAD_DECISIONS, {"devices": devices}):
        meters[device].decide(time, decision, value, conta_id)
    return meters


def load_standings(cursor: Cursor[Any], devices: list[int]) -> dict[int, Standing]:
    """Load what the ledger has noted of the devices.

    It stays so as long as the devices' partitions are locked.
    """
    standings = {}
    for device, final, origin, edition, resumed, *noted in cursor.execute(
        LOAD_STANDINGS, {"devices": devices}
    ):
        kept: tuple[int, int] = (BEGINNING, BEGINNING) if final is None else (final, origin)
        if edition is not None and edition > kept[0]:
            kept = edition, edition if resumed is None else resumed
        peak_hour, peak, *begins = noted
        peak = None if peak is None else int(peak)
        standings[device] = Standing(*kept, edition, peak_hour, peak, *begins)
    return standings


def load_occurrences(cursor: Cursor[Any], spans: Sequence[Span]) -> dict[int, list[Occurrence]]:
    """Load each device's occurrences decided from its span on, or 72 hours before.

    Final ones are included, because they say which anchors are no bases.
    """
    occurrences: dict[int, list[Occurrence]] = defaultdict(list)
    parameters = {
        "devices": [s.device_id for s in spans],
        "starts": [to_timestamptz(s.start - MEMORY_US) for s in spans],
    }
    for device, time, value, kind, base_time, base_value, amount, settled, *rest in cursor.execute(
        LOAD_OCCURRENCES, parameters
    ):
        waits, rule, numbers = rest
        judged = amount, settled, waits, rule, tuple(sorted(json.loads(numbers).items()))
        occurrences[device].append(
            Occurrence(time, value, SegmentClass(kind), base_time, base_value, *judged)
        )
    return occurrences


def _bounds(spans: Sequence[Span]) -> dict[str, Any]:
    """Return a statement's parameters: each span's, and the bounds of all."""
    return {
        "devices": [s.device_id for s in spans],
        "starts": [to_timestamptz(s.start) for s in spans],
        "ends": [to_timestamptz(s.end) for s in spans],
        "first": to_timestamptz(min(s.start for s in spans)),
        "last": to_timestamptz(max(s.end for s in spans)),
    }


def load_pending(cursor: Cursor[Any], partition: int, spans: Sequence[Span]) -> dict[int, list[Span]]:
    """Load the partition's ranges that are still queued and meet the spans."""
    pending: dict[int, list[Span]] = defaultdict(list)
    if spans:
        parameters = {"partition": partition, **_bounds(spans)}
        for device, first, last in cursor.execute(LOAD_PENDING, parameters):
            since, until = BEGINNING if first is None else first, END if last is None else last
            pending[device].append(Span(device, since, until))
    return pending


def load_states(cursor: Cursor[Any], spans: Sequence[Span]) -> dict[int, dict[int, State]]:
    """Load the kept states of each device's register in its span, by the time."""
    states: dict[int, dict[int, State]] = defaultdict(dict)
    for device, time, text in cursor.execute(LOAD_STATES, _bounds(spans)):
        states[device][time] = state_of(text)
    return states


def state_of(text: str) -> State:
    """Return a state that was kept, from its JSON."""
    kept = json.loads(text)
    line = tuple((time, value) for time, value in kept["line"])
    return State(line, tuple(Jump(*jump) for jump in kept["jumps"]))


def load_chains(
    cursor: Cursor[Any], spans: Sequence[Span], meters: Mapping[int, Meter]
) -> dict[int, list[Chain]]:
    """Load the readings of each span as chains, in order.

    A device's anchors replace its readings that were dropped. ``meters`` of the same devices say which
    readings are discarded, and which values are corrected.
    """
    groups: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    row = cursor.execute(LOAD_DROPPED).fetchone()
    dropped = row[0] if row else BEGINNING
    parameters = _bounds([s._replace(start=max(s.start, dropped)) for s in spans])
    for device, *group in cursor.execute(LOAD_READINGS, parameters, binary=True):
        groups[device].append(tuple(group))
    if any(s.start < dropped for s in spans):
        parameters["starts"] = [to_timestamptz(s.start) for s in spans]
        for device, *group, time, value in cursor.execute(LOAD_ANCHORS, parameters):
            groups[device].append((*group, [time], [value]))
    return {device: _chains(found, meters[device]) for device, found in groups.items()}


def _chains(groups: list[tuple[Any, ...]], meter: Meter) -> list[Chain]:
    """Put a device's readings into chains.

    ``groups`` are readings of one Conta, gateway, kind and unit, with times and values.
    """
    if len(groups) == 1 and not meter.discarded and not meter.corrected:
        conta_id, gateway_id, kind, unit, times, values = groups[0]
        return [Chain(conta_id, kind, canonical_unit(unit), times, values, [gateway_id] * len(times))]
    corrected = meter.corrected
    rows = sorted(
        (t, corrected.get(t, v), number)
        for number, group in enumerate(groups)
        for t, v in zip(group[4], group[5], strict=True)
        if t not in meter.discarded
    )
    owners = [(conta_id, kind, canonical_unit(unit)) for conta_id, _, kind, unit, *_ in groups]
    chains: list[Chain] = []
    for time, value, number in rows:
        owner = owners[number]
        if not chains or (chains[-1].conta_id, chains[-1].kind, chains[-1].unit) != owner:
            chains.append(Chain(*owner))
        chains[-1].times.append(time)
        chains[-1].values.append(value)
        chains[-1].gateways.append(groups[number][1])
    return chains


class StoredBlock(NamedTuple):
    """A stored block.

    ``columns``: those after ``bloco`` and ``conta_id``, as whole numbers of their last decimal.
    """

    columns: list[Any]

    @property
    def consumption(self) -> int:
        """Its consumption, whole 0.000001; 0 where there is none."""
        return int(self.columns[1] or 0)

    @property
    def has_figure(self) -> bool:
        """Whether a counted segment overlaps it."""
        return bool(self.columns[1] or self.columns[3] or self.columns[4] != "MEDIDO")


def load_blocks(cursor: Cursor[Any], spans: Sequence[Span]) -> list[dict[tuple[int, int], StoredBlock]]:
    """Load the stored blocks of each span, by Conta and start.

    There is at most one span a device.
    """
    if not spans:
        return []
    found: dict[int, dict[tuple[int, int], StoredBlock]] = {s.device_id: {} for s in spans}
    for device_id, conta_id, seconds, *stored in cursor.execute(FIND_BLOCKS, _bounds(spans), binary=True):
        found[device_id][conta_id, seconds * 1_000_000] = StoredBlock(stored)
    return [found[s.device_id] for s in spans]


def load_other_chains(cursor: Cursor[Any], span: Span, owner: tuple[int, str, str]) -> list[tuple[int, int]]:
    """Load the first and the last time of other chains' readings in a span.

    ``owner``: Conta, kind and canonical unit of the chain. One pair for each other Conta, kind and unit.
    """
    parameters = {
        "device": span.device_id,
        "first": to_timestamptz(span.start),
        "last": to_timestamptz(span.end),
    }
    return [
        (first, last)
        for conta_id, kind, unit, first, last in cursor.execute(OTHER_CHAINS, parameters)
        if (conta_id, kind, canonical_unit(unit)) != owner
    ]


def nth_reading(cursor: Cursor[Any], device_id: int, time: int, number: int, *, before: bool) -> int | None:
    """Return the time of a device's ``number``-th reading (from 0) from ``time`` on.

    With ``before`` it counts back from the last one before ``time``. Return None if there are not so many.
    """
    row = cursor.execute(
        NTH_BEFORE if before else NTH_FROM, [device_id, to_timestamptz(time), number]
    ).fetchone()
    return row[0] if row else None


def count_readings(cursor: Cursor[Any], span: Span, limit: int) -> tuple[int, int | None]:
    """Count a span's readings, at most ``limit``.

    Return their number and the time of the last one counted.
    """
    row = cursor.execute(
        COUNT_FROM, [span.device_id, to_timestamptz(span.start), to_timestamptz(span.end), limit]
    ).fetchone()
    return row or (0, None)


def load_base_before(
    cursor: Cursor[Any], device_id: int, time: int, discarded: Collection[int]
) -> tuple[int, int] | None:
    """Load time and value of the base of a reading at ``time``; None without one.

    ``discarded`` readings are passed over. If the reading before is of a class that is never a base, its own
    base is returned.
    """
    found = _load_beside(cursor, LAST_BEFORE, device_id, time, discarded)
    if found is None:
        return None
    base: tuple[int, int] | None = cursor.execute(BASE_OF, [device_id, to_timestamptz(found[0])]).fetchone()
    return base or found


def load_first_from(
    cursor: Cursor[Any], device_id: int, time: int, discarded: Collection[int]
) -> tuple[int, int] | None:
    """Load time and value of the first reading from ``time`` on.

    ``discarded`` readings are passed over. None if there is none.
    """
    return _load_beside(cursor, FIRST_FROM, device_id, time, discarded)


def _load_beside(
    cursor: Cursor[Any], statement: str, device_id: int, time: int, discarded: Collection[int]
) -> tuple[int, int] | None:
    without = [to_timestamptz(t) for t in discarded]
    found: tuple[int, int] | None = cursor.execute(
        statement, [device_id, to_timestamptz(time), without]
    ).fetchone()
    return found
