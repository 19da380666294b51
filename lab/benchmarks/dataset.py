"""Months of a fleet's readings and their blocks, made in the database.

Values come from functions of device and time.

Every device reads every five minutes, at a moment of its own within them. A value is a function of the device
and the number of the five minutes since 1970, so a block can be computed from it alone, by the rules of
docs/metering.md; :func:`differing` compares that to what the real ledger computes from the readings.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from threading import Lock
from typing import Any

import psycopg
from psycopg import Connection

from lab.benchmarks.load import EPOCH, WEEK
from lab.harness import fleet
from lab.harness.macs import mac_address
from tds_new.demo.fleet import Device, Site
from tds_new.metering.worker import drain
from tds_new.models import ConsumoParticao
from tds_new.storage.timescale import has_timescale

Progress = Callable[[float], None]
COMPRESSED_AFTER = timedelta(days=45)  # as shipped
SESSIONS = 2  # chunks that are filled at a time
TRIES = 5
DEVICES_OF_GATEWAY = 10

# Values in 0.001. A register grows by 0.02 to 0.12 in five minutes on average, less by night, never down;
# temperatures swing with the day. 0.0218 is a day's 288th part of a circle.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION bench_step(d bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT 20 + d % 17 * 6
$$;
CREATE OR REPLACE FUNCTION bench_noise(d bigint, n bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (hashint8(n * 1000003 + d) & 1023)::bigint
$$;
CREATE OR REPLACE FUNCTION bench_value(tipo text, d bigint, n bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE tipo
        WHEN 'ACUMULADA' THEN
            floor(bench_step(d) * (n + 27.5 + 27.5 * sin(n * 0.021816615649929118 + d)))::bigint
            + bench_noise(d, n) * bench_step(d) * 3 / 10240
        WHEN 'INCREMENTAL' THEN bench_step(d) + bench_noise(d, n) / 16
        ELSE floor(220 + 60 * sin(n * 0.021816615649929118 + d))::bigint * 100 + bench_noise(d, n) / 256 * 100
    END
$$;
CREATE OR REPLACE FUNCTION bench_second(d bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT d % 97 * 3
$$;
"""
# Of ten devices seven are registers of energy; the others follow in their order.
ENERGY = ("ENERGIA", "kWh", "ACUMULADA")
OTHERS = {
    7: ("AGUA", "m\u00b3", "ACUMULADA"),
    8: ("GAS", "m\u00b3", "INCREMENTAL"),
    9: ("TEMPERATURA", "\u00b0C", "INSTANTANEA"),
}
SEEN = """
WITH seen AS (UPDATE tds_new_gateway SET last_seen = %(until)s, is_online = true)
UPDATE tds_new_dispositivo
SET last_seen = %(until)s - interval '5 minutes' + make_interval(secs => bench_second(id))
"""

READINGS = """
INSERT INTO tds_new_leitura_dispositivo
    ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura)
SELECT to_timestamp(n * 300 + bench_second(d.id)), d.conta_id, d.gateway_id, d.id,
    (bench_value(d.tipo_leitura, d.id, n) * 0.001)::numeric(15, 4), d.unidade, d.tipo_leitura
FROM (SELECT * FROM tds_new_dispositivo ORDER BY id) d
CROSS JOIN generate_series(3 * %(from)s::bigint, 3 * %(until)s::bigint - 1) n
{order}
"""

STORE = """
INSERT INTO tds_new_leitura_dispositivo
    ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura)
SELECT %(start)s + (n * %(interval)s + d.id %% %(interval)s) * INTERVAL '1 second',
    d.conta_id, d.gateway_id, d.id,
    (bench_value(d.tipo_leitura, d.id, n) * 0.001)::numeric(15, 4), d.unidade, d.tipo_leitura
FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) n CROSS JOIN tds_new_dispositivo d
ORDER BY d.id, n
"""
# As gateways send: whole seconds, up to two late; the message has this reading alone where the platform keeps
# it.
STORE_AS_SENT = """
INSERT INTO tds_new_leitura_dispositivo
    ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura, payload_raw)
SELECT moment, d.conta_id, d.gateway_id, d.id, valor, d.unidade, d.tipo_leitura, CASE WHEN %(payload)s THEN
    jsonb_build_object(
        'gateway_mac', g.mac, 'timestamp', to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'),
        'leituras', jsonb_build_array(jsonb_build_object(
            'dispositivo_codigo', d.codigo, 'valor', valor, 'unidade', d.unidade
        ))
    )
    END
FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) n
CROSS JOIN tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id
CROSS JOIN LATERAL (
    SELECT to_timestamp(n * 300 + bench_second(d.id) + bench_noise(d.id, n + 7) %% 3) AS moment,
        trim_scale(bench_value(d.tipo_leitura, d.id, n) * 0.001) AS valor
) v
"""
# For each device, its sums over all time beside the total of its blocks.
WRONG_SUMS = """
SELECT count(*) FROM (
    SELECT dispositivo_id, sum({consumption}) AS consumption, sum({readings}) AS readings,
        sum(blocos) AS blocks
    FROM {view} GROUP BY 1
) s FULL JOIN (
    SELECT dispositivo_id, sum(consumo) AS consumption, sum(leituras) AS readings, count(*) AS blocks
    FROM tds_new_consumo_15min GROUP BY 1
) b USING (dispositivo_id)
WHERE (s.consumption, s.readings, s.blocks) IS DISTINCT FROM (b.consumption, b.readings, b.blocks)
"""
SUMS = (
    ("tds_new_consumo_horario", "consumo", "leituras"),
    ("tds_new_consumo_diario", "consumo", "leituras"),
    ("tds_new_consumo_mensal", "total_consumo", "leituras_count"),
)
CLEAR_READINGS = """
TRUNCATE tds_new_leitura_dispositivo, tds_new_consumo_15min, tds_new_consumo_pendente,
    tds_new_ocorrencia_medicao, tds_new_consumo_estado, tds_new_consumo_retomada
"""
CLEAR_FLEET = "TRUNCATE tds_new_conta CASCADE"

# k counts blocks; 3 k is the first reading in one. What is used between two readings is split at a border as
# the ledger splits it: the part before the border is rounded, the rest is after it. An increment is what was
# used since the reading before, the first one since five minutes before it: a device of increments has a
# block before its first reading.
BLOCKS = """
INSERT INTO tds_new_consumo_15min (dispositivo_id, bloco, conta_id, gateway_id, consumo, leituras,
    fracao_medida, qualidade, minimo, maximo, soma, ultimo, amostras)
SELECT id, to_timestamp(k * 900), conta_id, gateway_id,
    (CASE WHEN NOT is_gauge THEN
        coalesce(incoming - (incoming * (300 - second) * 2 + 300) / 600, 0) + coalesce(inside, 0)
            + coalesce((outgoing * (300 - second) * 2 + 300) / 600, 0)
    END * 0.000001)::numeric(27, 6),
    CASE WHEN k < %(first)s THEN 0 ELSE 3 END, trunc((
        CASE WHEN k < %(first)s THEN 0 ELSE 600 END
        + CASE WHEN incoming IS NULL THEN 0 ELSE second END
        + CASE WHEN outgoing IS NULL THEN 0 ELSE 300 - second END
    ) / 900.0, 4), 'MEDIDO',
    CASE WHEN is_gauge THEN least(a, b, c) * 0.001 END, CASE WHEN is_gauge THEN greatest(a, b, c) * 0.001 END,
    CASE WHEN is_gauge THEN (a + b + c) * 0.001 END, CASE WHEN is_gauge THEN c * 0.001 END,
    CASE WHEN is_gauge THEN 3 END
FROM (
    SELECT d.id, d.conta_id, d.gateway_id, d.tipo_leitura = 'INSTANTANEA' AS is_gauge, k,
        bench_second(d.id) AS second, v.a, v.b, v.c,
        CASE d.tipo_leitura WHEN 'INCREMENTAL' THEN b + c ELSE c - a END * 1000 AS inside,
        CASE WHEN d.tipo_leitura = 'INCREMENTAL' THEN v.a WHEN k <> %(first)s THEN
            v.a - bench_value(d.tipo_leitura, d.id, 3 * k - 1)
        END * 1000 AS incoming,
        CASE WHEN k <> %(last)s THEN
            bench_value(d.tipo_leitura, d.id, 3 * k + 3)
                - CASE d.tipo_leitura WHEN 'INCREMENTAL' THEN 0 ELSE v.c END
        END * 1000 AS outgoing
    FROM (SELECT * FROM tds_new_dispositivo ORDER BY id) d
    CROSS JOIN generate_series(
        %(from)s::bigint - (%(from)s::bigint = %(first)s::bigint)::int, %(until)s::bigint - 1
    ) k
    LEFT JOIN LATERAL (
        SELECT bench_value(d.tipo_leitura, d.id, 3 * k) AS a,
            bench_value(d.tipo_leitura, d.id, 3 * k + 1) AS b,
            bench_value(d.tipo_leitura, d.id, 3 * k + 2) AS c
        WHERE k >= %(first)s
        OFFSET 0
    ) v ON true
    WHERE k >= %(first)s OR d.tipo_leitura = 'INCREMENTAL'
) block
{order}
"""
# Rows lie in the order of arrival, until compression sorts them by device.
ORDER = {READINGS: "ORDER BY n, d.id", BLOCKS: "ORDER BY k, id"}
CHUNKS = """
SELECT extract(epoch FROM time_interval) FROM timescaledb_information.dimensions WHERE hypertable_name = %s
"""
COMPRESS = """
SELECT compress_chunk(c, if_not_compressed => true)
FROM show_chunks(
    %(table)s::regclass, older_than => %(end)s::timestamptz, newer_than => %(start)s::timestamptz
) AS c
"""

QUEUE = """
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
SELECT id %% %s, coalesce(%s, '-infinity'::timestamptz), 'infinity', ARRAY[id] FROM unnest(%s::bigint[]) AS id
"""
WITHHOLD = """
CREATE TABLE bench_withheld AS SELECT * FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %(device)s AND time >= %(start)s AND time < %(end)s
"""
DELETE = """
DELETE FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %(device)s AND time >= %(start)s AND time < %(end)s
"""
STORE_WITHHELD = "INSERT INTO tds_new_leitura_dispositivo SELECT * FROM bench_withheld"


@dataclass(frozen=True)
class Filled:
    """The result of a fill, and the seconds that it took."""

    devices: int
    contas: int
    readings: int
    blocks: int
    seconds: float


@dataclass(frozen=True)
class Piece:
    """The work of one statement: a table, from ``start`` until before ``end``."""

    table: str
    statement: str
    start: datetime
    end: datetime


def create_functions(connection: Connection[Any]) -> None:
    """Create the functions that values come from."""
    connection.execute(FUNCTIONS)


def register(connection: Connection[Any], devices: int, *, one_conta: bool = False) -> None:
    """Register so many devices.

    They are in Contas of one, two, three ... devices, or all in one; a gateway has ten at most.
    """
    create_functions(connection)
    first = 1
    for size in [devices] if one_conta else _all_sizes(devices):
        numbers = range(first, first + size)
        gateways = [
            numbers[place : place + DEVICES_OF_GATEWAY] for place in range(0, size, DEVICES_OF_GATEWAY)
        ]
        fleet.register(connection, f"Conta {first}", [_site(own) for own in gateways])
        first += size


def _site(numbers: Sequence[int]) -> Site:
    """Return a gateway with the devices of these numbers."""
    first = numbers[0]
    devices = tuple(Device(f"D{number}", "", *OTHERS.get(number % 10, ENERGY)) for number in numbers)
    return Site(f"GW-{first}", mac_address(f"b00000{first:06x}"), "", devices)


def _all_sizes(devices: int) -> list[int]:
    """Return one, two, three ... that make up ``devices``; the last is what is left."""
    sizes: list[int] = []
    while (left := devices - sum(sizes)) > 0:
        sizes.append(min(len(sizes) + 1, left))
    return sizes


def fill(url: str, start: datetime, end: datetime, progress: Progress, *, readings: bool = True) -> Filled:
    """Store the registered devices' readings and their blocks.

    Without ``readings`` it stores blocks only.

    The period is from ``start`` until before ``end``.

    Both are full quarters of an hour. Nothing becomes stale by it. Chunks older than 45 days are compressed,
    as shipped. ``url`` is the database's address; ``progress`` is told the share that is done.
    """
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        pieces = [
            Piece(table, statement, *bounds)
            for table, statement in (
                ("tds_new_leitura_dispositivo", READINGS),
                ("tds_new_consumo_15min", BLOCKS),
            )
            if readings or statement is BLOCKS
            for bounds in _chunks(connection, table, start, end)
        ]
        pieces.sort(key=lambda piece: piece.start)
        connection.execute(SEEN, {"until": end})
        devices, contas = connection.execute(
            "SELECT count(*), count(DISTINCT conta_id) FROM tds_new_dispositivo"
        ).fetchone() or (0, 0)
    whole, done, rows, lock = (
        (1 + readings) * (end - start),
        timedelta(0),
        dict.fromkeys((READINGS, BLOCKS), 0),
        Lock(),
    )

    def work(piece: Piece) -> None:
        nonlocal done
        stored = _fill_piece(url, piece, start, end)
        with lock:
            rows[piece.statement] += stored
            done += piece.end - piece.start
            progress(done / whole)

    with ThreadPoolExecutor(SESSIONS) as sessions:
        list(sessions.map(work, pieces))
    return Filled(devices, contas, rows[READINGS], rows[BLOCKS], time.monotonic() - began)


def _chunks(
    connection: Connection[Any], table: str, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """Yield the bounds of the parts of a time that fall into one chunk each.

    Plain PostgreSQL has no chunks; there they are weeks.
    """
    size = WEEK
    if has_timescale(connection) and (row := connection.execute(CHUNKS, [table]).fetchone()):
        size = timedelta(seconds=int(row[0]))
    first = start
    while first < end:
        last = min(end, first - (first - EPOCH) % size + size)
        yield first, last
        first = last


def _block(moment: datetime) -> int:
    """Return the number of a quarter of an hour since 1970."""
    return int(moment.timestamp()) // 900


def _fill_piece(url: str, piece: Piece, start: datetime, end: datetime) -> int:
    bounds = {"table": piece.table, "start": piece.start, "end": piece.end}
    blocks = {
        "first": _block(start),
        "last": _block(end) - 1,
        "from": _block(piece.start),
        "until": _block(piece.end),
    }
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("SET work_mem = '256MB'")
        if piece.statement is READINGS:
            # Without triggers: nothing is stale. Those on blocks stay: by them TimescaleDB knows which sums
            # are to be refreshed.
            connection.execute("SET session_replication_role = replica")
        old = has_timescale(connection) and piece.end <= datetime.now(UTC) - COMPRESSED_AFTER
        statement = piece.statement.format(order="" if old else ORDER[piece.statement])
        stored = connection.execute(statement, {**bounds, **blocks}).rowcount
        connection.execute("SET session_replication_role = origin")
        if old:
            connection.execute(COMPRESS, bounds)
        return stored


def store(connection: Connection[Any], start: datetime, interval: int, first: int, last: int) -> int:
    """Store the readings ``first`` until before ``last`` of every device as one batch.

    Return how many.

    A device's readings are ``interval`` seconds apart from ``start`` on.
    """
    parameters = {"start": start, "interval": interval, "first": first, "last": last}
    return connection.execute(STORE, parameters).rowcount


def store_as_sent(connection: Connection[Any], start: datetime, end: datetime, *, payload: bool) -> int:
    """Store every device's readings as gateways send them; return how many.

    They are from ``start`` until before ``end``, five minutes apart but for what clocks do.

    ``payload`` stores their raw messages too.
    """
    parameters = {"first": 3 * _block(start), "last": 3 * _block(end), "payload": payload}
    return connection.execute(STORE_AS_SENT, parameters).rowcount


def compress(connection: Connection[Any], table: str) -> None:
    """Compress all chunks of a table."""
    connection.execute(COMPRESS, {"table": table, "start": "-infinity", "end": "infinity"})


def clear_readings(connection: Connection[Any]) -> None:
    """Delete all readings, and what came of them."""
    _truncate(connection, CLEAR_READINGS)


def clear_fleet(connection: Connection[Any]) -> None:
    """Delete everything but the partitions of the queue."""
    clear_readings(connection)
    _truncate(connection, CLEAR_FLEET)


def _truncate(connection: Connection[Any], statement: str) -> None:
    """Truncate, again after a deadlock: a job of the server may be at the same tables."""
    for _ in range(TRIES - 1):
        with suppress(psycopg.errors.DeadlockDetected):
            connection.execute(statement)
            return
    connection.execute(statement)


def differing(connection: Connection[Any], devices: Sequence[int], since: datetime | None = None) -> int:
    """Have the ledger compute these devices' blocks (from ``since`` on).

    Return how many rows it has changed.
    """
    connection.execute(QUEUE, [ConsumoParticao.PARTICOES, since, list(devices)])
    return drain(connection).rows


def wrong_sums(connection: Connection[Any]) -> int:
    """Return how many devices' hours, days or months are not the sum of their blocks."""
    found = 0
    for view, consumption, readings in SUMS:
        query = WRONG_SUMS.format(view=view, consumption=consumption, readings=readings)
        row = connection.execute(query).fetchone()
        found += row[0] if row else 0
    return found


@contextmanager
def withheld(connection: Connection[Any], device: int, start: datetime, end: datetime) -> Iterator[int]:
    """Withhold a device's readings and compute its figures without them.

    The readings are from ``start`` until before ``end``; yields how many.

    :func:`store_withheld` has them come late.
    """
    period = {"device": device, "start": start, "end": end}
    taken = connection.execute(WITHHOLD, period).rowcount
    try:
        connection.execute(DELETE, period)
        differing(connection, [device])
        yield taken
    finally:
        connection.execute("DROP TABLE bench_withheld")


def store_withheld(connection: Connection[Any]) -> None:
    """Store what was withheld, in one transaction."""
    connection.execute(STORE_WITHHELD)
