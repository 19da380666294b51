"""The month's consumption: the contract's figures, by the platform's calendar, the same on both databases."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest
from django.db import connection

from tds_new.ingestion import database
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.models import ConsumoMensal, Dispositivo, LeituraDispositivo
from tests.ingestion import TOPIC, World, execute, message, payload, stored

SAO_PAULO = ZoneInfo("America/Sao_Paulo")
MONTH = datetime(2026, 5, 1, tzinfo=SAO_PAULO)

Consumption = Callable[..., tuple[Decimal | None, Decimal | None, int] | None]


def local(day: int, hour: int = 12, minute: int = 0, month: int = 5) -> datetime:
    return datetime(2026, month, day, hour, minute, tzinfo=SAO_PAULO)


def store(processor: TelemetryProcessor, codigo: str, *readings: tuple[datetime, str]) -> None:
    """Store readings of a device through the processor."""
    entries = [{"dispositivo_codigo": codigo, "valor": valor, "timestamp": time.isoformat()} for time, valor in readings]
    assert processor.process([message(payload(*entries), TOPIC)]).stored == len(readings)


def refresh() -> None:
    execute("CALL refresh_continuous_aggregate('tds_new_consumo_mensal', NULL, NULL)")


@pytest.fixture(params=["as it is", pytest.param("refreshed", marks=pytest.mark.timescale)])
def consumption(request: pytest.FixtureRequest, transactional_db: None) -> Iterator[Consumption]:
    """Asks for a device's total, daily mean and count of readings in a month.

    On TimescaleDB each test runs on the readings alone and, again, with what it asks for materialised.
    """
    materialised = request.param == "refreshed"

    def ask(device: Dispositivo, month: datetime = MONTH) -> tuple[Decimal | None, Decimal | None, int] | None:
        if materialised:
            refresh()
        found = ConsumoMensal.objects.filter(dispositivo=device, mes_referencia=month).first()
        return found and (found.total_consumo, found.media_diaria, found.leituras_count)

    yield ask
    if materialised:  # what was materialised would outlive the readings, and hide later tests' from the unrefreshed view
        execute("TRUNCATE tds_new_leitura_dispositivo")
        refresh()
        execute("UPDATE _timescaledb_catalog.continuous_aggs_watermark SET watermark = -210866803200000000")


def test_the_contracts_figures(world: World, processor: TelemetryProcessor, consumption: Consumption) -> None:
    Dispositivo.objects.update(tipo_leitura="INCREMENTAL")
    for device, valor in (("D01", "123.45"), ("D02", "67.89"), ("D03", "22.5")):
        store(processor, device, *[(local(day), valor) for day in (3, 7, 12, 20, 31)])
    assert consumption(world.d01) == (Decimal("617.250"), Decimal("123.450"), 5)
    assert consumption(world.d02) == (Decimal("339.450"), Decimal("67.890"), 5)
    assert consumption(world.d03) == (Decimal("112.500"), Decimal("22.500"), 5)


def test_a_month_begins_and_ends_at_local_midnight(world: World, processor: TelemetryProcessor, consumption: Consumption) -> None:
    store(processor, "D01", (local(30, 23, 59, month=4), "1"), (local(1, 0), "10"), (local(31, 22), "100"), (local(1, 0, month=6), "1000"))
    assert consumption(world.d01) == (Decimal(110), Decimal(55), 2)  # 22:00 on the 31st is the 1st in UTC
    assert consumption(world.d01, datetime(2026, 4, 1, tzinfo=SAO_PAULO)) == (Decimal(1), Decimal(1), 1)
    assert consumption(world.d01, datetime(2026, 6, 1, tzinfo=SAO_PAULO)) == (Decimal(1000), Decimal(1000), 1)


def test_the_daily_mean_is_over_local_days_with_readings(world: World, processor: TelemetryProcessor, consumption: Consumption) -> None:
    store(processor, "D01", *[(local(3, hour), "1") for hour in (0, 12, 21, 23)], (local(9), "6"))
    assert consumption(world.d01) == (Decimal(10), Decimal(5), 5)


def test_a_register_counts_from_first_to_last_reading(world: World, processor: TelemetryProcessor, consumption: Consumption) -> None:
    store(processor, "D02", (local(20), "1050.5"), (local(3), "1000"), (local(12), "1020"))
    assert consumption(world.d02) == (Decimal("50.5"), Decimal("16.8333"), 3)


def test_a_gauge_has_no_consumption(world: World, processor: TelemetryProcessor, consumption: Consumption) -> None:
    store(processor, "D03", (local(3), "-5"), (local(4), "30"))
    assert consumption(world.d03) == (None, None, 2)


def test_late_and_corrected_data_is_in_the_figures(world: World, processor: TelemetryProcessor, consumption: Consumption) -> None:
    store(processor, "D01", (local(3), "1"))
    assert consumption(world.d01) == (Decimal(1), Decimal(1), 1)
    store(processor, "D01", (local(2), "2"))
    assert consumption(world.d01) == (Decimal(3), Decimal("1.5"), 2)


# --- the hypertable -----------------------------------------------------------------------------------------------------------


def scalar(statement: str, *parameters: object) -> object:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
    return row[0] if row else None


@pytest.mark.timescale
@pytest.mark.django_db
def test_the_hypertable_has_weeks_compression_after_45_days_and_a_refresh_that_looks_at_everything() -> None:
    assert scalar(
        "SELECT time_interval FROM timescaledb_information.dimensions WHERE hypertable_name = 'tds_new_leitura_dispositivo'"
    ) == timedelta(days=7)
    jobs = "SELECT config ->> %s FROM timescaledb_information.jobs WHERE proc_name = %s"
    assert scalar(jobs, "compress_after", "policy_compression") == "45 days"
    assert scalar(jobs, "start_offset", "policy_refresh_continuous_aggregate") is None
    assert scalar(jobs, "end_offset", "policy_refresh_continuous_aggregate") == "1 day"
    segment = "SELECT attname FROM timescaledb_information.compression_settings WHERE segmentby_column_index = 1 AND hypertable_name = %s"
    assert scalar(segment, "tds_new_leitura_dispositivo") == "dispositivo_id"


@pytest.mark.timescale
def test_late_readings_are_stored_in_compressed_chunks_however_much_must_be_unpacked(world: World) -> None:
    # 60,000 rows a device, which are 60 segments; TimescaleDB would by default refuse to unpack more than 100,000 rows.
    start = datetime(2026, 5, 4, 0, 0, 0, 500_000, tzinfo=UTC)
    execute(
        """
        INSERT INTO tds_new_leitura_dispositivo ("time", conta_id, gateway_id, dispositivo_id, valor, unidade, tipo_leitura)
        SELECT %s::timestamptz + n * INTERVAL '5 seconds', %s, %s, d.id, n, d.unidade, d.tipo_leitura
        FROM tds_new_dispositivo d, generate_series(0, 59999) n""",
        start, world.conta.id, world.gateway.id,
    )  # fmt: skip
    execute("SELECT compress_chunk(c) FROM show_chunks('tds_new_leitura_dispositivo') c")
    late = [(start + timedelta(seconds=5 * n + 1)).isoformat() for n in range(0, 60_000, 600)]
    with database.connect("test") as session:
        processor = TelemetryProcessor(session)
        entries = [{"dispositivo_codigo": code, "valor": 1, "timestamp": time} for code in ("D01", "D02", "D03") for time in late]
        again = {"dispositivo_codigo": "D01", "valor": 600, "timestamp": (start + timedelta(seconds=3000)).isoformat()}
        result = processor.process([message(payload(*entries, again), TOPIC)])
    assert (result.stored, result.duplicates, result.conflicts) == (300, 1, 0)
    assert LeituraDispositivo.objects.filter(payload_raw__isnull=False).count() == 300
    assert len(stored()) == 180_300
