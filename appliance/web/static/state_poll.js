/* Asks for /api/state once a second, and knows whether the device can be reached.
 *
 * A far device may take seconds for an answer: TCP, TLS and the request are four or five round trips. So an answer
 * may take long, and the longer the slower earlier ones were; the page reports much sooner that nothing was heard.
 */

import { urlOf } from "./base.js";
import { Backoff } from "./backoff.js";
import { toLogin } from "./csrf.js";

const POLL_MS = 1000;
const LIMIT_MS = 20_000;
const MOST_LIMIT_MS = 60_000;
const PATIENCE_MS = 4000;

export class StatePoll {
  state = null;        // the newest /api/state, null before the first
  deviceClock = 0;     // the device's wall clock minus ours, ms
  answeredAt = 0;      // when the device last answered
  nextAt = 0;

  #onAnswer;
  #running = new Map();        // number of each poll in progress -> when it began
  #number = 0;                 // of the newest one; an older one's answer no longer counts
  #backoff = new Backoff();
  #slowest = 0;                // how long answers took, ms; falls slowly

  /** `onAnswer(returned)` is called after each poll; `returned`: the device was not reached before it. */
  constructor(onAnswer) {
    this.#onAnswer = onAnswer;
  }

  get isAsking() {
    return this.#running.size > 0;
  }

  get hasFailed() {
    return this.#backoff.failures > 0;
  }

  /** Whether the device answers: the last poll did, and none waits for long; `heardAt`: when it sent anything. */
  isConnected(now, heardAt) {
    if (this.state === null || this.hasFailed) return false;
    const began = Math.min(...this.#running.values());
    const patience = Math.max(PATIENCE_MS, 3 * this.#slowest);
    return now - Math.max(began, heardAt) < patience || began === Infinity;
  }

  /** Ask at the next beat. */
  hurry() {
    this.nextAt = 0;
  }

  beat(now) {
    if (!this.isAsking && now >= this.nextAt) this.ask();
  }

  async ask() {
    const number = ++this.#number;
    const began = performance.now();
    this.#running.set(number, began);
    const received = await this.#fetch();
    this.#running.delete(number);
    if (number !== this.#number) return;
    const now = performance.now();
    const returned = received !== null && this.hasFailed;
    if (received) {
      this.state = received;
      this.answeredAt = now;
      this.#slowest = Math.max(now - began, 0.9 * this.#slowest);
      this.#backoff.succeeded();
      this.nextAt = now + POLL_MS;
    } else {
      this.nextAt = now + this.#backoff.failed();
    }
    this.#onAnswer(returned);
  }

  async #fetch() {
    const limit = Math.min(MOST_LIMIT_MS, Math.max(LIMIT_MS, 6 * this.#slowest));
    try {
      const answer = await fetch(urlOf("api/state"), { cache: "no-store", signal: AbortSignal.timeout(limit) });
      toLogin(answer);
      if (!answer.ok) return null;
      this.deviceClock = (Date.parse(answer.headers.get("Date")) || Date.now()) - Date.now();
      return await answer.json();
    } catch {
      return null;              // no connection, too slow, or not our JSON
    }
  }
}
