/* Asks for news: one request at a time, never in a hidden tab, slower while it fails, and not at all when there is no point. */
(function (TDS) {
  'use strict';
  const ESPERA_MS = 10000, RECUOS = [1, 2, 4, 10], TREMOR = 0.1;

  /* avisos: mudou(dados), igual(), falhou(vezes), parou(motivo: 'sessao' | 'acesso'). */
  TDS.consultar = function (endereco, intervaloMs, etag, avisos) {
    let relogio = null, emVoo = null, falhas = 0, pausado = false, parado = false, ultima = performance.now();

    function agendar(ms) {
      clearTimeout(relogio);
      if (!parado && !pausado && !document.hidden) relogio = setTimeout(perguntar, ms * (1 - TREMOR + 2 * TREMOR * Math.random()));
    }

    async function perguntar() {
      if (emVoo || parado || pausado || document.hidden) return;
      emVoo = new AbortController();
      const limite = setTimeout(() => emVoo.abort(), ESPERA_MS);
      let proxima = intervaloMs;
      try {
        proxima = await responder(await fetch(endereco(), {
          headers: etag ? { 'If-None-Match': etag } : {}, cache: 'no-store', redirect: 'manual', signal: emVoo.signal
        }));
      } catch (erro) {
        proxima = falhou(0);
      } finally {
        clearTimeout(limite);
        emVoo = null;
        agendar(proxima);
      }
    }

    async function responder(resposta) {
      if (resposta.type === 'opaqueredirect' || resposta.status === 401) return parar('sessao');
      if (resposta.status === 403 || resposta.status === 404) return parar('acesso');
      if (resposta.status !== 304 && !resposta.ok) return falhou(Number(resposta.headers.get('Retry-After')) * 1000);
      const dados = resposta.status === 304 ? null : await resposta.json();
      TDS.acertarRelogio(Date.parse(resposta.headers.get('Date')));
      etag = resposta.headers.get('ETag');
      falhas = 0;
      ultima = performance.now();
      if (pausado) return intervaloMs;
      if (dados) avisos.mudou(dados); else avisos.igual();
      return intervaloMs;
    }

    function falhou(pedidoMs) {
      falhas += 1;
      avisos.falhou(falhas);
      return Math.max(pedidoMs || 0, intervaloMs * RECUOS[Math.min(falhas, RECUOS.length) - 1]);
    }

    function parar(motivo) {
      parado = true;
      avisos.parou(motivo);
      return intervaloMs;
    }

    function retomar() {
      if (document.hidden) { clearTimeout(relogio); return; }
      if (performance.now() - ultima >= intervaloMs) perguntar(); else agendar(intervaloMs);
    }

    document.addEventListener('visibilitychange', retomar);
    window.addEventListener('online', retomar);
    agendar(intervaloMs);
    return {
      pausar(sim) { pausado = sim; if (sim) clearTimeout(relogio); else retomar(); },
      parar() { parado = true; clearTimeout(relogio); },
      idadeMs: () => performance.now() - ultima,
      get parado() { return parado; }
    };
  };
})(window.TDS);
