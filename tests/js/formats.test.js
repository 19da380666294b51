/* The formats answer the vectors that tds_new/formats.py answers too. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { createFormats, qualityText } from '../../tds_new/static/tds_new/js/formats.js';

const vectors = JSON.parse(readFileSync(new URL('../web/format_vectors.json', import.meta.url), 'utf-8'));
const now = Date.parse(vectors.now);
const { zone } = vectors;

/* Each vector ends with the Portuguese and the English text. */
for (const [language, position] of [
  ['pt-BR', -2],
  ['en', -1]
]) {
  const formats = createFormats(language);
  const answers = {
    value: ([quantity, unit]) => formats.value(quantity, unit),
    with_unit: ([quantity, unit]) => formats.withUnit(quantity, unit),
    duration: ([seconds]) => formats.duration(seconds),
    age: ([seconds]) => formats.age(now - seconds * 1000, now, zone),
    date_time: ([instant]) => formats.dateTime(Date.parse(instant), zone),
    day_month: ([instant]) => formats.dayMonth(Date.parse(instant), zone)
  };
  for (const [name, answer] of Object.entries(answers)) {
    test(`${name} in ${language}`, () => {
      for (const vector of vectors[name]) {
        assert.equal(answer(vector), vector.at(position), JSON.stringify(vector));
      }
    });
  }
}

test('a number and its decimal string read the same', () => {
  const { value } = createFormats('en');
  assert.equal(value(-18.25, '°C'), value('-18.25', '°C'));
  assert.equal(value(undefined, 'kWh'), '—');
});

test('a point says where its value comes from, unless it was measured', () => {
  const texts = { interpolated: 'interpolated', estimated: 'estimated' };
  assert.deepEqual(
    [0, 1, 2].map((quality) => qualityText(quality, texts)),
    ['', 'interpolated', 'estimated']
  );
});
