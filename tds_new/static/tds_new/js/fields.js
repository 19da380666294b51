/**
 * The words and numbers of the page that change in place, and the symbols of states beside them.
 */

import { setText } from './ages.js';

const CHANGED_MS = 2000;
const CARD_FIELDS = /** @type {const} */ ([
  'unit',
  'line',
  'detail',
  'spoken',
  'quality',
  'sources',
  'provisional',
  'word'
]);
const BARS_FIELDS = /** @type {const} */ (['title', 'summary']);
const METER_FIELDS = /** @type {const} */ (['value', 'share', 'notice', 'provisional']);
const FINALITY_FIELDS = /** @type {const} */ (['settled', 'final']);
const CHART_FIELDS = /** @type {const} */ (['title', 'summary', 'empty']);
const SERIES_FIELDS = /** @type {const} */ (['last', 'mean', 'minimum', 'maximum']);

/** @typedef {Record<string, string>} FieldTexts texts by the name of their field */

/**
 * The text of every field, by the name in its `data-field`.
 * @type {(dashboard: Dashboard, words: Texts) => FieldTexts}
 */
export function fieldTexts(dashboard, words) {
  /** @type {FieldTexts} */
  const texts = {
    title: dashboard.title,
    waiting: dashboard.waiting.text,
    'meters/period': dashboard.meters.period,
    'readings/empty': dashboard.readings.empty,
    'offline/empty': dashboard.offline.empty,
    'offline/more': dashboard.offline.more
  };
  for (const card of dashboard.cards) addCard(texts, card);
  for (const chart of dashboard.charts) addLines(texts, chart);
  for (const chart of dashboard.bars) addBars(texts, chart, words);
  for (const row of dashboard.meters.rows) addRow(texts, `meter/${row.id}`, row, METER_FIELDS);
  for (const row of dashboard.finality) addRow(texts, `finality/${row.id}`, row, FINALITY_FIELDS);
  return texts;
}

/**
 * Add some fields of a row under a name.
 * @template {string} Field
 * @param {FieldTexts} texts
 * @param {string} name
 * @param {Record<Field, string>} row
 * @param {readonly Field[]} fields
 */
function addRow(texts, name, row, fields) {
  for (const one of fields) texts[`${name}/${one}`] = row[one];
}

/** @type {(texts: FieldTexts, card: Card) => void} */
function addCard(texts, card) {
  addRow(texts, `card/${card.id}`, card, CARD_FIELDS);
  // With an instant it is an age, which counts on by itself.
  if (!card.instant) texts[`card/${card.id}/shown`] = card.shown;
}

/** @type {(texts: FieldTexts, chart: LineChart) => void} */
function addLines(texts, chart) {
  addRow(texts, `chart/${chart.id}`, chart, CHART_FIELDS);
  for (const series of chart.series) addRow(texts, `series/${series.id}`, series, SERIES_FIELDS);
}

/** @type {(texts: FieldTexts, chart: BarChart, words: Texts) => void} */
function addBars(texts, chart, words) {
  addRow(texts, `bars/${chart.id}`, chart, BARS_FIELDS);
  chart.months.forEach((month, i) => {
    texts[`bars/${chart.id}/${i}`] = month.shown;
    texts[`bars/${chart.id}/${i}/measured`] = month.measured;
    texts[`bars/${chart.id}/${i}/provisional`] = month.provisional ? words.provisional : '';
  });
}

/**
 * Write all fields of the page.
 * @type {(dashboard: Dashboard, words: Texts) => void}
 */
export function writeFields(dashboard, words) {
  const texts = fieldTexts(dashboard, words);
  for (const element of /** @type {NodeListOf<HTMLElement>} */ (document.querySelectorAll('[data-field]'))) {
    const name = element.dataset.field ?? '';
    const text = texts[name];
    if (text !== undefined && setText(element, text) && name.endsWith('/shown')) markChanged(element);
  }
  dashboard.cards.forEach(writeCard);
  showWhere('readings/empty', dashboard.readings.empty);
  showWhere('offline/empty', dashboard.offline.empty);
  showWhere('offline/more', dashboard.offline.more);
  const waiting = document.getElementById('waiting');
  if (waiting) waiting.hidden = !dashboard.waiting.text;
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
