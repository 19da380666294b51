"""A Chromium and a Conta with data, for tests in the browser."""

import os
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.db import connections
from django.utils.timezone import now
from playwright.sync_api import Browser, Page, sync_playwright

from tds_new.models import Conta, ContaAtividade
from tests.support import factories

CHROMIUM = os.environ.get("TDS_TEST_CHROMIUM", "/usr/bin/chromium")
MIN = timedelta(minutes=1)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = os.path.dirname(__file__)
    for item in items:
        if str(item.path).startswith(here):
            item.add_marker(pytest.mark.django_db(transaction=True))
            item.add_marker(
                pytest.mark.skipif(not os.path.exists(CHROMIUM), reason=f"no Chromium at {CHROMIUM}")
            )


@pytest.fixture(scope="session")
def chromium(django_db_setup: None) -> Iterator[Browser]:
    """One Chromium for all tests; it ends before the test database is dropped."""
    with sync_playwright() as playwright:
        new = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield new
        # While Playwright's event loop runs, Django gives this thread a second session; it would keep the
        # test database alive.
        connections.close_all()
        new.close()


@pytest.fixture
def browser(chromium: Browser) -> Iterator[Browser]:
    """The browser without a page; what a test opened is closed."""
    yield chromium
    for context in chromium.contexts:
        context.close()


@pytest.fixture
def complaints() -> list[str]:
    """Collect the browser's complaints: violations of the policy, script errors."""
    return []


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser, live_server: Any, complaints: list[str], settings: Any) -> OpenPage:
    """Opens a page of somebody who is logged in (without ``email``: of nobody)."""
    settings.TDS_POLL_SECONDS = 1

    def open_(path: str, email: str = "ana@example.com", width: int = 1280, **options: Any) -> Page:
        context = browser.new_context(
            base_url=live_server.url,
            viewport={"width": width, "height": 900},
            **{"locale": "pt-BR", **options},
        )
        page = context.new_page()
        page.on(
            "console",
            lambda entry: complaints.append(entry.text) if entry.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if email:
            page.goto("/entrar/")
            page.fill("#id_username", email)
            page.fill("#id_password", factories.PASSWORD)
            page.click("main button.primary")
        page.goto(path)
        return page

    return open_


@pytest.fixture
def empty_conta() -> Conta:
    """A Conta that never had a reading, and its member Ana."""
    conta = factories.conta()
    factories.person("ana@example.com", conta)
    return conta


@pytest.fixture
def measured_conta(empty_conta: Conta) -> Conta:
    """Two hours of energy (two meters), water and temperature; one gateway silent."""
    now_ = now().replace(microsecond=0)
    for gateway_codigo, online, end in (("GW-1", True, now_ - MIN), ("GW-2", False, now_ - 40 * MIN)):
        gateway = factories.gateway(empty_conta, gateway_codigo, online=online, seen=end)
        for codigo, grandeza, unidade, tipo_leitura, values in (
            ("D01", "ENERGIA", "kWh", "ACUMULADA", [1000 + i for i in range(24)]),
            ("D02", "AGUA", "m³", "ACUMULADA", [50 + i / 10 for i in range(24)]),
            ("D03", "TEMPERATURA", "°C", "INSTANTANEA", [-18 + i / 7 for i in range(24)]),
        ):
            device = factories.device(gateway, codigo, grandeza, unidade, tipo_leitura)
            factories.readings(device, factories.points(end - 23 * 5 * MIN, 5 * MIN, values))
    ContaAtividade.objects.filter(conta=empty_conta).update(status_seq=1)
    return empty_conta
