"""Stores histories in the database and compares the ledger's results with the model.

Each history becomes a device of its own; many are delivered at a time.

Steps are stored as they come: readings as the consumer stores them, the rest as people enter it. A case
depends on its seed alone, however many others are delivered with it, unless workers run concurrently.
"""

import threading
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import zip_longest
from random import Random
from typing import Any

from django.db import connection

from tds_new.metering import dry_run, worker
from tds_new.metering.dry_run import Change
from tds_new.models import Conta
from tds_new.storage.session import connect
from tests.metering.histories import Step, apply, history
from tests.metering.model import Block, Decision, Meter, Occurrence, Parameters, Reading, State, compute
from tests.support import factories

TABLES: dict[type[Any], str] = {
    Block: "tds_new_consumo_15min",
    Occurrence: "tds_new_ocorrencia_medicao",
    State: "tds_new_consumo_estado",
}
NO_STATE = State(None, None)
CONTAS = (1, 2)  # the histories' numbers

NEXT_CONTA = """
SELECT setval(pg_get_serial_sequence('tds_new_conta', 'id'), greatest(max(id), nextval(
    pg_get_serial_sequence('tds_new_conta', 'id')))) FROM tds_new_conta
"""
NEW_GATEWAYS = """
INSERT INTO tds_new_gateway (conta_id, codigo, mac, qte_max_dispositivos)
SELECT %(conta)s, 'C' || m, '0a:00:' || substr(h, 1, 2) || ':' || substr(h, 3, 2) || ':' ||
    substr(h, 5, 2) || ':' || substr(h, 7, 2), 1
FROM (SELECT m + n AS m, lpad(to_hex(m + n), 8, '0') AS h
      FROM generate_series(1, %(number)s) n, (SELECT coalesce(max(id), 0) AS m FROM tds_new_gateway) m) a
RETURNING id
"""
NEW_DEVICES = """
INSERT INTO tds_new_dispositivo (conta_id, gateway_id, codigo, consumo_maximo_hora, tolerancia_queda)
SELECT %s, id, 'D01', NULL, 0
FROM unnest(%s::bigint[]) id RETURNING id
"""
READINGS = """
INSERT INTO tds_new_leitura_dispositivo (dispositivo_id, "time", conta_id, gateway_id, valor, unidade,
    tipo_leitura)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::numeric[], %s::text[],
    %s::text[])
ON CONFLICT DO NOTHING
"""
OWN = """
UPDATE tds_new_dispositivo d
SET valor_maximo_registro = n.m, consumo_maximo_hora = n.p, tolerancia_queda = n.e, fator_conversao = n.f
FROM unnest(%s::bigint[], %s::numeric[], %s::numeric[], %s::numeric[], %s::numeric[]) AS n (id, m, p, e, f)
WHERE d.id = n.id
"""
MOVE = """
UPDATE tds_new_dispositivo d SET gateway_id = n.g
FROM unnest(%s::bigint[], %s::bigint[]) AS n (id, g) WHERE d.id = n.id
"""
STAMPS = """
UPDATE tds_new_dispositivo d SET carimbo = n.c
FROM unnest(%s::bigint[], %s::text[]) AS n (id, c) WHERE d.id = n.id
"""
INTERVALS = """
UPDATE tds_new_gateway g SET intervalo_esperado_s = n.s
FROM unnest(%s::bigint[], %s::integer[]) AS n (id, s) WHERE g.id = n.id
"""
DATED = """
INSERT INTO tds_new_vigencia_parametros
    (dispositivo_id, desde, valor_maximo_registro, consumo_maximo_hora, tolerancia_queda, fator_conversao)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::numeric[], %s::numeric[], %s::numeric[],
    %s::numeric[])
ON CONFLICT (dispositivo_id, desde) DO UPDATE SET valor_maximo_registro = excluded.valor_maximo_registro,
    consumo_maximo_hora = excluded.consumo_maximo_hora, tolerancia_queda = excluded.tolerancia_queda,
    fator_conversao = excluded.fator_conversao
"""
CHANGES = """
INSERT INTO tds_new_troca_medidor (dispositivo_id, ocorrida_em, leitura_final, leitura_inicial)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::numeric[], %s::numeric[])
ON CONFLICT (dispositivo_id, ocorrida_em) DO UPDATE SET leitura_final = excluded.leitura_final,
    leitura_inicial = excluded.leitura_inicial
"""
DECISIONS = """
INSERT INTO tds_new_revisao_leitura (dispositivo_id, leitura_em, decisao, valor_corrigido, atribuida_a_id)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::text[], %s::numeric[], %s::bigint[])
ON CONFLICT (dispositivo_id, leitura_em) DO UPDATE SET decisao = excluded.decisao,
    valor_corrigido = excluded.valor_corrigido, atribuida_a_id = excluded.atribuida_a_id
"""
TAKE_AWAY = """
DELETE FROM {table} t USING unnest(%s::bigint[], %s::timestamptz[]) AS n (id, at)
WHERE t.dispositivo_id = n.id AND t.{column} = n.at
"""


def columns(p: Parameters) -> tuple[Any, ...]:
    return p.capacity, p.pmax, p.eps, p.factor


def _decision(decision: Decision) -> tuple[Any, ...]:
    return decision.decisao, decision.valor_corrigido, decision.atribuida_a


# By table: the statement that enters rows, the values of one, and table and column for taking away.
ENTRIES: dict[str, tuple[str, Callable[[Any], tuple[Any, ...]], str, str]] = {
    "changes": (
        CHANGES,
        lambda change: (change.final, change.initial),
        "tds_new_troca_medidor",
        "ocorrida_em",
    ),
    "decisions": (DECISIONS, _decision, "tds_new_revisao_leitura", "leitura_em"),
    "dated": (DATED, columns, "tds_new_vigencia_parametros", "desde"),
}


@dataclass
class Case:
    """A history in the batches in which it comes, and the device that it becomes.

    The worker runs after each batch.
    """

    name: str
    batches: list[list[Step]]
    meter: Meter = field(default_factory=Meter)
    device: int = 0
    gateways: dict[int, int] = field(default_factory=dict)  # the history's numbers to the database's


def case(seed: int) -> Case:
    """The history of this seed: in order, mostly in order, or in any.

    It comes in batches, or nearly all at once and the rest one by one.
    """
    random = Random(seed)
    steps = history(random)
    order = random.choice(["in order", "some late", "any", "any"])
    if order == "any":
        random.shuffle(steps)
    elif order == "some late":
        steps = [
            step
            for _, step in sorted(
                enumerate(steps), key=lambda item: item[0] + random.choice([0, 0, 0, 0, 0, 3, 30])
            )
        ]
    return Case(f"seed {seed}", batches(steps, random))


def batches(steps: list[Step], random: Random) -> list[list[Step]]:
    """``steps`` in random batches.

    Or return all steps but a few in one batch, and these one by one: people's entries, and readings near
    unusual ones.
    """
    if random.random() < 0.6:
        unusual = compute(apply(Meter(), steps)).occurrences
        times = sorted({step.at for step in steps if step.table == "readings"})
        about = {
            time for n, time in enumerate(times) if any(t in unusual for t in times[max(0, n - 2) : n + 3])
        }
        near = [n for n, step in enumerate(steps) if step.table == "readings" and step.at in about]
        entered = [n for n, step in enumerate(steps) if step.table != "readings"]
        last = [
            n
            for some in (near, entered, range(len(steps)))
            for n in random.sample(some, min(len(some), random.randint(0, 3)))
        ]
        last = list(dict.fromkeys(last))
        random.shuffle(last)
        return [[step for n, step in enumerate(steps) if n not in last], *([steps[n]] for n in last)]
    found, at = [], 0
    while at < len(steps):
        size = random.choice([1, 3, 10, 100])
        found.append(steps[at : at + size])
        at += size
    return found


def install(cases: Sequence[Case], conta: Conta | None = None) -> None:
    """A device with two gateways for each case, and the Contas that people attribute consumption to."""
    for pk in CONTAS:
        if not Conta.objects.filter(pk=pk).exists():
            factories.conta(f"Conta {pk}", pk=pk)
    conta = conta or Conta.objects.get(pk=CONTAS[0])
    with connection.cursor() as cursor:
        cursor.execute(NEXT_CONTA)
        cursor.execute(NEW_GATEWAYS, {"conta": conta.pk, "number": 2 * len(cases)})
        gateways = [pk for (pk,) in cursor.fetchall()]
        cursor.execute(NEW_DEVICES, [conta.pk, gateways[::2]])
        for (pk,), one, first, second in zip(
            cursor.fetchall(), cases, gateways[::2], gateways[1::2], strict=True
        ):
            one.device, one.gateways = pk, {1: first, 2: second}


def store(batch: Sequence[tuple[Case, Sequence[Step]]]) -> None:
    """Store a batch of steps, as the consumer and people do, and note them in the cases' models."""
    tables: dict[str, list[tuple[Case, Step]]] = defaultdict(list)
    for one, steps in batch:
        apply(one.meter, steps)
        for step in steps:
            tables[step.table].append((one, step))
    for table in sorted(tables):
        found = tables[table]
        if table == "readings":  # all of them: the first of two stays
            _execute(READINGS, [_reading(one, step.value) for one, step in found])
        elif table == "interval":
            _execute(INTERVALS, [(one.gateways[step.value[0]], step.value[1]) for one, step in _last(found)])
        elif table == "gateway":
            _execute(MOVE, [(one.device, one.gateways[step.value]) for one, step in _last(found)])
        elif table == "carimbo":
            _execute(STAMPS, [(one.device, step.value) for one, step in _last(found)])
        elif table == "own":
            _execute(OWN, [(one.device, *columns(step.value)) for one, step in _last(found)])
        else:
            enter, values, name, column = ENTRIES[table]
            last = _last(found)
            _execute(
                enter,
                [(one.device, step.at, *values(step.value)) for one, step in last if step.value is not None],
            )
            gone = TAKE_AWAY.format(table=name, column=column)
            _execute(gone, [(one.device, step.at) for one, step in last if step.value is None])


def _reading(one: Case, reading: Reading) -> tuple[Any, ...]:
    gateway = one.gateways[reading.gateway]
    return one.device, reading.time, reading.conta, gateway, reading.valor, reading.unidade, reading.tipo


def _last(found: list[tuple[Case, Step]]) -> list[tuple[Case, Step]]:
    """Return the last step of each place, which is what a batch leaves."""
    places = {(one.device, step.place): (one, step) for one, step in found}
    return list(places.values())


def _execute(statement: str, rows: list[tuple[Any, ...]]) -> None:
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(statement, [list(column) for column in zip(*rows, strict=True)])


def deliver(cases: Sequence[Case], *, drain: Callable[[], object] = worker.drain) -> None:
    """Store one batch of each case at a time, and run the worker after each half of the cases."""
    for round_ in zip_longest(*(one.batches for one in cases), fillvalue=[]):
        halves = [(steps[: len(steps) // 2], steps[len(steps) // 2 :]) for steps in round_]
        for number in (0, 1):
            store([(one, half[number]) for one, half in zip(cases, halves, strict=True) if half[number]])
        drain()
    worker.drain()


@contextmanager
def workers(number: int) -> Iterator[None]:
    """Run ``number`` workers concurrently. Raises the error of one that failed."""
    failures, done = list[BaseException](), threading.Event()

    def work() -> None:
        try:
            with connect("worker") as session:
                while not done.is_set():
                    worker.drain(session)
                    done.wait(0.01)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work) for _ in range(number)]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        done.set()
        for thread in threads:
            thread.join()
    if failures:
        raise failures[0]


def stored(row: type[Any], cases: Sequence[Case]) -> dict[int, set[Any]]:
    """Return the rows of a table of the ledger, by device.

    Gateways have the numbers that they have in the history.
    """
    numbers = {pk: number for one in cases for number, pk in one.gateways.items()}
    found: dict[int, set[Any]] = {one.device: set() for one in cases}
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT dispositivo_id, {', '.join(row._fields)} FROM {TABLES[row]} WHERE dispositivo_id = "
            f"ANY(%s)",
            [list(found)],
        )
        for device, *values in cursor.fetchall():
            new = row(*values)
            found[device].add(new._replace(gateway_id=numbers[new.gateway_id]) if row is Block else new)
    return found


def differences(cases: Sequence[Case], closed: datetime | None = None) -> list[str]:
    """Return the differences between ledger and model: one text a case.

    Whether consumption before ``closed`` is unusual is not compared: hours that came after the closing no
    longer count.
    """
    rows = {row: stored(row, cases) for row in TABLES}
    found = []
    for one in cases:
        figures = compute(one.meter)
        expected: dict[type[Any], set[Any]] = {
            Block: set(figures.blocks.values()),
            Occurrence: set(figures.occurrences.values()),
            State: {figures.state},
        }
        for row, right in expected.items():
            stored_rows = rows[row][one.device] or ({NO_STATE} if row is State else set())
            if row is Occurrence and closed is not None:
                stored_rows, right = _without_unusual(stored_rows, closed), _without_unusual(right, closed)
            if stored_rows != right:
                extra, missing = sorted(stored_rows - right)[:3], sorted(right - stored_rows)[:3]
                found.append(f"{one.name}: stored {extra}, should be {missing}")
    return found


def _without_unusual(occurrences: set[Occurrence], closed: datetime) -> set[Occurrence]:
    """Return the occurrences without the judgement INCOMUM of those before ``closed``."""
    kept = {o for o in occurrences if o.leitura_em >= closed or o.classe != "INCOMUM"}
    rollovers = {o for o in kept if o.leitura_em < closed and o.classe == "VIRADA"}
    return kept - rollovers | {o._replace(espera=False) for o in rollovers}


def would_change(cases: Sequence[Case]) -> dict[str, list[Change]]:
    """Return what a rebuild would change of each case, by its name."""
    found = {}
    with dry_run.connect() as connection:
        for one in cases:
            with dry_run.snapshot(connection) as cursor:
                if changes := dry_run.changes(cursor, one.device, rebuilt=True):
                    found[one.name] = changes
    return found


def clear() -> None:
    """Forget readings and figures, so that the next cases find small tables."""
    with connection.cursor() as cursor:
        cursor.execute(
            "TRUNCATE tds_new_leitura_dispositivo, tds_new_consumo_15min, tds_new_ocorrencia_medicao, "
            "tds_new_consumo_estado, tds_new_consumo_retomada"
        )
