"""/healthz: web and database, for any probe."""

from typing import Any

import psycopg
import pytest
from django.db import connection
from django.test import Client

from tds_new.web import health


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("host", ["localhost", "10.1.2.3:8000", "balancer.internal"])
def test_healthy_for_whatever_host_name_the_probe_uses(host: str) -> None:
    response = Client().get("/healthz", headers={"host": host})

    assert response.status_code == 200
    assert response.json() == {"status": "ok", "database": "ok"}
    assert not response.cookies
    assert response["Cache-Control"] == "no-store"


def test_a_database_that_is_away_is_a_503(monkeypatch: pytest.MonkeyPatch) -> None:
    away = {**connection.get_connection_params(), "host": "127.0.0.1", "port": 9}
    monkeypatch.setattr(connection, "get_connection_params", lambda: away)

    response = Client().get("/healthz")

    assert response.status_code == 503
    assert response.json() == {"status": "unavailable", "database": "unavailable"}


def test_the_database_is_asked_with_a_limit_on_both_sides(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def connect(**parameters: Any) -> None:
        asked.update(parameters)
        raise psycopg.OperationalError("timeout expired")

    monkeypatch.setattr("tds_new.web.health.psycopg.connect", connect)

    assert not health.database_answers()
    assert asked["connect_timeout"] == 2
    assert "statement_timeout=2000" in asked["options"]
