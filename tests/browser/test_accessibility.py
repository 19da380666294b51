"""Every page, in both themes, on a phone and on a desk, with and without data: axe finds nothing, nothing scrolls sideways."""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tds_new.models import Conta, User
from tests.support import factories

AbrirPagina = Any
pytestmark = pytest.mark.once  # what a page looks like does not depend on the database
REGRAS = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]},
    "rules": {"target-size": {"enabled": True}},
}
TAMANHOS = [360, 1280]
TEMAS = ["light", "dark"]


def conferir(page: Page) -> None:
    violacoes = Axe().run(page, options=REGRAS).response["violations"]
    resumo = [(v["id"], [n["html"][:160] for n in v["nodes"]]) for v in violacoes]
    assert resumo == []
    largura = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert largura[0] <= largura[1]


@pytest.mark.parametrize("tema", TEMAS)
@pytest.mark.parametrize("largura", TAMANHOS)
def test_the_pages_of_a_conta_with_data(medida: Conta, abrir: AbrirPagina, largura: int, tema: str) -> None:
    page = abrir(f"/c/{medida.pk}/painel/", largura=largura, color_scheme=tema)
    page.click(".filtros summary")
    for resumo in page.locator(".como-tabela summary").all():
        resumo.click()
    conferir(page)
    page.click(".menu summary")
    conferir(page)
    for lista in ("dispositivos", "gateways"):
        page.goto(f"/c/{medida.pk}/{lista}/")
        conferir(page)


@pytest.mark.parametrize("tema", TEMAS)
@pytest.mark.parametrize("largura", TAMANHOS)
def test_the_pages_of_an_empty_conta_and_those_without_one(
    vazia: Conta, abrir: AbrirPagina, largura: int, tema: str
) -> None:
    page = abrir(f"/c/{vazia.pk}/painel/?periodo=x", largura=largura, color_scheme=tema)
    conferir(page)
    for caminho in (
        f"/c/{vazia.pk}/dispositivos/",
        f"/c/{vazia.pk}/gateways/?q=nada",
        "/contas/",
        "/nao-existe/",
    ):
        page.goto(caminho)
        conferir(page)


@pytest.mark.parametrize("tema", TEMAS)
def test_login_with_its_errors_and_people_without_a_conta(
    vazia: Conta, abrir: AbrirPagina, tema: str
) -> None:
    factories.pessoa("nada@example.com")
    page = abrir("/entrar/", email="", largura=360, color_scheme=tema)
    conferir(page)
    page.fill("#id_username", "isto não é um e-mail")
    page.click("main button.principal")
    expect(page.locator("[role=alert]")).to_be_visible()
    conferir(page)
    conferir(abrir("/contas/", email="nada@example.com", color_scheme=tema))


@pytest.mark.parametrize("largura", [320, 599, 600, 899, 900, 1199, 1200, 1440])
def test_nothing_scrolls_sideways_at_any_width(medida: Conta, abrir: AbrirPagina, largura: int) -> None:
    page = abrir(f"/c/{medida.pk}/painel/", largura=largura)
    for caminho in ("painel/?periodo=datas", "dispositivos/", "gateways/"):
        page.goto(f"/c/{medida.pk}/{caminho}")
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), caminho


def test_the_keyboard_reaches_the_content_first_and_focus_is_seen(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(f"/c/{medida.pk}/painel/")

    page.keyboard.press("Tab")
    expect(page.locator(".pular")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#pausar")).to_be_focused()
    assert page.locator("#pausar").evaluate("(e) => getComputedStyle(e).outlineWidth") == "3px"


def test_the_theme_chosen_wins_over_the_systems(medida: Conta, abrir: AbrirPagina) -> None:
    assert User.objects.exists()
    page = abrir(f"/c/{medida.pk}/painel/?periodo=7d", color_scheme="light")
    fundo = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(fundo) == "rgb(245, 247, 250)"

    page.click(".menu summary")
    page.click("text=Escura")

    expect(page).to_have_url(re.compile(r"\?periodo=7d$"))
    assert page.evaluate(fundo) == "rgb(14, 20, 27)"
