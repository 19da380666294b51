"""The peak demand of blocks: which blocks count, and whose."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from tds_new.models import ConsumoBloco, Dispositivo
from tds_new.queries.demanda import Pico, picos
from tests import fabrica

INICIO = datetime(2026, 2, 1, 3, tzinfo=UTC)
FIM = datetime(2026, 3, 1, 3, tzinfo=UTC)
QUARTO = timedelta(minutes=15)

pytestmark = pytest.mark.django_db


def bloco(de: Dispositivo, quando: datetime, consumo: str | None, fracao: str = "1", qualidade: str = "MEDIDO", conta: int = 0) -> None:
    ConsumoBloco.objects.create(
        dispositivo=de, bloco=quando, conta_id=conta or de.conta_id, gateway_id=de.gateway_id, leituras=3,
        consumo=None if consumo is None else Decimal(consumo), fracao_medida=Decimal(fracao), qualidade=qualidade,
    )  # fmt: skip


def test_the_peak_is_the_greatest_block_over_a_quarter_of_an_hour_the_earliest_of_equals() -> None:
    medidor = fabrica.dispositivo(fabrica.gateway(fabrica.conta()))
    for i, consumo in enumerate(["1.000001", "2.500003", "2.500003", "0"]):
        bloco(medidor, INICIO + i * QUARTO, consumo)
    bloco(medidor, INICIO - QUARTO, "9")
    bloco(medidor, FIM, "9")

    assert picos(medidor.conta, [medidor], INICIO, FIM) == {medidor.pk: Pico(Decimal("10.000012"), INICIO + QUARTO)}


@pytest.mark.parametrize(("fracao", "qualidade"), [("0.9999", "MEDIDO"), ("1", "INTERPOLADO"), ("1", "ESTIMADO")])
def test_a_block_that_is_not_measured_in_full_determines_no_peak(fracao: str, qualidade: str) -> None:
    medidor = fabrica.dispositivo(fabrica.gateway(fabrica.conta()))
    bloco(medidor, INICIO, "5", fracao, qualidade)

    assert picos(medidor.conta, [medidor], INICIO, FIM) == {medidor.pk: None}


def test_blocks_of_another_conta_and_foreign_devices_stay_out() -> None:
    medidor, outra = fabrica.dispositivo(fabrica.gateway(fabrica.conta())), fabrica.conta("Outra")
    bloco(medidor, INICIO, "7", conta=outra.pk)

    assert picos(medidor.conta, [medidor], INICIO, FIM) == {medidor.pk: None}
    assert picos(outra, [medidor], INICIO, FIM) == {}
