"""Numbers, dates and ages on the server; the browser answers the same vectors in tests/browser."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import translation

from tds_new import formats
from tds_new.web.dashboard.consumption import porcento

VETORES = json.loads((Path(__file__).parent / "web" / "format_vectors.json").read_text(encoding="utf-8"))
FUSO = ZoneInfo(VETORES["fuso"])
AGORA = datetime.fromisoformat(VETORES["agora"])


def casos(nome: str) -> list[tuple[Any, ...]]:
    return [
        (idioma, *vetor[:-2], vetor[-2 + i])
        for vetor in VETORES[nome]
        for i, idioma in enumerate(("pt-br", "en"))
    ]


@pytest.mark.parametrize(("idioma", "quantia", "unidade", "texto"), casos("valor"))
def test_values(idioma: str, quantia: str | None, unidade: str, texto: str) -> None:
    with translation.override(idioma):
        assert formats.valor(None if quantia is None else Decimal(quantia), unidade) == texto


@pytest.mark.parametrize(("idioma", "quantia", "unidade", "texto"), casos("com_unidade"))
def test_values_with_their_unit(idioma: str, quantia: str | None, unidade: str, texto: str) -> None:
    with translation.override(idioma):
        assert formats.com_unidade(None if quantia is None else Decimal(quantia), unidade) == texto


@pytest.mark.parametrize(("idioma", "segundos", "texto"), casos("duracao"))
def test_durations(idioma: str, segundos: int, texto: str) -> None:
    with translation.override(idioma):
        assert formats.duracao(timedelta(seconds=segundos)) == texto


@pytest.mark.parametrize(("idioma", "segundos", "texto"), casos("idade"))
def test_ages(idioma: str, segundos: int, texto: str) -> None:
    with translation.override(idioma):
        assert formats.idade(AGORA - timedelta(seconds=segundos), AGORA, FUSO) == texto


@pytest.mark.parametrize(("idioma", "instante", "texto"), casos("data_hora"))
def test_dates_with_time(idioma: str, instante: str, texto: str) -> None:
    with translation.override(idioma):
        assert formats.data_hora(datetime.fromisoformat(instante), FUSO) == texto


@pytest.mark.parametrize(("idioma", "instante", "texto"), casos("dia_mes"))
def test_days(idioma: str, instante: str, texto: str) -> None:
    with translation.override(idioma):
        assert formats.dia_mes(datetime.fromisoformat(instante).astimezone(FUSO).date()) == texto


@pytest.mark.parametrize(
    ("de", "ate", "portugues", "ingles"),
    [
        ("2026-02-01", "2026-02-18", "1 a 18/02", "Feb 1 to 18"),
        ("2026-02-01", "2026-02-01", "01/02", "Feb 1"),
        ("2026-01-28", "2026-02-03", "28/01 a 03/02", "Jan 28 to Feb 3"),
    ],
)
def test_stretches_of_days(de: str, ate: str, portugues: str, ingles: str) -> None:
    for idioma, texto in (("pt-br", portugues), ("en", ingles)):
        with translation.override(idioma):
            assert formats.dias(date.fromisoformat(de), date.fromisoformat(ate)) == texto


@pytest.mark.parametrize(
    ("parte", "texto"),
    [
        ("1", "100%"),
        ("0.99999", "99,9%"),
        ("0.9499", "94,9%"),
        ("0.5", "50%"),
        ("0.001", "0,1%"),
        ("0.0009", "menos de 0,1%"),
        ("0", "0%"),
    ],
)
def test_a_share_is_cut_so_that_only_all_is_a_hundred_percent_and_only_nothing_none(
    parte: str, texto: str
) -> None:
    with translation.override("pt-br"):
        assert porcento(Decimal(parte)) == texto


def test_months_are_not_taken_for_days() -> None:
    for idioma, texto in (("pt-br", "nov/26"), ("en", "Nov 2026")):
        with translation.override(idioma):
            assert formats.mes_ano(date(2026, 11, 1)) == texto


@pytest.mark.parametrize(
    ("valor", "texto"), [("12345.6700", "12.345,67"), ("100", "100"), ("0.0000", "0"), ("-3.5", "−3,5")]
)
def test_a_register_shows_every_digit_that_the_meter_sent(valor: str, texto: str) -> None:
    with translation.override("pt-br"):
        assert formats.registrador(Decimal(valor)) == texto


def test_a_block_has_one_unit_chosen_by_its_greatest_value() -> None:
    assert formats.escala("kWh", Decimal("99999.9")) == ("kWh", 1)
    assert formats.escala("kWh", Decimal(100_000)) == ("MWh", 1000)
    assert formats.escala("m³", Decimal(10_000_000)) == ("m³", 1)


@pytest.mark.parametrize(("unidade", "taxa"), [("kWh", "kW"), ("m³", "m³/h"), ("L", "L/h"), ("MWh", "MW")])
def test_the_unit_of_a_rate(unidade: str, taxa: str) -> None:
    assert formats.taxa(unidade) == taxa
