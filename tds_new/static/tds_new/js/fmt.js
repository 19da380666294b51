/* Numbers, dates and ages as people read them: the same rules as tds_new/formats.py, held together by shared test vectors. */
window.TDS = window.TDS || {};
(function (TDS) {
  'use strict';
  const NBSP = '\u00a0', MENOS = '\u2212', FALTA = '\u2014';
  const ingles = document.documentElement.lang.toLowerCase().startsWith('en');
  const local = ingles ? 'en-US' : 'pt-BR';
  const MESES_EN = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];
  const CONSUMO = [[1000, 0], [100, 1], [0, 2]];
  const CASAS = { 'kW': [[100, 0], [0, 1]], '°C': [[0, 1]], '%': [[10, 0], [0, 1]], 'R$': [[0, 2]], 'L/h': [[0, 0]] };
  const formatadores = {};

  function casas(valor, unidade) {
    const grandeza = Math.abs(Number(valor));
    if (grandeza === 0) return 0;
    return (CASAS[unidade] || CONSUMO).find(([limite]) => grandeza >= limite)[1];
  }

  /* Takes a number or a decimal string; rounds half up on its exact value. */
  function numero(valor, decimais) {
    if (valor === null || valor === undefined) return FALTA;
    const f = formatadores[decimais] ||= new Intl.NumberFormat(local, { minimumFractionDigits: decimais, maximumFractionDigits: decimais });
    const negativo = Number(valor) < 0;
    const texto = f.format(typeof valor === 'string' ? valor.replace('-', '') : Math.abs(valor));
    return negativo && /[1-9]/.test(texto) ? MENOS + texto : texto;
  }

  function valor(quantia, unidade) {
    return quantia === null || quantia === undefined ? FALTA : numero(quantia, casas(quantia, unidade));
  }

  function comUnidade(quantia, unidade) {
    return quantia === null || quantia === undefined ? FALTA : valor(quantia, unidade) + NBSP + unidade;
  }

  const relogios = {};
  function partes(ms, fuso) {
    const f = relogios[fuso] ||= new Intl.DateTimeFormat('en-US', {
      timeZone: fuso, hourCycle: 'h23', year: 'numeric', month: '2-digit', day: '2-digit', hour: '2-digit', minute: '2-digit'
    });
    return Object.fromEntries(f.formatToParts(ms).map((p) => [p.type, p.value]));
  }

  function data(ms, fuso) {
    const p = partes(ms, fuso);
    return ingles ? `${MESES_EN[p.month - 1]} ${Number(p.day)}, ${p.year}` : `${p.day}/${p.month}/${p.year}`;
  }

  function diaMes(ms, fuso) {
    const p = partes(ms, fuso);
    return ingles ? `${MESES_EN[p.month - 1]} ${Number(p.day)}` : `${p.day}/${p.month}`;
  }

  function hora(ms, fuso) {
    const p = partes(ms, fuso);
    return `${p.hour}:${p.minute}`;
  }

  function dataHora(ms, fuso) {
    return `${data(ms, fuso)} ${hora(ms, fuso)}`;
  }

  function dias(n) {
    return n + NBSP + (ingles ? (n === 1 ? 'day' : 'days') : (n === 1 ? 'dia' : 'dias'));
  }

  function duracao(segundos) {
    const s = Math.max(0, Math.floor(segundos));
    const min = Math.floor(s / 60) % 60, h = Math.floor(s / 3600) % 24, d = Math.floor(s / 86400);
    if (s < 60) return s + NBSP + 's';
    if (s < 3600) return min + NBSP + 'min';
    if (!d) return h + NBSP + 'h' + (min ? ' ' + min + NBSP + 'min' : '');
    return dias(d) + (h ? ' ' + h + NBSP + 'h' : '');
  }

  function idade(ms, agora, fuso) {
    const s = Math.max(0, Math.floor((agora - ms) / 1000));
    if (s >= 7 * 86400) return data(ms, fuso);
    const quanto = s < 60 ? s + NBSP + 's' : s < 3600 ? Math.floor(s / 60) + NBSP + 'min'
      : s < 86400 ? Math.floor(s / 3600) + NBSP + 'h' : dias(Math.floor(s / 86400));
    return ingles ? `${quanto} ago` : `há ${quanto}`;
  }

  TDS.fmt = { numero, valor, comUnidade, data, diaMes, hora, dataHora, duracao, idade, FALTA };
})(window.TDS);
