"""One register with everything in it: 20 kWh an hour for four days, 1,920 kWh.

Its total here, and its totals by rules in use elsewhere.

The register rolls over in a gap that lies over midnight, its meter is changed, it dips once, one message
comes twice and one late. docs/metering.md shows the table that is checked here.
"""

import re
from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby, pairwise
from random import Random
from zoneinfo import ZoneInfo

import pytest

from tds_new.models import ConsumoBloco, ConsumoDiario, ConsumoMensal, OcorrenciaMedicao
from tests.metering import delivery
from tests.metering.delivery import Case
from tests.metering.histories import Step
from tests.metering.model import Change, Parameters, Reading
from tests.support.paths import ROOT

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
START = datetime(2026, 5, 4, tzinfo=SAO_PAULO)
HOURS = 96
TRUTH = Decimal(20) * HOURS
CAPACITY = Decimal(100_000)
DOCUMENT = ROOT / "docs" / "metering.md"

Readings = list[tuple[datetime, Decimal]]


def at(hour: float) -> datetime:
    return START + timedelta(hours=hour)


def register(hour: int) -> Decimal:
    """Return what the meter shows.

    It rolls over after 25 hours, and is changed after 48.5 at 470; the new one begins at 7.
    """
    return (
        (99_500 + Decimal(20) * hour) % CAPACITY if hour <= 48 else 7 + Decimal(20) * (hour - Decimal("48.5"))
    )


def arrival() -> Readings:
    """The readings as they arrive."""
    found = []
    for hour in range(HOURS + 1):
        if hour not in {22, 23, 24, 25, 26, 70}:  # a gap from 21:00 to 3:00; one is late
            found.append((at(hour), register(hour)))
        if hour == 40:
            found.append((at(12), register(12)))  # delivered again
        if hour == 60:
            found.append((at(60.5), register(60) - Decimal("0.1")))  # a dip
    return [*found, (at(70), register(70))]


# --- rules in use


def in_order(received: Readings) -> list[Decimal]:
    return [value for _, value in sorted(set(received))]


def steps(values: list[Decimal]) -> list[Decimal]:
    return [after - before for before, after in pairwise(values)]


def wrapped(values: list[Decimal]) -> list[Decimal]:
    return [step if step >= 0 else step + CAPACITY for step in steps(values)]


def positive(values: list[Decimal]) -> Decimal:
    return sum((step for step in steps(values) if step > 0), Decimal(0))


def by_day(received: Readings, zone: ZoneInfo, rule: Callable[[list[Decimal]], Decimal]) -> Decimal:
    days = groupby(sorted(set(received)), key=lambda reading: reading[0].astimezone(zone).date())
    return sum((rule([value for _, value in day]) for _, day in days), Decimal(0))


RULES: dict[str, Callable[[Readings], Decimal]] = {
    "sum of all values": lambda received: sum((value for _, value in received), Decimal(0)),
    "greatest - least": lambda received: max(in_order(received)) - min(in_order(received)),
    "last - first": lambda received: in_order(received)[-1] - in_order(received)[0],
    "last received - first received": lambda received: received[-1][1] - received[0][1],
    "sum of positive differences": lambda received: positive(in_order(received)),
    "sum of positive differences, as received": lambda received: positive([value for _, value in received]),
    "sum of absolute differences": lambda received: sum(map(abs, steps(in_order(received))), Decimal(0)),
    "a fall is a reset: count the new value": lambda received: sum(
        (after if after < before else after - before for before, after in pairwise(in_order(received))),
        Decimal(0),
    ),
    "a fall is a rollover: add the capacity": lambda received: sum(wrapped(in_order(received)), Decimal(0)),
    "the same, as received": lambda received: sum(wrapped([value for _, value in received]), Decimal(0)),
    "the same in order, each difference at most 30": lambda received: sum(
        (min(s, Decimal(30)) for s in wrapped(in_order(received))), Decimal(0)
    ),
    "greatest - least of each local day": lambda received: by_day(
        received, SAO_PAULO, lambda day: max(day) - min(day)
    ),
    "last - first of each local day": lambda received: by_day(
        received, SAO_PAULO, lambda day: day[-1] - day[0]
    ),
}


def documented() -> dict[str, Decimal]:
    """The table of docs/metering.md."""
    rows = re.findall(
        r"^\| (.+?) \| (-?[\d,.]+) \| [+-][\d,.]+ \|$", DOCUMENT.read_text(encoding="utf-8"), re.MULTILINE
    )
    return {rule: Decimal(kwh.replace(",", "")) for rule, kwh in rows}


@pytest.mark.once
def test_rules_in_use_are_wrong_and_by_what_the_document_says() -> None:
    found = {name: rule(arrival()) for name, rule in RULES.items()}
    assert TRUTH not in found.values()
    for name, kwh in found.items():
        print(f"| {name} | {kwh:,.1f} | {kwh - TRUTH:+,.1f} |")
    assert documented() == found


# --- here


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("seed", [None, 1, 2], ids=["as they arrive", "shuffled", "shuffled again"])
def test_blocks_days_and_month_are_the_truth(seed: int | None) -> None:
    entered = [
        Step("own", START, Parameters(CAPACITY, Decimal(1000), Decimal("0.1"))),
        Step("interval", START, (1, 3600)),
        Step("changes", at(48.5), Change(Decimal(470), Decimal(7))),
    ]
    waiting = entered + [Step("readings", time, Reading(time, value)) for time, value in arrival()]
    if seed is not None:
        Random(seed).shuffle(waiting)
    one = Case("hostile", [waiting[number : number + 7] for number in range(0, len(waiting), 7)])
    delivery.install([one])
    delivery.deliver([one])

    blocks = dict(ConsumoBloco.objects.values_list("bloco", "consumo"))
    dip = {at(60): Decimal(0), at(60.25): Decimal(0), at(60.5): Decimal(10), at(60.75): Decimal(10)}
    assert blocks == {at(n / 4): Decimal(5) for n in range(4 * HOURS)} | {at(HOURS): Decimal(0)} | dip
    assert sum(amount or 0 for amount in blocks.values()) == TRUTH
    days = dict(ConsumoDiario.objects.values_list("dia", "consumo"))
    assert days == {at(24 * day): Decimal(480) for day in range(4)} | {at(HOURS): Decimal(0)}
    assert list(ConsumoMensal.objects.values_list("mes_referencia", "total_consumo")) == [
        (START.replace(day=1), TRUTH)
    ]
    occurrences = OcorrenciaMedicao.objects.order_by("leitura_em").values_list(
        "leitura_em", "classe", "consumo"
    )
    assert list(occurrences) == [(at(27), "VIRADA", 120), (at(49), "TROCA", 20), (at(60.5), "QUEDA", None)]
