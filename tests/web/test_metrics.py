"""The platform's figures, for those who are allowed to see them."""

from datetime import timedelta
from ipaddress import ip_network
from typing import Any

import pytest
from django.db import connection
from django.db.utils import OperationalError
from django.test import Client
from django.utils.timezone import now

from tds_new.models import ConsumerStatus, ConsumoEstado, ConsumoPendente, Conta, Gateway, RejeicaoContador
from tds_new.web import metrics
from tests.support import factories

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _allowed(settings: Any) -> None:
    settings.TDS_WEB_METRICS_ALLOW = [ip_network("10.0.0.0/8"), ip_network("fd00::1")]


def ask(address: str = "10.1.2.3", **headers: str) -> Any:
    return Client().get("/metrics", headers=headers, REMOTE_ADDR=address)


@pytest.mark.parametrize("address", ["127.0.0.1", "11.0.0.1", "::1", "::ffff:11.0.0.1", "", "nonsense"])
def test_for_others_it_does_not_exist(address: str) -> None:
    assert ask(address).status_code == 404


@pytest.mark.parametrize("address", ["10.1.2.3", "fd00::1", "::ffff:10.1.2.3"])
def test_for_those_named_it_does(address: str) -> None:
    response = ask(address)
    assert (response.status_code, response["Cache-Control"]) == (200, "no-store")
    assert response["Content-Type"].startswith("text/plain; version=0.0.4")
    assert not response.cookies


def test_nobody_is_named_unless_the_settings_do(settings: Any) -> None:
    settings.TDS_WEB_METRICS_ALLOW = []
    assert ask("127.0.0.1").status_code == 404


def test_behind_a_proxy_the_address_that_it_saw_decides(settings: Any) -> None:
    settings.TDS_BEHIND_PROXY = True
    assert ask("10.0.0.1", **{"X-Forwarded-For": "10.1.2.3, 203.0.113.9"}).status_code == 404
    assert ask("127.0.0.1", **{"X-Forwarded-For": "203.0.113.9, 10.1.2.3"}).status_code == 200


def test_a_scrape_is_not_sent_to_https(settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    assert ask().status_code == 200


def test_the_figures_come_from_the_database() -> None:
    conta = Conta.objects.create(name="Conta")
    for number in range(4):
        Gateway.objects.create(
            conta=conta,
            codigo=f"G{number}",
            mac=f"aa:bb:cc:dd:ee:0{number}",
            is_online=number != 1,
            is_active=number != 3,
            last_seen=now(),
        )
    Gateway.objects.create(
        conta=conta,
        codigo="G4",
        mac="aa:bb:cc:dd:ee:04",
        is_online=True,
        last_seen=now() - timedelta(hours=1),
    )
    for gateway in (None, Gateway.objects.first()):
        RejeicaoContador.objects.create(
            gateway=gateway, motivo="conflito", total=7, primeira_em=now(), ultima_em=now()
        )
    ConsumerStatus.objects.create(
        client_id="a", estado="connected", updated_at=now(), last_batch_at=now() - timedelta(hours=1)
    )
    ConsumerStatus.objects.create(client_id="b", estado="connected", updated_at=now() - timedelta(hours=2))
    ConsumerStatus.objects.create(client_id="c", estado="stopped", updated_at=now() - timedelta(hours=2))
    sample = metrics.registry().get_sample_value
    assert sample("tds_platform_gateways") == 4
    assert sample("tds_platform_gateways_online") == 2  # G4 is silent, and no consumer runs to say so
    assert sample("tds_platform_rejected", {"reason": "conflito"}) == 14
    assert sample("tds_platform_consumers_connected") == 1
    assert sample("tds_platform_consumers_silent") == 1
    age = sample("tds_platform_last_commit_age_seconds")
    assert age is not None
    assert 3600 <= age < 7200
    assert b'tds_platform_rejected{reason="conflito"} 14.0' in ask().content


def test_consumption_that_waits_and_devices_that_cannot_be_computed() -> None:
    then = now() - timedelta(minutes=5)
    for devices, failed in (([1, 2], None), ([3], then), ([3], then), ([4], then)):
        ConsumoPendente.objects.create(
            particao=0, inicio=then, fim=then, dispositivos=devices, tentar_em=failed, criado_em=then
        )
    sample = metrics.registry().get_sample_value
    assert sample("tds_platform_consumption_failed_devices") == 2
    assert 300 <= (sample("tds_platform_consumption_wait_seconds") or 0) < 3600


def test_devices_that_wait_for_a_rebuild_are_counted() -> None:
    device = factories.device(factories.gateway(factories.conta()))
    ConsumoEstado.objects.update_or_create(dispositivo=device, defaults={"reconstruir_desde": now()})
    assert metrics.registry().get_sample_value("tds_platform_consumption_rebuild_devices") == 1


def test_before_the_first_commit_there_is_no_age() -> None:
    assert metrics.registry().get_sample_value("tds_platform_last_commit_age_seconds") is None


def test_a_scrape_costs_five_statements_whatever_there_is(django_assert_num_queries: Any) -> None:
    conta = Conta.objects.create(name="Conta")
    for number in range(9):
        Gateway.objects.create(conta=conta, codigo=f"G{number}", mac=f"aa:bb:cc:dd:ee:0{number}")
        ConsumerStatus.objects.create(client_id=str(number))
    with django_assert_num_queries(5):
        ask()


def test_while_the_database_is_away_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_: Any) -> None:
        raise OperationalError("away")

    monkeypatch.setattr(connection, "cursor", away)
    assert (ask().status_code, ask().content) == (503, b"the database does not answer\n")
