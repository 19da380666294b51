"""The queue of stale ranges: what waits, by partition, and what is held back because its computation failed."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from datetime import datetime
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import Connection, Cursor

from tds_new.metering.blocks import BLOCK_US
from tds_new.metering.ledger import DAY_US, LONGEST_STEP_US, MAX_READINGS, STEP_READINGS, margin
from tds_new.metering.tables import BEGINNING, END, Span, text
from tds_new.models import ConsumoParticao

MAX_QUEUED = 500  # rows of the queue that one transaction takes
RETRY = "5 minutes"

ENSURE_PARTITIONS = (
    "INSERT INTO tds_new_consumo_particao (id) SELECT generate_series(0, %s - 1) ON CONFLICT DO NOTHING"
)
# What people wait for is short; what is computed anew, long. Neither may keep the other waiting for ever, so they are taken separately.
WAITING = (
    "(fim > inicio + INTERVAL '1 day') = %(anew)s AND (tentar_em IS NULL OR tentar_em <= clock_timestamp())"
)
# The one that waited longest first.
CLAIM = f"""
SELECT id FROM tds_new_consumo_particao p
WHERE EXISTS (SELECT FROM tds_new_consumo_pendente q WHERE q.particao = p.id AND {WAITING}) AND NOT id = ANY(%(but)s)
ORDER BY processado_em NULLS FIRST, id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
DONE = "UPDATE tds_new_consumo_particao SET processado_em = clock_timestamp() WHERE id = %s"
PEEK = f"""
SELECT id, CASE WHEN isfinite(inicio) THEN (extract(epoch FROM inicio) * 1000000)::bigint END,
    CASE WHEN isfinite(fim) THEN (extract(epoch FROM fim) * 1000000)::bigint END, dispositivos
FROM tds_new_consumo_pendente WHERE particao = %(partition)s AND {WAITING} ORDER BY id LIMIT %(limit)s
"""
INTERVALS = """
SELECT d.id, greatest(g.intervalo_esperado_s, 1) * 1000000::bigint FROM tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id
WHERE d.id = ANY(%s)
"""
TAKE = "DELETE FROM tds_new_consumo_pendente WHERE id = ANY(%s)"
# Locked, so that a row stays one that is held until its range is widened. One that somebody is about to have tried at once is none.
HELD = """
SELECT id, dispositivos FROM tds_new_consumo_pendente
WHERE particao = %s AND tentar_em > clock_timestamp() AND dispositivos && %s::bigint[] ORDER BY id FOR UPDATE SKIP LOCKED
"""
PUT_BACK = "INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos) VALUES (%s, %s, %s, ARRAY[%s]::bigint[])"
HOLD = f"""
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos, tentar_em, erro)
VALUES (%s, %s, %s, ARRAY[%s]::bigint[], clock_timestamp() + INTERVAL '{RETRY}', %s)
"""
WIDEN_HELD = """
UPDATE tds_new_consumo_pendente SET inicio = least(inicio, %s::timestamptz), fim = greatest(fim, %s::timestamptz) WHERE id = %s
"""
QUEUE_ALL = """
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
SELECT id %% %(partitions)s, coalesce(%(since)s::timestamptz, '-infinity'), 'infinity', ARRAY[id]
FROM unnest(%(devices)s::bigint[]) AS d (id)
"""
# Up to where a device's blocks were over at a moment, and the readings after them there: three intervals, and at least an hour, before it.
_LIMITS = """
SELECT d.id, %(moment)s::timestamptz - greatest(3 * g.intervalo_esperado_s, 3600) * INTERVAL '1 second' AS limite
FROM tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id WHERE d.id = ANY(%(devices)s)
"""
# What is shorter than a day is taken for new readings, so then all of it is left to the rest; and what is left of a long history's last
# step may be so short, so the rest begins a day earlier.
_HAS_OVER = "coalesce(%(since)s::timestamptz, '-infinity') < limite - INTERVAL '1 day'"
QUEUE_OVER = f"""
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
SELECT id %% %(partitions)s, coalesce(%(since)s::timestamptz, '-infinity'), limite, ARRAY[id] FROM ({_LIMITS}) AS d WHERE {_HAS_OVER}
"""
QUEUE_REST = f"""
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
SELECT id %% %(partitions)s, CASE WHEN {_HAS_OVER} THEN greatest(limite - INTERVAL '1 day', %(since)s) ELSE %(since)s END,
    'infinity', ARRAY[id] FROM ({_LIMITS}) AS d
"""
RETRY_NOW = "UPDATE tds_new_consumo_pendente SET tentar_em = NULL WHERE tentar_em IS NOT NULL"
TO_REBUILD = """
SELECT d.id, min(CASE WHEN isfinite(inicio) THEN inicio END)
FROM tds_new_consumo_pendente, unnest(dispositivos) AS d (id)
WHERE fim > inicio + INTERVAL '1 day' AND (tentar_em IS NULL OR tentar_em <= clock_timestamp())
    AND dispositivos && %(devices)s::bigint[] AND d.id = ANY(%(devices)s)
GROUP BY 1
"""
LAG = "SELECT extract(epoch FROM clock_timestamp() - min(criado_em))::float8 FROM tds_new_consumo_pendente WHERE tentar_em IS NULL"


def ensure_partitions(connection: Connection[Any]) -> None:
    """Make the rows that workers lock."""
    connection.execute(ENSURE_PARTITIONS, [ConsumoParticao.PARTICOES])


def claim(cursor: Cursor[Any], but: Collection[int], *, anew: bool) -> int | None:
    """Lock a partition that has ranges to compute and that nobody else has locked, ``but`` these; None where there is none.

    ``anew``: ranges longer than a day; else the others.
    """
    row = cursor.execute(CLAIM, {"but": list(but), "anew": anew}).fetchone()
    return row[0] if row else None


def take(cursor: Cursor[Any], partition: int, *, anew: bool) -> tuple[list[list[Span]], bool]:
    """Take ranges off a claimed partition; return them in rounds in which no device comes twice, and whether more are left.

    New ranges of a device that is held back join the held ones. The oldest comes first, and with it all that are of about its time:
    TimescaleDB takes everything between the first and the last block that a transaction writes for changed, and a late reading beside
    present ones would mean all between them.
    """
    taken: list[int] = []
    ranges: dict[int, list[tuple[int, int]]] = defaultdict(list)
    readings = 0
    about: int | None = None
    queued = cursor.execute(PEEK, {"partition": partition, "anew": anew, "limit": MAX_QUEUED}).fetchall()
    intervals = dict(
        cursor.execute(INTERVALS, [list({device for *_, devices in queued for device in devices})]).fetchall()
    )
    for number, first, last, devices in queued:
        first, last = BEGINNING if first is None else first, END if last is None else last
        about = first if about is None else about
        if abs(first - about) > 2 * DAY_US:
            continue
        for device in intervals.keys() & devices:
            readings += _expected(last - first, intervals[device], alone=device not in ranges)
        if taken and readings > MAX_READINGS:
            break
        taken.append(number)
        for device in devices:
            ranges[device].append((first, last))
    cursor.execute(TAKE, [taken])
    _join_held(cursor, partition, ranges)
    rounds: list[list[Span]] = []
    for device, found in ranges.items():
        for number, (first, last) in enumerate(_merged(found)):
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(Span(device, first, last))
    return rounds, len(taken) < len(queued) or len(queued) == MAX_QUEUED


def _expected(length: int, interval: int, *, alone: bool) -> int:
    """About how many readings to compute a range needs, or blocks where those are more; the ones around it where it comes ``alone``."""
    inside = min(STEP_READINGS, 1 + min(length, LONGEST_STEP_US) // min(interval, BLOCK_US))
    return inside + (2 * margin(interval) + BLOCK_US) // interval if alone else inside


def _join_held(cursor: Cursor[Any], partition: int, ranges: dict[int, list[tuple[int, int]]]) -> None:
    """Move the ranges of devices that are held back to what is held of them."""
    for number, devices in cursor.execute(HELD, [partition, list(ranges)]).fetchall():
        for device in set(devices) & ranges.keys():
            bounds = [
                text(min(first for first, _ in ranges[device])),
                text(max(last for _, last in ranges[device])),
            ]
            if cursor.execute(WIDEN_HELD, [*bounds, number]).rowcount:
                del ranges[device]


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges less than a day apart as one, in order."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + DAY_US:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def put_back(cursor: Cursor[Any], partition: int, rest: Span) -> None:
    """Queue what is left of a range."""
    cursor.execute(PUT_BACK, [partition, text(rest.start), text(rest.end), rest.device_id])


def hold(cursor: Cursor[Any], partition: int, span: Span, error: str) -> None:
    """Queue a range whose computation failed; it is tried again after some minutes."""
    cursor.execute(HOLD, [partition, text(span.start), text(span.end), span.device_id, error])


def done(cursor: Cursor[Any], partition: int) -> None:
    """Let the other partitions come first the next time."""
    cursor.execute(DONE, [partition])


def lag(connection: Connection[Any]) -> float | None:
    """For how many seconds the oldest range waits that is not held back; None where nothing waits."""
    row = connection.execute(LAG).fetchone()
    return row[0] if row else None


def enqueue(connection: BaseDatabaseWrapper, devices: Iterable[int], since: datetime | None = None) -> None:
    """Queue these devices' readings from ``since`` on, all of them without."""
    with connection.cursor() as cursor:
        cursor.execute(ENSURE_PARTITIONS, [ConsumoParticao.PARTICOES])
        cursor.execute(
            QUEUE_ALL, {"devices": list(devices), "since": since, "partitions": ConsumoParticao.PARTICOES}
        )


def enqueue_over(
    connection: BaseDatabaseWrapper, devices: Iterable[int], moment: datetime, since: datetime | None
) -> None:
    """Queue of these devices what no reading after ``moment`` changes, unless it comes late; :func:`enqueue_rest` queues the others."""
    with connection.cursor() as cursor:
        cursor.execute(ENSURE_PARTITIONS, [ConsumoParticao.PARTICOES])
        cursor.execute(
            QUEUE_OVER,
            {
                "devices": list(devices),
                "moment": moment,
                "since": since,
                "partitions": ConsumoParticao.PARTICOES,
            },
        )


def enqueue_rest(
    connection: BaseDatabaseWrapper, devices: Iterable[int], moment: datetime, since: datetime | None
) -> None:
    """Queue of these devices what is newer than what :func:`enqueue_over` queues."""
    with connection.cursor() as cursor:
        cursor.execute(ENSURE_PARTITIONS, [ConsumoParticao.PARTICOES])
        cursor.execute(
            QUEUE_REST,
            {
                "devices": list(devices),
                "moment": moment,
                "since": since,
                "partitions": ConsumoParticao.PARTICOES,
            },
        )


def retry_now(connection: BaseDatabaseWrapper) -> None:
    """Try at once what is held back."""
    with connection.cursor() as cursor:
        cursor.execute(RETRY_NOW)


def to_rebuild(connection: BaseDatabaseWrapper, devices: Collection[int]) -> dict[int, datetime | None]:
    """Which of these devices have ranges longer than a day to compute, and from when on (None: all); not those that are held back."""
    with connection.cursor() as cursor:
        cursor.execute(TO_REBUILD, {"devices": list(devices)})
        return dict(cursor.fetchall())
