/* The dashboard: draws the charts from the page's own data, then follows the server in place. */
(function (TDS) {
  'use strict';
  const main = document.getElementById('content');
  const ler = (id) => JSON.parse(document.getElementById(id).textContent);
  const textos = ler('dashboard-texts'), fmt = TDS.fmt;
  let dados = ler('dashboard-data');
  const estrutura = (d) => JSON.stringify([
    d.cartoes.map((c) => c.id), d.graficos.map((g) => [g.id, g.series.map((s) => s.id)]), d.barras.map((b) => b.id)
  ]);
  const inicial = estrutura(dados);
  const desenhados = new Map();

  /* --- charts, drawn when they come near the screen --- */

  const porId = (lista, id) => lista.find((item) => item.id === id);

  function desenhar(figura) {
    const canvas = figura.querySelector('canvas'), linhas = figura.dataset.chart;
    if (desenhados.has(figura) || canvas.parentElement.hidden) return;
    if (linhas !== undefined) desenhados.set(figura, TDS.desenharLinhas(canvas, porId(dados.graficos, linhas), dados.janela));
    else desenhados.set(figura, TDS.desenharBarras(canvas, porId(dados.barras, figura.dataset.bars)));
  }

  const figuras = [...document.querySelectorAll('figure.chart')];
  const vigia = new IntersectionObserver((vistas) => vistas.forEach((v) => { if (v.isIntersecting) desenhar(v.target); }), { rootMargin: '300px' });

  function redesenhar() {
    TDS.prepararGraficos(textos);
    for (const [figura, chart] of desenhados) { chart.destroy(); desenhados.delete(figura); desenhar(figura); }
  }

  function atualizarGraficos() {
    for (const figura of figuras) {
      const chart = desenhados.get(figura), linhas = figura.dataset.chart;
      const bloco = linhas !== undefined ? porId(dados.graficos, linhas) : porId(dados.barras, figura.dataset.bars);
      if (!bloco) continue;
      if (linhas !== undefined) {
        const vazio = Boolean(bloco.vazio);
        figura.querySelector('.chart-box').hidden = vazio;
        figura.querySelector('.empty').hidden = !vazio;
      }
      figura.querySelector('canvas').setAttribute('aria-label', `${bloco.titulo}. ${bloco.resumo}`);
      if (!chart) { if (figura.getBoundingClientRect().top < innerHeight + 300) desenhar(figura); continue; }
      if (linhas !== undefined) TDS.atualizarLinhas(chart, bloco, dados.janela); else TDS.atualizarBarras(chart, bloco);
      const aberta = figura.querySelector('details[open] .table-box');
      if (aberta && linhas !== undefined && !ocupado(aberta)) tabular(figura, aberta);
    }
  }

  /* --- the same points as a table --- */

  function celula(nome, texto, classe) {
    const c = document.createElement(nome);
    c.textContent = texto;
    if (classe) c.className = classe;
    return c;
  }

  function tabular(figura, caixa) {
    const grafico = porId(dados.graficos, figura.dataset.chart);
    if (!grafico) return;
    const tempos = [...new Set(grafico.series.flatMap((s) => s.pontos.map((p) => p[0])))].sort((a, b) => b - a);
    const indices = grafico.series.map((s) => new Map(s.pontos.map((p) => [p[0], p])));
    const marca = (p) => !p || !p[5] ? '' : ` (${p[5] === 2 ? textos.estimado : textos.interpolado})`;
    const tabela = document.createElement('table');
    tabela.className = 'table dense';
    const legenda = tabela.createCaption();
    legenda.className = 'visually-hidden';
    legenda.textContent = grafico.titulo;
    const topo = tabela.createTHead().insertRow();
    topo.append(celula('th', textos.inicio_do_intervalo), ...grafico.series.map((s) => celula('th', `${s.nome} (${s.un})`, 'num')));
    topo.querySelectorAll('th').forEach((th) => { th.scope = 'col'; });
    const corpo = tabela.createTBody();
    for (const t of tempos) {
      const linha = corpo.insertRow(), cabeca = celula('th', fmt.dataHora(t, TDS.fuso));
      cabeca.scope = 'row';
      linha.append(cabeca, ...grafico.series.map((s, i) => celula('td', fmt.valor((indices[i].get(t) || [])[1], s.un) + marca(indices[i].get(t)), 'num')));
    }
    caixa.replaceChildren(tabela);
  }

  for (const figura of figuras.filter((f) => f.dataset.chart !== undefined)) {
    const detalhe = figura.querySelector('details');
    detalhe.addEventListener('toggle', () => { if (detalhe.open) tabular(figura, detalhe.querySelector('.table-box')); });
  }

  /* --- words and numbers --- */

  function campos(d) {
    const mapa = { titulo: d.titulo, 'leituras/vazio': d.leituras.vazio, 'offline/vazio': d.offline.vazio, 'offline/mais': d.offline.mais };
    for (const c of d.cartoes) for (const parte of ['un', 'linha', 'detalhe', 'falado', 'qualidade', 'palavra']) mapa[`card/${c.id}/${parte}`] = c[parte];
    for (const c of d.cartoes) if (!c.instante) mapa[`card/${c.id}/exibe`] = c.exibe;
    for (const g of d.graficos) {
      for (const parte of ['titulo', 'resumo', 'vazio']) mapa[`chart/${g.id}/${parte}`] = g[parte];
      for (const s of g.series) for (const parte of ['ultimo', 'media', 'minimo', 'maximo']) mapa[`series/${s.id}/${parte}`] = s[parte];
    }
    for (const b of d.barras) {
      for (const parte of ['titulo', 'resumo']) mapa[`bars/${b.id}/${parte}`] = b[parte];
      b.meses.forEach((m, i) => { mapa[`bars/${b.id}/${i}`] = m.exibe; mapa[`bars/${b.id}/${i}/medido`] = m.medido; });
    }
    return mapa;
  }

  function escreverCampos() {
    const mapa = campos(dados);
    for (const elemento of document.querySelectorAll('[data-field]')) {
      const texto = mapa[elemento.dataset.field];
      if (texto === undefined || !TDS.escrever(elemento, texto)) continue;
      if (elemento.dataset.field.endsWith('/exibe')) marcar(elemento);
    }
    for (const c of dados.cartoes) {
      const detalhe = document.querySelector(`[data-field="${CSS.escape('card/' + c.id + '/detalhe')}"]`);
      if (detalhe && c.falado) detalhe.setAttribute('aria-hidden', 'true'); else if (detalhe) detalhe.removeAttribute('aria-hidden');
      const pilula = document.querySelector(`[data-pill="${CSS.escape('card/' + c.id)}"]`);
      if (pilula && pilula.dataset.state !== c.estado) { pilula.dataset.state = c.estado; trocarIcone(pilula.querySelector('use'), c.estado); }
      const tempo = document.querySelector(`time[data-field="${CSS.escape('card/' + c.id + '/exibe')}"]`);
      if (tempo && c.instante) tempo.dateTime = c.instante;
    }
    for (const nome of ['leituras', 'offline']) {
      document.querySelector(`[data-field="${nome}/vazio"]`).hidden = !dados[nome].vazio;
    }
    document.querySelector('[data-field="offline/mais"]').hidden = !dados.offline.mais;
  }

  function marcar(elemento) {
    elemento.classList.add('changed');
    setTimeout(() => elemento.classList.remove('changed'), 2000);
  }

  function trocarIcone(uso, nome) {
    uso.setAttribute('href', uso.getAttribute('href').split('#')[0] + '#' + nome);
  }

  const sprite = document.querySelector('use').getAttribute('href').split('#')[0];
  function icone(nome) {
    const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg'), uso = document.createElementNS(svg.namespaceURI, 'use');
    svg.setAttribute('class', 'icon');
    svg.setAttribute('aria-hidden', 'true');
    uso.setAttribute('href', `${sprite}#${nome}`);
    svg.append(uso);
    return svg;
  }

  /* --- tables that grow --- */

  const tabela = document.getElementById('readings'), novas = document.getElementById('new-readings');

  function ocupado(elemento) {
    const selecao = getSelection();
    return elemento.matches(':hover') || elemento.contains(document.activeElement)
      || (selecao && !selecao.isCollapsed && elemento.contains(selecao.anchorNode));
  }

  function linhaDaLeitura(l) {
    const linha = document.createElement('tr'), rotulos = tabela.tHead.rows[0].cells;
    linha.dataset.id = l.id;
    const nome = celula('th', l.dispositivo), grandeza = celula('td', ''), marca = celula('span', '', `quantity q-${l.cor}`), quando = celula('td', '');
    nome.scope = 'row';
    marca.append(icone(l.cor));
    grandeza.append(marca, celula('span', l.grandeza));
    const tempo = celula('time', l.quando);
    tempo.dateTime = l.instante;
    quando.append(tempo);
    linha.append(nome, grandeza, celula('td', `${l.valor}\u00a0${l.un}`, 'num'), quando);
    [...linha.cells].slice(1).forEach((c, i) => { c.dataset.label = rotulos[i + 1].textContent; });
    return linha;
  }

  function mostrarLeituras() {
    novas.hidden = true;
    tabela.hidden = !dados.leituras.linhas.length;
    const antigas = new Map([...tabela.tBodies[0].rows].map((r) => [r.dataset.id, r]));
    tabela.tBodies[0].replaceChildren(...dados.leituras.linhas.map((l) => antigas.get(l.id) || linhaDaLeitura(l)));
  }

  function atualizarLeituras() {
    const vistas = new Set([...tabela.tBodies[0].rows].map((r) => r.dataset.id));
    const quantas = dados.leituras.linhas.filter((l) => !vistas.has(l.id)).length;
    if (quantas && ocupado(tabela)) {
      novas.textContent = quantas === 1 ? textos.nova_leitura : textos.novas_leituras.replace('%s', fmt.numero(quantas, 0));
      novas.hidden = false;
    } else if (quantas || vistas.size !== dados.leituras.linhas.length) mostrarLeituras();
  }

  function atualizarOffline() {
    const lista = document.getElementById('offline');
    const assinatura = JSON.stringify(dados.offline.linhas);
    if (lista.dataset.signature === assinatura) return;
    lista.dataset.signature = assinatura;
    lista.hidden = !dados.offline.linhas.length;
    lista.replaceChildren(...dados.offline.linhas.map((l) => {
      const item = document.createElement('li'), caixa = document.createElement('div'), desde = celula('p', l.desde);
      item.dataset.id = l.id;
      if (l.instante) {
        const tempo = document.createElement('time');
        tempo.dateTime = l.instante;
        tempo.dataset.age = '';
        desde.append(' (', tempo, ')');
      }
      caixa.append(celula('strong', l.nome), desde, celula('p', l.afeta, 'meta'));
      item.dataset.state = l.estado;
      item.append(icone(l.estado), caixa);
      return item;
    }));
  }

  novas.addEventListener('click', mostrarLeituras);

  /* --- the shared cursor --- */

  const cursor = document.getElementById('cursor');
  if (cursor) {
    const faixa = document.getElementById('cursor-range'), saida = document.getElementById('cursor-text');
    const apontar = () => {
      const { de, ate, passo, fuso } = dados.janela;
      faixa.max = Math.max(1, Math.round((Math.min(ate, TDS.agora()) - de) / passo) - 1);
      const t = de + (Number(faixa.value) + 0.5) * passo;
      const frases = TDS.apontar(t), hora = `${fmt.diaMes(t, fuso)} ${fmt.hora(t - passo / 2, fuso)}`;
      TDS.escrever(saida, `${hora}: ${frases.join('; ') || textos.sem_dados}`);
      faixa.setAttribute('aria-valuetext', saida.textContent);
    };
    const passos = () => Math.max(1, Math.round((Math.min(dados.janela.ate, TDS.agora()) - dados.janela.de) / dados.janela.passo) - 1);
    faixa.max = passos();
    faixa.value = faixa.max;
    faixa.setAttribute('aria-valuetext', textos.cursor_parado);
    TDS.escrever(saida, textos.cursor_parado);
    faixa.addEventListener('input', apontar);
    faixa.addEventListener('blur', () => TDS.apontar(null));
    cursor.hidden = false;
  }

  /* --- following the server --- */

  const vivo = document.getElementById('live'), vivoTexto = document.getElementById('live-text'), faixa = document.getElementById('banner');
  const anuncio = document.getElementById('announcement'), pausar = document.getElementById('pause'), INTERVALO = Number(main.dataset.interval) * 1000;
  const MAIOR_TEM = 3000, PONTOS_POR_PARTE = 32;
  let falhou = false, ultimoAnuncio = -Infinity, semConexaoDesde = null, offlineAntes = dados.offline.total;

  function anunciar(texto) {
    if (performance.now() - ultimoAnuncio < 60000) return;
    ultimoAnuncio = performance.now();
    TDS.escrever(anuncio, texto);
  }

  function avisar(estado, texto, url, rotulo) {
    const link = document.getElementById('banner-link');
    faixa.dataset.state = estado;
    trocarIcone(faixa.querySelector('use'), estado);
    TDS.escrever(document.getElementById('banner-text'), texto);
    link.hidden = !url;
    if (url) { link.href = url; link.textContent = rotulo; }
    faixa.hidden = false;
    anunciar(texto);
  }

  /* Tells the server which parts of the series are here already, so that it sends only the others. */
  function endereco() {
    const url = new URL(main.dataset.url, location.href), tem = dados.graficos.flatMap((g) => g.series.flatMap((s) => s.partes.map((p) => p[1]))).join('');
    url.searchParams.set('seq', dados.seq);
    if (tem.length <= MAIOR_TEM) url.searchParams.set('tem', tem);
    return url;
  }

  /* Completes an answer with the parts that stayed as they were. */
  function completar(novos) {
    for (const s of novos.graficos.flatMap((g) => g.series)) {
      const antiga = dados.graficos.flatMap((g) => g.series).find((a) => a.id === s.id);
      const parte = (p) => Math.floor(p[0] / (s.passo * PONTOS_POR_PARTE)), marcas = new Map(antiga ? antiga.partes : []);
      s.pontos = s.partes.flatMap(([i, marca]) => (marcas.get(i) === marca ? antiga : s).pontos.filter((p) => parte(p) === i));
    }
    return novos;
  }

  /* A block that failed keeps what it showed, and says so. */
  function suprirFalhas(novos) {
    const [falha] = Object.values(novos.falhas);
    if (novos.falhas.barras) novos.barras = dados.barras;
    if (novos.falhas.barras || novos.falhas.demanda) novos.cartoes = dados.cartoes.map((c) => porId(novos.cartoes, c.id) || c);
    for (const bloco of ['graficos', 'leituras']) if (novos.falhas[bloco]) novos[bloco] = dados[bloco];
    if (falha) avisar('warning', falha); else if (falhou) faixa.hidden = true;
    falhou = Boolean(falha);
    return novos;
  }

  const poll = TDS.consultar(endereco, INTERVALO, main.dataset.etag, {
    mudou(novos) {
      recuperar();
      if (novos.v !== dados.v) { poll.parar(); avisar('info', textos.versao_nova, location.href, textos.recarregar); return; }
      suprirFalhas(novos);
      if (estrutura(novos) !== inicial) {
        if (document.getElementById('never-measured') || document.getElementById('no-bars')) { location.reload(); return; }
        avisar('info', textos.novidades, location.href, textos.recarregar);
      }
      dados = novos.falhas.graficos ? novos : completar(novos);
      escreverCampos();
      atualizarGraficos();
      atualizarLeituras();
      atualizarOffline();
      const agoraOffline = dados.offline.total;
      if (agoraOffline !== offlineAntes) anunciar(textos.mudou_offline.replace('%s', fmt.numero(agoraOffline, 0)));
      offlineAntes = agoraOffline;
      contar();
    },
    igual() { recuperar(); contar(); },
    falhou(vezes) {
      semConexaoDesde ??= TDS.agora() - poll.idadeMs();
      if (vezes >= 3 || poll.idadeMs() > 180000) {
        avisar('warning', textos.sem_conexao.replace('%s', fmt.hora(semConexaoDesde, TDS.fuso)));
      }
      contar();
    },
    parou(motivo) {
      const entrar = `${main.dataset.loginUrl}?next=${encodeURIComponent(location.pathname + location.search)}`;
      if (motivo === 'sessao') avisar('warning', textos.sessao_terminou, entrar, textos.entrar_de_novo);
      else avisar('warning', textos.sem_acesso, '/', textos.ir_para_o_inicio);
      contar();
    }
  });

  function recuperar() {
    if (semConexaoDesde === null) return;
    semConexaoDesde = null;
    faixa.hidden = true;
    anunciar(textos.conexao_voltou);
  }

  function contar() {
    const idade = poll.idadeMs(), pausada = pausar.getAttribute('aria-pressed') === 'true';
    const estado = poll.parado || pausada ? 'neutral' : idade > Math.max(75000, 2.5 * INTERVALO) ? 'warning' : 'ok';
    const modelo = estado === 'warning' ? textos.atrasado : pausada ? textos.pausado : textos.atualizado;
    if (vivo.dataset.state !== estado) { vivo.dataset.state = estado; trocarIcone(vivo.querySelector('use'), estado); }
    TDS.escrever(vivoTexto, modelo.replace('%s', fmt.idade(0, idade, TDS.fuso)));
    TDS.atualizarIdades();
  }

  pausar.hidden = false;
  pausar.addEventListener('click', () => {
    const pausada = pausar.getAttribute('aria-pressed') !== 'true';
    pausar.setAttribute('aria-pressed', pausada);
    TDS.escrever(pausar.querySelector('span'), pausada ? textos.continuar : textos.pausar);
    trocarIcone(pausar.querySelector('use'), pausada ? 'resume' : 'pause');
    poll.pausar(pausada);
    contar();
  });

  matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redesenhar);
  TDS.prepararGraficos(textos);
  figuras.forEach((f) => vigia.observe(f));
  setInterval(contar, 1000);
  contar();
})(window.TDS);
