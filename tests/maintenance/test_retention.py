"""Retention drops raw readings; every figure stays, and what comes later goes on from there."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from random import Random
from typing import Any

import psycopg
import pytest
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.utils.timezone import now

from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.maintenance import retention, scheduler
from tds_new.metering.worker import drain
from tds_new.models import (
    ConsumoAncora,
    ConsumoBloco,
    ConsumoCongelado,
    Conta,
    Dispositivo,
    LeituraDispositivo,
    ManutencaoExecucao,
    MensagemResto,
    OcorrenciaMedicao,
    VigenciaParametros,
)
from tests.support import factories
from tests.support.ingestion import NOW, TOPIC, World, message, payload, rejected
from tests.support.sums import refresh, rows, totals

DAYS = 60
OLDEST = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0) - timedelta(days=90)
pytestmark = pytest.mark.usefixtures("maintenance_session")
Session = psycopg.Connection[Any]


@pytest.fixture(autouse=True)
def _kept_for_60_days(settings: Any) -> None:
    settings.TDS_RAW_RETENTION_DAYS = DAYS


def apply(*arguments: str) -> str:
    call_command("apply_retention", *arguments, stdout=(said := StringIO()))
    return said.getvalue()


def rebuild() -> str:
    call_command("rebuild_consumption", stdout=(said := StringIO()))
    return said.getvalue()


def figures() -> tuple[list[Any], list[Any]]:
    """Every row of the ledger."""
    blocks = ConsumoBloco.objects.order_by("dispositivo_id", "bloco", "conta_id").values_list()
    return list(blocks), list(
        OcorrenciaMedicao.objects.order_by("dispositivo_id", "leitura_em").values_list()
    )


def stored(device: Dispositivo, *readings: tuple[datetime, Any]) -> None:
    """Store readings and compute everything."""
    insert(device, readings)
    drain()


def insert(device: Dispositivo, readings: Iterable[tuple[datetime, Any]]) -> None:
    of = {name: getattr(device, name) for name in ("conta_id", "gateway_id", "unidade", "tipo_leitura")}
    LeituraDispositivo.objects.bulk_create(
        [LeituraDispositivo(dispositivo=device, time=t, valor=v, **of) for t, v in readings]
    )


def hostile(seed: int, days: int = 60) -> list[tuple[datetime, Decimal]]:
    """A register every few hours that grows, and one time in five does something else."""
    random, value, time, found = Random(seed), Decimal(500), OLDEST, []
    while time < OLDEST + timedelta(days=days):
        value += Decimal(random.randrange(30_000)) / 10_000
        event = random.random()
        if event < 0.04:
            value = Decimal(random.randrange(3))
        elif event < 0.06:
            value += 4000  # stays up there: implausible, accepted after three more
        shown = value + (7000 if event > 0.92 else -1 if event > 0.87 and value > 1 else 0)
        found.append((time, shown))
        time += timedelta(seconds=random.randrange(600, 30_000))
    return found


def test_no_figure_changes_and_a_rebuild_gives_the_same_rows() -> None:
    gateway = factories.gateway(factories.conta())
    devices = [factories.device(gateway, f"D{n:02}") for n in range(20)]
    for n, device in enumerate(devices):
        device.tipo_leitura = ("ACUMULADA", "ACUMULADA", "ACUMULADA", "INCREMENTAL", "INSTANTANEA")[n % 5]
        device.consumo_maximo_hora = Decimal(50) if n % 3 else None
        device.tolerancia_queda = Decimal(n % 2)
        device.valor_maximo_registro = Decimal(10_000) if n % 4 == 0 else None
        device.save()
        insert(device, hostile(n))
    VigenciaParametros.objects.create(
        dispositivo=devices[0], desde=OLDEST + timedelta(days=5), fator_conversao=3
    )
    drain()
    refresh()
    before, sums = figures(), totals()
    assert {o[4] for o in before[1]} >= {"SUSPEITA", "IMPLAUSIVEL", "REINICIO", "QUEDA"}

    said = apply()
    border = ConsumoCongelado.objects.get().ate
    assert said.startswith("[OK] dropped ")
    assert OLDEST + timedelta(days=7) < border <= now() - timedelta(days=DAYS)
    assert not LeituraDispositivo.objects.filter(time__lt=border).exists()
    assert LeituraDispositivo.objects.filter(time__gte=border).exists()
    assert ConsumoAncora.objects.values("dispositivo").distinct().count() == 20
    refresh()
    assert totals() == sums
    assert figures() == before

    assert "done; 0 block rows differed" in rebuild()
    assert figures() == before
    refresh()
    assert totals() == sums
    assert apply() == f"[OK] nothing is older than {DAYS} days\n"


def twins(number: int) -> list[tuple[Dispositivo, Dispositivo]]:
    """Pairs of devices with the same parameters."""
    gateway = factories.gateway(factories.conta())
    pairs = [
        (factories.device(gateway, f"A{n:02}"), factories.device(gateway, f"B{n:02}")) for n in range(number)
    ]
    for n, pair in enumerate(pairs):
        Dispositivo.objects.filter(pk__in=[device.pk for device in pair]).update(
            tipo_leitura=("ACUMULADA", "ACUMULADA", "INCREMENTAL", "INSTANTANEA")[n % 4],
            consumo_maximo_hora=50 if n % 3 else None,
            tolerancia_queda=n % 2,
            valor_maximo_registro=10_000 if n % 5 == 0 else None,
        )
        for device in pair:
            device.refresh_from_db()
    return pairs


def of(device: Dispositivo) -> tuple[list[Any], list[Any]]:
    """Every row of a device, but whose it is."""
    blocks = ConsumoBloco.objects.filter(dispositivo=device).order_by("bloco").values_list()
    occurrences = OcorrenciaMedicao.objects.filter(dispositivo=device).order_by("leitura_em").values_list()
    return [[v for v in row if v != device.pk and not isinstance(v, tuple)] for row in blocks], [
        [v for v in row if v != device.pk and not isinstance(v, tuple)] for row in occurrences
    ]


def test_what_comes_after_the_border_counts_as_if_nothing_had_been_dropped(
    maintenance_session: Session,
) -> None:
    """Devices are silent across the border for weeks or minutes; later readings come in any order."""
    random, pairs, later = Random(7), twins(8), []
    expired_at = OLDEST + timedelta(days=2)
    # One on each day, so that on TimescaleDB there is every chunk up to the border; this device is not
    # compared.
    insert(pairs[0][0], [(OLDEST + timedelta(days=day, microseconds=1), day) for day in range(31)])
    drain()
    expired = retention.find(maintenance_session, DAYS)
    assert expired is not None
    for n, (whole, cut) in enumerate(pairs):
        shift = timedelta(seconds=random.randrange(600_000)) if n % 3 else timedelta(0)
        readings = [(t + shift, v) for t, v in hostile(n, days=75)]
        away = expired.border + timedelta(days=random.choice([0, 0, 1, 20]))
        readings = [
            r
            for r in readings
            if not (expired.border - timedelta(days=n % 8) <= r[0] < away) and r[0] > OLDEST
        ]
        insert(whole, readings)
        insert(cut, [r for r in readings if r[0] < expired.border])
        rest = [r for r in readings if r[0] >= expired.border]
        random.shuffle(rest)
        later.append(rest)
    drain()
    apply()
    assert ConsumoCongelado.objects.get().ate == expired.border > expired_at
    assert not LeituraDispositivo.objects.filter(time__lt=expired.border).exists()
    for part in range(3):
        for (_, cut), rest in zip(pairs, later, strict=True):
            insert(cut, rest[part::3])
        drain()
    for n, (whole, cut) in enumerate(pairs[1:]):
        assert of(cut) == of(whole), n
    assert "done; 0 block rows differed" in rebuild()


def test_no_consumption_is_lost_of_a_device_that_was_silent_across_the_border() -> None:
    device = factories.device(factories.gateway(factories.conta()))
    stored(device, (OLDEST, 100), (OLDEST + timedelta(days=1, minutes=7), 110))
    apply()
    assert LeituraDispositivo.objects.count() == 0
    assert [a.valor for a in ConsumoAncora.objects.order_by("leitura_em")] == [100, 110]
    stored(device, (now() - timedelta(days=DAYS - 3), 170))
    assert sum(b.consumo or 0 for b in ConsumoBloco.objects.all()) == 70
    settings_again = ConsumoAncora.objects.count()
    apply()
    assert ConsumoAncora.objects.count() == settings_again
    assert "done; 0 block rows differed" in rebuild()


def test_a_reading_before_the_border_is_rejected_and_changes_nothing(
    world: World, processor: TelemetryProcessor
) -> None:
    entry = {"dispositivo_codigo": "D01", "valor": 5, "timestamp": OLDEST.isoformat()}
    processor.process([message(payload(entry), TOPIC)])
    drain()
    before = figures()
    apply()
    late = {"dispositivo_codigo": "D01", "valor": 7, "timestamp": (OLDEST + timedelta(minutes=1)).isoformat()}
    present = {"dispositivo_codigo": "D01", "valor": 9, "timestamp": NOW.isoformat()}
    assert processor.process([message(payload(late, present), TOPIC)]).stored == 1
    assert rejected() == [("timestamp_antigo", 0)]
    assert rows(
        "SELECT count(*) FROM tds_new_consumo_pendente WHERE inicio < %s", ConsumoCongelado.objects.get().ate
    ) == [(0,)]
    drain()
    # The next increment begins at the anchor, so the anchor's own block is not final.
    final = [block for block in figures()[0] if block[7] < ConsumoAncora.objects.get().final_ate]
    assert final
    assert final == before[0][: len(final)]
    with pytest.raises(IntegrityError, match="is closed"), transaction.atomic():
        stored(world.d02, (OLDEST, 1))


def test_rests_are_dropped_with_the_newest_reading_that_they_are_of(
    world: World, processor: TelemetryProcessor
) -> None:
    def entry(moment: datetime) -> dict[str, Any]:
        return {"dispositivo_codigo": "D01", "valor": 1, "timestamp": moment.isoformat()}

    recent = now().replace(microsecond=0) - timedelta(days=1)
    messages = {
        "old": [entry(OLDEST)],
        "across": [entry(OLDEST + timedelta(minutes=15)), entry(recent)],
        "new": [entry(recent + timedelta(minutes=15))],
    }
    for name, entries in messages.items():
        processor.process([message(payload(*entries, log=name * 1000), TOPIC)])
    drain()
    assert MensagemResto.objects.count() == 3
    apply()
    assert LeituraDispositivo.objects.count() == 2
    assert {rest.campos["log"][:3] for rest in MensagemResto.objects.all()} == {"acr", "new"}


def test_rests_are_gone_where_the_run_is_killed_before_the_readings(
    maintenance_session: Session, world: World, processor: TelemetryProcessor, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = {"dispositivo_codigo": "D01", "valor": 1, "timestamp": OLDEST.isoformat()}
    processor.process([message(payload(entry, log="x" * 2000), TOPIC)])
    drain()
    monkeypatch.setattr(retention, "DROP_CHUNKS", "SELECT 1 / 0 WHERE %s IS NOT NULL")
    monkeypatch.setattr(retention, "DELETE", "SELECT 1 / 0 WHERE %(device)s IS NOT NULL")
    with pytest.raises(psycopg.errors.DivisionByZero):
        retention.apply(maintenance_session, DAYS)
    monkeypatch.undo()
    assert not MensagemResto.objects.exists()
    retention.apply(maintenance_session, DAYS)
    assert not LeituraDispositivo.objects.exists()


def test_only_said_what_would_be_dropped() -> None:
    device = factories.device(factories.gateway(factories.conta()))
    stored(device, (OLDEST, 100), (now(), 110))
    assert apply("--dry-run").startswith("[OK] would drop 1 ")
    assert LeituraDispositivo.objects.count() == 2
    assert not ConsumoCongelado.objects.exists()


def test_readings_that_the_ledger_has_not_computed_are_kept() -> None:
    device = factories.device(factories.gateway(factories.conta()))
    stored(device, (OLDEST, 100), (now(), 110))
    VigenciaParametros.objects.create(dispositivo=device, desde=OLDEST, fator_conversao=2)
    with pytest.raises(CommandError, match=r"1 ranges before .* wait for process_consumption"):
        apply()
    assert LeituraDispositivo.objects.count() == 2
    drain()
    apply()
    assert LeituraDispositivo.objects.count() == 1


def test_readings_in_use_by_others_are_said_and_dropped_the_next_time(
    maintenance_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scheduler, "SESSION", ("SET lock_timeout = '100ms'",))
    stored(factories.device(factories.gateway(factories.conta())), (OLDEST, 100))
    with maintenance_session.transaction():
        maintenance_session.execute("LOCK TABLE tds_new_leitura_dispositivo IN ROW EXCLUSIVE MODE")
        with pytest.raises(CommandError, match="in use by a long transaction"):
            apply()
    assert not ConsumoCongelado.objects.exists()
    assert apply().startswith("[OK] dropped ")


def test_no_part_of_the_history_but_the_anchors_is_read_while_others_wait(
    maintenance_session: Session,
) -> None:
    """Without statistics, as just after filling, the planner would rather hash every reading."""
    gateway = factories.gateway(factories.conta())
    devices = [factories.device(gateway, f"D{n:02}") for n in range(20)]
    for device in devices:
        insert(device, [(OLDEST + n * timedelta(minutes=15), n) for n in range(20 * 96)])
    drain()
    expired = retention.find(maintenance_session, DAYS)
    assert expired is not None
    with maintenance_session.transaction():
        for statement in retention.BY_KEY:
            maintenance_session.execute(statement)
        retention._choose(maintenance_session, expired.border)
        explain = f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {retention.ANCHOR}"
        lines = [line for (line,) in maintenance_session.execute(explain, {"border": expired.border})]
    plan = [line for line in lines if "tds_new_leitura_dispositivo" in line or "_hyper_" in line]
    read = sum(
        int(rows) * int(loops)
        for line in plan
        for rows, loops in re.findall(r"actual rows=(\d+) loops=(\d+)", line)
    )
    assert plan
    assert read < 16 * len(devices), "\n".join(lines)


def test_killed_after_the_border_was_set_the_next_run_goes_on(maintenance_session: Session) -> None:
    device = factories.device(factories.gateway(factories.conta()))
    stored(device, *hostile(1))
    before = figures()
    expired = retention.find(maintenance_session, DAYS)
    assert expired is not None
    retention._freeze(maintenance_session, expired.border)
    assert LeituraDispositivo.objects.filter(time__lt=expired.border).exists()
    assert "done; 0 block rows differed" in rebuild()
    apply()
    assert not LeituraDispositivo.objects.filter(time__lt=expired.border).exists()
    assert figures() == before


def test_the_border_moves_on_and_each_time_nothing_changes(settings: Any) -> None:
    gateway = factories.gateway(factories.conta())
    for n in range(10):
        device = factories.device(gateway, f"D{n:02}")
        Dispositivo.objects.filter(pk=device.pk).update(consumo_maximo_hora=50, tolerancia_queda=1)
        insert(device, hostile(n))
    drain()
    before = figures()
    borders = []
    for settings.TDS_RAW_RETENTION_DAYS in (70, 55, 40, 30):
        apply()
        borders.append(ConsumoCongelado.objects.get().ate)
        assert "done; 0 block rows differed" in rebuild()
        assert figures() == before
    assert borders == sorted(set(borders))


def test_a_device_and_a_conta_with_consumption_alone_are_not_deleted() -> None:
    device = factories.device(factories.gateway(factories.conta()))
    stored(device, (OLDEST, 100), (OLDEST + timedelta(hours=1), 101))
    apply()
    assert not LeituraDispositivo.objects.exists()
    for model, pk in ((Dispositivo, device.pk), (Conta, device.conta_id)):
        with pytest.raises(IntegrityError), transaction.atomic():
            model.objects.filter(pk=pk).delete()  # type: ignore[attr-defined]
    assert device.gateway.has_readings()
    device.unidade = "Wh"
    with pytest.raises(ValidationError, match="já tem leituras"):
        device.clean()


def test_readings_are_kept_for_ever_unless_the_settings_say_otherwise(settings: Any) -> None:
    settings.TDS_RAW_RETENTION_DAYS = 0
    stored(factories.device(factories.gateway(factories.conta())), (OLDEST, 100))
    assert "kept for ever" in apply()
    assert LeituraDispositivo.objects.count() == 1


def test_maintenance_drops_what_is_too_old_once_an_hour(maintenance_session: Session) -> None:
    stored(factories.device(factories.gateway(factories.conta())), (OLDEST, 100))
    done = [piece.name for piece in scheduler.run_due(maintenance_session)]
    assert scheduler.RETENTION in done
    assert not LeituraDispositivo.objects.exists()
    assert ManutencaoExecucao.objects.get(nome=scheduler.RETENTION).erro == ""
    assert scheduler.RETENTION not in [piece.name for piece in scheduler.run_due(maintenance_session)]


@pytest.mark.timescale
def test_the_age_at_which_data_is_compressed_is_a_setting(
    maintenance_session: Session, settings: Any
) -> None:
    policies = """
        SELECT hypertable_name, config ->> 'compress_after' FROM timescaledb_information.jobs
        WHERE proc_name = 'policy_compression'
        ORDER BY 1"""
    tables = ("tds_new_consumo_15min", "tds_new_leitura_dispositivo")
    for settings.TDS_COMPRESS_AFTER_DAYS, said in ((7, "7 days"), (0, None), (45, "45 days")):
        scheduler.run_due(maintenance_session)
        assert rows(policies) == ([(table, said) for table in tables] if said else [])
