/**
 * The cursor that all line charts share: one moment, and the values of every chart there.
 */

import { clock, setText } from './ages.js';
import { formats } from './formats.js';

/**
 * The charts that follow the cursor, each with a function that puts a point of its series into words.
 * @type {Map<ChartInstance, (series: Series, point: ChartPoint) => string>}
 */
const followers = new Map();
/** @type {number | null} */
let moment = null;

/** The moment under the cursor, in milliseconds since 1970; null if there is none. */
export const cursorMoment = () => moment;

/**
 * @param {ChartInstance} chart
 * @param {(series: Series, point: ChartPoint) => string} describe
 */
export function follow(chart, describe) {
  followers.set(chart, describe);
}

/** @param {ChartInstance} chart */
export function unfollow(chart) {
  followers.delete(chart);
}

/**
 * The index of the point with a value that is nearest to a moment; -1 if none is within `reach` ms.
 * @type {(points: ChartPoint[], t: number, reach: number) => number}
 */
export function nearestPoint(points, t, reach) {
  let nearest = -1;
  let distance = Infinity;
  points.forEach((point, i) => {
    const away = Math.abs(point.x - t);
    if (point.y !== null && away < distance) [nearest, distance] = [i, away];
  });
  return distance <= reach ? nearest : -1;
}

/**
 * The distance within which a point of a series is shown for a moment, in milliseconds.
 * @param {Series} series
 */
export const reachOf = (series) => Math.max(series.step, series.gap / 3);

/**
 * The chart's points at a moment, one of each series that has one there.
 * @type {(chart: ChartInstance, t: number) => { datasetIndex: number, index: number }[]}
 */
function pointsAt(chart, t) {
  return lineDatasets(chart).flatMap((dataset, datasetIndex) => {
    if (dataset.role !== 'line') return [];
    const index = nearestPoint(dataset.data, t, reachOf(dataset.series));
    return index < 0 ? [] : [{ datasetIndex, index }];
  });
}

/** @type {(chart: ChartInstance) => LineDataset[]} */
const lineDatasets = (chart) => /** @type {any[]} */ (chart.data.datasets);

/**
 * Move the cursor of all line charts to a moment (null: away). Returns their values there, in words.
 * @type {(t: number | null) => string[]}
 */
export function moveCursor(t) {
  moment = t;
  /** @type {string[]} */
  const sentences = [];
  for (const [chart, describe] of followers) {
    const points = t === null ? [] : pointsAt(chart, t);
    const { left, top } = chart.chartArea || { left: 0, top: 0 };
    chart.setActiveElements(points);
    chart.tooltip?.setActiveElements(points, {
      x: t === null ? left : chart.scales.x.getPixelForValue(t),
      y: top
    });
    chart.render();
    for (const { datasetIndex, index } of points) {
      const dataset = lineDatasets(chart)[datasetIndex];
      sentences.push(describe(dataset.series, dataset.data[index]));
    }
  }
  return sentences;
}

/* --- the slider: the cursor for the keyboard and for screen readers --- */

/**
 * The slider's last position: the last step of the window that has begun.
 * @type {(span: TimeWindow, now: number) => number}
 */
export function lastPosition(span, now) {
  return Math.max(1, Math.round((Math.min(span.end, now) - span.start) / span.step) - 1);
}

/**
 * The middle of the step at a position of the slider.
 * @type {(span: TimeWindow, position: number) => number}
 */
export const momentAt = (span, position) => span.start + (position + 0.5) * span.step;

/**
 * Start the slider, if the page has one.
 * @param {() => TimeWindow} currentWindow
 * @param {Texts} texts
 */
export function startSlider(currentWindow, texts) {
  const box = document.getElementById('cursor');
  if (!box) return;
  const range = /** @type {HTMLInputElement} */ (document.getElementById('cursor-range'));
  const output = /** @type {HTMLOutputElement} */ (document.getElementById('cursor-text'));

  /** @param {string} text */
  function say(text) {
    setText(output, text);
    range.setAttribute('aria-valuetext', text);
  }

  function read() {
    const span = currentWindow();
    range.max = String(lastPosition(span, clock.now()));
    const t = momentAt(span, Number(range.value));
    const start = t - span.step / 2;
    const sentences = moveCursor(t);
    const when = `${formats.dayMonth(t, span.zone)} ${formats.time(start, span.zone)}`;
    say(`${when}: ${sentences.join('; ') || texts.no_data}`);
  }

  range.max = String(lastPosition(currentWindow(), clock.now()));
  range.value = range.max;
  say(texts.cursor_idle);
  range.addEventListener('input', read);
  range.addEventListener('blur', () => moveCursor(null));
  box.hidden = false;
}
