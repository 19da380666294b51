"""Maintenance refreshes sums and compresses old data.

TimescaleDB's scheduler does it, or a session of our own if that fails.
"""

import subprocess
import sys
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import StringIO
from typing import Any

import psycopg
import pytest
from django.conf import settings
from django.contrib.admin.sites import site
from django.core.management import CommandError, call_command
from django.utils.timezone import now

from tds_new.embedded.postgres import PostgresServer
from tds_new.ingestion.telemetry_processor import TelemetryProcessor
from tds_new.maintenance import logins, policies, scheduler
from tds_new.maintenance.scheduler import Scheduler
from tds_new.metering.worker import drain
from tds_new.models import ManutencaoExecucao
from tds_new.storage.rollups import DAILY, MONTHLY, ROLLUPS, Rollup
from tds_new.web import metrics
from tests.support.consumers import ConsumerProcess, database_url
from tests.support.ingestion import NOW, TOPIC, World, message, payload
from tests.support.sums import rows, totals
from tests.support.waiting import until

REFRESHES = [f"refresh_continuous_aggregate {rollup.name}" for rollup in ROLLUPS]
COMPRESSIONS = ["compression tds_new_consumo_15min", "compression tds_new_leitura_dispositivo"]
LOGINS = logins.NAME
Session = psycopg.Connection[Any]
LONG_AGO = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) - timedelta(days=100)


def store(processor: TelemetryProcessor, *values: int, at: datetime = LONG_AGO, code: str = "D01") -> None:
    """Store readings of a device, an hour apart, and compute their consumption."""
    entries = [
        {
            "dispositivo_codigo": code,
            "valor": value,
            "timestamp": (at + number * timedelta(hours=1)).isoformat(),
        }
        for number, value in enumerate(values)
    ]
    # Received now: the suite's own clock stands still, and this file may run long after it was imported.
    assert processor.process([message(payload(*entries), TOPIC, now())]).stored == len(values)
    drain()


@pytest.mark.timescale
def test_every_policy_succeeds_by_the_scheduler_or_by_us(maintenance_session: Session) -> None:
    scheduler.run_due(maintenance_session)
    found = policies.find(maintenance_session)
    assert [policy.name for policy in found] == REFRESHES + COMPRESSIONS
    own = dict(ManutencaoExecucao.objects.values_list("nome", "ultimo_sucesso"))
    for policy in found:
        successes = [moment for moment in (policy.scheduled_success, own.get(policy.name)) if moment]
        assert successes, policy.name
        assert max(successes) > now() - policy.interval
    assert not ManutencaoExecucao.objects.overdue().exists()


@pytest.mark.timescale
def test_policies_refresh_in_one_batch_because_several_side_by_side_materialise_twice(
    maintenance_session: Session,
) -> None:
    configs = rows(
        "SELECT config ->> 'buckets_per_batch' FROM timescaledb_information.jobs WHERE proc_name = "
        "'policy_refresh_continuous_aggregate'"
    )
    assert configs == [("0",)] * len(ROLLUPS)


@pytest.mark.timescale
def test_late_data_of_any_age_is_in_every_sum_after_a_pass(
    world: World, processor: TelemetryProcessor, maintenance_session: Session
) -> None:
    store(processor, 1, 2, 4)
    scheduler.run_due(maintenance_session)
    assert set(totals().values()) == {Decimal(7)}
    watermarks = rows("SELECT watermark FROM _timescaledb_catalog.continuous_aggs_watermark")
    assert (
        min(watermarks)[0] > LONG_AGO.timestamp() * 1e6
    )  # all of it is materialised: what comes now is late
    store(processor, 8, at=LONG_AGO + timedelta(minutes=20))
    assert totals()[DAILY.name] == Decimal(7)
    scheduler.run_due(maintenance_session)
    assert set(totals().values()) == {Decimal(15)}


@pytest.mark.timescale
@pytest.mark.parametrize("command", [["process_consumption", "--once"], ["rebuild_consumption"]])
def test_commands_that_compute_bring_late_readings_into_every_sum(
    world: World,
    processor: TelemetryProcessor,
    maintenance_session: Session,
    settings: Any,
    command: list[str],
) -> None:
    settings.TDS_UPKEEP = True
    store(processor, 1, 2, 4)
    scheduler.run_due(maintenance_session)
    late = {
        "dispositivo_codigo": "D01",
        "valor": 8,
        "timestamp": (LONG_AGO + timedelta(minutes=20)).isoformat(),
    }
    processor.process([message(payload(late), TOPIC)])
    call_command(*command, stdout=StringIO())
    maintenance_session.execute(f"CALL refresh_continuous_aggregate('{MONTHLY.name}', NULL, NULL)")
    assert set(totals().values()) == {Decimal(15)}


@pytest.mark.timescale
@pytest.mark.parametrize(
    "by_hand", [[MONTHLY.name], [rollup.name for rollup in ROLLUPS]], ids=["months", "all"]
)
def test_what_was_kept_by_hand_before_it_was_over_is_followed_up(
    world: World, processor: TelemetryProcessor, maintenance_session: Session, by_hand: list[str]
) -> None:
    """A refresh up to NULL keeps the running hour, day and month as they are.

    TimescaleDB computes them at no question any more.
    """
    noon = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=3)
    store(processor, 1, 2, 4, at=noon - timedelta(days=40))
    store(processor, 10, at=noon - timedelta(days=1, hours=2))
    scheduler.run_due(maintenance_session)
    for name in by_hand:
        maintenance_session.execute(f"CALL refresh_continuous_aggregate('{name}', NULL, NULL)")
    store(processor, 30, at=noon - timedelta(days=1))
    store(processor, 100, at=noon)
    store(processor, 1000, at=now() - timedelta(minutes=20))
    scheduler.run_due(maintenance_session)
    assert set(totals().values()) == {Decimal(1147)}
    store(processor, 200, at=now() - timedelta(minutes=2))
    store(processor, 3, at=noon - timedelta(days=39, hours=23, minutes=30))
    scheduler.run_due(maintenance_session)
    assert set(totals().values()) == {Decimal(1350)}


KEPT_IN = """
SELECT format('%%I.%%I', materialization_hypertable_schema, materialization_hypertable_name)
FROM timescaledb_information.continuous_aggregates WHERE view_name = %s
"""


@pytest.mark.timescale
@pytest.mark.parametrize("rollup", ROLLUPS, ids=[rollup.name for rollup in ROLLUPS])
def test_no_refresh_stores_a_bucket_twice(
    world: World, processor: TelemetryProcessor, maintenance_session: Session, rollup: Rollup
) -> None:
    """The second of two refreshes of overlapping ranges at the same time fails, and is done again."""
    store(processor, 1, 2, 4)
    scheduler.run_due(maintenance_session)
    ((table,),) = rows(KEPT_IN, rollup.name)
    with pytest.raises(psycopg.errors.UniqueViolation):
        maintenance_session.execute(f"INSERT INTO {table} SELECT * FROM {table}")
    store(processor, 8, at=LONG_AGO + timedelta(minutes=20))
    maintenance_session.execute("CREATE SEQUENCE IF NOT EXISTS refused")
    maintenance_session.execute(REFUSE_ONCE)
    try:
        maintenance_session.execute(
            f"CREATE TRIGGER refuse_once BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse_once()"
        )
        assert {done.error for done in scheduler.run_due(maintenance_session)} == {""}
    finally:
        maintenance_session.execute(f"DROP TRIGGER IF EXISTS refuse_once ON {table}")
        maintenance_session.execute("DROP FUNCTION refuse_once")
        maintenance_session.execute("DROP SEQUENCE refused")
    assert set(totals().values()) == {Decimal(15)}


REFUSE_ONCE = """
CREATE OR REPLACE FUNCTION refuse_once() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF nextval('public.refused') = 1 THEN
        RAISE EXCEPTION 'somebody else was here' USING ERRCODE = 'unique_violation';
    END IF;
    RETURN NEW;
END $$
"""


@pytest.mark.timescale
def test_maintenance_beside_another_process_refreshes_all_the_same(
    world: World, processor: TelemetryProcessor, maintenance_session: Session
) -> None:
    store(processor, 1, 2, 4)
    scheduler.run_due(maintenance_session)
    assert scheduler.take_lock(maintenance_session)
    store(processor, 8, at=LONG_AGO + timedelta(minutes=20))
    said = StringIO()
    call_command("run_maintenance", stdout=said)
    text = said.getvalue()
    assert text.startswith("[OK] another process does the maintenance")
    assert "compression" not in text
    assert set(totals().values()) == {Decimal(15)}


@pytest.mark.timescale
def test_late_readings_beside_present_ones_do_not_make_all_between_them_stale(
    world: World, processor: TelemetryProcessor, maintenance_session: Session
) -> None:
    # A gauge: what it shows now is not spread over the time since long ago.
    store(processor, 1, 2, code="D03")
    scheduler.run_due(maintenance_session)
    at = [NOW, LONG_AGO + timedelta(minutes=20)]
    processor.process(
        [
            message(payload({"dispositivo_codigo": "D03", "valor": 4, "timestamp": time.isoformat()}), TOPIC)
            for time in at
        ]
    )
    drain()
    changed = rows(
        "SELECT greatest_modified_value - lowest_modified_value FROM "
        "_timescaledb_catalog.continuous_aggs_hypertable_invalidation_log"
    )
    assert changed
    assert max(changed)[0] < timedelta(days=3).total_seconds() * 1e6


@pytest.mark.timescale
def test_old_chunks_are_compressed_at_their_time_and_not_at_every_pass(
    world: World, processor: TelemetryProcessor, maintenance_session: Session
) -> None:
    store(processor, 1)
    assert [done.name for done in scheduler.run_due(maintenance_session)] == [
        *REFRESHES,
        *COMPRESSIONS,
        LOGINS,
    ]
    compressed = rows(
        "SELECT DISTINCT hypertable_name FROM timescaledb_information.chunks WHERE is_compressed"
    )
    assert {("tds_new_leitura_dispositivo",), ("tds_new_consumo_15min",)} <= set(compressed)
    assert [done.name for done in scheduler.run_due(maintenance_session)] == REFRESHES
    ManutencaoExecucao.objects.filter(nome=COMPRESSIONS[0]).update(
        ultima_execucao=now() - timedelta(hours=13)
    )
    assert [done.name for done in scheduler.run_due(maintenance_session, {REFRESHES[0]})] == [
        *REFRESHES[1:],
        COMPRESSIONS[0],
    ]


@pytest.mark.timescale
def test_a_piece_that_fails_is_told_and_the_others_are_done(
    maintenance_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = policies.run

    def fail(connection: psycopg.Connection[Any], policy: policies.Policy) -> None:
        if policy.name == REFRESHES[1]:
            connection.execute("SELECT 1/0")
        run(connection, policy)

    monkeypatch.setattr(policies, "run", fail)
    with pytest.raises(CommandError, match=f"1 of {len(REFRESHES + COMPRESSIONS) + 1} failed"):
        call_command("run_maintenance", stdout=(said := StringIO()))
    assert f"[ERROR] {REFRESHES[1]}: division by zero" in said.getvalue()
    assert f"[OK] {REFRESHES[2]}: " in said.getvalue()
    [late] = ManutencaoExecucao.objects.overdue()
    assert (late.nome, late.erro, late.ultimo_sucesso) == (REFRESHES[1], "division by zero", None)
    monkeypatch.undo()
    call_command("run_maintenance", stdout=StringIO())
    assert not ManutencaoExecucao.objects.overdue().exists()
    assert not ManutencaoExecucao.objects.exclude(erro="").exists()


@pytest.mark.timescale
def test_the_scheduler_ends_in_the_middle_of_its_work(
    maintenance_session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(policies, "run", lambda connection, _: connection.execute("SELECT pg_sleep(3600)"))
    kept = Scheduler()
    kept.start()
    until(
        lambda: rows("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(3600)%%'"),
        "it is at work",
    )
    kept.stop()
    until(
        lambda: not rows("SELECT 1 FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep(3600)%%'"),
        "the server knows",
    )
    assert not ManutencaoExecucao.objects.exists()


@pytest.mark.timescale
def test_the_worker_of_consumption_keeps_the_sums(
    world: World, processor: TelemetryProcessor, maintenance_session: Session
) -> None:
    environment = {**ConsumerProcess.environment(), "DATABASE_URL": database_url(), "TDS_UPKEEP": "on"}
    process = subprocess.Popen(
        [sys.executable, "manage.py", "process_consumption"], cwd=settings.BASE_DIR, env=environment
    )
    try:
        until(
            lambda: (
                ManutencaoExecucao.objects.filter(ultimo_sucesso__isnull=False).count()
                == len(REFRESHES + COMPRESSIONS) + 1
            ),
            "all done once",
        )
        process.terminate()
        assert process.wait(30) == 0
    finally:
        process.kill()
        process.wait()


@pytest.mark.timescale
def test_a_server_whose_own_jobs_run_or_fail_has_its_sums_refreshed(own_postgres: PostgresServer) -> None:
    environment = {**ConsumerProcess.environment(), "DATABASE_URL": own_postgres.url("tds_new")}

    def manage(*arguments: str) -> str:
        command = [sys.executable, "manage.py", *arguments]
        return subprocess.run(
            command, cwd=settings.BASE_DIR, env=environment, check=True, stdout=subprocess.PIPE, text=True
        ).stdout

    manage("migrate", "--verbosity=0", "--skip-checks")
    with psycopg.connect(own_postgres.url("tds_new"), autocommit=True) as direct:

        def tried() -> bool:
            found = direct.execute(
                "SELECT count(*) FROM timescaledb_information.job_stats s JOIN timescaledb_information.jobs "
                "USING (job_id) "
                "WHERE proc_name = 'policy_refresh_continuous_aggregate' AND last_run_status IS NOT NULL"
            ).fetchone()
            return found is not None and found[0] == len(ROLLUPS)

        until(tried, "the server's scheduler has run every refresh, or failed with it")
        said = manage("run_maintenance")
        assert all(f"[OK] {name}: " in said for name in REFRESHES)
        for policy in policies.find(direct):
            assert policy.scheduler_works or policy.ran_lately, policy.name


def test_on_plain_postgresql_there_are_no_policies(maintenance_session: Session, on_timescale: bool) -> None:
    assert bool(policies.find(maintenance_session)) == on_timescale


@pytest.mark.django_db
def test_what_is_overdue_is_shown(
    client: Any, django_user_model: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, prazo in (
        ("in time", now() + timedelta(hours=1)),
        ("late", now() - timedelta(hours=1)),
        ("never", None),
    ):
        ManutencaoExecucao.objects.create(nome=name, ultima_execucao=now(), prazo=prazo)
    left = {
        name: metrics.registry().get_sample_value("tds_platform_upkeep_left_seconds", {"name": name})
        for name in ("in time", "late")
    }
    assert left["in time"] is not None
    assert left["late"] is not None
    assert left["late"] < 0 < left["in time"]
    call_command("check_telemetry")
    said = capsys.readouterr().out
    assert "[WARN] maintenance: late is overdue; last success -" in said
    assert "in time" not in said
    client.force_login(
        django_user_model.objects.create_superuser("root@example.com", "a long enough secret 1")
    )
    page = client.get("/admin/tds_new/manutencaoexecucao/")
    assert site.is_registered(ManutencaoExecucao)
    assert page.status_code == 200
    assert "Late está em atraso" in page.content.decode()
    assert "In time está em atraso" not in page.content.decode()
