/**
 * Line charts with gaps and a band, and bars with a hatched month. Colours come from the style sheet.
 *
 * Chart.js is a script of its own: the page loads it before this module.
 */

import { clock } from './ages.js';
import { cursorMoment, follow, moveCursor, unfollow } from './cursor.js';
import { MISSING, formats, qualityText } from './formats.js';

const DAY_MS = 86400000;
const COMPLETE = 0.95; // share of a month measured from which it counts as complete
const MOSTLY_UNMEASURED = 0.5;

/** @type {Texts} */
let texts;
// The data that each chart shows now.
/** @type {WeakMap<ChartInstance, { chart: LineChart, span: TimeWindow }>} */
const lineContents = new WeakMap();
/** @type {WeakMap<ChartInstance, BarChart>} */
const barContents = new WeakMap();

/** @type {(name: string) => string} */
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * A colour `#rrggbb` with an opacity of 0 to 1.
 * @type {(colour: string, opacity: number) => string}
 */
export const translucent = (colour, opacity) =>
  colour +
  Math.round(opacity * 255)
    .toString(16)
    .padStart(2, '0');

/** @type {(colour: string) => number[]} */
const dashOf = (colour) => (/^s[5-8]$/.test(colour) ? [6, 3] : []);

/**
 * Take over the page's words and its colours of the moment.
 * @param {Texts} words
 */
export function prepareCharts(words) {
  texts = words;
  Chart.defaults.color = css('--text-2');
  Chart.defaults.borderColor = css('--grid');
  Chart.defaults.font.family = getComputedStyle(document.body).fontFamily;
  Chart.defaults.font.size = 13;
  Object.assign(Chart.defaults.plugins.tooltip, {
    backgroundColor: css('--surface-2'),
    titleColor: css('--text'),
    bodyColor: css('--text'),
    borderColor: css('--control'),
    borderWidth: 1,
    padding: 8,
    usePointStyle: true,
    boxWidth: 8,
    boxHeight: 8,
    caretSize: 0
  });
}

/**
 * Draw a chart again with other datasets.
 * @type {(view: ChartInstance, datasets: any[]) => void}
 */
function replaceDatasets(view, datasets) {
  const { data } = view;
  if (datasets.length === data.datasets.length) {
    datasets.forEach((dataset, i) => Object.assign(data.datasets[i], dataset));
  } else {
    data.datasets = datasets;
  }
  view.update('none');
}

/** @param {ChartInstance} view */
export function removeChart(view) {
  unfollow(view);
  view.destroy();
}

const commonOptions = () =>
  /** @type {const} */ ({
    animation: false,
    responsive: true,
    maintainAspectRatio: false,
    normalized: true
  });

/** @param {boolean} fromZero */
function valueAxis(fromZero) {
  return {
    beginAtZero: fromZero,
    grace: fromZero ? 0 : '5%',
    border: { display: false },
    grid: { color: css('--grid') },
    ticks: {
      maxTicksLimit: 6,
      /** @type {(value: any, i: number, ticks: { value: number }[]) => string} */
      callback: (value, _i, ticks) => formats.number(value, tickDecimals(ticks))
    }
  };
}

/**
 * The decimals that tell neighbouring ticks of an axis apart, at most four.
 * @param {{ value: number }[]} ticks
 */
export function tickDecimals(ticks) {
  const step = ticks.length > 1 ? Math.abs(ticks[1].value - ticks[0].value) : 1;
  return Math.min(4, Math.max(0, -Math.floor(Math.log10(step || 1) + 1e-9)));
}

/* --- lines: what is drawn --- */

/** @type {(series: Series, point: Point) => number} */
const middleOf = (series, point) => point[0] + series.step / 2;

/**
 * The points as Chart.js takes them, `column` of each as its value.
 *
 * A null between neighbours that are too far apart breaks the line there, because a numeric spanGaps does
 * not work with segment styles.
 * @param {Series} series
 * @param {1 | 2 | 3} column mean, minimum or maximum
 * @returns {ChartPoint[]}
 */
export function chartPoints(series, column) {
  const points = series.points.map((point) => ({
    x: middleOf(series, point),
    y: point[1] === null ? null : point[column],
    quality: point[5]
  }));
  return points.flatMap((point, i) => {
    const far = i > 0 && point.x - points[i - 1].x > series.gap;
    return far ? [{ x: point.x - series.step, y: null }, point] : [point];
  });
}

/**
 * Whether a point has a value and neither neighbour has one: a line alone would not show it.
 * @type {(points: ChartPoint[], i: number) => boolean}
 */
export function isIsolated(points, i) {
  /** @param {ChartPoint | undefined} point */
  const missing = (point) => !point || point.y === null;
  return !missing(points[i]) && missing(points[i - 1]) && missing(points[i + 1]);
}

/**
 * The spans in which no series of the chart has a value, from the window's start to now: pairs of instants.
 * @type {(chart: LineChart, span: TimeWindow, now: number) => [number, number][]}
 */
export function emptySpans(chart, span, now) {
  const end = Math.min(span.end, now);
  const covered = chart.series.flatMap((series) =>
    series.points
      .filter((point) => point[1] !== null)
      .map(([start]) => ({ start, end: start + series.step, gap: series.gap }))
  );
  covered.sort((a, b) => a.start - b.start);
  const widestGap = Math.max(0, ...chart.series.map((series) => series.gap));
  /** @type {[number, number][]} */
  const found = [];
  let until = span.start;
  for (const one of [...covered, { start: end, end, gap: widestGap }]) {
    if (one.start - until > (one.gap || widestGap)) found.push([until, one.start]);
    until = Math.max(until, one.end);
  }
  return found;
}

/**
 * The datasets of one series: the line, under it the band from minimum to maximum where the series has them.
 * @param {Series} series
 * @returns {any[]}
 */
function seriesDatasets(series) {
  const colour = css(`--${series.colour}`);
  const common = {
    parsing: false,
    spanGaps: false,
    tension: 0,
    pointHitRadius: 0,
    pointHoverRadius: 0,
    series
  };
  const points = chartPoints(series, 1);
  /** @param {{ p0DataIndex: number, p1DataIndex: number }} segment */
  const notMeasured = ({ p0DataIndex, p1DataIndex }) =>
    [p0DataIndex, p1DataIndex].some((i) => points[i].quality);
  const line = {
    ...common,
    data: points,
    role: 'line',
    borderColor: colour,
    backgroundColor: colour,
    borderWidth: 2,
    borderDash: dashOf(series.colour),
    pointHoverRadius: 4,
    /** @param {{ dataset: LineDataset, dataIndex: number }} context */
    pointRadius: ({ dataset, dataIndex }) => (isIsolated(dataset.data, dataIndex) ? 2.5 : 0),
    segment: {
      /** @param {any} segment */
      borderDash(segment) {
        if (segment.p1.parsed.x + series.step / 2 > clock.now()) return [2, 3];
        return notMeasured(segment) ? [4, 4] : undefined;
      }
    }
  };
  if (series.points.every((point) => point[2] === null)) return [line];
  const band = { ...common, borderWidth: 0, borderColor: 'transparent', pointRadius: 0, role: 'band' };
  return [
    { ...band, data: chartPoints(series, 3), fill: false },
    { ...band, data: chartPoints(series, 2), fill: '-1', backgroundColor: translucent(colour, 0.18) },
    line
  ];
}

/* --- lines: how it is drawn --- */

const background = {
  id: 'tdsBackground',
  /** @param {ChartInstance} view */
  beforeDatasetsDraw(view) {
    const content = lineContents.get(view);
    if (!content) return;
    const { chart, span } = content;
    const now = clock.now();
    view.ctx.save();
    for (const [start, end] of emptySpans(chart, span, now)) drawEmptySpan(view, start, end);
    if (now > span.start && now < span.end - span.step) drawVertical(view, now, css('--control'), [4, 4]);
    view.ctx.restore();
  },
  /** @param {ChartInstance} view */
  afterDatasetsDraw(view) {
    const moment = cursorMoment();
    if (lineContents.has(view) && moment !== null) drawVertical(view, moment, css('--text-2'), []);
  }
};

/** @type {(view: ChartInstance, start: number, end: number) => void} */
function drawEmptySpan({ ctx, chartArea, scales: { x } }, start, end) {
  const left = x.getPixelForValue(start);
  const width = x.getPixelForValue(end) - left;
  ctx.fillStyle = css('--surface-2');
  ctx.fillRect(left, chartArea.top, width, chartArea.height);
  const words = `${texts.no_data} ${formats.duration((end - start) / 1000)}`;
  ctx.font = `13px ${Chart.defaults.font.family}`;
  if (width < Math.max(48, ctx.measureText(words).width + 8)) return;
  ctx.fillStyle = css('--text-2');
  ctx.textAlign = 'center';
  ctx.fillText(words, left + width / 2, chartArea.top + 16);
}

/** @type {(view: ChartInstance, t: number, colour: string, dash: number[]) => void} */
function drawVertical({ ctx, chartArea, scales: { x } }, t, colour, dash) {
  const position = x.getPixelForValue(t);
  if (position < chartArea.left || position > chartArea.right) return;
  ctx.save();
  ctx.beginPath();
  ctx.setLineDash(dash);
  ctx.strokeStyle = colour;
  ctx.moveTo(position, chartArea.top);
  ctx.lineTo(position, chartArea.bottom);
  ctx.stroke();
  ctx.restore();
}

/**
 * The label below a tick: the time, at midnight the day.
 * @type {(t: number, zone: string) => string}
 */
export function tickLabel(t, zone) {
  const time = formats.time(t, zone);
  return time === '00:00' ? formats.dayMonth(t, zone) : time;
}

/**
 * The interval around its middle, in words.
 * @type {(middle: number, step: number, zone: string) => string}
 */
export function intervalText(middle, step, zone) {
  const start = middle - step / 2;
  if (step >= DAY_MS) return formats.date(middle, zone);
  return `${formats.dayMonth(start, zone)} ${formats.time(start, zone)}-${formats.time(start + step, zone)}`;
}

/**
 * A point in words: name, value, range if there were several readings, and its quality.
 * @type {(series: Series, point: ChartPoint) => string}
 */
function pointText(series, point) {
  const [, , minimum = null, maximum = null, readings = 0] =
    series.points.find((one) => middleOf(series, one) === point.x) ?? [];
  const range =
    minimum !== null && Number(readings) > 1
      ? ` (${formats.value(minimum, series.unit)}–${formats.value(maximum, series.unit)})`
      : '';
  const quality = qualityText(point.quality ?? 0, texts);
  return `${series.name}: ${formats.withUnit(point.y, series.unit)}${range}${quality && `, ${quality}`}`;
}

/**
 * Draw a line chart.
 * @type {(canvas: HTMLCanvasElement, chart: LineChart, span: TimeWindow) => ChartInstance}
 */
export function drawLines(canvas, chart, span) {
  /** @type {ChartInstance} */
  const view = new Chart(
    canvas,
    /** @type {any} */ ({
      type: 'line',
      data: { datasets: chart.series.flatMap(seriesDatasets) },
      options: {
        ...commonOptions(),
        events: [],
        layout: { padding: { right: 12 } },
        scales: {
          x: {
            type: 'linear',
            min: span.start,
            max: span.end,
            grid: { display: false },
            border: { color: css('--grid') },
            /** @param {any} axis */
            afterBuildTicks(axis) {
              const { ticks } = lineContents.get(axis.chart)?.span ?? span;
              axis.ticks = ticks.map((value) => ({ value }));
            },
            /** @type {any} */
            ticks: {
              maxRotation: 0,
              autoSkip: true,
              autoSkipPadding: 12,
              callback: (/** @type {number} */ t) => tickLabel(t, span.zone)
            }
          },
          y: valueAxis(chart.from_zero)
        },
        plugins: {
          legend: { display: false },
          tooltip: {
            /** @param {any} item */
            filter: (item) => item.dataset.role === 'line',
            callbacks: {
              /** @param {any[]} items */
              title: ([item]) => (item ? intervalText(item.raw.x, item.dataset.series.step, span.zone) : ''),
              /** @param {any} item */
              label: (item) => pointText(item.dataset.series, item.raw)
            }
          }
        }
      },
      plugins: [background]
    })
  );
  lineContents.set(view, { chart, span });
  view.update('none'); // the first drawing had no content for the background
  follow(view, pointText);
  canvas.onpointermove = (event) => {
    moveCursor(view.scales.x.getValueForPixel(event.clientX - canvas.getBoundingClientRect().left) ?? null);
  };
  canvas.onpointerleave = () => moveCursor(null);
  return view;
}

/**
 * Show newer data in a line chart.
 * @type {(view: ChartInstance, chart: LineChart, span: TimeWindow) => void}
 */
export function updateLines(view, chart, span) {
  lineContents.set(view, { chart, span });
  Object.assign(view.options.scales?.x ?? {}, { min: span.start, max: span.end });
  replaceDatasets(view, chart.series.flatMap(seriesDatasets));
  const moment = cursorMoment();
  if (moment !== null) moveCursor(moment);
}

/* --- bars --- */

/** @param {Month} month */
export const isIncomplete = ({ coverage }) => coverage !== null && coverage < COMPLETE;
/** @param {Month} month */
const isMostlyUnmeasured = ({ coverage }) => coverage !== null && coverage < MOSTLY_UNMEASURED;
/** @param {Month} month */
const monthName = (month) => month.month + (month.partial ? ' *' : '');

/**
 * The label below a bar. "Feb 2026" takes two lines, so that as many months have room as of "fev/26".
 * @type {(month: Month) => string | string[]}
 */
export function monthLabel(month) {
  const [name, year] = month.month.split(' ');
  return year ? [name + (month.partial ? ' *' : ''), year] : monthName(month);
}

/** @param {string} colour */
function hatching(colour) {
  const canvas = document.createElement('canvas');
  canvas.width = canvas.height = 8;
  const context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext('2d'));
  context.fillStyle = translucent(colour, 0.25);
  context.fillRect(0, 0, 8, 8);
  context.strokeStyle = colour;
  context.lineWidth = 2;
  context.beginPath();
  for (const offset of [-8, 0, 8]) {
    context.moveTo(offset, 8);
    context.lineTo(offset + 8, 0);
  }
  context.stroke();
  return context.createPattern(canvas, 'repeat');
}

/**
 * The marks at the end of a month's bar: measured in part, provisional.
 * @param {Month} month
 */
export const monthMarksOf = (month) =>
  [isIncomplete(month) ? '\u25d0' : '', month.provisional ? '\u2026' : ''].join('');

/* A month without data says so in its place; one that was measured in part, or may move, has a mark. */
const monthMarks = {
  id: 'tdsMonths',
  /** @param {ChartInstance} view */
  afterDatasetsDraw(view) {
    const chart = barContents.get(view);
    if (!chart) return;
    const {
      ctx,
      chartArea,
      scales: { x }
    } = view;
    const bars = view.getDatasetMeta(view.data.datasets.length - 1).data;
    ctx.save();
    ctx.fillStyle = css('--text-2');
    ctx.font = `13px ${Chart.defaults.font.family}`;
    ctx.textAlign = 'center';
    chart.months.forEach((month, i) => {
      const centre = month.value === null && month.previous === null ? x.getPixelForValue(i) : bars[i].x;
      if (month.value === null) {
        ctx.fillText(MISSING, centre, chartArea.bottom - 4);
      } else {
        // A bar below zero has its mark on the other side of the axis.
        const top = Math.min(bars[i].y, view.scales.y.getPixelForValue(0));
        ctx.fillText(monthMarksOf(month), centre, Math.max(chartArea.top + 10, top - 4));
      }
    });
    ctx.restore();
  }
};

/**
 * The same month of the year before in grey, then the month: full, hatched while it fills, an outline where
 * little was measured.
 * @param {BarChart} chart
 * @returns {any[]}
 */
function barDatasets(chart) {
  const colour = css(`--${chart.colour}`);
  const hatched = hatching(colour);
  const common = { borderRadius: 2, categoryPercentage: 0.86, barPercentage: 0.95 };
  /** @param {Month} month */
  function fillOf(month) {
    if (month.partial) return hatched;
    return isMostlyUnmeasured(month) ? translucent(colour, 0.12) : colour;
  }
  const months = {
    ...common,
    data: chart.months.map((month) => month.value),
    borderColor: colour,
    borderWidth: chart.months.map((month) => (month.partial || isMostlyUnmeasured(month) ? 1 : 0)),
    backgroundColor: chart.months.map(fillOf)
  };
  if (!chart.compared) return [months];
  const previous = {
    ...common,
    data: chart.months.map((month) => month.previous),
    backgroundColor: css('--bar-previous'),
    role: 'previous'
  };
  return [previous, months];
}

/**
 * A bar in words.
 * @type {(chart: BarChart, item: any) => string}
 */
function barText(chart, item) {
  const month = chart.months[item.dataIndex];
  if (item.dataset.role === 'previous') {
    return `${texts.previous_year}: ${month.previous_shown}\u00a0${chart.unit}`;
  }
  const measured = isIncomplete(month) ? `, ${texts.only_measured.replace('%s', month.measured)}` : '';
  const provisional = month.provisional ? `, ${texts.provisional}` : '';
  return `${month.shown}\u00a0${chart.unit}${measured}${provisional}`;
}

/**
 * Draw the bars of monthly consumption.
 * @type {(canvas: HTMLCanvasElement, chart: BarChart) => ChartInstance}
 */
export function drawBars(canvas, chart) {
  const current = () => barContents.get(view) ?? chart;
  /** @type {ChartInstance} */
  const view = new Chart(
    canvas,
    /** @type {any} */ ({
      type: 'bar',
      data: { labels: chart.months.map(monthLabel), datasets: barDatasets(chart) },
      options: {
        ...commonOptions(),
        interaction: { mode: 'index', intersect: false },
        scales: {
          x: {
            grid: { display: false },
            border: { color: css('--grid') },
            ticks: { maxRotation: 0, autoSkip: true, autoSkipPadding: 8 }
          },
          y: valueAxis(true)
        },
        plugins: {
          legend: { display: false },
          tooltip: {
            /** @type {(a: any, b: any) => number} */
            itemSort: (a, b) => b.datasetIndex - a.datasetIndex,
            callbacks: {
              /** @param {any[]} items */
              title: ([item]) => (item ? monthName(current().months[item.dataIndex]) : ''),
              /** @param {any} item */
              label: (item) => barText(current(), item)
            }
          }
        }
      },
      plugins: [monthMarks]
    })
  );
  barContents.set(view, chart);
  view.update('none');
  return view;
}

/**
 * Show newer data in a bar chart.
 * @type {(view: ChartInstance, chart: BarChart) => void}
 */
export function updateBars(view, chart) {
  barContents.set(view, chart);
  view.data.labels = chart.months.map(monthLabel);
  replaceDatasets(view, barDatasets(chart));
}
