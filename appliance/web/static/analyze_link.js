/* Sends pictures to /ws/analyze, one at a time, and gives back their readings.
 *
 * A browser does not see why the device refuses a WebSocket, so this sends a plain request to the same address.
 */

import { urlOf } from "./base.js";

const ROUTE = "ws/analyze";
const ACCEPTED = 426;           // a plain request that would be accepted
const USELESS = [1007, 1009];   // no pictures, or too large ones: others like them would fare no better
const OPENING_MS = 20_000;      // a far device: TCP, TLS and the handshake are four or five round trips
const ANSWER_MS = 10_000;       // a dead network does not close a connection for minutes

/** A refusal in the device's words; `again`: later tries may succeed; `login`: the login has ended. */
export class Refused extends Error {
  constructor(words, { again, login = false }) {
    super(words);
    this.again = again;
    this.login = login;
  }
}

/** One connection. It is not opened again: make another one. */
export class AnalyzeLink {
  #route;
  #socket = null;
  #waiting = null;              // of the picture under way: { resolve, reject }
  #isClosed = false;

  /** `notice`: the version of the notice that people agreed to. */
  constructor(notice) {
    this.#route = `${ROUTE}?consent=yes&notice=${encodeURIComponent(notice)}`;
  }

  /** Connect; rejects with `Refused`. */
  async open() {
    const url = new URL(urlOf(this.#route), location.href);
    url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
    const socket = new WebSocket(url);
    this.#socket = socket;
    const opened = await new Promise((resolve) => {
      socket.addEventListener("open", () => resolve(true));
      socket.addEventListener("close", () => resolve(false));
      setTimeout(() => resolve(false), OPENING_MS);
    });
    if (this.#isClosed) throw new Refused("stopped", { again: false });
    if (!opened) {
      socket.close();
      throw await this.#reason();
    }
    socket.addEventListener("message", ({ data }) => this.#settle("resolve", JSON.parse(data)));
    socket.addEventListener("close", ({ code, reason }) => {
      this.#settle("reject", new Refused(reason || "the connection was lost", { again: !USELESS.includes(code) }));
    });
  }

  /** The answer to one picture: a reading, or `{ error }`. Rejects with `Refused` when the connection ends. */
  async read(blob) {
    if (this.#socket?.readyState !== WebSocket.OPEN) throw new Refused("the connection was lost", { again: true });
    const answer = new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject };
    });
    this.#socket.send(blob);
    const late = setTimeout(() => this.#settle("reject", new Refused("the device does not answer", { again: true })), ANSWER_MS);
    return answer.finally(() => clearTimeout(late));
  }

  close() {
    this.#isClosed = true;
    this.#socket?.close();
    this.#settle("reject", new Refused("stopped", { again: false }));
  }

  #settle(how, value) {
    const waiting = this.#waiting;
    this.#waiting = null;
    waiting?.[how](value);
  }

  async #reason() {
    const answer = await fetch(urlOf(this.#route), { cache: "no-store" }).catch(() => null);
    if (!answer) return new Refused("the device does not answer", { again: true });
    const { status } = answer;
    if (status === ACCEPTED) return new Refused("the WebSocket failed; does the browser trust the certificate?", { again: true });
    const { error } = await answer.json().catch(() => ({}));
    const again = status >= 500 || status === 429;
    return new Refused(error ?? `the device refused (${status})`, { again, login: status === 401 });
  }
}
