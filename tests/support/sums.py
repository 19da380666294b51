"""Refresh stored sums in tests, and leave the database as later tests expect it."""

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import psycopg
import pytest
from django.db import connection

from tds_new.maintenance import scheduler
from tds_new.storage.rollups import DAILY, HOURLY, MONTHLY, ROLLUPS
from tds_new.storage.timescale import has_timescale

TOTALS = {
    HOURLY.name: f"SELECT sum(consumo) FROM {HOURLY.name}",
    DAILY.name: f"SELECT sum(consumo) FROM {DAILY.name}",
    MONTHLY.name: f"SELECT sum(total_consumo) FROM {MONTHLY.name}",
}


def rows(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    """Return the rows of a statement in the test database."""
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return list(cursor.fetchall())


def refresh() -> None:
    """Refresh all stored sums; do nothing on plain PostgreSQL."""
    if has_timescale(connection):
        with connection.cursor() as cursor:
            for rollup in ROLLUPS:
                cursor.execute(f"CALL refresh_continuous_aggregate('{rollup.name}', NULL, NULL)")


def totals() -> dict[str, Decimal | None]:
    """Return the total of hours, days and months in the test database."""
    return {name: rows(statement)[0][0] for name, statement in TOTALS.items()}


def totals_in(direct: psycopg.Connection[Any]) -> dict[str, Decimal | None]:
    """Return the total of hours, days and months in any database."""
    return {name: (direct.execute(statement).fetchone() or (None,))[0] for name, statement in TOTALS.items()}


@pytest.fixture
def maintenance_session(transactional_db: None) -> Iterator[psycopg.Connection[Any]]:
    """Open a session for maintenance, and empty what it refreshed afterwards.

    Stored sums would outlive the blocks, and hide those of later tests from sums that are not refreshed yet.
    """
    with scheduler.open_session() as session:
        yield session
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE tds_new_consumo_15min")
        refresh()
        if has_timescale(connection):
            cursor.execute(
                "UPDATE _timescaledb_catalog.continuous_aggs_watermark SET watermark = -210866803200000000"
            )
