"""What an entry would change is said before it is made, and the ledger does just that."""

import os
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import Sum

from tds_new.metering import ledger
from tds_new.metering.preview import Effect, Entry, Judged, MeterChanged, what_if
from tds_new.metering.worker import drain
from tds_new.models import (
    ConsumoBloco,
    ConsumoEstado,
    Dispositivo,
    OcorrenciaMedicao,
    RevisaoLeitura,
    TrocaMedidor,
    VigenciaParametros,
)
from tests.metering import delivery
from tests.metering.histories import NOW
from tests.metering.model import EPOCH
from tests.support import factories
from tests.support.meters import EXCESS, JUMP, RESTART, ROLLOVER, SPIKE, START, STEP, meter

pytestmark = pytest.mark.django_db
ZONE = ZoneInfo("America/Sao_Paulo")
LINE = tuple(round(12_345 + 0.2 * n, 1) for n in range(8))
NEAR_MIDNIGHT = datetime(2026, 4, 1, 2, 30, tzinfo=UTC)  # 23:30 of March 31 in Sao Paulo
SEED, CASES = int(os.environ.get("METERING_SEED", "1")), 30  # of random histories
DECISIONS = ("APROVADA", "DESCARTADA", "VISTA", "REINICIO", "RETORNO")


def on(value: float, count: int = 4) -> tuple[float, ...]:
    """A register that goes on from ``value``, 0.2 a reading."""
    return tuple(round(value + 0.2 * n, 1) for n in range(count))


HISTORIES: dict[str, tuple[tuple[float, ...], int]] = {
    "one zero": ((*LINE, 0, *on(12_346.8)), 8),
    "spike": (SPIKE, 3),
    "came back later": ((*LINE, *on(90_000, 6), *on(12_347.8, 8)), 8),
    "came back later, in doubt": ((*LINE, *on(0, 5), *on(12_347.8, 8)), 8),
    "outliers before": ((100, 100.2, 100.4, 170, 170.1, *on(100.8, 6)), 5),
    "rollover": (ROLLOVER, 2),
    "restart": (RESTART, 2),
    "restart in doubt": ((*LINE, *on(90)), 8),
    "excess": (EXCESS, 3),
    "jump": (JUMP, 3),
    "fall": ((*LINE, *on(5000)), 8),
    "undecided": ((*LINE, 77_000, 77_000.2), 8),
    "ordinary": (LINE, 4),
}


def state(device: Dispositivo) -> tuple[dict[tuple[int, date], Decimal], dict[datetime, Judged]]:
    """Return the device's consumption by Conta and local month, and its occurrences."""
    months: dict[tuple[int, date], Decimal] = {}
    for block in ConsumoBloco.objects.filter(dispositivo=device, consumo__isnull=False):
        key = block.conta_id, block.bloco.astimezone(ZONE).date().replace(day=1)
        months[key] = months.get(key, Decimal(0)) + (block.consumo or 0)
    found = OcorrenciaMedicao.objects.filter(dispositivo=device)
    return months, {one.leitura_em: Judged(one.classe, one.espera) for one in found}


def check(device: Dispositivo, time: datetime, entry: Entry, make: Any) -> Effect:
    """Check what is said of an entry against what the ledger does once it is made; return it."""
    months, judged = state(device)
    (said,) = what_if(device.pk, time, [entry], ZONE)
    assert state(device) == (months, judged), "a question changes nothing"
    make()
    drain()
    months_after, judged_after = state(device)
    keys = months.keys() | months_after.keys()
    expected = {
        key: (months.get(key, Decimal(0)), months_after.get(key, Decimal(0)))
        for key in keys
        if months.get(key, Decimal(0)) != months_after.get(key, Decimal(0))
    }
    changed = {(m.conta_id, m.month): (m.before, m.after) for m in said.months if m.before != m.after}
    assert changed == expected
    ordinary = Judged("", waits=False)
    times = judged.keys() | judged_after.keys()
    assert {r.time: (r.before, r.after) for r in said.readings} == {
        t: (judged.get(t, ordinary), judged_after.get(t, ordinary))
        for t in times
        if judged.get(t, ordinary) != judged_after.get(t, ordinary)
    }
    return said


def decide(device: Dispositivo, time: datetime, **fields: Any) -> None:
    """Make a decision as people do by the ORM."""
    revisao = RevisaoLeitura(dispositivo=device, leitura_em=time, motivo="visto no local", **fields)
    revisao.full_clean()
    revisao.save()


@pytest.mark.parametrize("decision", DECISIONS)
@pytest.mark.parametrize("history", HISTORIES)
def test_a_decision_does_what_was_said_of_it_and_so_does_undoing_it(history: str, decision: str) -> None:
    values, number = HISTORIES[history]
    device, time = meter(values, tolerancia_queda=Decimal("0.1")), START + number * STEP
    before = state(device)
    check(device, time, Entry(decision), lambda: decide(device, time, decisao=decision))
    check(device, time, Entry(), lambda: RevisaoLeitura.objects.all().delete())
    assert state(device) == before


@pytest.mark.parametrize("decision", ["", "APROVADA", "RETORNO"])
@pytest.mark.parametrize("history", HISTORIES)
def test_a_corrected_value_does_what_was_said_of_it(history: str, decision: str) -> None:
    values, number = HISTORIES[history]
    device, time = meter(values, tolerancia_queda=Decimal("0.1")), START + number * STEP
    value = Decimal(str(values[number - 1])) + Decimal("0.05")
    fields = {"valor_corrigido": value, "decisao": decision}
    check(device, time, Entry(decision, corrected=value), lambda: decide(device, time, **fields))


@pytest.mark.parametrize("history", HISTORIES)
def test_a_meter_change_does_what_was_said_of_it(history: str) -> None:
    values, number = HISTORIES[history]
    device, time = meter(values, tolerancia_queda=Decimal("0.1")), START + number * STEP
    final, initial = Decimal(str(values[number - 1])) + Decimal("0.1"), Decimal(str(values[number]))
    entry = Entry(change=MeterChanged(time, final, initial))
    check(device, time, entry, lambda: TrocaMedidor.objects.create(
        dispositivo=device, ocorrida_em=time, leitura_final=final, leitura_inicial=initial, motivo="trocado"
    ))  # fmt: skip


@pytest.mark.parametrize("history", ["excess", "jump", "undecided"])
def test_a_raised_maximum_does_what_was_said_of_it(history: str) -> None:
    values, number = HISTORIES[history]
    device, time = meter(values, tolerancia_queda=Decimal("0.1")), START + number * STEP
    device.refresh_from_db()
    said = check(device, time, Entry(hourly_maximum=(time, Decimal(1000))), lambda: (
        VigenciaParametros.objects.create(
            dispositivo=device, desde=time, consumo_maximo_hora=1000, motivo="é assim",
            tolerancia_queda=device.tolerancia_queda, valor_maximo_registro=device.valor_maximo_registro,
        )
    ))  # fmt: skip
    assert said.changes_figures == (history == "excess")


@pytest.mark.parametrize("decision", ["APROVADA", "DESCARTADA", "VISTA"])
@pytest.mark.parametrize("stamp", ["FIM", "INICIO"])
def test_decisions_on_increments_do_what_was_said_of_them(decision: str, stamp: str) -> None:
    device = meter(())
    Dispositivo.objects.filter(pk=device.pk).update(tipo_leitura="INCREMENTAL", carimbo=stamp)
    device.refresh_from_db()
    factories.readings(device, factories.points(START, STEP, (1, 2, 5000, 2, 1)))
    time = START + 2 * STEP
    check(device, time, Entry(decision), lambda: decide(device, time, decisao=decision))


def test_each_of_two_contas_gets_what_was_said_of_it() -> None:
    for number in range(2):
        device, other = meter(LINE, f"D{number}"), factories.conta(f"Outra {number}")
        first, time = device.conta, START + 8 * STEP
        with connection.cursor() as cursor:
            cursor.execute(
                "UPDATE tds_new_dispositivo SET conta_id = %s WHERE id = %s", [other.pk, device.pk]
            )
        device.refresh_from_db()
        factories.readings(device, factories.points(time, STEP, on(12_350)))
        chosen = (first, other)[number]
        entry = Entry("ATRIBUIDA", attributed_to=chosen.pk)
        fields = {"decisao": "ATRIBUIDA", "atribuida_a": chosen}
        said = check(device, time, entry, lambda fields=fields: decide(device, time, **fields))  # type: ignore[misc]  # noqa: B023
        assert [month.conta_id for month in said.months] == [chosen.pk]


def test_months_are_those_of_the_zone() -> None:
    device = meter(())
    values = (1000, 1010, 1020, 1030, 50_000, 50_010, 50_020, 50_030)
    factories.readings(device, factories.points(NEAR_MIDNIGHT - STEP, STEP, values))
    time = NEAR_MIDNIGHT + 3 * STEP
    said = check(device, time, Entry("APROVADA"), lambda: decide(device, time, decisao="APROVADA"))
    assert [(m.month, m.after - m.before) for m in said.months] == [(date(2026, 4, 1), 48_970)]


def test_a_decision_before_the_present_rules_waits_for_the_rebuild() -> None:
    device = meter(JUMP)
    ConsumoEstado.objects.update_or_create(
        dispositivo=device, defaults={"segunda_edicao_desde": START + timedelta(days=1)}
    )
    (said,) = what_if(device.pk, START + 3 * STEP, [Entry("APROVADA")], ZONE)
    assert said == Effect(waits_for_rebuild=True)


def test_many_questions_read_the_months_once(django_assert_max_num_queries: Any) -> None:
    device = meter(JUMP)
    entries = [Entry(decision) for decision in DECISIONS]
    said = what_if(device.pk, START + 3 * STEP, entries, ZONE)
    total = ConsumoBloco.objects.aggregate(n=Sum("consumo"))["n"]
    assert {month.before for effect in said for month in effect.months} == {total}


def figures(effects: Iterable[Effect]) -> list[Decimal]:
    return [month.after for effect in effects for month in effect.months]


def test_each_entry_is_looked_up_alone() -> None:
    device = meter(JUMP)
    entries = [Entry("APROVADA"), Entry("RETORNO"), Entry("DESCARTADA")]
    assert figures(what_if(device.pk, START + 3 * STEP, entries, ZONE)) == [49_030, 50, 20]


@pytest.mark.django_db(transaction=True)
def test_what_is_said_holds_in_histories_with_everything_in_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Some readings of random histories, each with some decision: the ledger does what was said of it."""
    monkeypatch.setattr(ledger, "now_us", lambda: (NOW - EPOCH) // timedelta(microseconds=1))
    cases = [delivery.case(seed) for seed in range(SEED, SEED + CASES)]
    delivery.install(cases)
    delivery.deliver(cases)
    random, tried = Random(SEED), 0
    for device in Dispositivo.objects.filter(pk__in=[case.device for case in cases]):
        decided = RevisaoLeitura.objects.filter(dispositivo=device).values("leitura_em")
        found = OcorrenciaMedicao.objects.filter(dispositivo=device).exclude(leitura_em__in=decided)
        times = list(found.order_by("leitura_em").values_list("leitura_em", flat=True))
        for time in random.sample(times, min(2, len(times))):
            decision = random.choice(DECISIONS)
            check(device, time, Entry(decision), lambda: RevisaoLeitura.objects.create(
                dispositivo=device, leitura_em=time, decisao=decision, motivo="visto no local"  # noqa: B023
            ))  # fmt: skip
            tried += 1
    assert tried > CASES // 2
    delivery.clear()
