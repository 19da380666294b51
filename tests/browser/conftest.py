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


@pytest.fixture
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        novo = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield novo
        # While Playwright's event loop runs, Django gives this thread a second session; it would keep the test database alive.
        connections.close_all()
        novo.close()


@pytest.fixture
def queixas() -> list[str]:
    """What the browser's console complained of: violations of the content security policy, errors of scripts."""
    return []


AbrirPagina = Callable[..., Page]


@pytest.fixture
def abrir(browser: Browser, live_server: Any, queixas: list[str], settings: Any) -> AbrirPagina:
    """Opens a page of somebody who is logged in (without ``email``: of nobody)."""
    settings.TDS_POLL_SECONDS = 1

    def abrir_pagina(
        caminho: str, email: str = "ana@example.com", largura: int = 1280, **opcoes: Any
    ) -> Page:
        contexto = browser.new_context(
            base_url=live_server.url,
            viewport={"width": largura, "height": 900},
            **{"locale": "pt-BR", **opcoes},
        )
        page = contexto.new_page()
        page.on(
            "console",
            lambda entrada: queixas.append(entrada.text) if entrada.type in ("error", "warning") else None,
        )
        page.on("pageerror", lambda erro: queixas.append(str(erro)))
        if email:
            page.goto("/entrar/")
            page.fill("#id_username", email)
            page.fill("#id_password", factories.SENHA)
            page.click("main button.principal")
        page.goto(caminho)
        return page

    return abrir_pagina


@pytest.fixture
def vazia() -> Conta:
    """A Conta that never had a reading, and its member Ana."""
    nova = factories.conta()
    factories.pessoa("ana@example.com", nova)
    return nova


@pytest.fixture
def medida(vazia: Conta) -> Conta:
    """Two hours of energy (two meters), water and temperature; one gateway silent."""
    agora = now().replace(microsecond=0)
    for codigo, online, fim in (("GW-1", True, agora - MIN), ("GW-2", False, agora - 40 * MIN)):
        gateway = factories.gateway(vazia, codigo, online=online, visto=fim)
        for nome, grandeza, unidade, tipo, valores in (
            ("D01", "ENERGIA", "kWh", "ACUMULADA", [1000 + i for i in range(24)]),
            ("D02", "AGUA", "m³", "ACUMULADA", [50 + i / 10 for i in range(24)]),
            ("D03", "TEMPERATURA", "°C", "INSTANTANEA", [-18 + i / 7 for i in range(24)]),
        ):
            de = factories.dispositivo(gateway, nome, grandeza, unidade, tipo)
            factories.leituras(de, factories.escada(fim - 23 * 5 * MIN, 5 * MIN, valores))
    ContaAtividade.objects.filter(conta=vazia).update(status_seq=1)
    return vazia
