/* Pauses before tries that grow: 0.5, 1, 2, 4, 8, 15, 15 … seconds. Each is up to a quarter shorter or longer, so
 * that the pages of a device that restarts do not all come back at the same moment. */

const FIRST_MS = 500;
const MOST_MS = 15_000;

export class Backoff {
  failures = 0;

  /** One more failure: milliseconds to wait before the next try, at least `least`. */
  failed(least = 0) {
    const pause = Math.max(least, Math.min(MOST_MS, FIRST_MS * 2 ** this.failures));
    this.failures += 1;
    return pause * (0.75 + Math.random() / 2);
  }

  succeeded() {
    this.failures = 0;
  }
}
