/* Tables: rows of a chart's points, new readings. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countNew, pointRows } from '../../tds_new/static/tds_new/js/tables.js';
import { lines, point, series } from './samples.js';

test('a chart has a row for each interval, the newest first, with a hole where a series has no point', () => {
  const a0 = point(0, 1);
  const a5 = point(5, 2);
  const b5 = point(5, 3);
  const b10 = point(10, null);
  assert.deepEqual(pointRows(lines(series([a0, a5]), series([b5, b10]))), [
    { start: b10[0], points: [undefined, b10] },
    { start: a5[0], points: [a5, b5] },
    { start: a0[0], points: [a0, undefined] }
  ]);
});

test('readings are new where their id is not shown yet', () => {
  const rows = ['1-100', '1-200', '2-100'].map((id) => ({ id }));
  assert.equal(countNew(['1-100', undefined], rows), 2);
  assert.equal(countNew(['1-100', '1-200', '2-100', 'old'], rows), 0);
  assert.equal(countNew([], []), 0);
});
