"""Access rights: a table of addresses, each tried by everybody."""

import re
from collections.abc import Callable

import pytest
from django.http import HttpResponseBase
from django.test import Client
from django.urls import URLPattern, reverse

from tds_new.models import Conta, ContaMembership, User
from tds_new.web import urls
from tests.support import factories

pytestmark = pytest.mark.django_db

CONTA_PAGES = ["dashboard", "dashboard-data", "consumption-csv", "device-list", "gateway-list"]
JSON_PAGES = {"dashboard-data"}


@pytest.fixture
def owner() -> Conta:
    return factories.conta("Conta da Dona")


def log_in(who: User | None) -> Client:
    client = Client()
    if who:
        client.force_login(who)
    return client


def former_member(owner: Conta) -> User:
    user = factories.person("ex@example.com", owner)
    ContaMembership.objects.update(is_active=False)
    return user


def of_inactive_conta(owner: Conta) -> User:
    user = factories.person("inativa@example.com", owner)
    Conta.objects.update(is_active=False)
    return user


INSIDERS: dict[str, Callable[[Conta], User]] = {
    role: lambda owner, role=role: factories.person(f"{role}@example.com", owner, role=role)  # type: ignore[misc]
    for role in ("admin", "editor", "viewer")
}
OUTSIDERS: dict[str, Callable[[Conta], User]] = {
    "stranger": lambda _owner: factories.person(
        "estranha@example.com", factories.conta("Outra"), role="admin"
    ),
    "nobody's member": lambda _owner: factories.person("nada@example.com"),
    "ex-member": former_member,
    "member of an inactive Conta": of_inactive_conta,
    "staff": lambda _owner: factories.person("equipe@example.com", is_staff=True, is_superuser=True),
}


def test_the_table_has_every_address_of_a_conta() -> None:
    assert {p.name for p in urls.conta_urls if isinstance(p, URLPattern)} == set(CONTA_PAGES)


def test_browsers_find_an_icon_where_a_page_names_none() -> None:
    response = log_in(None).get("/favicon.ico")

    assert (response.status_code, response["Cache-Control"]) == (302, "public, max-age=86400")
    assert response["Location"].endswith("tds_new/favicon.svg")


@pytest.mark.parametrize("name", CONTA_PAGES)
@pytest.mark.parametrize("role", INSIDERS)
def test_members_of_every_role_get_in(owner: Conta, name: str, role: str) -> None:
    response = log_in(INSIDERS[role](owner)).get(reverse(name, args=[owner.pk]))

    assert response.status_code == 200
    assert "private" in response["Cache-Control"]
    assert "Cookie" in response["Vary"]


@pytest.mark.parametrize("name", CONTA_PAGES)
@pytest.mark.parametrize("who", OUTSIDERS)
def test_for_everybody_else_it_does_not_exist_in_the_same_words(owner: Conta, name: str, who: str) -> None:
    client = log_in(OUTSIDERS[who](owner))

    foreign = client.get(reverse(name, args=[owner.pk]))
    missing = client.get(reverse(name, args=[987_654]))

    assert (foreign.status_code, missing.status_code) == (404, 404)
    assert body(foreign) == body(missing)
    assert "Conta da Dona" not in foreign.text


def body(response: HttpResponseBase) -> str:
    """The page without the CSRF token and its own address."""
    return re.sub(r'value="[^"]*"', "", response.text)  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", CONTA_PAGES)
@pytest.mark.parametrize("exists", [True, False])
def test_anonymous_people_are_asked_to_log_in_whether_it_exists_or_not(
    owner: Conta, name: str, exists: bool
) -> None:
    url = reverse(name, args=[owner.pk if exists else 987_654])

    response = Client().get(url)

    if name in JSON_PAGES:
        assert response.status_code == 401
        assert set(response.json()) == {"error"}
    else:
        assert response.status_code == 302
        assert response["Location"] == f"{reverse('login')}?next={url}"


def test_somebody_deactivated_is_out_with_the_next_request(owner: Conta) -> None:
    user = factories.person("ana@example.com", owner)
    client = log_in(user)
    assert client.get(reverse("dashboard", args=[owner.pk])).status_code == 200

    User.objects.filter(pk=user.pk).update(is_active=False)

    assert client.get(reverse("dashboard", args=[owner.pk])).status_code == 302
    assert client.get(reverse("dashboard-data", args=[owner.pk])).status_code == 401


@pytest.mark.parametrize("name", CONTA_PAGES)
def test_nothing_of_a_conta_is_changed_by_post(owner: Conta, name: str) -> None:
    assert log_in(INSIDERS["admin"](owner)).post(reverse(name, args=[owner.pk])).status_code == 405


@pytest.mark.parametrize("conta", ["99999999999999999999", "0", "9223372036854775808"])
def test_a_number_too_large_for_the_database_is_a_404(owner: Conta, conta: str) -> None:
    assert log_in(INSIDERS["viewer"](owner)).get(f"/c/{conta}/painel/").status_code == 404
