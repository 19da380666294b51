"""The worker that follows ingestion: takes stale ranges from the queue, partition by partition, and computes them.

Several workers may run: each locks the partition that it works on (``FOR UPDATE SKIP LOCKED``). A range leaves the queue in the transaction
that writes its figures, so a worker that dies leaves nothing undone.
"""

import logging
import random
import threading
import time
from collections import defaultdict
from collections.abc import Iterable
from datetime import datetime
from typing import Any

import psycopg
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import Connection, Cursor

from tds_new.consumption import ledger
from tds_new.consumption.ledger import BEGINNING, DAY_US, END, LONGEST_STEP_US, Stale, Written
from tds_new.ingestion import database
from tds_new.logs import printable
from tds_new.models import ConsumoParticao

logger = logging.getLogger(__name__)

PASS_S = 1.0  # a pass over all partitions begins at most so often, so that a device's readings are computed together
REPORT_S = 10.0
FIRST_RETRY_S, LONGEST_RETRY_S = 0.5, 15.0
MAX_QUEUED = 500  # rows of the queue that one transaction takes
MAX_READINGS = 200_000  # about so many readings one transaction computes
READINGS_PER_DAY = 288

# Every join is by a key, of few ranges with a large table: hashing that table would read all of it. Late data may fall into
# compressed chunks.
SESSION = (
    "SET LOCAL enable_hashjoin = off",
    "SET LOCAL enable_mergejoin = off",
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL timescaledb.max_tuples_decompressed_per_dml_transaction = 0",
)
ENSURE_PARTITIONS = "INSERT INTO tds_new_consumo_particao (id) SELECT generate_series(0, %s - 1) ON CONFLICT DO NOTHING"
# The one that waited longest first.
CLAIM = """
SELECT id FROM tds_new_consumo_particao p
WHERE EXISTS (SELECT FROM tds_new_consumo_pendente q WHERE q.particao = p.id) AND NOT id = ANY(%s)
ORDER BY processado_em NULLS FIRST, id LIMIT 1 FOR UPDATE SKIP LOCKED
"""
# Short ranges are what people wait for; what is computed anew comes after them.
PEEK = """
SELECT id, CASE WHEN isfinite(inicio) THEN (extract(epoch FROM inicio) * 1000000)::bigint END,
    CASE WHEN isfinite(fim) THEN (extract(epoch FROM fim) * 1000000)::bigint END, dispositivos
FROM tds_new_consumo_pendente WHERE particao = %s
ORDER BY fim > inicio + INTERVAL '1 day', id LIMIT %s
"""
TAKE = "DELETE FROM tds_new_consumo_pendente WHERE id = ANY(%s)"
PUT_BACK = "INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos) VALUES (%s, %s, %s, ARRAY[%s]::bigint[])"
DONE = "UPDATE tds_new_consumo_particao SET processado_em = clock_timestamp() WHERE id = %s"
QUEUE_ALL = """
INSERT INTO tds_new_consumo_pendente (particao, inicio, fim, dispositivos)
SELECT id %% %(partitions)s, coalesce(%(since)s::timestamptz, '-infinity'), 'infinity', ARRAY[id]
FROM unnest(%(devices)s::bigint[]) AS d (id)
"""
LAG = "SELECT extract(epoch FROM clock_timestamp() - min(criado_em))::float8 FROM tds_new_consumo_pendente"


def process_partition(connection: Connection[Any], but: Iterable[int] = ()) -> tuple[int, Written] | None:
    """Compute a share of one partition's queue in a transaction; None where nobody else's partition (``but``) has anything queued.

    Return the partition's number and what was written. Raises psycopg.Error where the database fails; then nothing has changed.
    """
    # Not connection.cursor(): Django's binds parameters on the client, and cannot receive binary rows.
    with connection.transaction(), Cursor(connection) as cursor:
        for statement in SESSION:
            cursor.execute(statement)
        row = cursor.execute(CLAIM, [list(but)]).fetchone()
        if row is None:
            return None
        partition = row[0]
        written = Written()
        ledger.prepare_session(connection)
        rounds, written.queue_full = _take(cursor, partition)
        for stale in rounds:
            for rest in ledger.compute(cursor, stale, written):
                bounds = [ledger.text(rest.first), ledger.text(rest.last)]
                cursor.execute(PUT_BACK, [partition, *bounds, rest.device_id])
        ledger.count_changed(cursor, written.contas)
        cursor.execute(DONE, [partition])
    return partition, written


def _take(cursor: Cursor[Any], partition: int) -> tuple[list[list[Stale]], bool]:
    """Take ranges off the queue; return them in rounds in which no device comes twice, and whether more are left."""
    taken: list[int] = []
    ranges: dict[int, list[tuple[int, int]]] = defaultdict(list)
    readings = 0
    queued = cursor.execute(PEEK, [partition, MAX_QUEUED]).fetchall()
    for number, first, last, devices in queued:
        first, last = BEGINNING if first is None else first, END if last is None else last
        readings += len(devices) * (8 + min(last - first, LONGEST_STEP_US) * READINGS_PER_DAY // DAY_US)
        if taken and readings > MAX_READINGS:
            break
        taken.append(number)
        for device in devices:
            ranges[device].append((first, last))
    cursor.execute(TAKE, [taken])
    rounds: list[list[Stale]] = []
    for device, found in ranges.items():
        for number, (first, last) in enumerate(_merged(found)):
            if number == len(rounds):
                rounds.append([])
            rounds[number].append(Stale(device, first, last))
    return rounds, len(taken) < len(queued) or len(queued) == MAX_QUEUED


def _merged(ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Ranges less than a day apart as one, in order."""
    merged: list[tuple[int, int]] = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + DAY_US:
            merged[-1] = merged[-1][0], max(last, merged[-1][1])
        else:
            merged.append((first, last))
    return merged


def enqueue(connection: BaseDatabaseWrapper, devices: list[int], since: datetime | None = None) -> None:
    """Queue these devices' readings from ``since`` on, all of them without."""
    with connection.cursor() as cursor:
        cursor.execute(ENSURE_PARTITIONS, [ConsumoParticao.PARTICOES])
        cursor.execute(QUEUE_ALL, {"devices": devices, "since": since, "partitions": ConsumoParticao.PARTICOES})


def queued(connection: BaseDatabaseWrapper) -> int:
    """How many ranges wait."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM tds_new_consumo_pendente")
        row = cursor.fetchone()
    return int(row[0]) if row else 0


def drain(connection: Connection[Any] | None = None) -> Written:
    """Compute everything that is queued (on Django's connection unless another is given) and say what was written."""
    if connection is None:
        connections["default"].ensure_connection()
        connection = connections["default"].connection
    assert connection is not None
    connection.execute(ENSURE_PARTITIONS, [ConsumoParticao.PARTICOES])
    total = Written()
    while (done := process_partition(connection)) is not None:
        _, written = done
        total.merge(written)
    return total


class Worker:
    """Computes what is queued, until it is told to stop. A database that is away is waited for."""

    def __init__(self) -> None:
        self._stop = threading.Event()
        self._connection: Connection[Any] | None = None
        self._since = time.monotonic()
        self._rows = self._transactions = 0

    def stop(self) -> None:
        """End :meth:`run` after the transaction in hand."""
        self._stop.set()

    def run(self) -> None:
        """Follow the queue: a pass over all partitions at most every second."""
        attempt = 0
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                more = self._pass()
                attempt = 0
            except (psycopg.Error, UnicodeError) as error:
                attempt += 1
                self._disconnect()
                wait = min(LONGEST_RETRY_S, FIRST_RETRY_S * 2.0 ** min(attempt - 1, 10)) * (0.5 + random.random() / 2)
                logger.warning("consumption: the database failed (%s); trying again in %.1f s", printable(str(error)), wait)
                self._stop.wait(wait)
                continue
            self._report()
            if not more:
                self._stop.wait(max(0.0, PASS_S - (time.monotonic() - started)))
        self._disconnect()

    def _pass(self) -> bool:
        """Compute a share of each partition once; say whether any was so full that the next pass should begin at once."""
        if self._connection is None:
            self._connection = database.connect("tds_new_consumption")
            self._connection.execute(ENSURE_PARTITIONS, [ConsumoParticao.PARTICOES])
        done: set[int] = set()
        full = False
        while not self._stop.is_set() and (found := process_partition(self._connection, done)) is not None:
            partition, written = found
            done.add(partition)
            full = full or written.queue_full
            self._rows += written.rows
            self._transactions += 1
        return full

    def _report(self) -> None:
        elapsed = time.monotonic() - self._since
        if elapsed < REPORT_S:
            return
        if self._transactions and self._connection is not None:
            row = self._connection.execute(LAG).fetchone()
            lag = f"the oldest stale range waits {row[0]:.1f} s" if row and row[0] is not None else "nothing waits"
            logger.info("consumption: %d block rows written in %d transactions in %.0f s; %s", self._rows, self._transactions, elapsed, lag)
        self._since, self._rows, self._transactions = time.monotonic(), 0, 0

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
