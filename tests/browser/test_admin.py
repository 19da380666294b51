"""The admin in a browser: its pages and scripts keep the content security policy."""

from typing import Any

import pytest
from django.urls import reverse
from playwright.sync_api import Browser, Page, expect

from tds_new.models import Conta, Dispositivo, Gateway, MensagemRejeitada, User

PASSWORD = "uma senha bem comprida 42"


@pytest.fixture
def page(browser: Browser) -> Page:
    return browser.new_page(locale="pt-BR")


def test_no_page_of_the_admin_breaks_the_content_security_policy_and_its_scripts_work(
    live_server: Any, page: Page
) -> None:
    User.objects.create_superuser("root@example.com", PASSWORD)
    conta = Conta.objects.create(name="Condomínio Aurora")
    gateway = Gateway.objects.create(conta=conta, codigo="GW-1", mac="aa:bb:cc:00:00:01")
    device = Dispositivo.objects.create(gateway=gateway, codigo="D01")
    message = MensagemRejeitada.objects.create(
        topico="t", payload=b"<b>\xf0", motivo="json_invalido", gateway=gateway, conta=conta
    )
    complaints: list[str] = []
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))  # browsers ask for it by themselves
    page.on(
        "console", lambda entry: complaints.append(entry.text) if entry.type in ("error", "warning") else None
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))

    page.goto(live_server.url + reverse("admin:login"))
    page.fill("#id_username", "Root@Example.com")
    page.fill("#id_password", PASSWORD)
    page.click("[type=submit]")
    expect(page.locator("#user-tools")).to_be_visible()
    names = [("conta", conta), ("user", User.objects.get()), ("gateway", gateway), ("dispositivo", device)]
    for model, instance in names:
        for path in ("changelist", "add"):
            page.goto(live_server.url + reverse(f"admin:tds_new_{model}_{path}"))
        page.goto(live_server.url + reverse(f"admin:tds_new_{model}_change", args=[instance.pk]))
        page.goto(live_server.url + reverse(f"admin:tds_new_{model}_delete", args=[instance.pk]))
    for model in ("mensagemrejeitada", "rejeicaocontador", "consumerstatus"):
        response = page.goto(live_server.url + reverse(f"admin:tds_new_{model}_changelist"))
        assert response is not None
        assert "script-src 'self'" in response.headers["content-security-policy"]
        assert "unsafe-inline" not in response.headers["content-security-policy"]
    page.goto(live_server.url + reverse("admin:tds_new_mensagemrejeitada_change", args=[message.pk]))

    page.goto(live_server.url + reverse("admin:tds_new_gateway_change", args=[gateway.pk]))
    page.click("#dispositivos-group .add-row a")
    page.fill("#id_dispositivos-1-codigo", "D02")
    page.click("input[name=_save]")
    expect(page.locator(".messagelist .success")).to_be_visible()
    assert gateway.dispositivos.count() == 2
    page.goto(live_server.url + reverse("admin:tds_new_dispositivo_add"))
    page.click(".field-gateway .select2-selection")
    page.fill(".select2-search__field", "GW-1")
    expect(page.locator(".select2-results__option").first).to_contain_text("GW-1")
    assert complaints == []
