"""Figures after retention against the same readings without it: what is decided, what comes later, and computing everything again."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command

from tds_new.consumption.worker import django_session, drain
from tds_new.models import ConsumoAncora, ConsumoBloco, ConsumoCongelado, Dispositivo, OcorrenciaMedicao, RevisaoLeitura
from tds_new.upkeep import retention
from tests import fabrica

BORDER = datetime(2025, 7, 17, tzinfo=UTC)
EVENING = BORDER - timedelta(hours=2)

pytestmark = pytest.mark.django_db(transaction=True)


def drop(border: datetime) -> None:
    """Retention with a border of the test's own."""
    session = django_session()
    retention._freeze(session, border)
    retention._delete(session, border)


@pytest.fixture(autouse=True)
def _open_again() -> Iterator[None]:
    yield
    ConsumoAncora.objects.all().delete()
    ConsumoCongelado.objects.all().delete()


@pytest.fixture
def device() -> Dispositivo:
    return fabrica.dispositivo(fabrica.gateway(fabrica.conta()))


def read(device: Dispositivo, *readings: tuple[float, float]) -> None:
    """Readings at so many minutes after ``EVENING``, and what follows from them."""
    fabrica.leituras(device, [(EVENING + timedelta(minutes=at), valor) for at, valor in readings])


def decide(device: Dispositivo, minutes: float, decisao: str) -> RevisaoLeitura:
    decided = RevisaoLeitura.objects.create(dispositivo=device, leitura_em=EVENING + timedelta(minutes=minutes), decisao=decisao)
    drain()
    return decided


def figures() -> tuple[list[Any], list[Any]]:
    """Every row of the ledger."""
    return list(ConsumoBloco.objects.order_by("bloco").values_list()), list(OcorrenciaMedicao.objects.order_by("leitura_em").values_list())


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


def test_what_was_discarded_before_the_border_does_not_come_back(device: Dispositivo, discarded: RevisaoLeitura) -> None:
    drop(BORDER)
    assert [anchor.valor for anchor in ConsumoAncora.objects.order_by("leitura_em")] == [9700, 9710, 9711]
    read(device, (12 * 60, 9712))
    assert total() == 12
    assert "done; 0 block rows differed" in rebuild()


def test_undoing_what_was_discarded_before_the_border_changes_nothing(device: Dispositivo, discarded: RevisaoLeitura) -> None:
    drop(BORDER)
    read(device, (12 * 60, 9712))
    before = figures()
    discarded.delete()
    drain()
    assert "done; 0 block rows differed" in rebuild()
    assert figures() == before


def test_no_decision_on_what_is_closed_changes_a_figure(device: Dispositivo) -> None:
    """An approved jump and a reading after it, in the last block before the border. The admin refuses this, the ledger ignores it."""
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
