"""Bugs that random histories found in the ledger, each as a minimal case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from django.db import transaction
from psycopg import Cursor

from tds_new.metering import ledger, worker
from tds_new.metering.inputs import Span
from tds_new.models import ConsumoParticao
from tds_new.storage import session
from tests.metering import delivery
from tests.metering.delivery import Case
from tests.metering.histories import Step
from tests.metering.model import EPOCH, Change, Decision, Parameters, Reading

pytestmark = pytest.mark.django_db(transaction=True)

START = datetime(2026, 3, 2, 10, tzinfo=UTC)


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def readings(*points: tuple[float, Any]) -> list[Step]:
    return [
        Step("readings", at(minute), Reading(at(minute), Decimal(str(value)))) for minute, value in points
    ]


def test_an_approved_reading_follows_one_that_waits_whatever_the_maximum() -> None:
    one = Case(
        "approved",
        [
            [
                Step("own", START, Parameters(pmax=Decimal(60))),
                Step(
                    "changes", at(5), Change(Decimal(90), Decimal(0))
                ),  # less than the register had shown: nothing is accepted
                Step("decisions", at(20), Decision("APROVADA")),
                *readings((0, 100), (10, 20), (20, 170), (21, 170), (22, 170)),
            ]
        ],
    )
    delivery.install([one])
    delivery.deliver([one])
    assert delivery.differences([one]) == []


def test_a_range_whose_turn_comes_later_still_finds_what_it_changes() -> None:
    """At 11:30 there was a dip; a late reading makes it an ordinary step.

    Another range's computation sees both before.
    """
    one = Case(
        "later",
        [[Step("own", START, Parameters(eps=Decimal("0.5"))), *readings((0, 100), (90, "99.8"), (140, 110))]],
    )
    delivery.install([one])
    delivery.deliver([one])
    delivery.store([(one, readings((60, 99), (145, 111)))])
    partition = one.device % ConsumoParticao.PARTICOES
    times = [(at(minute) - EPOCH) // timedelta(microseconds=1) for minute in (145, 60)]
    last, first = (Span(one.device, time, time) for time in times)
    with transaction.atomic(), Cursor(session.of_django()) as cursor:
        ledger.compute(cursor, partition, [last], {one.device: [first]})
    with transaction.atomic(), Cursor(session.of_django()) as cursor:
        ledger.compute(cursor, partition, [first])
    assert delivery.differences([one]) == []


def test_a_long_range_is_computed_where_there_are_readings(monkeypatch: pytest.MonkeyPatch) -> None:
    """A silent device whose first readings are old took a transaction for each 120 days since."""
    year = 60 * 24 * 365
    later = [
        Step("readings", s.at, replace(s.value, unidade="MWh"))
        for s in readings((-39 * year, 5), (-39 * year + 5, 7))
    ]
    one = Case("old", [readings((-40 * year, 1), (-40 * year + 5, 2)) + later])
    delivery.install([one])
    delivery.deliver([one])
    computed, compute = [], ledger.compute

    def count(cursor: Any, partition: int, ranges: Any, later: Any) -> Any:
        computed.append(list(ranges))
        return compute(cursor, partition, computed[-1], later)

    monkeypatch.setattr(ledger, "compute", count)
    delivery.store([(one, [Step("own", START, Parameters(factor=Decimal(2)))])])
    worker.drain()
    assert 2 <= len(computed) <= 4
    assert delivery.differences([one]) == []
