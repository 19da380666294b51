"""The queue of stale ranges, by partition, and of those whose computation failed.

A range is a device's reading times, in microseconds since 1970. People wait for short ranges; long ones (more
than a day) are computed again after a change of something old. Neither kind may keep the other waiting for
ever, so they are dequeued separately.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import Connection, Cursor

from tds_new.metering.inputs import Span
from tds_new.metering.ledger import LONGEST_STEP_US, MAX_READINGS, STEP_READINGS, margin
from tds_new.metering.times import BEGINNING, BLOCK_US, DAY_US, END, to_timestamptz, us_of
from tds_new.models import ConsumoParticao

MAX_QUEUED = 500  # rows of the queue that one transaction dequeues
RETRY = "5 minutes"

ENSURE_PARTITIONS = (
    "INSERT INTO tds_new_consumo_particao (id) SELECT generate_series(0, %s - 1) ON CONFLICT DO NOTHING"
)
WAITING = """
(fim > inicio + INTERVAL '1 day') = %(long_ranges)s AND (tentar_em IS NULL OR tentar_em <= clock_timestamp())
"""
# The partition that waited longest comes first.
CLAIM = f"""
SELECT id FROM tds_new_consumo_particao p
WHERE EXISTS (SELECT FROM tds_new_consumo_pendente q WHERE q.particao = p.id AND {WAITING})
  AND NOT id = ANY(%(excluded_partitions)s)
ORDER BY processado_em NULLS FIRST, id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
MARK_PROCESSED = "UPDATE tds_new_consumo_particao SET processado_em = clock_timestamp() WHERE id = %s"
PEEK = f"""
SELECT id, CASE WHEN isfinite(inicio) THEN {us_of("inicio")} END, CASE WHEN isfinite(fim)
    THEN {us_of("fim")} END,
    dispositivos
FROM tds_new_consumo_pendente WHERE particao = %(partition)s AND {WAITING} ORDER BY id LIMIT %(limit)s
"""
INTERVALS = """
SELECT d.id, greatest(g.intervalo_esperado_s, 1) * 1000000::bigint
FROM tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id WHERE d.id = ANY(%s)
"""
DEQUEUE = "DELETE FROM tds_new_consumo_pendente WHERE id = ANY(%s)"
# Locked, so that a row stays deferred until its range is widened. A row that another session is changing is
# skipped.
DEFERRED = """
SELECT id, dispositivos FROM tds_new_consumo_pendente
WHERE particao = %s AND tentar_em > clock_timestamp() AND dispositivos && %s::bigint[]
ORDER BY id FOR UPDATE SKIP LOCKED
"""
REQUEUE = """
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos) VALUES (%s, %s, %s,
    ARRAY[%s]::bigint[])
"""
DEFER = f"""
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos, tentar_em, erro)
VALUES (%s, %s, %s, ARRAY[%s]::bigint[], clock_timestamp() + INTERVAL '{RETRY}', %s)
"""
WIDEN_DEFERRED = """
UPDATE tds_new_consumo_pendente SET inicio = least(inicio, %s::timestamptz), fim = greatest(fim,
    %s::timestamptz)
WHERE id = %s
"""
# The time before which a device's blocks, and the readings after them, were complete at a moment: three
# intervals, and at least an hour, before it.
_BORDERS = """
SELECT d.id, %(moment)s::timestamptz - greatest(3 * g.intervalo_esperado_s, 3600) * INTERVAL '1 second'
    AS border
FROM tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id WHERE d.id = ANY(%(devices)s)
"""
# A range shorter than a day would count as new readings; if it would be so short, all of it is left to the
# newest blocks. The rest of a long history may be as short, so the newest blocks begin a day earlier.
_HAS_COMPLETE = "coalesce(%(since)s::timestamptz, '-infinity') < border - INTERVAL '1 day'"
ENQUEUE_COMPLETE = f"""
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
SELECT id %% %(partitions)s, coalesce(%(since)s::timestamptz, '-infinity'), border, ARRAY[id]
FROM ({_BORDERS}) AS d WHERE {_HAS_COMPLETE}
"""
ENQUEUE_NEWEST = f"""
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
SELECT id %% %(partitions)s,
    CASE WHEN {_HAS_COMPLETE} THEN greatest(border - INTERVAL '1 day', %(since)s) ELSE %(since)s END,
    'infinity', ARRAY[id]
FROM ({_BORDERS}) AS d
"""
RETRY_NOW = "UPDATE tds_new_consumo_pendente SET tentar_em = NULL WHERE tentar_em IS NOT NULL"
TO_REBUILD = """
SELECT d.id, min(CASE WHEN isfinite(inicio) THEN inicio END)
FROM tds_new_consumo_pendente, unnest(dispositivos) AS d (id)
WHERE fim > inicio + INTERVAL '1 day' AND (tentar_em IS NULL OR tentar_em <= clock_timestamp())
    AND dispositivos && %(devices)s::bigint[] AND d.id = ANY(%(devices)s)
GROUP BY 1
"""
LAG = """
SELECT extract(epoch FROM clock_timestamp() - min(criado_em))::float8 FROM tds_new_consumo_pendente
WHERE tentar_em IS NULL
"""


def ensure_partitions(connection: Connection[Any]) -> None:
    """Make the rows that workers lock."""
    connection.execute(ENSURE_PARTITIONS, [ConsumoParticao.PARTICOES])


def claim(cursor: Cursor[Any], excluded_partitions: Collection[int], *, long_ranges: bool) -> int | None:
    """Lock a partition that has ranges to compute, and return it.

    None if every partition with such ranges is locked or excluded. With ``long_ranges`` only ranges longer
    than a day count; else only the others.
    """
    row = cursor.execute(
        CLAIM, {"excluded_partitions": list(excluded_partitions), "long_ranges": long_ranges}
    ).fetchone()
    return row[0] if row else None


def dequeue(cursor: Cursor[Any], partition: int, *, long_ranges: bool) -> tuple[list[list[Span]], bool]:
    """Dequeue ranges of a claimed partition; return them, and whether more are left.

    They come in rounds, in each of which no device comes twice. New ranges of a device that is deferred join
    the deferred ones. The oldest comes first, with all ranges of about the same time: TimescaleDB marks
    everything between the first and the last block of a transaction as changed, so a late reading together
    with recent ones would invalidate all between them.
    """
    dequeued: list[int] = []
    ranges: dict[int, list[tuple[int, int]]] = defaultdict(list)
    readings = 0
    oldest: int | None = None
    parameters = {"partition": partition, "long_ranges": long_ranges, "limit": MAX_QUEUED}
    queued = cursor.execute(PEEK, parameters).fetchall()
    intervals = dict(
        cursor.execute(INTERVALS, [list({device for *_, devices in queued for device in devices})]).fetchall()
    )
    for number, first, last, devices in queued:
        first, last = BEGINNING if first is None else first, END if last is None else last
        oldest = first if oldest is None else oldest
        if abs(first - oldest) > 2 * DAY_US:
            continue
        for device in intervals.keys() & devices:
            readings += _expected(last - first, intervals[device], alone=device not in ranges)
        if dequeued and readings > MAX_READINGS:
            break
        dequeued.append(number)
        for device in devices:
            ranges[device].append((first, last))
    cursor.execute(DEQUEUE, [dequeued])
    _join_deferred(cursor, partition, ranges)
    return _rounds(ranges), len(dequeued) < len(queued) or len(queued) == MAX_QUEUED


def _expected(length: int, interval: int, *, alone: bool) -> int:
    """Estimate how many readings, or blocks if those are more, a range takes.

    ``length`` of the range and ``interval`` between readings in microseconds. With ``alone`` no other range
    of the device covers the readings around it.
    """
    inside = min(STEP_READINGS, 1 + min(length, LONGEST_STEP_US) // min(interval, BLOCK_US))
    return inside + (2 * margin(interval) + BLOCK_US) // interval if alone else inside


def _join_deferred(cursor: Cursor[Any], partition: int, ranges: dict[int, list[tuple[int, int]]]) -> None:
    """Move the ranges of devices that are deferred to their deferred ones."""
    for number, devices in cursor.execute(DEFERRED, [partition, list(ranges)]).fetchall():
        for device in set(devices) & ranges.keys():
            bounds = [
                to_timestamptz(min(first for first, _ in ranges[device])),
                to_timestamptz(max(last for _, last in ranges[device])),
            ]
            if cursor.execute(WIDEN_DEFERRED, [*bounds, number]).rowcount:
                del ranges[device]


def _rounds(ranges: dict[int, list[tuple[int, int]]]) -> list[list[Span]]:
    """Return the ranges in rounds: each device's first, each one's second, and so on."""
    rounds: list[list[Span]] = []
    for device, found in ranges.items():
        for number, (first, last) in enumerate(_merged(found)):
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(Span(device, first, last))
    return rounds


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Merge ranges less than a day apart, and return all in order."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + DAY_US:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def requeue(cursor: Cursor[Any], partition: int, rest: Span) -> None:
    """Queue the rest of a range that was too long for one transaction."""
    cursor.execute(REQUEUE, [partition, to_timestamptz(rest.start), to_timestamptz(rest.end), rest.device_id])


def defer(cursor: Cursor[Any], partition: int, span: Span, error: str) -> None:
    """Queue a range whose computation failed; it is tried again after some minutes."""
    bounds = to_timestamptz(span.start), to_timestamptz(span.end)
    cursor.execute(DEFER, [partition, *bounds, span.device_id, error])


def mark_processed(cursor: Cursor[Any], partition: int) -> None:
    """Move a partition behind the others for the next claim."""
    cursor.execute(MARK_PROCESSED, [partition])


def lag(connection: Connection[Any]) -> float | None:
    """Return the seconds that the oldest range has waited; None if none waits.

    Deferred ranges do not count.
    """
    row = connection.execute(LAG).fetchone()
    return row[0] if row else None


def enqueue_complete(
    connection: BaseDatabaseWrapper, devices: Iterable[int], moment: datetime, since: datetime | None
) -> None:
    """Queue the devices' blocks, from ``since`` on, that were complete at ``moment``.

    No reading after ``moment`` changes them unless it comes late. :func:`enqueue_newest` queues the others.
    """
    _enqueue(connection, ENQUEUE_COMPLETE, devices, since=since, moment=moment)


def enqueue_newest(
    connection: BaseDatabaseWrapper, devices: Iterable[int], moment: datetime, since: datetime | None
) -> None:
    """Queue the devices' blocks that are newer than :func:`enqueue_complete` queues."""
    _enqueue(connection, ENQUEUE_NEWEST, devices, since=since, moment=moment)


def _enqueue(
    connection: BaseDatabaseWrapper, statement: str, devices: Iterable[int], **parameters: datetime | None
) -> None:
    partitions = ConsumoParticao.PARTICOES
    with connection.cursor() as cursor:
        cursor.execute(ENSURE_PARTITIONS, [partitions])
        cursor.execute(statement, {"devices": list(devices), "partitions": partitions, **parameters})


def retry_now(connection: BaseDatabaseWrapper) -> None:
    """Have the deferred ranges tried at once."""
    with connection.cursor() as cursor:
        cursor.execute(RETRY_NOW)


def to_rebuild(connection: BaseDatabaseWrapper, devices: Collection[int]) -> dict[int, datetime | None]:
    """Return which of these devices have long ranges to compute, and from when on.

    None: from their beginning. Deferred ranges do not count.
    """
    with connection.cursor() as cursor:
        cursor.execute(TO_REBUILD, {"devices": list(devices)})
        return dict(cursor.fetchall())
