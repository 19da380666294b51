/* A small dashboard for the tests, and the pieces that it is made of. */

export const MINUTE = 60_000;
export const START = Date.parse('2026-02-18T12:00:00Z');
export const SPAN = {
  start: START,
  end: START + 60 * MINUTE,
  step: 5 * MINUTE,
  zone: 'America/Sao_Paulo',
  ticks: [START]
};

/** A point `minutes` after the start, measured, with its mean alone. */
export const point = (minutes, mean, { minimum = null, maximum = null, readings = 1, quality = 0 } = {}) => [
  START + minutes * MINUTE,
  mean,
  minimum,
  maximum,
  readings,
  quality
];

export const series = (points, more = {}) => ({
  id: 1,
  name: 'D01',
  gateway: 'GW-1',
  unit: 'kW',
  colour: 's1',
  step: 5 * MINUTE,
  gap: 15 * MINUTE,
  last: '1',
  mean: '2',
  minimum: '0',
  maximum: '3',
  parts: [],
  points,
  ...more
});

export const lines = (...all) => ({
  id: 'kW',
  unit: 'kW',
  title: 'Power',
  from_zero: true,
  summary: 'Greatest',
  empty: '',
  devices_shown: '',
  series: all
});

export const month = (name, more = {}) => ({
  month: name,
  value: 10,
  shown: '10',
  previous: null,
  previous_shown: '—',
  coverage: 1,
  measured: '100%',
  partial: false,
  provisional: false,
  ...more
});

export const card = (id, more = {}) => ({
  id,
  title: id,
  icon: 'energia',
  shown: '42',
  unit: 'kWh',
  line: 'a line',
  detail: 'a detail',
  spoken: '',
  quality: '',
  sources: '',
  provisional: '',
  state: '',
  word: '',
  value: '42',
  instant: null,
  end: null,
  previous: null,
  coverage: null,
  ...more
});

export const meter = (id, more = {}) => ({
  id,
  name: 'D01',
  depth: 0,
  rest: false,
  quantity: 'Energy',
  colour: 'energia',
  role: 'Consumption',
  value: '30',
  unit: 'kWh',
  share: '',
  notice: '',
  provisional: '',
  ...more
});

export const dashboard = (more = {}) => ({
  version: 6,
  sequence: 7,
  title: 'today',
  window: SPAN,
  cards: [card('ENERGIA-kWh')],
  charts: [lines(series([point(0, 1)]))],
  bars: [
    {
      id: 'ENERGIA-kWh',
      unit: 'kWh',
      colour: 'q-energia',
      title: 'Months',
      summary: 'All',
      compared: false,
      months: [month('fev/26')]
    }
  ],
  finality: [
    {
      id: 'ENERGIA-kWh',
      name: 'Energy',
      colour: 'energia',
      settled: '11:30',
      final: '1 January',
      provisional: ''
    }
  ],
  waiting: { count: 0, text: '' },
  meters: { period: '1 to 18 February', rows: [meter('1')], more: '' },
  readings: { empty: '', rows: [] },
  offline: { empty: 'none', rows: [], more: '', total: 0 },
  failures: {},
  ...more
});
