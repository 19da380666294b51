"""The meter pages of the admin in a browser, on a desk and on a phone."""

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.urls import reverse
from django.utils.timezone import now
from playwright.sync_api import Browser, Page, expect

from tds_new.models import (
    ConsumerStatus,
    Dispositivo,
    Gateway,
    LeituraEmRevisao,
    MensagemRejeitada,
    RevisaoLeitura,
    TrocaMedidor,
    User,
)
from tests.support import factories
from tests.support.meters import JUMP, ROLLOVER, SPIKE, START, STEP, meter, url


@pytest.fixture(params=[1440, 390])
def page(request: pytest.FixtureRequest, browser: Browser, live_server: Any) -> Iterator[Page]:
    """A page of somebody who may do everything; it fails on any complaint."""
    User.objects.create_superuser("root@example.com", factories.PASSWORD)
    complaints: list[str] = []
    page = browser.new_page(
        locale="pt-BR", base_url=live_server.url, viewport={"width": request.param, "height": 900}
    )
    page.route("**/favicon.ico", lambda route: route.fulfill(status=204))
    page.on(
        "console",
        lambda entry: complaints.append(entry.text) if entry.type in ("error", "warning") else None,
    )
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(reverse("admin:login"))
    page.fill("#id_username", "root@example.com")
    page.fill("#id_password", factories.PASSWORD)
    page.click("[type=submit]")
    expect(page.locator("#user-tools")).to_be_visible()
    yield page
    assert complaints == []


def fits(page: Page) -> bool:
    """Return whether the page fits without scrolling sideways."""
    return bool(page.evaluate("document.documentElement.scrollWidth <= innerWidth"))


def test_a_jump_is_left_out_and_another_explained_by_clicks(page: Page) -> None:
    first, second = meter(JUMP, "D01"), meter(JUMP, "D02")
    meter(SPIKE, "D03")
    meter(ROLLOVER, "D04")
    page.goto(url("leituraemrevisao", "changelist"))
    assert fits(page)
    expect(page.locator("#result_list tbody tr")).to_have_count(4)
    expect(page.locator(".waiting")).to_contain_text("2 à espera de alguém")
    states = page.locator("#result_list .field-state .badge")
    expect(states.nth(0)).to_contain_text("À espera")
    for cell in page.locator("#result_list .badge").all():
        box = cell.bounding_box()
        assert box is not None
        assert box["x"] + box["width"] <= page.viewport_size["width"]  # type: ignore[index]

    page.locator("#result_list tr", has_text="D01").locator("input").check()
    page.select_option("select[name=action]", "see")
    page.click("button[name=index]")
    expect(page.locator("tr.current")).to_contain_text("50.000")
    expect(page.locator(".effect")).to_contain_text("Nenhum total muda.")
    assert fits(page)
    page.click("[name=confirmar]")
    expect(page.locator(".errorlist")).to_be_visible()  # no reason given
    page.fill("[name=motivo]", "visto no local")
    page.click("[name=confirmar]")
    expect(page.locator(".messagelist .success")).to_contain_text("1 leitura marcada como vista")
    assert RevisaoLeitura.objects.get().dispositivo == first

    one = LeituraEmRevisao.objects.get(dispositivo=second)
    page.goto(url("leituraemrevisao", "change", one.chave))
    assert fits(page)
    assert louder(page, "Deixar fora", "Aprovar: contar o salto")
    page.get_by_role("link", name="Registrar troca").click()
    expect(page.locator("[name=leitura_final]")).to_have_value("1020")
    assert fits(page)
    page.fill("[name=leitura_final]", "1.022,5")
    page.fill("[name=motivo]", "medidor queimado")
    page.click("[name=ver]")
    expect(page.locator(".effect .total")).to_contain_text("+2,5 kWh")
    expect(page.locator("[name=motivo]")).to_have_value("medidor queimado")
    page.click("[name=confirmar]")
    expect(page.locator(".messagelist .success")).to_contain_text("Troca registrada")
    assert float(TrocaMedidor.objects.get().leitura_final) == 1022.5


def louder(page: Page, safe: str, quiet: str) -> bool:
    """Return whether the safe choice is a filled button, and the other one is not."""
    background = "element => getComputedStyle(element).backgroundColor"
    loud, other = (
        page.get_by_role("link", name=name, exact=True).evaluate(background) for name in (safe, quiet)
    )
    return bool(loud != other and other == "rgba(0, 0, 0, 0)")


def test_what_only_waits_for_the_next_readings_asks_for_nothing(page: Page) -> None:
    device = meter(())
    at = now() - timedelta(minutes=1)
    factories.readings(device, [(at - STEP * (3 - n), v) for n, v in enumerate((1000, 1010, 1020, 4))])
    page.goto(url("leituraemrevisao", "change", LeituraEmRevisao.objects.get().chave))
    expect(page.locator(".explanation")).to_contain_text("Não há nada a fazer")
    expect(page.locator(".decisions")).to_be_hidden()
    page.click("details.decide summary")
    expect(page.locator(".decisions")).to_be_visible()
    assert fits(page)


def within(page: Page, selector: str) -> bool:
    """Return whether all elements of ``selector`` are on the screen."""
    boxes = [element.bounding_box() for element in page.locator(selector).all()]
    width = page.viewport_size["width"]  # type: ignore[index]
    return bool(boxes) and all(
        box is not None and box["x"] >= 0 and box["x"] + box["width"] <= width for box in boxes
    )


def test_why_something_was_changed_is_on_the_screen_and_so_is_why_a_reading_is_under_review(
    page: Page,
) -> None:
    device = meter(JUMP, "D01")
    reason = (
        "Obra com guindaste; consumo confirmado pela fatura da concessionaria e pela visita ao local em marco"
    )
    TrocaMedidor.objects.create(dispositivo=device, ocorrida_em=START, leitura_final=1, motivo=reason)
    page.goto(url("auditoriamedicao", "changelist"))
    expect(page.locator("#result_list .field-why").first).to_contain_text("guindaste")
    assert within(page, "#result_list .field-why")
    assert fits(page)
    page.goto(url("leituraemrevisao", "change", LeituraEmRevisao.objects.get().chave))
    expect(page.locator(".explanation")).to_contain_text("O plausível seria até 100")
    assert within(page, ".explanation, .decisions .decision, .decisions p, .facts > div")
    assert fits(page)


def test_no_list_is_cut_on_a_desk_nor_the_ones_that_matter_on_a_phone(page: Page) -> None:
    device = meter(JUMP, "MEDIDOR-PRINCIPAL-01")
    Dispositivo.objects.update(nome="Entrada geral do bloco administrativo")
    device.conta.name, device.gateway.codigo = (
        "Condomínio Residencial Jardim das Acácias",
        "GW-07 Loja 12 Subsolo",
    )
    device.conta.save()
    device.gateway.save()
    Gateway.objects.update(last_seen=START)
    refused = {
        "motivo": "dispositivo_desconhecido",
        "payload": b"{",
        "detalhe": "Expecting property name enclosed in quotes: " * 3,
    }
    MensagemRejeitada.objects.create(
        gateway=device.gateway, conta=device.conta, topico="tds_new/devices/aabbcc000001/telemetry", **refused
    )
    MensagemRejeitada.objects.create(
        topico=f"tds_new/devices/{'a' * 60}/telemetry", reprocessada_em=START, **refused
    )
    name = "tds-new-consumer-primary-7f9c4d5b68-x2lqp"
    ConsumerStatus.objects.create(
        client_id=name,
        host=f"{name}.metering.svc.cluster.local",
        since=START,
        updated_at=START,
        last_batch_at=START,
    )
    models = ["dispositivo", "mensagemrejeitada", "auditoriamedicao", "leituraemrevisao"]
    desk = page.viewport_size["width"] > 390  # type: ignore[index]
    for model in models + (["gateway", "consumerstatus", "conta"] if desk else []):
        page.goto(url(model, "changelist"))
        assert page.locator("#result_list tbody tr").count() > 0
        assert page.evaluate(
            "document.querySelector('.results').scrollWidth <= document.querySelector('.results').clientWidth"
        ), model


def test_the_pages_of_entries_keep_the_policy_and_the_clock_beside_the_field_is_the_contas(
    page: Page,
) -> None:
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
    expect(page.locator(".meter")).to_contain_text("1.020,5")
    stored = TrocaMedidor.objects.get().ocorrida_em.astimezone(device.conta.zone)
    assert f"{stored:%d/%m/%Y %H:%M:%S}" == shown
    assert abs((TrocaMedidor.objects.get().registrado_em - stored).total_seconds()) < 3600 / 2

    for model in ("trocamedidor", "vigenciaparametros", "revisaoleitura", "auditoriamedicao"):
        page.goto(url(model, "changelist"))
    page.goto(f"{url('vigenciaparametros', 'add')}?dispositivo={device.pk}")
    page.goto(f"{url('revisaoleitura', 'add')}?dispositivo={device.pk}")
    page.goto(url("trocamedidor", "delete", TrocaMedidor.objects.get().pk))
    assert fits(page)


def test_a_main_meter_is_found_by_typing_and_the_page_shows_the_structure(page: Page) -> None:
    main = meter((), "M01")
    Dispositivo.objects.filter(pk=main.pk).update(nome="Entrada")
    device = Dispositivo.objects.create(gateway=main.gateway, codigo="A01")
    Dispositivo.objects.create(gateway=main.gateway, codigo="B01", medidor_pai=device)
    meter((), "F01")  # of another Conta
    page.goto(url("dispositivo", "change", device.pk))
    assert fits(page)
    expect(page.locator(".structure li")).to_have_count(2)
    page.click("#id_medidor_pai + .select2")
    found = page.locator(".select2-results__option")
    expect(found).to_have_text(["M01 Entrada · GW-M01 · Energia"])
    page.keyboard.type("entra")
    found.first.click()
    page.click("[name=_continue]")
    expect(page.locator(".messagelist .warning")).to_contain_text("está no de M01 Entrada")
    expect(page.locator(".structure li")).to_have_count(3)
    expect(page.locator(".structure li").first).to_contain_text("M01 Entrada")
    assert fits(page)
    page.goto(url("conta", "change", main.conta_id))
    expect(page.locator(".structure li")).to_have_count(3)
    assert fits(page)
