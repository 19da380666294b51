"""Who gets at what: a table of addresses, each tried by everybody. A new address is a new row."""

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

DA_CONTA = ["painel", "painel-dados", "dispositivo-lista", "gateway-lista"]
DADOS = {"painel-dados"}


@pytest.fixture
def dona() -> Conta:
    return factories.conta("Conta da Dona")


def entrar(quem: User | None) -> Client:
    client = Client()
    if quem:
        client.force_login(quem, backend="django.contrib.auth.backends.ModelBackend")
    return client


def ex_membro(dona: Conta) -> User:
    user = factories.pessoa("ex@example.com", dona)
    ContaMembership.objects.update(is_active=False)
    return user


def de_conta_inativa(dona: Conta) -> User:
    user = factories.pessoa("inativa@example.com", dona)
    Conta.objects.update(is_active=False)
    return user


DENTRO: dict[str, Callable[[Conta], User]] = {
    papel: lambda dona, papel=papel: factories.pessoa(f"{papel}@example.com", dona, role=papel)  # type: ignore[misc]
    for papel in ("admin", "editor", "viewer")
}
FORA: dict[str, Callable[[Conta], User]] = {
    "stranger": lambda _dona: factories.pessoa(
        "estranha@example.com", factories.conta("Outra"), role="admin"
    ),
    "nobody's member": lambda _dona: factories.pessoa("nada@example.com"),
    "ex-member": ex_membro,
    "member of an inactive Conta": de_conta_inativa,
    "staff": lambda _dona: factories.pessoa("equipe@example.com", is_staff=True, is_superuser=True),
}


def test_the_table_has_every_address_of_a_conta() -> None:
    assert {p.name for p in urls.da_conta if isinstance(p, URLPattern)} == set(DA_CONTA)


def test_browsers_find_an_icon_where_a_page_names_none() -> None:
    response = entrar(None).get("/favicon.ico")

    assert (response.status_code, response["Cache-Control"]) == (302, "public, max-age=86400")
    assert response["Location"].endswith("tds_new/favicon.svg")


@pytest.mark.parametrize("nome", DA_CONTA)
@pytest.mark.parametrize("papel", DENTRO)
def test_members_of_every_role_get_in(dona: Conta, nome: str, papel: str) -> None:
    response = entrar(DENTRO[papel](dona)).get(reverse(nome, args=[dona.pk]))

    assert response.status_code == 200
    assert "private" in response["Cache-Control"]
    assert "Cookie" in response["Vary"]


@pytest.mark.parametrize("nome", DA_CONTA)
@pytest.mark.parametrize("quem", FORA)
def test_for_everybody_else_it_does_not_exist_in_the_same_words(dona: Conta, nome: str, quem: str) -> None:
    client = entrar(FORA[quem](dona))

    alheia = client.get(reverse(nome, args=[dona.pk]))
    inexistente = client.get(reverse(nome, args=[987_654]))

    assert (alheia.status_code, inexistente.status_code) == (404, 404)
    assert corpo(alheia) == corpo(inexistente)
    assert "Conta da Dona" not in alheia.text


def corpo(response: HttpResponseBase) -> str:
    """The page without what is of the request alone: its CSRF token and its own address."""
    return re.sub(r'value="[^"]*"', "", response.text)  # type: ignore[attr-defined]


@pytest.mark.parametrize("nome", DA_CONTA)
@pytest.mark.parametrize("existe", [True, False])
def test_anonymous_people_are_asked_to_log_in_whether_it_exists_or_not(
    dona: Conta, nome: str, existe: bool
) -> None:
    url = reverse(nome, args=[dona.pk if existe else 987_654])

    response = Client().get(url)

    if nome in DADOS:
        assert response.status_code == 401
        assert set(response.json()) == {"erro"}
    else:
        assert response.status_code == 302
        assert response["Location"] == f"{reverse('entrar')}?next={url}"


def test_somebody_deactivated_is_out_with_the_next_request(dona: Conta) -> None:
    user = factories.pessoa("ana@example.com", dona)
    client = entrar(user)
    assert client.get(reverse("painel", args=[dona.pk])).status_code == 200

    User.objects.filter(pk=user.pk).update(is_active=False)

    assert client.get(reverse("painel", args=[dona.pk])).status_code == 302
    assert client.get(reverse("painel-dados", args=[dona.pk])).status_code == 401


@pytest.mark.parametrize("nome", DA_CONTA)
def test_nothing_of_a_conta_is_changed_by_post(dona: Conta, nome: str) -> None:
    assert entrar(DENTRO["admin"](dona)).post(reverse(nome, args=[dona.pk])).status_code == 405


@pytest.mark.parametrize("conta", ["99999999999999999999", "0", "9223372036854775808"])
def test_a_number_too_large_for_the_database_is_a_404(dona: Conta, conta: str) -> None:
    assert entrar(DENTRO["viewer"](dona)).get(f"/c/{conta}/painel/").status_code == 404
