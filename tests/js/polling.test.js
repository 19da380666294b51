/* Following the server: when to ask, what an answer means, and how an answer of parts becomes a whole. */
import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import {
  Poll,
  completeSeries,
  delayAfterFailure,
  jittered,
  keepFailedBlocks,
  marksHeld,
  outcomeOf,
  structureOf
} from '../../tds_new/static/tds_new/js/polling.js';
import { card, dashboard, lines, point, series } from './samples.js';

/* --- decisions --- */

test('each failure waits longer, up to ten intervals, and as long as the server asks for', () => {
  assert.deepEqual(
    [1, 2, 3, 4, 5, 50].map((failures) => delayAfterFailure(failures, 30, 0)),
    [30, 60, 120, 300, 300, 300]
  );
  assert.equal(delayAfterFailure(1, 30, 90), 90);
  assert.equal(delayAfterFailure(2, 30, NaN), 60);
});

test('a delay is spread by a tenth to both sides', () => {
  assert.deepEqual(
    [0, 0.5, 1].map((random) => Math.round(jittered(1000, random))),
    [900, 1000, 1100]
  );
});

test('what an answer means', () => {
  const outcome = (status, type = 'basic') => outcomeOf({ status, type, ok: status >= 200 && status < 300 });
  assert.equal(outcome(200), 'changed');
  assert.equal(outcome(304), 'unchanged');
  assert.deepEqual(
    [500, 503, 429, 400].map((status) => outcome(status)),
    Array(4).fill('failed')
  );
  assert.deepEqual([outcome(401), outcome(0, 'opaqueredirect')], ['session', 'session']);
  assert.deepEqual([outcome(403), outcome(404)], ['access', 'access']);
});

/* --- the poll itself, with a page, a clock and a server of the test's --- */

const real = { setTimeout, clearTimeout, random: Math.random };
let answers;
let requests;
let told;
let timers;
let elapsed;

function answer(status, { json = null, headers = {} } = {}) {
  return { status, type: 'basic', ok: status === 200, headers: new Headers(headers), json: async () => json };
}

function newPoll() {
  const tell = (name) => (detail) => told.push(detail === undefined ? [name] : [name, detail]);
  return new Poll(() => new URL('http://server/data'), 1000, '"one"', {
    answered: tell('answered'),
    changed: tell('changed'),
    unchanged: tell('unchanged'),
    failed: tell('failed'),
    stopped: tell('stopped')
  });
}

/* Let time pass: run what is due, in its order, and what follows from it. */
async function pass(ms) {
  const until = elapsed + ms;
  for (;;) {
    for (let i = 0; i < 10; i += 1) await Promise.resolve();
    const [next] = [...timers].filter(([, { due }]) => due <= until).sort(([, a], [, b]) => a.due - b.due);
    if (!next) break;
    timers.delete(next[0]);
    elapsed = next[1].due;
    next[1].run();
  }
  elapsed = until;
}

/* A timer is named by a number and runs when `pass` comes to its time. */
function fakeTimers() {
  let count = 0;
  [timers, elapsed] = [new Map(), 0];
  globalThis.setTimeout = (run, ms) => {
    timers.set((count += 1), { run, due: elapsed + ms });
    return count;
  };
  globalThis.clearTimeout = (id) => timers.delete(id);
  Math.random = () => 0.5;
}

beforeEach(() => {
  [answers, requests, told] = [[], [], []];
  fakeTimers();
  globalThis.document = Object.assign(new EventTarget(), { hidden: false });
  globalThis.window = new EventTarget();
  globalThis.fetch = async (url, options) => {
    requests.push(options.headers);
    const next = answers.shift();
    if (next instanceof Error) throw next;
    return next;
  };
});

afterEach(() => {
  Object.assign(globalThis, { setTimeout: real.setTimeout, clearTimeout: real.clearTimeout });
  Math.random = real.random;
  for (const name of ['document', 'window', 'fetch']) delete globalThis[name];
});

test('it asks an interval later, with the ETag of the page, then with that of the answer', async () => {
  const json = { version: 5, charts: [] };
  answers = [
    answer(200, { json, headers: { ETag: '"two"', Date: 'Wed, 18 Feb 2026 12:00:00 GMT' } }),
    answer(304)
  ];
  newPoll().start();

  await pass(999);
  assert.deepEqual(requests, []);
  await pass(1);
  assert.deepEqual(told, [
    ['answered', Date.parse('2026-02-18T12:00:00Z')],
    ['changed', { version: 5, charts: [] }]
  ]);
  await pass(1000);
  assert.deepEqual(requests, [{ 'If-None-Match': '"one"' }, { 'If-None-Match': '"two"' }]);
  assert.deepEqual(told.at(-1), ['unchanged']);
});

test('it counts failures in a row, waits longer, and starts over after an answer', async () => {
  answers = [
    new Error('offline'),
    answer(503, { headers: { 'Retry-After': '3' } }),
    answer(304),
    new Error('offline')
  ];
  newPoll().start();

  await pass(1000);
  await pass(1000);
  await pass(2999);
  assert.equal(requests.length, 2);
  await pass(1);
  await pass(1000);
  assert.deepEqual(
    told.filter(([name]) => name !== 'answered'),
    [['failed', 1], ['failed', 2], ['unchanged'], ['failed', 1]]
  );
});

test('it stops for good where the session is over', async () => {
  answers = [answer(401)];
  const poll = newPoll();
  poll.start();

  await pass(1000);
  await pass(60000);
  assert.deepEqual(told, [['stopped', 'session']]);
  assert.deepEqual([requests.length, poll.stopped], [1, true]);
});

test('it does not ask while paused or hidden, and catches up at once', async () => {
  answers = [answer(304), answer(304)];
  const poll = newPoll();
  poll.start();
  poll.pause(true);
  await pass(5000);
  assert.equal(requests.length, 0);

  poll.lastAnswer -= 5000;
  poll.pause(false);
  await pass(0);
  assert.equal(requests.length, 1);

  document.hidden = true;
  document.dispatchEvent(new Event('visibilitychange'));
  await pass(5000);
  assert.equal(requests.length, 1);
  document.hidden = false;
  poll.lastAnswer -= 5000;
  window.dispatchEvent(new Event('online'));
  await pass(0);
  assert.equal(requests.length, 2);
});

test('an answer that arrives after pausing is not shown', async () => {
  const poll = newPoll();
  globalThis.fetch = async () => {
    poll.pause(true);
    return answer(200, { json: { version: 5 } });
  };
  poll.start();
  await pass(1000);
  assert.deepEqual(
    told.map(([name]) => name),
    ['answered']
  );
});

/* --- answers --- */

/* A part has 32 points of 5 minutes; points 160 minutes apart are in neighbouring parts. */
const FIRST = Math.floor(point(0, 0)[0] / (32 * 5 * 60_000));
const withSeries = (...all) => dashboard({ charts: [lines(...all)] });

test('the marks of all parts are sent in a row, unless they are too many for an address', () => {
  assert.equal(
    marksHeld(
      withSeries(
        series([], {
          parts: [
            [1, 'aaaaaa'],
            [2, 'bbbbbb']
          ]
        }),
        series([], { parts: [[1, 'cccccc']] })
      )
    ),
    'aaaaaabbbbbbcccccc'
  );
  assert.equal(marksHeld(withSeries(series([], { parts: Array(501).fill([1, 'aaaaaa']) }))), null);
});

test('parts that stayed as they were come from what was there, the others from the answer', () => {
  const later = 160;
  const before = withSeries(
    series([point(0, 1), point(later, 2)], {
      parts: [
        [FIRST, 'same'],
        [FIRST + 1, 'old']
      ]
    })
  );
  const changed = withSeries(
    series([point(later, 3), point(later + 5, 4)], {
      parts: [
        [FIRST, 'same'],
        [FIRST + 1, 'new']
      ]
    })
  );

  completeSeries(changed, before);

  assert.deepEqual(changed.charts[0].series[0].points, [point(0, 1), point(later, 3), point(later + 5, 4)]);
});

test('a series that is new is taken as it was sent, and parts that left the window are dropped', () => {
  const before = withSeries(series([point(0, 1)], { id: 2, parts: [[FIRST, 'same']] }));
  const fresh = withSeries(series([point(0, 9)], { parts: [[FIRST, 'same']] }));
  completeSeries(fresh, before);
  assert.deepEqual(fresh.charts[0].series[0].points, [point(0, 9)]);

  const moved = withSeries(series([point(160, 2)], { id: 2, parts: [[FIRST + 1, 'new']] }));
  completeSeries(moved, before);
  assert.deepEqual(moved.charts[0].series[0].points, [point(160, 2)]);
});

test('a block that failed keeps what it showed, and so do the cards that need its figures', () => {
  const before = dashboard({
    cards: [card('ENERGIA-kWh', { shown: '41' }), card('gateways', { shown: '2' })]
  });
  const failed = dashboard({
    cards: [card('gateways', { shown: '3' })],
    charts: [],
    bars: [],
    readings: { empty: 'x', rows: [] },
    failures: { bars: 'no bars', charts: 'no charts', readings: 'no readings' }
  });

  keepFailedBlocks(failed, before);

  assert.deepEqual(
    failed.cards.map(({ shown }) => shown),
    ['41', '3']
  );
  assert.equal(failed.charts, before.charts);
  assert.equal(failed.bars, before.bars);
  assert.equal(failed.readings, before.readings);
});

test('without a failure nothing of before comes back', () => {
  const before = dashboard();
  const fresh = dashboard({ cards: [], bars: [] });
  keepFailedBlocks(fresh, before);
  assert.deepEqual([fresh.cards, fresh.bars], [[], []]);
});

test('the structure changes with cards, charts, series and bars, not with their figures', () => {
  const base = structureOf(dashboard());
  assert.equal(structureOf(dashboard({ cards: [card('ENERGIA-kWh', { shown: '99' })] })), base);
  for (const other of [
    { cards: [] },
    { bars: [] },
    { finality: [] },
    { meters: { period: '', rows: [], more: '' } },
    { charts: [] },
    { charts: [lines(series([], { id: 2 }))] }
  ]) {
    assert.notEqual(structureOf(dashboard(other)), base);
  }
});
