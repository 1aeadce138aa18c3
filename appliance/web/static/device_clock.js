/* The device's clock, so that the age of a picture does not depend on this computer's clock.
 *
 * As in NTP: a question carries our time, the answer the device's, taken half a round trip later. The answer with
 * the shortest round trip of the last few counts: it met no picture on the way.
 */

const ASK_MS = 2000;
const FIRST_ASK_MS = 250;
const KEPT = 15;                // half a minute: long enough for a quiet moment, short enough for a clock's drift

export class DeviceClock {
  #samples = [];
  #askedAt = -Infinity;

  /** Whether it is time to ask again. */
  isDue(now) {
    return now - this.#askedAt > (this.#samples.length < 3 ? FIRST_ASK_MS : ASK_MS);
  }

  asked(now) {
    this.#askedAt = now;
  }

  answered({ clock_ms, now_s }, now) {
    this.#samples.push({ roundTrip: now - clock_ms, offset: now_s * 1000 - (clock_ms + now) / 2 });
    if (this.#samples.length > KEPT) this.#samples.shift();
  }

  /** The shortest round trip in milliseconds, null before the first answer. */
  get roundTrip() {
    return this.#best?.roundTrip ?? null;
  }

  /** Milliseconds between `seconds` of the device's clock and `now`, null before the first answer. */
  since(seconds, now) {
    const best = this.#best;
    return best ? Math.max(0, now + best.offset - seconds * 1000) : null;
  }

  get #best() {
    return this.#samples.reduce((best, each) => (best && best.roundTrip <= each.roundTrip ? best : each), null);
  }
}
