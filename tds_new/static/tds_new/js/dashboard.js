/**
 * The dashboard: draws the charts from the page's own data, then follows the server in place.
 */

import { clock, refreshAges, setText, zone } from './ages.js';
import { drawBars, drawLines, prepareCharts, removeChart, updateBars, updateLines } from './charts.js';
import { startSlider } from './cursor.js';
import { setIcon, setState, writeFields } from './fields.js';
import { formats } from './formats.js';
import { Poll, completeSeries, keepFailedBlocks, marksHeld, structureOf } from './polling.js';
import { ReadingsTable, fillPointTable, inUse, updateOffline } from './tables.js';

const DRAW_AHEAD_PX = 300;
const ANNOUNCE_EVERY_MS = 60000;
const LATE_AFTER_MS = 75000;
const LATE_AFTER_INTERVALS = 2.5;
const LOST_AFTER_FAILURES = 3;
const LOST_AFTER_MS = 180000;

/** @type {(id: string) => HTMLElement} */
const byId = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
/** @type {(id: string) => any} */
const embedded = (id) => JSON.parse(byId(id).textContent ?? '');

const main = byId('content');
const intervalMs = Number(main.dataset.interval) * 1000;
/** @type {Texts} */
const texts = embedded('dashboard-texts');
/** @type {Dashboard} */
let dashboard = embedded('dashboard-data');
const drawnStructure = structureOf(dashboard);

/* --- charts, drawn when they come near the screen --- */

const figures = /** @type {HTMLElement[]} */ ([...document.querySelectorAll('figure.chart')]);
/** @type {Map<HTMLElement, ChartInstance>} */
const drawn = new Map();

/** @param {HTMLElement} figure */
const linesOf = (figure) => dashboard.charts.find(({ id }) => id === figure.dataset.chart);
/** @param {HTMLElement} figure */
const barsOf = (figure) => dashboard.bars.find(({ id }) => id === figure.dataset.bars);
/** @param {HTMLElement} figure */
const canvasOf = (figure) => /** @type {HTMLCanvasElement} */ (figure.querySelector('canvas'));

/** @param {HTMLElement} figure */
function draw(figure) {
  const canvas = canvasOf(figure);
  if (drawn.has(figure) || canvas.parentElement?.hidden) return;
  const lines = linesOf(figure);
  const bars = barsOf(figure);
  if (lines) drawn.set(figure, drawLines(canvas, lines, dashboard.window));
  else if (bars) drawn.set(figure, drawBars(canvas, bars));
}

function redraw() {
  prepareCharts(texts);
  // A copy, because a figure that is drawn again becomes the last of the map: the walk would never end.
  for (const [figure, view] of [...drawn]) {
    removeChart(view);
    drawn.delete(figure);
    draw(figure);
  }
}

/** @param {HTMLElement} figure */
function updateFigure(figure) {
  const lines = linesOf(figure);
  const bars = barsOf(figure);
  const view = drawn.get(figure);
  const chart = lines ?? bars;
  if (!chart) return;
  if (lines) showEmpty(figure, Boolean(lines.empty));
  canvasOf(figure).setAttribute('aria-label', `${chart.title}. ${chart.summary}`);
  if (!view) {
    if (figure.getBoundingClientRect().top < innerHeight + DRAW_AHEAD_PX) draw(figure);
  } else if (lines) {
    updateLines(view, lines, dashboard.window);
    updateOpenTable(figure, lines);
  } else if (bars) {
    updateBars(view, bars);
  }
}

/** @type {(figure: HTMLElement, lines: LineChart) => void} */
function updateOpenTable(figure, lines) {
  const box = figure.querySelector('details[open] .table-box');
  if (box && !inUse(box)) fillPointTable(box, lines, texts);
}

/** @type {(figure: HTMLElement, empty: boolean) => void} */
function showEmpty(figure, empty) {
  /** @type {HTMLElement} */ (figure.querySelector('.chart-box')).hidden = empty;
  /** @type {HTMLElement} */ (figure.querySelector('.empty')).hidden = !empty;
}

/** @param {HTMLElement} figure */
function fillTableWhenOpened(figure) {
  const details = /** @type {HTMLDetailsElement} */ (figure.querySelector('details'));
  details.addEventListener('toggle', () => {
    const lines = linesOf(figure);
    const box = details.querySelector('.table-box');
    if (details.open && lines && box) fillPointTable(box, lines, texts);
  });
}

/* --- what is said to people --- */

const banner = byId('banner');
const live = byId('live');
const pauseButton = byId('pause');
let lastAnnouncement = -Infinity;

/**
 * Tell screen readers, at most once a minute.
 * @param {string} text
 */
function announce(text) {
  if (performance.now() - lastAnnouncement < ANNOUNCE_EVERY_MS) return;
  lastAnnouncement = performance.now();
  setText(byId('announcement'), text);
}

/**
 * Show the banner.
 * @param {'info' | 'warning'} state
 * @param {string} text
 * @param {{ url: string, text: string }} [way] where to go from here
 */
function warn(state, text, way) {
  const link = /** @type {HTMLAnchorElement} */ (byId('banner-link'));
  setState(banner, state);
  setText(byId('banner-text'), text);
  link.hidden = !way;
  if (way) {
    link.href = way.url;
    link.textContent = way.text;
  }
  banner.hidden = false;
  announce(text);
}

const isPaused = () => pauseButton.getAttribute('aria-pressed') === 'true';

/** Say how old the page is. */
function showAge() {
  const ageMs = poll.ageMs();
  const lateAfterMs = Math.max(LATE_AFTER_MS, LATE_AFTER_INTERVALS * intervalMs);
  const state = poll.stopped || isPaused() ? 'neutral' : ageMs > lateAfterMs ? 'warning' : 'ok';
  const sentence = state === 'warning' ? texts.late : isPaused() ? texts.paused : texts.updated;
  setState(live, state);
  setText(byId('live-text'), sentence.replace('%s', formats.age(0, ageMs, zone)));
  refreshAges();
}

/* --- following the server --- */

const readings = new ReadingsTable(texts);
let blockFailed = false;
let offlineBefore = dashboard.offline.total;
/** @type {number | null} */
let lostSince = null;

/**
 * The address of the next request. It names the parts of the series that are here: only the others are sent.
 */
function address() {
  const url = new URL(main.dataset.url ?? '', location.href);
  const marks = marksHeld(dashboard);
  url.searchParams.set('seq', String(dashboard.sequence));
  if (marks !== null) url.searchParams.set('tem', marks);
  return url;
}

/** @param {Dashboard} answer */
function warnOfFailures(answer) {
  const [failure] = Object.values(answer.failures);
  if (failure) warn('warning', failure);
  else if (blockFailed) banner.hidden = true;
  blockFailed = Boolean(failure);
}

const reload = () => ({ url: location.href, text: texts.reload });

/**
 * Say that there is more than the page has room for; a page that has nothing yet is loaded again.
 * Returns whether it is.
 * @param {Dashboard} answer
 */
function reloadsForNews(answer) {
  if (structureOf(answer) === drawnStructure) return false;
  if (document.getElementById('never-measured') || document.getElementById('no-bars')) {
    location.reload();
    return true;
  }
  warn('info', texts.news, reload());
  return false;
}

/** @param {Dashboard} answer */
function takeIn(answer) {
  recover();
  if (answer.version !== dashboard.version) {
    poll.stop();
    warn('info', texts.new_version, reload());
    return;
  }
  keepFailedBlocks(answer, dashboard);
  warnOfFailures(answer);
  if (reloadsForNews(answer)) return;
  if (!answer.failures.charts) completeSeries(answer, dashboard);
  dashboard = answer;
  writeFields(dashboard, texts);
  figures.forEach(updateFigure);
  readings.update(dashboard.readings.rows);
  updateOffline(dashboard.offline.rows);
  if (dashboard.offline.total !== offlineBefore) {
    announce(texts.offline_changed.replace('%s', formats.number(dashboard.offline.total, 0)));
  }
  offlineBefore = dashboard.offline.total;
  showAge();
}

function recover() {
  if (lostSince === null) return;
  lostSince = null;
  banner.hidden = true;
  announce(texts.connection_back);
}

const poll = new Poll(address, intervalMs, main.dataset.etag ?? null, {
  answered: (serverMs) => clock.set(serverMs),
  changed: takeIn,
  unchanged() {
    recover();
    showAge();
  },
  failed(times) {
    lostSince ??= clock.now() - poll.ageMs();
    if (times >= LOST_AFTER_FAILURES || poll.ageMs() > LOST_AFTER_MS) {
      warn('warning', texts.connection_lost.replace('%s', formats.time(lostSince, zone)));
    }
    showAge();
  },
  stopped(reason) {
    const login = `${main.dataset.loginUrl}?next=${encodeURIComponent(location.pathname + location.search)}`;
    if (reason === 'session') warn('warning', texts.session_ended, { url: login, text: texts.log_in_again });
    else warn('warning', texts.no_access, { url: '/', text: texts.go_home });
    showAge();
  }
});

function togglePause() {
  const paused = !isPaused();
  pauseButton.setAttribute('aria-pressed', String(paused));
  setText(/** @type {Element} */ (pauseButton.querySelector('span')), paused ? texts.resume : texts.pause);
  setIcon(pauseButton, paused ? 'resume' : 'pause');
  poll.pause(paused);
  showAge();
}

/* --- start --- */

prepareCharts(texts);
matchMedia('(prefers-color-scheme: dark)').addEventListener('change', redraw);
const nearScreen = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) if (entry.isIntersecting) draw(/** @type {HTMLElement} */ (entry.target));
  },
  { rootMargin: `${DRAW_AHEAD_PX}px` }
);
for (const figure of figures) {
  nearScreen.observe(figure);
  if (figure.dataset.chart !== undefined) fillTableWhenOpened(figure);
}
startSlider(() => dashboard.window, texts);
pauseButton.hidden = false;
pauseButton.addEventListener('click', togglePause);
poll.start();
setInterval(showAge, 1000);
showAge();
