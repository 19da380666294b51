"""What would change by month is what the rules give, however a device's readings are cut into portions."""

import os
from collections import Counter
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from psycopg import Cursor

from tds_new.metering import dry_run, ledger
from tds_new.metering.dry_run import Figures, Month
from tds_new.metering.inputs import load_meters
from tds_new.metering.rules.blocks import Chain, Computation, compute_chains, consumption_of
from tds_new.metering.rules.meter import Meter
from tds_new.metering.rules.unusual import unusual
from tds_new.metering.times import BLOCK_US, from_datetime, to_datetime
from tds_new.models import Dispositivo, LeituraDispositivo, VigenciaParametros
from tests.metering import delivery
from tests.metering.histories import NOW
from tests.metering.model import EPOCH
from tests.support import factories

SEED = int(os.environ.get("METERING_SEED", "1"))
CASES = int(os.environ.get("METERING_CASES", "40"))
START = datetime(2026, 1, 30, 20, tzinfo=UTC)
pytestmark = pytest.mark.django_db(transaction=True)


def history(random: Random, count: int) -> list[tuple[datetime, Decimal]]:
    """Return a register that is read every 15 minutes or so, and is often wrong."""
    time, value, points = START, Decimal(random.randrange(1000)), list[tuple[datetime, Decimal]]()
    low = 0
    for _ in range(count):
        time += timedelta(minutes=random.choice((15, 15, 15, 15, 15, 14, 16, 60, 600)))
        value += Decimal(random.randrange(40_000)) / 10_000
        shown = value
        fate = random.random()
        if fate < 0.02:
            shown = Decimal(0)
        elif fate < 0.03:
            shown = value + random.choice((3000, 100_000_000))
        elif fate < 0.04:
            value = Decimal(random.randrange(3))
        elif fate < 0.045:
            value += 50_000
        elif fate < 0.05:
            low = random.randrange(2, 8)
        if low:
            low -= 1
            shown = Decimal(7)
        if fate > 0.999:
            time += timedelta(days=40)
        points.append((time, shown))
    return points


def store(device: Dispositivo, points: list[tuple[datetime, Any]]) -> None:
    LeituraDispositivo.objects.bulk_create(
        LeituraDispositivo(
            time=when,
            valor=value,
            dispositivo=device,
            gateway_id=device.gateway_id,
            conta_id=device.conta_id,
            unidade=device.unidade,
            tipo_leitura=device.tipo_leitura,
        )
        for when, value in points
    )


def at_once(meter: Meter, chains: list[Chain], zone: ZoneInfo) -> Figures:
    """Return the figures of all readings in one computation."""
    figures, computation = Figures(), compute_chains(chains, meter)
    contas = {time: chain.conta_id for chain in chains for time in chain.times}

    def month(conta_id: int, time: int) -> Month:
        local = to_datetime(time - time % BLOCK_US).astimezone(zone)
        return Month(conta_id, f"{local:%Y-%m}")

    for (conta_id, start), block in computation.blocks.items():
        if block.consumption is not None:
            key = month(conta_id, start)
            figures.consumption[key] = figures.consumption.get(key, 0) + block.consumption
    for occurrence in computation.occurrences:
        if occurrence.waits:
            figures.wait(month(contas[occurrence.time], occurrence.time), occurrence.kind.value)
    for account in computation.accounts:
        if account.kind == "ACUMULADA":
            hours = consumption_of(account.segments, meter)
            for found in unusual(account.segments, hours, zero_start=account.zero_start):
                kind = "VIRADA" if found.segment.kind == "VIRADA" else "INCOMUM"
                figures.wait(month(account.conta_id, found.segment.end), kind)
    return figures


@pytest.mark.parametrize("kind", ["ACUMULADA", "SALDO", "INCREMENTAL"])
@pytest.mark.parametrize("seed", range(6))
def test_portions_of_readings_give_what_all_of_them_give(
    monkeypatch: pytest.MonkeyPatch, seed: int, kind: str
) -> None:
    random = Random(f"{seed}{kind}")
    monkeypatch.setattr(dry_run, "PORTION", random.choice((20, 60, 150)))
    monkeypatch.setattr(dry_run, "FETCHED", random.choice((7, 50)))
    gateway = factories.gateway(factories.conta(timezone="America/Manaus"), intervalo_esperado_s=900)
    device = factories.device(gateway, tipo_leitura=kind)
    Dispositivo.objects.filter(pk=device.pk).update(
        consumo_maximo_hora=100,
        valor_maximo_registro=random.choice((None, 100_000)),
        carimbo=random.choice(("FIM", "INICIO")),
    )
    points = history(random, 1200)
    if seed % 2:
        VigenciaParametros.objects.create(
            dispositivo=device, desde=points[600][0], fator_conversao=Decimal("1.3"), consumo_maximo_hora=200
        )
    store(device, points)
    with dry_run.connect() as connection, dry_run.snapshot(connection) as cursor:
        found = dry_run.changes(cursor, device.pk, rebuilt=True)
        meter = load_meters(cursor, [device.pk])[device.pk]
    chain = Chain(
        device.conta_id,
        kind,
        "kWh",
        [from_datetime(when) for when, _ in points],
        [int(value * 10_000) for _, value in points],
        [gateway.pk] * len(points),
    )
    right = at_once(meter, [chain], device.conta.zone)
    assert {c.month: c.after for c in found if c.after} == {m: n for m, n in right.consumption.items() if n}
    assert {c.month: c.waiting_after for c in found if c.waiting_after} == right.waiting
    assert all((c.before, c.waiting_before) == (0, Counter()) for c in found)


def test_no_more_readings_are_held_than_may_still_change(monkeypatch: pytest.MonkeyPatch) -> None:
    held: list[int] = []

    def watched(chains: list[Chain], *args: Any, **options: Any) -> Computation:
        held.append(sum(len(chain.times) for chain in chains))
        return compute_chains(chains, *args, **options)

    monkeypatch.setattr(dry_run, "compute_chains", watched)
    monkeypatch.setattr(dry_run, "PORTION", 400)
    monkeypatch.setattr(dry_run, "FETCHED", 100)
    device = factories.device(factories.gateway(factories.conta()))
    store(device, factories.points(START, timedelta(minutes=15), range(20_000)))
    with dry_run.connect() as connection, dry_run.snapshot(connection) as cursor:
        found = dry_run.changes(cursor, device.pk, rebuilt=True)
    assert sum(c.after for c in found) == 19_999_000_000
    assert len(held) > 20
    assert max(held) < 600


def test_a_dry_run_cannot_write() -> None:
    device = factories.device(factories.gateway(factories.conta()))
    with dry_run.connect() as connection, dry_run.snapshot(connection) as cursor:
        assert cursor.execute("SHOW transaction_read_only").fetchone() == ("on",)
        assert dry_run.changes(cursor, device.pk, rebuilt=True) == []
        assert isinstance(cursor, Cursor)


def test_a_rebuild_would_change_nothing_that_the_ledger_has_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "now_us", lambda: (NOW - EPOCH) // timedelta(microseconds=1))
    cases = [delivery.case(seed) for seed in range(SEED, SEED + CASES)]
    delivery.install(cases)
    delivery.deliver(cases)
    for portion in (5, 17, 40):
        monkeypatch.setattr(dry_run, "PORTION", portion)
        assert delivery.would_change(cases) == {}
    delivery.clear()
