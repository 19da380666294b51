"""The meter pages of the admin in a browser: under the strict policy, on a desk and on a phone, decided by clicks alone."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connections
from django.urls import reverse
from playwright.sync_api import Page, expect, sync_playwright

from tds_new.models import LeituraEmRevisao, RevisaoLeitura, TrocaMedidor, User
from tests import fabrica
from tests.medidores import JUMP, ROLLOVER, SPIKE, meter, url

CHROMIUM = os.environ.get("TDS_TEST_CHROMIUM", "/usr/bin/chromium")

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(not os.path.exists(CHROMIUM), reason=f"no Chromium at {CHROMIUM}"),
]


@pytest.fixture(params=[1440, 390])
def page(request: pytest.FixtureRequest, live_server: Any) -> Iterator[Page]:
    """Somebody who may do everything, logged in; it fails on whatever the browser complains of."""
    User.objects.create_superuser("root@example.com", fabrica.SENHA)
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(locale="pt-BR", base_url=live_server.url, viewport={"width": request.param, "height": 900})
        page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
        page.on("console", lambda entry: complaints.append(entry.text) if entry.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(reverse("admin:login"))
        page.fill("#id_username", "root@example.com")
        page.fill("#id_password", fabrica.SENHA)
        page.click("[type=submit]")
        expect(page.locator("#user-tools")).to_be_visible()
        yield page
        connections.close_all()  # Playwright's event loop gave this thread a second session
        browser.close()
    assert complaints == []


def fits(page: Page) -> bool:
    """Whether nothing makes the page scroll sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_a_jump_is_approved_and_another_explained_by_clicks(page: Page) -> None:
    first, second = meter(JUMP, "D01"), meter(JUMP, "D02")
    meter(SPIKE, "D03")
    meter(ROLLOVER, "D04")
    page.goto(url("leituraemrevisao", "changelist"))
    assert fits(page)
    expect(page.locator("#result_list tbody tr")).to_have_count(4)
    states = page.locator("#result_list .field-state .selo")
    expect(states.nth(0)).to_contain_text("À espera")
    for cell in page.locator("#result_list .selo").all():
        box = cell.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= page.viewport_size["width"]  # type: ignore[index]

    page.locator("#result_list tr", has_text="D01").locator("input").check()
    page.select_option("select[name=action]", "approve")
    page.click("button[name=index]")
    expect(page.locator("tr.esta")).to_contain_text("50.000")
    assert fits(page)
    page.click("[name=confirmar]")
    expect(page.locator(".errorlist")).to_be_visible()  # no reason given
    page.fill("[name=motivo]", "visto no local")
    page.click("[name=confirmar]")
    expect(page.locator(".messagelist .success")).to_contain_text("1 leitura aprovada")
    assert RevisaoLeitura.objects.get().dispositivo == first

    one = LeituraEmRevisao.objects.get(dispositivo=second)
    page.goto(url("leituraemrevisao", "change", one.chave))
    assert fits(page)
    page.click("text=Registrar troca")
    expect(page.locator(f"[name='{one.chave}-leitura_final']")).to_have_value("1020")
    assert fits(page)
    page.fill(f"[name='{one.chave}-leitura_final']", "1.022,5")
    page.fill("[name=motivo]", "medidor queimado")
    page.click("[name=confirmar]")
    expect(page.locator(".messagelist .success")).to_contain_text("1 troca registrada")
    assert float(TrocaMedidor.objects.get().leitura_final) == 1022.5


def test_the_pages_of_entries_keep_the_policy_and_the_clock_beside_the_field_is_the_contas(page: Page) -> None:
    device = meter(JUMP, timezone="America/Manaus")
    page.goto(url("dispositivo", "change", device.pk))
    assert fits(page)
    page.click("text=Registrar troca")
    for shortcut in ("Hoje", "Agora"):
        page.get_by_role("link", name=shortcut, exact=True).click()
    shown = " ".join(page.input_value(f"#id_ocorrida_em_{n}") for n in (0, 1))
    page.fill("#id_leitura_final", "1020,5")
    page.fill("#id_leitura_inicial", "49999,5")
    page.fill("#id_motivo", "queimado")
    page.click("input[name=_save]")
    expect(page.locator(".messagelist .success")).to_be_visible()
    expect(page.locator(".medidor")).to_contain_text("1.020,5")
    stored = TrocaMedidor.objects.get().ocorrida_em.astimezone(device.conta.zone)
    assert f"{stored:%d/%m/%Y %H:%M:%S}" == shown
    assert abs((TrocaMedidor.objects.get().registrado_em - stored).total_seconds()) < 3600 / 2

    for model in ("trocamedidor", "vigenciaparametros", "revisaoleitura", "auditoriamedicao"):
        page.goto(url(model, "changelist"))
    page.goto(f"{url('vigenciaparametros', 'add')}?dispositivo={device.pk}")
    page.goto(f"{url('revisaoleitura', 'add')}?dispositivo={device.pk}")
    page.goto(url("trocamedidor", "delete", TrocaMedidor.objects.get().pk))
    assert fits(page)
