/* The server's clock, counted on from the page or the last answer, and the ages that follow it. The computer's clock is not asked. */
(function (TDS) {
  'use strict';
  const main = document.getElementById('content');
  let servidor = Number(main.dataset.now), marco = performance.now();
  TDS.fuso = main.dataset.zone;
  TDS.agora = () => servidor + performance.now() - marco;
  TDS.acertarRelogio = (ms) => { if (Number.isFinite(ms)) { servidor = ms; marco = performance.now(); } };

  TDS.escrever = (elemento, texto) => {
    if (elemento.textContent === texto) return false;
    elemento.textContent = texto;
    return true;
  };

  TDS.atualizarIdades = () => {
    for (const tempo of document.querySelectorAll('time[data-age]')) {
      TDS.escrever(tempo, TDS.fmt.idade(Date.parse(tempo.dateTime), TDS.agora(), TDS.fuso));
    }
  };
  TDS.atualizarIdades();
  if (!main.dataset.url) setInterval(TDS.atualizarIdades, 10000);
})(window.TDS);
