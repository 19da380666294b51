"""Numbers, dates and ages on the server; the browser answers the same vectors."""

import json
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import translation

from tds_new import formats
from tds_new.web.dashboard.words import percent

VECTORS = json.loads((Path(__file__).parent / "web" / "format_vectors.json").read_text(encoding="utf-8"))
ZONE = ZoneInfo(VECTORS["zone"])
NOW = datetime.fromisoformat(VECTORS["now"])


def cases(name: str) -> list[tuple[Any, ...]]:
    return [
        (language, *vector[:-2], vector[-2 + i])
        for vector in VECTORS[name]
        for i, language in enumerate(("pt-br", "en"))
    ]


@pytest.mark.parametrize(("language", "amount", "unidade", "text"), cases("value"))
def test_values(language: str, amount: str | None, unidade: str, text: str) -> None:
    with translation.override(language):
        assert formats.value(None if amount is None else Decimal(amount), unidade) == text


@pytest.mark.parametrize(("language", "amount", "unidade", "text"), cases("with_unit"))
def test_values_with_their_unit(language: str, amount: str | None, unidade: str, text: str) -> None:
    with translation.override(language):
        assert formats.with_unit(None if amount is None else Decimal(amount), unidade) == text


@pytest.mark.parametrize(("language", "seconds", "text"), cases("duration"))
def test_durations(language: str, seconds: int, text: str) -> None:
    with translation.override(language):
        assert formats.duration(timedelta(seconds=seconds)) == text


@pytest.mark.parametrize(("language", "seconds", "text"), cases("age"))
def test_ages(language: str, seconds: int, text: str) -> None:
    with translation.override(language):
        assert formats.age(NOW - timedelta(seconds=seconds), NOW, ZONE) == text


@pytest.mark.parametrize(("language", "moment", "text"), cases("date_time"))
def test_dates_with_time(language: str, moment: str, text: str) -> None:
    with translation.override(language):
        assert formats.date_time(datetime.fromisoformat(moment), ZONE) == text


@pytest.mark.parametrize(("language", "moment", "text"), cases("day_month"))
def test_days(language: str, moment: str, text: str) -> None:
    with translation.override(language):
        assert formats.day_month(datetime.fromisoformat(moment).astimezone(ZONE).date()) == text


@pytest.mark.parametrize(
    ("first_day", "last_day", "portuguese", "english"),
    [
        ("2026-02-01", "2026-02-18", "1 a 18/02", "Feb 1 to 18"),
        ("2026-02-01", "2026-02-01", "01/02", "Feb 1"),
        ("2026-01-28", "2026-02-03", "28/01 a 03/02", "Jan 28 to Feb 3"),
    ],
)
def test_stretches_of_days(first_day: str, last_day: str, portuguese: str, english: str) -> None:
    for language, text in (("pt-br", portuguese), ("en", english)):
        with translation.override(language):
            assert formats.day_range(date.fromisoformat(first_day), date.fromisoformat(last_day)) == text


@pytest.mark.parametrize(
    ("share", "text"),
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
    share: str, text: str
) -> None:
    with translation.override("pt-br"):
        assert percent(Decimal(share)) == text


def test_months_are_not_taken_for_days() -> None:
    for language, text in (("pt-br", "nov/26"), ("en", "Nov 2026")):
        with translation.override(language):
            assert formats.month_year(date(2026, 11, 1)) == text


@pytest.mark.parametrize(
    ("value", "text"), [("12345.6700", "12.345,67"), ("100", "100"), ("0.0000", "0"), ("-3.5", "−3,5")]
)
def test_a_register_shows_every_digit_that_the_meter_sent(value: str, text: str) -> None:
    with translation.override("pt-br"):
        assert formats.register(Decimal(value)) == text


def test_a_block_has_one_unit_chosen_by_its_greatest_value() -> None:
    assert formats.scale("kWh", Decimal("99999.9")) == ("kWh", 1)
    assert formats.scale("kWh", Decimal(100_000)) == ("MWh", 1000)
    assert formats.scale("m³", Decimal(10_000_000)) == ("m³", 1)


@pytest.mark.parametrize(("unidade", "rate"), [("kWh", "kW"), ("m³", "m³/h"), ("L", "L/h"), ("MWh", "MW")])
def test_the_unit_of_a_rate(unidade: str, rate: str) -> None:
    assert formats.rate(unidade) == rate
