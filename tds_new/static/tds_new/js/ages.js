/**
 * The server's clock, and the ages on the page that follow it.
 *
 * The clock starts with the page or the last answer and counts on from there, because the computer's own may
 * be wrong. Pages without polling load this module alone: it then rewrites their ages by itself.
 */

import { formats } from './formats.js';

const REFRESH_MS = 10000;
const main = globalThis.document?.getElementById('content');

/** The time as the server tells it. */
export class Clock {
  /**
   * @param {number} serverMs the server's time now, in milliseconds since 1970
   * @param {() => number} elapsedMs a count of milliseconds that only grows
   */
  constructor(serverMs, elapsedMs = () => performance.now()) {
    this.elapsedMs = elapsedMs;
    this.serverMs = serverMs;
    this.setAt = elapsedMs();
  }

  /** The server's time now, in milliseconds since 1970. */
  now() {
    return this.serverMs + this.elapsedMs() - this.setAt;
  }

  /**
   * Start again from a time that the server told; one that is not a number is ignored.
   * @param {number} serverMs
   */
  set(serverMs) {
    if (!Number.isFinite(serverMs)) return;
    this.serverMs = serverMs;
    this.setAt = this.elapsedMs();
  }
}

export const clock = new Clock(Number(main?.dataset.now));

/** The time zone of the page's figures. */
export const zone = main?.dataset.zone ?? 'UTC';

/**
 * Write a text if it differs, so that nothing is laid out again without need. Returns whether it differed.
 * @type {(element: Element, text: string) => boolean}
 */
export function setText(element, text) {
  if (element.textContent === text) return false;
  element.textContent = text;
  return true;
}

/** Rewrite every age on the page. */
export function refreshAges() {
  for (const element of /** @type {NodeListOf<HTMLTimeElement>} */ (
    document.querySelectorAll('time[data-age]')
  )) {
    setText(element, formats.age(Date.parse(element.dateTime), clock.now(), zone));
  }
}

if (main) {
  refreshAges();
  if (!main.dataset.url) setInterval(refreshAges, REFRESH_MS);
}
