"""Months of a fleet's readings and the blocks that they come to, made in the database of a benchmark by functions of device and time.

Every device reads every five minutes, at a moment of its own within them. A value is a function of the device and the number of the
five minutes since 1970, so a block can be computed from it alone, by the rules of docs/metering.md; :func:`differing` holds
that to what the real ledger computes from the readings.
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
from tds_new.metering.worker import drain
from tds_new.models import ConsumoParticao
from tds_new.storage.timescale import has_timescale

Progress = Callable[[float], None]
COMPRESSED_AFTER = timedelta(days=45)  # as shipped
SESSIONS = 2  # fill so many chunks at a time
TRIES = 5

# Values in 0.001. A register grows by 0.02 to 0.12 in five minutes on average, less by night, never down; temperatures swing with
# the day. 0.0218 is a day's 288th part of a circle.
FUNCTIONS = """
CREATE OR REPLACE FUNCTION bench_passo(d bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT 20 + d % 17 * 6 $$;
CREATE OR REPLACE FUNCTION bench_ruido(d bigint, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT (hashint8(n * 1000003 + d) & 1023)::bigint $$;
CREATE OR REPLACE FUNCTION bench_valor(tipo text, d bigint, n bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT CASE tipo
        WHEN 'ACUMULADA' THEN floor(bench_passo(d) * (n + 27.5 + 27.5 * sin(n * 0.021816615649929118 + d)))::bigint
            + bench_ruido(d, n) * bench_passo(d) * 3 / 10240
        WHEN 'INCREMENTAL' THEN bench_passo(d) + bench_ruido(d, n) / 16
        ELSE floor(220 + 60 * sin(n * 0.021816615649929118 + d))::bigint * 100 + bench_ruido(d, n) / 256 * 100
    END $$;
CREATE OR REPLACE FUNCTION bench_segundo(d bigint) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$ SELECT d % 97 * 3 $$;
"""

# Contas of the sizes given, gateways with up to ten devices; seven in ten are energy registers.
REGISTER = """
WITH tamanho AS (
    SELECT n, t AS devices, sum(t) OVER (ORDER BY n) - t AS antes FROM unnest(%(sizes)s::int[]) WITH ORDINALITY AS s (t, n)
), conta AS (
    INSERT INTO tds_new_conta (name) SELECT 'Conta ' || n FROM tamanho RETURNING id, name
), d AS (
    SELECT k, t.n, k - t.antes - 1 AS lugar FROM tamanho t
    CROSS JOIN LATERAL generate_series(t.antes + 1, t.antes + t.devices) AS k
), g AS (
    INSERT INTO tds_new_gateway (conta_id, codigo, mac, qte_max_dispositivos)
    SELECT c.id, 'GW-' || min(k), 'b0:00:00' || regexp_replace(lpad(to_hex(min(k)), 6, '0'), '(..)', ':\\1', 'g'), 10
    FROM d JOIN conta c ON c.name = 'Conta ' || d.n GROUP BY c.id, d.n, lugar / 10
    RETURNING id, conta_id, codigo
)
INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo, grandeza, unidade, tipo_leitura)
SELECT g.conta_id, g.id, 'D' || d.k, f.grandeza, f.unidade, f.tipo
FROM d JOIN g ON g.codigo = 'GW-' || (d.k - d.lugar %% 10)
JOIN (VALUES (0, 6, 'ENERGIA', 'kWh', 'ACUMULADA'), (7, 7, 'AGUA', 'm3', 'ACUMULADA'), (8, 8, 'GAS', 'm3', 'INCREMENTAL'),
    (9, 9, 'TEMPERATURA', '\u00b0C', 'INSTANTANEA')) AS f (de, ate, grandeza, unidade, tipo) ON d.k %% 10 BETWEEN f.de AND f.ate
"""
SEEN = """
WITH visto AS (UPDATE tds_new_gateway SET last_seen = %(until)s, is_online = true)
UPDATE tds_new_dispositivo SET last_seen = %(until)s - interval '5 minutes' + make_interval(secs => bench_segundo(id))
"""

READINGS = """
INSERT INTO tds_new_leitura_dispositivo ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura)
SELECT to_timestamp(n * 300 + bench_segundo(d.id)), d.conta_id, d.gateway_id, d.id,
    (bench_valor(d.tipo_leitura, d.id, n) * 0.001)::numeric(15, 4), d.unidade, d.tipo_leitura
FROM (SELECT * FROM tds_new_dispositivo ORDER BY id) d
CROSS JOIN generate_series(3 * %(from)s::bigint, 3 * %(until)s::bigint - 1) n
{order}
"""

STORE = """
INSERT INTO tds_new_leitura_dispositivo ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura)
SELECT %(start)s + (n * %(interval)s + d.id %% %(interval)s) * INTERVAL '1 second', d.conta_id, d.gateway_id, d.id,
    (bench_valor(d.tipo_leitura, d.id, n) * 0.001)::numeric(15, 4), d.unidade, d.tipo_leitura
FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) n CROSS JOIN tds_new_dispositivo d
ORDER BY d.id, n
"""
# As gateways send: whole seconds, up to two late; the message with this reading alone where the platform keeps it.
STORE_OLD = """
INSERT INTO tds_new_leitura_dispositivo ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura, payload_raw)
SELECT moment, d.conta_id, d.gateway_id, d.id, valor, d.unidade, d.tipo_leitura, CASE WHEN %(payload)s THEN jsonb_build_object(
    'gateway_mac', g.mac, 'timestamp', to_char(moment, 'YYYY-MM-DD"T"HH24:MI:SS"Z"'), 'leituras', jsonb_build_array(jsonb_build_object(
    'dispositivo_codigo', d.codigo, 'valor', valor, 'unidade', d.unidade))) END
FROM generate_series(%(first)s::bigint, %(last)s::bigint - 1) n
CROSS JOIN tds_new_dispositivo d JOIN tds_new_gateway g ON g.id = d.gateway_id
CROSS JOIN LATERAL (
    SELECT to_timestamp(n * 300 + bench_segundo(d.id) + bench_ruido(d.id, n + 7) %% 3) AS moment,
        trim_scale(bench_valor(d.tipo_leitura, d.id, n) * 0.001) AS valor
) v
"""
# Of each device what the sums say of all time, and what its blocks come to.
WRONG_SUMS = """
SELECT count(*) FROM (
    SELECT dispositivo_id, sum({consumption}) AS consumo, sum({readings}) AS leituras, sum(blocos) AS blocos FROM {view} GROUP BY 1
) s FULL JOIN (
    SELECT dispositivo_id, sum(consumo) AS consumo, sum(leituras) AS leituras, count(*) AS blocos FROM tds_new_consumo_15min GROUP BY 1
) b USING (dispositivo_id)
WHERE (s.consumo, s.leituras, s.blocos) IS DISTINCT FROM (b.consumo, b.leituras, b.blocos)
"""
SUMS = (
    ("tds_new_consumo_horario", "consumo", "leituras"), ("tds_new_consumo_diario", "consumo", "leituras"),
    ("tds_new_consumo_mensal", "total_consumo", "leituras_count"),
)  # fmt: skip
EMPTY = "TRUNCATE tds_new_leitura_dispositivo, tds_new_consumo_15min, tds_new_consumo_pendente, tds_new_ocorrencia_medicao"
FORGET_FLEET = "TRUNCATE tds_new_conta CASCADE"

# k counts blocks, 3 k is the first reading in one. The pair across a border is split as the ledger splits it: what is before the
# border rounded down, the rest after it. Before the first reading and after the last there is nothing.
BLOCKS = """
INSERT INTO tds_new_consumo_15min (dispositivo_id, bloco, conta_id, gateway_id, consumo, leituras, fracao_medida, qualidade,
    minimo, maximo, soma, ultimo, amostras)
SELECT id, to_timestamp(k * 900), conta_id, gateway_id,
    (CASE tipo_leitura
        WHEN 'ACUMULADA' THEN coalesce(entra - entra * (300 - o) / 300, 0) + (c - a) * 1000 + coalesce(sai * (300 - o) / 300, 0)
        WHEN 'INCREMENTAL' THEN (a + b + c) * 1000
    END * 0.000001)::numeric(27, 6),
    3, CASE k WHEN %(first)s THEN trunc((900 - o) / 900.0, 4) WHEN %(last)s THEN trunc((600 + o) / 900.0, 4) ELSE 1 END, 'MEDIDO',
    CASE WHEN medidor THEN least(a, b, c) * 0.001 END, CASE WHEN medidor THEN greatest(a, b, c) * 0.001 END,
    CASE WHEN medidor THEN (a + b + c) * 0.001 END, CASE WHEN medidor THEN c * 0.001 END, CASE WHEN medidor THEN 3 END
FROM (
    SELECT d.id, d.conta_id, d.gateway_id, d.tipo_leitura, d.tipo_leitura = 'INSTANTANEA' AS medidor, k, bench_segundo(d.id) AS o,
        v.a, v.b, v.c,
        CASE WHEN k <> %(first)s THEN (v.a - bench_valor('ACUMULADA', d.id, 3 * k - 1)) * 1000 END AS entra,
        CASE WHEN k <> %(last)s THEN (bench_valor('ACUMULADA', d.id, 3 * k + 3) - v.c) * 1000 END AS sai
    FROM (SELECT * FROM tds_new_dispositivo ORDER BY id) d
    CROSS JOIN generate_series(%(from)s::bigint, %(until)s::bigint - 1) k
    CROSS JOIN LATERAL (
        SELECT bench_valor(d.tipo_leitura, d.id, 3 * k) AS a, bench_valor(d.tipo_leitura, d.id, 3 * k + 1) AS b,
            bench_valor(d.tipo_leitura, d.id, 3 * k + 2) AS c
        OFFSET 0
    ) v
) x
{order}
"""
# Rows lie in the order in which they arrived, until compression sorts them by device.
ORDER = {READINGS: "ORDER BY n, d.id", BLOCKS: "ORDER BY k, id"}
CHUNKS = "SELECT extract(epoch FROM time_interval) FROM timescaledb_information.dimensions WHERE hypertable_name = %s"
COMPRESS = """
SELECT compress_chunk(c, if_not_compressed => true)
FROM show_chunks(%(table)s::regclass, older_than => %(end)s::timestamptz, newer_than => %(start)s::timestamptz) AS c
"""

QUEUE = """
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
SELECT id %% %s, coalesce(%s, '-infinity'::timestamptz), 'infinity', ARRAY[id] FROM unnest(%s::bigint[]) AS id
"""
TAKE_AWAY = """
CREATE TABLE bench_atrasadas AS SELECT * FROM tds_new_leitura_dispositivo
WHERE dispositivo_id = %(device)s AND time >= %(start)s AND time < %(end)s
"""
FORGET = "DELETE FROM tds_new_leitura_dispositivo WHERE dispositivo_id = %(device)s AND time >= %(start)s AND time < %(end)s"
GIVE_BACK = "INSERT INTO tds_new_leitura_dispositivo SELECT * FROM bench_atrasadas"


@dataclass(frozen=True)
class Filled:
    """What a fill made, and how long it took in seconds."""

    devices: int
    contas: int
    readings: int
    blocks: int
    seconds: float


@dataclass(frozen=True)
class Piece:
    """What one statement fills: a table from ``start`` until before ``end``."""

    table: str
    statement: str
    start: datetime
    end: datetime


def prepare(connection: Connection[Any]) -> None:
    """Have the functions that values come from."""
    connection.execute(FUNCTIONS)


def register(connection: Connection[Any], devices: int, *, one_conta: bool = False) -> None:
    """Register so many devices, in Contas of one, two, three ... devices or all in one."""
    prepare(connection)
    connection.execute(REGISTER, {"sizes": [devices] if one_conta else _all_sizes(devices)})


def _all_sizes(devices: int) -> list[int]:
    """One, two, three ... that make up ``devices``; the last is what is left."""
    sizes: list[int] = []
    while (left := devices - sum(sizes)) > 0:
        sizes.append(min(len(sizes) + 1, left))
    return sizes


def fill(url: str, start: datetime, end: datetime, progress: Progress) -> Filled:
    """Store the registered devices' readings from ``start`` until before ``end`` (full quarters of an hour) and their blocks.

    Nothing becomes stale by it. What is older than 45 days is compressed, as shipped. ``progress`` is told the share that is done.
    """
    began = time.monotonic()
    with psycopg.connect(url, autocommit=True) as connection:
        pieces = sorted(
            (
                Piece(table, statement, *bounds)
                for table, statement in (
                    ("tds_new_leitura_dispositivo", READINGS),
                    ("tds_new_consumo_15min", BLOCKS),
                )
                for bounds in _chunks(connection, table, start, end)
            ),
            key=lambda piece: piece.start,
        )
        connection.execute(SEEN, {"until": end})
        devices, contas = connection.execute(
            "SELECT count(*), count(DISTINCT conta_id) FROM tds_new_dispositivo"
        ).fetchone() or (0, 0)
    whole, done, rows, lock = end - start, timedelta(0), dict.fromkeys((READINGS, BLOCKS), 0), Lock()

    def work(piece: Piece) -> None:
        nonlocal done
        stored = _fill_piece(url, piece, start, end)
        with lock:
            rows[piece.statement] += stored
            done += piece.end - piece.start
            progress(done / whole / 2)

    with ThreadPoolExecutor(SESSIONS) as sessions:
        list(sessions.map(work, pieces))
    return Filled(devices, contas, rows[READINGS], rows[BLOCKS], time.monotonic() - began)


def _chunks(
    connection: Connection[Any], table: str, start: datetime, end: datetime
) -> Iterator[tuple[datetime, datetime]]:
    """The stretches of time that fall into one chunk each; weeks on plain PostgreSQL."""
    size = WEEK
    if has_timescale(connection) and (row := connection.execute(CHUNKS, [table]).fetchone()):
        size = timedelta(seconds=int(row[0]))
    first = start
    while first < end:
        last = min(end, first - (first - EPOCH) % size + size)
        yield first, last
        first = last


def _block(moment: datetime) -> int:
    """The number of a quarter of an hour since 1970."""
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
            # Without triggers: nothing is stale. Those on blocks stay: by them TimescaleDB knows which sums are to be refreshed.
            connection.execute("SET session_replication_role = replica")
        old = has_timescale(connection) and piece.end <= datetime.now(UTC) - COMPRESSED_AFTER
        statement = piece.statement.format(order="" if old else ORDER[piece.statement])
        stored = connection.execute(statement, {**bounds, **blocks}).rowcount
        connection.execute("SET session_replication_role = origin")
        if old:
            connection.execute(COMPRESS, bounds)
        return stored


def store(connection: Connection[Any], start: datetime, interval: int, first: int, last: int) -> int:
    """Store the ``first`` to ``last`` (left out) reading of every device, so many seconds apart from ``start`` on, as one batch."""
    return connection.execute(
        STORE, {"start": start, "interval": interval, "first": first, "last": last}
    ).rowcount


def store_old(connection: Connection[Any], start: datetime, end: datetime, *, payload: bool) -> int:
    """Store every device's readings of ``[start, end)``, five minutes apart but for what clocks do, with ``payload_raw`` or without."""
    return connection.execute(
        STORE_OLD, {"first": 3 * _block(start), "last": 3 * _block(end), "payload": payload}
    ).rowcount


def compress(connection: Connection[Any], table: str) -> None:
    """Compress all chunks of a table."""
    connection.execute(COMPRESS, {"table": table, "start": "-infinity", "end": "infinity"})


def empty(connection: Connection[Any]) -> None:
    """Take all readings away, and what came of them."""
    _truncate(connection, EMPTY)


def forget_fleet(connection: Connection[Any]) -> None:
    """Take everything away but the partitions of the queue."""
    empty(connection)
    _truncate(connection, FORGET_FLEET)


def _truncate(connection: Connection[Any], statement: str) -> None:
    """Truncate; a job of the server's that is at the same tables may end the first try in a deadlock."""
    for _ in range(TRIES - 1):
        with suppress(psycopg.errors.DeadlockDetected):
            connection.execute(statement)
            return
    connection.execute(statement)


def differing(connection: Connection[Any], devices: Sequence[int], since: datetime | None = None) -> int:
    """How many block rows of these devices the real ledger computes otherwise (from ``since`` on). It puts them right."""
    connection.execute(QUEUE, [ConsumoParticao.PARTICOES, since, list(devices)])
    return drain(connection).rows


def wrong_sums(connection: Connection[Any]) -> int:
    """How many devices' hours, days or months are not the sum of their blocks."""
    found = 0
    for view, consumption, readings in SUMS:
        row = connection.execute(
            WRONG_SUMS.format(view=view, consumption=consumption, readings=readings)
        ).fetchone()
        found += row[0] if row else 0
    return found


@contextmanager
def withheld(connection: Connection[Any], device: int, start: datetime, end: datetime) -> Iterator[int]:
    """Take a device's readings of ``[start, end)`` away, its figures with them; yields how many. :func:`arrive` has them come late."""
    period = {"device": device, "start": start, "end": end}
    taken = connection.execute(TAKE_AWAY, period).rowcount
    try:
        connection.execute(FORGET, period)
        differing(connection, [device])
        yield taken
    finally:
        connection.execute("DROP TABLE bench_atrasadas")


def arrive(connection: Connection[Any]) -> None:
    """Store what was withheld, in one transaction."""
    connection.execute(GIVE_BACK)
