/* Sends pictures to /ws/analyze, one at a time, and gives back their readings.
 *
 * A browser does not see why the device refuses a WebSocket, so this sends a plain request to the same address.
 */

import { urlOf } from "./base.js";

const ROUTE = "ws/analyze?consent=yes";
const ACCEPTED = 426;           // a plain request that would be accepted

/** A refusal in the device's words; `again`: later tries may succeed. */
export class Refused extends Error {
  constructor(words, { again, login = false }) {
    super(words);
    this.again = again;
    this.login = login;
  }
}

export class AnalyzeLink {
  #socket = null;
  #waiting = null;              // of the picture under way: { resolve, reject }

  /** Connect; rejects with `Refused`. */
  async open() {
    this.close();
    const url = new URL(urlOf(ROUTE), location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    const opened = await new Promise((resolve) => {
      socket.addEventListener("open", () => resolve(true));
      socket.addEventListener("close", () => resolve(false));
    });
    if (!opened) throw await this.#reason();
    socket.addEventListener("message", ({ data }) => this.#settle("resolve", JSON.parse(data)));
    socket.addEventListener("close", ({ code, reason }) => {
      const words = reason || "the connection was lost";
      this.#settle("reject", new Refused(words, { again: code !== 1008 && code !== 1001 }));
      if (socket === this.#socket) this.#socket = null;
    });
  }

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** The answer to one picture: a reading, or `{ error }`. Rejects with `Refused` when the connection ends. */
  read(blob) {
    return new Promise((resolve, reject) => {
      if (!this.isOpen) {
        reject(new Refused("the connection was lost", { again: true }));
        return;
      }
      this.#waiting = { resolve, reject };
      this.#socket.send(blob);
    });
  }

  close() {
    const socket = this.#socket;
    this.#socket = null;
    socket?.close();
    this.#settle("reject", new Refused("stopped", { again: false }));
  }

  #settle(how, value) {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.[how](value);
  }

  async #reason() {
    const answer = await fetch(urlOf(ROUTE), { cache: "no-store" }).catch(() => null);
    if (!answer || answer.status === ACCEPTED) return new Refused("the device does not answer", { again: true });
    const { error } = await answer.json().catch(() => ({}));
    const words = error ?? `the device refused (${answer.status})`;
    return new Refused(words, { again: answer.status === 503, login: answer.status === 401 });
  }
}
