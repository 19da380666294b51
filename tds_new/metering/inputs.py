"""The ledger's inputs: readings, meters, its own occurrences and anchors.

An anchor stands for a reading that was dropped. All times are microseconds since 1970, register values whole
numbers of 0.0001, factors whole numbers of 0.000001.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from psycopg import Cursor

from tds_new.metering.rules.blocks import Chain
from tds_new.metering.rules.meter import Meter, MeterChange, Parameters
from tds_new.metering.rules.segments import NEVER_BASES_SQL, Occurrence, SegmentClass
from tds_new.metering.times import BEGINNING, to_timestamptz, us_of

LOAD_METERS = """
SELECT d.id, g.intervalo_esperado_s, (d.fator_conversao * 1000000)::bigint,
    (d.valor_maximo_registro * 10000)::bigint, (d.consumo_maximo_hora * 10000)::bigint,
    (d.tolerancia_queda * 10000)::bigint
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
# anchor, and an approved anchor is marked.
LOAD_DECISIONS = f"""
SELECT dispositivo_id, {us_of("leitura_em")}, decisao = 'APROVADA'
FROM tds_new_revisao_leitura WHERE dispositivo_id = ANY(%(devices)s)
    AND leitura_em >= coalesce((SELECT ate FROM tds_new_consumo_congelado), '-infinity')
    AND decisao IN ('APROVADA', 'DESCARTADA')
UNION ALL
SELECT dispositivo_id, {us_of("leitura_em")}, true
FROM tds_new_consumo_ancora WHERE dispositivo_id = ANY(%(devices)s) AND decisao = 'APROVADA'
"""
LOAD_OCCURRENCES = f"""
SELECT o.dispositivo_id, {us_of("leitura_em")}, (valor * 10000)::bigint, classe, {us_of("o.inicio")},
    (valor_base * 10000)::bigint, (consumo * 10000)::bigint, {us_of("decidida_em")}
FROM unnest(%(devices)s::bigint[], %(starts)s::timestamptz[]) AS span (device_id, first)
JOIN tds_new_ocorrencia_medicao o
    ON o.dispositivo_id = span.device_id AND coalesce(o.decidida_em, 'infinity') >= span.first
"""
LOAD_DROPPED = f"SELECT {us_of('ate')} FROM tds_new_consumo_congelado"
LOAD_FINAL = f"""
SELECT DISTINCT dispositivo_id, {us_of("final_ate")} FROM tds_new_consumo_ancora
WHERE dispositivo_id = ANY(%s)
"""
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


def load_meters(cursor: Cursor[Any], devices: list[int]) -> dict[int, Meter]:
    """Load the parameters, changes and decisions of the devices' meters.

    A device that is gone is left out.
    """
    meters: dict[int, Meter] = {}
    for device, interval, factor, capacity, maximum, tolerance in cursor.execute(LOAD_METERS, [devices]):
        meters[device] = Meter(interval * 1_000_000, Parameters(capacity, maximum, tolerance, factor))
    for device, since, factor, capacity, maximum, tolerance in cursor.execute(LOAD_DATED, [devices]):
        meters[device].dated.append((since, Parameters(capacity, maximum, tolerance, factor)))
    for device, time, final, initial in cursor.execute(LOAD_CHANGES, [devices]):
        meters[device].changes.append(MeterChange(time, final, initial))
    for device, time, approved in cursor.execute(LOAD_DECISIONS, {"devices": devices}):
        if approved:
            meters[device].decided[time] = "APROVADA"
        else:
            meters[device].discarded.add(time)
    return meters


def load_final(cursor: Cursor[Any], devices: list[int]) -> dict[int, int]:
    """Load the time before which a device's blocks are final.

    Only devices with dropped readings have one; the others are left out. The time stays as long as the
    device's partition is locked.
    """
    return dict(cursor.execute(LOAD_FINAL, [devices]).fetchall())


def load_occurrences(cursor: Cursor[Any], spans: Sequence[Span]) -> dict[int, list[Occurrence]]:
    """Load the occurrences of each device that were decided in its span or later.

    Final ones are included, because they say which anchors are no bases.
    """
    occurrences: dict[int, list[Occurrence]] = defaultdict(list)
    parameters = {
        "devices": [s.device_id for s in spans],
        "starts": [to_timestamptz(s.start) for s in spans],
    }
    for device, time, value, kind, base_time, base_value, amount, settled in cursor.execute(
        LOAD_OCCURRENCES, parameters
    ):
        occurrences[device].append(
            Occurrence(time, value, SegmentClass(kind), base_time, base_value, amount, settled)
        )
    return occurrences


def load_chains(
    cursor: Cursor[Any], spans: Sequence[Span], meters: dict[int, Meter]
) -> dict[int, list[Chain]]:
    """Load the readings of each span as chains, in order.

    A device's anchors replace its readings that were dropped. ``meters`` of the same devices say which
    readings are discarded.
    """
    groups: dict[int, list[tuple[Any, ...]]] = defaultdict(list)
    row = cursor.execute(LOAD_DROPPED).fetchone()
    dropped = row[0] if row else BEGINNING
    parameters: dict[str, Any] = {
        "devices": [s.device_id for s in spans],
        "starts": [to_timestamptz(max(s.start, dropped)) for s in spans],
        "ends": [to_timestamptz(s.end) for s in spans],
        "first": to_timestamptz(max(min(s.start for s in spans), dropped)),
        "last": to_timestamptz(max(s.end for s in spans)),
    }
    for device, *group in cursor.execute(LOAD_READINGS, parameters, binary=True):
        groups[device].append(tuple(group))
    if any(s.start < dropped for s in spans):
        parameters["starts"] = [to_timestamptz(s.start) for s in spans]
        for device, *group, time, value in cursor.execute(LOAD_ANCHORS, parameters):
            groups[device].append((*group, [time], [value]))
    return {device: _chains(found, meters[device].discarded) for device, found in groups.items()}


def _chains(groups: list[tuple[Any, ...]], discarded: set[int]) -> list[Chain]:
    """Put a device's readings into chains.

    ``groups`` are readings of one Conta, gateway, kind and unit, with times and values.
    """
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
