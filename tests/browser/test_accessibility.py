"""Every page in both themes, on a phone and on a desk, with and without data.

axe finds nothing, and nothing scrolls sideways.
"""

import re
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, expect

from tds_new.models import Conta, User
from tests.support import factories

OpenPage = Any
pytestmark = pytest.mark.once  # what a page looks like does not depend on the database
RULES = {
    "runOnly": {"type": "tag", "values": ["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa", "best-practice"]},
    "rules": {"target-size": {"enabled": True}},
}
WIDTHS = [360, 1280]
THEMES = ["light", "dark"]


def check(page: Page) -> None:
    violations = Axe().run(page, options=RULES).response["violations"]
    summary = [(v["id"], [n["html"][:160] for n in v["nodes"]]) for v in violations]
    assert summary == []
    width = page.evaluate("[document.documentElement.scrollWidth, document.documentElement.clientWidth]")
    assert width[0] <= width[1]


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_pages_of_a_conta_with_data(
    measured_conta: Conta, open_page: OpenPage, width: int, theme: str
) -> None:
    page = open_page(f"/c/{measured_conta.pk}/painel/", width=width, color_scheme=theme)
    page.click(".filters summary")
    for summary in page.locator(".as-table summary").all():
        summary.click()
    check(page)
    page.click(".menu summary")
    check(page)
    for listing in ("dispositivos", "gateways"):
        page.goto(f"/c/{measured_conta.pk}/{listing}/")
        check(page)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("width", WIDTHS)
def test_the_pages_of_an_empty_conta_and_those_without_one(
    empty_conta: Conta, open_page: OpenPage, width: int, theme: str
) -> None:
    page = open_page(f"/c/{empty_conta.pk}/painel/?periodo=x", width=width, color_scheme=theme)
    check(page)
    for path in (
        f"/c/{empty_conta.pk}/dispositivos/",
        f"/c/{empty_conta.pk}/gateways/?q=nada",
        "/contas/",
        "/nao-existe/",
    ):
        page.goto(path)
        check(page)


@pytest.mark.parametrize("theme", THEMES)
def test_login_with_its_errors_and_people_without_a_conta(
    empty_conta: Conta, open_page: OpenPage, theme: str
) -> None:
    factories.person("nada@example.com")
    page = open_page("/entrar/", email="", width=360, color_scheme=theme)
    check(page)
    page.fill("#id_username", "isto não é um e-mail")
    page.click("main button.primary")
    expect(page.locator("[role=alert]")).to_be_visible()
    check(page)
    check(open_page("/contas/", email="nada@example.com", color_scheme=theme))


@pytest.mark.parametrize("width", [320, 1280])
def test_the_page_that_refuses_a_login(open_page: OpenPage, width: int) -> None:
    page = open_page("/entrar/", email="", width=width)
    for _ in range(6):
        page.goto("/entrar/")
        page.fill("#id_username", "ana@example.com")
        page.fill("#id_password", "errada")
        page.click("main button")
    expect(page.locator("h1")).to_have_text("Acesso bloqueado por enquanto")
    expect(page.locator("main")).to_contain_text("Espere 15 minutos")
    check(page)


@pytest.mark.parametrize("width", [320, 599, 600, 899, 900, 1199, 1200, 1440])
def test_nothing_scrolls_sideways_at_any_width(
    measured_conta: Conta, open_page: OpenPage, width: int
) -> None:
    page = open_page(f"/c/{measured_conta.pk}/painel/", width=width)
    for path in ("painel/?periodo=datas", "dispositivos/", "gateways/"):
        page.goto(f"/c/{measured_conta.pk}/{path}")
        assert page.evaluate(
            "document.documentElement.scrollWidth <= document.documentElement.clientWidth"
        ), path


def test_the_keyboard_reaches_the_content_first_and_focus_is_seen(
    measured_conta: Conta, open_page: OpenPage
) -> None:
    page = open_page(f"/c/{measured_conta.pk}/painel/")

    page.keyboard.press("Tab")
    expect(page.locator(".skip-link")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    expect(page.locator("#pause")).to_be_focused()
    assert page.locator("#pause").evaluate("(e) => getComputedStyle(e).outlineWidth") == "3px"


def test_the_theme_chosen_wins_over_the_systems(measured_conta: Conta, open_page: OpenPage) -> None:
    assert User.objects.exists()
    page = open_page(f"/c/{measured_conta.pk}/painel/?periodo=7d", color_scheme="light")
    background = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(background) == "rgb(245, 247, 250)"

    page.click(".menu summary")
    page.click("text=Escura")

    expect(page).to_have_url(re.compile(r"\?periodo=7d$"))
    assert page.evaluate(background) == "rgb(14, 20, 27)"
