"""The peak demand of blocks: which blocks count, and whose."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from tds_new.models import ConsumoBloco, Dispositivo
from tds_new.queries import demand
from tds_new.queries.demand import Pico, maior_pico, picos
from tds_new.storage import rollups
from tests.support import factories

INICIO = datetime(2026, 2, 1, 3, tzinfo=UTC)
FIM = datetime(2026, 3, 1, 3, tzinfo=UTC)
QUARTO = timedelta(minutes=15)

pytestmark = pytest.mark.django_db


def bloco(
    de: Dispositivo,
    quando: datetime,
    consumo: str | None,
    fracao: str = "1",
    qualidade: str = "MEDIDO",
    conta: int = 0,
) -> None:
    ConsumoBloco.objects.create(
        dispositivo=de, bloco=quando, conta_id=conta or de.conta_id, gateway_id=de.gateway_id, leituras=3,
        consumo=None if consumo is None else Decimal(consumo), fracao_medida=Decimal(fracao), qualidade=qualidade,
    )  # fmt: skip


def test_the_peak_is_the_greatest_block_over_a_quarter_of_an_hour_the_earliest_of_equals() -> None:
    medidor = factories.dispositivo(factories.gateway(factories.conta()))
    for i, consumo in enumerate(["1.000001", "2.500003", "2.500003", "0"]):
        bloco(medidor, INICIO + i * QUARTO, consumo)
    bloco(medidor, INICIO - QUARTO, "9")
    bloco(medidor, FIM, "9")

    assert picos(medidor.conta, [medidor], INICIO, FIM) == {
        medidor.pk: Pico(Decimal("10.000012"), INICIO + QUARTO)
    }


@pytest.mark.parametrize(
    ("fracao", "qualidade"), [("0.9999", "MEDIDO"), ("1", "INTERPOLADO"), ("1", "ESTIMADO")]
)
def test_a_block_that_is_not_measured_in_full_determines_no_peak(fracao: str, qualidade: str) -> None:
    medidor = factories.dispositivo(factories.gateway(factories.conta()))
    bloco(medidor, INICIO, "5", fracao, qualidade)

    assert picos(medidor.conta, [medidor], INICIO, FIM) == {medidor.pk: None}


def test_increments_of_more_than_a_block_determine_no_demand() -> None:
    gateway = factories.gateway(factories.conta(), intervalo_esperado_s=3600)
    hora, registrador = (
        factories.dispositivo(gateway, tipo="INCREMENTAL"),
        factories.dispositivo(gateway, "D02"),
    )
    for medidor in (hora, registrador):
        bloco(medidor, INICIO, "5")

    assert picos(hora.conta, [hora, registrador], INICIO, FIM) == {
        hora.pk: None,
        registrador.pk: Pico(Decimal(20), INICIO),
    }
    assert maior_pico(hora.conta, [hora], INICIO, FIM) is None


def test_blocks_of_another_conta_and_foreign_devices_stay_out() -> None:
    medidor, outra = factories.dispositivo(factories.gateway(factories.conta())), factories.conta("Outra")
    bloco(medidor, INICIO, "7", conta=outra.pk)

    assert picos(medidor.conta, [medidor], INICIO, FIM) == {medidor.pk: None}
    assert picos(outra, [medidor], INICIO, FIM) == {}
    assert maior_pico(medidor.conta, [medidor], INICIO, FIM) is None
    assert maior_pico(outra, [medidor], INICIO, FIM) is None


def test_the_greatest_of_several_devices_names_its_device_and_the_earliest_moment() -> None:
    gateway = factories.gateway(factories.conta())
    um, dois = (factories.dispositivo(gateway, codigo) for codigo in ("D01", "D02"))
    bloco(um, INICIO + QUARTO, "3")
    bloco(dois, INICIO + 3 * QUARTO, "4")
    bloco(dois, INICIO + 90 * QUARTO, "4")
    bloco(dois, INICIO + 95 * QUARTO, "9", "0.5")

    assert maior_pico(um.conta, [um, dois], INICIO, FIM) == (dois, Pico(Decimal(16), INICIO + 3 * QUARTO))


@pytest.mark.timescale
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("zona", ["America/Sao_Paulo", "America/Manaus", "Asia/Kolkata"])
def test_the_greatest_of_very_many_devices_is_found_by_their_contas_sums(
    zona: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway, acaso, zone = factories.gateway(factories.conta()), Random(zona), ZoneInfo(zona)
    muitos = [factories.dispositivo(gateway, f"D{n}") for n in range(6)]
    fora = factories.dispositivo(gateway, "FORA")
    agua = factories.dispositivo(gateway, "AGUA", "AGUA", "m3")
    bloco(agua, INICIO + 900 * QUARTO, "2000")
    for i in range(400):
        bloco(
            acaso.choice(muitos),
            INICIO + i * 7 * QUARTO,
            str(acaso.randrange(300)),
            acaso.choice(["1", "1", "0.9"]),
        )
    with connection.cursor() as cursor:
        for rollup in rollups.ROLLUPS:
            cursor.execute(f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, NULL)")
    try:
        for de, ate, alheio in ((1, 28, None), (3, 4, None), (7, 20, None), (7, 20, "1000")):
            inicio, fim = datetime(2026, 2, de, tzinfo=zone), datetime(2026, 2, ate, 12, 15, tzinfo=zone)
            if alheio:
                bloco(fora, inicio + timedelta(hours=2), alheio)  # greater, and nobody asks about it
            for agora in (fim, FIM):
                monkeypatch.setattr(demand, "MUITOS", 99)
                certo = maior_pico(gateway.conta, muitos, inicio, fim, agora)
                assert certo is not None
                monkeypatch.setattr(demand, "MUITOS", 1)
                assert maior_pico(gateway.conta, muitos, inicio, fim, agora) == certo
    finally:
        rollups.drop(connection)
        rollups.create(connection, timescale=True)


@pytest.mark.timescale
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("zona", ["America/Sao_Paulo", "America/Manaus", "Asia/Kolkata"])
def test_peaks_out_of_kept_sums_are_those_of_the_blocks(zona: str) -> None:
    medidor, acaso, zone = (
        factories.dispositivo(factories.gateway(factories.conta())),
        Random(zona),
        ZoneInfo(zona),
    )
    for i in range(400):
        bloco(medidor, INICIO + i * 7 * QUARTO, str(acaso.randrange(300)), acaso.choice(["1", "1", "0.9"]))
    with connection.cursor() as cursor:
        for rollup in rollups.ROLLUPS:
            cursor.execute(f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, NULL)")
    try:
        for de, ate in ((1, 28), (3, 4), (7, 20)):
            inicio, fim = datetime(2026, 2, de, tzinfo=zone), datetime(2026, 2, ate, 12, 15, tzinfo=zone)
            certos = [
                b
                for b in ConsumoBloco.objects.order_by("bloco")
                if inicio <= b.bloco < fim and b.fracao_medida == 1
            ]
            melhor = max(certos, key=lambda b: b.consumo or Decimal(0))
            assert melhor.consumo
            for agora in (fim, FIM):
                assert picos(medidor.conta, [medidor], inicio, fim, agora) == {
                    medidor.pk: Pico(melhor.consumo * 4, melhor.bloco)
                }
    finally:
        rollups.drop(connection)
        rollups.create(connection, timescale=True)
