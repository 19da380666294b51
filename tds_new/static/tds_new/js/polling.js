/**
 * Following the server: one request at a time, never in a hidden tab, slower while it fails, not at all once
 * it is refused; and the completion of answers that hold only the changed parts.
 */

const TIMEOUT_MS = 10000;
const BACKOFF = [1, 2, 4, 10]; // intervals to wait after the first, second, ... failure
const JITTER = 0.1;

/**
 * Milliseconds to wait after so many failures in a row.
 * @type {(failures: number, intervalMs: number, askedForMs: number) => number}
 */
export function delayAfterFailure(failures, intervalMs, askedForMs) {
  return Math.max(askedForMs || 0, intervalMs * BACKOFF[Math.min(failures, BACKOFF.length) - 1]);
}

/**
 * A delay spread by a tenth to both sides, so that many pages do not ask at the same time.
 * @param {number} delayMs
 * @param {number} random 0 to 1
 */
export const jittered = (delayMs, random) => delayMs * (1 - JITTER + 2 * JITTER * random);

/**
 * The meaning of an answer: new data, nothing new, try again later, or a reason to stop.
 * @param {{ type: string, status: number, ok: boolean }} response
 * @returns {'changed' | 'unchanged' | 'failed' | 'session' | 'access'}
 */
export function outcomeOf(response) {
  if (response.type === 'opaqueredirect' || response.status === 401) return 'session';
  if (response.status === 403 || response.status === 404) return 'access';
  if (response.status === 304) return 'unchanged';
  return response.ok ? 'changed' : 'failed';
}

/** Polls the server, and tells a listener about the answers. */
export class Poll {
  /**
   * @param {() => URL} address called for each request
   * @param {number} intervalMs
   * @param {string | null} etag of what the page shows; empty if that is not known
   * @param {PollListener} listener
   */
  constructor(address, intervalMs, etag, listener) {
    this.address = address;
    this.intervalMs = intervalMs;
    this.etag = etag;
    this.listener = listener;
    this.failures = 0;
    this.paused = false;
    this.stopped = false;
    this.lastAnswer = performance.now();
    this.timer = 0;
    /** @type {AbortController | null} */
    this.inFlight = null;
  }

  start() {
    const resume = () => this.resume();
    document.addEventListener('visibilitychange', resume);
    window.addEventListener('online', resume);
    this.schedule(this.intervalMs);
  }

  /** Milliseconds since the last answer. */
  ageMs() {
    return performance.now() - this.lastAnswer;
  }

  /** @param {boolean} paused */
  pause(paused) {
    this.paused = paused;
    if (paused) clearTimeout(this.timer);
    else this.resume();
  }

  stop() {
    this.stopped = true;
    clearTimeout(this.timer);
  }

  /** @param {number} delayMs */
  schedule(delayMs) {
    clearTimeout(this.timer);
    if (!this.idle()) this.timer = setTimeout(() => this.ask(), jittered(delayMs, Math.random()));
  }

  /** Whether polling is suspended. */
  idle() {
    return this.stopped || this.paused || document.hidden;
  }

  resume() {
    if (document.hidden) clearTimeout(this.timer);
    else if (this.ageMs() >= this.intervalMs) this.ask();
    else this.schedule(this.intervalMs);
  }

  async ask() {
    if (this.inFlight || this.idle()) return;
    const request = (this.inFlight = new AbortController());
    const limit = setTimeout(() => request.abort(), TIMEOUT_MS);
    let delayMs = this.intervalMs;
    try {
      const response = await fetch(this.address(), {
        headers: this.etag ? { 'If-None-Match': this.etag } : {},
        cache: 'no-store',
        redirect: 'manual',
        signal: request.signal
      });
      delayMs = await this.receive(response);
    } catch {
      delayMs = this.fail(0);
    } finally {
      clearTimeout(limit);
      this.inFlight = null;
      this.schedule(delayMs);
    }
  }

  /**
   * Take an answer in. Returns the milliseconds to wait until the next request.
   * @param {Response} response
   */
  async receive(response) {
    const outcome = outcomeOf(response);
    if (outcome === 'failed') return this.fail(Number(response.headers.get('Retry-After')) * 1000);
    if (outcome === 'session' || outcome === 'access') {
      this.stopped = true;
      this.listener.stopped(outcome);
      return this.intervalMs;
    }
    const json = outcome === 'changed' ? await response.json() : null;
    this.etag = response.headers.get('ETag');
    this.failures = 0;
    this.lastAnswer = performance.now();
    this.listener.answered(Date.parse(response.headers.get('Date') ?? ''));
    if (this.paused) return this.intervalMs;
    if (json) this.listener.changed(json);
    else this.listener.unchanged();
    return this.intervalMs;
  }

  /** @param {number} askedForMs how long the server asked to be left alone */
  fail(askedForMs) {
    this.failures += 1;
    this.listener.failed(this.failures);
    return delayAfterFailure(this.failures, this.intervalMs, askedForMs);
  }
}

/* --- answers --- */

/* The server cuts the same way (tds_new/web/dashboard/parts.py). */
const POINTS_PER_PART = 32;
const MAX_MARKS_LENGTH = 3000;

/** @param {Dashboard} dashboard */
const allSeries = (dashboard) => dashboard.charts.flatMap((chart) => chart.series);

/**
 * The marks of all parts of the series that are here already; null if they are too many for an address.
 * @param {Dashboard} dashboard
 */
export function marksHeld(dashboard) {
  const marks = allSeries(dashboard)
    .flatMap((series) => series.parts.map(([, mark]) => mark))
    .join('');
  return marks.length <= MAX_MARKS_LENGTH ? marks : null;
}

/**
 * Complete an answer, in place, with the parts of its series that stayed as they were and were not sent.
 * @type {(answer: Dashboard, before: Dashboard) => void}
 */
export function completeSeries(answer, before) {
  for (const series of allSeries(answer)) {
    const known = allSeries(before).find(({ id }) => id === series.id);
    const marks = new Map(known?.parts);
    /** @type {(point: Point) => number} */
    const partOf = (point) => Math.floor(point[0] / (series.step * POINTS_PER_PART));
    series.points = series.parts.flatMap(([part, mark]) => {
      const source = known && marks.get(part) === mark ? known : series;
      return source.points.filter((point) => partOf(point) === part);
    });
  }
}

/**
 * Replace, in place, each failed block of an answer by the one shown before.
 * @type {(answer: Dashboard, before: Dashboard) => void}
 */
export function keepFailedBlocks(answer, before) {
  const { failures } = answer;
  if (failures.bars) {
    answer.bars = before.bars;
    answer.finality = before.finality;
    answer.waiting = before.waiting;
  }
  if (failures.meters) answer.meters = before.meters;
  if (failures.bars || failures.demand) {
    answer.cards = before.cards.map((card) => answer.cards.find(({ id }) => id === card.id) || card);
  }
  if (failures.charts) answer.charts = before.charts;
  if (failures.readings) answer.readings = before.readings;
}

/**
 * Which cards, charts, series and meters there are, as one text: the page has to be loaded again where it
 * changes.
 * @param {Dashboard} dashboard
 */
export function structureOf(dashboard) {
  return JSON.stringify([
    dashboard.cards.map(({ id }) => id),
    dashboard.charts.map(({ id, series }) => [id, series.map((one) => one.id)]),
    dashboard.bars.map(({ id }) => id),
    dashboard.finality.map(({ id }) => id),
    dashboard.meters.rows.map(({ id, name, depth, role }) => [id, name, depth, role])
  ]);
}
