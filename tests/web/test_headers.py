"""The headers of safety are on every answer: every address for everybody, errors, redirects, files."""

from ipaddress import ip_network
from pathlib import Path
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from tds_new.models import Conta
from tds_new.web import health
from tests.support import factories
from tests.support.hostile import Request, addresses
from tests.support.meters import superuser

pytestmark = pytest.mark.django_db
SAFE = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}

STORED = {"favicon.ico"}  # a redirect that is the same for everybody


def lacking(response: Any) -> set[str]:
    """Return the headers that an answer lacks."""
    lacks = {name for name, value in SAFE.items() if response.get(name) != value}
    if "default-src 'none'" not in response.get("Content-Security-Policy", ""):
        lacks.add("Content-Security-Policy")
    if not any(word in response.get("Cache-Control", "") for word in ("no-store", "no-cache")):
        lacks.add("Cache-Control")
    return lacks


@pytest.fixture
def clients(monkeypatch: pytest.MonkeyPatch) -> list[Client]:
    monkeypatch.setattr(health, "database_answers", lambda: True)
    member = Client()
    member.force_login(factories.person("membro@example.com", factories.conta()))
    return [Client(), member, superuser()]


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "OPTIONS", "DELETE"])
def test_every_address_answers_everybody_with_them(clients: list[Client], method: str) -> None:
    found = set()
    for client in clients if method in ("GET", "POST") else clients[:1]:
        for address in addresses():
            response = Request(method, address.path(conta=str(Conta.objects.get().pk))).send(client)
            if lacks := lacking(response) - ({"Cache-Control"} if address.route in STORED else set()):
                found.add((method, address.route, response.status_code, *sorted(lacks)))
    assert found == set()


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nada/", {}, 404),
        ("/admin", {}, 301),
        ("/a%00/", {}, 400),
        ("/entrar/", {"host": "elsewhere.example.com"}, 400),
        ("/entrar/", {"host": "[::1"}, 400),
    ],
)
def test_errors_and_redirects_have_them(path: str, headers: dict[str, str], status: int) -> None:
    response = Client().get(path, headers=headers)
    assert (response.status_code, lacking(response)) == (status, set())


def test_a_failure_of_ours_has_them(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_given: Any) -> None:
        raise RuntimeError("a fault")

    monkeypatch.setattr("tds_new.web.views.people.static", fail)
    response = Client(raise_request_exception=False).get("/favicon.ico")
    assert (response.status_code, lacking(response)) == (500, set())


def test_a_refused_form_has_them() -> None:
    response = Client(enforce_csrf_checks=True).post(reverse("login"), {"username": "a"})
    assert (response.status_code, lacking(response)) == (403, set())


@pytest.mark.parametrize(
    ("path", "host", "status"),
    [("/entrar/", "localhost", 301), ("/entrar/", "elsewhere", 400), ("/healthz", "elsewhere", 200)],
)
def test_under_https_redirects_have_them_and_answers_say_that_https_stays(
    settings: Any, monkeypatch: pytest.MonkeyPatch, path: str, host: str, status: int
) -> None:
    monkeypatch.setattr(health, "database_answers", lambda: True)
    settings.SECURE_SSL_REDIRECT, settings.SECURE_HSTS_SECONDS = True, 31_536_000
    response = Client().get(path, headers={"host": host})
    assert (response.status_code, lacking(response)) == (status, set())
    assert Client().get("/healthz", secure=True)["Strict-Transport-Security"].startswith("max-age=31536000")
    assert Client().get("/nada/", secure=True)["Strict-Transport-Security"].startswith("max-age=31536000")


def test_static_files_have_them_and_are_stored(settings: Any, tmp_path: Path) -> None:
    (tmp_path / "a.0123456789ab.js").write_text("1")
    settings.STATIC_ROOT = tmp_path
    response = Client().get("/static/a.0123456789ab.js")
    assert (response.status_code, lacking(response)) == (200, {"Cache-Control"})
    assert "max-age" in response["Cache-Control"]
    response.close()


def test_a_file_of_figures_is_stored_nowhere(clients: list[Client]) -> None:
    conta = Conta.objects.get()
    response = clients[1].get(reverse("consumption-csv", args=[conta.pk]))
    assert "no-store" in response["Cache-Control"]


@pytest.mark.parametrize("path", ["/healthz", "/metrics"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"])
def test_machines_may_only_read(
    settings: Any, monkeypatch: pytest.MonkeyPatch, path: str, method: str
) -> None:
    settings.TDS_WEB_METRICS_ALLOW = [ip_network("127.0.0.1")]
    monkeypatch.setattr(health, "database_answers", lambda: pytest.fail("the database was asked"))
    response = Client().generic(method, path)
    assert (response.status_code, response["Allow"]) == (405, "GET, HEAD")


def test_who_may_not_see_the_figures_learns_nothing_by_another_method() -> None:
    assert Client().post("/metrics").status_code == 404


def test_a_request_that_no_page_understands_says_so_in_words() -> None:
    response = Client().get("/a%00/", headers={"accept-language": "pt-br"})
    assert "Pedido não entendido" in response.text
