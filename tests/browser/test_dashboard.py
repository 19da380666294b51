"""The dashboard as people use it: login, figures, filters, polls in place."""

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from django.contrib.sessions.models import Session
from django.core.management import CommandError, call_command
from django.db import DatabaseError
from django.utils import translation
from django.utils.timezone import now
from playwright.sync_api import Page, Route, expect

from tds_new import formats
from tds_new.models import Conta, ContaAtividade, Dispositivo, Gateway
from tds_new.queries.consumption import monthly_consumption
from tests.browser.conftest import CHROMIUM
from tests.support import factories
from tests.support.paths import ROOT

VECTORS = json.loads((ROOT / "tests" / "web" / "format_vectors.json").read_text(encoding="utf-8"))
OpenPage = Any


def dashboard(conta: Conta, query: str = "") -> str:
    return f"/c/{conta.pk}/painel/{query}"


def card(page: Page, card_id: str) -> Any:
    return page.locator(f'[data-card="{card_id}"]')


def month_energy(conta: Conta) -> str:
    """The month's consumption as shown, also in the first hours of a month."""
    with translation.override("pt-br"):
        return formats.value(monthly_consumption(conta, None, now())[0].months[-1].total, "kWh")


def store_reading(codigo: str, valor: float) -> None:
    """One more reading, a little newer than the last, as the consumer would store it."""
    device = Dispositivo.objects.get(gateway__codigo="GW-1", codigo=codigo)
    assert device.last_seen
    factories.readings(device, [(device.last_seen + timedelta(seconds=10), valor)])


def wait_drawn(page: Page, figure: str) -> None:
    """Scroll to a chart and wait until it is drawn."""
    page.locator(figure).scroll_into_view_if_needed()
    expect(page.locator(f"{figure} canvas")).to_have_attribute("width", re.compile(r"\d+"))


def last_point(page: Page) -> Any:
    return page.evaluate(
        "Chart.getChart(document.querySelector('figure canvas')).data.datasets[0].data.at(-1).y"
    )


def test_login_leads_to_figures_and_charts_and_nothing_complains(
    measured_conta: Conta, open_page: OpenPage, complaints: list[str]
) -> None:
    page = open_page("/")

    expect(page).to_have_url(re.compile(re.escape(dashboard(measured_conta)) + "$"))
    expect(card(page, "ENERGIA-kWh")).to_contain_text(month_energy(measured_conta))
    expect(page.locator("figure.chart")).to_have_count(5)
    for figure in (
        "[data-chart=kW]",
        "[data-chart='m³/h']",
        "[data-chart='°C']",
        "[data-bars=ENERGIA-kWh]",
        "[data-bars='AGUA-m³']",
    ):
        wait_drawn(page, f"figure{figure}")
    assert complaints == []


def test_a_new_reading_changes_figures_and_charts_in_place(
    measured_conta: Conta, open_page: OpenPage, complaints: list[str]
) -> None:
    page = open_page(dashboard(measured_conta))
    wait_drawn(page, "figure[data-chart=kW]")
    canvas = page.locator("figure canvas").first
    page.evaluate("document.querySelector('figure canvas').dataset.marker = 'the same'")
    page.focus("#pause")
    page.evaluate("scrollTo(0, 300)")
    before = last_point(page)

    store_reading("D01", 1025.5)

    expect(card(page, "ENERGIA-kWh")).to_contain_text(month_energy(measured_conta), timeout=10_000)
    expect(page.locator("#readings tbody tr").first).to_contain_text("1.025,5")
    assert last_point(page) != before
    assert page.evaluate("[document.activeElement.id, scrollY]") == ["pause", 300]
    expect(canvas).to_have_attribute("data-marker", "the same")
    assert complaints == []


def test_new_rows_wait_while_somebody_reads_the_table(measured_conta: Conta, open_page: OpenPage) -> None:
    page = open_page(dashboard(measured_conta))
    table = page.locator("#readings")
    table.scroll_into_view_if_needed()
    table.hover()
    first = table.locator("tbody tr").first.inner_text()

    store_reading("D01", 1030)

    button = page.locator("#new-readings")
    expect(button).to_have_text("Mostrar 1 nova leitura", timeout=10_000)
    assert table.locator("tbody tr").first.inner_text() == first
    button.click()
    expect(table.locator("tbody tr").first).to_contain_text("1.030")


def test_an_unchanged_dashboard_costs_a_304_and_no_session(
    measured_conta: Conta, open_page: OpenPage
) -> None:
    page = open_page(dashboard(measured_conta))
    session = Session.objects.values().get()

    with page.expect_response(lambda r: "/painel/dados/" in r.url) as expected:
        pass

    assert expected.value.status == 304
    assert "set-cookie" not in expected.value.headers
    assert Session.objects.values().get() == session
    expect(page.locator("#live-text")).to_contain_text("atualizado há")


def test_a_gateway_that_falls_silent_is_listed_and_announced(
    measured_conta: Conta, open_page: OpenPage
) -> None:
    page = open_page(dashboard(measured_conta))

    Gateway.objects.filter(codigo="GW-1").update(is_online=False)
    ContaAtividade.objects.update(status_seq=2)

    expect(page.locator("#offline li")).to_have_count(2, timeout=10_000)
    expect(card(page, "gateways")).to_contain_text("2 offline")
    expect(page.locator("#announcement")).to_have_text("Gateways offline agora: 2.")


def test_pause_stops_asking_and_resume_catches_up(measured_conta: Conta, open_page: OpenPage) -> None:
    page = open_page(dashboard(measured_conta))
    page.click("#pause")
    expect(page.locator("#pause")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#live-text")).to_contain_text("pausado")
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "/dados/" in request.url else None)
    age = page.locator("#live-text").inner_text()
    expect(page.locator("#live-text")).not_to_have_text(age)  # the age goes on counting
    expect(page.locator("#live-text")).to_contain_text("há 3 s", timeout=10_000)
    assert requests == []

    store_reading("D01", 1030)
    page.click("#pause")

    expect(card(page, "ENERGIA-kWh")).to_contain_text(month_energy(measured_conta), timeout=10_000)


def test_a_hidden_tab_does_not_ask(measured_conta: Conta, open_page: OpenPage) -> None:
    page = open_page(dashboard(measured_conta))
    page.evaluate(
        """() => { Object.defineProperty(document, 'hidden', { get: () => window.tabIsHidden });
                   window.tabIsHidden = true;
                   document.dispatchEvent(new Event('visibilitychange')); }"""
    )
    requests: list[str] = []
    page.on("request", lambda request: requests.append(request.url) if "/dados/" in request.url else None)
    expect(page.locator("#live-text")).to_contain_text("há 3 s", timeout=10_000)
    assert requests == []

    with page.expect_response(lambda r: "/dados/" in r.url):
        page.evaluate(
            "() => { window.tabIsHidden = false; document.dispatchEvent(new Event('visibilitychange')); }"
        )


def test_the_end_of_the_session_is_said_with_a_way_back(measured_conta: Conta, open_page: OpenPage) -> None:
    page = open_page(dashboard(measured_conta, "?periodo=7d"))

    Session.objects.update(expire_date=now() - timedelta(seconds=1))

    expect(page.locator("#banner")).to_contain_text("Sua sessão terminou.", timeout=10_000)
    expect(page.locator("#banner-link")).to_have_attribute(
        "href", f"/entrar/?next=%2Fc%2F{measured_conta.pk}%2Fpainel%2F%3Fperiodo%3D7d"
    )
    expect(card(page, "ENERGIA-kWh")).to_contain_text(month_energy(measured_conta))


def test_a_lost_server_is_said_and_its_return_too(measured_conta: Conta, open_page: OpenPage) -> None:
    page = open_page(dashboard(measured_conta))

    def refuse(route: Route) -> None:
        route.fulfill(status=503, headers={"Retry-After": "1"})

    page.route(re.compile("/dados/"), refuse)
    expect(page.locator("#banner")).to_contain_text("Sem conexão com o servidor desde", timeout=20_000)
    expect(card(page, "ENERGIA-kWh")).to_contain_text(month_energy(measured_conta))

    page.unroute(re.compile("/dados/"), refuse)
    page.evaluate("dispatchEvent(new Event('online'))")

    expect(page.locator("#banner")).to_be_hidden(timeout=10_000)


def test_a_block_that_fails_in_a_poll_keeps_what_it_showed_and_recovers(
    measured_conta: Conta, open_page: OpenPage, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = open_page(dashboard(measured_conta))
    expected = month_energy(measured_conta)

    def fail(*_args: Any) -> None:
        raise DatabaseError("broken on purpose")

    with monkeypatch.context() as broken:
        broken.setattr("tds_new.web.dashboard.read.month_to_date", fail)
        ContaAtividade.objects.update(status_seq=9)
        expect(page.locator("#banner")).to_contain_text(
            "Não foi possível carregar este bloco.", timeout=10_000
        )
        expect(card(page, "ENERGIA-kWh")).to_contain_text(expected)

    expect(page.locator("#banner")).to_be_hidden(timeout=10_000)


def test_what_was_not_measured_is_marked_in_the_chart_and_named_in_its_table(
    empty_conta: Conta, open_page: OpenPage
) -> None:
    start = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)
    step = timedelta(minutes=5)
    meter = factories.device(factories.gateway(empty_conta, seen=now()))
    after = factories.points(start + timedelta(hours=3), step, range(40, 52))
    factories.readings(meter, [*factories.points(start, step, range(12)), *after])
    page = open_page(dashboard(empty_conta))

    wait_drawn(page, "figure[data-chart=kW]")
    figure = page.locator("figure[data-chart=kW]")
    expect(figure).to_contain_text("Tracejado: interpolado ou estimado.")
    figure.locator(".as-table summary").click()

    expect(figure.locator(".as-table td", has_text="(interpolado)").first).to_be_visible()
    dashed = page.evaluate(
        """() => { const chart = Chart.getChart(document.querySelector('figure canvas'));
            const { data } = chart.getDatasetMeta(0), { borderDash } = chart.data.datasets[0].segment;
            return data.slice(1).map(
              (p1, i) => Boolean(borderDash({ p0DataIndex: i, p1DataIndex: i + 1, p1 }))); }"""
    )
    assert any(dashed)
    assert not all(dashed)


def test_the_year_before_stands_in_grey_beside_the_months(empty_conta: Conta, open_page: OpenPage) -> None:
    meter = factories.device(factories.gateway(empty_conta), tipo_leitura="INCREMENTAL")
    factories.readings(
        meter,
        [
            (now() - timedelta(days=400), 7),
            (now() - timedelta(days=35), 5),
            (now() - timedelta(minutes=5), 3),
        ],
    )
    page = open_page(dashboard(empty_conta))
    figure = "figure[data-bars=ENERGIA-kWh]"

    wait_drawn(page, figure)
    page.locator(f"{figure} .as-table summary").click()

    expect(page.locator(f"{figure} th", has_text="Ano anterior")).to_be_visible()
    expect(page.locator(f"{figure} figcaption")).to_contain_text("Em cinza, o mesmo mês do ano anterior.")
    assert (
        page.evaluate("Chart.getChart(document.querySelector('[data-bars] canvas')).data.datasets.length")
        == 2
    )


def test_the_first_reading_turns_the_empty_page_into_a_dashboard(
    empty_conta: Conta, open_page: OpenPage
) -> None:
    meter = factories.device(factories.gateway(empty_conta))
    page = open_page(dashboard(empty_conta))
    expect(page.locator("#never-measured")).to_contain_text("Ainda não recebemos nenhuma leitura")

    factories.readings(meter, factories.points(now() - timedelta(minutes=6), timedelta(minutes=5), [10, 11]))

    expect(page.locator("figure[data-chart=kW]")).to_be_visible(timeout=10_000)


def test_filters_by_period_devices_and_dates(measured_conta: Conta, open_page: OpenPage) -> None:
    page = open_page(dashboard(measured_conta))
    silent = Dispositivo.objects.get(gateway__codigo="GW-2", codigo="D01")

    page.click(".filters summary")
    page.locator(f"input[name=disp][value='{silent.pk}']").check()
    page.click("text=Ver estes dispositivos")
    expect(page.locator("figure[data-chart]")).to_have_count(1)

    page.click(".periods a:has-text('7 dias')")
    expect(page.locator(".periods [aria-current]")).to_have_text("7 dias")
    expect(page.locator("figure[data-chart]")).to_have_count(1)  # the device stays chosen

    page.click(".filters summary")
    page.fill("input[name=de]", "2026-01-01")
    page.fill("input[name=ate]", "2026-01-02")
    page.click("text=Ver estas datas")
    expect(page.locator(".period")).to_contain_text("01/01/2026 – 02/01/2026")
    expect(page.locator("figure[data-chart] .empty")).to_contain_text(
        "Nenhuma leitura de 01/01/2026 – 02/01/2026."
    )
    expect(page.locator("details.filters")).not_to_have_attribute(
        "open", ""
    )  # on a phone it would fill the screen
    expect(page.locator("details.filters summary")).to_contain_text("Filtros (2)")

    page.click("text=Limpar filtros")
    expect(page.locator("figure[data-chart]")).to_have_count(3)


def test_dates_that_make_no_sense_leave_the_filter_open(measured_conta: Conta, open_page: OpenPage) -> None:
    page = open_page(dashboard(measured_conta, "?periodo=datas&de=2026-02-18&ate=2026-02-01"))

    expect(page.locator("input[name=de]")).to_be_visible()


@pytest.mark.parametrize("width", [320, 390, 600])
def test_no_number_beneath_a_chart_is_cut(measured_conta: Conta, open_page: OpenPage, width: int) -> None:
    page = open_page(dashboard(measured_conta), width=width)

    for box in page.locator("figure.chart > .table-box").all():
        box.scroll_into_view_if_needed()
        assert box.evaluate("(c) => c.scrollWidth <= c.clientWidth")
        assert box.evaluate(
            "(c) => [...c.querySelectorAll('.num')].every((n) => n.scrollWidth <= n.clientWidth)"
        )


def test_months_on_the_axis_are_not_taken_for_days(empty_conta: Conta, open_page: OpenPage) -> None:
    factories.readings(
        factories.device(factories.gateway(empty_conta), tipo_leitura="INCREMENTAL"),
        [(now() - timedelta(minutes=5), 3)],
    )
    page = open_page(dashboard(empty_conta), locale="en", extra_http_headers={"Accept-Language": "en"})
    wait_drawn(page, "figure[data-bars=ENERGIA-kWh]")

    labels = page.evaluate(
        "Chart.getChart(document.querySelector('[data-bars] canvas')).scales.x.ticks.map((t) => t.label)"
    )

    assert all(
        re.fullmatch(r"[A-Z][a-z]{2}( \*)?", month) and re.fullmatch(r"20\d\d", year)
        for month, year in labels
    )
    assert labels[-1][0].endswith(" *")


def test_everything_but_the_pictures_is_there_without_scripts(
    measured_conta: Conta, open_page: OpenPage
) -> None:
    page = open_page(dashboard(measured_conta), java_script_enabled=False)

    expect(card(page, "ENERGIA-kWh")).to_contain_text(month_energy(measured_conta))
    expect(page.locator("figure[data-chart=kW] tbody tr")).to_have_count(2)
    expect(page.locator("#readings tbody tr")).to_have_count(10)
    page.click(".periods a:has-text('30 dias')")
    expect(page.locator(".periods [aria-current]")).to_have_text("30 dias")


def test_a_chart_breaks_where_nothing_was_measured(measured_conta: Conta, open_page: OpenPage) -> None:
    meter = Dispositivo.objects.get(gateway__codigo="GW-1", codigo="D03")
    factories.readings(meter, [(now() - timedelta(hours=12, minutes=m), 20) for m in (0, 5, 10)])
    page = open_page(dashboard(measured_conta))

    segments = page.locator("figure[data-chart='°C'] canvas").evaluate(
        """(canvas) => { canvas.scrollIntoView(); return new Promise((resolve) => { const look = () => {
             const chart = Chart.getChart(canvas);
             if (!chart) return requestAnimationFrame(look);
             const i = chart.data.datasets.findIndex((d) => d.role === 'line' && d.series.gateway === 'GW-1');
             const { points, segments } = chart.getDatasetMeta(i).dataset;
             resolve(segments.map((s) => [points[s.start].skip, points[s.end].skip]));
           }; look(); }); }"""
    )

    assert len(segments) >= 2
    assert all(end == [False, False] for end in segments)


def test_the_slider_reads_every_chart_at_one_moment(measured_conta: Conta, open_page: OpenPage) -> None:
    page = open_page(dashboard(measured_conta))
    for unidade in ("kW", "m³/h", "°C"):
        wait_drawn(page, f"figure[data-chart='{unidade}']")
    slider = page.locator("#cursor-range")
    slider.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")

    expect(slider).to_have_attribute("aria-valuetext", re.compile("12,0\u00a0kW.*m³/h.*°C"))


def test_the_table_behind_a_chart_is_filled_when_opened(measured_conta: Conta, open_page: OpenPage) -> None:
    page = open_page(dashboard(measured_conta))
    figure = page.locator("figure[data-chart=kW]")

    figure.locator("summary").click()

    expect(figure.locator("details table tbody tr").first).to_contain_text("12,0")
    expect(figure.locator("details thead th")).to_have_text(
        ["Início do intervalo", "D01 (GW-1) (kW)", "D01 (GW-2) (kW)"]
    )


def test_a_span_without_data_is_grey_from_the_start(measured_conta: Conta, open_page: OpenPage) -> None:
    page = open_page(dashboard(measured_conta))
    wait_drawn(page, "figure[data-chart=kW]")

    page.wait_for_function(
        """() => { const { ctx, chartArea, currentDevicePixelRatio: ratio } =
                   Chart.getChart(document.querySelector('figure canvas'));
                 const [x, y] = [chartArea.left + 30, chartArea.bottom - 10];
                 const [r, g, b] = ctx.getImageData(x * ratio, y * ratio, 1, 1).data;
                 return [r, g, b].join() === '235,239,244'; }"""  # --surface-2
    )


def test_charts_take_the_colours_that_the_system_changes_to(
    measured_conta: Conta, open_page: OpenPage, complaints: list[str]
) -> None:
    page = open_page(dashboard(measured_conta), color_scheme="light")
    wait_drawn(page, "figure[data-chart=kW]")
    line_colour = """() => Chart.getChart(document.querySelector('figure canvas')).data.datasets
                         .find((d) => d.role === 'line').borderColor"""
    before = page.evaluate(line_colour)

    page.emulate_media(color_scheme="dark")

    page.wait_for_function(f"(before) => ({line_colour})() !== before", arg=before)
    page.locator("#cursor-range").focus()
    page.keyboard.press("ArrowLeft")
    expect(page.locator("#cursor-text")).to_contain_text("12,0\u00a0kW")
    assert complaints == []


@pytest.mark.parametrize(("language", "position"), [("pt-BR", -2), ("en", -1)])
def test_the_browser_writes_numbers_dates_and_ages_as_the_server_does(
    empty_conta: Conta, open_page: OpenPage, language: str, position: int
) -> None:
    page = open_page(
        dashboard(empty_conta), locale=language, extra_http_headers={"Accept-Language": language}
    )
    assert page.evaluate("document.documentElement.lang") == language

    answers = page.evaluate(
        """async (v) => {
             const { formats: f } = await import('/static/tds_new/js/formats.js');
             const ms = Date.parse, now = ms(v.now);
             return {
               value: v.value.map((c) => f.value(c[0], c[1])),
               with_unit: v.with_unit.map((c) => f.withUnit(c[0], c[1])),
               duration: v.duration.map((c) => f.duration(c[0])),
               age: v.age.map((c) => f.age(now - c[0] * 1000, now, v.zone)),
               date_time: v.date_time.map((c) => f.dateTime(ms(c[0]), v.zone)),
               day_month: v.day_month.map((c) => f.dayMonth(ms(c[0]), v.zone)) }; }""",
        VECTORS,
    )

    for name, texts in answers.items():
        assert texts == [vector[position] for vector in VECTORS[name]], name


def test_late_readings_fix_old_points_without_sending_the_others_again(
    measured_conta: Conta, open_page: OpenPage
) -> None:
    page = open_page(dashboard(measured_conta))
    wait_drawn(page, "figure[data-chart='°C']")
    freezer = Dispositivo.objects.get(gateway__codigo="GW-1", codigo="D03")
    counting = """() => {
        const { datasets } = Chart.getChart(document.querySelector("figure[data-chart='°C'] canvas")).data;
        return datasets.find((d) => d.role === 'line').data.filter((p) => p.y !== null).length; }"""
    before = page.evaluate(counting)

    with page.expect_response(lambda r: "/dados/" in r.url and r.status == 200) as response:
        factories.readings(freezer, [(now() - timedelta(hours=20), -10)])
    sent = [p for g in response.value.json()["charts"] for s in g["series"] for p in s["points"]]

    assert -10 in [p[1] for p in sent]
    assert len(sent) < 24
    expect(page.locator("#live-text")).to_contain_text("há 0 s")
    assert page.evaluate(counting) == before + 1


def test_the_readmes_picture_is_taken_by_a_command(
    measured_conta: Conta, live_server: Any, tmp_path: Path
) -> None:
    target = tmp_path / "docs" / "dashboard.png"
    arguments = {"url": live_server.url, "email": "ana@example.com", "output": target, "browser": CHROMIUM}

    def screenshot(password: str, **more: Any) -> None:
        with ThreadPoolExecutor(1) as thread:  # this one has an event loop, which the command does not expect
            options = {"password": password, **arguments, **more}
            thread.submit(call_command, "screenshot_dashboard", **options).result()

    screenshot(factories.PASSWORD)

    image = target.read_bytes()
    assert image.startswith(b"\x89PNG")
    assert int.from_bytes(image[16:20]) == 1280
    with pytest.raises(CommandError, match=r"dashboard\.png exists: give --overwrite"):
        screenshot(factories.PASSWORD)
    with pytest.raises(CommandError, match="check e-mail and password"):
        screenshot("errada", overwrite=True)
    assert target.read_bytes() == image
