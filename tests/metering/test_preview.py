"""The preview of a decision equals the ledger's later result."""

from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest

from tds_new.metering import ledger
from tds_new.metering.preview import Measured, Point, Preview, Question, preview
from tds_new.metering.rules.meter import Meter, Parameters
from tds_new.metering.rules.segments import APPROVABLE, Register
from tds_new.metering.worker import drain
from tds_new.models import OcorrenciaMedicao, RevisaoLeitura
from tests.metering import delivery
from tests.metering.histories import NOW
from tests.metering.model import EPOCH

SEEDS = range(1, 31)
pytestmark = pytest.mark.once


@pytest.fixture(autouse=True)
def present(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger, "now_us", lambda: (NOW - EPOCH) // timedelta(microseconds=1))


def occurrences() -> list[OcorrenciaMedicao]:
    """Return all occurrences of some histories."""
    cases = [delivery.case(seed) for seed in SEEDS]
    delivery.install(cases)
    delivery.deliver(cases)
    return list(OcorrenciaMedicao.objects.order_by("dispositivo_id", "leitura_em"))


def previews(rows: list[OcorrenciaMedicao]) -> list[Preview]:
    return preview(
        [
            Question(row.dispositivo_id, Point(row.inicio, row.valor_base), Point(row.leitura_em, row.valor))
            for row in rows
        ]
    )


def told(row: OcorrenciaMedicao) -> Measured | None:
    """Return a stored occurrence in the form of a preview."""
    if row.classe in APPROVABLE:
        return None
    return Measured(row.classe, row.consumo or Decimal(0))  # type: ignore[arg-type]


@pytest.mark.django_db(transaction=True)
def test_the_preview_says_what_the_ledger_does() -> None:
    """The preview equals the stored result, and that of an approval the result stored after one."""
    found = occurrences()
    assert {row.classe for row in found} == set(OcorrenciaMedicao.Classe.values)
    assert [p.now for p in previews(found)] == [told(row) for row in found]
    first: dict[int, OcorrenciaMedicao] = {}
    for row in found:
        if row.classe in APPROVABLE:
            first.setdefault(row.dispositivo_id, row)
    said = previews(list(first.values()))
    assert len(said) > 10
    RevisaoLeitura.objects.bulk_create(
        [
            RevisaoLeitura(dispositivo_id=row.dispositivo_id, leitura_em=row.leitura_em, decisao="APROVADA")
            for row in first.values()
        ]
    )
    drain()
    for row, expected in zip(first.values(), said, strict=True):
        now: Any = OcorrenciaMedicao.objects.filter(
            dispositivo=row.dispositivo_id, leitura_em=row.leitura_em
        ).first()
        if now is None:
            assert expected.if_approved is not None
            assert expected.if_approved.kind == "NORMAL"
        else:
            assert told(now) == expected.if_approved


def test_the_limit_is_the_most_that_is_accepted() -> None:
    random = Random(1)
    for _ in range(1000):
        parameters = Parameters(hourly_maximum=random.choice([0, 1, random.randrange(10**8)]))
        elapsed = random.randrange(1, 10**11)
        limit, register = parameters.limit(elapsed), Register(Meter(base=parameters))
        assert limit is not None
        assert register.continues((0, 0), (elapsed, limit)) == ("NORMAL", limit)
        assert register.continues((0, 0), (elapsed, limit + 1)) is None
