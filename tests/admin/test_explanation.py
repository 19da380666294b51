"""The page of a reading: why it is there, and what each decision does.

The ledger does what the page says.
"""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.test import Client
from django.utils import translation

from tds_new.formats import exact_duration
from tds_new.metering.worker import drain
from tds_new.models import Dispositivo, LeituraEmRevisao, TrocaMedidor, VigenciaParametros
from tests.support.meters import (
    JUMP,
    RESTART,
    ROLLOVER,
    SPIKE,
    START,
    STEP,
    decide,
    meter,
    row,
    superuser,
    total,
    url,
)

pytestmark = pytest.mark.django_db


@pytest.fixture
def root() -> Client:
    return superuser()


def page(client: Client, one: LeituraEmRevisao, **headers: str) -> Any:
    return client.get(url("leituraemrevisao", "change", one.chave), **headers)  # type: ignore[arg-type]


def why(client: Client, device: Dispositivo, number: int) -> str:
    """Return why the device's reading is in the list, with plain spaces."""
    return str(page(client, row(device, number)).context["why"]).replace("\u00a0", " ")


def effects(client: Client, device: Dispositivo, number: int) -> dict[str, str]:
    """Return what each decision on the device's reading does, as its page says."""
    decisions = page(client, row(device, number)).context["decisions"]
    return {decision.name: effect.replace("\u00a0", " ") for decision, effect in decisions}


def change(device: Dispositivo, at: int, final: float, initial: float) -> None:
    """A meter change just at the device's reading ``at``."""
    values = {"leitura_final": Decimal(str(final)), "leitura_inicial": Decimal(str(initial))}
    TrocaMedidor.objects.create(
        dispositivo=device, ocorrida_em=START + at * STEP, motivo="queimado", **values
    )
    drain()


@pytest.mark.parametrize(
    ("values", "parameters", "number", "said"),
    [
        (
            (1000, 1005, 1010, 1012, 1517), {"consumo_maximo_hora": "30.4"}, 4,
            "Permitido: 7,6 kWh em 15 min (30,4 kWh/h). Foram 505 kWh. Não conta enquanto as próximas "
            "leituras, ou alguém, não decidirem.",
        ),
        (SPIKE, {}, 3, "Permitido: 25 kWh em 15 min (100 kWh/h). Foram 7.980 kWh. As leituras seguintes a "
                       "desmentiram: não conta."),
        (
            JUMP, {}, 3,
            "Permitido: 25 kWh em 15 min (100 kWh/h). Foram 48.980 kWh. "
            "As três leituras seguintes continuaram a partir desta, mas o salto não conta até que alguém "
            "decida.",
        ),
        (
            ROLLOVER, {}, 2,
            "O registrador caiu de 99.990 kWh para 5 kWh em 15 min, e volta a zero em 100.000 kWh: "
            "10 kWh até a virada e 5 kWh depois dela. Contam 15 kWh.",
        ),
        ((1000, 1010, 3, 14), {}, 2, "O registrador caiu de 1.010 kWh para 3 kWh em 15 min: recomeçou de "
                                     "zero. Contam 3 kWh, no mínimo."),
        (
            (1000, 1010, 3, 14), {"fator_conversao": "40"}, 2,
            "O registrador caiu de 1.010 kWh para 3 kWh em 15 min: recomeçou de zero. Contam 3 × 40 = 120 "
            "kWh, no mínimo.",
        ),
        (
            (50_000, 50_010, 400), {}, 2,
            "O registrador caiu de 50.010 kWh para 400 kWh em 15 min. Permitido: 25 kWh em 15 min (100 "
            "kWh/h). "
            "Como virada seriam 50.390 kWh; contados de zero, 400 kWh. Não conta enquanto as próximas "
            "leituras, ou alguém, não decidirem.",
        ),
        (
            (50_000, 50_010, 400), {"valor_maximo_registro": None}, 2,
            "O registrador caiu de 50.010 kWh para 400 kWh em 15 min. Permitido: 25 kWh em 15 min (100 "
            "kWh/h). "
            "Contados de zero seriam 400 kWh. Não conta enquanto as próximas leituras, ou alguém, não "
            "decidirem.",
        ),
        (
            (1000, 1010, -3), {"consumo_maximo_hora": None, "valor_maximo_registro": None}, 2,
            "O registrador caiu de 1.010 kWh para −3 kWh em 15 min. Um registrador não mostra valor "
            "negativo. "
            "Não conta enquanto as próximas leituras, ou alguém, não decidirem.",
        ),
    ],
)  # fmt: skip
def test_the_page_says_why_a_reading_is_there_and_what_counts_now(
    root: Client, values: tuple[float, ...], parameters: dict[str, str], number: int, said: str
) -> None:
    assert why(root, meter(values, **parameters), number) == said


def test_the_maximum_is_the_one_in_force_at_the_reading(root: Client) -> None:
    device = meter(JUMP)
    VigenciaParametros.objects.create(
        dispositivo=device,
        desde=START + 3 * STEP,
        consumo_maximo_hora=Decimal(2),
        fator_conversao=Decimal(40),
    )
    drain()
    assert "Permitido: 0,5 kWh em 15 min (2 kWh/h)" in why(root, device, 3)
    assert "Passam a contar 48.980 × 40 = 1.959.200 kWh" in effects(root, device, 3)["approve"]


def test_a_change_is_told_with_what_each_meter_counted(root: Client) -> None:
    device, rounded = meter(JUMP), meter(JUMP, "D02")
    change(device, 3, 1022.5, 49_995.5)
    change(rounded, 3, 1019, 49_995.5)
    said = (
        "Entre a base e esta leitura o medidor foi trocado: %s kWh no antigo e 4,5 kWh no novo. "
        "Contam %s kWh."
    )
    assert why(root, device, 3) == said % ("2,5", "7")
    assert why(root, rounded, 3) == said % ("−1", "3,5")


@pytest.mark.parametrize(
    ("final", "initial", "said"),
    [
        (1050, 49_990, "Permitido: 25 kWh em 15 min (100 kWh/h). Com a troca registrada foram 40 kWh."),
        (1000, 50_000, "Com a troca registrada seriam −20 kWh, menos que nada."),
    ],
)
def test_a_change_that_does_not_explain_the_reading_is_told_by_its_numbers(
    root: Client, final: float, initial: float, said: str
) -> None:
    device = meter(JUMP[:4])
    change(device, 3, final, initial)
    assert row(device, 3).classe == "SUSPEITA"
    assert why(root, device, 3).startswith(said)


def test_what_was_decided_on_is_told_with_what_counts_now(root: Client) -> None:
    approved, discarded = meter(JUMP), meter(RESTART, "D02")
    decide(root, "approve", [row(approved, 3)])
    decide(root, "discard", [row(discarded, 2)])
    drain()
    assert (
        why(root, approved, 3)
        == "Permitido: 25 kWh em 15 min (100 kWh/h). Foram 48.980 kWh. Foi aprovada: contam 48.980 kWh."
    )
    assert why(root, discarded, 2).endswith("recomeçou de zero. Foi descartada: fica fora de tudo.")
    root.post(url("revisaoleitura", "add") + f"?dispositivo={approved.pk}", {
        "leitura_em_0": "02/03/2026", "leitura_em_1": "09:15:00", "decisao": "DESCARTADA", "motivo": "teste",
    })  # fmt: skip
    assert (
        why(root, approved, 1)
        == "As regras não viam nada de incomum nesta leitura. Foi descartada: fica fora de tudo."
    )


@pytest.mark.parametrize(
    ("values", "said", "more"),
    [
        (
            JUMP[:4],
            "Passam a contar 48.980 kWh, repartidos entre 02/03/2026 09:30:00 e 02/03/2026 09:45:00.",
            48_980,
        ),
        ((95_000, 95_010, 95_020, 400), "Passam a contar 5.380 kWh, como virada do registrador", 5380),
        (
            (50_000, 50_010, 50_020, 400),
            "Passam a contar 400 kWh, no mínimo, como reinício do registrador",
            400,
        ),
        ((50_000, 50_010, 50_020, -1), "Continua sem contar", 0),
    ],
)
def test_an_approval_does_what_stands_beside_its_button(
    root: Client, values: Iterable[float], said: str, more: int
) -> None:
    device = meter(values)
    before = total(device)
    assert effects(root, device, 3)["approve"].startswith(said)
    decide(root, "approve", [row(device, 3)])
    drain()
    assert total(device) - before == more


def test_an_approval_of_a_reading_with_a_change_counts_both_meters(root: Client) -> None:
    device = meter(JUMP[:4])
    change(device, 3, 1050, 49_990)
    assert effects(root, device, 3)["approve"].startswith("Com a troca registrada, passam a contar 40 kWh")
    decide(root, "approve", [row(device, 3)])
    drain()
    assert total(device) == 60


def test_each_effect_stands_beside_its_button_and_is_said_again_before_it_holds(root: Client) -> None:
    device = meter(SPIKE)
    said = effects(root, device, 3)
    assert (
        said["discard"]
        == "A leitura fica fora de tudo, como se não tivesse chegado. A próxima é julgada contra a base, "
        "1.020 kWh."
    )
    assert said["declare_change"].endswith("com os valores sugeridos, 0 kWh.")
    assert said["approve"].endswith("As leituras seguintes passam a ser julgadas a partir desta.")
    shown = page(root, row(device, 3)).content.decode().replace("\u00a0", " ")
    for name, effect in said.items():
        assert f'<p id="effect-{name}">{effect}</p>' in shown
    asked = decide(root, "discard", [row(device, 3)], motivo=None).content.decode().replace("\u00a0", " ")
    assert said["discard"] in asked
    assert "Permitido: 25 kWh em 15 min" in asked


def test_the_page_is_english_where_its_reader_is(root: Client) -> None:
    shown = page(root, row(meter(JUMP), 3), HTTP_ACCEPT_LANGUAGE="en").content.decode().replace("\u00a0", " ")
    assert (
        "Allowed: 25 kWh in 15 min (100 kWh/h). It was 48,980 kWh. The next three readings went on from this "
        "one" in shown
    )
    assert "48,980 kWh will count, spread from Mar 2, 2026 09:30:00 to Mar 2, 2026 09:45:00." in shown


@pytest.mark.parametrize(
    ("time", "said"),
    [
        (timedelta(minutes=15), "15 min"),
        (timedelta(hours=1, minutes=30), "1 h 30 min"),
        (timedelta(days=1), "1 dia"),
        (timedelta(days=2, hours=3, seconds=5), "2 dias 3 h"),
        (timedelta(minutes=14, seconds=59, milliseconds=500), "14 min 59,5 s"),
        (timedelta(), "0 s"),
    ],
)
def test_a_time_is_told_whole(time: timedelta, said: str) -> None:
    with translation.override("pt-br"):
        assert exact_duration(time).replace("\u00a0", " ") == said
