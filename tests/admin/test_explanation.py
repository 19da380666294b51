"""The page of a reading: why it is there, by the rule's own figures, and what counts of it now."""

from collections.abc import Iterable
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import connection
from django.test import Client
from django.utils import translation
from django.utils.timezone import now

from tds_new.formats import exact_duration
from tds_new.metering.worker import drain
from tds_new.models import Conta, Dispositivo, LeituraEmRevisao, TrocaMedidor, VigenciaParametros
from tests.support import factories
from tests.support.meters import (
    EXCESS,
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
    url,
)

pytestmark = pytest.mark.django_db
LINE = tuple(round(12_345 + 0.2 * n, 1) for n in range(8))  # ends at 12,346.4, at 10:45


@pytest.fixture
def root() -> Client:
    return superuser()


def on(value: float, count: int = 4) -> tuple[float, ...]:
    """A register that goes on from ``value``, 0.2 a reading."""
    return tuple(round(value + 0.2 * n, 1) for n in range(count))


def page(client: Client, one: LeituraEmRevisao, **headers: str) -> Any:
    return client.get(url("leituraemrevisao", "change", one.chave), **headers)  # type: ignore[arg-type]


def plain(text: Any) -> str:
    """A text with plain spaces."""
    return str(text).replace("\u00a0", " ")


def why(client: Client, device: Dispositivo, number: int) -> str:
    """Return why the device's reading is in the list."""
    return plain(page(client, row(device, number)).context["why"])


def counts(client: Client, device: Dispositivo, number: int) -> str:
    """Return what counts of the device's reading now."""
    return plain(page(client, row(device, number)).context["counts"])


def change(device: Dispositivo, at: int, final: float, initial: float) -> None:
    """A meter change just at the device's reading ``at``."""
    values = {"leitura_final": Decimal(str(final)), "leitura_inicial": Decimal(str(initial))}
    TrocaMedidor.objects.create(
        dispositivo=device, ocorrida_em=START + at * STEP, motivo="queimado", **values
    )
    drain()


def of_kind(kind: str, values: Iterable[float], **fields: Any) -> Dispositivo:
    """A device whose readings are of a ``kind``."""
    device = meter((), **fields)
    Dispositivo.objects.filter(pk=device.pk).update(tipo_leitura=kind)
    device.refresh_from_db()
    factories.readings(device, factories.points(START, STEP, values))
    return device


NEIGHBOURS_COUNT = "Nada desta leitura: as vizinhas contam como se ela não tivesse chegado."
BY_RULE = {
    "2, one zero": (
        (*LINE, 0, *on(12_346.8)), 8,
        "O registrador caiu de 12.346,4 kWh para 0 kWh; 15 min depois voltou a 12.346,8 kWh; o 0 não conta.",
        NEIGHBOURS_COUNT,
    ),
    "2, one above": (
        SPIKE, 3,
        "O registrador subiu de 1.020 kWh para 9.000 kWh; 15 min depois voltou a 1.030 kWh; o 9.000 não "
        "conta. O plausível seria até 100 kWh em 15 min (máximo de 100 kWh/h).",
        NEIGHBOURS_COUNT,
    ),
    "2, several": (
        (*LINE, 0, 0.1, *on(12_347)), 9,
        "O registrador caiu de 12.346,4 kWh para 0 kWh e assim ficou por 2 leituras, até 0,1 kWh; 15 min "
        "depois voltou a 12.347 kWh; nenhuma delas conta.",
        NEIGHBOURS_COUNT,
    ),
    "3, it came back later": (
        (*LINE, *on(90_000, 6), *on(12_347.8, 8)), 9,
        "Em 02/03/2026 11:00:00 o registrador subiu de 12.346,4 kWh para 90.000 kWh e ficou assim por 6 "
        "leituras; em 02/03/2026 12:30:00 voltou a 12.347,8 kWh, para onde estaria sem o salto. O que tinha "
        "sido contado nesse tempo, 1 kWh, foi retirado.",
        NEIGHBOURS_COUNT,
    ),
    "3, in doubt": (
        (*LINE, *on(0, 5), *on(12_347.8, 8)), 8,
        "Em 02/03/2026 11:00:00 o registrador caiu de 12.346,4 kWh para 0 kWh e ficou assim por 5 leituras; "
        "em 02/03/2026 12:15:00 voltou a 12.347,8 kWh, para onde estaria sem a queda. O que tinha sido "
        "contado nesse tempo, 0,8 kWh, foi retirado. Há dúvida: pode ter sido consumo de um registrador que "
        "recomeçou do zero.",
        "Não conta, a não ser que alguém decida outra coisa.",
    ),
    "6a": (
        (100, 100.2, 100.4, 170, 170.1, *on(100.8, 6)), 3,
        "Depois de 02/03/2026 09:30:00 o registrador subiu 69,7 kWh acima de 100,4 kWh, mais do que três "
        "vezes o ritmo das leituras que vieram depois (1,2 kWh); em 02/03/2026 10:15:00 estava em 100,8 kWh "
        "e seguiu dali. As leituras altas é que eram estranhas. O que tinha sido contado nesse tempo, 69,7 "
        "kWh, foi retirado.",
        NEIGHBOURS_COUNT,
    ),
    "5, a fall": (
        (*LINE, 0), 8,
        "O registrador caiu de 12.346,4 kWh para 0 kWh em 15 min. Um registrador só oscila para baixo até a "
        "tolerância de 0,1 kWh. O que foi só se sabe com 3 leituras depois dela; ainda não chegou nenhuma. "
        "Já passou o tempo de elas chegarem: alguém pode decidir.",
        "Não conta enquanto as próximas leituras, ou alguém, não decidirem.",
    ),
    "5, a rise": (
        (*LINE, 77_000, 77_000.2), 8,
        "O registrador subiu de 12.346,4 kWh para 77.000 kWh em 15 min. O plausível seria até 100 kWh em 15 "
        "min (máximo de 100 kWh/h). O que foi só se sabe com 3 leituras depois dela; chegou 1. Já passou o "
        "tempo de elas chegarem: alguém pode decidir.",
        "Não conta enquanto as próximas leituras, ou alguém, não decidirem.",
    ),
    "6b": (
        ROLLOVER, 2,
        "O registrador caiu de 99.990 kWh para 5 kWh em 15 min: o registrador volta a zero em 100.000 kWh; "
        "10 kWh até lá e 5 kWh depois.",
        "Contam 15 kWh, repartidos entre 02/03/2026 09:15:00 e 02/03/2026 09:30:00.",
    ),
    "6c": (
        RESTART, 2,
        "O registrador caiu de 1.010 kWh para 4 kWh em 15 min, e as três leituras seguintes continuaram "
        "dali: o registrador recomeçou do zero. O que ele contou antes disso não se sabe.",
        "Contam 4 kWh, no mínimo, repartidos entre 02/03/2026 09:15:00 e 02/03/2026 09:30:00.",
    ),
    "6c, in doubt by its rate": (
        (*LINE, *on(90)), 8,
        "O registrador caiu de 12.346,4 kWh para 90 kWh em 15 min, e as três leituras seguintes continuaram "
        "dali: o registrador recomeçou do zero. O que ele contou antes disso não se sabe. Há dúvida: "
        "contados do zero seriam 90 kWh em 15 min, mais que três vezes o ritmo dele (2,4 kWh). Pode ter "
        "voltado a um total guardado.",
        "Nada conta até que alguém decida.",
    ),
    "6c, in doubt by its maximum": (
        (*LINE, *on(900)), 8,
        "O registrador caiu de 12.346,4 kWh para 900 kWh em 15 min, e as três leituras seguintes "
        "continuaram dali: o registrador recomeçou do zero. O que ele contou antes disso não se sabe. Há "
        "dúvida: contados do zero seriam 900 kWh em 15 min, e o plausível seria até 100 kWh.",
        "Nada conta até que alguém decida.",
    ),
    "6d": (
        EXCESS, 3,
        "O registrador subiu 200 kWh em 15 min. O plausível seria até 100 kWh em 15 min (máximo de 100 "
        "kWh/h). As três leituras seguintes foram rápidas também (três vezes o ritmo delas seriam 600 kWh "
        "no mesmo tempo): o dispositivo é mesmo assim, e o máximo por hora está baixo demais.",
        "Contam 200 kWh, repartidos entre 02/03/2026 09:30:00 e 02/03/2026 09:45:00.",
    ),
    "6e, a rise": (
        JUMP, 3,
        "O registrador subiu de 1.020 kWh para 50.000 kWh em 15 min. O plausível seria até 100 kWh em 15 min "
        "(máximo de 100 kWh/h). As três leituras seguintes continuaram deste valor, mas sem essa pressa: "
        "três vezes o ritmo delas seriam 30 kWh no mesmo tempo.",
        "O salto não conta até que alguém decida.",
    ),
    "6e, a fall": (
        (*LINE, *on(5000)), 8,
        "O registrador caiu de 12.346,4 kWh para 5.000 kWh em 15 min. As três leituras seguintes "
        "continuaram deste valor. Como virada seriam 92.653,6 kWh, demais. Para um recomeço do zero, 5.000 "
        "kWh é demais.",
        "O salto não conta até que alguém decida.",
    ),
    "6e, below zero": (
        (*LINE, *on(-5)), 8,
        "O registrador caiu de 12.346,4 kWh para −5 kWh em 15 min. As três leituras seguintes continuaram "
        "deste valor. Como virada seriam 87.648,6 kWh, demais. Um registrador que recomeça não mostra valor "
        "negativo.",
        "O salto não conta até que alguém decida.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("rule", BY_RULE)
def test_the_page_says_why_a_reading_is_there_and_what_counts_now(root: Client, rule: str) -> None:
    values, number, said, counted = BY_RULE[rule]
    device = meter(values, tolerancia_queda=Decimal("0.1"))
    assert (why(root, device, number), counts(root, device, number)) == (said, counted)
    assert row(device, number).regra == rule[:2].strip(",")


def test_a_return_in_doubt_says_how_far_the_register_moved_meanwhile(root: Client) -> None:
    device = meter((*LINE, 0, 50, *on(12_347, 5)))
    if row(device, 8).espera:
        assert "nessas leituras ele andou 50 kWh, mais do que da base até voltar" in why(root, device, 8)
    assert "nenhuma delas conta" in why(root, device, 9)


def test_nobody_is_asked_while_the_next_readings_may_still_show_what_it_was(root: Client) -> None:
    device = meter(())
    device.gateway.intervalo_esperado_s = 900
    device.gateway.save()
    at = now() - timedelta(minutes=5)
    factories.readings(device, [(at - STEP * (8 - n), value) for n, value in enumerate((*LINE, 0))])
    one = LeituraEmRevisao.objects.get()
    assert one.situacao == "AGUARDA"
    shown = page(root, one)
    assert "alguém pode decidir" not in shown.context["why"]
    assert (
        shown.context["counts"]
        == "Por enquanto não conta. Não há nada a fazer: as próximas leituras decidem."
    )
    assert "Decidir já, sem esperar as próximas leituras" in shown.content.decode()
    assert {choice.weight for choice in shown.context["choices"]} == {"plain"}


def test_the_factor_and_the_unit_of_consumption_are_said_with_what_counts(root: Client) -> None:
    pulses = meter(RESTART, fator_conversao="0.01", unidade_consumo="m³")
    Dispositivo.objects.filter(pk=pulses.pk).update(unidade="pulsos")
    constant = meter(RESTART, "D02", fator_conversao="40")
    assert counts(root, pulses, 2).startswith("Contam 4 pulsos × 0,01 = 0,04 m³, no mínimo")
    assert counts(root, constant, 2).startswith("Contam 4 × 40 = 160 kWh, no mínimo")


def test_the_maximum_is_the_one_in_force_at_the_reading(root: Client) -> None:
    device = meter(JUMP)
    VigenciaParametros.objects.create(
        dispositivo=device,
        desde=START + 3 * STEP,
        consumo_maximo_hora=Decimal(2),
        fator_conversao=Decimal(40),
    )
    drain()
    assert "O plausível seria até 2 kWh em 15 min (máximo de 2 kWh/h)." in why(root, device, 3)


def test_a_factor_that_changes_on_the_way_is_said_to_have_been_that_of_each_moment(root: Client) -> None:
    device = meter(RESTART)
    VigenciaParametros.objects.create(
        dispositivo=device, desde=START + 1.5 * STEP, fator_conversao=Decimal(40), consumo_maximo_hora=100
    )
    drain()
    assert counts(root, device, 2).startswith("Contam 4 kWh, com o fator de cada momento, no mínimo")


def test_a_change_is_told_with_what_each_meter_counted(root: Client) -> None:
    device, rounded = meter(JUMP), meter(JUMP, "D02")
    change(device, 3, 1022.5, 49_995.5)
    change(rounded, 3, 1019, 49_995.5)
    said = "Entre a base e esta leitura o medidor foi trocado: %s kWh no antigo e 4,5 kWh no novo."
    assert why(root, device, 3) == said % "2,5"
    assert counts(root, device, 3).startswith("Contam 7 kWh, repartidos")
    assert why(root, rounded, 3) == said % "−1"


@pytest.mark.parametrize(
    ("final", "initial", "said"),
    [
        (
            1150, 49_990,
            "Com a troca registrada seriam 140 kWh em 15 min. O plausível seria até 100 kWh em 15 min "
            "(máximo de 100 kWh/h). As três leituras seguintes continuaram deste valor.",
        ),
        (
            1000, 50_000,
            "Com a troca registrada seriam −20 kWh em 15 min, menos que nada. As três leituras seguintes "
            "continuaram deste valor.",
        ),
    ],
)  # fmt: skip
def test_a_change_that_does_not_explain_the_reading_is_told_by_its_numbers(
    root: Client, final: float, initial: float, said: str
) -> None:
    device = meter(JUMP)
    change(device, 3, final, initial)
    assert row(device, 3).classe == "IMPLAUSIVEL"
    assert why(root, device, 3) == said


def test_a_dip_that_somebody_decided_on_is_told_by_its_tolerance(root: Client) -> None:
    device = meter((1000, 1010, 1009.95, 1020), tolerancia_queda=Decimal("0.1"))
    assert not LeituraEmRevisao.objects.exists()
    root.post(url("revisaoleitura", "add") + f"?dispositivo={device.pk}", {
        "leitura_em_0": "02/03/2026", "leitura_em_1": "09:30:00", "decisao": "VISTA", "motivo": "teste",
    })  # fmt: skip
    drain()
    assert why(root, device, 2) == (
        "O registrador caiu de 1.010 kWh para 1.009,95 kWh em 15 min, dentro da tolerância de 0,1 kWh: uma "
        "oscilação do último dígito."
    )
    assert counts(root, device, 2) == "Não conta; a base fica com o valor de antes."


def test_an_increment_is_told_by_the_limit_of_its_interval(root: Client) -> None:
    device = of_kind("INCREMENTAL", (1, 2, 5000, 2))
    assert why(root, device, 2) == (
        "O incremento é de 5.000 kWh, e o plausível para o intervalo dele seria até 100 kWh."
    )
    assert counts(root, device, 2) == "O incremento não conta até que alguém decida."
    decide(root, "approve", [row(device, 2)])
    drain()
    assert counts(root, device, 2).startswith("Contam 5.000 kWh")


def test_a_balance_is_told_in_both_directions(root: Client) -> None:
    device = of_kind("SALDO", (100, 90, 80, -5000, -5010, -5020, -5030))
    assert why(root, device, 3) == (
        "O saldo foi de 80 kWh a −5.000 kWh em 15 min. O plausível seria até 100 kWh em 15 min (máximo de "
        "100 kWh/h). As três leituras seguintes continuaram deste valor."
    )


def unusual() -> Dispositivo:
    """A register that rises by 90 at once, far above all its hours."""
    return meter([1000 + n / 2 + (90 if n >= 120 else 0) for n in range(160)])


def test_unusual_consumption_counts_and_is_told_by_the_largest_hour_near_it(root: Client) -> None:
    device = unusual()
    assert (row(device, 120).classe, row(device, 120).situacao) == ("INCOMUM", "ESPERA")
    assert why(root, device, 120) == (
        "As horas em que esta leitura e a base caem têm 92 kWh: por hora, mais de 10 vezes a maior hora dos "
        "7 dias antes e das 24 h depois, que tem 2 kWh."
    )
    assert counts(root, device, 120).startswith("Contam 90,5 kWh, repartidos entre 03/03/2026 14:45:00")


def test_a_first_reading_of_zero_is_told_to_be_doubtful(root: Client) -> None:
    device = meter([0, *(80 + n / 2 for n in range(160))])
    assert row(device, 1).classe == "INCOMUM"
    assert "A série começou com o valor 0" in why(root, device, 1)
    assert "Talvez o 0 não tenha sido uma leitura" in why(root, device, 1)


def transferred(values: Iterable[float] = (12_350, 12_350.2)) -> tuple[Dispositivo, Conta]:
    """A device that went to another Conta after eight readings."""
    device, other = meter(LINE), factories.conta("Bela Vista")
    with connection.cursor() as cursor:
        cursor.execute("UPDATE tds_new_dispositivo SET conta_id = %s WHERE id = %s", [other.pk, device.pk])
    device.refresh_from_db()
    factories.readings(device, factories.points(START + 8 * STEP, STEP, values))
    return device, other


def test_a_change_of_conta_is_told_with_both(root: Client) -> None:
    device, other = transferred()
    assert why(root, device, 8) == (
        "Entre 02/03/2026 10:45:00 e 02/03/2026 11:00:00 o dispositivo passou de Conta de D01 para Bela "
        "Vista, e o registrador foi de 12.346,4 kWh a 12.350 kWh."
    )
    assert counts(root, device, 8).startswith("O consumo entre as duas não conta para nenhuma das contas até")
    decide(root, "attribute", [row(device, 8)], conta=other.pk)
    drain()
    assert counts(root, device, 8) == (
        "Contam 3,6 kWh para Bela Vista, repartidos entre 02/03/2026 10:45:00 e 02/03/2026 11:00:00."
    )


def test_what_still_waited_when_another_series_began_is_told_so(root: Client) -> None:
    device = meter((*LINE, 77_000))
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tds_new_dispositivo SET tipo_leitura = 'INSTANTANEA' WHERE id = %s", [device.pk]
        )
    device.refresh_from_db()
    factories.readings(device, factories.points(START + 9 * STEP, STEP, (20, 21)))
    assert why(root, device, 8).endswith(
        "Esperava por outras leituras quando, em 02/03/2026 11:15:00, começou outra série: de outra conta, "
        "tipo ou unidade."
    )
    assert counts(root, device, 8) == NEIGHBOURS_COUNT


def test_what_was_decided_on_is_told_with_what_counts_now(root: Client) -> None:
    approved, discarded, returned, restarted = (meter(JUMP), meter(RESTART, "D02"), meter(JUMP, "D03"),
                                                meter((*LINE, *on(90)), "D04"))  # fmt: skip
    decide(root, "approve", [row(approved, 3)])
    decide(root, "discard", [row(discarded, 2)])
    decide(root, "return", [row(returned, 3)])
    decide(root, "restart", [row(restarted, 8)])
    drain()
    assert counts(root, approved, 3).startswith("Contam 48.980 kWh, repartidos entre 02/03/2026 09:30:00")
    assert counts(root, discarded, 2) == "Foi descartada: fica fora de tudo."
    assert "Alguém decidiu que o consumo segue daqui sem contar o salto" in why(root, returned, 3)
    assert counts(root, returned, 3) == "O salto não conta; o consumo segue daqui."
    assert why(root, restarted, 8).endswith("Alguém decidiu que o registrador recomeçou do zero.")
    assert counts(root, restarted, 8).startswith("Contam 90 kWh, no mínimo")


def test_a_reading_that_waited_when_somebody_decided_on_a_later_one_is_told_so(root: Client) -> None:
    device = meter((*LINE, 77_000, 77_000.2))
    decide(root, "return", [row(device, 9)])
    drain()
    assert why(root, device, 8).endswith(
        "Esperava por outras leituras quando alguém decidiu sobre a de 02/03/2026 11:15:00."
    )


def test_an_ordinary_reading_that_was_discarded_is_told_so(root: Client) -> None:
    device = meter(JUMP)
    root.post(url("revisaoleitura", "add") + f"?dispositivo={device.pk}", {
        "leitura_em_0": "02/03/2026", "leitura_em_1": "09:15:00", "decisao": "DESCARTADA", "motivo": "teste",
    })  # fmt: skip
    drain()
    assert why(root, device, 1) == "As regras não veem nada de incomum nesta leitura."
    assert counts(root, device, 1) == "Foi descartada: fica fora de tudo."


def test_the_page_is_english_where_its_reader_is(root: Client) -> None:
    shown = plain(page(root, row(meter(SPIKE), 3), HTTP_ACCEPT_LANGUAGE="en").content.decode())
    assert (
        "The register rose from 1,020 kWh to 9,000 kWh; 15 min later it was back at 1,030 kWh; the 9,000 "
        "does not count." in shown
    )
    assert "Nothing of this reading: its neighbours count as if it had not come." in shown


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
