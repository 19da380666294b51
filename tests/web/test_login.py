"""Login, the choice of Conta, theme and language, and error pages."""

from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from tds_new.models import User
from tests.support import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def ana() -> User:
    return factories.person("ana@example.com", factories.conta())


def attempt(client: Client, email: str, password: str, **extra: str) -> Any:
    return client.post(reverse("login"), {"username": email, "password": password, **extra})


def test_the_right_password_opens_the_only_contas_dashboard_in_any_spelling_of_the_address(ana: User) -> None:
    client = Client()

    assert attempt(client, "Ana@Example.COM", factories.PASSWORD).url == reverse("home")
    assert client.get("/", follow=True).redirect_chain == [
        (reverse("dashboard", args=[ana.contas.get().pk]), 302)
    ]


def test_the_form_tells_browsers_what_its_fields_are() -> None:
    page = Client().get(reverse("login")).text

    assert 'autocomplete="username"' in page
    assert 'autocomplete="current-password"' in page
    assert 'type="email"' in page


def test_unknown_people_inactive_people_and_wrong_passwords_get_the_same_answer(ana: User) -> None:
    factories.person("inativa@example.com", is_active=False)

    responses = [
        attempt(Client(), email, password)
        for email, password in (
            ("ana@example.com", "errada"),
            ("quem@example.com", "errada"),
            ("inativa@example.com", factories.PASSWORD),
        )
    ]

    errors = [r.context["form"].non_field_errors() for r in responses]
    assert errors == [["E-mail ou senha não conferem. Verifique os dois e tente de novo."]] * 3
    assert {r.status_code for r in responses} == {200}
    assert all('value="errada"' not in r.text for r in responses)


def test_an_address_that_is_none_is_said_at_its_field() -> None:
    page = attempt(Client(), "ana", "x").text

    assert 'aria-invalid="true"' in page
    assert 'aria-describedby="error-username"' in page
    assert 'id="error-username"' in page


@pytest.mark.parametrize(
    "target", ["https://evil.example", "//evil.example", "javascript:alert(1)", "https:evil.example"]
)
def test_next_never_leads_off_this_site(ana: User, target: str) -> None:
    assert attempt(Client(), ana.email, factories.PASSWORD, next=target).url == reverse("home")


def test_next_leads_back_within_this_site(ana: User) -> None:
    assert (
        attempt(Client(), ana.email, factories.PASSWORD, next="/c/1/painel/?periodo=7d").url
        == "/c/1/painel/?periodo=7d"
    )


def test_logout_takes_a_post(ana: User) -> None:
    client = Client()
    client.force_login(ana)

    assert client.get(reverse("logout")).status_code == 405
    assert Session.objects.count() == 1
    assert client.post(reverse("logout")).status_code == 302
    assert Session.objects.count() == 0


def test_people_with_several_contas_choose_and_people_with_none_read_why(ana: User) -> None:
    with_several = factories.person("varias@example.com", factories.conta("Norte"), factories.conta("Sul"))
    without = factories.person("nenhuma@example.com")
    client = Client()

    client.force_login(with_several)
    choice = client.get("/", follow=True)
    client.force_login(without)
    empty = client.get("/", follow=True)

    assert "Norte" in choice.text
    assert "Sul" in choice.text
    assert "Aurora" not in choice.text
    assert "Nenhuma conta ainda" in empty.text


def test_the_old_address_still_leads_to_the_dashboard() -> None:
    assert Client().get("/telemetria/").url == reverse("home")  # type: ignore[attr-defined]


def test_the_theme_is_remembered_and_rendered_by_the_server() -> None:
    client = Client()

    assert client.post(reverse("theme"), {"tema": "escuro", "next": "/entrar/"}).url == "/entrar/"  # type: ignore[attr-defined]
    assert 'data-theme="dark"' in client.get(reverse("login")).text
    client.post(reverse("theme"), {"tema": '"><script>', "next": "//evil.example"})
    assert 'data-theme="dark"' in client.get(reverse("login")).text
    assert client.get(reverse("theme")).status_code == 405
    assert client.post(reverse("theme"), {"tema": "claro", "next": "//evil.example"}).url == "/"  # type: ignore[attr-defined]


def test_portuguese_is_the_default_and_english_a_choice() -> None:
    client = Client()
    assert '<html lang="pt-BR"' in client.get(reverse("login")).text

    client.post(reverse("set_language"), {"language": "en", "next": "/entrar/"})

    page = client.get(reverse("login")).text
    assert '<html lang="en"' in page
    assert "Sign in" in page


def test_error_pages_have_words_and_a_frame(ana: User, client: Client, settings: Any) -> None:
    missing = client.get("/nao-existe/")
    without_token = Client(enforce_csrf_checks=True).post(
        reverse("login"), {"username": "a@b.c", "password": "x"}
    )
    refused = client.get("/entrar/", headers={"host": "evil.example"})

    assert (missing.status_code, without_token.status_code, refused.status_code) == (404, 403, 400)
    assert "Página não encontrada" in missing.text
    assert "A página ficou aberta por tempo demais" in without_token.text
    assert "tds.css" in missing.text


def test_an_error_of_ours_has_a_page_that_needs_nothing(ana: User, monkeypatch: pytest.MonkeyPatch) -> None:
    def break_(*_args: object) -> None:
        raise RuntimeError("broken on purpose")

    monkeypatch.setattr("tds_new.web.views.dashboard.fleet.sequences", break_)
    client = Client(raise_request_exception=False)
    client.force_login(ana)

    response = client.get(reverse("dashboard", args=[ana.contas.get().pk]))

    assert response.status_code == 500
    assert "Algo falhou do nosso lado" in response.text
    assert "broken on purpose" not in response.text


@pytest.mark.parametrize("path", ["/entrar/", "/nao-existe/"])
def test_the_content_security_policy_is_strict_and_the_pages_need_nothing_inline(
    client: Client, path: str
) -> None:
    response = client.get(path)

    policy = response["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert " style=" not in response.text
    assert "<style" not in response.text
    assert " onclick=" not in response.text
