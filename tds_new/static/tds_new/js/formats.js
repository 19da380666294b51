/**
 * Numbers, dates and ages as people read them.
 *
 * The rules are those of tds_new/formats.py; tests/web/format_vectors.json holds both to the same answers.
 */

const NBSP = '\u00a0';
const MINUS = '\u2212';
const ENGLISH_MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/* Decimals by magnitude: the first pair whose limit is not above the number has them. */
const CONSUMPTION_DECIMALS = [
  [1000, 0],
  [100, 1],
  [0, 2]
];
/** @type {Record<string, number[][]>} */
const DECIMALS = {
  kW: [
    [100, 0],
    [0, 1]
  ],
  '°C': [[0, 1]],
  '%': [
    [10, 0],
    [0, 1]
  ],
  R$: [[0, 2]],
  'L/h': [[0, 0]]
};

const ESTIMATED = 2; // a point's quality; 1 is interpolated, 0 is measured

/** The text for a missing value. */
export const MISSING = '\u2014';

/**
 * The formats of one language. Instants are in milliseconds since 1970.
 * @param {string} language `en...` for English; everything else is Brazilian Portuguese
 */
export function createFormats(language) {
  const english = language.toLowerCase().startsWith('en');
  const locale = english ? 'en-US' : 'pt-BR';
  /** @type {Record<number, Intl.NumberFormat>} */
  const numberFormats = {};
  /** @type {Record<string, Intl.DateTimeFormat>} */
  const clocks = {};

  /** @type {(quantity: Quantity, unit: string) => number} */
  function decimalsOf(quantity, unit) {
    const magnitude = Math.abs(Number(quantity));
    if (magnitude === 0) return 0;
    const [, decimals] = (DECIMALS[unit] || CONSUMPTION_DECIMALS).find(([limit]) => magnitude >= limit) || [
      0, 0
    ];
    return decimals;
  }

  /**
   * A number with so many decimals. A decimal string is rounded half up on its exact value.
   * @type {(quantity: Quantity | null | undefined, decimals: number) => string}
   */
  function number(quantity, decimals) {
    if (quantity === null || quantity === undefined) return MISSING;
    const format = (numberFormats[decimals] ||= new Intl.NumberFormat(locale, {
      minimumFractionDigits: decimals,
      maximumFractionDigits: decimals
    }));
    // Intl takes a decimal string as it is; the library's types know only numbers.
    const magnitude =
      typeof quantity === 'string' ? /** @type {any} */ (quantity.replace('-', '')) : Math.abs(quantity);
    const text = format.format(magnitude);
    return Number(quantity) < 0 && /[1-9]/.test(text) ? MINUS + text : text;
  }

  /** @type {(quantity: Quantity | null | undefined, unit: string) => string} */
  function value(quantity, unit) {
    return quantity === null || quantity === undefined
      ? MISSING
      : number(quantity, decimalsOf(quantity, unit));
  }

  /** @type {(quantity: Quantity | null | undefined, unit: string) => string} */
  function withUnit(quantity, unit) {
    return quantity === null || quantity === undefined ? MISSING : value(quantity, unit) + NBSP + unit;
  }

  /** @type {(ms: number, zone: string) => Record<string, string>} */
  function clockParts(ms, zone) {
    const clock = (clocks[zone] ||= new Intl.DateTimeFormat('en-US', {
      timeZone: zone,
      hourCycle: 'h23',
      year: 'numeric',
      month: '2-digit',
      day: '2-digit',
      hour: '2-digit',
      minute: '2-digit'
    }));
    return Object.fromEntries(clock.formatToParts(ms).map((part) => [part.type, part.value]));
  }

  /** @type {(ms: number, zone: string) => string} */
  function date(ms, zone) {
    const { year, month, day } = clockParts(ms, zone);
    return english
      ? `${ENGLISH_MONTHS[Number(month) - 1]} ${Number(day)}, ${year}`
      : `${day}/${month}/${year}`;
  }

  /** @type {(ms: number, zone: string) => string} */
  function dayMonth(ms, zone) {
    const { month, day } = clockParts(ms, zone);
    return english ? `${ENGLISH_MONTHS[Number(month) - 1]} ${Number(day)}` : `${day}/${month}`;
  }

  /** @type {(ms: number, zone: string) => string} */
  function time(ms, zone) {
    const { hour, minute } = clockParts(ms, zone);
    return `${hour}:${minute}`;
  }

  /** @type {(ms: number, zone: string) => string} */
  function dateTime(ms, zone) {
    return `${date(ms, zone)} ${time(ms, zone)}`;
  }

  /** @type {(count: number) => string} */
  function days(count) {
    return count + NBSP + (english ? (count === 1 ? 'day' : 'days') : count === 1 ? 'dia' : 'dias');
  }

  /** @type {(seconds: number) => string} */
  function duration(seconds) {
    const whole = Math.max(0, Math.floor(seconds));
    const minutes = Math.floor(whole / 60) % 60;
    const hours = Math.floor(whole / 3600) % 24;
    const wholeDays = Math.floor(whole / 86400);
    if (whole < 60) return `${whole}${NBSP}s`;
    if (whole < 3600) return `${minutes}${NBSP}min`;
    if (!wholeDays) return `${hours}${NBSP}h` + (minutes ? ` ${minutes}${NBSP}min` : '');
    return days(wholeDays) + (hours ? ` ${hours}${NBSP}h` : '');
  }

  /**
   * The age of an instant; after a week its date.
   * @type {(ms: number, now: number, zone: string) => string}
   */
  function age(ms, now, zone) {
    const seconds = Math.max(0, Math.floor((now - ms) / 1000));
    if (seconds >= 7 * 86400) return date(ms, zone);
    const amount =
      seconds < 60
        ? `${seconds}${NBSP}s`
        : seconds < 3600
          ? `${Math.floor(seconds / 60)}${NBSP}min`
          : seconds < 86400
            ? `${Math.floor(seconds / 3600)}${NBSP}h`
            : days(Math.floor(seconds / 86400));
    return english ? `${amount} ago` : `há ${amount}`;
  }

  return { number, value, withUnit, date, dayMonth, time, dateTime, duration, age };
}

/** The formats of the page's language. */
export const formats = createFormats(globalThis.document?.documentElement.lang ?? 'pt-BR');

/**
 * The word for a value that was not measured: interpolated or estimated; empty if it was.
 * @type {(quality: number, texts: Texts) => string}
 */
export function qualityText(quality, texts) {
  if (!quality) return '';
  return quality === ESTIMATED ? texts.estimated : texts.interpolated;
}
