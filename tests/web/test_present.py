"""Putting a dashboard into words: it reads nothing, in any language."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.http import QueryDict
from django.utils import translation

from tds_new.models import Conta
from tds_new.queries import fleet
from tds_new.web.dashboard.page import page_words
from tds_new.web.dashboard.present import present
from tds_new.web.dashboard.read import Facts, read
from tests.support import factories

pytestmark = pytest.mark.django_db
NOW = datetime(2026, 2, 18, 15, 2, 30, tzinfo=UTC)
MIN = timedelta(minutes=1)


def read_facts(conta: Conta, query: str = "") -> Facts:
    return read(conta, QueryDict(query), fleet.sequences(conta), NOW)


@pytest.fixture
def conta() -> Conta:
    """Energy of two meters, one of them behind a silent gateway, and a temperature."""
    conta = factories.conta()
    for codigo, age in (("GW-1", MIN), ("GW-2", 60 * MIN)):
        gateway = factories.gateway(conta, codigo, seen=NOW - age)
        meter = factories.device(gateway)
        factories.readings(meter, factories.points(NOW - age - 2 * 5 * MIN, 5 * MIN, [1000, 1001, 1002]))
    sensor = factories.device(gateway, "D03", "TEMPERATURA", "°C", "INSTANTANEA")
    factories.readings(sensor, [(NOW - 5 * MIN, -18)])
    return conta


@pytest.mark.parametrize("query", ["", "periodo=7d", "disp=x", "de=2026-02-01&ate=2026-02-02"])
def test_presenting_reads_nothing(conta: Conta, query: str, django_assert_num_queries: Any) -> None:
    facts = read_facts(conta, query)

    with django_assert_num_queries(0):
        payload = present(facts)
        page = page_words(facts.scope)

    assert payload["cards"][0]["id"] == "ENERGIA-kWh"
    assert page["options"][0]["name"] == "D01 (GW-1)"


def test_what_is_read_once_is_presented_in_any_language(conta: Conta) -> None:
    facts = read_facts(conta)

    with translation.override("pt-br"):
        portuguese = present(facts)
    with translation.override("en"):
        english = present(facts)

    assert [card["title"] for card in portuguese["cards"]][-1] == "Última leitura"
    assert [card["title"] for card in english["cards"]][-1] == "Last reading"
    assert english["charts"][0]["series"] != []
    assert english["charts"][0]["series"][0]["points"] == portuguese["charts"][0]["series"][0]["points"]
