/* What the charts are made of: points, gaps, labels. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  chartPoints,
  emptySpans,
  intervalText,
  isIncomplete,
  isIsolated,
  monthLabel,
  monthMarksOf,
  tickDecimals,
  tickLabel,
  translucent
} from '../../tds_new/static/tds_new/js/charts.js';
import { MINUTE, SPAN, START, lines, month, point, series } from './samples.js';

const at = (minutes) => START + minutes * MINUTE;

test('a point stands in the middle of its interval', () => {
  assert.deepEqual(chartPoints(series([point(0, 4, { quality: 1 })]), 1), [{ x: at(2.5), y: 4, quality: 1 }]);
});

test('the band takes minimum and maximum, and nothing where there is no mean', () => {
  const one = series([point(0, 4, { minimum: 3, maximum: 6 }), point(5, null, { minimum: 1 })]);
  assert.deepEqual(
    chartPoints(one, 2).map(({ y }) => y),
    [3, null]
  );
  assert.deepEqual(
    chartPoints(one, 3).map(({ y }) => y),
    [6, null]
  );
});

test('a null breaks the line between points further apart than the gap', () => {
  const points = chartPoints(series([point(0, 1), point(15, 2), point(35, 3)]), 1);
  assert.deepEqual(
    points.map(({ x, y }) => [x, y]),
    [
      [at(2.5), 1],
      [at(17.5), 2],
      [at(32.5), null],
      [at(37.5), 3]
    ]
  );
});

test('a point is isolated where neither neighbour has a value', () => {
  const points = [1, null, 2, null, 3, 4].map((y, i) => ({ x: i, y }));
  assert.deepEqual(
    points.map((_, i) => isIsolated(points, i)),
    [true, false, true, false, false, false]
  );
});

test('spans without any value go from the start of the window to now', () => {
  const chart = lines(series([point(20, 1), point(25, 2)]), series([point(25, 5), point(30, 6)]));
  assert.deepEqual(emptySpans(chart, SPAN, at(55)), [
    [at(0), at(20)],
    [at(35), at(55)]
  ]);
});

test('a span shorter than the gap is no empty one, and values of null cover nothing', () => {
  const chart = lines(series([point(10, 1), point(25, 2), point(30, null)]));
  assert.deepEqual(emptySpans(chart, SPAN, at(40)), []);
  assert.deepEqual(emptySpans(chart, SPAN, at(50)), [[at(30), at(50)]]);
});

test('a window that is over ends where it ends, and a chart without series is empty throughout', () => {
  assert.deepEqual(emptySpans(lines(), SPAN, at(500)), [[at(0), at(60)]]);
});

test('ticks have the decimals that tell them apart', () => {
  const ticks = (...values) => values.map((value) => ({ value }));
  assert.deepEqual(
    [ticks(0, 10), ticks(0, 1), ticks(0, 0.5), ticks(2, 2.05), ticks(0, 1e-7), ticks(3)].map(tickDecimals),
    [0, 0, 1, 2, 4, 0]
  );
});

test('a tick says the time, at midnight the day', () => {
  assert.equal(tickLabel(Date.parse('2026-02-18T15:30:00Z'), SPAN.zone), '12:30');
  assert.equal(tickLabel(Date.parse('2026-02-18T03:00:00Z'), SPAN.zone), '18/02');
});

test('an interval says its two ends, a day its date', () => {
  assert.equal(intervalText(at(2.5), 5 * MINUTE, SPAN.zone), '18/02 09:00-09:05');
  assert.equal(intervalText(at(720), 86_400_000, SPAN.zone), '18/02/2026');
});

test('a month with its year in two words takes two lines, and one that is filling has a star', () => {
  assert.equal(monthLabel(month('fev/26')), 'fev/26');
  assert.equal(monthLabel(month('fev/26', { partial: true })), 'fev/26 *');
  assert.deepEqual(monthLabel(month('Feb 2026', { partial: true })), ['Feb *', '2026']);
});

test('a month is incomplete below 95 percent, not where nothing was to be measured', () => {
  assert.deepEqual(
    [0.9499, 0.95, 1, null].map((coverage) => isIncomplete(month('x', { coverage }))),
    [true, false, false, false]
  );
});

test('a translucent colour has its opacity as two more digits', () => {
  assert.equal(translucent('#A65E00', 0.18), '#A65E002e');
  assert.equal(translucent('#A65E00', 0), '#A65E0000');
});

test('a month that was measured in part, and one that may move, have marks', () => {
  assert.equal(monthMarksOf(month('fev/26')), '');
  assert.equal(monthMarksOf(month('fev/26', { coverage: 0.5 })), '\u25d0');
  assert.equal(monthMarksOf(month('fev/26', { coverage: 0.5, provisional: true })), '\u25d0\u2026');
});
