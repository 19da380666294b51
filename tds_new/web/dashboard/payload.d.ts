/**
 * The types that the dashboard's scripts read: the payload that the page embeds and its polls fetch (payload.py has the same
 * types for the server), and the few types that the modules share.
 *
 * Nothing here is sent to a browser: `npm run check` holds the modules to it.
 */

/** A number, or the decimal string of one that a number would round. */
type Quantity = number | string;

/** The window of the line charts; instants and steps in milliseconds since 1970. */
interface TimeWindow {
  start: number;
  end: number;
  step: number;
  zone: string;
  ticks: number[];
}

/** A bucket of a series. The quality is 0 where it was measured, 1 where it is interpolated, 2 where it is estimated. */
type Point = [
  start: number,
  mean: number | null,
  minimum: number | null,
  maximum: number | null,
  readings: number | null,
  quality: number,
];

/** A device's line. Its points come in parts of fixed time; a part's mark tells whether its points changed. */
interface Series {
  id: number;
  name: string;
  gateway: string;
  unit: string;
  colour: string;
  /** Milliseconds from one point to the next. */
  step: number;
  /** Milliseconds between two points above which the line breaks. */
  gap: number;
  last: string;
  mean: string;
  minimum: string;
  maximum: string;
  parts: [part: number, mark: string][];
  points: Point[];
}

interface LineChart {
  id: string;
  unit: string;
  title: string;
  from_zero: boolean;
  summary: string;
  /** Why there is nothing to draw; empty where there is something. */
  empty: string;
  devices_shown: string;
  series: Series[];
}

interface Month {
  month: string;
  value: number | null;
  shown: string;
  /** The same month of the year before. */
  previous: number | null;
  previous_shown: string;
  /** Share of the month that was measured, 0 to 1. */
  coverage: number | null;
  measured: string;
  partial: boolean;
  /** Whether the next readings may still take it back. */
  provisional: boolean;
}

interface BarChart {
  id: string;
  unit: string;
  colour: string;
  title: string;
  summary: string;
  compared: boolean;
  months: Month[];
}

/** A card. `value`, `previous` and `coverage` are exact decimals as strings, `instant` and `end` are ISO 8601. */
interface Card {
  id: string;
  title: string;
  icon: string;
  shown: string;
  unit: string;
  line: string;
  detail: string;
  spoken: string;
  quality: string;
  sources: string;
  provisional: string;
  state: string;
  word: string;
  value: Quantity | null;
  instant: string | null;
  end: string | null;
  previous: string | null;
  coverage: string | null;
}

/** Up to when the figures of a measure are settled and final. */
interface Finality {
  id: string;
  name: string;
  colour: string;
  settled: string;
  final: string;
  provisional: string;
}

/** How many readings wait for a person; the sentence is empty where none does. */
interface Waiting {
  count: number;
  text: string;
}

/** A meter with its consumption this month; `rest` is what the sub-meters of the one before do not cover. */
interface MeterRow {
  id: string;
  name: string;
  depth: number;
  rest: boolean;
  quantity: string;
  colour: string;
  role: string;
  value: string;
  unit: string;
  share: string;
  notice: string;
  provisional: string;
}

/** The meters in their structure; `more` says that there are others. */
interface Meters {
  period: string;
  rows: MeterRow[];
  more: string;
}

interface Reading {
  id: string;
  device: string;
  gateway: string;
  quantity: string;
  colour: string;
  value: string;
  unit: string;
  instant: string;
  when: string;
}

interface SilentGateway {
  id: number;
  state: string;
  name: string;
  since: string;
  instant: string | null;
  age: string;
  affects: string;
}

/** The newest readings; `empty` says why there are none. */
interface Readings {
  empty: string;
  rows: Reading[];
}

/** The gateways that are not heard, at most five; `more` says how many more, `total` counts all that are offline. */
interface Offline {
  empty: string;
  rows: SilentGateway[];
  more: string;
  total: number;
}

/** A sentence for each block that could not be read. */
interface Failures {
  bars?: string;
  meters?: string;
  demand?: string;
  charts?: string;
  readings?: string;
}

/** Everything that a dashboard shows. */
interface Dashboard {
  version: number;
  sequence: number;
  title: string;
  window: TimeWindow;
  cards: Card[];
  charts: LineChart[];
  bars: BarChart[];
  finality: Finality[];
  waiting: Waiting;
  meters: Meters;
  readings: Readings;
  offline: Offline;
  failures: Failures;
}

/** The sentences of tds_new/web/dashboard/texts.py; `%s` is filled in here. */
interface Texts {
  updated: string;
  late: string;
  paused: string;
  pause: string;
  resume: string;
  no_data: string;
  interpolated: string;
  estimated: string;
  previous_year: string;
  only_measured: string;
  provisional: string;
  interval_start: string;
  new_reading: string;
  new_readings: string;
  offline_changed: string;
  connection_lost: string;
  connection_back: string;
  session_ended: string;
  log_in_again: string;
  no_access: string;
  go_home: string;
  new_version: string;
  news: string;
  reload: string;
  cursor_idle: string;
}

/** Told by a Poll what came. */
interface PollListener {
  /** The server answered, and told its time (milliseconds since 1970; NaN where it did not). */
  answered(serverMs: number): void;
  changed(answer: Dashboard): void;
  unchanged(): void;
  /** So many failures in a row. */
  failed(times: number): void;
  stopped(reason: "session" | "access"): void;
}

/* --- Chart.js, which the page loads as a script of its own --- */

declare const Chart: typeof import("chart.js").Chart;
type ChartInstance = import("chart.js").Chart<any, any, any>;

/** A point of a line as Chart.js gets it. */
interface ChartPoint {
  x: number;
  y: number | null;
  quality?: number;
}

/** A dataset of a line chart: the line itself or an edge of the band around it. */
interface LineDataset {
  role: "line" | "band";
  series: Series;
  data: ChartPoint[];
}
