"""The ledger against the model: random histories, shuffled, in random batches, with the worker run in between."""

import os
from random import Random
from typing import Any

import pytest
from django.db import connection

from tds_new.consumption import worker
from tds_new.models import Dispositivo, RevisaoLeitura, TrocaMedidor, VigenciaParametros
from tests import fabrica
from tests.metering.histories import Step, apply, history
from tests.metering.model import Block, Meter, Occurrence, Parameters, Reading, compute

SEED = int(os.environ.get("METERING_SEED", "1"))
CASES = int(os.environ.get("METERING_CASES", "40"))

INSERT = """
INSERT INTO tds_new_leitura_dispositivo (dispositivo_id, "time", conta_id, gateway_id, valor, unidade, tipo_leitura)
SELECT * FROM unnest(%s::bigint[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::numeric[], %s::text[], %s::text[])
ON CONFLICT DO NOTHING
"""


def fields(p: Parameters) -> dict[str, Any]:
    return {
        "valor_maximo_registro": p.modulus,
        "consumo_maximo_hora": p.pmax,
        "tolerancia_queda": p.eps,
        "fator_conversao": p.factor,
    }


ENTRIES: dict[str, Any] = {
    "changes": (TrocaMedidor, "ocorrida_em", lambda c: {"leitura_final": c.final, "leitura_inicial": c.initial}),
    "decisions": (RevisaoLeitura, "leitura_em", lambda d: {"decisao": d}),
    "dated": (VigenciaParametros, "desde", fields),
}


def enter(device: Dispositivo, step: Step) -> None:
    """What a person enters, changes or takes away."""
    if step.table == "own":
        Dispositivo.objects.filter(pk=device.pk).update(**fields(step.value))  # type: ignore[arg-type]
    elif step.table == "interval":
        type(device.gateway).objects.filter(pk=device.gateway_id).update(intervalo_esperado_s=step.value)
    else:
        model, column, defaults = ENTRIES[step.table]
        key = {"dispositivo": device, column: step.at}
        if step.value is None:
            model.objects.filter(**key).delete()
        else:
            model.objects.update_or_create(**key, defaults=defaults(step.value))


def store(readings: list[tuple[int, Reading]]) -> None:
    """One batch of readings, as the consumer stores it."""
    rows = [(device, r.time, r.conta, r.gateway, r.valor, r.unidade, r.tipo) for device, r in readings]
    if rows:
        with connection.cursor() as cursor:
            cursor.execute(INSERT, [list(column) for column in zip(*rows, strict=True)])


def stored(row: type[Any], table: str, device: int) -> set[Any]:
    """All rows of a device in a table of the ledger."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {', '.join(row._fields)} FROM {table} WHERE dispositivo_id = %s", [device])
        return {row(*values) for values in cursor.fetchall()}


@pytest.mark.django_db(transaction=True)
def test_the_ledger_is_what_the_model_says() -> None:
    print(f"METERING_SEED={SEED} METERING_CASES={CASES}")
    random, conta = Random(SEED), fabrica.conta()
    devices = [fabrica.dispositivo(fabrica.gateway(conta, f"GW-{number}")) for number in range(CASES)]
    meters, waiting = [Meter() for _ in devices], []
    for number in range(CASES):
        steps = history(Random(SEED + number))
        random.choice([random.shuffle, lambda _: None])(steps)
        waiting.append(steps)
    while any(waiting):
        readings: list[tuple[int, Reading]] = []
        for device, meter, steps in zip(devices, meters, waiting, strict=True):
            size = random.choice([0, 1, 3, 10, 100])
            for step in steps[:size]:
                if step.table == "readings":
                    readings.append((device.pk, step.value))  # type: ignore[arg-type]
                else:
                    enter(device, step)
            apply(meter, steps[:size])
            del steps[:size]
        store(readings)
        if random.random() < 0.5:
            worker.drain()
    worker.drain()
    for number, (device, meter) in enumerate(zip(devices, meters, strict=True)):
        blocks, occurrences = compute(meter)
        assert stored(Block, "tds_new_consumo_15min", device.pk) == set(blocks.values()), f"seed {SEED + number}"
        assert stored(Occurrence, "tds_new_ocorrencia_medicao", device.pk) == set(occurrences.values()), f"seed {SEED + number}"
