"""The page of a device says whose rules its past is by, and what waits for a rebuild."""

import pytest
from django.db import connection

from tds_new.models import ConsumoEstado, Dispositivo
from tests.support.meters import START, STEP, meter, superuser, url

pytestmark = pytest.mark.django_db(transaction=True)


def page(device: Dispositivo) -> str:
    return superuser().get(url("dispositivo", "change", device.pk)).content.decode()


def test_a_device_is_by_the_rules_of_today_from_its_beginning() -> None:
    assert "As de hoje, desde o começo." in page(meter((1000, 1010)))


@pytest.mark.parametrize(
    ("waits", "said"),
    [
        (None, ""),
        ("'-infinity'", "Uma mudança que vale desde o começo espera por isso."),
        ("'2026-03-01 12:00Z'", "Uma mudança em 01/03/2026 09:00:00"),
    ],
)
def test_the_past_of_a_device_that_was_upgraded_says_so(waits: str | None, said: str) -> None:
    device = meter((1000, 1010))
    ConsumoEstado.objects.update_or_create(
        dispositivo=device, defaults={"segunda_edicao_desde": START + STEP}
    )
    with connection.cursor() as cursor:
        cursor.execute(f"UPDATE tds_new_consumo_estado SET reconstruir_desde = {waits or 'NULL'}")
    found = page(device).replace("\N{NO-BREAK SPACE}", " ")
    assert "As de hoje valem desde 02/03/2026 09:15:00" in found
    assert "até que alguém rode rebuild_consumption." in found
    assert said in found
    assert ("espera por isso" in found) is bool(said)
