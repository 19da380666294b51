"""Figures after retention equal those of the same readings without it.

That holds for later decisions and readings, and after everything is computed again.
"""

import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from random import Random
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection

from tds_new.maintenance import retention
from tds_new.metering import ledger
from tds_new.metering.worker import drain
from tds_new.models import (
    ConsumoAncora,
    ConsumoBloco,
    ConsumoCongelado,
    Dispositivo,
    OcorrenciaMedicao,
    RevisaoLeitura,
)
from tds_new.storage.session import of_django
from tests.metering import delivery
from tests.metering.delivery import Case
from tests.metering.histories import NOW, STARTS, History, Step
from tests.metering.model import EPOCH
from tests.support import factories

BORDER = datetime(2025, 7, 17, tzinfo=UTC)
EVENING = BORDER - timedelta(hours=2)
SEED = int(os.environ.get("METERING_SEED", "1"))
CASES = os.environ.get("METERING_CASES")

pytestmark = pytest.mark.django_db(transaction=True)


def drop(border: datetime) -> None:
    """Retention with a border of the test's own."""
    session = of_django()
    retention._freeze(session, border)
    retention._delete(session, border)


@pytest.fixture(autouse=True)
def _open_again() -> Iterator[None]:
    yield
    ConsumoAncora.objects.all().delete()
    ConsumoCongelado.objects.all().delete()


@pytest.fixture
def device() -> Dispositivo:
    return factories.device(factories.gateway(factories.conta()))


def read(device: Dispositivo, *readings: tuple[float, float]) -> None:
    """Readings at so many minutes after ``EVENING``, and what follows from them."""
    factories.readings(device, [(EVENING + timedelta(minutes=at), valor) for at, valor in readings])


def decide(device: Dispositivo, minutes: float, decisao: str) -> RevisaoLeitura:
    decided = RevisaoLeitura.objects.create(
        dispositivo=device, leitura_em=EVENING + timedelta(minutes=minutes), decisao=decisao
    )
    drain()
    return decided


def figures() -> tuple[list[Any], list[Any]]:
    """Every row of the ledger."""
    return list(ConsumoBloco.objects.order_by("bloco").values_list()), list(
        OcorrenciaMedicao.objects.order_by("leitura_em").values_list()
    )


def total() -> Decimal:
    return sum((block.consumo or Decimal(0) for block in ConsumoBloco.objects.all()), Decimal(0))


def rebuild() -> str:
    call_command("rebuild_consumption", stdout=(said := StringIO()))
    return said.getvalue()


@pytest.fixture
def discarded(device: Dispositivo) -> RevisaoLeitura:
    """A register that fell to zero for one reading, which was discarded: 11 were consumed."""
    read(device, (0, 9700), (33, 0), (64, 9710), (69, 9711))
    decision = decide(device, 33, "DESCARTADA")
    assert total() == 11
    return decision


def test_what_was_discarded_before_the_border_does_not_come_back(
    device: Dispositivo, discarded: RevisaoLeitura
) -> None:
    drop(BORDER)
    assert [anchor.valor for anchor in ConsumoAncora.objects.order_by("leitura_em")] == [9700, 9710, 9711]
    read(device, (12 * 60, 9712))
    assert total() == 12
    assert "done; 0 block rows differed" in rebuild()


def test_undoing_what_was_discarded_before_the_border_changes_nothing(
    device: Dispositivo, discarded: RevisaoLeitura
) -> None:
    drop(BORDER)
    read(device, (12 * 60, 9712))
    before = figures()
    discarded.delete()
    drain()
    assert "done; 0 block rows differed" in rebuild()
    assert figures() == before


def test_no_decision_on_what_is_closed_changes_a_figure(device: Dispositivo) -> None:
    """An approved jump and a reading after it, in the last block before the border.

    The admin refuses this, the ledger ignores it.
    """
    Dispositivo.objects.filter(pk=device.pk).update(consumo_maximo_hora=10)
    read(device, (0, 100), (110, 900), (112, 900.1))
    approved = decide(device, 110, "APROVADA")
    assert total() == Decimal("800.1")
    drop(BORDER)
    before = figures()
    approved.delete()
    decide(device, 112, "DESCARTADA")
    assert "done; 0 block rows differed" in rebuild()
    assert figures() == before
    read(device, (12 * 60, 902))
    assert total() == 802


def test_the_occurrence_of_a_first_anchor_at_the_beginning_of_its_block_is_kept(device: Dispositivo) -> None:
    read(device, (0, 10), (60, 3))
    decide(device, 60, "REINICIO")
    before = figures()
    assert [o.classe for o in OcorrenciaMedicao.objects.all()] == ["REINICIO"]
    drop(BORDER)
    assert ConsumoAncora.objects.get().leitura_em == ConsumoAncora.objects.get().final_ate
    rebuild()
    assert figures() == before


@pytest.fixture
def size(on_timescale: bool) -> int:
    return int(CASES or (16 if on_timescale else 48))


def parts(steps: list[Step], borders: list[datetime], random: Random) -> list[list[list[Step]]]:
    """Steps before the first border, between it and the second, ...: batches of each, in any order.

    Undated parameters come at once.
    """
    found: list[list[Step]] = [[] for _ in range(len(borders) + 1)]
    for step in steps:
        number = (
            sum(border <= step.at for border in borders)
            if step.table in ("readings", "changes", "decisions", "dated")
            else 0
        )
        found[number].append(step)
    for part in found:
        random.shuffle(part)
    return [delivery.batches(part, random) if part else [] for part in found]


def deliver(cases: Iterable[tuple[Case, list[list[list[Step]]]]], number: int) -> list[Case]:
    """Deliver one part of each case."""
    delivered = []
    for one, its_parts in cases:
        one.batches = its_parts[number]
        delivered.append(one)
    delivery.deliver(delivered)
    return delivered


def counts_into_the_closed(steps: list[Step]) -> bool:
    """Return whether increments of whole days are expected: the first one's day may lie in what is closed.

    What is closed stays as it is, and the model knows no border.
    """
    kinds = {step.value.tipo for step in steps if step.table == "readings"}
    return "INCREMENTAL" in kinds and any(
        step.table == "interval" and step.value[1] == 86_400 for step in steps
    )


def test_histories_with_retention_in_between_are_what_the_model_says(
    size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger, "now_us", lambda: (NOW - EPOCH) // timedelta(microseconds=1))
    random = Random(SEED)
    starts = sorted(set(STARTS))
    print(f"METERING_SEED={SEED} METERING_CASES={size}")
    for number, start in enumerate(starts):
        first = start + timedelta(minutes=15) * random.randrange(1, 60)
        borders = [
            moment - (moment - EPOCH) % timedelta(minutes=15)
            for moment in (first, first + timedelta(hours=random.randrange(30)))
        ]
        cases = []
        for seed in range(SEED + number, SEED + size, len(starts)):
            monkeypatch.setattr("tests.metering.histories.STARTS", [start])
            steps = History(Random(seed)).build()
            if counts_into_the_closed(steps):
                continue
            cases.append((Case(f"seed {seed}, borders {borders}", []), parts(steps, borders, Random(seed))))
        delivery.install([one for one, _ in cases])
        closed = None
        for part, border in enumerate([*borders, None]):
            delivered = deliver(cases, part)
            assert delivery.differences(delivered, closed) == []
            if border is not None:
                drop(border)
                closed = border
            assert "done; 0 block rows differed" in rebuild()
            assert delivery.differences(delivered, closed) == []
            # What was compared with hours of dropped readings may wait in one and not in the other.
            foreseen = [c for changes in delivery.would_change(delivered).values() for c in changes]
            assert [c for c in foreseen if c.before != c.after] == []
        delivery.clear()
        ConsumoAncora.objects.all().delete()
        ConsumoCongelado.objects.all().delete()
        with connection.cursor() as cursor:
            cursor.execute("TRUNCATE tds_new_consumo_pendente")
