/**
 * Tables and lists that grow: the last readings, the gateways that are not heard, and the points of a chart.
 */

import { zone } from './ages.js';
import { icon } from './fields.js';
import { formats, qualityText } from './formats.js';

/**
 * An element with a text and, where given, classes.
 * @template {keyof HTMLElementTagNameMap} Name
 * @param {Name} name
 * @param {string} text
 * @param {string} [classes]
 */
function cell(name, text, classes) {
  const element = document.createElement(name);
  element.textContent = text;
  if (classes) element.className = classes;
  return element;
}

/** @param {string} text */
function columnHeading(text) {
  const heading = cell('th', text);
  heading.scope = 'col';
  return heading;
}

/** @param {string} text */
function rowHeading(text) {
  const heading = cell('th', text);
  heading.scope = 'row';
  return heading;
}

/**
 * Whether somebody is at an element with the pointer, the keyboard or a selection: it must not change then.
 * @param {Element} element
 */
export function inUse(element) {
  const selection = getSelection();
  return (
    element.matches(':hover') ||
    element.contains(document.activeElement) ||
    Boolean(selection && !selection.isCollapsed && element.contains(selection.anchorNode))
  );
}

/* --- the points of a chart --- */

/**
 * The rows of a chart's table, the newest first: an interval's start and the point of each series there.
 * @param {LineChart} chart
 */
export function pointRows(chart) {
  const byStart = chart.series.map((series) => new Map(series.points.map((point) => [point[0], point])));
  const starts = new Set(byStart.flatMap((points) => [...points.keys()]));
  return [...starts]
    .sort((a, b) => b - a)
    .map((start) => ({ start, points: byStart.map((points) => points.get(start)) }));
}

/** @type {(point: Point | undefined, unit: string, texts: Texts) => string} */
function pointText(point, unit, texts) {
  const quality = point ? qualityText(point[5], texts) : '';
  return formats.value(point?.[1], unit) + (quality && ` (${quality})`);
}

/**
 * Fill `box` with the chart's points as a table.
 * @type {(box: Element, chart: LineChart, texts: Texts) => void}
 */
export function fillPointTable(box, chart, texts) {
  const table = document.createElement('table');
  table.className = 'table dense';
  const caption = table.createCaption();
  caption.className = 'visually-hidden';
  caption.textContent = chart.title;
  const seriesHeadings = chart.series.map((series) => {
    const heading = columnHeading(`${series.name} (${series.unit})`);
    heading.className = 'num';
    return heading;
  });
  table
    .createTHead()
    .insertRow()
    .append(columnHeading(texts.interval_start), ...seriesHeadings);
  const body = table.createTBody();
  for (const { start, points } of pointRows(chart)) {
    const cells = points.map((point, i) => cell('td', pointText(point, chart.series[i].unit, texts), 'num'));
    body.insertRow().append(rowHeading(formats.dateTime(start, zone)), ...cells);
  }
  box.replaceChildren(table);
}

/* --- the last readings --- */

/**
 * How many of the rows are not among those that are shown.
 * @type {(shownIds: Iterable<string | undefined>, rows: Reading[]) => number}
 */
export function countNew(shownIds, rows) {
  const shown = new Set(shownIds);
  return rows.filter(({ id }) => !shown.has(id)).length;
}

/** The table of the last readings, and the button that shows the new ones. */
export class ReadingsTable {
  /** @param {Texts} texts */
  constructor(texts) {
    this.texts = texts;
    this.table = /** @type {HTMLTableElement} */ (document.getElementById('readings'));
    this.button = /** @type {HTMLButtonElement} */ (document.getElementById('new-readings'));
    /** @type {Reading[]} */
    this.rows = [];
    this.button.addEventListener('click', () => this.show());
  }

  /**
   * Show these rows; while somebody is at the table, offer the new ones by the button.
   * @param {Reading[]} rows
   */
  update(rows) {
    this.rows = rows;
    const shownIds = this.shownRows().map((row) => row.dataset.id);
    const fresh = countNew(shownIds, rows);
    if (fresh && inUse(this.table)) {
      this.button.textContent =
        fresh === 1
          ? this.texts.new_reading
          : this.texts.new_readings.replace('%s', formats.number(fresh, 0));
      this.button.hidden = false;
    } else if (fresh || new Set(shownIds).size !== rows.length) {
      this.show();
    }
  }

  show() {
    this.button.hidden = true;
    this.table.hidden = !this.rows.length;
    const shown = new Map(this.shownRows().map((row) => [row.dataset.id, row]));
    this.table.tBodies[0].replaceChildren(
      ...this.rows.map((reading) => shown.get(reading.id) || this.rowOf(reading))
    );
  }

  shownRows() {
    return [...this.table.tBodies[0].rows];
  }

  /** @param {Reading} reading */
  rowOf(reading) {
    const row = document.createElement('tr');
    const quantity = cell('td', '');
    const when = cell('td', '');
    row.dataset.id = reading.id;
    const symbol = cell('span', '', `quantity q-${reading.colour}`);
    symbol.append(icon(reading.colour));
    quantity.append(symbol, cell('span', reading.quantity));
    const time = cell('time', reading.when);
    time.dateTime = reading.instant;
    when.append(time);
    const value = cell('td', `${reading.value}\u00a0${reading.unit}`, 'num');
    row.append(rowHeading(reading.device), quantity, value, when);
    // On a phone each cell names itself.
    const headings = this.table.tHead?.rows[0].cells;
    [quantity, value, when].forEach((one, i) => {
      one.dataset.label = headings?.[i + 1].textContent ?? '';
    });
    return row;
  }
}

/* --- the gateways that are not heard --- */

/**
 * Show these gateways, where they are not the ones that are shown.
 * @param {SilentGateway[]} rows
 */
export function updateOffline(rows) {
  const list = /** @type {HTMLElement} */ (document.getElementById('offline'));
  const signature = JSON.stringify(rows);
  if (list.dataset.signature === signature) return;
  list.dataset.signature = signature;
  list.hidden = !rows.length;
  list.replaceChildren(...rows.map(gatewayItem));
}

/** @param {SilentGateway} gateway */
function gatewayItem(gateway) {
  const item = document.createElement('li');
  const box = document.createElement('div');
  const since = cell('p', gateway.since);
  item.dataset.id = String(gateway.id);
  item.dataset.state = gateway.state;
  if (gateway.instant) {
    const time = document.createElement('time');
    time.dateTime = gateway.instant;
    time.dataset.age = '';
    since.append(' (', time, ')');
  }
  box.append(cell('strong', gateway.name), since, cell('p', gateway.affects, 'meta'));
  item.append(icon(gateway.state), box);
  return item;
}
