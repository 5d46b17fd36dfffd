// When a router that has ended is started again. Pure.

/** The pause before the first new start, in milliseconds; each further one is twice as long. */
const FIRST = 200;
const LONGEST = 30_000;
/** A router that lived so long is no part of a row of failures. */
const STEADY = 30_000;

export class Backoff {
  #failures = 0;
  #random;

  /** @param {() => number} random between 0 and 1 */
  constructor(random = Math.random) {
    this.#random = random;
  }

  /**
   * How long to wait after a life of so many milliseconds: up to a fifth more than twice as long as the last time.
   * @param {number} lived
   */
  after(lived) {
    if (lived >= STEADY) this.#failures = 0;
    const pause = Math.min(FIRST * 2 ** this.#failures, LONGEST);
    this.#failures = Math.min(this.#failures + 1, 16);
    return Math.round(pause * (1 + this.#random() / 5));
  }
}
