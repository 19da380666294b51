"""What logins leave behind is deleted: counters and sessions that have expired, networks of long ago."""

import uuid
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.sessions.models import Session
from django.db import connection
from django.utils.timezone import now

from tds_new.maintenance import logins, scheduler
from tds_new.models import ManutencaoExecucao, RedeConhecida, TentativaEntrada, User

HOUR = timedelta(hours=1)


def counter(hours: float) -> TentativaEntrada:
    return TentativaEntrada.objects.create(
        chave=uuid.uuid4(), tipo=TentativaEntrada.Tipo.REDE, ultima_em=now(), expira_em=now() + hours * HOUR
    )


def test_what_has_expired_goes_in_batches_and_everything_else_stays(
    maintenance_session: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "BATCH", 2)
    ana = User.objects.create_user("ana@example.com")
    for n in range(5):
        Session.objects.create(session_key=f"old{n}", session_data="", expire_date=now() - HOUR)
        counter(-1)
    Session.objects.create(session_key="new", session_data="", expire_date=now() + HOUR)
    kept = counter(1)
    for days in (31, 29):
        RedeConhecida.objects.create(
            usuario=ana, rede=f"10.0.0.{days}/32", ultima_em=now() - days * 24 * HOUR
        )
    scheduler.run_due(maintenance_session)
    assert [session.pk for session in Session.objects.all()] == ["new"]
    assert [row.pk for row in TentativaEntrada.objects.all()] == [kept.pk]
    assert [row.rede for row in RedeConhecida.objects.all()] == ["10.0.0.29/32"]
    record = ManutencaoExecucao.objects.get(nome=logins.NAME)
    assert record.erro == ""


def test_a_crowd_of_attackers_is_bounded(
    maintenance_session: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logins, "COUNTERS_AT_MOST", 10)
    monkeypatch.setattr(logins, "NETWORKS_AT_MOST", 10)
    ana = User.objects.create_user("ana@example.com")
    for n in range(15):
        counter(n + 1)
        RedeConhecida.objects.create(usuario=ana, rede=f"10.0.0.{n}/32", ultima_em=now() - n * HOUR)
    logins.prune(maintenance_session)
    assert TentativaEntrada.objects.count() == RedeConhecida.objects.count() == 10
    assert not TentativaEntrada.objects.filter(expira_em__lt=now() + 5 * HOUR).exists()
    assert not RedeConhecida.objects.filter(ultima_em__lt=now() - 10 * HOUR).exists()


def test_it_is_due_every_ten_minutes(maintenance_session: psycopg.Connection[Any]) -> None:
    def names() -> list[str]:
        return [done.name for done in scheduler.run_due(maintenance_session)]

    assert logins.NAME in names()
    assert logins.NAME not in names()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE tds_new_manutencao_execucao SET ultima_execucao = ultima_execucao - INTERVAL '11 minutes'"
        )
    assert logins.NAME in names()
