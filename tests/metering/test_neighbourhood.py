"""A late reading costs its neighbourhood: rows read and written are counted."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection

from tds_new.metering import ledger
from tds_new.metering.worker import drain
from tds_new.models import ConsumoBloco, ConsumoRetomada, Dispositivo, LeituraDispositivo, OcorrenciaMedicao
from tests.support import factories

pytestmark = pytest.mark.django_db(transaction=True)

QUARTER = timedelta(minutes=15)
DAYS = 40
START = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=DAYS + 1)
LATE = START + timedelta(days=20, hours=10, minutes=30)
A_DAY = 96  # readings


def level(at: int) -> Decimal:
    """A register by the quarter: a little more in every other one."""
    return Decimal(at) + Decimal(at % 2) / 10


@pytest.fixture
def device() -> Dispositivo:
    return factories.device(factories.gateway(factories.conta(), intervalo_esperado_s=900))


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many readings each look at the readings gave."""
    counts: list[int] = []
    load: Callable[..., Any] = ledger.load_chains

    def counted(*arguments: Any) -> Any:
        found = load(*arguments)
        counts.append(sum(len(chain.times) for chains in found.values() for chain in chains))
        return found

    monkeypatch.setattr(ledger, "load_chains", counted)
    return counts


def store(device: Dispositivo, *without: datetime, restart: datetime | None = None) -> None:
    """A reading every quarter of an hour; from ``restart`` on the register counts from zero."""
    times = [START + n * QUARTER for n in range(DAYS * A_DAY)]
    begun = None if restart is None else (restart - START) // QUARTER
    values = [level(n) if begun is None or n < begun else level(n) - level(begun) for n in range(len(times))]
    LeituraDispositivo.objects.bulk_create(
        LeituraDispositivo(
            time=time,
            dispositivo=device,
            conta_id=device.conta_id,
            gateway_id=device.gateway_id,
            valor=1000 + value if restart is None or time < restart else value,
            unidade="kWh",
            tipo_leitura="ACUMULADA",
        )
        for time, value in zip(times, values, strict=True)
        if time not in without
    )
    drain()


def rows() -> dict[Any, Any]:
    return {block["bloco"]: block for block in ConsumoBloco.objects.values()}


def written(before: dict[Any, Any]) -> list[datetime]:
    after = rows()
    return sorted(at for at in before.keys() | after.keys() if before.get(at) != after.get(at))


def arrive(device: Dispositivo, value: Decimal) -> None:
    factories.readings(device, [(LATE, value)])


def test_a_late_reading_reads_and_writes_its_neighbours(device: Dispositivo, loaded: list[int]) -> None:
    store(device, LATE)
    before = rows()
    loaded.clear()
    arrive(device, 1000 + level((LATE - START) // QUARTER))
    assert written(before) == [LATE - QUARTER, LATE]
    assert loaded
    assert max(loaded) < 50
    assert not OcorrenciaMedicao.objects.exists()
    assert not ConsumoRetomada.objects.exists()


def test_with_a_jump_in_the_three_days_before_it_reads_three_days_at_most(
    device: Dispositivo, loaded: list[int]
) -> None:
    restart = LATE - timedelta(days=2)
    store(device, LATE, restart=restart)
    assert [(o.leitura_em, o.classe) for o in OcorrenciaMedicao.objects.all()] == [(restart, "REINICIO")]
    assert ConsumoRetomada.objects.count() <= 73  # a state for each hour in which the jump is remembered
    before = rows()
    loaded.clear()
    arrive(device, level((LATE - START) // QUARTER) - level((restart - START) // QUARTER))
    assert written(before) == [LATE - QUARTER, LATE]
    assert max(loaded) < 4 * A_DAY


def test_a_jump_that_comes_back_rewrites_what_was_counted_since(device: Dispositivo) -> None:
    """A late reading of the old level takes back what a low run has counted, and nothing before it."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tds_new_dispositivo SET consumo_maximo_hora = 10 WHERE id = %s", [device.pk])
    store(device, LATE)
    before = rows()
    arrive(device, Decimal(0))
    assert [o.classe for o in OcorrenciaMedicao.objects.all()] == ["SUSPEITA"]
    assert written(before) == [LATE]  # its reading is counted there, its value is not
