"""``tds_new/sql`` says what a migrated database has, and live code makes the sums that migrations make."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from django.db import connection

from tds_new.models import ConsumoParticao
from tds_new.storage import rollups
from tests.migrations.catalog import Catalog, catalog, differences

FOLDER = Path(settings.BASE_DIR) / "tds_new/sql"
KINDS = {"function", "trigger", "view", "aggregate"}


def _statements(name: str) -> Iterator[tuple[str, str]]:
    """Yield each statement of a file with the comment above it, after the file's own comment."""
    text = (FOLDER / f"{name}.sql").read_text(encoding="utf-8")
    for section in re.split(r"\n\n(?=-- |CREATE)", text):
        comment = re.match(r"(?:-- .*\n?)*", section)
        assert comment is not None
        if statement := section[comment.end() :].strip():
            yield comment[0], statement.replace(":'zone'", f"'{settings.TDS_TIME_ZONE}'")


def _described(*, timescale: bool) -> Iterator[str]:
    """Yield the statements for this kind of database, in the order in which they can be executed."""
    sums = {rollup.name for rollup in rollups.ROLLUPS}
    for name in ("functions", "triggers", "views", *(["continuous_aggregates"] if timescale else [])):
        for _, statement in _statements(name):
            is_plain_sum = name == "views" and statement.split()[2] in sums
            if not (timescale and is_plain_sum):
                yield statement


def _objects() -> Catalog:
    return {key: definition for key, definition in catalog(connection).items() if key[0] in KINDS}


@pytest.mark.django_db
def test_a_migrated_database_is_what_the_sql_says(on_timescale: bool) -> None:
    migrated = _objects()
    with connection.cursor() as cursor:
        rollups.drop(connection)
        for kind, name in migrated:
            if kind == "view":
                cursor.execute(f"DROP VIEW IF EXISTS {name}")
            elif kind == "function":
                cursor.execute(f"DROP FUNCTION {name} CASCADE")
        assert _objects() == {}
        for statement in _described(timescale=on_timescale):
            cursor.execute(statement)
    assert differences(_objects(), migrated) == {}


@pytest.mark.django_db
def test_live_code_makes_the_sums_that_migrations_make(on_timescale: bool) -> None:
    migrated = catalog(connection)
    rollups.drop(connection)
    rollups.create(connection, timescale=on_timescale)
    assert differences(catalog(connection), migrated) == {}


@pytest.mark.parametrize("name", ["functions", "triggers", "views", "continuous_aggregates"])
def test_each_object_says_what_it_is_for(name: str) -> None:
    found = list(_statements(name))
    assert found
    assert [statement.split("\n")[0] for comment, statement in found if not comment] == []


def test_functions_part_devices_as_the_model_does() -> None:
    parts = re.findall(r"% (\d+)", (FOLDER / "functions.sql").read_text(encoding="utf-8"))
    assert set(parts) == {str(ConsumoParticao.PARTICOES)}
