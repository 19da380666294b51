/* The cursor: positions of the slider, moments, the nearest points. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  cursorMoment,
  follow,
  lastPosition,
  momentAt,
  moveCursor,
  nearestPoint,
  reachOf,
  unfollow
} from '../../tds_new/static/tds_new/js/cursor.js';
import { MINUTE, SPAN, START, point, series } from './samples.js';

const at = (minutes) => START + minutes * MINUTE;

test('the slider ends at the last step that is over, and has two positions at least', () => {
  assert.equal(lastPosition(SPAN, at(500)), 11);
  assert.equal(lastPosition(SPAN, at(30)), 5);
  assert.equal(lastPosition(SPAN, at(1)), 1);
});

test('a position of the slider is the middle of its step', () => {
  assert.equal(momentAt(SPAN, 0), at(2.5));
  assert.equal(momentAt(SPAN, 11), at(57.5));
});

test('the nearest point is the nearest one with a value, within reach', () => {
  const points = [
    { x: 0, y: 1 },
    { x: 10, y: null },
    { x: 20, y: 3 }
  ];
  assert.deepEqual(
    [0, 9, 11, 20, 26].map((t) => nearestPoint(points, t, 9)),
    [0, 0, 2, 2, 2]
  );
  assert.equal(nearestPoint(points, 31, 9), -1);
  assert.equal(nearestPoint([], 0, 9), -1);
});

test('a series reaches as far as its step, or a third of its gap', () => {
  assert.equal(reachOf(series([], { step: 10, gap: 15 })), 10);
  assert.equal(reachOf(series([], { step: 10, gap: 60 })), 20);
});

function fakeChart() {
  const one = series([point(0, 4)]);
  return {
    active: null,
    rendered: 0,
    data: {
      datasets: [
        { role: 'band', series: one, data: [{ x: at(2.5), y: 3 }] },
        { role: 'line', series: one, data: [{ x: at(2.5), y: 4 }] }
      ]
    },
    chartArea: { left: 10, top: 20 },
    scales: { x: { getPixelForValue: () => 99 } },
    setActiveElements(points) {
      this.active = points;
    },
    tooltip: {
      setActiveElements(points, where) {
        this.where = where;
      }
    },
    render() {
      this.rendered += 1;
    }
  };
}

test('moving the cursor moves it in every chart that follows, and says what its lines say there', () => {
  const chart = fakeChart();
  const other = fakeChart();
  follow(chart, (one, { y }) => `${one.name} ${y}`);
  follow(other, () => 'other');
  unfollow(other);

  assert.deepEqual(moveCursor(at(3)), ['D01 4']);
  assert.equal(cursorMoment(), at(3));
  assert.deepEqual(chart.active, [{ datasetIndex: 1, index: 0 }]);
  assert.deepEqual(chart.tooltip.where, { x: 99, y: 20 });
  assert.equal(other.active, null);

  assert.deepEqual(moveCursor(null), []);
  assert.equal(cursorMoment(), null);
  assert.deepEqual([chart.active, chart.tooltip.where, chart.rendered], [[], { x: 10, y: 20 }, 2]);
  unfollow(chart);
});
