"""The dashboard as people use it: login, figures, filters, polls in place, no flicker, nothing broken by the policy."""

import json
import re
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
from tds_new.queries.consumption import consumo_por_mes
from tests.browser.conftest import CHROMIUM
from tests.support import factories
from tests.support.paths import ROOT

VETORES = json.loads((ROOT / "tests" / "web" / "format_vectors.json").read_text(encoding="utf-8"))
AbrirPagina = Any


def painel(conta: Conta, consulta: str = "") -> str:
    return f"/c/{conta.pk}/painel/{consulta}"


def cartao(page: Page, identidade: str) -> Any:
    return page.locator(f'[data-cartao="{identidade}"]')


def energia_do_mes(conta: Conta) -> str:
    """What the server makes of the month's readings; these tests also pass in the first hours of a month."""
    with translation.override("pt-br"):
        return formats.valor(consumo_por_mes(conta, None, now())[0].meses[-1].total, "kWh")


def nova_leitura(codigo: str, valor: float) -> None:
    """One more reading, a little newer than the last, as the consumer would store it."""
    de = Dispositivo.objects.get(gateway__codigo="GW-1", codigo=codigo)
    assert de.last_seen
    factories.leituras(de, [(de.last_seen + timedelta(seconds=10), valor)])


def desenhado(page: Page, figura: str) -> None:
    """Scroll to a chart and wait until it is drawn."""
    page.locator(figura).scroll_into_view_if_needed()
    expect(page.locator(f"{figura} canvas")).to_have_attribute("width", re.compile(r"\d+"))


def ultimo_ponto(page: Page) -> Any:
    return page.evaluate(
        "() => { const d = Chart.getChart(document.querySelector('figure canvas')).data.datasets[0].data; return d.at(-1).y; }"
    )


def test_login_leads_to_figures_and_charts_and_nothing_complains(
    medida: Conta, abrir: AbrirPagina, queixas: list[str]
) -> None:
    page = abrir("/")

    expect(page).to_have_url(re.compile(re.escape(painel(medida)) + "$"))
    expect(cartao(page, "ENERGIA-kWh")).to_contain_text(energia_do_mes(medida))
    expect(page.locator("figure.grafico")).to_have_count(5)
    for figura in (
        "[data-grafico=kW]",
        "[data-grafico='m³/h']",
        "[data-grafico='°C']",
        "[data-barras=ENERGIA-kWh]",
        "[data-barras='AGUA-m³']",
    ):
        desenhado(page, f"figure{figura}")
    assert queixas == []


def test_a_new_reading_changes_figures_and_charts_in_place(
    medida: Conta, abrir: AbrirPagina, queixas: list[str]
) -> None:
    page = abrir(painel(medida))
    desenhado(page, "figure[data-grafico=kW]")
    canvas = page.locator("figure canvas").first
    page.evaluate("document.querySelector('figure canvas').dataset.marca = 'the same'")
    page.focus("#pausar")
    page.evaluate("scrollTo(0, 300)")
    antes = ultimo_ponto(page)

    nova_leitura("D01", 1025.5)

    expect(cartao(page, "ENERGIA-kWh")).to_contain_text(energia_do_mes(medida), timeout=10_000)
    expect(page.locator("#leituras tbody tr").first).to_contain_text("1.025,5")
    assert ultimo_ponto(page) != antes
    assert page.evaluate("[document.activeElement.id, scrollY]") == ["pausar", 300]
    expect(canvas).to_have_attribute("data-marca", "the same")
    assert queixas == []


def test_new_rows_wait_while_somebody_reads_the_table(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida))
    tabela = page.locator("#leituras")
    tabela.scroll_into_view_if_needed()
    tabela.hover()
    primeira = tabela.locator("tbody tr").first.inner_text()

    nova_leitura("D01", 1030)

    botao = page.locator("#novas")
    expect(botao).to_have_text("Mostrar 1 nova leitura", timeout=10_000)
    assert tabela.locator("tbody tr").first.inner_text() == primeira
    botao.click()
    expect(tabela.locator("tbody tr").first).to_contain_text("1.030")


def test_an_unchanged_dashboard_costs_a_304_and_no_session(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida))
    sessao = Session.objects.values().get()

    with page.expect_response(lambda r: "/painel/dados/" in r.url) as esperada:
        pass

    assert esperada.value.status == 304
    assert "set-cookie" not in esperada.value.headers
    assert Session.objects.values().get() == sessao
    expect(page.locator("#vivo-texto")).to_contain_text("atualizado há")


def test_a_gateway_that_falls_silent_is_listed_and_announced(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida))

    Gateway.objects.filter(codigo="GW-1").update(is_online=False)
    ContaAtividade.objects.update(status_seq=2)

    expect(page.locator("#offline li")).to_have_count(2, timeout=10_000)
    expect(cartao(page, "gateways")).to_contain_text("2 offline")
    expect(page.locator("#anuncio")).to_have_text("Gateways offline agora: 2.")


def test_pause_stops_asking_and_resume_catches_up(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida))
    page.click("#pausar")
    expect(page.locator("#pausar")).to_have_attribute("aria-pressed", "true")
    expect(page.locator("#vivo-texto")).to_contain_text("pausado")
    pedidos: list[str] = []
    page.on("request", lambda pedido: pedidos.append(pedido.url) if "/dados/" in pedido.url else None)
    idade = page.locator("#vivo-texto").inner_text()
    expect(page.locator("#vivo-texto")).not_to_have_text(idade)  # the age goes on counting
    expect(page.locator("#vivo-texto")).to_contain_text("há 3 s", timeout=10_000)
    assert pedidos == []

    nova_leitura("D01", 1030)
    page.click("#pausar")

    expect(cartao(page, "ENERGIA-kWh")).to_contain_text(energia_do_mes(medida), timeout=10_000)


def test_a_hidden_tab_does_not_ask(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida))
    page.evaluate(
        """() => { Object.defineProperty(document, 'hidden', {get: () => window.escondida}); window.escondida = true;
                   document.dispatchEvent(new Event('visibilitychange')); }"""
    )
    pedidos: list[str] = []
    page.on("request", lambda pedido: pedidos.append(pedido.url) if "/dados/" in pedido.url else None)
    expect(page.locator("#vivo-texto")).to_contain_text("há 3 s", timeout=10_000)
    assert pedidos == []

    with page.expect_response(lambda r: "/dados/" in r.url):
        page.evaluate(
            "() => { window.escondida = false; document.dispatchEvent(new Event('visibilitychange')); }"
        )


def test_the_end_of_the_session_is_said_with_a_way_back(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida, "?periodo=7d"))

    Session.objects.update(expire_date=now() - timedelta(seconds=1))

    expect(page.locator("#faixa")).to_contain_text("Sua sessão terminou.", timeout=10_000)
    expect(page.locator("#faixa-link")).to_have_attribute(
        "href", f"/entrar/?next=%2Fc%2F{medida.pk}%2Fpainel%2F%3Fperiodo%3D7d"
    )
    expect(cartao(page, "ENERGIA-kWh")).to_contain_text(energia_do_mes(medida))


def test_a_lost_server_is_said_and_its_return_too(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida))

    def recusar(route: Route) -> None:
        route.fulfill(status=503, headers={"Retry-After": "1"})

    page.route(re.compile("/dados/"), recusar)
    expect(page.locator("#faixa")).to_contain_text("Sem conexão com o servidor desde", timeout=20_000)
    expect(cartao(page, "ENERGIA-kWh")).to_contain_text(energia_do_mes(medida))

    page.unroute(re.compile("/dados/"), recusar)
    page.evaluate("dispatchEvent(new Event('online'))")

    expect(page.locator("#faixa")).to_be_hidden(timeout=10_000)


def test_a_block_that_fails_in_a_poll_keeps_what_it_showed_and_recovers(
    medida: Conta, abrir: AbrirPagina, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = abrir(painel(medida))
    esperado = energia_do_mes(medida)

    def falhar(*_args: Any) -> None:
        raise DatabaseError("broken on purpose")

    with monkeypatch.context() as quebrado:
        quebrado.setattr("tds_new.web.dashboard.assembly.consumo_do_mes", falhar)
        ContaAtividade.objects.update(status_seq=9)
        expect(page.locator("#faixa")).to_contain_text(
            "Não foi possível carregar este bloco.", timeout=10_000
        )
        expect(cartao(page, "ENERGIA-kWh")).to_contain_text(esperado)

    expect(page.locator("#faixa")).to_be_hidden(timeout=10_000)


def test_what_was_not_measured_is_marked_in_the_chart_and_named_in_its_table(
    vazia: Conta, abrir: AbrirPagina
) -> None:
    inicio = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=6)
    passo = timedelta(minutes=5)
    medidor = factories.dispositivo(factories.gateway(vazia, visto=now()))
    depois = factories.escada(inicio + timedelta(hours=3), passo, range(40, 52))
    factories.leituras(medidor, [*factories.escada(inicio, passo, range(12)), *depois])
    page = abrir(painel(vazia))

    desenhado(page, "figure[data-grafico=kW]")
    figura = page.locator("figure[data-grafico=kW]")
    expect(figura).to_contain_text("Tracejado: interpolado ou estimado.")
    figura.locator(".como-tabela summary").click()

    expect(figura.locator(".como-tabela td", has_text="(interpolado)").first).to_be_visible()
    tracejado = page.evaluate(
        """() => { const chart = Chart.getChart(document.querySelector('figure canvas')), { data } = chart.getDatasetMeta(0);
            const { borderDash } = chart.data.datasets[0].segment;
            return data.slice(1).map((p1, i) => Boolean(borderDash({ p0DataIndex: i, p1DataIndex: i + 1, p1 }))); }"""
    )
    assert any(tracejado)
    assert not all(tracejado)


def test_the_year_before_stands_in_grey_beside_the_months(vazia: Conta, abrir: AbrirPagina) -> None:
    medidor = factories.dispositivo(factories.gateway(vazia), tipo="INCREMENTAL")
    factories.leituras(
        medidor,
        [
            (now() - timedelta(days=400), 7),
            (now() - timedelta(days=35), 5),
            (now() - timedelta(minutes=5), 3),
        ],
    )
    page = abrir(painel(vazia))
    figura = "figure[data-barras=ENERGIA-kWh]"

    desenhado(page, figura)
    page.locator(f"{figura} .como-tabela summary").click()

    expect(page.locator(f"{figura} th", has_text="Ano anterior")).to_be_visible()
    expect(page.locator(f"{figura} figcaption")).to_contain_text("Em cinza, o mesmo mês do ano anterior.")
    assert (
        page.evaluate("Chart.getChart(document.querySelector('[data-barras] canvas')).data.datasets.length")
        == 2
    )


def test_the_first_reading_turns_the_empty_page_into_a_dashboard(vazia: Conta, abrir: AbrirPagina) -> None:
    medidor = factories.dispositivo(factories.gateway(vazia))
    page = abrir(painel(vazia))
    expect(page.locator("#nunca")).to_contain_text("Ainda não recebemos nenhuma leitura")

    factories.leituras(
        medidor, factories.escada(now() - timedelta(minutes=6), timedelta(minutes=5), [10, 11])
    )

    expect(page.locator("figure[data-grafico=kW]")).to_be_visible(timeout=10_000)


def test_filters_by_period_devices_and_dates(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida))
    mudo = Dispositivo.objects.get(gateway__codigo="GW-2", codigo="D01")

    page.click(".filtros summary")
    page.locator(f"input[name=disp][value='{mudo.pk}']").check()
    page.click("text=Ver estes dispositivos")
    expect(page.locator("figure[data-grafico]")).to_have_count(1)

    page.click(".periodos a:has-text('7 dias')")
    expect(page.locator(".periodos [aria-current]")).to_have_text("7 dias")
    expect(page.locator("figure[data-grafico]")).to_have_count(1)  # the device stays chosen

    page.click(".filtros summary")
    page.fill("input[name=de]", "2026-01-01")
    page.fill("input[name=ate]", "2026-01-02")
    page.click("text=Ver estas datas")
    expect(page.locator(".periodo")).to_contain_text("01/01/2026 – 02/01/2026")
    expect(page.locator("figure[data-grafico] .vazio")).to_contain_text(
        "Nenhuma leitura de 01/01/2026 – 02/01/2026."
    )
    expect(page.locator("details.filtros")).not_to_have_attribute(
        "open", ""
    )  # on a phone it would fill the screen
    expect(page.locator("details.filtros summary")).to_contain_text("Filtros (2)")

    page.click("text=Limpar filtros")
    expect(page.locator("figure[data-grafico]")).to_have_count(3)


def test_dates_that_make_no_sense_leave_the_filter_open(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida, "?periodo=datas&de=2026-02-18&ate=2026-02-01"))

    expect(page.locator("input[name=de]")).to_be_visible()


@pytest.mark.parametrize("largura", [320, 390, 600])
def test_no_number_beneath_a_chart_is_cut(medida: Conta, abrir: AbrirPagina, largura: int) -> None:
    page = abrir(painel(medida), largura=largura)

    for caixa in page.locator("figure.grafico > .tabela-caixa").all():
        caixa.scroll_into_view_if_needed()
        assert caixa.evaluate("(c) => c.scrollWidth <= c.clientWidth")
        assert caixa.evaluate(
            "(c) => [...c.querySelectorAll('.num')].every((n) => n.scrollWidth <= n.clientWidth)"
        )


def test_months_on_the_axis_are_not_taken_for_days(vazia: Conta, abrir: AbrirPagina) -> None:
    factories.leituras(
        factories.dispositivo(factories.gateway(vazia), tipo="INCREMENTAL"),
        [(now() - timedelta(minutes=5), 3)],
    )
    page = abrir(painel(vazia), locale="en", extra_http_headers={"Accept-Language": "en"})
    desenhado(page, "figure[data-barras=ENERGIA-kWh]")

    rotulos = page.evaluate(
        "Chart.getChart(document.querySelector('[data-barras] canvas')).scales.x.ticks.map((t) => t.label)"
    )

    assert all(
        re.fullmatch(r"[A-Z][a-z]{2}( \*)?", mes) and re.fullmatch(r"20\d\d", ano) for mes, ano in rotulos
    )
    assert rotulos[-1][0].endswith(" *")


def test_everything_but_the_pictures_is_there_without_scripts(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida), java_script_enabled=False)

    expect(cartao(page, "ENERGIA-kWh")).to_contain_text(energia_do_mes(medida))
    expect(page.locator("figure[data-grafico=kW] tbody tr")).to_have_count(2)
    expect(page.locator("#leituras tbody tr")).to_have_count(10)
    page.click(".periodos a:has-text('30 dias')")
    expect(page.locator(".periodos [aria-current]")).to_have_text("30 dias")


def test_a_chart_breaks_where_nothing_was_measured(medida: Conta, abrir: AbrirPagina) -> None:
    medidor = Dispositivo.objects.get(gateway__codigo="GW-1", codigo="D03")
    factories.leituras(medidor, [(now() - timedelta(hours=12, minutes=m), 20) for m in (0, 5, 10)])
    page = abrir(painel(medida))

    segmentos = page.locator("figure[data-grafico='°C'] canvas").evaluate(
        """(canvas) => { canvas.scrollIntoView(); return new Promise((pronto) => { const olhar = () => {
             const chart = Chart.getChart(canvas);
             if (!chart) return requestAnimationFrame(olhar);
             const i = chart.data.datasets.findIndex((d) => d.papel === 'linha' && d.serie.gateway === 'GW-1');
             const elemento = chart.getDatasetMeta(i).dataset;
             pronto(elemento.segments.map((s) => [elemento.points[s.start].skip, elemento.points[s.end].skip]));
           }; olhar(); }); }"""
    )

    assert len(segmentos) >= 2
    assert all(ponta == [False, False] for ponta in segmentos)


def test_the_slider_reads_every_chart_at_one_moment(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida))
    for unidade in ("kW", "m³/h", "°C"):
        desenhado(page, f"figure[data-grafico='{unidade}']")
    faixa = page.locator("#cursor-faixa")
    faixa.focus()
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")

    expect(faixa).to_have_attribute("aria-valuetext", re.compile("12,0\u00a0kW.*m³/h.*°C"))


def test_the_table_behind_a_chart_is_filled_when_opened(medida: Conta, abrir: AbrirPagina) -> None:
    page = abrir(painel(medida))
    figura = page.locator("figure[data-grafico=kW]")

    figura.locator("summary").click()

    expect(figura.locator("details table tbody tr").first).to_contain_text("12,0")
    expect(figura.locator("details thead th")).to_have_text(
        ["Início do intervalo", "D01 (GW-1) (kW)", "D01 (GW-2) (kW)"]
    )


@pytest.mark.parametrize(("idioma", "posicao"), [("pt-BR", -2), ("en", -1)])
def test_the_browser_writes_numbers_dates_and_ages_as_the_server_does(
    vazia: Conta, abrir: AbrirPagina, idioma: str, posicao: int
) -> None:
    page = abrir(painel(vazia), locale=idioma, extra_http_headers={"Accept-Language": idioma})
    assert page.evaluate("document.documentElement.lang") == idioma

    respostas = page.evaluate(
        """(v) => { const f = TDS.fmt, ms = Date.parse, agora = ms(v.agora); return {
             valor: v.valor.map((c) => f.valor(c[0], c[1])), com_unidade: v.com_unidade.map((c) => f.comUnidade(c[0], c[1])),
             duracao: v.duracao.map((c) => f.duracao(c[0])), idade: v.idade.map((c) => f.idade(agora - c[0] * 1000, agora, v.fuso)),
             data_hora: v.data_hora.map((c) => f.dataHora(ms(c[0]), v.fuso)),
             dia_mes: v.dia_mes.map((c) => f.diaMes(ms(c[0]), v.fuso)) } }""",
        VETORES,
    )

    for nome, textos in respostas.items():
        assert textos == [vetor[posicao] for vetor in VETORES[nome]], nome


def test_late_readings_fix_old_points_without_sending_the_others_again(
    medida: Conta, abrir: AbrirPagina
) -> None:
    page = abrir(painel(medida))
    desenhado(page, "figure[data-grafico='°C']")
    camara = Dispositivo.objects.get(gateway__codigo="GW-1", codigo="D03")
    contar = """() => { const chart = Chart.getChart(document.querySelector("figure[data-grafico='°C'] canvas"));
                        return chart.data.datasets.find((d) => d.papel === 'linha').data.filter((p) => p.y !== null).length; }"""
    antes = page.evaluate(contar)

    with page.expect_response(lambda r: "/dados/" in r.url and r.status == 200) as resposta:
        factories.leituras(camara, [(now() - timedelta(hours=20), -10)])
    enviados = [p for g in resposta.value.json()["graficos"] for s in g["series"] for p in s["pontos"]]

    assert -10 in [p[1] for p in enviados]
    assert len(enviados) < 24
    expect(page.locator("#vivo-texto")).to_contain_text("há 0 s")
    assert page.evaluate(contar) == antes + 1


def test_the_readmes_picture_is_taken_by_a_command(medida: Conta, live_server: Any, tmp_path: Path) -> None:
    alvo = tmp_path / "docs" / "dashboard.png"
    argumentos = {"url": live_server.url, "email": "ana@example.com", "output": alvo, "browser": CHROMIUM}

    call_command("screenshot_dashboard", password=factories.SENHA, **argumentos)

    imagem = alvo.read_bytes()
    assert imagem.startswith(b"\x89PNG")
    assert int.from_bytes(imagem[16:20]) == 1280
    with pytest.raises(CommandError, match=r"dashboard\.png exists: give --overwrite"):
        call_command("screenshot_dashboard", password=factories.SENHA, **argumentos)
    with pytest.raises(CommandError, match="check e-mail and password"):
        call_command("screenshot_dashboard", password="errada", overwrite=True, **argumentos)
    assert alvo.read_bytes() == imagem
