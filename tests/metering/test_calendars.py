"""Hours, days and months are the blocks' exact sums, in every zone of Brazil.

Also on the days when clocks changed, and with late data.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_UP, Decimal
from random import Random
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import DateTimeField, ExpressionWrapper, F
from django.db.models.functions import Mod
from pytest_django.fixtures import Settings

from tds_new.models import (
    ConsumoBloco,
    ConsumoContaDiario,
    ConsumoContaHorario,
    ConsumoDiario,
    ConsumoHorario,
    ConsumoMensal,
    ConsumoParteDoDia,
    Dispositivo,
)
from tds_new.storage import rollups
from tests.metering import delivery
from tests.metering.delivery import Case
from tests.metering.histories import Step, history
from tests.metering.model import Reading
from tests.support import factories
from tests.support.ingestion import execute

pytestmark = pytest.mark.django_db(transaction=True)

ZONES = ["America/Sao_Paulo", "America/Manaus", "America/Rio_Branco", "America/Noronha"]
HISTORIES = 30
BETWEEN = datetime(2020, 1, 1, tzinfo=UTC)  # the histories' years lie on both sides

Sums = dict[tuple[int, ...], dict[datetime, tuple[Decimal | None, int]]]


@pytest.fixture(params=ZONES)
def zone(request: pytest.FixtureRequest, settings: Settings, on_timescale: bool) -> Iterator[ZoneInfo]:
    """The platform's zone: days and months are created again for it."""

    def renew(name: str) -> None:
        settings.TDS_TIME_ZONE = name
        rollups.drop(connection)
        rollups.create(connection, timescale=on_timescale)

    before = settings.TDS_TIME_ZONE
    renew(request.param)
    yield ZoneInfo(request.param)
    renew(before)


def refresh(on_timescale: bool, until: datetime | None = None) -> None:
    """Materialise everything, or what is before ``until``."""
    if on_timescale:
        for rollup in rollups.ROLLUPS:
            execute(f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, %s::timestamptz)", until)


def summed(bucket: Callable[[datetime], datetime]) -> Sums:
    """The blocks' consumption and readings by Conta, gateway and device, and by bucket; summed in Python."""
    found: Sums = defaultdict(dict)
    for *key, bloco, consumo, leituras in ConsumoBloco.objects.values_list(
        "conta_id", "gateway_id", "dispositivo_id", "bloco", "consumo", "leituras"
    ):
        buckets, start = found[tuple(key)], bucket(bloco)
        amount, readings = buckets.get(start, (None, 0))
        buckets[start] = (amount if consumo is None else consumo + (amount or 0), readings + leituras)
    return found


def stored(rows: Iterable[tuple[object, ...]]) -> Sums:
    """Rows of Conta, gateway, device, bucket, consumption and readings likewise."""
    found: Sums = defaultdict(dict)
    for conta, gateway, device, start, consumo, leituras in rows:
        found[conta, gateway, device][start] = (consumo, leituras)  # type: ignore[index, assignment]
    return found


def daily_means(zone: ZoneInfo) -> dict[tuple[object, ...], Decimal | None]:
    """Return a month's days with consumption, by Conta, gateway, device and month."""
    totals: dict[tuple[object, ...], Decimal] = defaultdict(Decimal)
    days: dict[tuple[object, ...], set[datetime]] = defaultdict(set)
    for *key, bloco, consumo, leituras in ConsumoBloco.objects.values_list(
        "conta_id", "gateway_id", "dispositivo_id", "bloco", "consumo", "leituras"
    ):
        local = bloco.astimezone(zone)
        month = (*key, datetime(local.year, local.month, 1, tzinfo=zone))
        totals[month] += consumo or 0
        days[month] |= (
            {datetime(local.year, local.month, local.day, tzinfo=zone)}
            if leituras and consumo is not None
            else set()
        )
    places = Decimal("0.0001")
    return {
        month: (total / len(days[month])).quantize(places, ROUND_HALF_UP) if days[month] else None
        for month, total in totals.items()
    }


def part(bloco: datetime) -> datetime:
    """Return the part of the day that a block lies in.

    Of the days of all of Brazil these are the hours from 2, 3 and 4 UTC on, and from 5 on the rest.
    """
    hour = bloco.replace(minute=0)
    return hour if hour.hour in (2, 3, 4) else hour - timedelta(hours=(hour.hour - 5) % 24)


PART = ExpressionWrapper(
    F("dia") + Mod(F("hora_utc") + 19, 24) * timedelta(hours=1), output_field=DateTimeField()
)


def assert_sums_of_contas_are_right(day: Callable[[datetime], datetime]) -> None:
    """Hours and days of Contas, by what their devices measure."""
    blocks = ConsumoBloco.objects.filter(consumo__isnull=False).values_list(
        "conta_id",
        "dispositivo__grandeza",
        "dispositivo__unidade",
        "bloco",
        "consumo",
        "fracao_medida",
        "qualidade",
    )
    for model, column, bucket in (
        (ConsumoContaHorario, "hora", lambda b: b.replace(minute=0)),
        (ConsumoContaDiario, "dia", day),
    ):
        right: dict[tuple[object, ...], list[Decimal | int]] = defaultdict(
            lambda: [Decimal(0), 0, Decimal(0), 0, 0]
        )
        for *whose, bloco, consumo, fracao, qualidade in blocks:
            sums = right[*whose, bucket(bloco)]
            for n, more in enumerate(
                (consumo, 1, fracao, qualidade == "INTERPOLADO", qualidade == "ESTIMADO")
            ):
                sums[n] += more
        columns = ("consumo", "blocos", "blocos_medidos", "blocos_interpolados", "blocos_estimados")
        rows = model.objects.values_list("conta_id", "grandeza", "unidade", column, *columns)  # type: ignore[attr-defined]
        assert {row[:4]: list(row[4:]) for row in rows} == right


def assert_sums_are_right(zone: ZoneInfo) -> None:
    """Hours (UTC), days and months (local) equal the blocks' sums to the last decimal.

    There is no bucket too many and none too few.
    """

    def day(bloco: datetime) -> datetime:
        local = bloco.astimezone(zone)
        return datetime(local.year, local.month, local.day, tzinfo=zone).astimezone(
            UTC
        )  # clocks put forward at midnight: 1:00

    def month(bloco: datetime) -> datetime:
        local = bloco.astimezone(zone)
        return datetime(local.year, local.month, 1, tzinfo=zone).astimezone(UTC)

    key = ("conta_id", "gateway_id", "dispositivo_id")
    assert stored(ConsumoHorario.objects.values_list(*key, "hora", "consumo", "leituras")) == summed(
        lambda bloco: bloco.replace(minute=0)
    )
    assert stored(ConsumoDiario.objects.values_list(*key, "dia", "consumo", "leituras")) == summed(day)
    assert stored(
        ConsumoMensal.objects.values_list(*key, "mes_referencia", "total_consumo", "leituras_count")
    ) == summed(month)
    parts = ConsumoParteDoDia.objects.annotate(inicio=PART).values_list(*key, "inicio", "consumo", "leituras")
    assert stored(parts) == summed(part)
    assert_sums_of_contas_are_right(day)
    means = {
        tuple(row[:4]): row[4]
        for row in ConsumoMensal.objects.values_list(*key, "mes_referencia", "media_diaria")
    }
    assert means == daily_means(zone)


def test_hours_days_and_months_are_sums_of_blocks_whenever_they_are_refreshed(
    zone: ZoneInfo, on_timescale: bool
) -> None:
    cases, late = [], []
    for seed in range(HISTORIES):
        steps = history(Random(seed))
        cases.append(Case(f"seed {seed}", [[s for n, s in enumerate(steps) if n % 3]]))
        late.append(steps[::3])
    delivery.install(cases)
    early = [one for one in cases if min((step.at for step in one.batches[0]), default=BETWEEN) < BETWEEN]
    delivery.deliver(early)
    assert ConsumoBloco.objects.count() > 300
    assert_sums_are_right(zone)  # nothing is materialised
    refresh(on_timescale, BETWEEN)
    assert_sums_are_right(zone)
    delivery.deliver([one for one in cases if one not in early])
    assert_sums_are_right(zone)  # from there on, answered from the blocks
    for one, steps in zip(cases, late, strict=True):
        one.batches = [steps]
    delivery.deliver(cases)
    refresh(on_timescale)
    assert_sums_are_right(zone)
    assert delivery.differences(cases) == []


# --- known days

HOURLY = Decimal("4.4444")  # 1.1111 in each 15 minutes


def register(zone: ZoneInfo, first: str, last: str) -> Dispositivo:
    """A meter that runs steadily from ``first`` to ``last``, both local.

    It is read at both and every 45 minutes between.
    """
    one = Case("steady", [[]])
    start, end = (datetime.fromisoformat(text).replace(tzinfo=zone).astimezone(UTC) for text in (first, last))
    times = [
        start + number * timedelta(minutes=45) for number in range((end - start) // timedelta(minutes=45) + 1)
    ]
    for time in {*times, end}:
        value = HOURLY * ((time - start) // timedelta(minutes=15)) / 4
        one.batches[0].append(Step("readings", time, Reading(time, value)))
    delivery.install([one], factories.conta())
    delivery.deliver([one])
    return Dispositivo.objects.get(pk=one.device)


@pytest.mark.parametrize(
    ("days", "changed", "hours"),
    [
        (
            ["2018-11-02", "2018-11-03", "2018-11-04", "2018-11-05", "2018-11-06"],
            "2018-11-04",
            {"America/Sao_Paulo": 23},
        ),
        (
            ["2019-02-14", "2019-02-15", "2019-02-16", "2019-02-17", "2019-02-18"],
            "2019-02-16",
            {"America/Sao_Paulo": 25},
        ),
        (["2013-11-08", "2013-11-09", "2013-11-10", "2013-11-11"], "2013-11-09", {"America/Rio_Branco": 25}),
    ],
    ids=["São Paulo forward", "São Paulo back", "Rio Branco back"],
)
def test_days_are_as_long_as_their_clocks_made_them(
    zone: ZoneInfo, on_timescale: bool, days: list[str], changed: str, hours: dict[str, int]
) -> None:
    device = register(zone, days[0], days[-1])
    refresh(on_timescale)
    rows = ConsumoDiario.objects.filter(dispositivo=device).values_list("dia", "consumo")
    found = {f"{dia.astimezone(zone):%Y-%m-%d}": consumo for dia, consumo in rows}
    expected = dict.fromkeys(days[:-1], 24 * HOURLY) | {changed: hours.get(zone.key, 24) * HOURLY}
    assert {
        day: consumo for day, consumo in found.items() if consumo
    } == expected  # the last reading's day has a block of nothing
    assert_sums_are_right(zone)


def test_the_last_evening_of_january_is_january(zone: ZoneInfo, on_timescale: bool) -> None:
    device = register(zone, "2026-01-31T22:00", "2026-02-01T03:00")
    refresh(on_timescale)
    months = dict(
        ConsumoMensal.objects.filter(dispositivo=device).values_list("mes_referencia", "total_consumo")
    )
    assert months == {
        datetime(2026, 1, 1, tzinfo=zone): 2 * HOURLY,
        datetime(2026, 2, 1, tzinfo=zone): 3 * HOURLY,
    }
    assert_sums_are_right(zone)
