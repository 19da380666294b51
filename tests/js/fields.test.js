/* Fields: which text stands where; and the server's clock. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Clock, setText } from '../../tds_new/static/tds_new/js/ages.js';
import { fieldTexts } from '../../tds_new/static/tds_new/js/fields.js';
import { card, dashboard, meter, month } from './samples.js';

const WORDS = { provisional: 'provisional' };

test('every field has its text under the name in the template', () => {
  const texts = fieldTexts(dashboard(), WORDS);
  assert.equal(texts['title'], 'today');
  assert.equal(texts['card/ENERGIA-kWh/shown'], '42');
  assert.equal(texts['card/ENERGIA-kWh/unit'], 'kWh');
  assert.equal(texts['chart/kW/summary'], 'Greatest');
  assert.equal(texts['series/1/maximum'], '3');
  assert.deepEqual([texts['bars/ENERGIA-kWh/0'], texts['bars/ENERGIA-kWh/0/measured']], ['10', '100%']);
  assert.deepEqual(
    [texts['readings/empty'], texts['offline/empty'], texts['offline/more']],
    ['', 'none', '']
  );
  assert.ok(Object.values(texts).every((text) => typeof text === 'string'));
});

test('what a total is made of, what may move and what waits have fields of their own', () => {
  const texts = fieldTexts(
    dashboard({
      cards: [card('ENERGIA-kWh', { sources: '2 meters', provisional: 'since noon' })],
      bars: [{ ...dashboard().bars[0], months: [month('jan'), month('fev', { provisional: true })] }],
      waiting: { count: 1, text: 'one waits' },
      meters: { period: 'February', rows: [meter('7-rest', { value: '8', notice: 'too much' })], more: '' }
    }),
    WORDS
  );
  assert.deepEqual(
    [texts['card/ENERGIA-kWh/sources'], texts['card/ENERGIA-kWh/provisional']],
    ['2 meters', 'since noon']
  );
  assert.deepEqual(
    [texts['bars/ENERGIA-kWh/0/provisional'], texts['bars/ENERGIA-kWh/1/provisional']],
    ['', 'provisional']
  );
  assert.deepEqual([texts['meter/7-rest/value'], texts['meter/7-rest/notice']], ['8', 'too much']);
  assert.deepEqual([texts['waiting'], texts['finality/ENERGIA-kWh/settled']], ['one waits', '11:30']);
});

test('a card with an instant shows an age, which is not written as a text', () => {
  assert.ok(
    !(
      'card/last/shown' in
      fieldTexts(dashboard({ cards: [card('last', { instant: '2026-02-18T12:00:00Z' })] }), WORDS)
    )
  );
});

test('a text is written only where it differs', () => {
  const element = { textContent: 'one' };
  assert.equal(setText(element, 'one'), false);
  assert.equal(setText(element, 'two'), true);
  assert.equal(element.textContent, 'two');
});

test('the clock counts on from what the server told, whatever the clock of the computer says', () => {
  let elapsed = 100;
  const clock = new Clock(5000, () => elapsed);
  elapsed += 30;
  assert.equal(clock.now(), 5030);
  clock.set(NaN);
  assert.equal(clock.now(), 5030);
  clock.set(9000);
  elapsed += 1;
  assert.equal(clock.now(), 9001);
});
