/* Line charts with gaps, a band and a shared cursor, and bars with a hatched month. Colours come from the style sheet. */
(function (TDS) {
  'use strict';
  const Chart = window.Chart, fmt = TDS.fmt;
  const linhas = [];
  let apontado = null, textos = {};

  const css = (nome) => getComputedStyle(document.documentElement).getPropertyValue(nome).trim();
  const transparente = (cor, alfa) => cor + Math.round(alfa * 255).toString(16).padStart(2, '0');
  const tracejada = (cor) => /^s[5-8]$/.test(cor) ? [6, 3] : [];

  function tema() {
    Chart.defaults.color = css('--text-2');
    Chart.defaults.borderColor = css('--grid');
    Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
    Chart.defaults.font.size = 13;
    Object.assign(Chart.defaults.plugins.tooltip, {
      backgroundColor: css('--surface-2'), titleColor: css('--text'), bodyColor: css('--text'), borderColor: css('--control'), borderWidth: 1,
      padding: 8, usePointStyle: true, boxWidth: 8, boxHeight: 8, caretSize: 0
    });
  }

  const base = () => ({
    animation: false, responsive: true, maintainAspectRatio: false, normalized: true,
    plugins: { legend: { display: false } }
  });

  function eixoY(zero) {
    return {
      beginAtZero: zero, grace: zero ? 0 : '5%', border: { display: false }, grid: { color: css('--grid') },
      ticks: { maxTicksLimit: 6, callback: (v, _i, marcas) => fmt.numero(v, decimaisDe(marcas)) }
    };
  }

  function decimaisDe(marcas) {
    const passo = marcas.length > 1 ? Math.abs(marcas[1].value - marcas[0].value) : 1;
    return Math.min(4, Math.max(0, -Math.floor(Math.log10(passo || 1) + 1e-9)));
  }

  /* --- lines --- */

  const meio = (serie, p) => p[0] + serie.passo / 2;
  const medidora = (serie) => serie.pontos.some((p) => p[2] !== null);

  function conjuntos(serie, janela) {
    const cor = css('--' + serie.cor);
    const dados = (i) => comLacunas(serie, serie.pontos.map((p) => ({ x: meio(serie, p), y: p[1] === null ? null : p[i], q: p[5] })));
    const marcado = (c) => [c.p0DataIndex, c.p1DataIndex].some((i) => linha.data[i].q);
    const comum = { parsing: false, spanGaps: false, tension: 0, pointHitRadius: 0, pointHoverRadius: 0, serie };
    const linha = {
      ...comum, data: dados(1), papel: 'linha', borderColor: cor, backgroundColor: cor, borderWidth: 2, borderDash: tracejada(serie.cor),
      pointRadius: (c) => sozinho(c.dataset.data, c.dataIndex) ? 2.5 : 0, pointHoverRadius: 4,
      segment: { borderDash: (c) => c.p1.parsed.x + serie.passo / 2 > TDS.agora() ? [2, 3] : marcado(c) ? [4, 4] : undefined }
    };
    if (!medidora(serie)) return [linha];
    const faixa = { ...comum, borderWidth: 0, pointRadius: 0, papel: 'faixa' };
    return [
      { ...faixa, data: dados(3), borderColor: 'transparent', fill: false },
      { ...faixa, data: dados(2), borderColor: 'transparent', fill: '-1', backgroundColor: transparente(cor, 0.18) },
      linha
    ];
  }

  /* A null between neighbours that are too far apart breaks the line there (a numeric spanGaps does not work with segment styles). */
  function comLacunas(serie, pontos) {
    return pontos.flatMap((p, i) => i && p.x - pontos[i - 1].x > serie.lacuna ? [{ x: p.x - serie.passo, y: null }, p] : [p]);
  }

  function sozinho(dados, i) {
    const falta = (outro) => !outro || outro.y === null;
    return !falta(dados[i]) && falta(dados[i - 1]) && falta(dados[i + 1]);
  }

  /* Where no series of the chart has a value, from the window's start to now. */
  function vazios(grafico, janela) {
    const fim = Math.min(janela.ate, TDS.agora());
    const cobertos = grafico.series.flatMap((s) => s.pontos.filter((p) => p[1] !== null).map((p) => [p[0], p[0] + s.passo, s.lacuna]));
    cobertos.sort((a, b) => a[0] - b[0]);
    const achados = [];
    let ate = janela.de;
    for (const [de, termina, lacuna] of [...cobertos, [fim, fim, 0]]) {
      const tolerancia = lacuna || Math.max(0, ...grafico.series.map((s) => s.lacuna));
      if (de - ate > tolerancia) achados.push([ate, de]);
      ate = Math.max(ate, termina);
    }
    return achados;
  }

  const fundo = {
    id: 'tdsFundo',
    beforeDatasetsDraw(chart) {
      const { ctx, chartArea: a, scales: { x }, $grafico: g, $janela: j } = chart;
      if (!g) return;
      ctx.save();
      for (const [de, ate] of vazios(g, j)) {
        const x0 = x.getPixelForValue(de), largura = x.getPixelForValue(ate) - x0;
        ctx.fillStyle = css('--surface-2');
        ctx.fillRect(x0, a.top, largura, a.height);
        const dizer = `${textos.sem_dados} ${fmt.duracao((ate - de) / 1000)}`;
        ctx.font = `13px ${Chart.defaults.font.family}`;
        if (largura >= Math.max(48, ctx.measureText(dizer).width + 8)) {
          ctx.fillStyle = css('--text-2');
          ctx.textAlign = 'center';
          ctx.fillText(dizer, x0 + largura / 2, a.top + 16);
        }
      }
      const agora = TDS.agora();
      if (agora > j.de && agora < j.ate - j.passo) vertical(chart, agora, css('--control'), [4, 4]);
      ctx.restore();
    },
    afterDatasetsDraw(chart) {
      if (chart.$grafico && apontado !== null) vertical(chart, apontado, css('--text-2'), []);
    }
  };

  function vertical(chart, t, cor, traco) {
    const { ctx, chartArea: a, scales: { x } } = chart, px = x.getPixelForValue(t);
    if (px < a.left || px > a.right) return;
    ctx.save();
    ctx.beginPath();
    ctx.setLineDash(traco);
    ctx.strokeStyle = cor;
    ctx.moveTo(px, a.top);
    ctx.lineTo(px, a.bottom);
    ctx.stroke();
    ctx.restore();
  }

  function rotulo(t, janela) {
    const h = fmt.hora(t, janela.fuso);
    return h === '00:00' ? fmt.diaMes(t, janela.fuso) : h;
  }

  TDS.desenharLinhas = function (canvas, grafico, janela) {
    const chart = new Chart(canvas, {
      type: 'line',
      data: { datasets: grafico.series.flatMap((s) => conjuntos(s, janela)) },
      options: {
        ...base(), events: [], layout: { padding: { right: 12 } },
        scales: {
          x: {
            type: 'linear', min: janela.de, max: janela.ate, grid: { display: false }, border: { color: css('--grid') },
            afterBuildTicks(eixo) { eixo.ticks = chart_marcas(eixo.chart, janela).map((value) => ({ value })); },
            ticks: { maxRotation: 0, autoSkip: true, autoSkipPadding: 12, callback: (v) => rotulo(v, janela) }
          },
          y: eixoY(grafico.zero)
        },
        plugins: {
          legend: { display: false },
          tooltip: {
            filter: (item) => item.dataset.papel === 'linha',
            callbacks: {
              title: (itens) => itens.length ? intervalo(itens[0].raw.x, itens[0].dataset.serie.passo, janela) : '',
              label: (item) => frase(item.dataset.serie, item.raw)
            }
          }
        }
      },
      plugins: [fundo]
    });
    chart.$grafico = grafico;
    chart.$janela = janela;
    linhas.push(chart);
    canvas.addEventListener('pointermove', (e) => {
      const caixa = canvas.getBoundingClientRect();
      TDS.apontar(chart.scales.x.getValueForPixel(e.clientX - caixa.left));
    });
    canvas.addEventListener('pointerleave', () => TDS.apontar(null));
    return chart;
  };

  function chart_marcas(chart, inicial) {
    return (chart.$janela || inicial).marcas;
  }

  TDS.atualizarLinhas = function (chart, grafico, janela) {
    const novos = grafico.series.flatMap((s) => conjuntos(s, janela));
    if (novos.length === chart.data.datasets.length) novos.forEach((n, i) => Object.assign(chart.data.datasets[i], n));
    else chart.data.datasets = novos;
    chart.$grafico = grafico;
    chart.$janela = janela;
    chart.options.scales.x.min = janela.de;
    chart.options.scales.x.max = janela.ate;
    chart.update('none');
    if (apontado !== null) TDS.apontar(apontado);
  };

  function intervalo(x, passo, janela) {
    const de = x - passo / 2;
    if (passo >= 86400000) return fmt.data(x, janela.fuso);
    return `${fmt.diaMes(de, janela.fuso)} ${fmt.hora(de, janela.fuso)}-${fmt.hora(de + passo, janela.fuso)}`;
  }

  function frase(serie, ponto) {
    const p = serie.pontos.find((q) => meio(serie, q) === ponto.x);
    const faixa = p && p[2] !== null && p[4] > 1 ? ` (${fmt.valor(p[2], serie.un)}–${fmt.valor(p[3], serie.un)})` : '';
    const marca = ponto.q ? `, ${ponto.q === 2 ? textos.estimado : textos.interpolado}` : '';
    return `${serie.nome}: ${fmt.comUnidade(ponto.y, serie.un)}${faixa}${marca}`;
  }

  /* The nearest value of each series to a moment, if it has one there. */
  function noMomento(chart, t) {
    const achados = [];
    chart.data.datasets.forEach((conjunto, datasetIndex) => {
      if (conjunto.papel !== 'linha') return;
      let melhor = -1;
      conjunto.data.forEach((d, i) => {
        if (d.y !== null && (melhor < 0 || Math.abs(d.x - t) < Math.abs(conjunto.data[melhor].x - t))) melhor = i;
      });
      if (melhor >= 0 && Math.abs(conjunto.data[melhor].x - t) <= Math.max(conjunto.serie.passo, conjunto.serie.lacuna / 3)) {
        achados.push({ datasetIndex, index: melhor });
      }
    });
    return achados;
  }

  /* Moves the cursor of all line charts to a moment (null: away) and returns what they say there. */
  TDS.apontar = function (t) {
    apontado = t;
    const frases = [];
    for (const chart of linhas) {
      const itens = t === null ? [] : noMomento(chart, t);
      const { left, top } = chart.chartArea || { left: 0, top: 0 };
      const px = t === null ? left : chart.scales.x.getPixelForValue(t);
      chart.setActiveElements(itens);
      chart.tooltip.setActiveElements(itens, { x: px, y: top });
      chart.render();
      for (const item of itens) {
        const conjunto = chart.data.datasets[item.datasetIndex];
        frases.push(frase(conjunto.serie, conjunto.data[item.index]));
      }
    }
    return frases;
  };

  /* --- bars --- */

  function hachura(cor) {
    const tela = document.createElement('canvas');
    tela.width = tela.height = 8;
    const c = tela.getContext('2d');
    c.fillStyle = transparente(cor, 0.25);
    c.fillRect(0, 0, 8, 8);
    c.strokeStyle = cor;
    c.lineWidth = 2;
    c.beginPath();
    for (const d of [-8, 0, 8]) { c.moveTo(d, 8); c.lineTo(d + 8, 0); }
    c.stroke();
    return c.createPattern(tela, 'repeat');
  }

  /* A month without data says so in its place; one that was measured in part has a mark above its bar. */
  const marcasDosMeses = {
    id: 'tdsMeses',
    afterDatasetsDraw(chart) {
      const { ctx, chartArea: a, scales: { x }, $barras: b } = chart;
      if (!b) return;
      const barras = chart.getDatasetMeta(chart.data.datasets.length - 1).data;
      ctx.save();
      ctx.fillStyle = css('--text-2');
      ctx.font = `13px ${Chart.defaults.font.family}`;
      ctx.textAlign = 'center';
      b.meses.forEach((m, i) => {
        const sem = m.valor === null;
        if (sem && m.anterior === null) ctx.fillText(fmt.FALTA, x.getPixelForValue(i), a.bottom - 4);
        else if (sem) ctx.fillText(fmt.FALTA, barras[i].x, a.bottom - 4);
        else if (incompleto(m)) ctx.fillText('\u25d0', barras[i].x, Math.max(a.top + 10, barras[i].y - 4));
      });
      ctx.restore();
    }
  };

  const incompleto = (m) => m.cobertura !== null && m.cobertura < 0.95;
  const quaseNada = (m) => m.cobertura !== null && m.cobertura < 0.5;

  /* The same month of the year before in grey, then the month: full, hatched while it fills, an outline where little was measured. */
  function barrasDe(barras) {
    const cor = css('--' + barras.cor), riscada = hachura(cor), comum = { borderRadius: 2, categoryPercentage: 0.86, barPercentage: 0.95 };
    const meses = {
      ...comum, data: barras.meses.map((m) => m.valor), borderColor: cor, borderWidth: barras.meses.map((m) => m.parcial || quaseNada(m) ? 1 : 0),
      backgroundColor: barras.meses.map((m) => m.parcial ? riscada : quaseNada(m) ? transparente(cor, 0.12) : cor)
    };
    if (!barras.comparada) return [meses];
    return [{ ...comum, data: barras.meses.map((m) => m.anterior), backgroundColor: css('--bar-previous'), antes: true }, meses];
  }

  const mesDe = (m) => m.mes + (m.parcial ? ' *' : '');
  /* On the axis "Feb 2026" takes two lines, so that as many months have room as of "fev/26". */
  const rotulosDe = (barras) => barras.meses.map((m) => m.mes.includes(' ') ? [m.mes.split(' ')[0] + (m.parcial ? ' *' : ''), m.mes.split(' ')[1]] : mesDe(m));

  function fraseDoMes(barras, item) {
    const m = barras.meses[item.dataIndex];
    if (item.dataset.antes) return `${textos.ano_anterior}: ${m.exibe_anterior}\u00a0${barras.un}`;
    return `${m.exibe}\u00a0${barras.un}${incompleto(m) ? `, ${textos.so_medido.replace('%s', m.medido)}` : ''}`;
  }

  TDS.desenharBarras = function (canvas, barras) {
    const chart = new Chart(canvas, {
      type: 'bar',
      data: { labels: rotulosDe(barras), datasets: barrasDe(barras) },
      options: {
        ...base(), interaction: { mode: 'index', intersect: false },
        scales: {
          x: { grid: { display: false }, border: { color: css('--grid') }, ticks: { maxRotation: 0, autoSkip: true, autoSkipPadding: 8 } },
          y: eixoY(true)
        },
        plugins: {
          legend: { display: false },
          tooltip: {
            itemSort: (x, y) => y.datasetIndex - x.datasetIndex,
            callbacks: {
              title: (itens) => itens.length ? mesDe(chart.$barras.meses[itens[0].dataIndex]) : '',
              label: (item) => fraseDoMes(chart.$barras, item)
            }
          }
        }
      },
      plugins: [marcasDosMeses]
    });
    chart.$barras = barras;
    chart.update('none');
    return chart;
  };

  TDS.atualizarBarras = function (chart, barras) {
    const novos = barrasDe(barras);
    chart.$barras = barras;
    chart.data.labels = rotulosDe(barras);
    if (novos.length === chart.data.datasets.length) novos.forEach((n, i) => Object.assign(chart.data.datasets[i], n));
    else chart.data.datasets = novos;
    chart.update('none');
  };

  TDS.prepararGraficos = function (palavras) { textos = palavras; tema(); };
})(window.TDS);
