"""Migrations are complete, and each can be undone and done again."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor

from tds_new.storage.timescale import has_timescale
from tests.migrations.catalog import Catalog, catalog, differences

CONTRACT = {
    "tds_new_conta": {"name", "cnpj", "timezone", "is_active"},
    "tds_new_conta_membership": {"conta_id", "user_id", "role", "is_active"},
    "tds_new_gateway": {
        "conta_id", "codigo", "mac", "device_id", "nome", "descricao", "latitude", "longitude",
        "qte_max_dispositivos", "firmware_version", "is_active", "is_online", "last_seen",
    },
    "tds_new_dispositivo": {
        "conta_id", "gateway_id", "codigo", "nome", "tipo", "grandeza", "unidade", "tipo_leitura",
        "slave_id", "register_modbus", "fator_conversao", "status", "last_seen",
    },
    "tds_new_leitura_dispositivo": {
        "time", "conta_id", "gateway_id", "dispositivo_id", "valor", "unidade", "tipo_leitura", "payload_raw",
    },
    "tds_new_mensagem_rejeitada": {
        "recebida_em", "topico", "payload", "motivo", "detalhe", "gateway_id", "conta_id",
    },
    "tds_new_consumo_mensal": {
        "mes_referencia", "conta_id", "gateway_id", "dispositivo_id", "total_consumo", "media_diaria",
        "leituras_count",
    },
}  # fmt: skip


def rows(statement: str) -> list[tuple[object, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        return cursor.fetchall()


def ours() -> Catalog:
    """Return the catalogue of the application's tables, views, triggers and functions."""
    return {
        key: definition for key, definition in catalog(connection).items() if key[1].startswith("tds_new")
    }


def names() -> list[str]:
    """The application's migrations, the first first."""
    graph = MigrationExecutor(connection).loader.graph
    return sorted(name for app, name in graph.nodes if app == "tds_new")


@pytest.mark.django_db
def test_no_migration_is_missing() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.django_db(transaction=True)
def test_each_migration_is_undone_and_done_again_to_the_same_schema() -> None:
    complete = ours()
    assert {name for _, name in complete} >= CONTRACT.keys()
    try:
        for name in [*reversed(names()[:-1]), "zero"]:
            call_command("migrate", "tds_new", name, verbosity=0)
        assert ours() == {}
        for name in names():
            call_command("migrate", "tds_new", name, verbosity=0)
        assert differences(ours(), complete) == {}
    finally:
        call_command("migrate", verbosity=0)  # other applications' tables refer to ours, and went with them


@pytest.mark.django_db
@pytest.mark.parametrize("table", CONTRACT)
def test_the_contracts_names_are_there(table: str) -> None:
    found = {
        row[0]
        for row in rows(
            f"SELECT attname FROM pg_attribute WHERE attrelid = '{table}'::regclass AND attnum > 0"
        )
    }
    assert found >= CONTRACT[table]


@pytest.mark.django_db
def test_the_database_is_of_the_kind_that_was_asked_for(on_timescale: bool) -> None:
    assert has_timescale(connection) == on_timescale


@pytest.mark.django_db
@pytest.mark.timescale
def test_readings_are_a_hypertable_of_weeks_compressed_after_45_days() -> None:
    assert rows(
        "SELECT time_interval FROM timescaledb_information.dimensions "
        "WHERE hypertable_name = 'tds_new_leitura_dispositivo'"
    ) == [(timedelta(days=7),)]
    config = rows(
        "SELECT config->>'compress_after' FROM timescaledb_information.jobs "
        "WHERE proc_name = 'policy_compression' AND hypertable_name = 'tds_new_leitura_dispositivo'"
    )
    assert config == [("45 days",)]


@pytest.mark.django_db
@pytest.mark.timescale
def test_consumption_is_a_continuous_aggregate_that_is_refreshed() -> None:
    views = rows("SELECT view_name, materialized_only FROM timescaledb_information.continuous_aggregates")
    assert ("tds_new_consumo_mensal", False) in views
    jobs = rows(
        "SELECT count(*) FROM timescaledb_information.jobs "
        "WHERE proc_name = 'policy_refresh_continuous_aggregate'"
    )
    assert jobs[0][0] >= len(views)  # type: ignore[operator]
