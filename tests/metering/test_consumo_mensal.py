"""The month's consumption: the contract's figures, by the platform's calendar, the same on both databases."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import ROUND_HALF_EVEN, Decimal
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.models import Sum

from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.metering.worker import drain
from tds_new.models import (
    ConsumoBloco,
    ConsumoDiario,
    ConsumoHorario,
    ConsumoMensal,
    Dispositivo,
    LeituraDispositivo,
)
from tds_new.storage.rollups import ROLLUPS
from tds_new.storage.session import connect
from tests.support.ingestion import TOPIC, World, execute, message, payload, stored

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
MONTH = datetime(2026, 5, 1, tzinfo=SAO_PAULO)

Consumption = Callable[..., tuple[Decimal | None, Decimal | None, int] | None]


def local(day: int, hour: int = 12, minute: int = 0, month: int = 5) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=SAO_PAULO)


def store(processor: TelemetryProcessor, codigo: str, *readings: tuple[datetime, str]) -> None:
    """Store readings of a device through the processor and compute their consumption."""
    entries = [
        {"dispositivo_codigo": codigo, "valor": valor, "timestamp": time.isoformat()}
        for time, valor in readings
    ]
    assert processor.process([message(payload(*entries), TOPIC)]).stored == len(readings)
    drain()


def refresh() -> None:
    for rollup in ROLLUPS:
        execute(f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, NULL)")


@pytest.fixture(params=["as it is", pytest.param("refreshed", marks=pytest.mark.timescale)])
def consumption(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Consumption]:
    """Asks for a device's total, daily mean and count of readings in a month.

    On TimescaleDB each test runs on the blocks alone and, again, with what it asks for materialised.
    """
    materialised = request.param == "refreshed"

    def ask(
        device: Dispositivo, month: datetime = MONTH
    ) -> tuple[Decimal | None, Decimal | None, int] | None:
        if materialised:
            refresh()
        found = ConsumoMensal.objects.filter(dispositivo=device, mes_referencia=month).first()
        return found and (found.total_consumo, found.media_diaria, found.leituras_count)

    yield ask
    if (
        materialised
    ):  # what was materialised would outlive the blocks, and hide later tests' from the unrefreshed view
        execute("TRUNCATE tds_new_consumo_15min")
        refresh()
        execute("UPDATE _timescaledb_catalog.continuous_aggs_watermark SET watermark = -210866803200000000")


def test_the_contracts_figures(world: World, processor: TelemetryProcessor, consumption: Consumption) -> None:
    Dispositivo.objects.update(tipo_leitura="INCREMENTAL")
    for device, valor in (("D01", "123.45"), ("D02", "67.89"), ("D03", "22.5")):
        store(processor, device, *[(local(day), valor) for day in (3, 7, 12, 20, 31)])
    assert consumption(world.d01) == (Decimal("617.250"), Decimal("123.450"), 5)
    assert consumption(world.d02) == (Decimal("339.450"), Decimal("67.890"), 5)
    assert consumption(world.d03) == (Decimal("112.500"), Decimal("22.500"), 5)


@pytest.mark.parametrize(
    ("carimbo", "april", "may", "june"),
    [("INICIO", (1, 1), (110, 55), (1000, 1000)), ("FIM", (11, 11), (1100, 550), (0, 0))],
)
def test_a_month_begins_and_ends_at_local_midnight(
    world: World,
    processor: TelemetryProcessor,
    consumption: Consumption,
    carimbo: str,
    april: tuple[int, int],
    may: tuple[int, int],
    june: tuple[int, int],
) -> None:
    Dispositivo.objects.update(carimbo=carimbo)
    store(
        processor,
        "D01",
        (local(30, 23, 59, month=4), "1"),
        (local(1, 0), "10"),
        (local(31, 22), "100"),
        (local(1, 0, month=6), "1000"),
    )
    assert consumption(world.d01) == (*may, 2)  # 22:00 on the 31st is the 1st in UTC
    assert consumption(world.d01, datetime(2026, 4, 1, tzinfo=SAO_PAULO)) == (*april, 1)
    assert consumption(world.d01, datetime(2026, 6, 1, tzinfo=SAO_PAULO)) == (*june, 1)


def test_the_last_evening_of_january_counts_in_january(
    world: World, processor: TelemetryProcessor, consumption: Consumption
) -> None:
    january, february = (datetime(2026, month, 1, tzinfo=SAO_PAULO) for month in (1, 2))
    Dispositivo.objects.filter(pk=world.d01.pk).update(carimbo="INICIO")
    store(processor, "D01", (local(31, 22, month=1), "7"), (local(1, 0, month=2), "20"))
    store(
        processor, "D02", (local(31, 22, month=1), "500"), (local(1, 2, month=2), "504.4")
    )  # half of it before midnight
    assert consumption(world.d01, january) == (Decimal(7), Decimal(7), 1)
    assert consumption(world.d01, february) == (Decimal(20), Decimal(20), 1)
    assert consumption(world.d02, january) == (Decimal("2.2"), Decimal("2.2"), 1)
    assert consumption(world.d02, february) == (Decimal("2.2"), Decimal("2.2"), 1)


def test_hours_days_and_months_are_sums_of_blocks_to_the_last_decimal(
    world: World, processor: TelemetryProcessor, consumption: Consumption
) -> None:
    factor = Decimal("0.333333")
    Dispositivo.objects.filter(codigo="D02").update(fator_conversao=factor)
    register = [Decimal(n * n) * Decimal("0.0007") + 100 for n in range(60)]
    start = local(29, 23, 7, month=4)
    store(
        processor,
        "D02",
        *[(start + n * timedelta(minutes=77), str(valor)) for n, valor in enumerate(register)],
    )
    millionth = Decimal("0.000001")
    parts = [
        ((after - before) * factor).quantize(millionth, ROUND_HALF_EVEN)
        for before, after in pairwise(register)
    ]

    april, may = consumption(world.d02, local(1, 0, month=4)), consumption(world.d02)

    def blocks(**within: datetime) -> object:
        return ConsumoBloco.objects.filter(dispositivo=world.d02, **within).aggregate(
            consumo=Sum("consumo"), leituras=Sum("leituras")
        )

    assert april is not None
    assert may is not None
    assert blocks(bloco__lt=MONTH) == {"consumo": april[0], "leituras": april[2]}
    assert blocks(bloco__gte=MONTH) == {"consumo": may[0], "leituras": may[2]}
    assert blocks() == {"consumo": sum(parts), "leituras": 60}
    for sums in (ConsumoHorario, ConsumoDiario):
        assert (
            sums.objects.filter(dispositivo=world.d02).aggregate(
                consumo=Sum("consumo"), leituras=Sum("leituras")
            )
            == blocks()
        )
    days = ConsumoDiario.objects.filter(dispositivo=world.d02).order_by("dia").values_list("dia", flat=True)
    assert list(days) == [local(29, 0, month=4), local(30, 0, month=4), local(1, 0), local(2, 0), local(3, 0)]


def test_the_daily_mean_is_over_local_days_with_readings(
    world: World, processor: TelemetryProcessor, consumption: Consumption
) -> None:
    store(processor, "D01", *[(local(3, hour), "1") for hour in (0, 12, 21, 23)], (local(9), "6"))
    assert consumption(world.d01) == (Decimal(10), Decimal(5), 5)


def test_a_register_counts_every_step_between_its_readings(
    world: World, processor: TelemetryProcessor, consumption: Consumption
) -> None:
    store(processor, "D02", (local(20), "1050.5"), (local(3), "1000"), (local(12), "1020"))
    assert consumption(world.d02) == (Decimal("50.5"), Decimal("16.8333"), 3)
    store(
        processor, "D02", (local(30), "1060.5"), (local(10, month=6), "1081.62")
    )  # 0.02 a block, and 144 blocks before midnight
    assert consumption(world.d02) == (Decimal("63.38"), Decimal("15.8450"), 4)
    assert consumption(world.d02, datetime(2026, 6, 1, tzinfo=SAO_PAULO)) == (
        Decimal("18.24"),
        Decimal("18.24"),
        1,
    )


def test_a_register_that_starts_again_counts_what_it_shows_since(
    world: World, processor: TelemetryProcessor, consumption: Consumption
) -> None:
    values = ("1000", "1010", "2.5", "4", "5", "6")
    store(processor, "D02", *((local(3 + n), value) for n, value in enumerate(values)))
    assert consumption(world.d02) == (Decimal(16), Decimal("2.6667"), 6)


def test_a_gauge_has_no_consumption(
    world: World, processor: TelemetryProcessor, consumption: Consumption
) -> None:
    store(processor, "D03", (local(3), "-5"), (local(4), "30"))
    assert consumption(world.d03) == (None, None, 2)


def test_late_and_corrected_data_is_in_the_figures(
    world: World, processor: TelemetryProcessor, consumption: Consumption
) -> None:
    store(processor, "D01", (local(3), "1"))
    assert consumption(world.d01) == (Decimal(1), Decimal(1), 1)
    store(processor, "D01", (local(2), "2"))
    assert consumption(world.d01) == (Decimal(3), Decimal("1.5"), 2)


# --- the hypertable


def rows(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


@pytest.mark.timescale
@pytest.mark.django_db
def test_chunks_of_readings_and_blocks_and_their_compression_by_device() -> None:
    chunks = (
        "SELECT hypertable_name, time_interval FROM timescaledb_information.dimensions "
        "WHERE hypertable_name = ANY(%s) ORDER BY 2"
    )
    readings, blocks = "tds_new_leitura_dispositivo", "tds_new_consumo_15min"
    assert rows(chunks, [readings, blocks]) == [(readings, timedelta(days=7)), (blocks, timedelta(days=14))]
    compressed = """
        SELECT hypertable_name, config ->> 'compress_after' FROM timescaledb_information.jobs
        WHERE proc_name = 'policy_compression' AND hypertable_name = ANY(%s) ORDER BY 1"""
    assert rows(compressed, [readings, blocks]) == [(blocks, "45 days"), (readings, "45 days")]
    segment = """
        SELECT attname FROM timescaledb_information.compression_settings
        WHERE segmentby_column_index IS NOT NULL AND hypertable_name = %s ORDER BY segmentby_column_index"""
    assert rows(segment, readings) == [
        ("dispositivo_id",),
        ("conta_id",),
        ("gateway_id",),
        ("unidade",),
        ("tipo_leitura",),
    ]
    assert rows(segment, blocks) == [("dispositivo_id",), ("conta_id",)]


@pytest.mark.timescale
@pytest.mark.django_db
def test_the_sums_are_refreshed_however_old_their_new_data_is() -> None:
    refreshes = """
        SELECT c.view_name, j.config ->> 'start_offset', (j.config ->> 'end_offset')::interval
        FROM timescaledb_information.jobs j JOIN timescaledb_information.continuous_aggregates c
            ON j.hypertable_name IN (c.materialization_hypertable_name, c.view_name)
        WHERE j.proc_name = 'policy_refresh_continuous_aggregate'"""
    ends = {
        "tds_new_consumo_horario": timedelta(hours=1),
        "tds_new_consumo_diario": timedelta(days=1),
        "tds_new_consumo_mensal": timedelta(days=1),
        "tds_new_consumo_parte_do_dia": timedelta(days=1),
        "tds_new_consumo_conta_horario": timedelta(hours=1),
        "tds_new_consumo_conta_diario": timedelta(days=1),
    }
    assert sorted(rows(refreshes)) == sorted((name, None, end) for name, end in ends.items())
    assert (
        rows("SELECT view_name FROM timescaledb_information.continuous_aggregates WHERE materialized_only")
        == []
    )


@pytest.mark.timescale
def test_late_readings_are_stored_in_compressed_chunks_however_much_must_be_unpacked(world: World) -> None:
    # 60,000 rows a device, which are 60 segments; TimescaleDB would by default refuse to unpack more than
    # 100,000 rows.
    start = datetime(2026, 5, 4, 0, 0, 0, 500_000, tzinfo=UTC)
    execute(
        """
        INSERT INTO tds_new_leitura_dispositivo ("time", conta_id, gateway_id, dispositivo_id, valor, unidade,
            tipo_leitura)
        SELECT %s::timestamptz + n * INTERVAL '5 seconds', %s, %s, d.id, n, d.unidade, d.tipo_leitura
        FROM tds_new_dispositivo d, generate_series(0, 59999) n""",
        start, world.conta.id, world.gateway.id,
    )  # fmt: skip
    execute("SELECT compress_chunk(c) FROM show_chunks('tds_new_leitura_dispositivo') c")
    late = [(start + timedelta(seconds=5 * n + 1)).isoformat() for n in range(0, 60_000, 600)]
    with connect("test") as session:
        processor = TelemetryProcessor(session)
        entries = [
            {"dispositivo_codigo": code, "valor": 1, "timestamp": time}
            for code in ("D01", "D02", "D03")
            for time in late
        ]
        again = {
            "dispositivo_codigo": "D01",
            "valor": 600,
            "timestamp": (start + timedelta(seconds=3000)).isoformat(),
        }
        result = processor.process([message(payload(*entries, again), TOPIC)])
    assert (result.stored, result.duplicates, result.conflicts) == (300, 1, 0)
    assert LeituraDispositivo.objects.filter(payload_raw__isnull=False).count() == 300
    assert len(stored()) == 180_300
