/**
 * The words and numbers of the page that change in place, and the symbols of states beside them.
 */

import { setText } from './ages.js';

const CHANGED_MS = 2000;
const CARD_FIELDS = /** @type {const} */ (['unit', 'line', 'detail', 'spoken', 'quality', 'word']);
const CHART_FIELDS = /** @type {const} */ (['title', 'summary', 'empty']);
const SERIES_FIELDS = /** @type {const} */ (['last', 'mean', 'minimum', 'maximum']);

/**
 * The text of every field, by the name in its `data-field`.
 * @param {Dashboard} dashboard
 */
export function fieldTexts(dashboard) {
  /** @type {Record<string, string>} */
  const texts = {
    title: dashboard.title,
    'readings/empty': dashboard.readings.empty,
    'offline/empty': dashboard.offline.empty,
    'offline/more': dashboard.offline.more
  };
  for (const card of dashboard.cards) {
    for (const field of CARD_FIELDS) texts[`card/${card.id}/${field}`] = card[field];
    // With an instant it is an age, which counts on by itself.
    if (!card.instant) texts[`card/${card.id}/shown`] = card.shown;
  }
  for (const chart of dashboard.charts) {
    for (const field of CHART_FIELDS) texts[`chart/${chart.id}/${field}`] = chart[field];
    for (const series of chart.series) {
      for (const field of SERIES_FIELDS) texts[`series/${series.id}/${field}`] = series[field];
    }
  }
  for (const chart of dashboard.bars) {
    for (const field of /** @type {const} */ (['title', 'summary'])) {
      texts[`bars/${chart.id}/${field}`] = chart[field];
    }
    chart.months.forEach((month, i) => {
      texts[`bars/${chart.id}/${i}`] = month.shown;
      texts[`bars/${chart.id}/${i}/measured`] = month.measured;
    });
  }
  return texts;
}

/**
 * Write all fields of the page.
 * @param {Dashboard} dashboard
 */
export function writeFields(dashboard) {
  const texts = fieldTexts(dashboard);
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-field]'))) {
    const name = element.dataset.field ?? '';
    const text = texts[name];
    if (text !== undefined && setText(element, text) && name.endsWith('/shown')) markChanged(element);
  }
  dashboard.cards.forEach(writeCard);
  showWhere('readings/empty', dashboard.readings.empty);
  showWhere('offline/empty', dashboard.offline.empty);
  showWhere('offline/more', dashboard.offline.more);
}

/** @param {Card} card */
function writeCard(card) {
  const detail = field(`card/${card.id}/detail`);
  if (card.spoken) detail?.setAttribute('aria-hidden', 'true');
  else detail?.removeAttribute('aria-hidden');
  const pill = /** @type {HTMLElement | null} */ (
    document.querySelector(`[data-pill="${CSS.escape(`card/${card.id}`)}"]`)
  );
  if (pill) setState(pill, card.state);
  const shown = field(`card/${card.id}/shown`);
  if (card.instant && shown instanceof HTMLTimeElement) shown.dateTime = card.instant;
}

/** @type {(name: string) => HTMLElement | null} */
const field = (name) => document.querySelector(`[data-field="${CSS.escape(name)}"]`);

/** @type {(name: string, text: string) => void} */
function showWhere(name, text) {
  const element = field(name);
  if (element) element.hidden = !text;
}

/** @param {HTMLElement} element */
function markChanged(element) {
  element.classList.add('changed');
  setTimeout(() => element.classList.remove('changed'), CHANGED_MS);
}

/* --- symbols --- */

/**
 * Give an element the colour and the symbol of a state.
 * @type {(element: HTMLElement, state: string) => void}
 */
export function setState(element, state) {
  if (element.dataset.state === state) return;
  element.dataset.state = state;
  setIcon(element, state);
}

/**
 * Change the symbol that an element holds.
 * @type {(element: Element, name: string) => void}
 */
export function setIcon(element, name) {
  element.querySelector('use')?.setAttribute('href', `${spriteAddress()}#${name}`);
}

/**
 * A symbol of the sprite.
 * @param {string} name
 */
export function icon(name) {
  const svg = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
  const use = document.createElementNS('http://www.w3.org/2000/svg', 'use');
  svg.setAttribute('class', 'icon');
  svg.setAttribute('aria-hidden', 'true');
  use.setAttribute('href', `${spriteAddress()}#${name}`);
  svg.append(use);
  return svg;
}

/** The sprite's address, which has a hash in it: read from the page. */
function spriteAddress() {
  return document.querySelector('use')?.getAttribute('href')?.split('#')[0] ?? '';
}
